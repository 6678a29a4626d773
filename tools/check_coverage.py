"""Are enough lines and branches run by the tests? What `make coverage` counted, held against tests/coverage/gates.tsv.

    python tools/check_coverage.py [--build build-coverage] [--show FILE]... [--raise]

lcov collects the counters; this prints lines and branches of each file, and of each file below its gate the lines
and branches that nothing ran. A file that the table does not name has the gate DEFAULT. A marker that takes something
out of the count (LCOV_EXCL_LINE, LCOV_EXCL_BR_LINE, LCOV_EXCL_START ... STOP) must say why, behind a colon.
In "holds || llava_fail(...)" the compiler asks what llava_fail says, which is always no: the branch of its yes is no
branch. Which functions are of that kind is read in their text, and a yes that was seen after all is an error.
"""

import argparse
import math
import pathlib
import re
import subprocess
import sys

TABLE = pathlib.Path("tests/coverage/gates.tsv")
DEFAULT = 95.0
HEAD = """# Gates of `make coverage`, in percent. A file that is not named: 95 of its lines, 95 of its branches.
# goal 100: the comparator, the bounds and what reads files. Where a figure stands below the goal (100, or 95
# for the others) it is what the tests reach: it may be raised, never lowered.
# file	goal	lines	branches
"""


def collect(build):
    """The tracefile's path."""
    lcov = ["lcov", "-q", "--rc", "lcov_branch_coverage=1"]
    everything, ours = build / "all.info", build / "coverage.info"
    for command in [
        [*lcov, "-c", "-d", str(build), "-b", ".", "--no-external", "-o", str(everything)],
        [*lcov, "-r", str(everything), "*/tests/*", "*/build*/*", "-o", str(ours)],
    ]:
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"check_coverage: {' '.join(command)}: {done.stderr}")
    return ours


def read(info):
    """{file: (lines {number: count}, branches {(line, block, branch): count})}"""
    files, here = {}, pathlib.Path.cwd()
    for row in info.read_text().splitlines():
        word, _, rest = row.partition(":")
        if word == "SF":
            lines, branches = files.setdefault(str(pathlib.Path(rest).relative_to(here)), ({}, {}))
        elif word == "DA":
            number, count = rest.split(",")[:2]
            lines[int(number)] = lines.get(int(number), 0) + int(count)
        elif word == "BRDA":
            number, block, branch, count = rest.split(",")
            key = (int(number), block, branch)
            branches[key] = branches.get(key, 0) + (0 if count == "-" else int(count))
    return files


def reached(counts):
    return 100.0 * sum(count > 0 for count in counts.values()) / len(counts) if counts else 100.0


def read_gates():
    """{file: (goal, lines, branches)}"""
    gates = {}
    for row in TABLE.read_text().splitlines():
        if row and not row.startswith("#"):
            name, *numbers = row.split("\t")
            gates[name] = tuple(map(float, numbers))
    return gates


def unexplained():
    """Places of markers without a reason."""
    places = []
    for path in sorted([*pathlib.Path("ref").rglob("*.[ch]"), *pathlib.Path("tools").rglob("*.[ch]")]):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            marker = re.search(r"LCOV_EXCL_\w+", line)
            if marker and not marker[0].endswith("STOP") and not re.search(r"LCOV_EXCL_\w+: \S+ \S+", line):
                places.append(f"{path}:{number}: {marker[0]} without a reason")
    return places


def functions(text):
    """(name, is it its file's own, what it returns) of each function that returns a bool; clang-format's text."""
    for own, name, body in re.findall(r"^(static )?bool (\w+)\([^{;]*\)\n{\n(.*?)^}", text, re.DOTALL | re.MULTILINE):
        yield name, bool(own), re.findall(r"return ([^;]*);", body)


def called(value):
    """The function's name where the value is one call and nothing else."""
    depth, call = 0, re.match(r"(\w+)\(", value)
    for at, c in enumerate(value):
        depth += (c == "(") - (c == ")")
        if call and at >= call.end() and depth == 0:
            return call[1] if at == len(value) - 1 else None
    return None


def always_no(texts):
    """{file: names of functions whose every return is false, or a call of such a function}"""
    found, size = {name: set() for name in texts}, -1
    while size != sum(map(len, found.values())):
        size = sum(map(len, found.values()))
        for file, text in texts.items():
            for name, own, returns in functions(text):
                if returns and all(value == "false" or called(value) in found[file] for value in returns):
                    for other in [file] if own else found:
                        found[other].add(name)
    return found


def without_impossible(files):
    """Takes the branches of a yes that can't be said out of the count, one for each "|| FUNCTION(" that always says
    no; returns the places where one was seen."""
    texts, wrong = {}, []
    for name in files:
        texts[name] = re.sub(r'"(\\.|[^"\\\n])*"', '""', pathlib.Path(name).read_text())
    never = always_no(texts)
    for name, (_, branches) in files.items():
        for call in re.finditer(r"\|\|\s*(\w+)\(", texts[name]):
            number = texts[name].count("\n", 0, call.start()) + 1
            here = [key for key in branches if key[0] == number]
            unseen = [key for key in here if branches[key] == 0]
            if call[1] in never[name] and unseen:
                del branches[unseen[0]]
            elif call[1] in never[name] and here:
                wrong.append(f"{name}:{number}: {call[1]} said yes")
    return wrong


def show(name, lines, branches):
    text = pathlib.Path(name).read_text().splitlines()
    missed = {}
    for (number, _, _), count in branches.items():
        taken, all_of_them = missed.get(number, (0, 0))
        missed[number] = (taken + (count > 0), all_of_them + 1)
    for number in sorted({*lines, *missed}):
        taken, all_of_them = missed.get(number, (0, 0))
        if lines.get(number) == 0:
            print(f"  {name}:{number}: never run: {text[number - 1].strip()}")
        elif taken < all_of_them:
            print(f"  {name}:{number}: {taken} of {all_of_them} branches: {text[number - 1].strip()}")


def write_table(files, gates):
    """Each file's gate at its goal, or at what is reached below it; a gate that is there is never lowered."""
    rows = []
    for name in sorted(files):
        goal, *now = gates.get(name, (DEFAULT, 0.0, 0.0))
        got = [min(goal, max(old, math.floor(reached(counts)))) for old, counts in zip(now, files[name])]
        if goal > DEFAULT or min(got) < DEFAULT:
            rows.append("\t".join([name, f"{goal:g}", *(f"{x:g}" for x in got)]))
    TABLE.write_text(HEAD + "\n".join(rows) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", type=pathlib.Path, default=pathlib.Path("build-coverage"))
    parser.add_argument("--show", action="append", default=[], help="list what is not run in this file, too")
    parser.add_argument("--raise", dest="rewrite", action="store_true", help="write what is reached into the table")
    options = parser.parse_args()
    files, gates = read(collect(options.build)), read_gates()
    wrong = without_impossible(files) + unexplained()
    wrong += [f"{TABLE}: {name} is no file that was counted" for name in gates if name not in files]
    below = []
    print(f"{'':34} {'lines':>7} {'gate':>6} {'branches':>9} {'gate':>6}")
    for name, counts in sorted(files.items()):
        _, *least = gates.get(name, (DEFAULT, DEFAULT, DEFAULT))
        got = [reached(c) for c in counts]
        low = any(x < y for x, y in zip(got, least))
        below += [name] if low else []
        print(f"{name:34} {got[0]:7.1f} {least[0]:6g} {got[1]:9.1f} {least[1]:6g}{'  BELOW' if low else ''}")
    for i, word in enumerate(["lines", "branches"]):
        counts = [count for file in files.values() for count in file[i].values()]
        print(f"{word}: {sum(c > 0 for c in counts)} of {len(counts)}, {100 * sum(c > 0 for c in counts) / len(counts):.1f} %")
    for name in sorted({*below, *options.show}):
        show(name, *files[name])
    if options.rewrite:
        write_table(files, gates)
    print("\n".join([*wrong, f"check_coverage: {len(below)} files below their gates"]))
    sys.exit(1 if wrong or (below and not options.rewrite) else 0)


if __name__ == "__main__":
    main()
