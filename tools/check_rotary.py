"""Random rotary configurations, read and computed by llava-ref and by transformers: the same tables?

    python tools/check_rotary.py [--cases 300] [--seed 1]

Every type, both spellings, keys missing, null and superfluous, the three families of language models; positions within
and beyond the original context. `--numerics hf` must give transformers' float32 tables to the last digits, `true` the
same within what float32 loses, and what transformers cannot load must be refused. LLAVA_REF names the program, else
build/llava-ref.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import warnings

import numpy as np
import torch
import transformers
from transformers import LlavaConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding
from transformers.models.mistral.modeling_mistral import MistralRotaryEmbedding
from transformers.models.qwen2.modeling_qwen2 import Qwen2RotaryEmbedding

EMBEDDINGS = {"llama": LlamaRotaryEmbedding, "mistral": MistralRotaryEmbedding, "qwen2": Qwen2RotaryEmbedding}
HEAD = 16
REQUIRED = {"default": (), "linear": ("factor",), "dynamic": ("factor",), "yarn": ("factor",),
            "longrope": ("short_factor", "long_factor"),
            "llama3": ("factor", "low_freq_factor", "high_freq_factor")}  # fmt: skip
# Of a table's value. A float32 angle p * f is off by a unit or two of its last digit, twice in f itself: 2^-23 * 3 of
# the angle; cos, sin and their factor add two units of a number below 2.
ANGLE, VALUE = 3 * 2.0**-23, 4 * 2.0**-23


def some(rng, value, missing=0.5):
    """The value, or nothing."""
    return value if rng.random() >= missing else None


def parameters(rng):
    """(rotary type, keys of its object, keys beside it)"""
    kind = rng.choice(list(REQUIRED))
    original = int(rng.integers(4, 200))
    low = float(rng.uniform(0.2, 3))
    keys = {
        "factor": some(rng, float(rng.choice([1.0, 2.0, 3.5, rng.uniform(0.7, 16)])), 0.05),
        "original_max_position_embeddings": some(rng, original, 0.3),
        "attention_factor": some(rng, float(rng.uniform(0.5, 2)), 0.6),
        "beta_fast": some(rng, float(rng.uniform(1, 40))),
        "beta_slow": some(rng, float(rng.uniform(0.05, 1))),
        "mscale": some(rng, float(rng.uniform(0, 2))),
        "mscale_all_dim": some(rng, float(rng.uniform(0, 2))),
        "truncate": some(rng, bool(rng.integers(0, 2))),
        "low_freq_factor": some(rng, low, 0.05),
        "high_freq_factor": some(rng, low + float(rng.uniform(0.1, 4)), 0.05),
        "short_factor": some(rng, rng.uniform(1, 2, HEAD // 2).tolist(), 0.03),
        "long_factor": some(rng, rng.uniform(1, 9, HEAD // 2).tolist(), 0.03),
    }
    kept = REQUIRED[kind] + {"yarn": ("original_max_position_embeddings", "attention_factor", "beta_fast", "beta_slow",
                                      "mscale", "mscale_all_dim", "truncate"),
                             "longrope": ("original_max_position_embeddings", "attention_factor", "factor"),
                             "llama3": ("original_max_position_embeddings",)}.get(kind, ())  # fmt: skip
    keys = {name: value for name, value in keys.items() if value is not None and name in kept}
    if REQUIRED[kind] and rng.random() < 0.12:
        keys.pop(str(rng.choice(REQUIRED[kind])), None)
    if kind == "yarn" and rng.random() < 0.1:
        keys["factor"] = None  # the key has to be there, its value not
    beside = {"max_position_embeddings": int(rng.choice([original, 2 * original, 512]))}
    if rng.random() < 0.2 and kind != "default":
        beside["original_max_position_embeddings"] = int(rng.integers(4, 200))
    return str(kind), keys, beside


def text_config(rng):
    kind, keys, text = parameters(rng)
    theta = float(rng.choice([10000.0, 500000.0, 1e6, 10 ** rng.uniform(1.2, 6)]))
    place = rng.integers(0, 3)
    if place == 0:  # as 5.x writes it
        text["rope_parameters"] = {"rope_type": kind, "rope_theta": theta} | keys
    else:  # as 4.x did
        text["rope_scaling"] = {"type" if place == 1 else "rope_type": kind} | keys
        if rng.random() < 0.8:
            text["rope_theta"] = theta
        if rng.random() < 0.2:
            text["rope_parameters"] = {"rope_type": "default", "rope_theta": 7.0}  # rope_scaling hides it
    family = str(rng.choice(list(EMBEDDINGS)))
    sizes = dict(model_type=family, hidden_size=4 * HEAD, num_attention_heads=4, num_key_value_heads=2,
                 intermediate_size=8, num_hidden_layers=1, vocab_size=40, head_dim=HEAD)  # fmt: skip
    return sizes | text


def by_transformers(text, positions):
    """(cos, sin) in float32, or why there are none."""
    try:
        config = LlavaConfig.from_dict({"text_config": json.loads(json.dumps(text))}).text_config
        embedding = EMBEDDINGS[text["model_type"]](config)
        with torch.no_grad():
            return embedding(torch.zeros(1), torch.from_numpy(positions)[None]), ""
    except (KeyError, ValueError, TypeError, ZeroDivisionError) as why:
        return None, f"{type(why).__name__}: {why}"


def by_llava_ref(folder, numerics, more=()):
    binary = os.environ.get("LLAVA_REF", "build/llava-ref")
    out = os.path.join(folder, f"{numerics}.npz")
    run = subprocess.run([binary, "run", "--model", folder, "--inputs", os.path.join(folder, "in.npz"),
                          "--numerics", numerics, "--taps", "text.rope.*", "--dump", out, *more],
                         capture_output=True, text=True)  # fmt: skip
    if run.returncode:
        return None, run.stderr.strip().splitlines()[-1]
    with np.load(out) as file:
        return (file["text.rope.cos"], file["text.rope.sin"]), run.stderr


def compare(folder, text, positions, more=()):
    """What is wrong with one configuration, or ""; and whether it was refused."""
    with open(os.path.join(folder, "config.json"), "w") as file:
        json.dump({"model_type": "llava", "text_config": text}, file)
    np.savez(os.path.join(folder, "in.npz"), input_ids=np.ones((1, 7), np.int64), position_ids=positions[None])
    theirs, why = by_transformers(text, positions)
    ours, said = by_llava_ref(folder, "hf", more)
    if theirs is None or ours is None:
        agree = theirs is None and ours is None
        return "" if agree else f"{text}: transformers: {why or 'loads it'}; llava-ref: {said or 'loads it'}", True
    exact, _ = by_llava_ref(folder, "true", more)
    allowed = ANGLE * positions[None, :, None] + VALUE
    for name, a, b, c in zip(("cos", "sin"), theirs, ours, exact):
        a = a.double().numpy()
        for kind, x in (("hf", b), ("true", c)):
            if not (np.abs(x - a) <= allowed * max(1.0, np.abs(a).max())).all():
                return f"{text}: {name}, {kind}: off by {np.abs(x - a).max():.1e} at positions {positions}", False
    return said.strip(), False  # a warning would be of a key that is not known


def planted(folder):
    """Wrong tables must not pass: each of these decisions changes one of the types."""
    base = dict(model_type="llama", hidden_size=4 * HEAD, num_attention_heads=4, head_dim=HEAD, vocab_size=40,
                max_position_embeddings=64, rope_theta=1000.0)  # fmt: skip
    stretched = {"factor": 4.0, "original_max_position_embeddings": 16}
    tables = {"short_factor": [1.0] * (HEAD // 2), "long_factor": [1.01] * (HEAD // 2)}
    faults = [("text.rope_scaling=none", {"type": "linear", "factor": 1.01}),
              ("text.rope_ramp=absent", {"type": "llama3", "low_freq_factor": 1.0, "high_freq_factor": 4.0} | stretched),
              ("text.rope_attn_factor=absent", {"type": "yarn", "attention_factor": 1.0001} | stretched),
              ("text.rope_table=short", {"type": "longrope", "attention_factor": 1.0} | stretched | tables),
              ("text.rope_table=short", {"type": "dynamic", "factor": 1.05})]  # fmt: skip
    positions = np.array([0, 1, 2, 5, 17, 40, 70])
    seen = 0
    for decision, rope in faults:
        text = base | {"rope_scaling": rope}
        honest, _ = compare(folder, text, positions)
        wrong, _ = compare(folder, text, positions, ["--set", decision])
        if honest or not wrong:
            print(f"planted {decision} in {rope['type']}: {honest or 'not seen'}")
        seen += not honest and wrong != ""
    print(f"{seen} of {len(faults)} planted errors seen")
    return seen == len(faults)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    transformers.logging.set_verbosity_error()
    warnings.simplefilter("ignore")
    wrong = refused = 0
    rng = np.random.Generator(np.random.PCG64(options.seed))
    with tempfile.TemporaryDirectory() as folder:
        noticed = planted(folder)
        for _ in range(options.cases):
            positions = np.sort(rng.integers(0, int(rng.choice([6, 60, 300])), 7))
            problem, was_refused = compare(folder, text_config(rng), positions)
            refused += was_refused and not problem
            wrong += problem != ""
            if problem and wrong <= 5:
                print(problem)
    print(f"{options.cases} rotary configurations: {wrong} differ, {refused} refused by both")
    return 1 if wrong or refused == 0 or not noticed else 0


if __name__ == "__main__":
    sys.exit(main())
