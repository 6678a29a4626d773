#!/usr/bin/env python3
"""Times llava-ref's two paths beside torch and transformers, on one thread each.

    python tools/bench_peers.py                       # model and inputs into a temporary folder
    python tools/bench_peers.py --folder DIR          # made there, and used again the next time
    python tools/bench_peers.py --ours fast-bf16 --peers bfloat16-eager,bfloat16-sdpa --rounds 5
    python tools/bench_peers.py --start               # only: from nothing to the first token
    python tools/bench_peers.py --stages              # only: llava-ref's own stages
    python tools/bench_peers.py --peers '' --llama-cpp llama.cpp --library build/bin    # tools/bench_llama_cpp.py

What it prints is kept, and put into the documents, by

    python tools/measured.py keep peers -- python tools/bench_peers.py && make tables

The model is random but has real sizes: LLaVA-1.5's vision tower (CLIP-L/14 at 336 pixels) and a
Llama of 6 layers, 2048 wide; bfloat16 weights, 1.4 GB; one picture, 608 tokens. Nothing of it is
committed. Before anything is measured, the files of weights are dropped from the page cache and read
from the disk: as they lie there where nobody has just written them. Every measurement is a process
of its own; the processes take turns, so that a machine which others use slows all of them alike; the
least CPU time of the rounds counts.

*pass* is the prefill: for llava-ref the whole process (`run`, logits of the last position), for
torch model(..., logits_to_keep=1) alone, the better of two. *process* is the whole process: for
torch imports, loading, converting the weights and one pass. *token* is one decoding step of a batch
of one over the cache, the mean of eight. Peak memory is what /proc tells: RssAnon, the process's
own memory, and VmHWM, that and the mapped files' pages (which the kernel takes back when it needs
them).

--start measures what a user waits for: a whole process, from nothing to the first token of an
answer to a question about a picture file (640 x 480, PNG), in CPU seconds and on the wall. For
transformers it is the script of its documentation: imports, AutoProcessor, from_pretrained, the
processor on picture and text, generate(max_new_tokens=1); for llava-ref `run --image --prompt
--generate 1`. The tokenizer has 32000 entries. Both must give the same token (float64 and float32;
in bfloat16 it is told).
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

import bench_llama_cpp
from measured import machine

PEERS = ["float64-eager", "float64-sdpa", "float32-eager", "float32-sdpa", "bfloat16-eager", "bfloat16-sdpa"]
OURS = {"plain-f64": "float64", "fast-f32": "float32", "fast-bf16": "bfloat16"}  # and torch's type
LLAMA_CPP = {"llama.cpp-float32": "fast-f32", "llama.cpp-bfloat16": "fast-bf16", "llama.cpp-float16": "fast-bf16"}
STAGES = ("tower", "prefill", "token")
STEPS = 8
QUESTION = "USER: <image>\nwhat is in the picture? ASSISTANT:"
IMAGE_TOKEN, PICTURE_ROWS, TEXT_TOKENS = 32000, 576, 32


# ---- the model and its inputs --------------------------------------------------------------------

def make_processor(folder):
    """folder/model's tokenizer and processor files, and folder/picture.png."""
    import itertools
    import string

    import numpy as np
    from PIL import Image
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers
    from transformers import LlavaProcessor, PreTrainedTokenizerFast
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    if (folder / "picture.png").exists():
        return
    # As Llama's: bytes, then pieces made by merges of two, 32000 in all.
    letters = string.ascii_lowercase + "\u2581"
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(256)), *letters, *string.ascii_uppercase,
              *string.digits, *",.?!:-'"]
    merges = []
    for length in (2, 3, 4):
        for word in map("".join, itertools.product(letters, repeat=length)):
            if len(pieces) < IMAGE_TOKEN and "\u2581" not in word[1:]:
                merges.append((word[:-1], word[-1]))
                pieces.append(word)
    tokenizer = Tokenizer(models.BPE({p: i for i, p in enumerate(pieces)}, merges, unk_token="<unk>",
                                     fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(),
                                           decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in ("<unk>", "<s>", "</s>")])
    tokenizer.add_special_tokens([AddedToken("<image>", special=True, normalized=False)])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>",
                                   extra_special_tokens={"image_token": "<image>"})
    images = CLIPImageProcessorPil(size={"shortest_edge": 336}, crop_size={"height": 336, "width": 336})
    processor = LlavaProcessor(images, fast, patch_size=14, vision_feature_select_strategy="default",
                               num_additional_image_tokens=1)
    processor.save_pretrained(folder / "model")
    images.save_pretrained(folder / "model")
    noise = np.random.default_rng(1).integers(0, 256, (15, 20, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((640, 480), Image.BICUBIC).save(folder / "picture.png")


def make_model(folder):
    """Writes folder/model and its inputs (one picture; as many tokens without one), unless they are there."""
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
    text_ids = np.concatenate([[1], random.integers(300, IMAGE_TOKEN, PICTURE_ROWS + TEXT_TOKENS - 1)])
    np.savez(folder / "text.npz", input_ids=text_ids[None].astype(np.int64))
    np.savez(folder / "inputs.npz", input_ids=ids[None].astype(np.int64), pixel_values=pixels)


# ---- one torch process ---------------------------------------------------------------------------

def start_child(folder, peer):
    """The script of transformers' documentation, as a process of its own: prints the first token."""
    import torch
    from PIL import Image
    from transformers import AutoProcessor, LlavaForConditionalGeneration

    torch.set_num_threads(1)
    dtype, attention = peer.split("-")
    processor = AutoProcessor.from_pretrained(folder / "model")
    model = LlavaForConditionalGeneration.from_pretrained(
        folder / "model", dtype=getattr(torch, dtype), attn_implementation=attention)
    inputs = processor(images=Image.open(folder / "picture.png"), text=QUESTION, return_tensors="pt").to(model.dtype)
    out = model.generate(**inputs, max_new_tokens=1, do_sample=False)
    print(json.dumps({"ids": inputs["input_ids"].shape[1],
                      "text": processor.decode(out[0, inputs["input_ids"].shape[1]:], skip_special_tokens=True)}))


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
    seconds, tokens = [], []
    with torch.no_grad():
        for _ in range(2):
            start = time.process_time()
            logits = model(input_ids=ids, pixel_values=pixels, logits_to_keep=1).logits[0, -1].double()
            seconds.append(time.process_time() - start)
        begun = time.process_time()
        out = model(input_ids=ids, pixel_values=pixels, logits_to_keep=1, use_cache=True)
        for _ in range(STEPS):
            start = time.process_time()
            out = model(input_ids=out.logits[:, -1:].argmax(-1), past_key_values=out.past_key_values, use_cache=True)
            tokens.append(time.process_time() - start)
        decoding = time.process_time() - begun
    print(json.dumps({"pass": min(seconds), "more": sum(seconds) - min(seconds) + decoding,
                      "token": sum(tokens) / STEPS, "logits": logits.tolist()}))


# ---- measuring -----------------------------------------------------------------------------------

def anonymous_memory(pid):
    """RssAnon of a process in MiB."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        text = ""
    found = re.search(r"RssAnon:\s+(\d+)", text)
    return [int(found[1]) / 1024 if found else 0]


def measure(command, memory_of=anonymous_memory, pause=0.05, fine=(0,)):
    """One process, which may end with a status of `fine`: its standard output, CPU and wall seconds, the largest of
    each figure that memory_of(pid) gives (asked after every pause, in seconds), and peak VmHWM in MiB."""
    environment = dict(os.environ, OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", HF_HUB_OFFLINE="1",
                       TRANSFORMERS_VERBOSITY="error", HF_HUB_DISABLE_PROGRESS_BARS="1")
    with tempfile.TemporaryFile("w+") as out:
        begun = time.monotonic()
        process = subprocess.Popen(command, stdout=out, env=environment)
        memory = memory_of(process.pid)
        while True:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid != 0:
                break
            memory = [max(pair) for pair in zip(memory, memory_of(process.pid))]
            time.sleep(pause)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode not in fine:
            sys.exit(f"{Path(sys.argv[0]).stem}: status {process.returncode}: {' '.join(command)}")
        out.seek(0)
        return {"out": out.read(), "cpu": usage.ru_utime + usage.ru_stime, "wall": time.monotonic() - begun,
                "memory": memory, "resident": usage.ru_maxrss / 1024}


def measure_ours(program, name, folder):
    path, dtype = name.split("-")
    how = ["--path", path, "--dtype", dtype, "--model", str(folder / "model"), "--inputs", str(folder / "inputs.npz")]
    result = measure([program, "run", *how])
    result["pass"] = result["cpu"]
    result["top"] = top_logits(result.pop("out"))
    result["token"] = bench_stages(program, [*how, "--runs", "1", "--generate", str(STEPS + 1)])["decode"]
    return result


def top_logits(text):
    """What `run` prints: {id: logit}."""
    return {int(i): float(x) for i, x in re.findall(r"^\s*(\d+)\s+(\S+)", text, re.MULTILINE)}


def bench_stages(program, how):
    bench = measure([program, "bench", *how, "--json", "-"])
    return {s["name"]: s["seconds"] for s in json.loads(bench["out"])["stages"]}


def measure_stages(program, name, folder):
    """llava-ref's stages as llama.cpp has them: picture to rows, a prefill of text, a token behind it."""
    path, dtype = name.split("-")
    how = ["--path", path, "--dtype", dtype, "--model", str(folder / "model"), "--inputs"]
    picture = bench_stages(program, [*how, str(folder / "inputs.npz"), "--runs", "2"])
    text = bench_stages(program, [*how, str(folder / "text.npz"), "--runs", "2"])
    steps = bench_stages(program, [*how, str(folder / "text.npz"), "--runs", "1", "--generate", str(STEPS + 1)])
    top = top_logits(measure([program, "run", *how, str(folder / "text.npz")])["out"])
    return {"tower": picture["vision"] + picture["projector"], "prefill": text["text.prefill"] + text["logits"],
            "token": steps["decode"], "top": top}


def measure_peer(peer, folder):
    result = measure([sys.executable, __file__, "--child", peer, "--folder", str(folder)])
    child = json.loads(result.pop("out").splitlines()[-1])
    result["cpu"] -= child["more"]  # as a process that makes one pass
    result["pass"], result["token"], result["logits"] = child["pass"], child["token"], child["logits"]
    return result


def measure_start(program, name, folder):
    """A whole process to the first token: ours (plain-f64, ..) or transformers' (float64-eager, ..)."""
    if name in OURS:
        path, dtype = name.split("-")
        result = measure([program, "run", "--path", path, "--dtype", dtype, "--model", str(folder / "model"),
                          "--image", str(folder / "picture.png"), "--prompt", QUESTION, "--generate", "1"])
        result["text"] = result.pop("out").rstrip("\n")
    else:
        result = measure([sys.executable, __file__, "--child", name, "--start", "--folder", str(folder)])
        result["text"] = json.loads(result.pop("out").splitlines()[-1])["text"]
    return result


def least(results, key):
    return min(r[key] for r in results)


def most(results, key):
    return max(r[key] for r in results)


# ---- the report ----------------------------------------------------------------------------------

def versions():
    import torch
    import transformers
    return (f"Python {platform.python_version()}, torch {torch.__version__}, "
            f"transformers {transformers.__version__}")


def difference(ours, theirs):
    """Largest difference of llava-ref's printed top logits, relative to the largest of them."""
    scale = max(abs(x) for x in ours["top"].values())
    return max(abs(x - theirs["logits"][i]) for i, x in ours["top"].items()) / scale


def row(name, results, ours):
    """One line of the table; ours: (name, results) to compare with, or None for a line of our own."""
    cells = [f"{least(results, k):.{3 if k == 'token' else 1}f}" for k in ("pass", "process", "token")]
    cells += [f"{max(r['memory'][0] for r in results):.0f}", f"{most(results, 'resident'):.0f}"]
    if ours is None:
        return f"| {name} | " + " | ".join(cells + [""] * 5) + " |"
    base = ours[1]
    cells += [f"{least(results, k) / least(base, k):.2f}" for k in ("pass", "process", "token")]
    cells += [f"{most(base, 'resident') / most(results, 'resident'):.2f}", f"{difference(base[0], results[0]):.1e}"]
    return f"| {name} | " + " | ".join(cells) + " |"


def report(rounds, ours, peers):
    print(f"Machine: {machine()}.\n{versions()}; 1 thread, least of {rounds} rounds; load average at the "
          f"end {os.getloadavg()[0]:.1f}.\n")
    print("| | pass, CPU s | process, CPU s | token, CPU s | RssAnon MiB | VmHWM MiB | pass, times ours | "
          "process, times ours | token, times ours | our memory (VmHWM) / its | top logits differ |")
    print("|---" * 11 + "|")
    for name, results in ours.items():
        print(row(f"**llava-ref {name.replace('-', ', ')}**", results, None))
        for peer, theirs in peers.items():
            if peer.split("-")[0] == OURS[name]:
                print(row(f"torch {peer.replace('-', ', ')}", theirs, (name, results)))


def report_start(rounds, ours, peers):
    print(f"Machine: {machine()}.\n{versions()}; 1 thread, least of {rounds} rounds; load average at the "
          f"end {os.getloadavg()[0]:.1f}.\n")
    print("| start to first token | CPU s | wall s | CPU, times ours | wall, times ours | same token |")
    print("|---" * 6 + "|")
    for name, results in ours.items():
        print(f"| **llava-ref {name.replace('-', ', ')}** | {least(results, 'cpu'):.2f} | "
              f"{least(results, 'wall'):.2f} | | | |")
        for peer, theirs in peers.items():
            if peer.split("-")[0] == OURS[name]:
                cells = [f"{least(theirs, k):.2f}" for k in ("cpu", "wall")]
                cells += [f"{least(theirs, k) / least(results, k):.2f}" for k in ("cpu", "wall")]
                cells.append("yes" if theirs[0]["text"] == results[0]["text"] else "no")
                print(f"| transformers {peer.replace('-', ', ')} | " + " | ".join(cells) + " |")


def run_start(arguments, folder):
    make_processor(folder)
    results = {name: [] for name in (arguments.ours + "," + arguments.peers).split(",") if name}
    for i in range(arguments.rounds):
        for name, of in results.items():
            of.append(measure_start(arguments.program, name, folder))
            print(f"round {i + 1}: {name} {of[-1]['cpu']:.2f} s", file=sys.stderr)
    report_start(arguments.rounds, {n: r for n, r in results.items() if n in OURS},
                 {n: r for n, r in results.items() if n not in OURS})


def report_llama_cpp(rounds, ours, theirs):
    print(f"\nMachine: {machine()}; 1 thread, least of {rounds} rounds; load average at the end {os.getloadavg()[0]:.1f}.\n")
    print("| | picture to rows, CPU s | prefill, CPU s | token, CPU s | picture, times ours | prefill, times ours | "
          "token, times ours | top logits differ |")
    print("|---" * 8 + "|")
    for name, results in ours.items():
        print(f"| **llava-ref {name.replace('-', ', ')}** | " +
              " | ".join(f"{least(results, stage):.3f}" for stage in STAGES) + " | | | | |")
    for name, results in theirs.items():
        base = ours[LLAMA_CPP[name]]
        cells = [f"{least(results, stage):.3f}" for stage in STAGES]
        cells += [f"{least(results, stage) / least(base, stage):.2f}" for stage in STAGES]
        print(f"| {name.replace('-', ', ')} | " + " | ".join(cells) + f" | {difference(base[0], results[0]):.1e} |")


def run_llama_cpp(arguments, folder):
    make_processor(folder)
    theirs = {name: [] for name in LLAMA_CPP}
    ours = {name: [] for name in dict.fromkeys(LLAMA_CPP.values())}
    for i in range(arguments.rounds):
        for name, results in ours.items():
            results.append(measure_stages(arguments.program, name, folder))
        for name, results in theirs.items():
            measured = measure([sys.executable, __file__, "--child", name, "--folder", str(folder), "--llama-cpp",
                                str(arguments.llama_cpp), "--library", str(arguments.library)])
            results.append(json.loads(measured["out"].splitlines()[-1]))
            print(f"round {i + 1}: {name} {results[-1]['prefill']:.2f} s", file=sys.stderr)
    report_llama_cpp(arguments.rounds, ours, theirs)


def report_stages(rounds, of):
    """of: {ours: [stages of each round]}. CPU seconds and the part of the machine's own peak, both the least and best of rounds."""
    print(f"Machine: {machine()}; 1 thread, least of {rounds} rounds; load average at the end {os.getloadavg()[0]:.1f}.\n")
    print("| stage | " + " | ".join(f"{name.replace('-', ' ')}, CPU s | {name.replace('-', ' ')}, of peak" for name in of) + " |")
    print("|---" * (1 + 2 * len(of)) + "|")
    for stage in next(iter(of.values()))[0]:
        cells = []
        for rounds_of in of.values():
            parts = [r[stage]["of_peak"] for r in rounds_of]
            cells += [f"{min(r[stage]['seconds'] for r in rounds_of):.3f}", "-" if None in parts else f"{max(parts):.2f}"]
        print(f"| `{stage}` | " + " | ".join(cells) + " |")


def run_stages(arguments, folder):
    of = {name: [] for name in arguments.ours.split(",") if name}
    for _ in range(arguments.rounds):
        for name, results in of.items():
            path, dtype = name.split("-")
            how = ["--path", path, "--dtype", dtype, "--model", str(folder / "model"), "--inputs", str(folder / "inputs.npz")]
            bench = measure([arguments.program, "bench", *how, "--runs", "1", "--generate", str(STEPS + 1), "--json", "-"])
            results.append({stage["name"]: stage for stage in json.loads(bench["out"])["stages"]})
    report_stages(arguments.rounds, of)


def run(arguments, folder):
    peers = {name: [] for name in arguments.peers.split(",") if name}
    ours = {name: [] for name in arguments.ours.split(",") if name}
    for i in range(arguments.rounds):
        for name, results in ours.items():
            results.append(measure_ours(arguments.program, name, folder))
            results[-1]["process"] = results[-1]["cpu"]
            print(f"round {i + 1}: llava-ref {name} {results[-1]['pass']:.1f} s", file=sys.stderr)
        for name, results in peers.items():
            results.append(measure_peer(name, folder))
            results[-1]["process"] = results[-1]["cpu"]
            print(f"round {i + 1}: {name} {results[-1]['pass']:.1f} s", file=sys.stderr)
    if ours:
        report(arguments.rounds, ours, peers)
    if arguments.llama_cpp:
        run_llama_cpp(arguments, folder)


def prepare(folder):
    """The model, with its files in the page cache as a program finds them that reads them from the disk."""
    make_model(folder)
    for path in [*folder.glob("model/*.safetensors"), *folder.glob("*.gguf")]:
        bench_llama_cpp.settle(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default="build/llava-ref")
    parser.add_argument("--folder", type=Path, help="where the model lies or is to be made")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ours", default=",".join(OURS), help="of " + ", ".join(OURS) + " (default: all)")
    parser.add_argument("--peers", default=",".join(PEERS), help="of " + ", ".join(PEERS) + " (default: all)")
    parser.add_argument("--start", action="store_true", help="measure a whole process to the first token")
    parser.add_argument("--stages", action="store_true", help="measure the stages of llava-ref's paths, and no peers")
    parser.add_argument("--llama-cpp", type=Path, metavar="SOURCE", help="llama.cpp's source folder: measured too")
    parser.add_argument("--library", type=Path, help="the folder of its libllama.so and libmtmd.so")
    parser.add_argument("--child", choices=[*PEERS, *LLAMA_CPP], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    for option, words, known in (("--peers", arguments.peers, PEERS), ("--ours", arguments.ours, OURS)):
        unknown = [w for w in words.split(",") if w and w not in known]
        if unknown:
            parser.error(f"{option} {unknown[0]}: not one of {', '.join(known)}")
    if arguments.rounds < 1:
        parser.error("--rounds: at least 1")
    if (arguments.llama_cpp is None) != (arguments.library is None):
        parser.error("--llama-cpp and --library go together")
    if arguments.child in LLAMA_CPP:
        bench_llama_cpp.child(arguments, STEPS)
        return
    if arguments.child:
        (start_child if arguments.start else torch_child)(arguments.folder, arguments.child)
        return
    measuring = run_start if arguments.start else run_stages if arguments.stages else run
    if arguments.folder:
        arguments.folder.mkdir(parents=True, exist_ok=True)
        prepare(arguments.folder)
        measuring(arguments, arguments.folder)
    else:
        with tempfile.TemporaryDirectory() as folder:
            prepare(Path(folder))
            measuring(arguments, Path(folder))


if __name__ == "__main__":
    main()
