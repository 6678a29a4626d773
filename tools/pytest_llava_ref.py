"""llava-ref in a port's own tests: one assertion that names the first tap that is wrong, and why.

    from pytest_llava_ref import assert_matches

    def test_my_port(tmp_path):
        with capture(my_model, tmp_path / "port.npz"):           # llava_capture, llava_dump.h, or anything
            my_model(**inputs)
        assert_matches(tmp_path / "port.npz", "llava-1.5-7b-hf", "inputs.npz", map="mlx")

Works in any test runner; under pytest, `-p pytest_llava_ref` (or pytest_plugins in conftest.py) gives the
fixture `llava_ref`, which skips a test where the program is not installed. The program is the one that
LLAVA_REF names, else `llava-ref` on PATH. Nothing but the standard library is needed.
"""

import json
import os
import shutil
import subprocess
import tempfile


class NotInstalled(RuntimeError):
    pass


class CannotJudge(RuntimeError):
    """The comparison could not be made: a bad file, missing tensors, wrong usage. Never a pass."""


def find_program():
    """The path of llava-ref, or NotInstalled."""
    name = os.environ.get("LLAVA_REF", "llava-ref")
    path = shutil.which(name)
    if path is None:
        raise NotInstalled(f"{name} is not there: set LLAVA_REF to build/llava-ref, or `make install`")
    return path


def run(*arguments, timeout=3600):
    """Runs the program; gives its JSON where it printed some. Exit status 2 raises CannotJudge."""
    result = subprocess.run(
        [find_program(), *map(os.fspath, arguments)], capture_output=True, text=True, timeout=timeout
    )
    if result.returncode not in (0, 1):
        said = result.stderr.strip().splitlines()
        raise CannotJudge(said[-1] if said else f"llava-ref {arguments[0]}: exit status {result.returncode}")
    return json.loads(result.stdout) if "--json" in arguments else None


def where_from(inputs, image, prompt, chat):
    """The options that say what goes in: an inputs file, or pictures and a text."""
    options = [] if inputs is None else ["--inputs", inputs]
    for picture in [image] if isinstance(image, (str, os.PathLike)) else image or []:
        options += ["--image", picture]
    for name, text in (("--prompt", prompt), ("--chat", chat)):
        options += [] if text is None else [name, text]
    if not options:
        raise TypeError("inputs, or image and prompt, must be given")
    return options


def table(report, rows):
    """The taps around the first divergence: what still agreed, and what did not."""
    tensors = report["tensors"]
    first = next((i for i, t in enumerate(tensors) if t["name"] == report["first_divergence"]), 0)
    lines = [f"{'tap':36} {'shape':20} {'rel L2':>9} {'max':>9} {'bound':>9}  verdict"]
    for t in tensors[max(0, first - 2) : first + rows]:
        numbers = " ".join(f"{'-' if t.get(k) is None else format(t[k], '.1e'):>9}" for k in ("rel_l2", "max_abs", "bound"))
        lines.append(f"{t['name']:36} {str(t.get('shape')):20} {numbers}  {t['verdict']}")
    left = len(tensors) - first - rows
    return lines + ([f"... and {left} more taps"] if left > 0 else [])


def findings(report):
    """What diagnose found, a line each."""
    lines = []
    for finding in report["findings"]:
        causes = []
        for cause in finding["causes"][:3]:
            with_ = [f"{c['decision']}={c['value']}" for c in cause.get("with", [])]
            causes.append(" with ".join([f"{cause['decision']}={cause['value']}", *with_]))
        why = f"{finding['confidence']}: {' or '.join(causes)}" if causes else "no known cause explains it"
        lines.append(f"first wrong at {finding['tap']}, from {', '.join(finding['from'])}: {why}")
    return lines


def compare(dump, model, inputs=None, *, image=None, prompt=None, chat=None, generate=None, expected=None, dtype=None,
            numerics=None, positions=None, peer=None, map=None, require=(), timeout=3600):  # fmt: skip
    """(report of diff, report of diagnose or None). See assert_matches."""
    what = where_from(inputs, image, prompt, chat)
    what += ["--generate", str(generate)] if generate else []
    what += ["--positions", positions] if positions else []
    names = ["--map", map] if map else []
    with tempfile.TemporaryDirectory() as folder:
        if expected is None:
            expected = os.path.join(folder, "expected.npz")
            how = [o for name, value in (("--dtype", dtype), ("--numerics", numerics)) if value for o in (name, value)]
            run("run", "--model", model, *what, *how, "--dump", expected, timeout=timeout)
        options = ["--peer", peer] if peer else []
        globs = require if isinstance(require, str) else ",".join(require)
        options += ["--require", globs] if globs else []
        difference = run("diff", expected, dump, *names, *options, "--model", model, "--json", "-", timeout=timeout)
    if difference["verdict"] != "differ":
        return difference, None
    try:
        return difference, run("diagnose", "--model", model, *what, "--dump", dump, *names, "--json", "-", timeout=timeout)
    except CannotJudge as error:  # a dump that lacks what a diagnosis needs is wrong all the same
        return difference, {"findings": [], "note": str(error)}


def assert_matches(dump, model, inputs=None, *, rows=8, **options):
    """Raises AssertionError, with the taps around the first divergence and the likely cause, unless the port's
    `dump` (.npz, folder or .safetensors) agrees with `model` (a folder as save_pretrained writes it).

    inputs: the .npz of inputs; or image (a file or several) with prompt or chat. generate: as many tokens.
    map: the port's names, a built-in map or a file. peer: the dump of an honest implementation of the port's
    type. expected: a dump made earlier (`llava-ref run --dump`), else it is computed, in float64. require: globs of
    taps that must be there. dtype, numerics, positions: as in `llava-ref run`. Returns the report where it agrees.
    """
    difference, diagnosis = compare(dump, model, inputs, **options)
    if difference["verdict"] in ("pass", "warn"):
        return difference
    if difference["verdict"] != "differ":
        raise CannotJudge(f"{dump}: {difference['verdict']}")
    lines = [f"{os.fspath(dump)} differs from the model, first at {difference['first_divergence']}"]
    lines += findings(diagnosis) or [diagnosis.get("note", "diagnose finds nothing beyond rounding")]
    raise AssertionError("\n".join(lines + [""] + table(difference, rows)))


try:
    import pytest
except ImportError:
    pass
else:

    @pytest.fixture
    def llava_ref():
        """assert_matches, or a skipped test where the program is not there."""
        try:
            find_program()
        except NotInstalled as error:
            pytest.skip(str(error))
        return assert_matches
