"""The C code as a library, for checks that call its functions from Python.

    lib = c_library.load({"llava_picture": Picture, ...}, ["ref/picture.h", ...])

The sources are the Makefile's own list (`make shared`). Every structure that Python writes down once more is held
against the C compiler's: its size, and the place and size of each field, by name. A header that changed stops the
check before it reads anything at the wrong place.
"""

import ctypes
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent


class Error(ctypes.Structure):
    """llava_error"""

    _fields_ = [("text", ctypes.c_char * 1024)]


def make(*words):
    """What `make` prints; it must succeed."""
    return subprocess.run(["make", "-s", *words], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def hold(structures, headers):
    """Ends the program where a structure is not what the headers say."""
    lines = ["#include <stddef.h>"] + [f'#include "{header}"' for header in headers]
    for name, structure in structures.items():
        lines.append(f'_Static_assert(sizeof({name}) == {ctypes.sizeof(structure)}, "its size");')
        for field, *_ in structure._fields_:
            place = getattr(structure, field)
            lines.append(f'_Static_assert(offsetof({name}, {field}) == {place.offset}, "its place");')
            lines.append(f'_Static_assert(sizeof((({name} *)0)->{field}) == {place.size}, "its size");')
    compiler = make("print-preprocess").split()
    run = subprocess.run(compiler + ["-fsyntax-only", "-x", "c", "-"], cwd=ROOT, input="\n".join(lines) + "\n", text=True,
                         capture_output=True)
    if run.returncode != 0:
        sys.exit(f"a structure is no longer what its header says:\n{run.stderr}")


def load(structures, headers):
    hold({"llava_error": Error, **structures}, ["ref/error.h", *headers])
    return ctypes.CDLL(str(ROOT / make("shared").strip()))
