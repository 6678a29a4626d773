#!/usr/bin/env python3
"""A random model with LLaVA-1.5-7B's shapes, to measure time and memory with: 14 GB.

    python tools/make_large_model.py OUT              # OUT/model, seven shards in bfloat16, and OUT/inputs.npz
    python tools/make_large_model.py OUT --text-layers 4

Written shard by shard, in the memory of one: transformers would hold it whole. Weights are normal
numbers of deviation 0.02, as transformers begins a model, biases 0, norms 1. The inputs are one
picture and a short prompt, 608 tokens.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

VISION = dict(hidden_size=1024, intermediate_size=4096, num_hidden_layers=24, num_attention_heads=16,
              image_size=336, patch_size=14, projection_dim=768, vocab_size=32000, model_type="clip_vision_model")
TEXT = dict(hidden_size=4096, intermediate_size=11008, num_attention_heads=32, num_key_value_heads=32,
            max_position_embeddings=4096, rms_norm_eps=1e-5, vocab_size=32064, model_type="llama")
IMAGE_TOKEN, PICTURE_ROWS, TEXT_TOKENS = 32000, 576, 32


def config(text_layers):
    return dict(architectures=["LlavaForConditionalGeneration"], model_type="llava", vision_config=VISION,
                text_config=dict(TEXT, num_hidden_layers=text_layers), image_token_index=IMAGE_TOKEN,
                projector_hidden_act="gelu", vision_feature_layer=-2, vision_feature_select_strategy="default",
                tie_word_embeddings=False, torch_dtype="bfloat16")


def linear(name, outputs, inputs, bias=True):
    shapes = {f"{name}.weight": (outputs, inputs)}
    return dict(shapes, **{f"{name}.bias": (outputs,)}) if bias else shapes


def norm(name, width, bias=True):
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)} if bias else {f"{name}.weight": (width,)}


def vision_shapes():
    width, inner, patch = (VISION[k] for k in ("hidden_size", "intermediate_size", "patch_size"))
    at = "vision_tower.vision_model."
    shapes = {f"{at}embeddings.class_embedding": (width,),
              f"{at}embeddings.patch_embedding.weight": (width, 3, patch, patch),
              f"{at}embeddings.position_embedding.weight": ((VISION["image_size"] // patch) ** 2 + 1, width),
              **norm(f"{at}pre_layrnorm", width), **norm(f"{at}post_layernorm", width)}
    for i in range(VISION["num_hidden_layers"]):
        layer = f"{at}encoder.layers.{i}."
        for letter in ("q", "k", "v", "out"):
            shapes |= linear(f"{layer}self_attn.{letter}_proj", width, width)
        shapes |= linear(f"{layer}mlp.fc1", inner, width) | linear(f"{layer}mlp.fc2", width, inner)
        shapes |= norm(f"{layer}layer_norm1", width) | norm(f"{layer}layer_norm2", width)
    wide = TEXT["hidden_size"]
    return (shapes | linear("multi_modal_projector.linear_1", wide, width)
            | linear("multi_modal_projector.linear_2", wide, wide))


def text_layer_shapes(i):
    width, inner = TEXT["hidden_size"], TEXT["intermediate_size"]
    layer, shapes = f"language_model.model.layers.{i}.", {}
    for letter in "qkvo":
        shapes |= linear(f"{layer}self_attn.{letter}_proj", width, width, bias=False)
    for name in ("gate", "up"):
        shapes |= linear(f"{layer}mlp.{name}_proj", inner, width, bias=False)
    return (shapes | linear(f"{layer}mlp.down_proj", width, inner, bias=False)
            | norm(f"{layer}input_layernorm", width, bias=False)
            | norm(f"{layer}post_attention_layernorm", width, bias=False))


def shards(text_layers):
    """What lies in each: the tower with the tables, then six layers of the language model at a time."""
    width, words = TEXT["hidden_size"], TEXT["vocab_size"]
    yield (vision_shapes() | {"language_model.model.embed_tokens.weight": (words, width)}
           | norm("language_model.model.norm", width, bias=False)
           | linear("language_model.lm_head", words, width, bias=False))
    for first in range(0, text_layers, 6):
        shapes = {}
        for i in range(first, min(first + 6, text_layers)):
            shapes |= text_layer_shapes(i)
        yield shapes


def tensor(name, shape):
    if name.endswith("bias"):
        return torch.zeros(shape, dtype=torch.bfloat16)
    if "norm" in name or "layrnorm" in name:
        return torch.ones(shape, dtype=torch.bfloat16)
    return torch.empty(shape, dtype=torch.bfloat16).normal_(0, 0.02)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--text-layers", type=int, default=32)
    options = parser.parse_args()
    torch.manual_seed(0)
    folder = options.out / "model"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config(options.text_layers), indent=2))
    places, size, parts = {}, 0, list(shards(options.text_layers))
    for i, shapes in enumerate(parts):
        file = f"model-{i + 1:05}-of-{len(parts):05}.safetensors"
        weights = {name: tensor(name, shape) for name, shape in shapes.items()}
        save_file(weights, folder / file, metadata={"format": "pt"})
        places |= dict.fromkeys(weights, file)
        size += sum(w.numel() * w.element_size() for w in weights.values())
    index = {"metadata": {"total_size": size}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2))
    random = np.random.default_rng(0)
    ids = np.concatenate([[1], np.full(PICTURE_ROWS, IMAGE_TOKEN), random.integers(3, IMAGE_TOKEN, TEXT_TOKENS - 1)])
    pixels = random.normal(size=(1, 3, VISION["image_size"], VISION["image_size"])).astype(np.float32)
    np.savez(options.out / "inputs.npz", input_ids=ids[None].astype(np.int64), pixel_values=pixels)


if __name__ == "__main__":
    main()
