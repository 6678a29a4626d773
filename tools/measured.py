"""Measurements that the documents show: kept in docs/measured, and printed from there.

    python tools/measured.py keep peers -- python tools/bench_peers.py --rounds 3
    python tools/measured.py keep peers --report REPORT.txt --commit 1a2b3c4 -- python tools/bench_peers.py --rounds 3
    python tools/measured.py table peers [--rows 'ROW;ROW=NAME'] [--columns 'COLUMN;COLUMN=NAME']
    python tools/measured.py about peers
    python tools/measured.py value peers ROW COLUMN
    python tools/measured.py findings port-mlx-eps
    python tools/measured.py errors port-mlx '*.attn.context' [--right]

A measurement can't be made anew by docs-check, but a document can be held against what was measured. keep runs a command,
shows what it prints, and writes docs/measured/NAME.json (llava-ref.measured/1): the command, the date, the commit, the
machine, and the table of its report, digit by digit. --report: that run was made before, and this is what it printed.
A report with several tables has a name for each (`keep peers,llama.cpp -- ...`).

table prints the record as Markdown, all of it or rows and columns of it, perhaps under other names; about prints where and
how it was measured; value one cell.

There are reports of `diagnose --json`, too, of dumps that ports wrote (docs/ports): findings prints what they found, a line
each; errors how many taps of a pattern there are and the least and largest local error of them, --right: of those that are
not wrong. Either takes a file as well.

The documents have them behind `<!-- docs-check whole`, so `make tables` puts them in, and
docs-check compares.
"""

import argparse
import datetime
import fnmatch
import json
import os
import pathlib
import platform
import re
import shlex
import subprocess
import sys
import textwrap

TREE = pathlib.Path(__file__).resolve().parent.parent
FOLDER = TREE / "docs/measured"
SCHEMA = "llava-ref.measured/1"
WIDTH = 118


def machine():
    """The machine in a line or two."""
    try:
        info = pathlib.Path("/proc/cpuinfo").read_text()
    except OSError:
        info = ""
    fields = dict(re.findall(r"^(model name|cpu family|model|stepping)\s*: (.*)$", info, re.MULTILINE))
    wide = [w for w in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if re.search(rf"\b{w}\b", info)]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    numbers = " ".join(fields.get(k, "?") for k in ("cpu family", "model", "stepping"))
    return (f"{fields.get('model name', platform.machine())} ({numbers}; {' '.join(wide)}), "
            f"{os.cpu_count()} CPUs, {memory:.0f} GiB, {platform.system()} {platform.release()}")


# ---- records -------------------------------------------------------------------------------------


def cells_of(line):
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def tables_of(report):
    """(the paragraph before it, columns, rows) of each Markdown table."""
    tables, words = [], ""
    for paragraph in re.split(r"\n\s*\n", report.strip("\n")):
        lines = paragraph.split("\n")
        if not lines[0].startswith("|"):
            words = " ".join(line.strip() for line in lines)
            words = words[max(words.find("Machine: "), 0) :]  # what stood on standard error before it
            continue
        rows = [cells_of(line) for line in lines if line.startswith("|") and not re.fullmatch(r"[|: -]+", line)]
        tables.append((words, rows[0], rows[1:]))
    return tables


def record_of(command, commit, date, words, columns, rows):
    bad = [row for row in rows if len(row) != len(columns)]
    if bad or not rows:
        sys.exit(f"measured: no table, or a row of another length: {bad}")
    return {"schema": SCHEMA, "command": command, "date": date, "commit": commit, "about": words,
            "columns": columns, "rows": rows}  # fmt: skip


def run(command):
    """What it prints, shown meanwhile."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    said = ""
    for line in process.stdout:
        print(line, end="", flush=True)
        said += line
    if process.wait() != 0:
        sys.exit(f"measured: {command[0]} ends with status {process.returncode}")
    return said


def keep(options):
    git = ["git", "-C", TREE, "describe", "--always", "--dirty", "--abbrev=7"]
    commit = options.commit or subprocess.run(git, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    date = options.date or datetime.date.today().isoformat()
    report = options.report.read_text() if options.report else run(options.command)
    report = report if machine() in report or options.report else f"Machine: {machine()}.\n\n{report}"
    tables = tables_of(report)
    names = options.name.split(",")
    if len(names) != len(tables):
        sys.exit(f"measured: {len(tables)} tables for {len(names)} names")
    FOLDER.mkdir(exist_ok=True)
    for name, (words, columns, rows) in zip(names, tables):
        record = record_of(options.shown or shlex.join(options.command), commit, date, words, columns, rows)
        (FOLDER / f"{name}.json").write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")
        print(f"docs/measured/{name}.json: {len(rows)} rows; make tables puts them into the documents", file=sys.stderr)


def read(name):
    path = FOLDER / f"{name}.json"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in FOLDER.glob("*.json")))
        sys.exit(f"measured: there is no {path.relative_to(TREE)} ({known})")
    record = json.loads(path.read_text())
    if record.get("schema") != SCHEMA:
        sys.exit(f"measured: {path.relative_to(TREE)} is no {SCHEMA}")
    return record


def plain(name):
    return name.replace("**", "").replace("`", "")


def chosen(known, words, what):
    """[(index, name)] of the ones that "NAME;NAME=OTHER NAME" names, in its order; without words: all of them."""
    if words is None:
        return list(enumerate(known))
    found = []
    for word in words.split(";"):
        old, _, new = word.partition("=")
        places = [i for i, name in enumerate(known) if plain(name) == old.strip()]
        if len(places) != 1:
            sys.exit(f"measured: {len(places)} {what} are called '{old.strip()}' ({'; '.join(map(plain, known))})")
        found.append((places[0], new.strip() or known[places[0]]))
    return found


def table(options):
    record = read(options.name)
    columns = chosen(record["columns"][1:], options.columns, "columns")
    rows = chosen([row[0] for row in record["rows"]], options.rows, "rows")
    print(f"| {record['columns'][0]} | " + " | ".join(name for _, name in columns) + " |")
    print("|---" * (len(columns) + 1) + "|")
    for i, name in rows:
        print(f"| {name} | " + " | ".join(record["rows"][i][1 + j] for j, _ in columns) + " |")


def about(options):
    record = read(options.name)
    words = record["about"].rstrip(".")
    print(*textwrap.wrap(f"{words}. {record['date']}, commit {record['commit']}, `{record['command']}`.", WIDTH,
                         break_long_words=False, break_on_hyphens=False), sep="\n")  # fmt: skip


def value(options):
    record = read(options.name)
    (row, _), (column, _) = (
        chosen(known, word, what)[0]
        for known, word, what in (([row[0] for row in record["rows"]], options.row, "rows"),
                                  (record["columns"], options.column, "columns"))
    )  # fmt: skip
    print(record["rows"][row][column])


def report_of(name):
    path = FOLDER / f"{name}.json"
    return json.loads((path if path.is_file() else pathlib.Path(name)).read_text())


def findings(options):
    for finding in report_of(options.name)["findings"]:
        causes = [" + ".join(f"{c['decision']}={c['value']}" for c in [cause, *cause["with"]]) + f", {cause['error']:.1e}"
                  for cause in finding["causes"]]  # fmt: skip
        print(f"{finding['tap']}: {finding['local_error']:.1e}; {finding['confidence']}: " + "\n    or ".join(causes))


def errors(options):
    taps = [tap for tap in report_of(options.name)["taps"]
            if fnmatch.fnmatchcase(tap["name"], options.pattern) and not (options.right and tap["wrong"])]  # fmt: skip
    sizes = [tap["local_error"] for tap in taps if tap["local_error"] is not None]
    print(f"{len(taps)} taps", f"{min(sizes):.1e} to {max(sizes):.1e}", sep="\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("keep", help="run a command and keep the table that it prints")
    one.add_argument("name", help="of the record; of several tables: NAME,NAME")
    one.add_argument("--report", type=pathlib.Path, help="what an earlier run printed, in place of a run")
    one.add_argument("--commit", help="that was measured (default: of the tree)")
    one.add_argument("--date", help="default: today")
    one.add_argument("--as", dest="shown", help="the command as the record has it, without this machine's own folders")
    one.add_argument("command", nargs="+", help="behind --")
    one.set_defaults(do=keep)
    one = commands.add_parser("table", help="print the record as Markdown")
    one.add_argument("name")
    one.add_argument("--rows", help="these, in this order: 'ROW;ROW=OTHER NAME'")
    one.add_argument("--columns", help="these, in this order: 'COLUMN;COLUMN=OTHER NAME'")
    one.set_defaults(do=table)
    one = commands.add_parser("about", help="print where and how it was measured")
    one.add_argument("name")
    one.set_defaults(do=about)
    one = commands.add_parser("value", help="print one cell")
    for word in ("name", "row", "column"):
        one.add_argument(word)
    one.set_defaults(do=value)
    one = commands.add_parser("findings", help="print a diagnosis's findings")
    one.add_argument("name", help="of the report, or a file")
    one.set_defaults(do=findings)
    one = commands.add_parser("errors", help="print the size of a diagnosis's local errors")
    one.add_argument("name", help="of the report, or a file")
    one.add_argument("pattern", help="of taps")
    one.add_argument("--right", action="store_true", help="only taps that are not wrong")
    one.set_defaults(do=errors)
    options = parser.parse_args()
    options.do(options)


if __name__ == "__main__":
    main()
