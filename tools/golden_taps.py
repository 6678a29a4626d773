"""Runs transformers' LLaVA and records every tap of the contract.

A *form* says what happens at the float32 islands (spec 5.1), the places where transformers leaves
the model's own type for float32 whatever that type is:

  Form("hf")        the classes exactly as they are
  Form("true")      nothing leaves float64: softmax, RMSNorm, rotary tables, loss
  Form("nearest")   float64 with every operation of an island rounded to the nearest float32: what an
                    implementation that emulates the islands computes
  Form("flip", g)   float64 with every operation of an island rounded to float32, to one or the other
                    neighbour as the generator g says. How far the taps then move is what flips of
                    float32 roundings explain (golden/README.md).

The islands are patched at their places in transformers; golden_proof.py evaluates the same model a
second time without torch and checks that nothing was missed.
"""

import math
from contextlib import contextmanager

import numpy as np
import torch
import transformers.models.clip.modeling_clip as clip
import transformers.models.llama.modeling_llama as llama
import transformers.models.mistral.modeling_mistral as mistral
import transformers.models.qwen2.modeling_qwen2 as qwen2
import transformers.models.pixtral.modeling_pixtral as pixtral
import transformers.models.siglip.modeling_siglip as siglip
from transformers import DynamicCache

NO_LABEL = -100
ISLANDS = ("softmax", "rms_norm", "rope", "loss")
TEXT_MODULES = {"Llama": llama, "Mistral": mistral, "Qwen2": qwen2}


class Form:
    """left_in: an island that the form "true" leaves in float32, to see that the proof notices."""

    def __init__(self, kind, generator=None, left_in=None):
        self.kind, self.generator, self.left_in = kind, generator, left_in
        self.longest = 0  # context that a dynamic rotary table has seen

    def rounded(self, x, island):
        """What an operation of an island hands on, in float64: itself (true) or a float32."""
        if self.kind == "true" and island != self.left_in:
            return x
        nearest = x.to(torch.float32)
        if self.kind != "flip":
            return nearest.double()
        side = torch.where(nearest.double() < x, torch.inf, -torch.inf).to(torch.float32)
        other = torch.nextafter(nearest, side)
        chosen = torch.from_numpy(np.asarray(self.generator.integers(0, 2, size=tuple(x.shape)) == 1))
        # What float32 holds exactly, and what it overflows at, every implementation agrees on.
        inexact = (nearest.double() != x) & torch.isfinite(nearest)
        return torch.where(chosen & inexact, other, nearest).double()

    # The formulas of the transformers classes, `rounded` around every operation inside an island.

    def rms_norm(self, module, x):
        def r(y):
            return self.rounded(y, "rms_norm")

        x = r(x)
        mean = r(r(x * x).mean(-1, keepdim=True))
        return module.weight * r(x * r(torch.rsqrt(r(mean + module.variance_epsilon))))

    def inverse_frequencies(self, config, length):
        """The rotary frequencies of a pass whose highest position is length - 1, and the factor of
        cos and sin (transformers modeling_rope_utils.py)."""

        def r(y):
            return self.rounded(y, "rope")

        def constant(y):
            """A number of the configuration, as it enters an operation on tensors."""
            y = torch.tensor(float(y), dtype=torch.float64)
            return y if self.kind == "true" and self.left_in != "rope" else y.to(torch.float32).double()

        p, kind = config.rope_parameters, config.rope_parameters["rope_type"]
        width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        theta, factor = p["rope_theta"], p.get("factor")
        original, most = p.get("original_max_position_embeddings"), config.max_position_embeddings
        if kind == "dynamic":
            if length < most < self.longest:
                self.longest = most
            self.longest = max(self.longest, length, most)
            power = width / (width - 2)
            if self.longest > most:
                stretch = r(r(r(constant(factor) * self.longest) / most) - constant(factor - 1))
                theta = r(constant(theta) * r(stretch ** constant(power)))
            else:
                theta = theta * ((factor * most / most) - (factor - 1)) ** power
        exponent = r(torch.arange(0, width, 2, dtype=torch.float64) / width)
        wave = r(constant(theta) ** exponent)
        plain = r(1.0 / wave)
        if kind in ("default", "dynamic"):
            return plain, 1.0
        if kind == "linear":
            return r(plain / constant(factor)), 1.0
        if kind == "longrope":
            factors = torch.tensor(p["long_factor" if length > original else "short_factor"], dtype=torch.float64)
            if self.kind != "true" or self.left_in == "rope":
                factors = factors.to(torch.float32).double()
            factor = most / original if factor is None else factor
            attention = p.get("attention_factor")
            if attention is None:
                attention = math.sqrt(1 + math.log(factor) / math.log(original)) if factor > 1 else 1.0
            return r(1.0 / r(factors * wave)), attention
        if kind == "llama3":
            turn, scaled = r(constant(2 * math.pi) / plain), r(plain / constant(factor))
            low, high = p["low_freq_factor"], p["high_freq_factor"]
            part = r(r(constant(original) / turn) - constant(low))
            part = r(part / constant(high - low))
            mixed = r(r(r(r(1 - part) * plain) / constant(factor)) + r(part * plain))
            slow, fast = turn > constant(original / low), turn < constant(original / high)
            return torch.where(slow, scaled, torch.where(fast, plain, mixed)), 1.0
        if kind != "yarn":
            raise NotImplementedError(f"rope_type {kind}")
        factor = most / original if factor is None else factor

        def scale(m):
            return 0.1 * m * math.log(factor) + 1.0 if factor > 1 else 1.0

        def pair(rotations):
            return width * math.log(original / (rotations * 2 * math.pi)) / (2 * math.log(theta))

        low, high = pair(p.get("beta_fast") or 32), pair(p.get("beta_slow") or 1)
        if p.get("truncate", True):
            low, high = math.floor(low), math.ceil(high)
        low, high = max(low, 0), min(high, width - 1)
        high += 0.001 if low == high else 0
        ramp = r(r(torch.arange(width // 2, dtype=torch.float64) - constant(low)) / constant(high - low))
        keep = r(1 - ramp.clamp(0, 1))
        scaled = r(1.0 / r(constant(factor) * wave))
        attention = p.get("attention_factor")
        if attention is None:
            both = p.get("mscale") and p.get("mscale_all_dim")
            attention = scale(p["mscale"]) / scale(p["mscale_all_dim"]) if both else scale(1)
        return r(r(scaled * r(1 - keep)) + r(plain * keep)), attention

    def rotary_tables(self, module, position_ids):
        def r(y):
            return self.rounded(y, "rope")

        inverse, factor = self.inverse_frequencies(module.config, int(position_ids.max()) + 1)
        angle = r(position_ids[..., None].double() * inverse)
        angle = torch.cat((angle, angle), dim=-1)
        if factor == 1:
            return r(angle.cos()), r(angle.sin())
        if self.kind != "true" or self.left_in == "rope":
            factor = float(np.float32(factor))
        return r(r(angle.cos()) * factor), r(r(angle.sin()) * factor)

    def axial_tables(self, module, places):
        """Pixtral's: places [T,2], the row and the column of each patch."""

        def r(y):
            return self.rounded(y, "rope")

        config = module.config
        width = config.hidden_size // config.num_attention_heads
        exponent = r(torch.arange(0, width, 2, dtype=torch.float64) / width)
        inverse = r(1.0 / r(config.rope_parameters["rope_theta"] ** exponent))
        even, odd = inverse[0::2], inverse[1::2]
        angle = torch.cat((places[:, :1] * even, places[:, 1:] * odd), dim=-1)
        angle = r(torch.cat((angle, angle), dim=-1))
        return r(angle.cos()), r(angle.sin())

    def softmax(self, scores):
        def r(y):
            return self.rounded(y, "softmax")

        scores = r(scores)
        weights = r(torch.exp(r(scores - scores.max(-1, keepdim=True).values)))
        return r(weights / r(weights.sum(-1, keepdim=True)))

    def loss(self, logits, labels, vocab_size, **_):
        def r(y):
            return self.rounded(y, "loss")

        shifted = torch.nn.functional.pad(labels, (0, 1), value=NO_LABEL)[..., 1:].reshape(-1)
        counted = shifted != NO_LABEL
        rows = r(logits).reshape(-1, vocab_size)[counted]
        chosen = rows.gather(-1, shifted[counted][:, None])[:, 0]
        return r(r(r(torch.logsumexp(rows, -1)) - chosen).mean())


class Recorder:
    """The taps in the order of the flow, by contract name, as NumPy arrays."""

    def __init__(self):
        self.taps = {}
        self.passes = 0

    def put(self, name, x):
        if self.passes > 1:
            name = f"step.{self.passes - 1}.{name}"
        if isinstance(x, torch.Tensor):
            x = x.detach()
            x = x.float().numpy() if x.dtype == torch.bfloat16 else x.numpy()
        self.taps[name] = np.ascontiguousarray(x).reshape(x.shape).copy()


def scores_of(module, query, key, scaling):
    """[B,h,S,S'] scaled, before the mask: the same operations as in eager_attention_forward."""
    groups = getattr(module, "num_key_value_groups", 1)
    return torch.matmul(query, llama.repeat_kv(key, groups).transpose(2, 3)) * scaling


def attention(form, original, names, recorder):
    """Stands in for an eager_attention_forward; names: module -> tap prefix."""

    def forward(module, query, key, value, attention_mask, scaling, dropout=0.0, **kwargs):
        scores = scores_of(module, query, key, scaling)
        if form.kind == "hf":
            context, probs = original(
                module, query, key, value, attention_mask, scaling=scaling, dropout=dropout, **kwargs
            )
        else:
            masked = scores if attention_mask is None else scores + attention_mask
            probs = form.softmax(masked)
            groups = getattr(module, "num_key_value_groups", 1)
            context = torch.matmul(probs, llama.repeat_kv(value, groups)).transpose(1, 2).contiguous()
        name = names.get(module)
        if name:
            if name.startswith("text") or isinstance(module, pixtral.PixtralAttention):
                recorder.put(f"{name}.q_rope", query.transpose(1, 2))
                # The cache's keys come first; this pass's own are the last rows.
                recorder.put(f"{name}.k_rope", key[:, :, -query.shape[2] :].transpose(1, 2))
            recorder.put(f"{name}.scores", scores)
            recorder.put(f"{name}.probs", probs)
            recorder.put(f"{name}.context", context.flatten(2))
        return context, probs

    return forward


@contextmanager
def patched(form, model, names, recorder):
    """The form's islands and the attention taps, for as long as the block lasts."""
    saved = []

    def patch(owner, name, value):
        saved.append((owner, name, getattr(owner, name)))
        setattr(owner, name, value)

    for module in (clip, siglip, pixtral, *TEXT_MODULES.values()):
        patch(module, "eager_attention_forward", attention(form, module.eager_attention_forward, names, recorder))
    if form.kind != "hf":
        form.longest = 0
        for family, module in TEXT_MODULES.items():
            patch(getattr(module, f"{family}RMSNorm"), "forward", lambda self, x: form.rms_norm(self, x))
            patch(
                getattr(module, f"{family}RotaryEmbedding"),
                "forward",
                lambda self, x, position_ids: form.rotary_tables(self, position_ids),
            )
        patch(pixtral.PixtralRMSNorm, "forward", lambda self, x: form.rms_norm(self, x))
        tables = pixtral.PixtralVisionRotaryEmbedding
        patch(tables, "forward", lambda self, x, position_ids: form.axial_tables(self, position_ids))
        model.loss_function = form.loss
    try:
        yield
    finally:
        for owner, name, value in reversed(saved):
            setattr(owner, name, value)
        if hasattr(model, "_loss_function"):
            del model._loss_function


def vision_layers_needed(config, call):
    """Tower layers up to the last chosen hidden state; what lies behind has no tap."""
    count = config.vision_config.num_hidden_layers
    chosen = call.get("vision_feature_layer", config.vision_feature_layer)
    chosen = [chosen] if isinstance(chosen, int) else chosen
    return max(c if c >= 0 else count + 1 + c for c in chosen)


class Hooks:
    """Forward hooks for every tap that is a module's input or output."""

    def __init__(self, model, recorder, call=None):
        self.handles, self.recorder, self.attention_names = [], recorder, {}
        self.call = call or {}
        self.passes(model)
        self.vision(model)
        self.text(model)

    def after(self, module, name, shape=lambda x: x):
        def hook(_, __, output):
            self.recorder.put(name, shape(output))

        self.handles.append(module.register_forward_hook(hook))

    def before(self, module, name):
        def hook(_, arguments):
            self.recorder.put(name, arguments[0])

        self.handles.append(module.register_forward_pre_hook(hook))

    def passes(self, model):
        """Counts forward passes: the first is the prefill, pass g+1 is step g. generate() asks for
        the last position's logits only; the prefill's are wanted whole."""

        def hook(_, arguments, kwargs):
            self.recorder.passes += 1
            if self.recorder.passes == 1 and kwargs.get("logits_to_keep") == 1:
                kwargs["logits_to_keep"] = 0
            return arguments, kwargs

        self.handles.append(model.register_forward_pre_hook(hook, with_kwargs=True))

    def linears(self, attention_module, name, width, output):
        def heads(x):
            return x.unflatten(-1, (-1, width))

        for letter in "qkv":
            self.after(getattr(attention_module, f"{letter}_proj"), f"{name}.{letter}", heads)
        self.after(output, f"{name}.out")
        self.attention_names[attention_module] = name

    def vision(self, model):
        tower = model.model.vision_tower
        needed = vision_layers_needed(model.config, self.call)
        if isinstance(tower, pixtral.PixtralVisionModel):
            self.pixtral(tower, needed)
        else:
            self.encoder(tower, needed)
        projector = model.model.multi_modal_projector
        self.before(projector, "vision.features")
        self.after(projector.linear_1, "projector.fc1")
        self.after(projector.act, "projector.act")
        self.after(projector.linear_2, "projector.out")

    def encoder(self, tower, needed):
        """CLIP and SigLIP."""
        self.after(
            tower.embeddings.patch_embedding, "vision.patch_embed", lambda x: x.flatten(2).transpose(1, 2)
        )
        self.after(tower.embeddings, "vision.embed")
        if hasattr(tower, "pre_layrnorm"):
            self.after(tower.pre_layrnorm, "vision.pre_norm")
        for i, layer in enumerate(tower.encoder.layers[:needed]):
            name = f"vision.layers.{i}"
            self.after(layer.layer_norm1, f"{name}.norm1")
            self.linears(layer.self_attn, f"{name}.attn", layer.self_attn.head_dim, layer.self_attn.out_proj)
            self.before(layer.layer_norm2, f"{name}.resid1")
            self.after(layer.layer_norm2, f"{name}.norm2")
            self.after(layer.mlp.fc1, f"{name}.mlp.fc1")
            self.after(layer.mlp.activation_fn, f"{name}.mlp.act")
            self.after(layer.mlp.fc2, f"{name}.mlp.out")
            self.after(layer, f"{name}.output")

    def pixtral(self, tower, needed):
        self.before(tower.ln_pre, "vision.patch_embed")
        self.before(tower.ln_pre, "vision.embed")
        self.after(tower.ln_pre, "vision.pre_norm")

        def rotary(_, __, output):
            for name, table in zip(("cos", "sin"), output):
                self.recorder.put(f"vision.rope.{name}", table)

        self.handles.append(tower.patch_positional_embedding.register_forward_hook(rotary))
        for i, layer in enumerate(tower.transformer.layers[:needed]):
            name = f"vision.layers.{i}"
            self.after(layer.attention_norm, f"{name}.norm1")
            self.linears(layer.attention, f"{name}.attn", layer.attention.head_dim, layer.attention.o_proj)
            self.before(layer.ffn_norm, f"{name}.resid1")
            self.after(layer.ffn_norm, f"{name}.norm2")
            self.gated(layer.feed_forward, name)
            self.after(layer, f"{name}.output")

    def gated(self, mlp, name):
        self.after(mlp.gate_proj, f"{name}.mlp.gate")
        self.after(mlp.up_proj, f"{name}.mlp.up")
        self.before(mlp.down_proj, f"{name}.mlp.act")
        self.after(mlp.down_proj, f"{name}.mlp.out")

    def text(self, model):
        language = model.model.language_model

        def embed(_, __, output):
            if output.dim() == 3:  # not the image token's row alone (get_placeholder_mask)
                self.recorder.put("text.embed", output)

        def merged(_, __, kwargs):
            if "inputs_embeds" in kwargs:
                self.batch = kwargs["inputs_embeds"].shape[0]
                self.recorder.put("text.inputs_embeds", kwargs["inputs_embeds"])

        def rotary(_, arguments, kwargs, output):
            positions = (kwargs["position_ids"] if kwargs else arguments[1]).expand(self.batch, -1)
            self.recorder.put("position_ids", positions)
            for name, table in zip(("cos", "sin"), output):
                self.recorder.put(f"text.rope.{name}", table.expand(self.batch, -1, -1))

        self.handles.append(language.embed_tokens.register_forward_hook(embed))
        self.handles.append(language.register_forward_pre_hook(merged, with_kwargs=True))
        self.handles.append(language.rotary_emb.register_forward_hook(rotary, with_kwargs=True))
        for i, layer in enumerate(language.layers):
            name = f"text.layers.{i}"
            self.after(layer.input_layernorm, f"{name}.norm1")
            self.linears(layer.self_attn, f"{name}.attn", layer.self_attn.head_dim, layer.self_attn.o_proj)
            self.before(layer.post_attention_layernorm, f"{name}.resid1")
            self.after(layer.post_attention_layernorm, f"{name}.norm2")
            self.gated(layer.mlp, name)
            self.after(layer, f"{name}.output")
        self.after(language.norm, "text.norm")
        self.after(model.lm_head, "logits")

    def remove(self):
        for handle in self.handles:
            handle.remove()


def additive(mask, dtype):
    """Booleans as what transformers' own eager masks add; floats as they are, in the model's type."""
    mask = torch.from_numpy(mask)
    if mask.dtype != torch.bool:
        return mask.to(dtype)
    return torch.zeros(mask.shape, dtype=dtype).masked_fill(~mask, torch.finfo(dtype).min)


def in_chunks(model, tensors, chunk):
    """The prompt `chunk` positions at a time, each call with the cache of those before. All pictures
    lie in the first chunk."""
    cache, length = DynamicCache(config=model.config), tensors["input_ids"].shape[1]
    for first in range(0, length, chunk):
        part = {name: x for name, x in tensors.items() if first == 0 or name != "pixel_values"}
        part["input_ids"] = part["input_ids"][:, first : first + chunk]
        if "attention_mask" in part:
            part["attention_mask"] = part["attention_mask"][:, : first + chunk]
        model(**part, past_key_values=cache)


def join(taps, length):
    """The taps of all chunks under one name each, [.., S, ..]. Scores of keys in later chunks, which
    the chunk never had, come from the same queries and keys; their probabilities are 0."""
    joined = {}
    for name, first in taps.items():
        if name.startswith("step."):
            continue
        parts = [first] + [taps[n] for n in taps if n.startswith("step.") and n.split(".", 2)[2] == name]
        keyed = name.startswith("text.") and name.endswith((".scores", ".probs"))
        if keyed:
            parts = [np.pad(x, [(0, 0)] * 3 + [(0, length - x.shape[3])]) for x in parts]
        alone = name.startswith(("vision.", "projector.")) or name in ("attention_mask", "pixel_values", "input_ids")
        joined[name] = first if alone else np.concatenate(parts, 2 if keyed else 1)
    for name, scores in joined.items():
        if name.startswith("text.") and name.endswith(".scores"):
            q, k = (joined[name.replace(".scores", f".{x}_rope")] for x in "qk")
            k = np.repeat(k, q.shape[2] // k.shape[2], 2)
            whole = np.einsum("bshd,bthd->bhst", q, k) * np.asarray(q.shape[3] ** -0.5, q.dtype)
            later = joined[name.replace(".scores", ".probs")] == 0
            scores[later] = whole[later]
    return joined


def run(model, inputs, form, generate=0, call=None, chunk=0):
    """One forward pass, or greedy generation of at most `generate` tokens. inputs: contract names
    -> NumPy arrays; call: further arguments of forward. Returns the taps by name."""
    recorder = Recorder()
    hooks = Hooks(model, recorder, call)
    batch, length = (inputs["input_ids"] if "input_ids" in inputs else inputs["inputs_embeds"]).shape[:2]
    if "input_ids" in inputs:
        recorder.put("input_ids", inputs["input_ids"])
    mask = inputs.get("attention_mask", np.ones((batch, length), np.int64))
    recorder.put("attention_mask", mask.astype(np.int64) if mask.dtype == bool else mask)
    tensors = {name: torch.from_numpy(value) for name, value in inputs.items()}
    if mask.ndim == 4:
        tensors["attention_mask"] = additive(mask, model.dtype)
    if "logits_to_keep" in inputs:
        tensors["logits_to_keep"] = int(inputs["logits_to_keep"])
    if "pixel_values" in inputs:
        recorder.put("pixel_values", inputs["pixel_values"])
    if "inputs_embeds" in inputs:
        tensors["inputs_embeds"] = tensors["inputs_embeds"].to(model.dtype)
        recorder.put("text.embed", tensors["inputs_embeds"])
    with torch.no_grad(), patched(form, model, hooks.attention_names, recorder):
        if generate:
            output = model.generate(**tensors, max_new_tokens=generate, do_sample=False)
            recorder.passes = 0
            recorder.put("generated_ids", output[:, length:])
        elif chunk:
            in_chunks(model, tensors, chunk)
        else:
            output = model(**tensors, **(call or {}))
            if output.loss is not None:
                recorder.put("loss", output.loss)  # float32, whatever the model, but in the form "true"
    hooks.remove()
    return join(recorder.taps, length) if chunk else recorder.taps
