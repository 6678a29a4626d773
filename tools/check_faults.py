"""Every call that can fail, failed once: the n-th allocation, open, look at an open file, read, write, mapping, rename,
pipe or fork of every command.

    python tools/check_faults.py [--program build/llava-ref] [--most 150] [--command NAME]

tests/faults/shim.c is compiled and set before the C library. For each command the calls are counted, then the n-th of
each kind fails, for every n that is the first from its place in the code (the last eight frames of the stack) and
--most of the others, spread evenly. Each time the program must end with status 2 and
one line, leaving nothing (no output file in part, no temporary one, an old file as it was); or it did not need the call, and
then its status and everything it writes is what it is without the fault, or a further warning says what is not there.
A crash, a hang, another word is a failure.
"""

import argparse
import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

GOLDEN = pathlib.Path("golden").resolve()
DATA = pathlib.Path("tests/data").resolve()
PLAIN = ["--model", f"{GOLDEN}/plain/model", "--inputs", f"{GOLDEN}/plain/inputs.npz"]
PICTURE = ["--model", f"{GOLDEN}/picture-chat/model", "--image", f"{GOLDEN}/picture-chat/p.png", "--chat", "What?"]
PIXTRAL = ["--model", f"{GOLDEN}/picture-pixtral/model", "--image", f"{GOLDEN}/picture-pixtral/wide.jpg", "--image",
           f"{GOLDEN}/picture-pixtral/turned.jpg", "--prompt", "[IMG] and [IMG]"]
ORIGINAL = ["--profile", "original", "--vision-tower", f"{GOLDEN}/original-v15/tower"]
COMMANDS = {
    "run": ["run", *PLAIN],
    "run --dump": ["run", *PLAIN, "--dump", "out.npz", "--taps", "vision.features,logits"],
    "run --dump, deflated": ["run", *PLAIN, "--dump", "out.npz", "--taps", "logits", "--compress"],
    "run --dump, a folder": ["run", *PLAIN, "--dump", "out/", "--taps", "projector.*"],
    "run --hash": ["run", *PLAIN, "--hash", "out.txt", "--taps", "text.norm"],
    "run, a picture": ["run", "--model", f"{GOLDEN}/picture-chat/model", "--image", f"{GOLDEN}/picture-chat/p.png",
                       "--chat", "What?", "--generate", "2"],
    "run, shards": ["run", "--model", f"{GOLDEN}/sharded/model", "--inputs", f"{GOLDEN}/sharded/inputs.npz"],
    "diff": ["diff", f"{GOLDEN}/plain/true.npz", f"{GOLDEN}/plain/f32.npz", "--json", "out.json", "--html", "out.html",
             "--junit", "out.xml"],
    "diff, a model": ["diff", f"{GOLDEN}/plain/true.npz", f"{GOLDEN}/plain/f32.npz", "--model", f"{GOLDEN}/plain/model"],
    "diagnose": ["diagnose", *PLAIN, "--dump", f"{GOLDEN}/plain/f32.npz", "--json", "out.json", "--html", "out.html"],
    "inspect, a model": ["inspect", f"{GOLDEN}/plain/model"],
    "inspect, a dump": ["inspect", f"{GOLDEN}/plain/f32.npz"],
    "inspect, a tensor": ["inspect", f"{GOLDEN}/plain/f32.npz", "logits"],
    "inspect --png": ["inspect", f"{GOLDEN}/plain/f32.npz", "vision.features", "--png", "out.png", "--json", "out.json"],
    "draw picture": ["draw", "picture", f"{GOLDEN}/demo-chat/true.npz", "--model", f"{GOLDEN}/demo/model", "--png", "out.png"],
    "draw attention": ["draw", "attention", f"{GOLDEN}/plain/true.npz", "text.layers.0.attn.probs",
                       "vision.layers.0.attn.probs", "--model", f"{GOLDEN}/plain/model", "--png", "out.png"],
    "draw patches": ["draw", "patches", f"{GOLDEN}/plain/true.npz", f"{GOLDEN}/plain/f32.npz", "--model",
                     f"{GOLDEN}/plain/model", "--png", "out.png"],
    "draw patches, pixels": ["draw", "patches", f"{GOLDEN}/plain/true.npz", f"{GOLDEN}/plain/f32.npz", "--taps",
                             "pixel_values", "--png", "out.png"],
    "draw rows": ["draw", "rows", f"{GOLDEN}/plain/true.npz", f"{GOLDEN}/plain/f32.npz", "--png", "out.png"],
    "draw drift": ["draw", "drift", f"{GOLDEN}/plain/true.npz", f"{GOLDEN}/plain/f32.npz", "--png", "out.png"],
    "draw angles": ["draw", "angles", f"{GOLDEN}/plain/true.npz", "--png", "out.png"],
    "inspect, a weight": ["inspect", f"{GOLDEN}/plain/model", "multi_modal_projector.linear_1.weight"],
    "inspect, original": ["inspect", f"{GOLDEN}/original-v15/model", *ORIGINAL],
    "run, original": ["run", "--model", f"{GOLDEN}/original-v15/model", *ORIGINAL, "--image",
                      f"{GOLDEN}/picture-chat/p.png", "--chat", "What?"],
    "run, messages": ["run", "--model", f"{GOLDEN}/messages-qwen2/model", "--messages", "{work}/messages.json", "--image",
                      f"{GOLDEN}/messages-qwen2/a.png", "--generate", "2"],
    "run, Llama 3": ["run", "--model", f"{GOLDEN}/messages-llama3/model", "--chat", "What's up?", "--taps", "input_ids", "--hash", "-"],
    "run, a JPEG": ["run", "--model", f"{GOLDEN}/picture-jpeg/model", "--image", f"{DATA}/jpeg/good-exif-6.jpg", "--prompt",
                    "<image>", "--taps", "pixel_values", "--dump", "out.npz"],
    "run, a PNG turned by a text": ["run", "--model", f"{GOLDEN}/picture-jpeg/model", "--image",
                                    f"{DATA}/png/good-exif-raw-profile.png", "--prompt", "<image>", "--taps", "image.rgb",
                                    "--hash", "-"],
    "run, Pixtral": ["run", "--model", f"{GOLDEN}/picture-pixtral/model", "--image", f"{DATA}/png/good-palette8.png",
                     "--prompt", "[IMG]", "--dump", "out/"],
    "run, a batch": ["run", "--model", f"{GOLDEN}/batch-left/model", "--inputs", f"{GOLDEN}/batch-left/inputs.npz",
                     "--numerics", "hf", "--dtype", "bf16", "--generate", "2"],
    "run, in chunks": ["run", "--model", f"{GOLDEN}/mistral-left/model", "--inputs", f"{GOLDEN}/mistral-left/inputs.npz",
                       "--prefill-chunk", "3", "--dump", "out.npz"],
    "run, fast": ["run", *PLAIN, "--path", "fast", "--generate", "2", "--dump", "out.npz", "--taps", "logits"],
    "run, fast bf16": ["run", *PLAIN, "--path", "fast", "--dtype", "bf16"],
    "diff, a peer": ["diff", f"{GOLDEN}/plain/true.npz", f"{GOLDEN}/plain/f32.npz", "--peer", "{work}/planted.npz"],
    "diff, a map": ["diff", f"{GOLDEN}/plain/true.npz", "{work}/ports/", "--map", "{work}/map.json"],
    "diff, planted": ["diff", f"{GOLDEN}/plain/true.npz", "{work}/planted.npz", "--model", f"{GOLDEN}/plain/model",
                      "--html", "out.html", "--json", "out.json", "--taps", "vision.*,logits"],
    "diff, other tokens": ["diff", f"{GOLDEN}/generate/true.npz", "{work}/flips.npz", "--peer",
                           f"{GOLDEN}/generate/hf.npz", "--json", "out.json", "--junit", "out.xml", "--require", "logits"],
    "diff, a mask of four dimensions": ["diff", f"{GOLDEN}/mask-packed/true.npz", f"{GOLDEN}/mask-packed/true.npz"],
    "diff, pictures in one row": ["diff", f"{GOLDEN}/pixtral/true.npz", f"{GOLDEN}/pixtral/hf.npz"],
    "diagnose, planted": ["diagnose", *PLAIN, "--dump", "{work}/planted.npz", "--html", "out.html", "--json", "out.json"],
    "diagnose, a picture": ["diagnose", *PICTURE, "--dump", "{work}/picture.npz", "--json", "out.json", "--html", "out.html"],
    "diagnose, a generation": ["diagnose", "--model", f"{GOLDEN}/generate/model", "--inputs",
                               f"{GOLDEN}/generate/inputs.npz", "--dump", f"{GOLDEN}/generate/hf.npz"],
    "diagnose, Pixtral": ["diagnose", *PIXTRAL, "--dump", "{work}/pixtral.npz", "--html", "out.html"],
    "diagnose, a rounding": ["diagnose", *PLAIN, "--dump", "{work}/rounded.npz"],
    "diagnose, sparse": ["diagnose", *PLAIN, "--dump", "{work}/sparse.npz", "--html", "out.html"],
    "diagnose, one of two": ["diagnose", *PLAIN, "--dump", "{work}/alike.npz"],
    "diagnose, a mask of four dimensions": ["diagnose", "--model", f"{GOLDEN}/plain/model", "--inputs",
                                            f"{GOLDEN}/mask-added/inputs.npz", "--dump", "{work}/masked.npz"],
    "diagnose, tokens": ["diagnose", "--model", f"{GOLDEN}/generate/model", "--inputs", f"{GOLDEN}/generate/inputs.npz",
                         "--dump", "{work}/tokens.npz"],
    "diagnose, embeddings": ["diagnose", "--model", f"{GOLDEN}/inputs-embeds/model", "--inputs",
                             f"{GOLDEN}/inputs-embeds/inputs.npz", "--dump", "{work}/embeds.npz"],
    "diagnose, tokens alone": ["diagnose", "--model", f"{GOLDEN}/generate/model", "--inputs", f"{GOLDEN}/generate/inputs.npz",
                               "--dump", "{work}/ids.npz"],
    "diff, tokens alone": ["diff", "{work}/ids.npz", "{work}/ids.npz"],
    "inspect, tokens alone": ["inspect", "{work}/ids.npz", "--json", "out.json"],
    "diagnose, OpenCV": ["diagnose", *PICTURE, "--dump", "{work}/opencv.npz"],
    "diff, Pixtral's model": ["diff", f"{GOLDEN}/pixtral/true.npz", f"{GOLDEN}/pixtral/hf.npz", "--model",
                              f"{GOLDEN}/pixtral/model"],
    "explain": ["explain", "--json"],
    "run --json": ["run", *PLAIN, "--json", "out.json"],
    "run --json, an answer": ["run", *PICTURE, "--generate", "2", "--json", "out.json"],
    "version": ["version", "--json", "out.json"],
    "help": ["help", "run"],
    "help --json": ["help", "--json", "out.json"],
    "help --man": ["help", "--man"],
    "help --completion": ["help", "--completion", "zsh"],
}  # fmt: skip

# What some of them read, made before: {work}/NAME.
MADE = {
    "planted.npz": ["run", *PLAIN, "--dtype", "f32", "--set", "vision.cls_position=last", "--dump", "{work}/planted.npz"],
    "picture.npz": ["run", *PICTURE, "--dtype", "f32", "--set", "image.channel_order=bgr", "--dump", "{work}/picture.npz"],
    "pixtral.npz": ["run", *PIXTRAL, "--dtype", "f32", "--set", "image.channel_order=bgr", "--dump", "{work}/pixtral.npz"],
    "rounded.npz": ["run", *PLAIN, "--dtype", "f32", "--numerics", "hf", "--set", "numerics.weights=int8", "--taps",
                    "text.*,logits,input_ids", "--dump", "{work}/rounded.npz"],
    "sparse.npz": ["run", *PLAIN, "--dtype", "f32", "--set", "text.mlp_act=gelu_tanh", "--set", "projector.act=relu", "--taps",
                   "vision.features,projector.out,text.layers.*.output,logits", "--dump", "{work}/sparse.npz"],
    "alike.npz": ["run", *PLAIN, "--dtype", "f16", "--set", "vision.act=gelu", "--taps",
                  "vision.features,projector.*,text.layers.0.output,text.norm,logits", "--dump", "{work}/alike.npz"],
    "masked.npz": ["run", "--model", f"{GOLDEN}/plain/model", "--inputs", f"{GOLDEN}/mask-added/inputs.npz", "--dtype", "f32",
                   "--set", "text.attn_scale=none", "--dump", "{work}/masked.npz"],
    "tokens.npz": ["run", "--model", f"{GOLDEN}/generate/model", "--inputs", f"{GOLDEN}/generate/inputs.npz", "--generate", "4",
                   "--dtype", "f32", "--set", "cache.position=skipped", "--taps", "generated_ids,step.*.text.norm,text.norm",
                   "--dump", "{work}/tokens.npz"],
    "embeds.npz": ["run", "--model", f"{GOLDEN}/inputs-embeds/model", "--inputs", f"{GOLDEN}/inputs-embeds/inputs.npz", "--dtype",
                   "f32", "--set", "text.rope_theta=1e6", "--dump", "{work}/embeds.npz"],
    "flips.npz": ["run", "--model", f"{GOLDEN}/generate/model", "--inputs", f"{GOLDEN}/generate/inputs.npz", "--generate", "4",
                  "--dtype", "f32", "--set", "text.layers=one-less", "--dump", "{work}/flips.npz"],
    "ports": ["run", *PLAIN, "--dtype", "f32", "--taps", "vision.features,logits", "--dump", "{work}/ports/"],
    "ids.npz": ["run", "--model", f"{GOLDEN}/generate/model", "--inputs", f"{GOLDEN}/generate/inputs.npz", "--generate", "2",
                "--dtype", "bf16", "--taps", "generated_ids", "--dump", "{work}/ids.npz"],
    "opencv.npz": ["run", *PICTURE, "--set", "image.resize_filter=bilinear", "--set", "image.resize_rounding=opencv", "--taps",
                   "pixel_values", "--dump", "{work}/opencv.npz"],
}  # fmt: skip
WRITTEN = {
    "messages.json": '[{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What?"}]}]',
    "map.json": '{"vision.features": {"tap": "vision.features"}, "logits": {"tap": "logits", "rows": "last or all"}}',
}
STALE = b"an older file"


def build(folder):
    shim = pathlib.Path(folder) / "shim.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-fno-builtin", "-o", str(shim),
                    "tests/faults/shim.c"], check=True)  # fmt: skip
    return shim


def placed(words, work):
    return [word.replace("{work}", work) for word in words]


def make_files(program, work):
    for name, text in WRITTEN.items():
        (pathlib.Path(work) / name).write_text(text)
    for name, words in MADE.items():
        done = subprocess.run([program, *placed(words, work)], capture_output=True)
        if done.returncode != 0:
            sys.exit(f"check_faults: {name} could not be made: {done.stderr!r}")


def contents(folder):
    """What stands in the folder afterwards: names and bytes; times of the pages left out."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def run(program, words, shim, fault=None, counts=None, old=None):
    """(status, stdout, stderr, files)"""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="llava-faults-"))
    for name in old or []:
        (folder / name).write_bytes(STALE)
    environment = os.environ | {"LD_PRELOAD": str(shim)}
    environment |= {"LLAVA_FAULT": fault} if fault else {}
    environment |= {"LLAVA_FAULT_COUNTS": str(counts)} if counts else {}
    try:
        done = subprocess.run([program, *words], cwd=folder, env=environment, capture_output=True, timeout=120)
        return done.returncode, done.stdout, done.stderr, contents(folder)
    except subprocess.TimeoutExpired:
        return "hangs", b"", b"", {}
    finally:
        shutil.rmtree(folder)


def what_is_wrong(result, usual, old):
    """A line, or None."""
    status, out, err, files = result
    if status == 2:
        lines = err.decode(errors="replace").splitlines()
        rest = [line for line in lines if not line.startswith("llava-ref: warning: ")]
        if len(rest) != 1 or not re.match(r"llava-ref: .", rest[0]) or not err.endswith(b"\n"):
            return f"not one line: {err[:300]!r}"
        # Of several outputs one may be whole already; none is ever in part, or under another name.
        whole = {name for name in old if files.get(name) in (STALE, usual[3][name])}
        if set(files) != whole or (len(old) == 1 and files[old[0]] != STALE):
            return f"left behind: {sorted(files)}"
        return None
    if status != usual[0]:
        return f"status {status}: {err[:200]!r}"
    warned = err.count(b"llava-ref: warning: ") > usual[2].count(b"llava-ref: warning: ")
    if (out, files) != (usual[1], usual[3]) and not warned:
        return "another result, and no word of it"
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--program", default="build/llava-ref")
    parser.add_argument("--most", type=int, default=150, help="calls of a kind that are failed, per command")
    parser.add_argument("--command", choices=COMMANDS, help="this one alone")
    options = parser.parse_args()
    program = str(pathlib.Path(options.program).resolve())
    failures = 0
    with tempfile.TemporaryDirectory() as work:
        shim = build(work)
        make_files(program, work)
        for name in [options.command] if options.command else COMMANDS:
            words, counts = placed(COMMANDS[name], work), pathlib.Path(work) / "counts"
            usual = run(program, words, shim, counts=counts)
            if usual[0] not in (0, 1) or not counts.exists():
                sys.exit(f"check_faults: {name}: does not run as it is: {usual[2]!r}")
            old = [file for file in usual[3] if "/" not in file]  # written over an older file
            tried, refused = 0, 0
            for line in counts.read_text().splitlines():
                kind, count, *firsts = [word if word.isalpha() else int(word) for word in line.split()]
                spread = range(1, count + 1, max(1, -(-count // options.most)))
                faults = [f"{kind}:{n}" for n in sorted({*firsts, *spread})]
                faults += [f"{kind}+:{n}" for n in (1, count // 2) if n > 0]
                with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
                    results = list(pool.map(lambda fault: run(program, words, shim, fault, old=old), faults))
                for fault, result in zip(faults, results):
                    tried, refused = tried + 1, refused + (result[0] == 2)
                    wrong = what_is_wrong(result, usual, old)
                    if wrong:
                        failures += 1
                        print(f"{name}: {fault}: {wrong}", flush=True)
            print(f"{name:24} {tried:5} faults, {refused:5} refused, the others made no difference", flush=True)
            if not refused:
                sys.exit(f"check_faults: {name}: no fault was seen at all")
    print(f"check_faults: {failures} failures")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
