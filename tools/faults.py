"""The library of faults that plant_faults.py plants into transformers: each is what a port did wrong, written
with torch alone, and the decision that llava-ref should name for it.

A fault changes one running copy of the model (a Port) and knows nothing of the C program's code.
"""

import sys
from contextlib import ExitStack
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
import transformers.cache_utils as cache_utils
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS


class Port:
    """A model to spoil, the inputs it will get, and patches that come off with close(). stored(): the model as the
    file has it, in float32, for what is done to weights before a port loads them."""

    def __init__(self, model, inputs, stored=None):
        self.model, self.inputs, self.stack = model, inputs, ExitStack()
        self.stored = stored or (lambda: model)
        self.config = model.config
        self.tower = model.model.vision_tower
        self.projector = model.model.multi_modal_projector
        self.text = model.model.language_model

    def patch(self, owner, name, value):
        self.stack.callback(setattr, owner, name, getattr(owner, name))
        setattr(owner, name, value)

    def close(self):
        self.stack.close()

    # Parts of the model by what they are, whatever its family calls them.

    @property
    def tower_file(self):
        """transformers' file of the tower, where its eager attention stands."""
        return sys.modules[type(self.tower).__module__]

    @property
    def text_file(self):
        return sys.modules[type(self.text).__module__]

    @property
    def tower_layers(self):
        return self.tower.transformer.layers if hasattr(self.tower, "transformer") else self.tower.encoder.layers

    @property
    def patches(self):
        return self.tower.patch_conv if hasattr(self.tower, "patch_conv") else self.tower.embeddings.patch_embedding

    def tower_attention(self):
        return [getattr(layer, "attention", None) or layer.self_attn for layer in self.tower_layers]

    def tower_acts(self):
        mlps = [getattr(layer, "feed_forward", None) or layer.mlp for layer in self.tower_layers]
        return [getattr(mlp, "activation_fn", None) or mlp.act_fn for mlp in mlps]

    def tower_norms(self):
        return [m for m in self.tower.modules() if isinstance(m, torch.nn.LayerNorm)]

    def text_norms(self):
        return [m for m in self.text.modules() if type(m).__name__.endswith("RMSNorm")]

    def linears(self):
        return [m for m in self.model.modules() if isinstance(m, torch.nn.Linear)]

    def image_mask(self):
        return self.inputs["input_ids"] == self.config.image_token_id


@dataclass
class Fault:
    name: str
    plant: object  # plant(port)
    group: str  # "cause", "honest", "precision", "unknown"
    expect: list = field(default_factory=list)  # decisions to be named, "text.rope_sign=reversed"
    also: object = None  # also(config) -> {name: other names for the same thing on that model}
    fits: object = lambda config: True  # is it a fault of that model at all? see FAMILIES
    cases: tuple = ("plain", "odd-sizes", "grouped-heads", "demo-chat")
    about: str = ""
    tap: str = ""  # unknown damage: where it must be found first
    options: tuple = ()  # of diagnose
    setting: dict = field(default_factory=dict)  # dtype, attention, threads of the port


FAULTS = {}

# What a tower must have for a decision to act in it: class row, table of positions, LayerNorm and biases. Faults of
# the other towers alone are in fault_towers.py; those of a decision that is not here are planted into every one.
CLASS_ROW, LAYER_NORM = ("clip_vision_model",), ("clip_vision_model", "siglip_vision_model")
FAMILIES = {"vision.cls_position": CLASS_ROW, "vision.pre_norm": CLASS_ROW, "vision.select": CLASS_ROW,
            "vision.positions": LAYER_NORM, "vision.norm_eps": LAYER_NORM, "vision.attn_bias": LAYER_NORM,
            "vision.post_norm": LAYER_NORM, "vision.patch_order": LAYER_NORM, "merge.order": LAYER_NORM}  # fmt: skip


def of_family(names, fits):
    """fits, and the tower has what these faults are about."""
    kinds = [FAMILIES.get(name.split("=")[0]) for name in names]
    return lambda config: all(k is None or config.vision_config.model_type in k for k in kinds) and fits(config)


def add(name, plant, group="cause", **more):
    """A fault whose name is the decision, unless `expect` says otherwise."""
    more.setdefault("expect", [name] if group in ("cause", "precision") else [])
    if more["expect"] == [name]:
        more["fits"] = of_family(more["expect"], more.get("fits", lambda config: True))
    assert name not in FAULTS, name
    FAULTS[name] = Fault(name, plant, group, **more)


def fault(name, **more):
    return lambda plant: add(name, plant, **more) or plant


# --- tower ---------------------------------------------------------------------------------------


@fault("vision.patch_order=column-major")
def _(port):
    port.patches.register_forward_hook(lambda m, a, x: x.transpose(2, 3).contiguous())


@fault("vision.patch_kernel=ohwi")
def _(port):
    weight = port.patches.weight
    d, c, p, _ = weight.shape
    weight.data = weight.data.reshape(d, p, p, c).permute(0, 3, 1, 2).contiguous()


def embeddings(port, last):
    """The class row behind the patches (last), or none at all; positions as they were."""
    e = port.tower.embeddings

    def forward(pixel_values, interpolate_pos_encoding=False):
        x = e.patch_embedding(pixel_values.to(e.patch_embedding.weight.dtype)).flatten(2).transpose(1, 2)
        positions = e.position_embedding(e.position_ids)
        if last:
            return torch.cat([x, e.class_embedding.expand(len(x), 1, -1)], 1) + positions
        return x + positions[:, 1:]

    e.forward = forward


@fault("vision.cls_position=last", about="llama.cpp")
def _(port):
    embeddings(port, last=True)


@fault("vision.cls_position=absent")
def _(port):
    embeddings(port, last=False)
    port.config.vision_feature_select_strategy = "full"


def positions(port, order):
    port.tower.embeddings.position_ids = torch.tensor(order)[None]


@fault("vision.positions=shifted", fits=lambda config: config.vision_config.model_type in CLASS_ROW)
def _(port):
    positions(port, [0] + list(range(port.tower.embeddings.num_positions - 1)))


@fault("vision.positions=reversed")
def _(port):
    positions(port, list(range(port.tower.embeddings.num_positions))[::-1])


@fault("vision.positions=absent")
def _(port):
    port.tower.embeddings.position_embedding.weight.data.zero_()


@fault("vision.pre_norm=absent")
def _(port):
    port.tower.pre_layrnorm.forward = lambda x: x


for eps in ("1e-5", "1e-6", "1e-7", "1e-12"):

    @fault(
        f"vision.norm_eps={eps}", fits=lambda config, eps=eps: config.vision_config.layer_norm_eps != float(eps)
    )
    def _(port, eps=float(eps)):
        for norm in port.tower_norms():
            norm.eps = eps


NAMES = {"gelu_pytorch_tanh": "gelu_tanh"}


def other_act(config, act):
    return NAMES.get(config.hidden_act, config.hidden_act) != act


ACTIVATIONS = {
    "quick_gelu": lambda x: x * torch.sigmoid(1.702 * x),
    "quick_gelu_1.773": lambda x: x * torch.sigmoid(1.773 * x),
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "silu": F.silu,
    "relu": F.relu,
    "none": lambda x: x,
}

for act in ("quick_gelu", "quick_gelu_1.773", "gelu", "gelu_tanh", "silu", "relu"):

    @fault(f"vision.act={act}", fits=lambda config, act=act: other_act(config.vision_config, act))
    def _(port, act=act):
        for module in port.tower_acts():
            module.forward = ACTIVATIONS[act]


def scales(width, head):
    return {"none": 1.0, "width": width**-0.5, "double": 1.0 / head}


for value in ("none", "width", "double"):

    @fault(f"vision.attn_scale={value}", fits=lambda c, v=value: v != "width" or c.vision_config.num_attention_heads > 1)
    def _(port, value=value):
        for a in port.tower_attention():
            setattr(a, "scaling" if hasattr(a, "scaling") else "scale", scales(a.embed_dim, a.head_dim)[value])

    @fault(f"text.attn_scale={value}")
    def _(port, value=value):
        for layer in port.text.layers:
            a = layer.self_attn
            a.scaling = scales(port.text.config.hidden_size, a.head_dim)[value]


def remasked(port, file, mask):
    """mask(query, key, mask) -> bool [.., S, S'] of visible keys, in front of the eager function of that file."""
    original = file.eager_attention_forward

    def forward(module, query, key, value, attention_mask, *arguments, **kwargs):
        seen = mask(query.shape[2], key.shape[2])
        lowest = torch.finfo(query.dtype).min
        attention_mask = torch.zeros(seen.shape, dtype=query.dtype).masked_fill(~seen, lowest)
        return original(module, query, key, value, attention_mask, *arguments, **kwargs)

    port.patch(file, "eager_attention_forward", forward)


@fault("vision.attn_mask=causal", fits=lambda config: config.vision_config.model_type in CLASS_ROW)
def _(port):
    remasked(port, port.tower_file, lambda q, k: torch.ones(1, 1, q, k, dtype=torch.bool).tril())


def padding(port):
    mask = port.inputs.get("attention_mask", torch.ones_like(port.inputs["input_ids"]))
    return mask.bool()[:, None, None, :]


def without_window(config):
    return getattr(config.text_config, "sliding_window", None) is None


for value, diagonal in (("none", None), ("self-excluded", -1), ("next-included", 1)):

    @fault(f"text.attn_mask={value}", fits=without_window, cases=("plain", "odd-sizes", "grouped-heads", "demo-chat", "batch-left"))
    def _(port, diagonal=diagonal):
        def mask(q, k):
            every = torch.ones(1, 1, q, k, dtype=torch.bool)
            real = F.pad(padding(port), (0, max(k - padding(port).shape[-1], 0)), value=True)  # and decoded tokens
            return (every if diagonal is None else every.tril(k - q + diagonal)) & real

        remasked(port, port.text_file, mask)


@fault("text.padding_mask=ignored", cases=("batch-left",))  # on the right, no real token looks that far
def _(port):
    remasked(port, port.text_file, lambda q, k: torch.ones(1, 1, q, k, dtype=torch.bool).tril(k - q))


@fault("vision.attn_bias=absent")
def _(port):
    for a in port.tower_attention():
        for linear in (a.q_proj, a.k_proj, a.v_proj, a.out_proj):
            linear.bias.data.zero_()


@fault("vision.qk_layout=permuted", fits=lambda c: c.vision_config.hidden_size // c.vision_config.num_attention_heads % 2 == 0 and c.vision_config.hidden_size // c.vision_config.num_attention_heads > 2)  # fmt: skip
def _(port):
    for a in port.tower_attention():
        h, d = a.num_heads, a.head_dim
        for linear in (a.q_proj, a.k_proj):
            for tensor in (linear.weight, linear.bias):
                if tensor is None:  # Pixtral's
                    continue
                rest = tensor.shape[1:]
                tensor.data = tensor.data.reshape(h, 2, d // 2, *rest).transpose(1, 2).reshape(h * d, *rest)


def other_layer(by):
    def plant(port):
        port.config.vision_feature_layer += by

    return plant


def one_layer_number(config):
    """A single one, counted from the end, with one before it."""
    layer, count = config.vision_feature_layer, config.vision_config.num_hidden_layers
    return isinstance(layer, int) and -count <= layer < 0


def not_the_last(config):
    return one_layer_number(config) and config.vision_feature_layer < -1


def last_but_one(config):
    return {"vision.feature_layer=one-more": {"vision.feature_layer=last"}} if config.vision_feature_layer == -2 else {}


add("vision.feature_layer=one-less", other_layer(-1), fits=one_layer_number, about="llama.cpp")
add("vision.feature_layer=one-more", other_layer(+1), fits=not_the_last, also=last_but_one)


@fault("vision.post_norm=applied", fits=lambda config: isinstance(config.vision_feature_layer, int), about="vLLM, TGI")
def _(port):
    port.projector.register_forward_pre_hook(lambda m, a: (port.tower.post_layernorm(a[0]),))


def first_rows_onto_tokens(port):
    """What a port without transformers' check of the counts does."""
    port.model.model.get_placeholder_mask = lambda input_ids, inputs_embeds, image_features: (
        input_ids == port.config.image_token_id
    ).unsqueeze(-1)


@fault("vision.select=drop-last", fits=lambda config: config.vision_feature_select_strategy == "default")
def _(port):
    port.config.vision_feature_select_strategy = "full"
    port.projector.register_forward_pre_hook(lambda m, a: (a[0][:, :-1],))


# --- projector and merge -------------------------------------------------------------------------

for act in ("gelu_tanh", "quick_gelu", "silu", "relu", "none"):

    @fault(f"projector.act={act}", fits=lambda c, act=act: NAMES.get(c.projector_hidden_act, c.projector_hidden_act) != act)
    def _(port, act=act):
        port.projector.act.forward = ACTIVATIONS[act]


@fault("projector.bias=absent", fits=lambda config: config.multimodal_projector_bias)
def _(port):
    port.projector.linear_1.bias.data.zero_()
    port.projector.linear_2.bias.data.zero_()


@fault("merge.scale=sqrt-width")
def _(port):
    def scale(module, arguments, kwargs):
        x = kwargs["inputs_embeds"]
        return arguments, {**kwargs, "inputs_embeds": x * (x.shape[-1] ** 0.5)}

    port.text.register_forward_pre_hook(scale, with_kwargs=True)


def placed(port, where):
    port.model.model.get_placeholder_mask = lambda input_ids, inputs_embeds, image_features: where(
        input_ids == port.config.image_token_id
    ).unsqueeze(-1)


def moved(by):
    """Each row of a picture `by` places further on, round the end."""

    def plant(port):
        def get_placeholder_mask(input_ids, inputs_embeds, image_features):
            mask = input_ids == port.config.image_token_id
            sample, place = mask.nonzero(as_tuple=True)
            target = sample * mask.shape[1] + (place + by) % mask.shape[1]
            image_features[:] = image_features[target.argsort()].clone()  # masked_scatter goes by places
            return mask.roll(by, 1).unsqueeze(-1)

        port.model.model.get_placeholder_mask = get_placeholder_mask

    return plant


def at_the_front(mask):
    return torch.arange(mask.shape[1])[None] < mask.sum(1, keepdim=True)


add("merge.placement=one-early", moved(-1))
add("merge.placement=one-late", moved(+1))
add("merge.placement=front", lambda port: placed(port, at_the_front))


@fault("merge.order=reversed", cases=("several-pictures",))
def _(port):
    original = port.model.model.get_image_features

    def reverse(*arguments, **kwargs):
        output = original(*arguments, **kwargs)
        output.pooler_output = list(reversed(output.pooler_output))
        return output

    port.model.model.get_image_features = reverse


# --- language model ------------------------------------------------------------------------------

for eps in ("1e-5", "1e-6", "1e-8"):

    @fault(f"text.norm_eps={eps}", fits=lambda config, eps=eps: config.text_config.rms_norm_eps != float(eps))
    def _(port, eps=float(eps)):
        for norm in port.text_norms():
            norm.variance_epsilon = eps


@fault("text.norm_weight=plus-one")
def _(port):
    for norm in port.text_norms():
        norm.weight.data += 1


@fault("text.norm_kind=layer")
def _(port):
    for norm in port.text_norms():
        norm.forward = lambda x, n=norm: F.layer_norm(x, n.weight.shape, n.weight, None, n.variance_epsilon)


def turned(x):
    return torch.stack((-x[..., 1::2], x[..., 0::2]), -1).flatten(-2)


@fault("text.rope_pairing=interleaved")
def _(port):
    def rotate(q, k, cos, sin, unsqueeze_dim=1):
        half = cos.shape[-1] // 2
        cos, sin = (x[..., :half].repeat_interleave(2, -1).unsqueeze(unsqueeze_dim) for x in (cos, sin))
        return q * cos + turned(q) * sin, k * cos + turned(k) * sin

    port.patch(port.text_file, "apply_rotary_pos_emb", rotate)


@fault("text.rope_sign=reversed")
def _(port):
    original = port.text_file.apply_rotary_pos_emb
    port.patch(port.text_file, "apply_rotary_pos_emb", lambda q, k, cos, sin, *rest, **more: original(q, k, cos, -sin, *rest, **more))  # fmt: skip


def plain_rotary(config):
    return config.text_config.rope_parameters["rope_type"] == "default"


for theta in ("1e4", "5e5", "1e6"):

    @fault(f"text.rope_theta={theta}", fits=lambda c, theta=theta: plain_rotary(c) and c.text_config.rope_parameters["rope_theta"] != float(theta))  # fmt: skip
    def _(port, theta=float(theta)):
        rotary = port.text.rotary_emb
        d = 2 * rotary.inv_freq.numel()
        rotary.inv_freq = 1.0 / theta ** (torch.arange(0, d, 2, dtype=torch.float32) / d)


# Rotary types: the tables of transformers' module, set to what a port has instead.


def plain_frequencies(config):
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return 1.0 / config.rope_parameters["rope_theta"] ** (torch.arange(0, width, 2, dtype=torch.float32) / width)


def fixed_table(port, frequencies, factor=None):
    """One table for every length."""
    rotary = port.text.rotary_emb
    rotary.rope_type, rotary.inv_freq = "default", frequencies
    if factor is not None:
        rotary.attention_scaling = factor


def unscaled(config):
    """A dynamic table that never grows is that of no scaling."""
    if config.text_config.rope_parameters["rope_type"] != "dynamic":
        return {}
    names = {"text.rope_scaling=none", "text.rope_table=short"}
    return {name: names - {name} for name in names}


@fault("text.rope_scaling=none", also=unscaled, about="ANEForge, mlx-vlm",
       cases=("rope-llama3", "rope-linear", "rope-yarn", "rope-longrope", "rope-dynamic"))
def _(port):
    fixed_table(port, plain_frequencies(port.text.config), 1.0)


@fault("text.rope_ramp=absent", cases=("rope-llama3",))
def _(port):
    config = port.text.config
    rope, plain = config.rope_parameters, plain_frequencies(config)
    slow = 2 * torch.pi / plain > rope["original_max_position_embeddings"] / rope["low_freq_factor"]
    fixed_table(port, torch.where(slow, plain / rope["factor"], plain))


@fault("text.rope_ramp=all", cases=("rope-yarn", "rope-llama3"))
def _(port):
    config = port.text.config
    fixed_table(port, plain_frequencies(config) / config.rope_parameters["factor"])


@fault("text.rope_attn_factor=absent", cases=("rope-yarn", "rope-longrope", "rope-longrope-grows"))
def _(port):
    port.text.rotary_emb.attention_scaling = 1.0


@fault("text.rope_attn_factor=formula", cases=("rope-yarn-given",), about="vLLM, mlx-lm")
def _(port):
    factor = torch.tensor(port.text.config.rope_parameters["factor"], dtype=torch.float64)
    port.text.rotary_emb.attention_scaling = float(0.1 * factor.log() + 1)


@fault("text.rope_table=short", cases=("rope-longrope", "rope-longrope-grows", "rope-dynamic"), also=unscaled)
def _(port):
    fixed_table(port, port.text.rotary_emb.inv_freq.clone())


@fault("text.rope_table=long", cases=("rope-longrope-grows",), about="mlxcel")
def _(port):
    config = port.text.config
    most = config.rope_parameters["original_max_position_embeddings"]
    fixed_table(port, ROPE_INIT_FUNCTIONS["longrope"](config, "cpu", seq_len=most + 1)[0])


# Windows: the configuration is what the mask and the cache of transformers go by.


def window_of(change):
    def plant(port):
        config = port.text.config
        config.sliding_window = change(config.sliding_window)
        if config.sliding_window is None and getattr(config, "layer_types", None):
            config.layer_types = ["full_attention"] * config.num_hidden_layers
            port.text.has_sliding_layers = False

    return plant


WINDOWS = ("mistral-left", "mistral", "mistral-right", "qwen2", "qwen2-layers")
add("text.sliding_window=ignored", window_of(lambda w: None), cases=WINDOWS, about="vLLM")
add("text.sliding_window=one-less", window_of(lambda w: w - 1), cases=WINDOWS)
add("text.sliding_window=one-more", window_of(lambda w: w + 1), cases=WINDOWS, about="mlx-lm")


def layers_of(change):
    def plant(port):
        port.text.config.layer_types = [change(kind) for kind in port.text.config.layer_types]

    return plant


OTHER = {"full_attention": "sliding_attention", "sliding_attention": "full_attention"}
add("text.window_layers=all", layers_of(lambda kind: "sliding_attention"), cases=("qwen2", "qwen2-layers"))
add("text.window_layers=swapped", layers_of(OTHER.get), cases=("qwen2-layers", "qwen2"))


def from_zero(port):
    ids = port.inputs["input_ids"]
    return torch.arange(ids.shape[1])[None].expand(ids.shape[0], -1).clone()


@fault("text.positions=one-based")
def _(port):
    port.inputs["position_ids"] = from_zero(port) + 1


@fault("text.positions=image-shared", cases=("plain", "odd-sizes", "grouped-heads", "demo-chat", "several-pictures"))
def _(port):
    mask = port.image_mask()
    repeated = mask.clone()
    repeated[:, 1:] &= mask[:, :-1]
    port.inputs["position_ids"] = from_zero(port) - repeated.long().cumsum(1)


@fault("text.positions=mask-ignored", cases=("batch-left",), options=("--positions", "generate"))
def _(port):
    port.inputs["position_ids"] = from_zero(port)


@fault("text.positions=mask-cumulative", cases=("batch-left",), options=("--positions", "forward"))
def _(port):
    mask = port.inputs["attention_mask"]
    port.inputs["position_ids"] = (mask.cumsum(1) - 1).masked_fill(mask == 0, 0)


@fault("text.kv_groups=interleaved", fits=lambda c: 1 < c.text_config.num_key_value_heads < c.text_config.num_attention_heads)  # fmt: skip
def _(port):
    port.patch(port.text_file, "repeat_kv", lambda x, n: x.repeat(1, n, 1, 1))


def has_qkv_bias(config):
    return config.text_config.model_type == "qwen2" or getattr(config.text_config, "attention_bias", False)


@fault("text.qkv_bias=absent", fits=has_qkv_bias, cases=("grouped-heads", "qwen2"))
def _(port):
    for layer in port.text.layers:
        for linear in (layer.self_attn.q_proj, layer.self_attn.k_proj, layer.self_attn.v_proj):
            linear.bias.data.zero_()


for act in ("gelu", "gelu_tanh", "relu"):

    @fault(f"text.mlp_act={act}", fits=lambda config, act=act: other_act(config.text_config, act))
    def _(port, act=act):
        for layer in port.text.layers:
            layer.mlp.act_fn.forward = ACTIVATIONS[act]


@fault("text.mlp_order=gate-up-swapped")
def _(port):
    for layer in port.text.layers:
        m = layer.mlp
        m.forward = lambda x, m=m: m.down_proj(m.gate_proj(x) * m.act_fn(m.up_proj(x)))


@fault("text.layers=one-less")
def _(port):
    port.text.config.num_hidden_layers -= 1


@fault("text.final_norm=absent")
def _(port):
    port.text.norm.forward = lambda x: x


def step_positions(by):
    def plant(port):
        def move(module, arguments, kwargs):
            ids = kwargs["position_ids"]
            return arguments, {**kwargs, "position_ids": ids + by} if ids.shape[-1] == 1 else kwargs

        port.text.rotary_emb.register_forward_pre_hook(move, with_kwargs=True)

    return plant


add("cache.position=repeated", step_positions(-1), cases=("generate",))
add("cache.position=skipped", step_positions(+1), cases=("generate",), about="tiny-llm")

# --- a port's own rounding steps -----------------------------------------------------------------


def to_half(x):
    return x.to(torch.float16).to(x.dtype)


def to_bf16(x):
    return x.to(torch.bfloat16).to(x.dtype)


def to_tf32(x):
    bits = x.float().view(torch.int32)
    bits = (bits + 0xFFF + ((bits >> 13) & 1)) & ~0x1FFF
    return bits.view(torch.float32).to(x.dtype)


def int8(weight):
    rows = weight.flatten(1)
    step = rows.abs().amax(1, keepdim=True) / 127
    return ((rows / step).round() * step).view_as(weight)


def int8_block32(weight):
    """llama.cpp's q8_0: 32 numbers share one float16 step; the last block of a row may be shorter."""
    blocks = []
    for block in weight.flatten(1).split(32, dim=1):
        step = block.abs().amax(1, keepdim=True) / 127
        blocks.append((block / step).round() * to_half(step))
    return torch.cat(blocks, 1).view_as(weight)


def matrices(model):
    return [Port(model, {}).patches, *Port(model, {}).linears()]


def converted(port, convert, all_but=lambda model: ()):
    """The file's matrices, converted and then loaded in the port's type."""
    stored = port.stored()
    pairs = zip(matrices(port.model), matrices(stored))
    left = [id(module) for module in all_but(port.model)]
    for module, file in pairs:
        if id(module) not in left:
            module.weight.data = convert(file.weight.data).to(module.weight.dtype)


for value, convert in (("f16", to_half), ("bf16", to_bf16), ("int8", int8), ("int8-block32", int8_block32)):

    @fault(f"numerics.weights={value}", group="precision")
    def _(port, convert=convert):
        converted(port, convert)


@fault("int8 without patches and head", group="precision", expect=["numerics.weights=int8"], about="bitsandbytes")
def _(port):
    converted(port, int8, lambda model: (Port(model, {}).patches, model.lm_head))


def as_many_bits(config):
    """In float16's range TF32 and float16 are the same numbers."""
    names = [(f"numerics.{what}=tf32", f"numerics.{what}=f16") for what in ("patch_input", "matmul_input")]
    return {a: {b} for a, b in names} | {b: {a} for a, b in names}


for value, convert in (("f16", to_half), ("bf16", to_bf16), ("tf32", to_tf32)):

    @fault(f"numerics.patch_input={value}", group="precision", also=as_many_bits)
    def _(port, convert=convert):
        def cast_once(module, arguments):  # from the picture, not from what a half-width model made of it
            x, given = arguments[0], port.inputs.get("pixel_values")
            return (convert(x if given is None or given.shape != x.shape else given).to(x.dtype),)

        port.patches.register_forward_pre_hook(cast_once)

    @fault(f"numerics.matmul_input={value}", group="precision", also=as_many_bits)
    def _(port, convert=convert):
        for module in port.linears():  # not a hook: the tap in front of the product is not rounded
            module.forward = lambda x, f=module.forward: f(convert(x))


@fault("numerics.act_table=f16", group="precision", about="ggml")
def _(port):
    acts = port.tower_acts() + [port.projector.act]
    for act in acts + [layer.mlp.act_fn for layer in port.text.layers]:
        act.forward = lambda x, f=act.forward: to_half(f(to_half(x)))


@fault("numerics.attn_accumulate=f16", group="precision", about="ggml's flash attention")
def _(port):
    for file in {port.tower_file, port.text_file}:
        original = file.eager_attention_forward

        def forward(module, query, key, value, *arguments, original=original, **kwargs):
            _, probs = original(module, query, key, value, *arguments, **kwargs)
            value = value.repeat_interleave(getattr(module, "num_key_value_groups", 1), 1)
            total = torch.zeros_like(query)
            for j in range(value.shape[2]):
                total = to_half(total + probs[..., j : j + 1] * value[:, :, j : j + 1])
            return total.transpose(1, 2).contiguous(), probs

        port.patch(file, "eager_attention_forward", forward)


for value, convert in (("f16", to_half), ("bf16", to_bf16)):

    @fault(f"numerics.kv_cache={value}", group="precision", cases=("plain", "odd-sizes", "grouped-heads", "demo-chat", "generate"))
    def _(port, convert=convert):
        original = cache_utils.DynamicCache.update
        port.patch(cache_utils.DynamicCache, "update",
                   lambda self, k, v, *rest, **more: original(self, convert(k), convert(v), *rest, **more))  # fmt: skip


# --- honest ports --------------------------------------------------------------------------------


def nothing(port):
    pass


for dtype in ("float32", "bfloat16", "float16", "float64"):
    for attention in ("eager", "sdpa"):
        add(f"honest {dtype} {attention}", nothing, "honest", setting=dict(dtype=dtype, attention=attention),
            cases=("plain", "odd-sizes", "grouped-heads", "batch-left", "batch-right", "several-pictures", "feature-layers",
                   "full-strategy", "demo-chat", "generate"))  # fmt: skip
add("honest two threads", nothing, "honest", setting=dict(threads=2))
add("honest positions from the mask", FAULTS["text.positions=mask-cumulative"].plant, "honest", cases=("batch-left",))


def summed(parts):
    """Linear layers that add up their inputs in parts, the last part first."""

    def plant(port):
        for module in port.linears():

            def forward(x, m=module):
                size = -(-x.shape[-1] // parts)
                total = 0 if m.bias is None else m.bias.float()  # kept in float32, as every kernel does
                for piece, weight in reversed(list(zip(x.split(size, -1), m.weight.split(size, -1)))):
                    total = total + piece.float() @ weight.float().T
                return total.to(x.dtype)

            module.forward = forward

    return plant


add("honest sums in 3 parts", summed(3), "honest")
add("honest sums term by term, backwards", summed(64), "honest")


@fault("honest queries scaled before the product", group="honest")
def _(port):
    for file in {port.tower_file, port.text_file}:
        original = file.eager_attention_forward

        def forward(module, query, key, value, mask, scaling, original=original, **kwargs):
            return original(module, query * scaling, key, value, mask, scaling=1.0, **kwargs)

        port.patch(file, "eager_attention_forward", forward)


def online_softmax(query, key, value, mask, scaling, block=5):
    """Flash attention's recurrence over blocks of keys, all of it in float32."""
    query, key, value = query.float() * scaling, key.float(), value.float()
    most = torch.full((*query.shape[:-1], 1), -3e38)
    weight, total = torch.zeros_like(most), torch.zeros_like(query[..., :1]) * value[..., :1, :]
    for first in range(0, key.shape[2], block):
        scores = query @ key[:, :, first : first + block].transpose(2, 3)
        if mask is not None:
            scores = scores + mask[..., first : first + block].float()
        higher = torch.maximum(most, scores.amax(-1, keepdim=True))
        e, shrunk = torch.exp(scores - higher), torch.exp(most - higher)
        weight = weight * shrunk + e.sum(-1, keepdim=True)
        total, most = total * shrunk + e @ value[:, :, first : first + block], higher
    return total / weight


@fault("honest online softmax", group="honest", about="flash attention in float32")
def _(port):
    for file in {port.tower_file, port.text_file}:

        def forward(module, query, key, value, mask, scaling, **kwargs):
            groups = getattr(module, "num_key_value_groups", 1)
            key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
            context = online_softmax(query, key, value, mask, scaling)
            return context.to(query.dtype).transpose(1, 2).contiguous(), None

        port.patch(file, "eager_attention_forward", forward)


@fault("honest norms and activations in float32", group="honest")
def _(port):
    for norm in port.text_norms():
        norm.forward = lambda x, n=norm: (
            n.weight.float() * (x.float() * torch.rsqrt(x.float().pow(2).mean(-1, keepdim=True) + n.variance_epsilon))
        ).to(x.dtype)
    for act in port.tower_acts() + [port.projector.act]:
        act.forward = lambda x, f=act.forward: f(x.float()).to(x.dtype)
    for layer in port.text.layers:
        m = layer.mlp
        m.forward = lambda x, m=m: m.down_proj((m.act_fn(m.gate_proj(x).float()) * m.up_proj(x).float()).to(x.dtype))


@fault("honest one product for q, k and v", group="honest")
def _(port):
    for layer in port.text.layers:
        a = layer.self_attn
        together = torch.cat([a.q_proj.weight, a.k_proj.weight, a.v_proj.weight])
        first = 0
        for linear in (a.q_proj, a.k_proj, a.v_proj):
            rows = slice(first, first + linear.out_features)
            first = rows.stop
            linear.forward = lambda x, m=linear, w=together, r=rows: (
                (x @ w.T)[..., r] if m.bias is None else (x @ w.T)[..., r] + m.bias
            )


# --- damage that no decision explains ------------------------------------------------------------


def damage(name, tap, **more):
    return lambda plant: add(f"damage: {name}", plant, "unknown", tap=tap, **more) or plant


@damage("a row of a weight is lost", "text.layers.0.mlp.out")
def _(port):
    port.text.layers[0].mlp.down_proj.weight.data[3] = 0


@damage("a row of a weight is another's", "vision.layers.0.mlp.fc1", fits=lambda c: c.vision_config.model_type in LAYER_NORM)
def _(port):
    weight = port.tower_layers[0].mlp.fc1.weight.data
    weight[5] = weight[6]


@damage("one head is zero", "text.layers.0.attn.context")
def _(port):
    a = port.text.layers[0].self_attn
    original = port.text_file.eager_attention_forward

    def forward(module, *arguments, **kwargs):
        context, probs = original(module, *arguments, **kwargs)
        if module is a:
            context = context.clone()
            context[:, :, 1] = 0
        return context, probs

    port.patch(port.text_file, "eager_attention_forward", forward)


@damage("a residual is dropped in one layer", "text.layers.0.output")
def _(port):
    layer = port.text.layers[0]

    def forward(x, position_embeddings=None, **kwargs):
        h = x + layer.self_attn(layer.input_layernorm(x), position_embeddings=position_embeddings, **kwargs)[0]
        return layer.mlp(layer.post_attention_layernorm(h))

    layer.forward = forward


@damage("attention and MLP side by side in the last layer", None)
def _(port):
    layer = port.text.layers[-1]

    def forward(x, position_embeddings=None, **kwargs):
        h = layer.self_attn(layer.input_layernorm(x), position_embeddings=position_embeddings, **kwargs)[0]
        return x + h + layer.mlp(layer.post_attention_layernorm(x))

    layer.forward = forward


@damage("positions two apart", None, cases=("plain", "odd-sizes", "grouped-heads", "demo-chat", "rope-linear", "qwen2"))
def _(port):
    port.inputs["position_ids"] = 2 * from_zero(port)


@damage("every position is 0", None, cases=("plain", "odd-sizes", "grouped-heads", "demo-chat", "rope-linear", "qwen2"))
def _(port):
    port.inputs["position_ids"] = 0 * from_zero(port)


@damage("another base of the rotary frequencies", None, fits=plain_rotary,
        cases=("plain", "odd-sizes", "grouped-heads", "demo-chat", "qwen2"))
def _(port):
    rotary = port.text.rotary_emb
    d = 2 * rotary.inv_freq.numel()
    rotary.inv_freq = 1.0 / 2e4 ** (torch.arange(0, d, 2, dtype=torch.float32) / d)


@damage("k and v exchanged in one layer", "text.layers.0.attn.k")
def _(port):
    a = port.text.layers[0].self_attn
    a.k_proj.weight, a.v_proj.weight = a.v_proj.weight, a.k_proj.weight


@damage("one bias is lost", "projector.fc1", fits=lambda config: config.multimodal_projector_bias)
def _(port):
    port.projector.linear_1.bias.data[1] = 0


@damage("a row of the token table", "text.embed")
def _(port):
    row = port.inputs["input_ids"][0, -1]
    port.text.embed_tokens.weight.data[row] *= 1.25


@damage("noise behind the projector", "projector.out")
def _(port):
    generator = torch.Generator().manual_seed(1)
    port.projector.linear_2.register_forward_hook(
        lambda m, a, x: x + 0.02 * torch.randn(x.shape, generator=generator).to(x.dtype)
    )


@damage("one matrix in int8", "text.layers.0.mlp.up", about="a rounding in one layer only is a finding")
def _(port):
    linear = port.text.layers[0].mlp.up_proj
    linear.weight.data = int8(linear.weight.data)


@damage("one patch is not a number", "vision.patch_embed")
def _(port):
    def spoil(m, a, x):
        x = x.clone()
        x[0, :, 0, 0] = float("nan")
        return x

    port.patches.register_forward_hook(spoil)


# --- two and three at once -----------------------------------------------------------------------


def together(*names, **more):
    parts = [FAULTS[name] for name in names]

    def plant(port):
        for part in parts:
            part.plant(port)

    cases = [case for case in parts[0].cases if all(case in part.cases for part in parts)]
    add(" + ".join(names), plant, expect=list(names), cases=tuple(cases),
        fits=lambda config: all(part.fits(config) for part in parts),
        also=lambda config: {k: v for part in parts if part.also for k, v in part.also(config).items()}, **more)  # fmt: skip


together("vision.cls_position=last", "vision.feature_layer=one-less", "projector.act=gelu_tanh", about="llama.cpp")
together("vision.act=gelu_tanh", "text.rope_sign=reversed")
together("vision.norm_eps=1e-7", "text.mlp_order=gate-up-swapped")
together("projector.bias=absent", "text.final_norm=absent")
together("text.rope_theta=1e6", "text.attn_scale=none")
together("vision.patch_order=column-major", "vision.patch_kernel=ohwi")
together("vision.cls_position=last", "vision.positions=reversed")
together("text.rope_pairing=interleaved", "text.rope_sign=reversed")
together("text.mlp_act=gelu_tanh", "text.mlp_order=gate-up-swapped")
together("merge.placement=one-late", "merge.scale=sqrt-width")
together("vision.feature_layer=one-less", "vision.select=drop-last")
together("text.norm_kind=layer", "text.norm_weight=plus-one")
together("text.rope_sign=reversed", "text.mlp_order=gate-up-swapped")
