"""The shapes of taps as a chapter's table ought to give them, for docs-check.

    python tools/tap_shapes.py docs/book/NN-CHAPTER.md [--binary build/llava-ref]

For each row of a table that begins with `| tap |`: its taps, and the shapes that follow from the table of taps
(`llava-ref explain TAP --json`) and from the configurations of LLaVA-1.5-7B, with a prompt of 608 tokens, and of the demo
model, with one of 49. Rows of decoding steps are left out: their sizes are not those of a prompt.
"""

import argparse
import json
import pathlib
import re
import subprocess

TREE = pathlib.Path(__file__).resolve().parent.parent
MODELS = (("tests/configs/llava-1.5-7b-hf.json", 608), ("golden/demo/model/config.json", 49))


def sizes(config, length):
    """{stage: {letter: size}}, one picture, one sample. A key that llava-hf's files leave out has its default."""
    tower = {"num_attention_heads": 16, "num_hidden_layers": 24} | config["vision_config"]
    text = {"hidden_size": 4096, "intermediate_size": 11008, "num_attention_heads": 32} | config["text_config"]
    patches = (tower["image_size"] // tower["patch_size"]) ** 2
    heads, text_heads = tower["num_attention_heads"], text["num_attention_heads"]
    both = {"B": 1, "N": 1, "S": length, "S'": length, "F": patches, "P": patches, "T": patches + 1}
    both |= {"D": tower["hidden_size"], "C": tower["hidden_size"], "H": text["hidden_size"], "V": text["vocab_size"]}
    width = tower["hidden_size"] // heads
    return {
        "vision": both | {"h": heads, "d": width, "M": tower["intermediate_size"]},
        "text": both | {"h": text_heads, "k": text.get("num_key_value_heads") or text_heads,
                        "d": text["hidden_size"] // text_heads, "I": text["intermediate_size"]},
    }  # fmt: skip


def taps_of(cell):
    """`a.b.c`, `.d` -> a.b.c, a.b.d"""
    names = re.findall(r"`([^`]+)`", cell)
    first = names[0].rpartition(".")[0]
    return [first + name if name.startswith(".") else name for name in names]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("chapter", type=pathlib.Path)
    parser.add_argument("--binary", type=pathlib.Path, default="build/llava-ref")
    options = parser.parse_args()
    models = [sizes(json.loads((TREE / name).read_text()), length) for name, length in MODELS]
    for table in re.findall(r"^\| tap \|.*\n\|[-|]+\n((?:\|.*\n)+)", options.chapter.read_text(), flags=re.MULTILINE):
        for row in table.splitlines():
            cell = row.split("|")[1].strip()
            if "step.g" in cell or not cell.startswith("`"):
                continue
            for tap in taps_of(cell):
                command = [options.binary, "explain", tap.replace(".i.", ".0."), "--json", "-"]
                said = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)["taps"][0]
                letters = said["shape"].split(",") if said["shape"] else []
                stage = "vision" if tap.startswith("vision") else "text"
                shapes = [f"[{', '.join(str(model[stage][letter]) for letter in letters)}]" for model in models]
                print(f"| {cell} | {shapes[0]}", f"| {shapes[1]}", sep="\n")


if __name__ == "__main__":
    main()
