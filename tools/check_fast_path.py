#!/usr/bin/env python3
"""Judges the fast path beside transformers in the same type, on every golden that it takes.

    python tools/check_fast_path.py [--program build/llava-ref]

For each case with ready inputs, in f32 and bf16: transformers' own activations are made as the peer,
`run --path fast` dumps its taps, `diff --peer` compares both with the committed true float64, and
`diagnose` looks for a fault. Exit 1 where a tensor of more than one number is as much as 4 times
the peer's error (diff's "differ"), or diagnose finds anything. A scalar (loss) is one draw of a
random error, and its ratio to another draw means nothing: it is listed only.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile

import numpy as np
import torch

import export_golden
import golden_models
import golden_taps


def run(program, words, folder):
    return subprocess.run([program, *words], cwd=folder, capture_output=True, text=True)


def judge(program, case, dtype, folder):
    """(refused, worst ratio and its tap, tensors that differ, diagnose's last line)"""
    golden = os.path.join("golden", case.name)
    with open(os.path.join(golden, "case.json")) as file:
        words = json.load(file)["arguments"]
    ours, peer, report = (os.path.join(folder, n) for n in ("ours.npz", "peer.npz", "report.json"))
    made = run(program, ["run", *words, "--path", "fast", "--dtype", dtype, "--dump", ours], golden)
    if made.returncode != 0:
        return made.stderr.strip().splitlines()[-1], None, [], ""
    model = export_golden.load(os.path.join(golden, words[words.index("--model") + 1]), dtype)
    inputs = dict(np.load(os.path.join(golden, "inputs.npz")))
    export_golden.write_dump(peer, export_golden.run(case, model, inputs, golden_taps.Form("hf")), dtype, "hf")
    run(program, ["diff", "true.npz", ours, "--peer", peer, "--json", report], golden)
    with open(report) as file:
        tensors = [t for t in json.load(file)["tensors"] if t.get("ratio") is not None]
    worst = max(((t["ratio"], t["name"]) for t in tensors if t["shape"]), default=(0, ""))
    differ = [t["name"] for t in tensors if t["verdict"] == "differ" and t["shape"]]
    scalars = [f"{t['name']} {t['ratio']:.1f}" for t in tensors if not t["shape"]]
    found = run(program, ["diagnose", *words, "--dump", ours], golden)
    last = (found.stdout.strip() or found.stderr.strip()).splitlines()[-1]
    return "", worst, differ, last + "".join(f" ({s})" for s in scalars)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default="build/llava-ref")
    program = os.path.abspath(parser.parse_args().program)
    torch.set_num_threads(1)
    judged, failed = 0, 0
    for case in golden_models.cases():
        if case.taps or not all(os.path.exists(f"golden/{case.name}/{n}") for n in ("inputs.npz", "true.npz")):
            continue
        for dtype in ("f32", "bf16"):
            with tempfile.TemporaryDirectory() as folder:
                refused, worst, differ, last = judge(program, case, dtype, folder)
            if refused:
                print(f"{case.name} {dtype}: {refused}")
                continue
            judged += 1
            wrong = bool(differ) or not last.startswith("pass")
            failed += wrong
            print(f"{case.name} {dtype}: {worst[0]:.2f} {worst[1]}; diagnose {last}{'  WRONG' if wrong else ''}")
    print(f"{judged} judged, {failed} wrong")
    sys.exit(1 if failed or judged < 40 else 0)


if __name__ == "__main__":
    main()
