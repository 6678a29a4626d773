"""LLaVA-1.5 in NumPy float64: the Python twin of ref/, to be read beside it.

The functions have their names in C and stand in the same order, a file of ref/ being a section here; what
the C does about memory, refusals, other types and known bugs is left out. B samples, S tokens, S' keys (cached
ones first), N pictures, P patches, T tower rows, D their width, h heads of d numbers, k key/value heads.

    python tools/llava_twin.py --model golden/plain/model --inputs golden/plain/inputs.npz --dump taps.npz

writes every tap of docs/contract.md section 2. tools/check_twin.py holds them against the goldens.
"""

import argparse
import json
import math
import pathlib

import numpy as np
import safetensors

# --- ref/config.c, ref/safetensors.c, ref/checkpoint.c: what comes from files -----------------------
def read_config(folder):
    config = json.loads((folder / "config.json").read_text())
    vision, text = config["vision_config"], config["text_config"]
    rope = text.get("rope_parameters", {}).get("rope_type")
    kind = [config["model_type"], vision["model_type"], text["model_type"], rope]
    if kind != ["llava", "clip_vision_model", "llama", "default"]:
        raise NotImplementedError(f"{folder}: {kind} is not of this family")
    return config


def decode(kind, data):
    """Stored numbers to float64, which holds every one of them exactly."""
    if kind == "BF16":  # the upper half of a float32
        return (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4").astype(np.float64)
    return np.frombuffer(data, {"F64": "<f8", "F32": "<f4", "F16": "<f2"}[kind]).astype(np.float64)


def read_weights(folder):
    """{name: array} of a single file or of shards, all spellings brought to one."""
    weights = {}
    for path in folder.glob("*.safetensors"):
        for name, tensor in safetensors.deserialize(path.read_bytes()):
            name = name.removeprefix("model.").replace(".vision_model.", ".")
            name = name.replace("language_model.model.", "language_model.").replace("language_model.lm_head", "lm_head")
            weights[name] = decode(tensor["dtype"], tensor["data"]).reshape(tensor["shape"])
    return weights


# --- ref/stage.c: a run and its taps ----------------------------------------------------------------
class Run:
    def __init__(self, folder):
        self.config, self.weights, self.taps, self.prefix = read_config(folder), read_weights(folder), {}, ""
        self.cache, self.counts = {}, None  # of each layer (keys, values) [B,past,k,d]; no padding? [B,past]
        self.vision, self.text = self.config["vision_config"], self.config["text_config"]
        self.generation = json.loads((folder / "generation_config.json").read_text())


def put(r, x, name):
    r.taps[r.prefix + name] = x
    return x


def linear(r, x, name):  # W x (+ b) of each row, W [outputs, inputs]
    return x @ r.weights[f"{name}.weight"].T + r.weights.get(f"{name}.bias", 0)


# --- ref/ops ----------------------------------------------------------------------------------------
def layer_norm(r, x, eps, name):
    x = x - x.mean(-1, keepdims=True)
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * r.weights[f"{name}.weight"] + r.weights[f"{name}.bias"]


def rms_norm(r, x, eps, name):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * r.weights[f"{name}.weight"]


ACTIVATIONS = {
    "quick_gelu": lambda x: x / (1 + np.exp(-1.702 * x)),
    "gelu": lambda x: x / 2 * (1 + np.vectorize(math.erf)(x / math.sqrt(2))),
    "gelu_pytorch_tanh": lambda x: x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "silu": lambda x: x / (1 + np.exp(-x)),
}


def softmax(scores, visible):
    """Over the visible keys; over all of them alike where none is visible."""
    if visible is not None:
        scores = np.where(visible, scores, np.where(visible.any(-1, keepdims=True), -np.inf, 0))
    e = np.exp(scores - scores.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def rotate(x, cosine, sine):
    """Turns the pairs (j, j + d/2) of every head. x [B,S,h,d], cosine and sine [B,S,d]."""
    half = x.shape[-1] // 2
    turned = np.concatenate([-x[..., half:], x[..., :half]], -1)
    return x * cosine[:, :, None] + turned * sine[:, :, None]


# --- ref/attention.c --------------------------------------------------------------------------------
def heads_of(r, w, name, letter, heads, a):
    x = linear(r, a, f"{w}.self_attn.{letter}_proj").reshape(*a.shape[:2], heads, -1)
    return put(r, x, f"{name}.attn.{letter}")


def attention(r, name, q, k, v, visible):
    """q [B,S,h,d], k and v [B,S',k,d], visible [B,1,S,S'] or None -> context [B,S,h*d]."""
    share = q.shape[2] // k.shape[2]  # so many query heads in a row use one key/value head
    q, k, v = (x.transpose(0, 2, 1, 3) for x in (q, k.repeat(share, 2), v.repeat(share, 2)))
    scores = put(r, q @ k.swapaxes(2, 3) * q.shape[-1] ** -0.5, f"{name}.scores")
    probs = put(r, softmax(scores, visible), f"{name}.probs")
    context = (probs @ v).transpose(0, 2, 1, 3)
    return put(r, context.reshape(*context.shape[:2], -1), f"{name}.context")


# --- ref/vision.c -----------------------------------------------------------------------------------
def patch_embed(r, pixels):
    """Kernel and stride p: one product a patch, patches row by row. pixels [N,3,height,width] -> [N,P,D]"""
    kernel = r.weights["vision_tower.embeddings.patch_embedding.weight"]  # [D,3,p,p]
    p, grid = r.vision["patch_size"], r.vision["image_size"] // r.vision["patch_size"]
    cut = pixels[:, :, : grid * p, : grid * p].reshape(-1, 3, grid, p, grid, p)
    patches = cut.transpose(0, 2, 4, 1, 3, 5).reshape(-1, grid * grid, 3 * p * p)
    return put(r, patches @ kernel.reshape(len(kernel), -1).T, "vision.patch_embed")


def embed(r, patches):
    """The class row before the patches, positions added, normed. [N,T,D]"""
    row = r.weights["vision_tower.embeddings.class_embedding"]
    h = np.concatenate([np.broadcast_to(row, (len(patches), 1, len(row))), patches], 1)
    h = put(r, h + r.weights["vision_tower.embeddings.position_embedding.weight"], "vision.embed")
    return put(r, layer_norm(r, h, r.vision["layer_norm_eps"], "vision_tower.pre_layrnorm"), "vision.pre_norm")


def vision_attend(r, w, name, a):
    qkv = (heads_of(r, w, name, letter, r.vision["num_attention_heads"], a) for letter in "qkv")
    context = attention(r, f"{name}.attn", *qkv, None)
    return put(r, linear(r, context, f"{w}.self_attn.out_proj"), f"{name}.attn.out")


def vision_mlp(r, w, name, m):
    f = put(r, linear(r, m, f"{w}.mlp.fc1"), f"{name}.mlp.fc1")
    f = put(r, ACTIVATIONS[r.vision["hidden_act"]](f), f"{name}.mlp.act")
    return put(r, linear(r, f, f"{w}.mlp.fc2"), f"{name}.mlp.out")


def vision_layer(r, i, h):
    w, name, eps = f"vision_tower.encoder.layers.{i}", f"vision.layers.{i}", r.vision["layer_norm_eps"]
    a = put(r, layer_norm(r, h, eps, f"{w}.layer_norm1"), f"{name}.norm1")
    h = put(r, h + vision_attend(r, w, name, a), f"{name}.resid1")
    a = put(r, layer_norm(r, h, eps, f"{w}.layer_norm2"), f"{name}.norm2")
    return put(r, h + vision_mlp(r, w, name, a), f"{name}.output")


def vision(r, pixels):
    """The chosen hidden states side by side, rows selected: [N,F,D * chosen]."""
    chosen = np.atleast_1d(r.config["vision_feature_layer"])
    chosen = [c if c >= 0 else r.vision["num_hidden_layers"] + 1 + c for c in chosen]
    states = [embed(r, patch_embed(r, pixels))]
    for i in range(max(chosen)):  # a layer behind the last chosen one cannot reach the answer
        states.append(vision_layer(r, i, states[i]))
    first = 1 if r.config["vision_feature_select_strategy"] == "default" else 0
    return put(r, np.concatenate([states[c][:, first:] for c in chosen], -1), "vision.features")


# --- ref/projector.c --------------------------------------------------------------------------------
def projector(r, features):
    f = put(r, linear(r, features, "multi_modal_projector.linear_1"), "projector.fc1")
    f = put(r, ACTIVATIONS[r.config["projector_hidden_act"]](f), "projector.act")
    return put(r, linear(r, f, "multi_modal_projector.linear_2"), "projector.out")


# --- ref/merge.c ------------------------------------------------------------------------------------
TABLE = "language_model.embed_tokens.weight"


def text_embed(r, inputs):
    given = inputs.get("inputs_embeds")
    return put(r, r.weights[TABLE][inputs["input_ids"]] if given is None else given.astype(float), "text.embed")


def merge(r, inputs, rows, embeds):
    """Each image token, in the order of the batch, takes the next picture row."""
    if rows is not None:
        token, given = r.config["image_token_index"], "inputs_embeds" in inputs  # then: rows like the token's
        places = (embeds == r.weights[TABLE][token]).all(-1) if given else inputs["input_ids"] == token
        embeds = embeds.copy()
        embeds[places] = rows.reshape(-1, rows.shape[-1])
    return put(r, embeds, "text.inputs_embeds")


# --- ref/text.c -------------------------------------------------------------------------------------
def rope(r, positions):
    """cos and sin of position / theta^(2j/d), each angle for both numbers of its pair. [B,S,d]"""
    d = r.text.get("head_dim") or r.text["hidden_size"] // r.text["num_attention_heads"]
    angle = np.tile(positions[..., None] / r.text["rope_parameters"]["rope_theta"] ** (np.arange(0, d, 2) / d), 2)
    return put(r, np.cos(angle), "text.rope.cos"), put(r, np.sin(angle), "text.rope.sin")


def see(r, mask):
    """May new token s look at key t? If t is no padding and not later. [B,1,S,S']"""
    r.counts = mask != 0 if r.counts is None else np.concatenate([r.counts, mask != 0], 1)
    new, keys = mask.shape[1], r.counts.shape[1]
    return (np.tri(new, keys, keys - new, bool) & r.counts[:, None])[:, None]


def attend(r, i, w, name, a, tables, visible):
    q = heads_of(r, w, name, "q", r.text["num_attention_heads"], a)
    k, v = (heads_of(r, w, name, letter, r.text["num_key_value_heads"], a) for letter in "kv")
    q = put(r, rotate(q, *tables), f"{name}.attn.q_rope")
    k = put(r, rotate(k, *tables), f"{name}.attn.k_rope")
    if i in r.cache:
        k, v = (np.concatenate([past, new], 1) for past, new in zip(r.cache[i], (k, v)))
    r.cache[i] = k, v
    context = attention(r, f"{name}.attn", q, k, v, visible)
    return put(r, linear(r, context, f"{w}.self_attn.o_proj"), f"{name}.attn.out")


def mlp(r, w, name, m):
    gate = put(r, linear(r, m, f"{w}.mlp.gate_proj"), f"{name}.mlp.gate")
    up = put(r, linear(r, m, f"{w}.mlp.up_proj"), f"{name}.mlp.up")
    f = put(r, ACTIVATIONS[r.text["hidden_act"]](gate) * up, f"{name}.mlp.act")
    return put(r, linear(r, f, f"{w}.mlp.down_proj"), f"{name}.mlp.out")


def layer(r, i, x, tables, visible):
    w, name, eps = f"language_model.layers.{i}", f"text.layers.{i}", r.text["rms_norm_eps"]
    a = put(r, rms_norm(r, x, eps, f"{w}.input_layernorm"), f"{name}.norm1")
    x = put(r, x + attend(r, i, w, name, a, tables, visible), f"{name}.resid1")
    a = put(r, rms_norm(r, x, eps, f"{w}.post_attention_layernorm"), f"{name}.norm2")
    return put(r, x + mlp(r, w, name, a), f"{name}.output")


def language_model(r, positions, mask, x):
    tables, visible = rope(r, positions), see(r, mask)
    for i in range(r.text["num_hidden_layers"]):
        x = layer(r, i, x, tables, visible)
    x = put(r, rms_norm(r, x, r.text["rms_norm_eps"], "language_model.norm"), "text.norm")
    return put(r, x @ r.weights.get("lm_head.weight", r.weights[TABLE]).T, "logits")


def loss(r, logits, labels):
    """Mean of log(sum of e^logits) - logit of the next token's label, where there is one (not -100)."""
    rows, target = logits[:, :-1][labels[:, 1:] != -100], labels[:, 1:][labels[:, 1:] != -100]
    rows = rows - rows.max(-1, keepdims=True)
    put(r, (np.log(np.exp(rows).sum(-1)) - rows[np.arange(len(target)), target]).mean(), "loss")


# --- ref/forward.c ----------------------------------------------------------------------------------
def forward(r, inputs, positions, mask):
    put(r, positions, "position_ids")
    rows = projector(r, vision(r, inputs["pixel_values"].astype(float))) if "pixel_values" in inputs else None
    x = merge(r, inputs, rows, text_embed(r, inputs))
    logits = language_model(r, positions, mask, x)
    if "labels" in inputs:
        loss(r, logits, inputs["labels"])
    return logits


# --- ref/generate.c ---------------------------------------------------------------------------------
def generate(r, inputs, positions, mask, most):
    """Greedy: the first of the largest logits. A sample that has ended emits the pad id."""
    stop, pad = (r.generation.get(f"{kind}_token_id") for kind in ("eos", "pad"))
    ids, ended = [], np.zeros(len(mask), bool)
    logits = forward(r, inputs, positions, mask)
    for g in range(1, most + 1):
        ids.append(np.where(ended, pad, logits[:, -1].argmax(-1)))
        ended |= np.isin(ids[-1], [] if stop is None else stop)
        if ended.all() or g == most:
            break
        r.prefix, positions = f"step.{g}.", positions[:, -1:] + 1
        logits = forward(r, {"input_ids": ids[-1][:, None]}, positions, np.ones_like(positions))
    r.taps["generated_ids"] = np.stack(ids, 1)


def run(folder, inputs, most=0):
    """{tap: array} of a forward pass, or of a generation of at most `most` tokens."""
    r = Run(folder)
    shape = inputs["input_ids" if "input_ids" in inputs else "inputs_embeds"].shape[:2]
    mask = inputs.get("attention_mask", np.ones(shape, np.int64))
    if mask.ndim != 2 or "logits_to_keep" in inputs:
        raise NotImplementedError("a mask of another kind, or logits_to_keep")
    count = (mask.cumsum(-1) - 1) * mask if most else np.arange(shape[1])  # the two conventions
    positions = np.broadcast_to(inputs.get("position_ids", count), shape)
    r.taps = {name: inputs[name] for name in ("pixel_values", "input_ids") if name in inputs} | {"attention_mask": mask}
    generate(r, inputs, positions, mask, most) if most else forward(r, inputs, positions, mask)
    return r.taps


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", required=True, type=pathlib.Path)
    parser.add_argument("--inputs", required=True, help="an .npz of the arguments of forward")
    parser.add_argument("--dump", required=True, help="the .npz to write")
    parser.add_argument("--generate", type=int, default=0, metavar="N")
    options = parser.parse_args()
    np.savez(options.dump, **run(options.model, dict(np.load(options.inputs)), options.generate))


if __name__ == "__main__":
    main()
