#!/usr/bin/env python3
"""Times llava-ref's plain path beside torch and transformers, on one thread each.

    python tools/bench_peers.py                       # model and inputs into a temporary folder
    python tools/bench_peers.py --folder DIR          # made there, and used again the next time
    python tools/bench_peers.py --peers float64-sdpa,bfloat16-sdpa --rounds 5

The model is random but has real sizes: LLaVA-1.5's vision tower (CLIP-L/14 at 336 pixels) and a
Llama of 6 layers, 2048 wide; bfloat16 weights, 1.4 GB; one picture, 608 tokens. Nothing of it is
committed. Every measurement is a process of its own; the processes take turns, so that a machine
which others use slows all of them alike; the least CPU time of the rounds counts.

What is compared: llava-ref's whole process (`run`, float64, logits of the last position) with
torch's pass alone (model(..., logits_to_keep=1), the better of two) and with torch's whole process
(imports, loading, converting the weights, one pass). Peak memory is what /proc tells: RssAnon, the
process's own memory, and VmHWM, that and the mapped files' pages (which the kernel takes back when
it needs them).
"""

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PEERS = ["float64-eager", "float64-sdpa", "float32-eager", "float32-sdpa", "bfloat16-eager", "bfloat16-sdpa"]
USUAL = "float64-eager,float64-sdpa,float32-eager,float32-sdpa"
IMAGE_TOKEN, PICTURE_ROWS, TEXT_TOKENS = 32000, 576, 32


# ---- the model and its inputs --------------------------------------------------------------------

def make_model(folder):
    """Writes folder/model and folder/inputs.npz, unless they are there."""
    import numpy as np
    import torch
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

    if (folder / "inputs.npz").exists():
        return
    vision = CLIPVisionConfig(hidden_size=1024, intermediate_size=4096, num_hidden_layers=24,
                              num_attention_heads=16, image_size=336, patch_size=14, projection_dim=768)
    text = LlamaConfig(vocab_size=32064, hidden_size=2048, intermediate_size=5632, num_hidden_layers=6,
                       num_attention_heads=32, num_key_value_heads=4, max_position_embeddings=4096)
    config = LlavaConfig(vision_config=vision, text_config=text, image_token_index=IMAGE_TOKEN)
    torch.manual_seed(0)
    model = LlavaForConditionalGeneration(config).to(torch.bfloat16)
    model.save_pretrained(folder / "model")
    random = np.random.default_rng(0)
    ids = np.concatenate([[1], np.full(PICTURE_ROWS, IMAGE_TOKEN), random.integers(3, IMAGE_TOKEN, TEXT_TOKENS - 1)])
    pixels = random.normal(size=(1, 3, 336, 336)).astype(np.float32)
    np.savez(folder / "inputs.npz", input_ids=ids[None].astype(np.int64), pixel_values=pixels)


# ---- one torch process ---------------------------------------------------------------------------

def torch_child(folder, peer):
    """Runs in a process of its own; prints one line of JSON."""
    import numpy as np
    import torch
    from transformers import LlavaForConditionalGeneration

    torch.set_num_threads(1)
    dtype, attention = peer.split("-")
    model = LlavaForConditionalGeneration.from_pretrained(
        folder / "model", dtype=getattr(torch, dtype), attn_implementation=attention).eval()
    inputs = np.load(folder / "inputs.npz")
    ids = torch.from_numpy(inputs["input_ids"])
    pixels = torch.from_numpy(inputs["pixel_values"]).to(model.dtype)
    seconds = []
    with torch.no_grad():
        for _ in range(2):
            start = time.process_time()
            logits = model(input_ids=ids, pixel_values=pixels, logits_to_keep=1).logits[0, -1].double()
            seconds.append(time.process_time() - start)
    print(json.dumps({"pass": min(seconds), "passes": sum(seconds), "logits": logits.tolist()}))


# ---- measuring -----------------------------------------------------------------------------------

def measure(command):
    """One process: its standard output, CPU seconds, and peak RssAnon and VmHWM in MiB."""
    environment = dict(os.environ, OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", HF_HUB_OFFLINE="1",
                       TRANSFORMERS_VERBOSITY="error", HF_HUB_DISABLE_PROGRESS_BARS="1")
    with tempfile.TemporaryFile("w+") as out:
        process = subprocess.Popen(command, stdout=out, env=environment)
        anonymous = 0
        while True:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid != 0:
                break
            try:
                text = Path(f"/proc/{process.pid}/status").read_text()
            except OSError:
                text = ""
            found = re.search(r"RssAnon:\s+(\d+)", text)
            anonymous = max(anonymous, int(found[1]) if found else 0)
            time.sleep(0.05)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            sys.exit(f"bench_peers: {command[0]} ended with status {process.returncode}")
        out.seek(0)
        return {"out": out.read(), "cpu": usage.ru_utime + usage.ru_stime,
                "anonymous": anonymous / 1024, "resident": usage.ru_maxrss / 1024}


def measure_ours(program, folder):
    result = measure([program, "run", "--model", str(folder / "model"), "--inputs", str(folder / "inputs.npz")])
    result["pass"] = result["cpu"]
    rows = re.findall(r"^\s*(\d+)\s+(\S+)", result.pop("out"), re.MULTILINE)
    result["top"] = {int(i): float(x) for i, x in rows}
    return result


def measure_peer(peer, folder):
    result = measure([sys.executable, __file__, "--child", peer, "--folder", str(folder)])
    child = json.loads(result.pop("out").splitlines()[-1])
    result["cpu"] -= child["passes"] - child["pass"]  # as a process that makes one pass
    result["pass"], result["logits"] = child["pass"], child["logits"]
    return result


def least(results, key):
    return min(r[key] for r in results)


def most(results, key):
    return max(r[key] for r in results)


# ---- the report ----------------------------------------------------------------------------------

def machine():
    """The machine in a line or two."""
    try:
        info = Path("/proc/cpuinfo").read_text()
    except OSError:
        info = ""
    fields = dict(re.findall(r"^(model name|cpu family|model|stepping)\s*: (.*)$", info, re.MULTILINE))
    wide = [w for w in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if re.search(rf"\b{w}\b", info)]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    numbers = " ".join(fields.get(k, "?") for k in ("cpu family", "model", "stepping"))
    return (f"{fields.get('model name', platform.machine())} ({numbers}; {' '.join(wide)}), "
            f"{os.cpu_count()} CPUs, {memory:.0f} GiB, {platform.system()} {platform.release()}")


def versions():
    import torch
    import transformers
    return (f"Python {platform.python_version()}, torch {torch.__version__}, "
            f"transformers {transformers.__version__}")


def difference(ours, theirs):
    """Largest difference of llava-ref's printed top logits, relative to the largest of them."""
    scale = max(abs(x) for x in ours["top"].values())
    return max(abs(x - theirs["logits"][i]) for i, x in ours["top"].items()) / scale


def report(rounds, ours, peers):
    base = least(ours, "cpu")
    print(f"Machine: {machine()}.\n{versions()}; 1 thread, least of {rounds} rounds; load average at the "
          f"end {os.getloadavg()[0]:.1f}.\n")
    print("| | CPU s, pass | CPU s, process | llava-ref / its pass | RssAnon MiB | VmHWM MiB | top logits differ |")
    print("|---|---|---|---|---|---|---|")
    print(f"| llava-ref, plain, f64 | {base:.1f} | {base:.1f} | 1 | {most(ours, 'anonymous'):.0f} | "
          f"{most(ours, 'resident'):.0f} | |")
    for peer, results in peers.items():
        print(f"| torch {peer.replace('-', ', ')} | {least(results, 'pass'):.1f} | {least(results, 'cpu'):.1f} | "
              f"{base / least(results, 'pass'):.2f} | {most(results, 'anonymous'):.0f} | "
              f"{most(results, 'resident'):.0f} | {difference(ours[0], results[0]):.1e} |")


def run(arguments, folder):
    make_model(folder)
    names = [p for p in arguments.peers.split(",") if p]
    ours, peers = [], {name: [] for name in names}
    for i in range(arguments.rounds):
        ours.append(measure_ours(arguments.program, folder))
        print(f"round {i + 1}: llava-ref {ours[-1]['cpu']:.1f} s", file=sys.stderr)
        for name in names:
            peers[name].append(measure_peer(name, folder))
            print(f"round {i + 1}: {name} {peers[name][-1]['pass']:.1f} s", file=sys.stderr)
    report(arguments.rounds, ours, peers)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default="build/llava-ref")
    parser.add_argument("--folder", type=Path, help="where the model lies or is to be made")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers", default=USUAL, help="of " + ", ".join(PEERS) + " (default: all but bfloat16)")
    parser.add_argument("--child", choices=PEERS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    unknown = [p for p in arguments.peers.split(",") if p and p not in PEERS]
    if unknown or arguments.rounds < 1:
        parser.error(f"--peers {unknown[0]}: not one of {', '.join(PEERS)}" if unknown else "--rounds: at least 1")
    if arguments.child:
        torch_child(arguments.folder, arguments.child)
    elif arguments.folder:
        arguments.folder.mkdir(parents=True, exist_ok=True)
        run(arguments, arguments.folder)
    else:
        with tempfile.TemporaryDirectory() as folder:
            run(arguments, Path(folder))


if __name__ == "__main__":
    main()
