"""Parameters, image tokens and multiplications of published checkpoints, counted by transformers.

    python tools/count_published.py            writes tests/configs/counts.tsv
    python tools/count_published.py --check    compares with it

tests/configs/NAME.json are config.json files in the spelling of the published checkpoints (docs/spec.md
section 11). The model is built from each on the meta device, so no number is computed; torch's own counter
of operations sees the products of one pass with a picture of the config's size and 32 text tokens.
`llava-ref inspect` must print the same numbers from the file alone (tests/test_published.c).
"""

import argparse
import glob
import json
import os
import sys

import torch
import transformers
from torch.utils.flop_counter import FlopCounterMode
from transformers import LlavaConfig, LlavaForConditionalGeneration

FOLDER = "tests/configs"
TEXT_TOKENS = 32
COLUMNS = ("name", "vision", "projector", "text", "total", "image_tokens", "macs")


def count_parameters(*modules):
    """Each once, also where a head is the token table."""
    return sum(p.numel() for p in {id(p): p for m in modules for p in m.parameters()}.values())


def states_needed(config):
    """Tower layers up to the last chosen hidden state: those behind have no effect."""
    count, chosen = config.vision_config.num_hidden_layers, config.vision_feature_layer
    chosen = [chosen] if isinstance(chosen, int) else chosen
    return max(c if c >= 0 else count + 1 + c for c in chosen)


def count(path):
    with open(path) as file:
        config = LlavaConfig.from_dict(json.load(file))
    with torch.device("meta"):
        model = LlavaForConditionalGeneration._from_config(config, attn_implementation="eager").eval()
    model.tie_weights()
    inner = model.model
    tower, projector, language = inner.vision_tower, inner.multi_modal_projector, inner.language_model
    parameters = [count_parameters(tower), count_parameters(projector), count_parameters(language, model.lm_head)]
    total = count_parameters(model)
    assert sum(parameters) == total, path

    layers = tower.transformer if config.vision_config.model_type == "pixtral" else tower.encoder
    layers.layers = layers.layers[: states_needed(config)]
    if getattr(tower, "use_head", False):
        tower.use_head = False  # the pooled vector of SigLIP is nobody's
    side, chosen = config.vision_config.image_size, config.vision_feature_layer
    pixels = torch.empty(1, 3, side, side, device="meta")
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        sizes = {"image_sizes": torch.tensor([[side, side]])} if config.vision_config.model_type == "pixtral" else {}
        rows = tower(pixels, **sizes).last_hidden_state
        if config.vision_feature_select_strategy == "default":
            rows = rows[:, 1:]
        assert isinstance(chosen, int)
        projector(rows)
        image_tokens = rows.shape[1]
        embeds = torch.empty(1, image_tokens + TEXT_TOKENS, config.text_config.hidden_size, device="meta")
        mask = torch.zeros(1, 1, embeds.shape[1], embeds.shape[1], device="meta")
        model.lm_head(language(inputs_embeds=embeds, attention_mask=mask, use_cache=False).last_hidden_state)
    return [*parameters, total, image_tokens, counter.get_total_flops() // 2]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    transformers.logging.set_verbosity_error()
    lines = ["\t".join(COLUMNS)]
    for path in sorted(glob.glob(f"{FOLDER}/*.json")):
        name = os.path.basename(path).removesuffix(".json")
        lines.append("\t".join(map(str, [name, *count(path)])))
        print(lines[-1], flush=True)
    text = "\n".join(lines) + "\n"
    if options.check:
        with open(f"{FOLDER}/counts.tsv") as file:
            if file.read() != text:
                sys.exit(f"count_published: {FOLDER}/counts.tsv says otherwise")
        return
    with open(f"{FOLDER}/counts.tsv", "w") as file:
        file.write(text)


if __name__ == "__main__":
    main()
