#!/usr/bin/env python3
"""Writes docs/mutations.md: what every wrong decision does, where it first shows, and whether it is seen.

For each model, `llava-ref diff --model` replays the model from right float64 tensors and reports, for every wrong value
of every decision, the first tap it changes and how much; the bounds beside it are those of an honest float32, bfloat16
or float16 port. Decisions of the picture and of the prompt are run with --set, and their pixel_values and ids compared.

    python tools/make_mutations.py [--program build/llava-ref] [--check]
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent
MODELS = ["demo-chat", "plain", "grouped-heads", "batch-left", "generate"]
# What only another tower, a rotary type or a window gives something to act on.
FAMILIES = ["siglip", "pixtral", "rope-llama3", "rope-yarn-given", "rope-longrope-grows", "rope-dynamic", "qwen2",
            "mistral-left"]
PICTURES = ["demo-chat", "picture-pad", "picture-siglip", "picture-pixtral"]
TYPES = ["f32", "bf16", "f16"]
KEPT = "numerics.weights_kept"


def arguments(case):
    words = json.loads((ROOT / "golden" / case / "case.json").read_text())["arguments"]
    if "--taps" in words:
        at = words.index("--taps")
        del words[at : at + 2]
    return words


def without_generation(case):
    """The mutation table is about one forward pass."""
    words = arguments(case)
    if "--generate" in words:
        at = words.index("--generate")
        del words[at : at + 2]
    return words


def effects(program, case, folder):
    """{(decision, value): (tap, effect, {type: seen})} of one model."""
    right = folder / f"{case}.npz"
    words = without_generation(case)
    here = ROOT / "golden" / case
    subprocess.run([program, "run", *words, "--dump", right], cwd=here, check=True, capture_output=True)
    model = words[words.index("--model") + 1]
    table = {}
    for kind in TYPES:
        port = folder / f"{case}-{kind}.npz"
        subprocess.run(
            [program, "run", *words, "--dtype", kind, "--dump", port], cwd=here, check=True, capture_output=True
        )
        report = folder / "diff.json"
        subprocess.run(
            [program, "diff", right, port, "--model", model, "--json", report], cwd=here, capture_output=True
        )
        for e in json.loads(report.read_text())["effects"]:
            key = (e["decision"], e["value"])
            seen = e["error"] > e["bound"] or e["error_max"] > e["bound_max"]
            row = table.setdefault(key, [e["tap"], e["error"], {}])
            row[2][kind] = seen
    return table


def input_effects(program, case, folder, decisions):
    """The same for pixel_values and input_ids: relative L2, or the number of ids that differ."""
    words = without_generation(case)
    here = ROOT / "golden" / case
    right = folder / "right-inputs.npz"
    taps = ["--taps", "pixel_values,input_ids"]
    subprocess.run([program, "run", *words, *taps, "--dump", right], cwd=here, check=True, capture_output=True)
    expected = np.load(right)
    table = {}
    for name, values in decisions:
        for value in values[1:]:
            wrong = folder / "wrong-inputs.npz"
            done = subprocess.run(
                [program, "run", *words, *taps, "--set", f"{name}={value}", "--dump", wrong],
                cwd=here,
                capture_output=True,
                text=True,
            )
            if done.returncode != 0:
                table[name, value] = "refused: " + done.stderr.strip().splitlines()[-1].split(": ", 1)[1][:60]
                continue
            actual = np.load(wrong)
            if name.startswith("tokens."):
                a, b = expected["input_ids"], actual["input_ids"]
                differ = a.shape != b.shape or (a != b).any()
                table[name, value] = f"{b.shape[1]} ids instead of {a.shape[1]}" if a.shape != b.shape else (
                    "ids differ" if differ else "-")
            else:
                a, b = expected["pixel_values"].astype(float), actual["pixel_values"].astype(float)
                if a.shape != b.shape:
                    table[name, value] = "{}x{} pixels instead of {}x{}".format(*b.shape[2:], *a.shape[2:])
                else:
                    table[name, value] = f"{np.linalg.norm(a - b) / np.linalg.norm(a):.1e}" if (a != b).any() else "-"
    return table


def decisions(program):
    """[(name, [values])] in the table's order, from the program itself."""
    text = subprocess.run([program, "explain", "--json"], capture_output=True, text=True)
    if text.returncode == 0:
        return [(d["name"], d["values"]) for d in json.loads(text.stdout)["decisions"]]
    sys.exit("llava-ref explain --json failed: " + text.stderr)


def cell(row):
    if row is None:
        return "cannot act"
    tap, effect, seen = row
    if effect <= 1e-14:
        return "-"
    marks = " ".join(kind for kind in TYPES if seen.get(kind))
    return f"{effect:.1e} {('(' + marks + ')') if marks else '(unseen)'}"


def lines(found, models, chosen):
    """The rows of a table: found[model] is what effects() gave."""
    out = []
    for decision, values in chosen:
        for value in values[1:]:
            rows = [found[case].get((decision, value)) for case in models]
            first = next((r[0] for r in rows if r is not None and r[1] > 1e-14), "-")
            out.append(f"| `{decision}={value}` | `{first}` | " + " | ".join(cell(r) for r in rows) + " |")
    return out


def write(program):
    out = [
        "# What every wrong decision does",
        "",
        "Made by `python tools/make_mutations.py`; do not edit. For each decision and wrong value: the tap at which it",
        "first shows, and the relative L2 error that it makes there, computed from right float64 tensors. In brackets:",
        "in ports of which type that error is above the bound (four times what an honest port of that type, replayed",
        "through the same model, is off at that tap; docs/tolerances.md). `-`: it changes nothing on these data, for",
        "instance because the model has that value anyway, or has nothing for it to act on; `cannot act`: refused.",
        "",
        "## From the pixels and ids on",
        "",
        "| decision | first tap | " + " | ".join(MODELS) + " |",
        "|---|---|" + "---|" * len(MODELS),
    ]
    table = decisions(program)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        found = {case: effects(program, case, folder) for case in MODELS}
        passes = [d for d in table if not d[0].startswith(("image.", "tokens.", "cache.", KEPT))]
        others = {case: effects(program, case, folder) for case in FAMILIES}

        def acts_in(effects_of):
            known = {decision for table in effects_of.values() for decision, _ in table}
            return [d for d in passes if d[0] in known]

        special = [d for d in acts_in(others) if d not in acts_in(found)]
        out += lines(found, MODELS, [d for d in passes if d not in special])
        out += [
            "",
            "## Other towers, rotary types, sliding windows",
            "",
            "What no model above gives anything to act on.",
            "",
            "| decision | first tap | " + " | ".join(FAMILIES) + " |",
            "|---|---|" + "---|" * len(FAMILIES),
            *lines(others, FAMILIES, special),
        ]
        out += [
            "",
            "`cache.position` shows in decoding steps only, first in `step.1.position_ids`.",
            f"`{KEPT}` says what `numerics.weights` leaves out: it takes back the effect of that one's rows.",
            "",
            "## Pictures and prompts",
            "",
            "Relative L2 of `pixel_values`, or what becomes of the ids; the taps before show it earlier.",
            "",
            "| decision | demo-chat (200 x 150 or so, crop) | picture-pad (pad to a square) | picture-siglip (a JPEG and a "
            "PNG, both edges) | picture-pixtral (three, one a turned JPEG) |",
            "|---|" + "---|" * len(PICTURES),
        ]
        inputs = [d for d in table if d[0].startswith(("image.", "tokens."))]
        columns = [input_effects(program, case, folder, inputs) for case in PICTURES]
        for decision, values in inputs:
            for value in values[1:]:
                out.append(f"| `{decision}={value}` | " + " | ".join(c[decision, value] for c in columns) + " |")
    return "\n".join(out) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", default=str(ROOT / "build" / "llava-ref"))
    parser.add_argument("--check", action="store_true", help="compare with the committed table instead of writing it")
    options = parser.parse_args()
    text = write(str(pathlib.Path(options.program).resolve()))
    target = ROOT / "docs" / "mutations.md"
    if options.check:
        if target.read_text() != text:
            sys.exit("docs/mutations.md is not what the program says now: run tools/make_mutations.py")
        print("docs/mutations.md is up to date")
    else:
        target.write_text(text)
        print(f"docs/mutations.md: {text.count(chr(10))} lines")


if __name__ == "__main__":
    main()
