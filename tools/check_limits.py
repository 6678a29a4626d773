"""Are the limits of docs/limits.md those of the code? For docs-check.

    python tools/check_limits.py

A row whose column *where* names a constant (`LLAVA_JSON_DEPTH`) must say the number that the constant is defined as, in one
of the ways in which people write it: 10 000, 16 MiB, 2^31 - 1. Prints how many there are; exits with 1 where one is
otherwise.
"""

import pathlib
import re
import sys

TREE = pathlib.Path(__file__).resolve().parent.parent


def constants():
    """{name: number} of what the headers define as a number, or a product or shift of numbers."""
    found = {}
    for path in [*TREE.glob("ref/*.[ch]"), *TREE.glob("tools/*.[ch]")]:
        for name, value in re.findall(r"(?:#define |^ +)(LLAVA_\w+) (?:= )?\s*([^/\n]*)", path.read_text(), re.MULTILINE):
            value = re.sub(r"\(size_t\)|(?<=\d)u\b|,\s*$", "", value).strip()
            if re.fullmatch(r"[\d()* <]+", value):
                found[name] = eval(value)  # digits and operators alone
    return found


def ways(number):
    """How people write it."""
    yield str(number)
    yield f"{number:,}".replace(",", " ")
    if number % 2**20 == 0:
        yield f"{number // 2**20} MiB"
    if (number + 1) & number == 0:
        yield f"2^{number.bit_length()} - 1"


def main():
    known, count, wrong = constants(), 0, 0
    for line in (TREE / "docs/limits.md").read_text().split("\n"):
        cells = line.split("|")
        for name in re.findall(r"`(LLAVA_\w+)`", cells[4]) if len(cells) > 4 else []:
            count += 1
            if not any(re.search(rf"(?<!\d)(?<!\d ){re.escape(way)}(?! ?\d)", cells[2]) for way in ways(known[name])):
                wrong += 1
                print(f"{name} is {known[name]}, not '{cells[2].strip()}'")
    print(f"{count} limits are those of the code's constants" if not wrong else f"{wrong} of {count} limits are others")
    return int(wrong > 0 or count == 0)


if __name__ == "__main__":
    sys.exit(main())
