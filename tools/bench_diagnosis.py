#!/usr/bin/env python3
"""Times `llava-ref diagnose` beside `run` on a model of real size, and weighs its memory.

    python tools/bench_diagnosis.py                        # the model of bench_peers.py, into a temporary folder
    python tools/bench_diagnosis.py --folder DIR           # made there, and used again the next time
    python tools/bench_diagnosis.py --large --folder DIR   # LLaVA-1.5-7B's shapes: 14 GB, half an hour
    python tools/bench_diagnosis.py --ports 'bfloat16,float32 vision.act=gelu'

A port is a type and, after a blank, the decision that it takes wrongly; its dump holds the hidden state
behind every layer, the features, the projector's output and all logits. The first line of the table
is `run` in float64 with the same taps, which the others are held against.

CPU seconds are those of the process and its children. Memory is summed over them while they run:
*own* is what belongs to no file (Pss_Anon of /proc/PID/smaps_rollup), *all* is Pss, that and the
pages of mapped files, each counted once, which the kernel takes back when it needs them.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from bench_peers import make_model, measure
from measured import machine

TAPS = "vision.layers.*.output,vision.features,projector.out,text.inputs_embeds,text.layers.*.output,text.norm,logits"
PORTS = ["float32", "bfloat16", "bfloat16 vision.act=gelu", "bfloat16 projector.act=gelu_tanh",
         "bfloat16 text.rope_pairing=interleaved", "bfloat16 text.mlp_act=gelu"]
TYPES = {"float64": "f64", "float32": "f32", "bfloat16": "bf16", "float16": "f16"}


def children_of(pid):
    try:
        words = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        words = []
    return [pid] + [p for word in words for p in children_of(int(word))]


def memory_of(pid):
    """Pss_Anon and Pss of a process and its children, in MiB."""
    own = everything = 0
    for process in children_of(pid):
        try:
            lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        sizes = {line.split(":")[0]: int(line.split()[1]) for line in lines if line.endswith(" kB")}
        own += sizes.get("Pss_Anon", 0)
        everything += sizes.get("Pss", 0)
    return own / 1024, everything / 1024


def weigh(command, fine=(0,)):
    """CPU seconds, seconds, and the peaks of both memories, looked at once a second."""
    figures = measure(command, memory_of, pause=1, fine=fine)
    return figures["cpu"], figures["wall"], *figures["memory"]


def causes_of(path):
    """What the diagnosis says, in a few words."""
    result = json.loads(path.read_text())
    words = [f"{f['confidence']}: " + ", ".join(f"{c['decision']}={c['value']}" for c in f["causes"][:2])
             for f in result["findings"][:2]]
    return "; ".join([result["verdict"], *words])


def line(name, figures, base, said):
    cpu, wall, own, everything = figures
    print(f"| {name} | {cpu:.0f} | {cpu / base[0]:.2f} | {wall:.0f} | {own:.0f} | {everything:.0f} | {said} |", flush=True)


def run(options, folder):
    if options.large:
        if not (folder / "inputs.npz").exists():
            maker = Path(__file__).with_name("make_large_model.py")
            subprocess.run([sys.executable, maker, folder], check=True)
    else:
        make_model(folder)
    program, result = options.program, folder / "diagnosis.json"
    inputs = ["--model", str(folder / "model"), "--inputs", str(folder / "inputs.npz")]
    dump = folder / "port.npz"
    print(f"Machine: {machine()}\n\n| | CPU s | of `run` | s | own MiB | all MiB | verdict |\n|---|---:|---:|---:|---:|---:|---|")
    base = weigh([program, "run", *inputs, "--taps", TAPS, "--dump", str(dump)])
    line("`run --dump`, float64", base, base, "")
    for port in options.ports.split(","):
        dtype, *choice = port.split(" ")
        dump.unlink()
        made = [program, "run", *inputs, "--dtype", TYPES[dtype], "--numerics", "hf", "--taps", TAPS, "--dump", str(dump)]
        weigh(made + [word for c in choice for word in ("--set", c)])
        figures = weigh([program, "diagnose", *inputs, "--dump", str(dump), "--json", str(result)], (0, 1))
        line(f"`diagnose`, {port}", figures, base, causes_of(result))
    dump.unlink()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default="build/llava-ref")
    parser.add_argument("--folder", type=Path, help="where the model lies or is to be made")
    parser.add_argument("--large", action="store_true", help="LLaVA-1.5-7B's shapes")
    parser.add_argument("--ports", default=",".join(PORTS), help="(default: %(default)s)")
    options = parser.parse_args()
    if options.folder:
        options.folder.mkdir(parents=True, exist_ok=True)
        run(options, options.folder)
    else:
        with tempfile.TemporaryDirectory() as folder:
            run(options, Path(folder))


if __name__ == "__main__":
    main()
