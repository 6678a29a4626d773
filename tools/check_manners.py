"""What a person at a terminal meets: the manual page, completion in real shells.

    python tools/check_manners.py [--binary build/llava-ref]

* The manual page has no warning of mandoc's (its lint).
* bash and zsh, interactive on a pseudo-terminal, complete command lines with the scripts that the program
  makes, as after `make install`.

Exits with 1 where anything is otherwise. Programs that are not installed (mandoc, zsh) are an error, too:
Debian's packages of those names have them.
"""

import argparse
import os
import pathlib
import pty
import re
import select
import shutil
import subprocess
import sys
import tempfile
import time

TREE = pathlib.Path(__file__).resolve().parent.parent
SECONDS = 20  # that a shell may take for one answer

# A line as it is typed, the tab key at its end, and the pattern of what must then stand there.
TYPED = [
    ("llava-ref diag", "llava-ref diagnose "),
    ("llava-ref run --prefill", "llava-ref run --prefill-chunk[ =]"),
    ("llava-ref run --dtype b", "llava-ref run --dtype bf16 "),
    ("llava-ref run --set vision.cls", "llava-ref run --set vision.cls_position="),
    ("llava-ref run --set vision.cls_position=l", "llava-ref run --set vision.cls_position=last "),
    ("llava-ref run --taps logits,generat", "llava-ref run --taps logits,generated_ids"),
    ("llava-ref run --model gold", "llava-ref run --model golden/"),
    ("llava-ref diff --map llam", "llava-ref diff --map llama.cpp "),
    ("llava-ref explain vision.patch_ker", "llava-ref explain vision.patch_kernel "),
    ("llava-ref help --completion z", "llava-ref help --completion zsh "),
]


class Terminal:
    """A program on a pseudo-terminal."""

    def __init__(self, words, folder, environment, columns=100):
        self.child, self.file = pty.fork()
        if self.child == 0:
            os.chdir(folder)
            os.execvpe(words[0], words, environment | {"TERM": "xterm", "COLUMNS": str(columns)})

    def type(self, text):
        os.write(self.file, text.encode())

    def read(self, until=None, seconds=SECONDS):
        """What it writes until the pattern is there, or for so long; at its end, whatever there was."""
        text, end = "", time.monotonic() + seconds
        while time.monotonic() < end and not (until and re.search(until, text)):
            if select.select([self.file], [], [], 0.1)[0]:
                try:
                    got = os.read(self.file, 65536)
                except OSError:
                    got = b""
                if not got:
                    break
                text += got.decode(errors="replace")
        return text

    def end(self):
        os.close(self.file)
        os.waitpid(self.child, 0)


def shown(text):
    """The last line of what a terminal got, without what moves the cursor."""
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]|\x07", "", text)
    line = ""
    for character in text.split("\n")[-1]:
        line = line[:-1] if character == "\b" else line + character
    return line.split("\r")[-1]


def scripts(binary, folder):
    """The completion scripts where the shells look for them."""
    (folder / "zsh").mkdir()
    for shell, path in (("bash", folder / "bash"), ("zsh", folder / "zsh/_llava-ref")):
        path.write_bytes(subprocess.run([binary, "help", "--completion", shell], check=True, capture_output=True).stdout)


def start_shell(shell, folder):
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "LC_ALL": "C.UTF-8"}
    if shell == "bash":
        terminal = Terminal(["bash", "--norc", "--noprofile", "-i"], folder, environment)
        terminal.type("bind 'set enable-bracketed-paste off'; PS1='re''ady> '; source ./bash\n")
    else:
        terminal = Terminal(["zsh", "-f", "-i"], folder, environment)
        terminal.type("unset zle_bracketed_paste; fpath=($PWD/zsh $fpath); autoload -U compinit; compinit -u -D; PS1='re''ady> '\n")
    terminal.read("ready> ")
    return terminal


def check_shell(shell, folder):
    wrong = 0
    terminal = start_shell(shell, folder)
    for typed, expected in TYPED:
        terminal.type(typed + "\t")
        deadline, text = time.monotonic() + SECONDS, ""
        while time.monotonic() < deadline and not re.search(expected + "$", shown(text)):
            text += terminal.read(seconds=0.05)
        if not re.search(expected + "$", shown(text)):
            print(f"{shell}: {typed!r} and tab: {shown(text)!r} instead of {expected!r}")
            wrong += 1
        terminal.type("\x15\n")  # the line is given up
        terminal.read("ready> ")
    terminal.end()
    return wrong


def check_manual(binary, folder):
    page = folder / "llava-ref.1"
    page.write_bytes(subprocess.run([binary, "help", "--man"], check=True, capture_output=True).stdout)
    lint = subprocess.run(["mandoc", "-Tlint", "-W", "warning", page], capture_output=True, text=True)
    print(lint.stdout, end="")
    text = subprocess.run(["mandoc", "-Tascii", page], check=True, capture_output=True, text=True).stdout
    sections = [name for name in ("SYNOPSIS", "EXIT STATUS", "EXAMPLES") if f"\n{name[0]}\b{name[0]}" not in text]
    for name in sections:
        print(f"manual: no section {name}")
    return int(lint.returncode != 0 or lint.stdout != "") + len(sections)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--binary", type=pathlib.Path, default=TREE / "build/llava-ref")
    binary = parser.parse_args().binary.resolve(strict=True)
    missing = [name for name in ("bash", "zsh", "mandoc") if shutil.which(name) is None]
    if missing:
        sys.exit(f"not installed: {' '.join(missing)}")
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "golden").mkdir()
        (folder / "llava-ref").symlink_to(binary)
        scripts(binary, folder)
        wrong = check_manual(binary, folder) + check_shell("bash", folder) + check_shell("zsh", folder)
    print(f"manual page, {len(TYPED)} lines in each of bash and zsh: {wrong} wrong")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
