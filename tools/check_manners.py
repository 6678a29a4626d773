"""What a person at a terminal meets: the manual page, completion in real shells, progress, JSON.

    python tools/check_manners.py [--binary build/llava-ref]

* The manual page has no warning of mandoc's (its lint).
* bash and zsh, interactive on a pseudo-terminal, complete command lines with the scripts that the program
  makes, as after `make install`.

* Every command's --json is JSON to the letter, read by another parser: hostile names, NaN, nothing compared.
* An answer's control characters are shown on a terminal, and written as they are into a file.
* Long work shows its progress on a terminal's standard error, within its width, wiped at the end, before an error
  and after Ctrl-C; none where standard error is no terminal or a dumb one; no colours.

Exits with 1 where anything is otherwise. Programs that are not installed (mandoc, zsh) are an error, too:
Debian's packages of those names have them.
"""

import argparse
import fcntl
import json
import os
import pathlib
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
import zipfile

TREE = pathlib.Path(__file__).resolve().parent.parent
SECONDS = 60  # that anything here may take

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
    ("llava-ref draw att", "llava-ref draw attention "),
    ("llava-ref help --completion z", "llava-ref help --completion zsh "),
]


class Terminal:
    """A program on a pseudo-terminal."""

    def __init__(self, words, folder, environment, columns=100):
        self.child, self.file = pty.fork()
        if self.child == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
            os.chdir(folder)
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # what runs in the background may have it ignored
            os.execvpe(words[0], words, {"TERM": "xterm"} | environment)

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


# ---- progress ------------------------------------------------------------------------------------

WIPE = "\r\x1b[K"


def on_terminal(command, folder, columns=100, **environment):
    """What a terminal gets from a shell command, to its end."""
    environment = {"PATH": f"{folder}:{os.environ['PATH']}", "HOME": str(folder)} | environment
    terminal = Terminal(["sh", "-c", command], folder, environment, columns)
    text = terminal.read()
    terminal.end()
    return text.replace("\r\n", "\n")


def progress_lines(text):
    return [line for line in re.findall(r"\r\x1b\[K([^\r\n]*)(?=\r)", text) if line]


def lasting(command, folder, columns):
    """What the command shows with as many runs as last over three seconds: there is no estimate in the first."""
    runs, seconds = 100, 0
    while seconds < 3 and runs <= 1000:
        began = time.monotonic()
        text = on_terminal(f"{command} {runs}", folder, columns)
        seconds = time.monotonic() - began
        runs *= 3
    return text


def check_progress(folder):
    """Messages of what is otherwise than it should be."""
    picture = "--image golden/demo/pictures/2-red-triangle.png --chat 'What is in the picture?'"
    bench = f"llava-ref bench --model golden/demo/model {picture} --runs "
    run = f"llava-ref run --model golden/demo/model {picture}"
    for columns in (100, 24):
        text = lasting(bench, folder, columns)
        lines = progress_lines(text)
        if len(lines) < 5 or not any(re.match(r"\d+ %, \d+ s left: \w", line) for line in lines):
            yield f"no progress with time left in {columns} columns: {lines}"
        if any(len(line) >= columns for line in lines):
            yield f"a line is wider than {columns} columns: {max(lines, key=len)!r}"
        if not text.rsplit(WIPE, 1)[-1].startswith("machine: "):
            yield f"the line is not wiped before the table: {text.rsplit(WIPE, 1)[-1][:60]!r}"
        if "\x1b[" in text.replace("\x1b[K", ""):
            yield "escape sequences other than the wiping of a line"
    if "\x1b" in on_terminal(f"{run} 2>messages", folder) or (folder / "messages").stat().st_size:
        yield "progress where standard error is no terminal"
    if "\x1b" in on_terminal(run, folder, TERM="dumb"):
        yield "progress on a dumb terminal"
    if not progress_lines(on_terminal(f"{run} | tail -n 1", folder)):
        yield "no progress where standard output alone is no terminal"
    text = on_terminal(f"mkfifo pipe; head -c 3000000 pipe >part & {run} --dump pipe", folder)
    if not re.search(r"%[^\r\n]*\r\x1b\[Kllava-ref: pipe: [^\r]*\n$", text):
        yield f"the line is not wiped before an error: {text!r}"
    yield from check_interrupt(f"{bench} 1000", folder)
    dump = f"{run} --dump port.npz --set vision.act=gelu >answer && llava-ref"
    for command in (f"{dump} diagnose --model golden/demo/model {picture} --dump port.npz", f"{dump} diff port.npz port.npz",
                    f"{dump} inspect port.npz", f"{dump} draw drift port.npz port.npz --png x.png"):  # fmt: skip
        text = on_terminal(command, folder)
        shown_last = text.rsplit(WIPE, 1)[-1]
        if not progress_lines(text.split("answer")[-1]) or re.match(r"\d+ %", shown_last):
            yield f"{command}: no progress, or not wiped: {shown_last[:60]!r}"


def check_interrupt(command, folder):
    environment = {"PATH": f"{folder}:{os.environ['PATH']}", "HOME": str(folder)}
    terminal = Terminal(["sh", "-c", f"exec {command}"], folder, environment)
    text = terminal.read(r"\d+ %")
    os.kill(terminal.child, signal.SIGINT)
    text += terminal.read()
    terminal.end()
    if text.rsplit(WIPE, 1)[-1].strip("^C\r\n"):
        yield f"Ctrl-C leaves {text.rsplit(WIPE, 1)[-1]!r}"


# ---- a hostile model's answer ----------------------------------------------------------------------


def check_answer(binary, folder):
    """A tokenizer whose blank colours the terminal and hides what follows: shown there, and nowhere else touched."""
    model = folder / "hostile"
    shutil.copytree(TREE / "golden/demo/model", model)
    tokenizer = json.loads((model / "tokenizer.json").read_text())
    for step in tokenizer["decoder"]["decoders"]:
        if step["type"] == "Replace":
            step["content"] = "\x1b[8m\u202e\n"
    (model / "tokenizer.json").chmod(0o644)
    (model / "tokenizer.json").write_text(json.dumps(tokenizer))
    command = f"llava-ref run --model {model} --image golden/demo/pictures/2-red-triangle.png --chat 'What is in the picture?'"
    command += " --generate 3"
    shown_there = on_terminal(f"{command} 2>/dev/null", folder)
    raw = on_terminal(f"{command} 2>/dev/null >raw; od -An -c raw", folder)
    if "\x1b" in shown_there or "\u202e" in shown_there or "\\x1b[8m\\xe2\\x80\\xae\n" not in shown_there:
        yield f"an answer's control characters on a terminal: {shown_there!r}"
    if "033   [   8   m 342 200 256" not in raw:
        yield f"an answer that is not byte for byte in a file: {raw!r}"


# ---- JSON ----------------------------------------------------------------------------------------


def npz(path, members):
    """An archive of members of three zeros: numpy is not needed here, and would not take such names."""
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (3,), }"
    header += b" " * (117 - len(header)) + b"\n"
    with zipfile.ZipFile(path, "w") as archive:
        for name, values in members:
            data = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + struct.pack("<3d", *values)
            archive.writestr(zipfile.ZipInfo(name + ".npy"), data)


def strict(text):
    def refuse(word):
        raise ValueError(f"{word} is no JSON")

    def pairs(items):
        if len(dict(items)) != len(items):
            raise ValueError(f"a key stands twice among {[key for key, _ in items]}")
        return dict(items)

    return json.loads(text.decode(), parse_constant=refuse, object_pairs_hook=pairs)


def check_json(binary, folder):
    """Messages of what is otherwise than it should be."""
    golden = TREE / "golden"
    plain = ["--model", golden / "plain/model", "--inputs", golden / "plain/inputs.npz"]
    nan, inf = float("nan"), float("inf")
    odd = folder / os.fsdecode(b'odd"\n\x1b\xff\xe2\x80\xae')
    odd.mkdir()
    npz(odd / "hostile.npz", [(name, (nan, 1, inf)) for name in ('a"b', "tab\tnew\nline", "esc\x1b[31m", "\u202eright", "é")])
    npz(odd / "nan.npz", [("logits", (nan, -inf, 1))])
    npz(odd / "right.npz", [("logits", (0, 1, 2))])
    commands = [
        ("version", 0, []), ("explain", 0, []), ("explain", 0, ["vision.pre_norm"]), ("explain", 0, ["step.1.logits"]),
        ("run", 0, plain), ("run", 0, [*plain, "--generate", "3"]), ("run", 0, [*plain, "--taps", "logits"]),
        ("inspect", 0, [golden / "plain/model"]), ("inspect", 0, [golden / "plain/true.npz"]),
        ("inspect", 0, [golden / "plain/true.npz", "logits"]), ("inspect", 0, [odd / "hostile.npz"]),
        ("inspect", 0, [odd / "nan.npz", "logits"]), ("diff", 0, [golden / "plain/true.npz", golden / "plain/f32.npz"]),
        ("diff", 1, [odd / "right.npz", odd / "nan.npz"]), ("diff", 2, [odd / "hostile.npz", odd / "hostile.npz"]),
        ("diff", 2, [odd / "hostile.npz", odd / "right.npz"]), ("diagnose", 0, [*plain, "--dump", golden / "plain/bf16.npz"]),
        ("diagnose", 2, [*plain, "--dump", odd / "hostile.npz"]), ("bench", 0, [*plain, "--runs", "1"]),
        ("help", 0, []), ("help", 0, ["draw"]),
        ("draw", 0, ["drift", golden / "plain/true.npz", golden / "plain/f32.npz", "--png", folder / "drift.png"]),
        ("draw", 0, ["drift", odd / "right.npz", odd / "nan.npz", "--png", folder / "drift.png"]),
    ]  # fmt: skip
    for name, status, words in commands:
        done = subprocess.run([binary, name, *words, "--json", "-"], capture_output=True)
        shown = f"{name} {' '.join(map(str, words))}"
        try:
            schema = strict(done.stdout).get("schema")
        except ValueError as error:
            yield f"{shown}: {error}: {done.stdout[:100]}"
            continue
        if schema != f"llava-ref.{name}/1" or done.returncode != status:
            yield f"{shown}: {schema}, exit status {done.returncode}"
        if any(byte < 0x20 for byte in done.stdout.rstrip(b"\n")) or b"\xe2\x80\xae" in done.stdout:
            yield f"{shown}: control characters"


# ---- all of it -----------------------------------------------------------------------------------


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
        (folder / "golden/demo").symlink_to(TREE / "golden/demo")
        (folder / "llava-ref").symlink_to(binary)
        scripts(binary, folder)
        wrong = check_manual(binary, folder) + check_shell("bash", folder) + check_shell("zsh", folder)
        for message in [*check_progress(folder), *check_answer(binary, folder), *check_json(binary, folder)]:
            print(message)
            wrong += 1
    print(f"manual page, {len(TYPED)} lines in each of bash and zsh, progress on a terminal, JSON: {wrong} wrong")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
