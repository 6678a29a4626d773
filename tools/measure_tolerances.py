#!/usr/bin/env python3
"""Measures the tables of docs/tolerances.md: how much of its tolerance an honest port uses, and the
smallest effects of wrong decisions. No Python packages needed.

    tools/measure_tolerances.py [--program build/llava-ref] [--case NAME]...

Honest ports are this program's own runs in f32, bf16 and f16 with transformers' islands, for every golden
case with an inputs file, and transformers' own dumps in golden/plain. Prints Markdown.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile
import textwrap

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
GOLDEN = os.path.join(ROOT, "golden")


def call(program, *words):
    return subprocess.run([program, *words], capture_output=True, text=True)


def load(path):
    with open(path) as f:
        return json.load(f)


class Worst:
    """The largest of each measure, and where."""

    def __init__(self):
        self.of = {}

    def add(self, key, value, where):
        if value is not None and value > self.of.get(key, (-1, ""))[0]:
            self.of[key] = (value, where)

    def cell(self, key):
        return "%.2f `%s`" % self.of[key] if key in self.of else "-"


def measure(program, folder, case, dump, key, worst, smallest):
    at = os.path.join(GOLDEN, case)
    out = os.path.join(folder, "out.json")
    model, inputs = os.path.join(at, "model"), os.path.join(at, "inputs.npz")
    right = os.path.join(folder, "right.npz")
    for name, more in (("alone", []), ("replayed", ["--model", model])):
        call(program, "diff", right, dump, "--json", out, *more)
        result = load(out)
        for t in result["tensors"]:
            if t["type"] != "exact" and t["bound"] and t["rel_l2"] is not None:
                where = "%s %s" % (case, t["name"])
                worst.add((key, name, "l2"), t["rel_l2"] / t["bound"], where)
                worst.add((key, name, "max"), t["rel_max"] / t["bound_max"], where)
        for x in result.get("effects", []):
            if x["error"] and key in ("f32", "bf16", "f16"):
                ratio = max(x["error"] / x["bound"] if x["bound"] else 0,
                            x["error_max"] / x["bound_max"] if x["bound_max"] else 0)
                choice = "%s=%s" % (x["decision"], x["value"])
                old = smallest.setdefault(choice, {}).get(key)
                if ratio > 0 and (old is None or ratio > old[0]):
                    smallest[choice][key] = (ratio, x["error"], case)
    r = call(program, "diagnose", "--model", model, "--inputs", inputs, "--dump", dump, "--all-noise", "--json", out)
    if r.returncode == 2:
        sys.exit("%s, %s: %s" % (case, key, r.stderr))
    result = load(out)
    worst.add((key, "findings", ""), float(len(result["findings"])), case)
    for t in result["taps"]:
        if t["noise"] and t["local_error"] is not None:
            worst.add((key, "local", "l2"), t["local_error"] / t["noise"], "%s %s" % (case, t["name"]))
            if t.get("noise_max"):
                worst.add((key, "local", "max"), t["local_error_max"] / t["noise_max"],
                          "%s %s" % (case, t["name"]))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--program", default=os.path.join(ROOT, "build", "llava-ref"))
    p.add_argument("--case", action="append")
    o = p.parse_args()
    program = os.path.abspath(o.program)
    cases = o.case or sorted(c for c in os.listdir(GOLDEN)
                             if all(os.path.exists(os.path.join(GOLDEN, c, f)) for f in ("inputs.npz", "model/config.json")))
    worst, smallest = Worst(), {}
    with tempfile.TemporaryDirectory() as folder:
        for case in cases:
            at = os.path.join(GOLDEN, case)
            base = ["run", "--model", os.path.join(at, "model"), "--inputs", os.path.join(at, "inputs.npz")]
            call(program, *base, "--dump", os.path.join(folder, "right.npz"))
            for t in ("f32", "bf16", "f16"):
                dump = os.path.join(folder, "port.npz")
                if call(program, *base, "--dtype", t, "--numerics", "hf", "--dump", dump).returncode == 0:
                    measure(program, folder, case, dump, t, worst, smallest)
            for t in ("f32", "bf16", "f16"):
                dump = os.path.join(at, t + ".npz")
                if os.path.exists(dump):
                    measure(program, folder, case, dump, "transformers " + t, worst, smallest)
    print(textwrap.fill("%d cases: %s" % (len(cases), ", ".join(cases)), 118, break_on_hyphens=False) + "\n")
    print("| honest port | error / bound of types alone, L2 | max | error / bound replayed, L2 | max "
          "| local error / noise, L2 | max | findings |")
    print("|---|---|---|---|---|---|---|---|")
    keys = [t for t in ("f32", "bf16", "f16", "transformers f32", "transformers bf16", "transformers f16")
            if (t, "alone", "l2") in worst.of]
    for k in keys:
        print("| %s | %s |" % (k, " | ".join(
            worst.cell((k, n, w)) for n, w in (("alone", "l2"), ("alone", "max"), ("replayed", "l2"),
                                               ("replayed", "max"), ("local", "l2"), ("local", "max")))
            + " | %d" % worst.of[(k, "findings", "")][0]))
    print("\n| decision | effect / bound in f32 | bf16 | f16 |\n|---|---|---|---|")
    order = sorted(smallest.items(), key=lambda kv: kv[1].get("bf16", (0,))[0])
    for choice, by in order[:24]:
        print("| `%s` | %s |" % (choice, " | ".join(
            "%.2g (%s)" % (by[t][0], by[t][2]) if t in by else "-" for t in ("f32", "bf16", "f16"))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
