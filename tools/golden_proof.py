"""The second evaluation: LLaVA in NumPy's longdouble, written from the formulas alone.

It shares no line with transformers or torch, so a float32 island that the exporter forgot to patch
shows here as a difference of 1e-8, a million times the tolerance. With an 80-bit longdouble its
own error is about 1e-19 per operation; it refuses to run where longdouble is only float64.
"""

import math

import mpmath
import numpy as np

WIDE = np.longdouble
TWO_PI = 2 * (WIDE(math.pi) + WIDE(1.2246467991473531772e-16))
# Torch's float64 has 2^-53 = 1.1e-16 per operation, sums of up to a few hundred terms and a few
# dozen operations in a row: measured 4e-14 and less. A float32 island left in gives 1e-8.
TOLERANCE = 1e-13


class NotProved(Exception):
    pass


def require_longdouble():
    if np.finfo(WIDE).eps > 2e-19:
        raise SystemExit("export_golden: this machine's longdouble is no wider than float64: no proof here")


def erf(x):
    """Element by element with mpmath at 30 digits, handed over as the sum of two doubles."""
    out = np.empty(x.shape, WIDE)
    with mpmath.workdps(30):
        for index, value in np.ndenumerate(x):
            high = float(value)
            exact = mpmath.erf(mpmath.mpf(high) + mpmath.mpf(float(value - WIDE(high))))
            out[index] = WIDE(float(exact)) + WIDE(float(exact - mpmath.mpf(float(exact))))
    return out


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def gelu_tanh(x):
    pi = WIDE(math.pi) + WIDE(1.2246467991473531772e-16)
    return x / 2 * (1 + np.tanh(np.sqrt(4 / TWO_PI) * (x + WIDE(0.044715) * x**3)))


ACTIVATIONS = {
    "quick_gelu": lambda x: x * sigmoid(WIDE(1.702) * x),
    "gelu": lambda x: x / 2 * (1 + erf(x / np.sqrt(WIDE(2)))),
    "gelu_pytorch_tanh": gelu_tanh,
    "silu": lambda x: x * sigmoid(x),
    "relu": lambda x: np.maximum(x, 0),
}


def linear(x, weights, name):
    y = x @ weights[f"{name}.weight"].T
    return y + weights[f"{name}.bias"] if f"{name}.bias" in weights else y


def layer_norm(x, weights, name, eps):
    centred = x - x.mean(-1, keepdims=True)
    variance = (centred**2).mean(-1, keepdims=True)
    return centred / np.sqrt(variance + WIDE(eps)) * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def rms_norm(x, weights, name, eps):
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + WIDE(eps)) * weights[f"{name}.weight"]


def attend(q, k, v, visible, blind=False, bias=None):
    """q [B,S,h,d], k and v [B,S,kv,d], visible [B,S,S] or None -> scores, probs [B,h,S,S], context.
    blind [B,S,1]: query rows that weigh their visible keys alike. bias [B,S,S]: added to the scores."""
    groups = q.shape[2] // k.shape[2]
    q, k, v = (x.transpose(0, 2, 1, 3) for x in (q, k, v))
    k, v = (np.repeat(x, groups, axis=1) for x in (k, v))
    scores = q @ k.transpose(0, 1, 3, 2) * (1 / np.sqrt(WIDE(q.shape[-1])))
    masked = scores
    if visible is not None:
        masked = np.where(blind[:, None], WIDE(0), scores if bias is None else scores + bias[:, None])
        masked = np.where(visible[:, None], masked, WIDE(-np.inf))
    weights = np.exp(masked - masked.max(-1, keepdims=True))
    probs = weights / weights.sum(-1, keepdims=True)
    context = (probs @ v).transpose(0, 2, 1, 3)
    return scores, probs, context.reshape(*context.shape[:2], -1)


def chosen_states(config, states):
    chosen = config["vision_feature_layer"]
    chosen = [chosen] if isinstance(chosen, int) else chosen
    drop = 1 if config["vision_feature_select_strategy"] == "default" else 0
    return np.concatenate([states[c][:, drop:] for c in chosen], -1)


def encoder(taps, config, weights, pixels):
    """CLIP: a class row and a norm in front. SigLIP: neither, but a bias in the convolution."""
    vision, t = config["vision_config"], "model.vision_tower"
    width, patch, heads = vision["hidden_size"], vision["patch_size"], vision["num_attention_heads"]
    eps, act = vision["layer_norm_eps"], ACTIVATIONS[vision["hidden_act"]]
    siglip = vision["model_type"] == "siglip_vision_model"
    count, grid = pixels.shape[0], vision["image_size"] // patch
    cut = pixels[:, :, : grid * patch, : grid * patch].reshape(count, 3, grid, patch, grid, patch)
    cut = cut.transpose(0, 2, 4, 1, 3, 5).reshape(count, grid * grid, -1)
    x = cut @ weights[f"{t}.embeddings.patch_embedding.weight"].reshape(width, -1).T
    if siglip:
        x = x + weights[f"{t}.embeddings.patch_embedding.bias"]
    taps["vision.patch_embed"] = x
    if not siglip:
        first = np.broadcast_to(weights[f"{t}.embeddings.class_embedding"], (count, 1, width))
        x = np.concatenate([first, x], 1)
    x = taps["vision.embed"] = x + weights[f"{t}.embeddings.position_embedding.weight"]
    if not siglip:
        x = taps["vision.pre_norm"] = layer_norm(x, weights, f"{t}.pre_layrnorm", eps)
    states = [x]
    for i in range(vision["num_hidden_layers"]):
        name, w = f"vision.layers.{i}", f"{t}.encoder.layers.{i}"
        a = taps[f"{name}.norm1"] = layer_norm(x, weights, f"{w}.layer_norm1", eps)
        q, k, v = (
            linear(a, weights, f"{w}.self_attn.{letter}_proj").reshape(count, a.shape[1], heads, -1)
            for letter in "qkv"
        )
        out = attend(q, k, v, None)
        parts = ("q", "k", "v", "scores", "probs", "context")
        taps.update({f"{name}.attn.{part}": y for part, y in zip(parts, (q, k, v, *out))})
        o = taps[f"{name}.attn.out"] = linear(out[2], weights, f"{w}.self_attn.out_proj")
        x = taps[f"{name}.resid1"] = x + o
        m = taps[f"{name}.norm2"] = layer_norm(x, weights, f"{w}.layer_norm2", eps)
        m = taps[f"{name}.mlp.fc1"] = linear(m, weights, f"{w}.mlp.fc1")
        m = taps[f"{name}.mlp.act"] = act(m)
        m = taps[f"{name}.mlp.out"] = linear(m, weights, f"{w}.mlp.fc2")
        x = taps[f"{name}.output"] = x + m
        states.append(x)
    return chosen_states(config, states)


def pixtral(taps, config, weights, pixels, sizes):
    """Every picture's patches row by row, one picture behind the other, in one sequence."""
    vision, t = config["vision_config"], "model.vision_tower"
    patch, heads, width = vision["patch_size"], vision["num_attention_heads"], vision["hidden_size"]
    eps, act, d = 1e-5, ACTIVATIONS[vision["hidden_act"]], vision["hidden_size"] // vision["num_attention_heads"]
    kernel = weights[f"{t}.patch_conv.weight"].reshape(width, -1)
    frequency = WIDE(vision["rope_parameters"]["rope_theta"]) ** (-np.arange(0, d, 2).astype(WIDE) / d)
    patches, angles, owner = [], [], []
    for n, (height, columns) in enumerate(sizes // patch):
        for row in range(height):
            for column in range(columns):
                square = np.s_[row * patch : (row + 1) * patch], np.s_[column * patch : (column + 1) * patch]
                patches.append(kernel @ pixels[n][:, square[0], square[1]].reshape(-1))
                angles.append(np.concatenate([row * frequency[0::2], column * frequency[1::2]] * 2))
                owner.append(n)
    x = taps["vision.patch_embed"] = taps["vision.embed"] = np.array(patches)[None]
    x = taps["vision.pre_norm"] = rms_norm(x, weights, f"{t}.ln_pre", eps)
    cos, sin = taps["vision.rope.cos"], taps["vision.rope.sin"] = np.cos(np.array(angles)), np.sin(np.array(angles))
    visible = (np.array(owner)[:, None] == np.array(owner))[None]
    states = [x]
    for i in range(vision["num_hidden_layers"]):
        name, w = f"vision.layers.{i}", f"{t}.transformer.layers.{i}"
        a = taps[f"{name}.norm1"] = rms_norm(x, weights, f"{w}.attention_norm", eps)
        q, k, v = (linear(a, weights, f"{w}.attention.{c}_proj").reshape(1, -1, heads, d) for c in "qkv")
        turned = (rotate(q, cos[None], sin[None]), rotate(k, cos[None], sin[None]))
        out = attend(*turned, v, visible, np.zeros((1, len(owner), 1), bool))
        parts = ("q", "k", "v", "q_rope", "k_rope", "scores", "probs", "context")
        taps.update({f"{name}.attn.{part}": y for part, y in zip(parts, (q, k, v, *turned, *out))})
        o = taps[f"{name}.attn.out"] = linear(out[2], weights, f"{w}.attention.o_proj")
        x = taps[f"{name}.resid1"] = x + o
        m = taps[f"{name}.norm2"] = rms_norm(x, weights, f"{w}.ffn_norm", eps)
        gate = taps[f"{name}.mlp.gate"] = linear(m, weights, f"{w}.feed_forward.gate_proj")
        up = taps[f"{name}.mlp.up"] = linear(m, weights, f"{w}.feed_forward.up_proj")
        m = taps[f"{name}.mlp.act"] = act(gate) * up
        m = taps[f"{name}.mlp.out"] = linear(m, weights, f"{w}.feed_forward.down_proj")
        x = taps[f"{name}.output"] = x + m
        states.append(x)
    return chosen_states(config, states)


def tower(taps, config, weights, inputs):
    pixels = inputs["pixel_values"].astype(WIDE)
    if config["vision_config"]["model_type"] != "pixtral":
        return encoder(taps, config, weights, pixels)
    sizes = inputs.get("image_sizes", np.array([pixels.shape[2:]] * len(pixels)))
    return pixtral(taps, config, weights, pixels, sizes)


def project(taps, config, weights, features):
    p = "model.multi_modal_projector"
    taps["vision.features"] = features
    x = taps["projector.fc1"] = linear(features, weights, f"{p}.linear_1")
    x = taps["projector.act"] = ACTIVATIONS[config["projector_hidden_act"]](x)
    x = taps["projector.out"] = linear(x, weights, f"{p}.linear_2")
    return x


def rotate(x, cos, sin):
    half = x.shape[-1] // 2
    turned = np.concatenate([-x[..., half:], x[..., :half]], -1)
    return x * cos[:, :, None] + turned * sin[:, :, None]


def frequencies(config, length, longest):
    """[d/2] frequencies of a pass over positions below `length`, and the factor of cos and sin.
    longest: the longest context so far, this pass's included."""
    rope = config["rope_parameters"]
    width = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    most, original = config["max_position_embeddings"], rope.get("original_max_position_embeddings")
    kind, theta, j = rope["rope_type"], WIDE(rope["rope_theta"]), np.arange(width // 2).astype(WIDE)
    stretch = WIDE(rope["factor"]) if rope.get("factor") else WIDE(most) / WIDE(original or most)
    if kind == "dynamic" and longest > most:
        theta *= (stretch * longest / most - (stretch - 1)) ** (WIDE(width) / (width - 2))
    plain = theta ** (-2 * j / width)
    if kind == "linear":
        return plain / stretch, 1
    if kind == "llama3":
        turns = WIDE(original) * plain / TWO_PI  # in the original context
        low, high = WIDE(rope["low_freq_factor"]), WIDE(rope["high_freq_factor"])
        keep = np.clip((turns - low) / (high - low), 0, 1)
        return plain * keep + plain / stretch * (1 - keep), 1
    if kind == "longrope":
        factors = rope["long_factor"] if length > original else rope["short_factor"]
        given = np.sqrt(1 + np.log(stretch) / np.log(WIDE(original))) if stretch > 1 else 1
        return plain / np.array(factors, WIDE), rope.get("attention_factor") or given
    if kind == "yarn":
        def pair(turns):
            return width * np.log(WIDE(original) / (WIDE(turns) * TWO_PI)) / (2 * np.log(theta))

        def scale(m):
            return WIDE(m) * np.log(stretch) / 10 + 1 if stretch > 1 else WIDE(1)

        first, last = pair(rope.get("beta_fast") or 32), pair(rope.get("beta_slow") or 1)
        if rope.get("truncate", True):
            first, last = np.floor(first), np.ceil(last)
        first, last = max(first, WIDE(0)), min(last, WIDE(width - 1))
        scaled = np.clip((j - first) / (last - first if last != first else WIDE(0.001)), 0, 1)
        m, m_all = rope.get("mscale"), rope.get("mscale_all_dim")
        given = scale(m) / scale(m_all) if m and m_all else scale(1)
        return plain / stretch * scaled + plain * (1 - scaled), rope.get("attention_factor") or given
    return plain, 1


def rotary_tables(config, positions, prompt):
    """cos and sin of prompt and generated tokens: the prompt turned by its own table, each token
    behind it by that of its own pass. positions [B,S]."""
    tables, longest = [], 0
    for first, end in [(0, prompt), *((s, s + 1) for s in range(prompt, positions.shape[1]))]:
        own = positions[:, first:end]
        longest = max(longest, int(own.max()) + 1)
        inverse, factor = frequencies(config, int(own.max()) + 1, longest)
        angle = own[..., None].astype(WIDE) * inverse
        angle = np.concatenate([angle, angle], -1)
        tables.append((np.cos(angle) * factor, np.sin(angle) * factor))
    return tuple(np.concatenate(part, 1) for part in zip(*tables))


def seen_keys(mask, window, prompt):
    """visible [B,S,S]: which keys a query sees; blind [B,S,1]: none, so that it weighs all keys of
    its own pass alike. A mask of four dimensions is used as it is given."""
    length = mask.shape[-1]
    visible = np.tril(np.ones((length, length), bool))
    if window:
        visible &= ~np.tril(visible, -window)
    visible = seen_by(mask) if mask.ndim == 4 else visible[None] & mask[:, None, :]
    blind = ~visible.any(-1, keepdims=True)
    return visible | blind & (np.arange(length) < prompt), blind


def windows(text):
    """How many keys a query of each layer sees; 0: all before it."""
    count, width = text["num_hidden_layers"], text.get("sliding_window") or 0
    if text["model_type"] == "mistral":
        return [width] * count
    if text["model_type"] == "qwen2":
        return [width if kind == "sliding_attention" else 0 for kind in text["layer_types"]]
    return [0] * count


def decoder(taps, config, weights, x, positions, mask, prompt):
    """mask [B,S]: not padding; or [B,1,S,S], which floats are added to the scores; prompt: how many
    positions the first pass has."""
    bias = mask[:, 0].astype(WIDE) if mask.dtype.kind == "f" else None
    text, t = config["text_config"], "model.language_model"
    heads, kv = text["num_attention_heads"], text["num_key_value_heads"]
    width = text.get("head_dim") or text["hidden_size"] // heads
    eps, act = text["rms_norm_eps"], ACTIVATIONS[text["hidden_act"]]
    cos, sin = taps["text.rope.cos"], taps["text.rope.sin"] = rotary_tables(text, positions, prompt)
    rows = x.shape[:2]
    for i, window in enumerate(windows(text)):
        name, w = f"text.layers.{i}", f"{t}.layers.{i}"
        visible, blind = seen_keys(mask, window, prompt)
        a = taps[f"{name}.norm1"] = rms_norm(x, weights, f"{w}.input_layernorm", eps)
        q = linear(a, weights, f"{w}.self_attn.q_proj").reshape(*rows, heads, width)
        k = linear(a, weights, f"{w}.self_attn.k_proj").reshape(*rows, kv, width)
        v = linear(a, weights, f"{w}.self_attn.v_proj").reshape(*rows, kv, width)
        turned = (rotate(q, cos, sin), rotate(k, cos, sin))
        out = attend(*turned, v, visible, blind, bias)
        parts = ("q", "k", "v", "q_rope", "k_rope", "scores", "probs", "context")
        taps.update({f"{name}.attn.{part}": y for part, y in zip(parts, (q, k, v, *turned, *out))})
        o = taps[f"{name}.attn.out"] = linear(out[2], weights, f"{w}.self_attn.o_proj")
        x = taps[f"{name}.resid1"] = x + o
        m = taps[f"{name}.norm2"] = rms_norm(x, weights, f"{w}.post_attention_layernorm", eps)
        gate = taps[f"{name}.mlp.gate"] = linear(m, weights, f"{w}.mlp.gate_proj")
        up = taps[f"{name}.mlp.up"] = linear(m, weights, f"{w}.mlp.up_proj")
        m = taps[f"{name}.mlp.act"] = act(gate) * up
        m = taps[f"{name}.mlp.out"] = linear(m, weights, f"{w}.mlp.down_proj")
        x = taps[f"{name}.output"] = x + m
    x = taps["text.norm"] = rms_norm(x, weights, f"{t}.norm", eps)
    taps["logits"] = x @ weights["lm_head.weight"].T


def loss_of(logits, labels):
    """Mean of -log softmax at the next label, over the labels that are not -100."""
    rows, targets = logits[:, :-1].reshape(-1, logits.shape[-1]), labels[:, 1:].reshape(-1)
    rows, targets = rows[targets != -100], targets[targets != -100]
    top = rows.max(-1)
    norm = top + np.log(np.exp(rows - top[:, None]).sum(-1))
    return (norm - rows[np.arange(len(targets)), targets]).mean()


def evaluate(config, weights, inputs, positions, generated):
    """Every tap of one pass over prompt and generated tokens together. config: config.json's
    object; weights: in-memory name -> longdouble; positions [B,S] of the whole sequence."""
    taps = {}
    table = weights["model.language_model.embed_tokens.weight"]
    token = config["image_token_index"]
    if "input_ids" in inputs:
        ids = np.concatenate([inputs["input_ids"], generated], 1)
        # A generated image token is a word like any other: only the prompt takes pictures.
        x, marked = table[ids], (ids == token) & (np.arange(ids.shape[1]) < inputs["input_ids"].shape[1])
    else:
        x = inputs["inputs_embeds"].astype(WIDE)
        marked = (x == table[token]).all(-1)
    taps["text.embed"] = x
    if "pixel_values" in inputs:
        features = tower(taps, config, weights, inputs)
        x = x.copy()
        x[marked] = project(taps, config, weights, features).reshape(-1, x.shape[-1])
    taps["text.inputs_embeds"] = x
    batch, length = x.shape[:2]
    mask = inputs.get("attention_mask", np.ones((batch, length - generated.shape[1]), np.int64))
    if mask.ndim == 2:
        mask = np.concatenate([mask, np.ones_like(generated)], 1) != 0
    decoder(taps, config, weights, x, positions, mask, length - generated.shape[1])
    if "labels" in inputs:
        taps["loss"] = loss_of(taps["logits"], inputs["labels"])
    return taps


def counted_error(name, actual, exact, mask):
    """rows_error over what counts."""
    return rows_error(counted(name, actual, mask), counted(name, exact, mask))[0]


def rows_error(actual, exact):
    """Largest difference in a row over the row's largest value, row = last axis; 0/0 is 0.
    Rows where either side is NaN are left out and counted."""
    actual, exact = np.atleast_1d(actual), np.atleast_1d(exact)
    with np.errstate(invalid="ignore", divide="ignore"):
        error, scale = np.abs(actual - exact).max(-1), np.abs(exact).max(-1)
        ratio = np.where(error == 0, 0, error / scale)
    skipped = np.isnan(error)
    return (float(ratio[~skipped].max()) if (~skipped).any() else 0.0), int(skipped.sum())


def seen_by(mask):
    """[B,S,S] of a mask of four dimensions: floats are added, and a very low one hides a key."""
    return (mask > -1e4 if mask.dtype.kind == "f" else mask != 0)[:, 0]


def counted(name, tap, mask):
    """The tap with 0 in place of what no comparison looks at (contract, section 2): rows of padding,
    keys of padding, keys that the query may not see. mask [B,S] is the prompt's."""
    if not name.startswith(("text.", "logits", "step.")) or tap.dtype.kind != "f":
        return tap
    if mask.ndim == 4:
        return counted_square(name, tap.copy(), seen_by(mask))
    tap, real = tap.copy(), mask != 0
    step = int(name.split(".")[1]) if name.startswith("step.") else 0
    if name.endswith((".scores", ".probs")):
        keys = np.concatenate([real, np.ones((len(mask), step), bool)], 1)
        seen = keys[:, None, :] & np.tril(np.ones((keys.shape[1], keys.shape[1]), bool))
        seen = seen[:, -1:, -tap.shape[-1] :] if step else seen & real[:, :, None]
        tap[~np.broadcast_to(seen[:, None], tap.shape)] = 0
    elif not step:
        tap[~real[:, -tap.shape[1] :]] = 0  # logits may be of the last positions alone
    return tap


def counted_square(name, tap, seen):
    """The same for a mask of four dimensions: keys that the query sees, rows that see any."""
    if name.endswith((".scores", ".probs")):
        tap[~np.broadcast_to(seen[:, None], tap.shape)] = 0
    else:
        tap[~seen.any(-1)[:, -tap.shape[1] :]] = 0
    return tap


def part_of(name, exact, prompt, windows_of_layers):
    """The tap NAME of the dump, cut from the one long pass. A sliding layer's cache shows a step the
    window's keys only."""
    if name.startswith("step."):
        _, step, inner = name.split(".", 2)
        row = prompt - 1 + int(step)
        x = exact[inner]
        if inner.endswith((".scores", ".probs")):
            window = windows_of_layers[int(inner.split(".")[2])] or row + 1
            return x[:, :, row : row + 1, max(0, row + 1 - window) : row + 1]
        return x[:, row : row + 1]
    x = exact[name]
    if name.endswith((".scores", ".probs")) and name.startswith("text"):
        return x[:, :, :prompt, :prompt]
    return x[:, :prompt] if name.startswith("text") or name == "logits" else x


def prove(config, weights, inputs, taps):
    """Checks every floating-point tap of the true form; returns (worst error, its tap)."""
    require_longdouble()
    prompt = taps["attention_mask"].shape[-1]
    generated = taps.get("generated_ids", np.zeros((len(taps["attention_mask"]), 0), np.int64))
    generated = generated[:, : max(generated.shape[1] - 1, 0)]  # the last one is never fed back
    steps = [taps[f"step.{g}.position_ids"] for g in range(1, generated.shape[1] + 1)]
    positions = np.concatenate([taps["position_ids"], *steps], 1)
    exact = evaluate(config, weights, inputs, positions, generated)
    worst = (0.0, "")
    for name, tap in taps.items():
        if tap.dtype.kind != "f" or name == "pixel_values":
            continue
        if name == "attention_mask":
            continue
        expected = part_of(name, exact, prompt, windows(config["text_config"]))
        if name == "logits":
            expected = expected[:, -tap.shape[1] :]
        if expected.shape != tap.shape:
            raise NotProved(f"{name}: shape {tap.shape}, longdouble has {expected.shape}")
        # All of it, and once more what counts: a row's scale is then that of its visible keys.
        error, skipped = rows_error(tap.astype(WIDE), expected)
        error = max(error, counted_error(name, tap.astype(WIDE), expected, taps["attention_mask"]))
        if skipped or not error <= TOLERANCE:
            raise NotProved(f"{name} is {error:.1e} from longdouble, {skipped} rows NaN")
        worst = max(worst, (error, name))
    return worst
