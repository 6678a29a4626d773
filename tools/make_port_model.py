"""A tiny random LLaVA in every form that the comparisons of docs/ports/ need.

    python tools/make_port_model.py OUT

    OUT/model         the folder for llava-ref and for everything that reads transformers' files
    OUT/picture.png   a picture of 90 x 45: not square, not of the tower's size, and shrunk by a ratio that
                      float32 rounds up
    OUT/original/     the same weights as llama.cpp's older converters want them: tower/ a CLIP
                      vision model of its own, pytorch_model.bin the projector under LLaVA's own names

Every weight is a float16 number, so that a port that keeps float16 weights has the same model; the heads
of the language model share keys and values; five tower layers, the last one unused.
"""

import argparse
import json
import os

import torch
from golden_models import DTYPES, Case, make_tokenizer, png, save_model, scene
from safetensors.torch import load_file, save_file
from transformers import CLIPVisionConfig

SIDE, PATCH = 56, 14


def port_case():
    tokens = len(make_tokenizer(Case.words))
    return Case(
        name="port",
        about="sizes that llama.cpp and MLX take",
        vision=dict(
            hidden_size=64, intermediate_size=160, num_hidden_layers=5, num_attention_heads=4,
            image_size=SIDE, patch_size=PATCH,
        ),
        text=dict(
            vocab_size=tokens, hidden_size=96, intermediate_size=192, num_hidden_layers=3, num_attention_heads=6,
            num_key_value_heads=2, head_dim=16, pad_token_id=tokens - 1,
        ),
        store="f16",
        spelling="released",
        processor=dict(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}),
        processor_kind="clip",
    )  # fmt: skip


def save_original(case, weights, folder):
    """The tower and the projector under the names that they had before transformers took LLaVA in."""
    tower, projector = {}, {}
    layers = {"linear_1": "0", "linear_2": "2"}
    for name, tensor in weights.items():
        if name.startswith("vision_tower."):
            tower[name.removeprefix("vision_tower.")] = tensor.float()
        if name.startswith("multi_modal_projector."):
            layer, kind = name.split(".")[1:]
            projector[f"model.mm_projector.{layers[layer]}.{kind}"] = tensor
    path = os.path.join(folder, "tower")
    CLIPVisionConfig(**case.vision, architectures=["CLIPVisionModel"]).save_pretrained(path)
    save_file(tower, os.path.join(path, "model.safetensors"), metadata={"format": "pt"})
    torch.save(projector, os.path.join(folder, "pytorch_model.bin"))


def write_older_tokenizer_config(folder):
    """tokenizer_config.json with the keys of transformers 4, which older converters need."""
    path = os.path.join(folder, "tokenizer_config.json")
    with open(path) as file:
        config = json.load(file)
    kept = {key: config[key] for key in config if key.endswith("_token") or key in ("padding_side", "model_max_length")}
    with open(path, "w") as file:
        json.dump(kept | {"tokenizer_class": "LlamaTokenizerFast", "add_bos_token": True}, file, indent=2)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out")
    out = parser.parse_args().out
    case = port_case()
    folder = os.path.join(out, "model")
    save_model(case, folder)
    write_older_tokenizer_config(folder)
    weights = load_file(os.path.join(folder, "model.safetensors"))
    assert all(tensor.dtype == DTYPES["f16"] for tensor in weights.values())
    save_original(case, weights, os.path.join(out, "original"))
    with open(os.path.join(out, "picture.png"), "wb") as file:
        file.write(png(scene(45, 90), 2))


if __name__ == "__main__":
    main()
