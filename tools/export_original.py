"""Exports the goldens of --profile original with the original project's own package.

    python -m venv ENV; ENV/bin/pip install -r tools/requirements-original.txt
    ENV/bin/pip install --no-deps llava-torch==1.2.2.post1
    ENV/bin/python tools/export_original.py [--out golden]

llava-torch asks for torch 2.0.1 and a web server's worth of packages; what is used here (its model,
processor, tokenisation and conversations) runs with transformers 4.36.2 on the pinned torch.
Everything is computed in float64: the float32 islands of transformers 4.36 (RMSNorm, the rotary
tables, softmax, the logits' copy) are patched out, so that 1e-12 holds as for the other goldens.
"""

import argparse
import hashlib
import json
import os
import shutil
import warnings

warnings.filterwarnings("ignore")

import numpy as np
import PIL
import tokenizers
import torch
import transformers
import transformers.models.llama.modeling_llama as llama
from llava.conversation import conv_templates
from llava.mm_utils import process_images, tokenizer_image_token
from llava.model.language_model.llava_llama import LlavaConfig, LlavaLlamaForCausalLM
from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModel, PreTrainedTokenizerFast

TOLERANCE = 1e-12
LEAST_MARGIN = 1e-4
PICTURE = "../picture-pad/wide.png"
TOKENIZER = "picture-prompt/model/tokenizer.json"
VISION = dict(hidden_size=18, intermediate_size=26, num_hidden_layers=2, num_attention_heads=2, image_size=21,
              patch_size=6, projection_dim=8)  # fmt: skip
TEXT = dict(hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2, rms_norm_eps=1e-5,
            max_position_embeddings=512, bos_token_id=1, eos_token_id=2, pad_token_id=0)  # fmt: skip
CASES = {
    "original-v15": dict(
        about="LLaVA-1.5's original form: padded to a square, two projector layers, vicuna_v1, the tower apart",
        conv="vicuna_v1", apart=True,
        config=dict(mm_projector_type="mlp2x_gelu", image_aspect_ratio="pad", mm_vision_select_layer=-2,
                    mm_vision_select_feature="patch", mm_use_im_start_end=False),
    ),
    "original-v1": dict(
        about="the first LLaVA's: cropped, one projector layer, llava_v1, <im_start>, the class row kept, one file",
        conv="llava_v1", apart=False,
        config=dict(mm_projector_type="linear", image_aspect_ratio="square", mm_vision_select_layer=-1,
                    mm_vision_select_feature="cls_patch", mm_use_im_start_end=True),
    ),
}  # fmt: skip
QUESTION = "What is it?"


def uniform(rng, shape, deviation):
    return (rng.random(shape) * 2 - 1) * (deviation * 1.7320508075688772)


def draw(model, seed):
    """Weights by exact operations from the seed, in float32; sized as in golden_models.py."""
    rng = np.random.Generator(np.random.PCG64(seed))
    for name, parameter in sorted(model.named_parameters()):
        shape = tuple(parameter.shape)
        gain = 1.6 if "q_proj" in name or "k_proj" in name else 1.1
        x = uniform(rng, shape, gain / np.sqrt(max(1, np.prod(shape[1:]))))
        if len(shape) == 1:
            x = uniform(rng, shape, 0.2) + ("norm" in name and name.endswith("weight"))
        elif "embed" in name and "patch" not in name:
            x = uniform(rng, shape, 0.7)
        parameter.data = torch.from_numpy(x).to(torch.float32)


# --- true float64 --------------------------------------------------------------------------------


def patch_islands():
    softmax = torch.nn.functional.softmax

    def norm(self, x):
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.variance_epsilon))

    def tables(self, x, seq_len=None):
        inverse = 1.0 / self.base ** (torch.arange(0, self.dim, 2, dtype=torch.float64) / self.dim)
        angle = torch.outer(torch.arange(seq_len, dtype=torch.float64), inverse)
        angle = torch.cat((angle, angle), -1)
        return angle.cos(), angle.sin()

    def wide(x, dim=None, dtype=None, **more):
        return softmax(x, dim=dim, **more)

    llama.LlamaRMSNorm.forward = norm
    llama.LlamaRotaryEmbedding.forward = tables
    torch.nn.functional.softmax = wide


class Taps:
    """The first pass alone; generate()'s further ones are not kept."""

    def __init__(self, model):
        self.taps, self.open = {}, True
        inner = model.model
        self.after(inner.mm_projector, "projector.out")
        if isinstance(inner.mm_projector, torch.nn.Sequential):
            self.after(inner.mm_projector[0], "projector.fc1")
            self.after(inner.mm_projector[1], "projector.act")
        self.before(inner.mm_projector, "vision.features")
        self.before(inner.layers[0].input_layernorm, "text.inputs_embeds")
        for i, layer in enumerate(inner.layers):
            self.after(layer, f"text.layers.{i}.output")
        self.after(inner.norm, "text.norm")  # the logits would be most of the file; generated_ids has their say

    def put(self, name, x):
        x = x[0] if isinstance(x, tuple) else x
        if self.open and name not in self.taps:
            self.taps[name] = x.detach().numpy().copy()

    def after(self, module, name):
        module.register_forward_hook(lambda _, __, output: self.put(name, output))

    def before(self, module, name):
        module.register_forward_pre_hook(lambda _, arguments: self.put(name, arguments))


# --- one case ------------------------------------------------------------------------------------


def make_tokenizer(path, start_end):
    with open(path) as file:
        text = json.load(file)
    text["model"]["merges"] = [" ".join(pair) for pair in text["model"]["merges"]]  # as tokenizers 0.15 has them
    tokenizer = tokenizers.Tokenizer.from_str(json.dumps(text))
    if start_end:
        tokenizer.add_special_tokens(["<im_start>", "<im_end>"])
    return tokenizer


def save(model, tower, case, folder, tokenizer):
    model.save_pretrained(os.path.join(folder, "model"), safe_serialization=True)
    os.remove(os.path.join(folder, "model", "generation_config.json"))
    tokenizer.save(os.path.join(folder, "model", "tokenizer.json"))
    if not case["apart"]:
        os.remove(os.path.join(folder, "tower", "model.safetensors"))


def greedy(model, ids, images, taps, most):
    """generate() takes the pictures once; its logits are float32 in 4.36, ours are the head's own."""
    answer, margins = [], []
    while len(answer) < most and answer[-1:] != [model.config.eos_token_id]:
        full = torch.cat([ids, torch.tensor([answer], dtype=torch.long)], 1)
        logits = []
        handle = model.lm_head.register_forward_hook(lambda _, __, output: logits.append(output))
        model(input_ids=full, images=images, use_cache=False)
        handle.remove()
        row = logits[0][0, -1].numpy()
        best = np.sort(row)
        margins.append(float((best[-1] - best[-2]) / np.abs(row).max()))
        answer.append(int(row.argmax()))
        taps.open = False
    if min(margins) < LEAST_MARGIN:
        raise SystemExit(f"two tokens are within {min(margins):.1e}; choose another seed")
    return answer, min(margins)


def export(name, case, out, seed):
    folder = os.path.join(out, name)
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(os.path.join(folder, "model"))
    tokenizer = make_tokenizer(os.path.join(out, TOKENIZER), case["config"]["mm_use_im_start_end"])
    home = os.getcwd()
    os.chdir(folder)
    tower = CLIPVisionModel(CLIPVisionConfig(**VISION))
    draw(tower, seed + 1)
    tower.save_pretrained("tower", safe_serialization=True)
    CLIPImageProcessor(size={"shortest_edge": 21}, crop_size={"height": 21, "width": 21}).save_pretrained("tower")
    config = LlavaConfig(vocab_size=tokenizer.get_vocab_size() + 1, mm_vision_tower="tower/", mm_hidden_size=18,
                         **TEXT, **case["config"])  # fmt: skip
    config._attn_implementation = "eager"
    model = LlavaLlamaForCausalLM(config)
    draw(model, seed)
    if not case["apart"]:
        model.get_vision_tower().load_model()
    save(model, tower, case, ".", tokenizer)
    model.get_vision_tower().load_model()
    model = model.eval().double()
    taps = Taps(model)

    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")
    conv = conv_templates[case["conv"]].copy()
    token = "<im_start><image><im_end>" if config.mm_use_im_start_end else "<image>"
    conv.append_message(conv.roles[0], f"{token}\n{QUESTION}")
    conv.append_message(conv.roles[1], None)
    picture = PIL.Image.open(PICTURE).convert("RGB")
    pixels = process_images([picture], model.get_vision_tower().image_processor, config)
    ids = tokenizer_image_token(conv.get_prompt(), fast, return_tensors="pt")[None]
    torch.set_default_dtype(torch.float64)  # the causal mask is made in it
    with torch.no_grad():
        answer, margin = greedy(model, ids, pixels.double(), taps, 6)
    torch.set_default_dtype(torch.float32)
    rows = taps.taps["projector.out"].shape[1]
    expanded = [[x] * (rows if x == -200 else 1) for x in ids[0].tolist()]
    dump = {"pixel_values": pixels.numpy(), "input_ids": np.array([sum(expanded, [])], np.int64)}
    dump |= taps.taps | {"generated_ids": np.array([answer], np.int64)}
    write(name, case, config, dump, margin, seed)
    os.chdir(home)
    size = sum(os.path.getsize(os.path.join(r, f)) for r, _, files in os.walk(folder) for f in files)
    print(f"{name:20} {size / 1024:7.0f} KB   {fast.decode(answer)!r}")


def write(name, case, config, dump, margin, seed):
    about = {"contract": 1, "program": "llava-torch 1.2.2.post1", "dtype": "f64", "numerics": "true"}
    meta = np.frombuffer(json.dumps(about).encode(), np.uint8)
    np.savez_compressed("true.npz", **{"__meta__": meta}, **dump)
    arguments = ["--model", "model", "--profile", "original", "--vision-tower", "tower", "--conv", case["conv"],
                 "--image", PICTURE, "--chat", QUESTION, "--generate", "6", "--taps", ",".join(dump)]  # fmt: skip
    dumps = [{"file": "true.npz", "dtype": "f64", "numerics": "true", "tolerance": TOLERANCE}]
    record = {"case": name, "about": case["about"], "command": "run", "arguments": arguments, "dumps": dumps}
    with open("case.json", "w") as file:
        json.dump(record, file, indent=1)
        file.write("\n")
    files = sorted(os.path.relpath(os.path.join(r, f)) for r, _, names in os.walk(".") for f in names)
    versions = {m.__name__: m.__version__ for m in (torch, transformers, tokenizers, np)}
    provenance = {"command": "python tools/export_original.py", "versions": versions | {"llava-torch": "1.2.2.post1",
                  "Pillow": PIL.__version__}, "device": "cpu", "attention": "eager", "seed": seed,
                  "greedy_margin": margin, "tap_names": list(dump), "sha256": {}}  # fmt: skip
    for path in files:
        with open(path, "rb") as file:
            provenance["sha256"][path] = hashlib.sha256(file.read()).hexdigest()
    with open("PROVENANCE.json", "w") as file:
        json.dump(provenance, file, indent=1)
        file.write("\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", default="golden")
    options = parser.parse_args()
    if transformers.__version__ != "4.36.2":
        raise SystemExit("transformers 4.36.2 is what the original package goes with")
    patch_islands()
    for seed, (name, case) in enumerate(CASES.items(), 20231205):
        export(name, case, os.path.abspath(options.out), seed)


if __name__ == "__main__":
    main()
