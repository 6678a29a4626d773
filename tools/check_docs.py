"""Runs what the documents show, and compares.

    python tools/check_docs.py [FILE.md ...] [--binary build/llava-ref] [--write] [--tables]
    python tools/check_docs.py --unchecked [FILE.md ...]

In a fenced or indented block of a document

* a line `$ COMMAND` is run (`\\` at its end continues it), and what it prints, standard error included,
  must be the lines below it, up to the next `$`. A line `...` stands for any lines, none included. No
  lines below: it must print nothing. It may exit with 1 (compared and differs) where lines are shown,
  and with 2 where they show the error;
* lines `>>> ...` are a Python session, run as doctest does, NumPy at hand;
* a block that opens with ```c FILE, or ```python FILE, quotes FILE: its lines, but for indentation, stand there one after the other,
  `...` for what is left out.

A comment `<!-- docs-check`, `$ COMMAND` lines, `-->` behind a paragraph, list or table is not seen by the reader: every
line that a command prints must stand in that paragraph. Behind `<!-- docs-check whole` the paragraph must be what the
command prints and nothing else: so are the tables of measurements (tools/measured.py). `path` of a file in the tree
must be one.

A document's blocks run in order in one scratch folder, where `build/llava-ref`, `golden`,
`tools`, `docs`, `tests` and `ref` are those of the tree. Links to files must lead somewhere. A picture `pictures/NAME.png` must
be, pixel by pixel, the NAME.png that the document's commands left in that folder. Exits with 1 where anything is
otherwise than shown; --write puts what a command printed into the document where no `...` is in the way, and the
pictures beside it: that is right then. --tables looks only at whole paragraphs.

All documents together: of README.md no number may be unchecked. --unchecked runs nothing: it lists the blocks, tables and
paragraphs with numbers that nothing of this checks. A number of the prose that a checked part of the document shows is
none of them, nor one in `code`.
"""

import argparse
import doctest
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
from typing import NamedTuple

TREE = pathlib.Path(__file__).resolve().parent.parent
ANYTHING = "..."
SECONDS = 300  # of a command
QUOTED = ("c", "python")
DOCUMENTS = ("*.md", "docs/book/*.md", "docs/*.md", "docs/ports/*.md", "golden/README.md", "golden/demo/README.md")


class Block(NamedTuple):
    line: int  # of its first line in the document, from 1
    about: str  # what stands behind the opening fence
    indent: str  # of each of its lines in the document
    lines: list


def blocks_of(text):
    """The fenced blocks, and those indented by four spaces behind an empty line."""
    blocks, lines, i = [], text.split("\n"), 0
    while i < len(lines):
        if lines[i].startswith("```"):
            about, first = lines[i][3:].strip(), i + 1
            i = first
            while i < len(lines) and lines[i] != "```":
                i += 1
            blocks.append(Block(first + 1, about, "", lines[first:i]))
        elif lines[i].startswith("    ") and (i == 0 or not lines[i - 1].strip()):
            first = i
            while i < len(lines) and (lines[i].startswith("    ") or not lines[i].strip()):
                i += 1
            blocks.append(Block(first + 1, "", "    ", [line[4:] for line in lines[first:i]]))
            continue
        i += 1
    return blocks


def commands_of(block):
    """[line of what it prints, command, lines that it prints] of each `$` in the block."""
    commands, continues = [], False
    for number, line in enumerate(block.lines, block.line):
        if continues or line.startswith("$ "):
            if not continues:
                commands.append([0, "", []])
            commands[-1][0] = number + 1
            commands[-1][1] += line + "\n" if continues else line[2:] + "\n"
            continues = line.endswith("\\")
        elif commands:
            commands[-1][2].append(line.rstrip())
    for command in commands:
        command[1] = command[1].rstrip("\n")
        while command[2] and not command[2][-1]:
            command[2].pop()
    return commands


def matches(shown, lines):
    """Are the lines the shown ones, `...` standing for any number of lines?"""
    pieces = re.split(rf"^ *{re.escape(ANYTHING)}\n", "".join(line + "\n" for line in shown), flags=re.MULTILINE)
    pattern = r"(?:.*\n)*".join(re.escape(piece) for piece in pieces)
    return re.fullmatch(pattern, "".join(line + "\n" for line in lines)) is not None


class Scratch:
    """A folder with the tree's own build, golden, tools and docs in it."""

    def __init__(self, folder, binary):
        self.folder = pathlib.Path(folder)
        (self.folder / "build").mkdir()
        (self.folder / "build/llava-ref").symlink_to(binary)
        for name in ("golden", "tools", "docs", "tests", "ref"):
            (self.folder / name).symlink_to(TREE / name)
        self.environment = os.environ | {"PATH": f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}"}

    def run(self, command):
        """(exit status, lines printed)."""
        done = subprocess.run(
            ["bash", "-c", command], cwd=self.folder, env=self.environment, timeout=SECONDS,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        lines = [line.rstrip() for line in done.stdout.decode(errors="replace").split("\n")]
        while lines and not lines[-1]:
            lines.pop()
        return done.returncode, lines


def command_is_right(status, lines, shown):
    error_shown = any(line.startswith("llava-ref: ") for line in shown)
    if status > 2 or (status == 2 and not error_shown) or (status == 1 and not shown):
        return False
    return matches(shown, lines)


def session_is_right(block, name, names):
    """None, or what doctest says, as lines. names: the session's variables, kept for the next one."""
    test = doctest.DocTestParser().get_doctest("\n".join(block.lines), names, name, name, block.line - 1)
    said = []
    doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=said.append, clear_globs=False)
    names.update(test.globs)
    return "".join(said).split("\n") if said else None


def quote_places(block, lines):
    """(piece, where it stands in `lines`, from 0) of each piece between two `...`; None: not behind the one before."""
    lines = [line.strip() for line in lines]
    pieces, at = [[]], 0
    for line in block.lines:
        if line.strip() == ANYTHING:
            pieces.append([])
        else:
            pieces[-1].append(line.strip())
    for piece in pieces:
        places = [i for i in range(at, len(lines) - len(piece) + 1) if lines[i : i + len(piece)] == piece]
        yield piece, places[0] if places else None
        at = places[0] + len(piece) if places else at


def quote_is_right(block, path):
    """None, or the first piece that does not stand in the file."""
    for piece, place in quote_places(block, path.read_text().split("\n") if path.is_file() else []):
        if place is None:
            return [f"not in {path.relative_to(TREE)}, or not in this order:", *piece]
    return None


class Claim(NamedTuple):
    line: int  # of the paragraph's first line in the document, from 1
    lines: list  # of the paragraph
    whole: bool  # it is what the command prints, and nothing else
    command: str


def claims_of(text):
    """Each command in a comment behind a paragraph, other such comments perhaps between them."""
    for comment in re.finditer(r"\n<!-- docs-check( whole)?\n(.*?)\n-->", text, flags=re.DOTALL):
        before = text[: comment.start()].rstrip("\n")
        while before.endswith("-->"):
            before = before[: before.rindex("<!--")].rstrip("\n")
        start = before.rfind("\n\n") + 2 if "\n\n" in before else 0
        for command in re.split(r"^\$ ", comment[2], flags=re.MULTILINE)[1:]:
            lines = before[start:].split("\n")
            yield Claim(before[:start].count("\n") + 1, lines, bool(comment[1]), command.rstrip("\n"))


def claim_is_right(claim, status, lines):
    paragraph = " ".join(" ".join(claim.lines).split())
    if claim.whole:
        return status == 0 and lines == claim.lines
    return status == 0 and bool(lines) and all(" ".join(line.split()) in paragraph for line in lines)


def check_links(document, text):
    prose = re.sub(r"^(```.*?^```$|    .*?$)", "", text, flags=re.MULTILINE | re.DOTALL)
    named = re.findall(r"`((?:ref|tools|tests|docs|golden)/[\w./-]+\.\w+)`", prose)
    wrong = [path for path in named if not (TREE / path).exists()]
    for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", prose):
        if "://" not in link and not (document.parent / link).exists():
            wrong.append(link)
    return wrong


def pictures_of(text):
    """The pictures that a document shows: "pictures/NAME.png" beside it."""
    return re.findall(r"!\[[^\]]*\]\((pictures/[^)]+\.png)\)", text)


def same_picture(one, other):
    """Are two files the same pixels? Their bytes may differ with the zlib that packed them."""
    from PIL import Image  # not where make_book.py imports this module

    with Image.open(one) as a, Image.open(other) as b:
        return a.mode == b.mode and a.size == b.size and a.tobytes() == b.tobytes()


def check_picture(document, link, folder, write):
    """None, or what is wrong with a picture; made by commands in `folder`."""
    made, kept = folder / pathlib.Path(link).name, document.parent / link
    if not made.is_file():
        return "no command of this document draws it"
    if write and not (kept.is_file() and same_picture(made, kept)):
        kept.parent.mkdir(exist_ok=True)
        shutil.copyfile(made, kept)
    if not kept.is_file() or not same_picture(made, kept):
        return "is not what this document's commands draw"
    return None


def check(document, binary, write=False, tables=False):
    """(things checked, things wrong) of one document. tables: only paragraphs that are what a command prints."""
    text = document.read_text()
    name = document.relative_to(TREE)
    count, names, wrong, anew = 0, {}, [], []

    def report(line, what, lines):
        wrong.append(line)
        print(f"{name}:{line}: {what}", *(f"    {text}" for text in lines), sep="\n", flush=True)

    with tempfile.TemporaryDirectory() as folder:
        scratch = Scratch(folder, binary)
        for block in [] if tables else blocks_of(text):
            kind, _, quoted = block.about.partition(" ")
            if kind in QUOTED and quoted:
                count += 1
                lines = quote_is_right(block, TREE / quoted)
                if lines:
                    report(block.line, "quote", lines)
            elif block.lines and block.lines[0].startswith(">>> "):
                count += 1
                os.chdir(folder)
                lines = session_is_right(block, str(name), names)
                os.chdir(TREE)
                if lines:
                    report(block.line, "session", lines)
            for line, command, shown in commands_of(block):
                count += 1
                status, lines = scratch.run(command)
                if command_is_right(status, lines, shown):
                    continue
                report(line, f"`{command}` exits with {status} and prints", lines)
                if command_is_right(status, lines, lines) and not any(line.strip() == ANYTHING for line in shown):
                    anew.append((line - 1, len(shown), [block.indent + line if line else "" for line in lines]))
        for claim in claims_of(text):
            if tables and not claim.whole:
                continue
            count += 1
            status, lines = scratch.run(claim.command)
            if claim_is_right(claim, status, lines):
                continue
            report(claim.line, f"`{claim.command}` exits with {status} and prints, what the paragraph does not say:", lines)
            if claim.whole and status == 0:
                anew.append((claim.line - 1, len(claim.lines), lines))
        for link in [] if tables else pictures_of(text):
            count += 1
            fault = check_picture(document, link, scratch.folder, write)
            if fault:
                report(1, f"{link} {fault}", [])
    for link in [] if tables else check_links(document, text):
        report(1, f"the link to {link} leads nowhere", [])
    if write:
        lines = text.split("\n")
        for first, old, new in sorted(anew, reverse=True):
            lines[first : first + old] = new
        document.write_text("\n".join(lines))
    return count, len(wrong) - (len(anew) if write else 0)


# What a measurement looks like: 1.5, 2e-14, 12 %, 3 GB, 5 times.
MEASURED = r"(?<![\w.-])\d[\d ]*\.\d+(?:e[-+]?\d+)?(?![\w.])|(?<![\w.-])\de[-+]?\d+\b|(?<![\w.-])\d[\d ]*(?= (?:%|times\b|[GMk]i?B\b|m?s\b|min\b|seconds?\b|minutes?\b|Gflop|per cent\b))"


def unchecked(document):
    """A line for each block, table and paragraph with numbers that nothing checks."""
    text, name = document.read_text(), document.relative_to(TREE)
    lines, seen, found = text.split("\n"), "", []
    for claim in claims_of(text):
        seen += " ".join(claim.lines)
        for i in range(claim.line - 1, claim.line - 1 + len(claim.lines)):
            lines[i] = ""
    text = "\n".join(lines)
    for block in blocks_of(text):
        kind, _, quoted = block.about.partition(" ")
        inside = "\n".join(block.lines)
        if commands_of(block) or inside.startswith(">>> ") or (kind in QUOTED and quoted):
            seen += inside
        elif re.search(MEASURED, inside):
            found.append((block.line, "block", re.findall(MEASURED, inside)))
        for i in range(block.line - 1, block.line - 1 + len(block.lines)):
            lines[i] = ""
    prose = re.sub(r"<!--.*?-->", lambda m: re.sub(r"[^\n]", " ", m[0]), "\n".join(lines), flags=re.DOTALL)
    at = 1
    for paragraph in prose.split("\n\n"):
        bare = re.sub(r"`[^`]*`|\]\([^)]*\)", lambda m: "\n" * m[0].count("\n"), paragraph)
        numbers = [n for n in re.findall(MEASURED, bare) if n not in seen]
        if numbers:
            found.append((at, "table" if paragraph.lstrip().startswith("|") else "text", numbers))
        at += paragraph.count("\n") + 2
    for line, what, numbers in sorted(found):
        yield f"{name}:{line}: {what}: {', '.join(dict.fromkeys(numbers))}"


def unseen(documents):
    """Pictures of the book that no document shows."""
    shown = {(document.parent / link).resolve() for document in documents for link in pictures_of(document.read_text())}
    stray = sorted(set((TREE / "docs/book/pictures").glob("*")) - shown)
    for path in stray:
        print(f"{path.relative_to(TREE)}: no document shows it")
    return stray


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("files", nargs="*", type=pathlib.Path, help="default: all of them")
    parser.add_argument("--binary", type=pathlib.Path, default=TREE / "build/llava-ref")
    parser.add_argument("--write", action="store_true", help="put what commands print into the documents")
    parser.add_argument("--tables", action="store_true", help="only paragraphs that are what a command prints")
    parser.add_argument("--unchecked", action="store_true", help="list the numbers that nothing checks; runs nothing")
    options = parser.parse_args()
    files = [path.resolve() for path in options.files]
    files = files or [path for name in DOCUMENTS for path in sorted(TREE.glob(name))]
    if options.unchecked:
        print(*(line for document in files for line in unchecked(document)), sep="\n")
        return 0
    binary = options.binary.resolve(strict=not options.tables)
    counts = [check(document, binary, options.write, options.tables) for document in files]
    checked, wrong = (sum(column) for column in zip(*counts))
    if not options.files and not options.tables:
        bare = list(unchecked(TREE / "README.md"))  # of the README every number is checked
        print(*(f"{line}: nothing checks that" for line in bare), sep="\n", end="\n" if bare else "")
        wrong += len(unseen(files)) + len(bare)
    print(f"{checked} commands, sessions, quotes and pictures in {len(files)} documents, {wrong} not as shown")
    return int(wrong > 0 or checked == 0)


if __name__ == "__main__":
    sys.exit(main())
