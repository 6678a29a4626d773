"""Does tools/check_docs.py notice a document that is wrong? One document per kind of fault, and a right one."""

import contextlib
import io
import pathlib
import shutil
import sys
import tempfile

import check_docs

SAMPLES = (  # (what it is, its text, how many faults)
    ("right", "    $ echo a; echo b; echo c\n    a\n    ...\n    c\n\n```\n$ true\n```\n\n    >>> 1 + 1\n    2\n", 0),
    ("ellipsis for no line", "    $ echo a; echo c\n    a\n    ...\n    c\n", 0),
    ("continued line, error shown",
     "    $ build/llava-ref inspect \\\n        no.npz\n    llava-ref: no.npz: No such file or directory\n", 0),
    ("files live on to the next block", "    $ echo a >file\n\nText.\n\n    $ cat file\n    a\n", 0),
    ("a quote", "```c ref/projector.c\nconst llava_plan *p = r->plan;\n...\nreturn ok;\n```\n", 0),
    ("a quote of Python", "```python tools/measured.py\nimport argparse\n...\nimport json\n```\n", 0),
    ("another line", "    $ echo b\n    a\n", 1),
    ("a line more", "    $ echo a; echo b\n    a\n", 1),
    ("a line less", "    $ echo a\n    a\n    b\n", 1),
    ("nothing shown, something printed", "    $ echo a\n", 1),
    ("nothing shown, exit status 1", "    $ false\n", 1),
    ("exit status 2 behind right lines", "    $ echo a; exit 2\n    a\n", 1),
    ("exit status 127", "    $ echo a; no-such-command\n    a\n    ...\n", 1),
    ("a wrong session", "    >>> 1 + 1\n    3\n", 1),
    ("no such quote", "```c ref/projector.c\nreturn not_ok;\n```\n", 1),
    ("a quote in another order", "```c ref/projector.c\nreturn ok;\n...\nconst llava_plan *p = r->plan;\n```\n", 1),
    ("a quote of no file", "```c ref/nothing.c\nreturn ok;\n```\n", 1),
    ("a link to nothing", "A [link](nothing.md), a [link](https://example.org) and a [link](#here).\n", 1),
    ("a number that a command prints", "There are 12\napples.\n\n<!-- docs-check\n$ echo 12 apples\n-->\n", 0),
    ("another number", "There are 13 apples.\n\n<!-- docs-check\n$ echo 12 apples\n-->\n", 1),
    ("a number of the paragraph before", "There are 12.\n\nApples.\n\n<!-- docs-check\n$ echo 12\n-->\n", 1),
    ("a number from a command that fails", "There are 12.\n\n<!-- docs-check\n$ echo 12; false\n-->\n", 1),
    ("a number from nothing", "There are 12.\n\n<!-- docs-check\n$ true\n-->\n", 1),
    ("a table that a command prints", "| a |\n|---|\n| 1 |\n\n<!-- docs-check whole\n$ printf '| a |\\n|---|\\n| 1 |\\n'\n-->\n", 0),
    ("a row that no command prints", "| a |\n|---|\n| 1 |\n| 2 |\n\n<!-- docs-check whole\n$ printf '| a |\\n|---|\\n| 1 |\\n'\n-->\n", 1),
    ("a table and a number in it", "| 12 |\n\n<!-- docs-check whole\n$ echo '| 12 |'\n-->\n<!-- docs-check\n$ echo 12\n-->\n", 0),
    ("a table and no such number", "| 12 |\n\n<!-- docs-check whole\n$ echo '| 12 |'\n-->\n<!-- docs-check\n$ echo 13\n-->\n", 1),
    ("a file that is there, and one that is not", "See `ref/vision.c` and `ref/visions.c`.\n", 1),
    ("a picture", "    $ cp golden/demo/pictures/2-red-triangle.png x.png\n\n![x](pictures/x.png)\n", 0),
    ("another picture", "    $ cp golden/demo/pictures/3-purple-circle.png x.png\n\n![x](pictures/x.png)\n", 1),
    ("a picture that no command draws", "![x](pictures/x.png)\n", 1),
    ("a picture that is not there", "    $ touch y.png\n\n![y](pictures/y.png)\n", 2),
    ("two faults", "    $ echo b\n    a\n    $ echo b\n    a\n", 2),
)  # fmt: skip

WRITTEN = (  # (a document, what --write makes of it, with --tables)
    ("Text.\n\n    $ echo a; echo; echo b\n    $ echo c\n    d\n\nMore.\n",
     "Text.\n\n    $ echo a; echo; echo b\n    a\n\n    b\n    $ echo c\n    c\n\nMore.\n", False),
    ("    $ echo a\n    b\n\n| 1 |\n| 2 |\n\n<!-- docs-check whole\n$ echo '| 3 |'\n-->\n",
     "    $ echo a\n    b\n\n| 3 |\n\n<!-- docs-check whole\n$ echo '| 3 |'\n-->\n", True),
    ("    $ echo a; exit 2\n    b\n", "    $ echo a; exit 2\n    b\n", False),
    ("| 1 |\n\n<!-- docs-check whole\n$ echo '| 3 |'; false\n-->\n", "| 1 |\n\n<!-- docs-check whole\n$ echo '| 3 |'; false\n-->\n", True),
)  # fmt: skip

UNCHECKED = (  # (a document, the numbers that nothing in it checks)
    ("It takes 1.5 s, or 12 %, `2.5` or 3.\n", ["1.5, 12"]),
    ("It takes 1.5 s.\n\n    $ echo 1.5\n    1.5\n", []),
    ("It takes 1.5 s.\n\n<!-- docs-check\n$ echo 1.5\n-->\n", []),
    ("| 1.5 |\n\n    2.5\n", ["1.5", "2.5"]),
)


def main():
    binary, wrong = check_docs.TREE / "build/llava-ref", 0
    with tempfile.TemporaryDirectory(dir=check_docs.TREE / "build", prefix="docs-") as folder:
        (pathlib.Path(folder) / "pictures").mkdir()
        shutil.copy(check_docs.TREE / "golden/demo/pictures/2-red-triangle.png", f"{folder}/pictures/x.png")
        for name, text, faults in SAMPLES:
            document = pathlib.Path(folder) / "sample.md"
            document.write_text(text)
            said = io.StringIO()
            with contextlib.redirect_stdout(said):
                checked, found = check_docs.check(document, binary)
            if found != faults or checked == 0 and not faults:
                wrong += 1
                print(f"{name}: {found} faults found, {faults} there", said.getvalue(), sep="\n")
        for old, new, tables in WRITTEN:
            document.write_text(old)
            with contextlib.redirect_stdout(said):
                check_docs.check(document, binary, write=True, tables=tables)
            if document.read_text() != new:
                wrong += 1
                print("--write writes", document.read_text(), sep="\n")
        for text, numbers in UNCHECKED:
            document.write_text(text)
            found = [line.rsplit(": ", 1)[-1] for line in check_docs.unchecked(document)]
            if found != numbers:
                wrong += 1
                print("--unchecked finds", found, "in", text, sep="\n")
    print(f"{len(SAMPLES)} documents, {wrong} judged wrongly")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
