"""Random models of every family against transformers, every tap in true float64.

    python tools/check_models.py [--cases 60] [--seed 1] [--program build/llava-ref]
    python tools/check_models.py --only 17            # case 17 of that seed again, its folder kept

The goldens are models chosen by hand; this draws them: tower and language model of any family, odd widths, heads
that are grouped or wider than the hidden size, every rotary type, windows, biases, activations, chosen layers, spelling
and type of the stored weights, batches padded on either side, pictures of several sizes, labels, embeddings, greedy steps.
Each is run by transformers with its float32 islands patched out (tools/golden_taps.py) and by llava-ref, and every
tap is compared: ids and masks exactly, numbers within TOLERANCE of the row's largest value.
"""

import argparse
import pathlib
import shutil
import subprocess
import sys
import tempfile

import numpy as np
import transformers

import export_golden
import golden_models as models
import golden_proof as proof
import golden_taps as taps_of

# Either side is within 1e-13 of the exact value in models of this size (golden/README.md); a random
# draw can lie worse: a row of which little is left after a sum (features of a dying norm).
TOLERANCE = 1e-11
# A greedy choice closer than this may fall either way in float64.
LEAST_MARGIN = 1e-9
PLANTED = ["--set", "text.norm_eps=1e-8"]
ACTS = ["quick_gelu", "gelu", "gelu_pytorch_tanh", "silu", "relu"]


class Draw:
    """Choices from one generator, with the names that a case needs."""

    def __init__(self, rng):
        self.rng = rng

    def one(self, *values):
        return values[self.rng.integers(len(values))]

    def chance(self, p):
        return bool(self.rng.random() < p)

    def between(self, least, most):
        return int(self.rng.integers(least, most + 1))

    def real(self, least, most):
        return float(round(self.rng.uniform(least, most), 3))


def draw_tower(d):
    kind = d.one("clip", "clip", "siglip", "pixtral")
    heads = d.between(1, 3)
    # Pixtral's rotary table has an angle for each pair of channels, rows and columns in turns.
    width = 4 * d.between(1, 3) if kind == "pixtral" else d.between(3, 9)
    patch = d.between(2, 5)
    vision = dict(
        hidden_size=heads * width, num_attention_heads=heads, intermediate_size=d.between(5, 30),
        num_hidden_layers=d.between(1, 3), patch_size=patch, image_size=patch * d.between(2, 4) + d.between(0, patch - 1),
        hidden_act=d.one(*ACTS),
    )  # fmt: skip
    if kind != "pixtral":
        vision["layer_norm_eps"] = d.one(1e-5, 1e-6, 1e-7)
    if kind == "siglip":
        vision["vision_use_head"] = d.chance(0.5)
    return kind, vision


def draw_rope(d, head_dim):
    kind = d.one("default", "linear", "dynamic", "llama3", "yarn", "longrope")
    rope = dict(rope_type=kind, rope_theta=d.one(10000.0, 500.0, 1e6))
    if kind in ("linear", "dynamic", "llama3", "yarn"):
        rope["factor"] = d.real(1.5, 8)
    if kind in ("llama3", "yarn", "longrope"):
        rope["original_max_position_embeddings"] = d.one(8, 16, 64)
    if kind == "llama3":
        rope |= dict(low_freq_factor=1.0, high_freq_factor=d.real(2, 6))
    if kind == "yarn" and d.chance(0.5):
        rope |= dict(beta_fast=d.real(2, 32), beta_slow=d.real(0.2, 1))
    if kind == "yarn" and d.chance(0.3):
        rope |= dict(mscale=d.real(0.5, 2), mscale_all_dim=d.real(0.3, 1.5))
    if kind == "yarn" and d.chance(0.3):
        rope["attention_factor"] = d.real(0.5, 2)
    if kind == "longrope":
        for name in ("short_factor", "long_factor"):
            rope[name] = [d.real(1, 4) for _ in range(head_dim // 2)]
        if d.chance(0.5):
            rope["factor"] = d.real(1.5, 8)
    return rope


def draw_text(d):
    family = d.one("llama", "llama", "mistral", "qwen2")
    kv, group = d.between(1, 3), d.between(1, 3)
    heads, head_dim = kv * group, 2 * d.between(2, 6)  # dynamic divides by head_dim - 2
    text = dict(
        vocab_size=d.between(59, 90), hidden_size=heads * head_dim, intermediate_size=d.between(5, 40),
        num_hidden_layers=d.between(1, 3), num_attention_heads=heads, num_key_value_heads=kv,
        rms_norm_eps=d.one(1e-5, 1e-6), hidden_act=d.one("silu", *ACTS), max_position_embeddings=d.one(16, 64, 512),
        tie_word_embeddings=d.chance(0.3),
    )  # fmt: skip
    if family != "qwen2" and d.chance(0.3):
        text["head_dim"] = head_dim = 2 * d.between(2, 6)
    if family == "llama":
        text |= dict(attention_bias=d.chance(0.3), mlp_bias=d.chance(0.3))
    if family == "mistral":
        text["sliding_window"] = d.one(None, d.between(2, 9), d.between(5, 30))
    if family == "qwen2":
        text |= dict(use_sliding_window=d.chance(0.6), sliding_window=d.between(2, 12),
                     max_window_layers=d.between(0, 3))  # fmt: skip
    text["rope_parameters"] = draw_rope(d, head_dim)
    return family, text


def draw_layout(d, with_pictures):
    samples = []
    for _ in range(d.between(1, 3)):
        runs = [d.between(1, 6)]
        for _ in range(d.between(0, 2) if with_pictures else 0):
            runs += [models.PICTURE, d.between(1, 4)]
        samples.append(runs)
    return samples


def draw_case(number, seed):
    d = Draw(np.random.default_rng([seed, number]))
    tower, vision = draw_tower(d)
    family, text = draw_text(d)
    states = vision["num_hidden_layers"] + 1
    layers = [d.between(-states, states - 1) for _ in range(d.between(1, 3))]
    if len(layers) == 1:
        layers = layers[0] or -1  # transformers takes a plain 0 for none
    top = dict(
        vision_feature_layer=layers, projector_hidden_act=d.one(*ACTS), multimodal_projector_bias=d.chance(0.7),
        vision_feature_select_strategy="full" if tower == "pixtral" else d.one("default", "full"),
        tie_word_embeddings=text["tie_word_embeddings"],
    )  # fmt: skip
    with_pictures = d.chance(0.85)
    layout = draw_layout(d, with_pictures)
    pictures = sum(runs.count(models.PICTURE) for runs in layout)
    sizes = None
    if tower == "pixtral" and pictures:
        edge = [vision["patch_size"], vision["image_size"]]
        sizes = [(d.between(*edge), d.between(*edge)) for _ in range(pictures)]
    generate = d.one(0, 0, d.between(2, 5))
    spellings = ["save_pretrained", "memory"] + ["released"] * (tower != "pixtral")  # Pixtral has no vision_model level
    spelling = d.one(*spellings)
    return models.Case(
        f"random-{seed}-{number}", "a random model", tower=tower, vision=vision, family=family, text=text, top=top,
        store=d.one("f64", "f32", "bf16", "f16"), spelling=spelling,
        shard_size=d.one("", "30KB") if spelling == "save_pretrained" else "", old_rope=d.chance(0.3), layout=layout, pad=d.one("left", "right"), sizes=sizes,
        labels=not generate and d.chance(0.3), embeds=not generate and not pictures and d.chance(0.2), generate=generate,
    )  # fmt: skip


def compare(expected, actual):
    """Lines of what differs, and the worst (error, tap)."""
    wrong, worst = [], (0.0, "")
    mask = expected["attention_mask"]
    for name, tap in expected.items():
        if name not in actual:
            wrong.append(f"{name}: missing")
        elif tap.shape != actual[name].shape:
            wrong.append(f"{name}: {list(actual[name].shape)}, transformers {list(tap.shape)}")
        elif tap.dtype.kind != "f":
            if not np.array_equal(tap, actual[name]):
                wrong.append(f"{name}: not equal")
        else:
            error = proof.counted_error(name, actual[name], tap, mask)
            worst = max(worst, (error, name))
            if not error <= TOLERANCE:
                wrong.append(f"{name}: off by {error:.1e} of the row's largest value")
    # Taps of ours that transformers' run has not: a name that no one checks.
    wrong += [f"{name}: not in transformers' run" for name in actual if name not in expected and name != "__meta__"]
    return wrong, worst


def check(case, program, folder, more=()):
    """Lines of what differs, the worst (error, tap), and whether anything could be compared."""
    model_folder = str(folder / "model")
    models.save_model(case, model_folder)
    model = export_golden.load(model_folder, "f64")
    inputs = models.make_inputs(case, model)
    np.savez(folder / "inputs.npz", **inputs)
    expected = taps_of.run(model, inputs, taps_of.Form("true"), case.generate)
    command = [program, "run", "--model", model_folder, "--inputs", str(folder / "inputs.npz"),
               "--dump", str(folder / "ours.npz"), *more]  # fmt: skip
    if case.generate:
        command += ["--generate", str(case.generate)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        return [done.stderr.strip()], (0.0, ""), True
    if case.generate and margin(expected, case.generate) < LEAST_MARGIN:
        return [], (0.0, ""), False
    return *compare(expected, np.load(folder / "ours.npz")), True


def margin(taps, generate):
    """The smallest lead of a chosen token, against the row's largest value."""
    rows = [taps["logits"][:, -1]]
    rows += [taps[f"step.{g}.logits"][:, -1] for g in range(1, generate) if f"step.{g}.logits" in taps]
    rows = np.concatenate(rows)
    ordered = np.sort(rows, -1)
    return float(((ordered[:, -1] - ordered[:, -2]) / np.abs(rows).max(-1)).min())


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cases", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, help="this case alone, its folder kept")
    parser.add_argument("--program", default="build/llava-ref")
    options = parser.parse_args()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    numbers = range(options.cases) if options.only is None else [options.only]
    failed, compared, worst = 0, 0, (0.0, "", "")
    for number in numbers:
        case = draw_case(number, options.seed)
        folder = pathlib.Path(tempfile.mkdtemp(prefix=case.name + "-"))
        wrong, error, judged = check(case, options.program, folder)
        compared += judged
        worst = max(worst, (*error, case.name))
        if wrong:
            failed += 1
            print(f"{case.name} ({case.tower}, {case.family}, {case.text['rope_parameters']['rope_type']}): "
                  f"{len(wrong)} taps differ; the first: {wrong[0]}")  # fmt: skip
        if options.only is None:
            shutil.rmtree(folder)
        else:
            print(case, folder, *wrong, sep="\n")
    if not compared:
        sys.exit("check_models: nothing was compared")
    with tempfile.TemporaryDirectory() as folder:  # planted: an eps a port could have had
        wrong, _, judged = check(draw_case(0, options.seed), options.program, pathlib.Path(folder), PLANTED)
        if not wrong or not judged:
            sys.exit("check_models: a planted eps was not seen")
    print(f"check_models: {compared} models, {failed} differ; worst {worst[0]:.1e} in {worst[1]} of {worst[2]}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
