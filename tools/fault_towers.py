"""Faults of the towers other than CLIP, for plant_faults.py: SigLIP and Pixtral, each as a port would have it, written
with torch alone. Their names begin with the golden's family, because faults.py has the same decisions for CLIP."""

import torch
import torch.nn.functional as F
import transformers.models.pixtral.modeling_pixtral as pixtral
import transformers.models.siglip.modeling_siglip as siglip

from faults import FAULTS, add, damage, nothing, remasked, turned

SIGLIP, PIXTRAL = ("siglip", "interleave"), ("pixtral", "pixtral-12b")
SEVERAL = ("pixtral",)  # several pictures, one of them of more than one row and column


def of(*kinds):
    return lambda config: config.vision_config.model_type in kinds


def tower_fault(family, decision, cases, also=None):
    """A fault called "FAMILY DECISION=VALUE" that must be named DECISION=VALUE."""
    kind = {"siglip": "siglip_vision_model", "pixtral": "pixtral"}[family]
    return lambda plant: add(f"{family} {decision}", plant, expect=[decision], cases=cases, fits=of(kind),
                             also=also) or plant  # fmt: skip


# --- SigLIP --------------------------------------------------------------------------------------


@tower_fault("siglip", "vision.patch_bias=absent", SIGLIP)
def _(port):
    port.tower.embeddings.patch_embedding.bias.data.zero_()


@tower_fault("siglip", "vision.positions=shifted", SIGLIP)  # as if a class row had the table's first
def _(port):
    last = port.tower.embeddings.num_positions - 1
    port.tower.embeddings.position_ids = torch.tensor([min(i + 1, last) for i in range(last + 1)])[None]


@tower_fault("siglip", "vision.attn_mask=causal", SIGLIP)
def _(port):
    remasked(port, siglip, lambda q, k: torch.ones(1, 1, q, k, dtype=torch.bool).tril())


# The same plants as for CLIP: the modules have the same names.
for decision in ("vision.act=gelu", "vision.act=quick_gelu", "vision.attn_bias=absent", "vision.norm_eps=1e-5",
                 "vision.post_norm=applied", "vision.patch_kernel=ohwi", "vision.attn_scale=none"):  # fmt: skip
    tower_fault("siglip", decision, SIGLIP)(FAULTS[decision].plant)


# --- Pixtral: the rotary embedding ---------------------------------------------------------------


def relocated(port, place):
    """place([T, 2] rows and columns) -> [T, 2], in front of the rotary tables."""
    tables = port.tower.patch_positional_embedding
    forward = tables.forward
    tables.forward = lambda x, position_ids: forward(x, place(position_ids))


@tower_fault("pixtral", "vision.rope_axes=column-row", PIXTRAL)
def _(port):
    relocated(port, lambda places: places.flip(-1))


@tower_fault("pixtral", "vision.rope_positions=continued", PIXTRAL)
def _(port):
    def continued(places):
        begins = (places == 0).all(-1)
        last = torch.cat([begins[1:], torch.ones(1, dtype=torch.bool)])
        rows = (places[last, 0] + 1).cumsum(0)  # of the pictures up to each one's end
        above = torch.cat([torch.zeros(1, dtype=rows.dtype), rows[:-1]])
        return torch.stack([places[:, 0] + above[begins.long().cumsum(0) - 1], places[:, 1]], -1)

    relocated(port, continued)


@tower_fault("pixtral", "vision.rope_positions=sequence", PIXTRAL)
def _(port):
    relocated(port, lambda places: torch.arange(len(places))[:, None].expand(-1, 2))


def frequencies(port, order, theta=None):
    """order(f) -> the rows' frequencies, then the columns'."""
    tables, width = port.tower.patch_positional_embedding, port.tower.transformer.layers[0].attention.head_dim
    theta = theta or port.config.vision_config.rope_parameters["rope_theta"]
    tables.inv_freq = order(1.0 / theta ** (torch.arange(0, width, 2, dtype=torch.float32) / width))


@tower_fault("pixtral", "vision.rope_frequencies=split", PIXTRAL)
def _(port):
    frequencies(port, lambda f: f)


@tower_fault("pixtral", "vision.rope_frequencies=shared", PIXTRAL)
def _(port):
    frequencies(port, lambda f: torch.cat([f[0::2], f[0::2][: len(f) // 2]]))


for theta in ("1e6", "1e9"):

    @tower_fault("pixtral", f"vision.rope_theta={theta}", PIXTRAL)  # the language model's
    def _(port, theta=float(theta)):
        frequencies(port, lambda f: torch.cat([f[0::2], f[1::2]]), theta)


@tower_fault("pixtral", "vision.rope_pairing=interleaved", PIXTRAL)
def _(port):
    def rotate(q, k, cos, sin, unsqueeze_dim=1):
        half = cos.shape[-1] // 2
        cos, sin = (x[..., :half].repeat_interleave(2, -1).unsqueeze(unsqueeze_dim) for x in (cos, sin))
        return q * cos + turned(q) * sin, k * cos + turned(k) * sin

    port.patch(pixtral, "apply_rotary_pos_emb", rotate)


@tower_fault("pixtral", "vision.qk_layout=permuted", PIXTRAL)  # llama.cpp's order for interleaved rotation
def _(port):
    for layer in port.tower.transformer.layers:
        h, d = layer.attention.num_heads, layer.attention.head_dim
        for linear in (layer.attention.q_proj, layer.attention.k_proj):
            weight = linear.weight.data
            linear.weight.data = weight.reshape(h, 2, d // 2, -1).transpose(1, 2).reshape(h * d, -1)


# --- Pixtral: the rest ---------------------------------------------------------------------------


@tower_fault("pixtral", "vision.picture_mask=ignored", SEVERAL)
def _(port):
    port.patch(pixtral, "generate_block_attention_mask", lambda patches, x: torch.zeros(1, 1, x.shape[1], x.shape[1]))


@tower_fault("pixtral", "vision.mlp_order=gate-up-swapped", PIXTRAL)
def _(port):
    for layer in port.tower.transformer.layers:
        m = layer.feed_forward
        m.forward = lambda x, m=m: m.down_proj(m.act_fn(m.up_proj(x)) * m.gate_proj(x))


for act in ("gelu", "gelu_tanh"):  # early uploads of the checkpoint said gelu by mistake

    @tower_fault("pixtral", f"vision.act={act}", PIXTRAL)
    def _(port, approximate={"gelu": "none", "gelu_tanh": "tanh"}[act]):
        for layer in port.tower.transformer.layers:
            layer.feed_forward.act_fn.forward = lambda x: F.gelu(x, approximate=approximate)


@tower_fault("pixtral", "vision.norm_eps=1e-6", PIXTRAL)
def _(port):
    for module in port.tower.modules():
        if isinstance(module, pixtral.PixtralRMSNorm):
            module.variance_epsilon = 1e-6


@tower_fault("pixtral", "vision.pre_norm=absent", PIXTRAL)
def _(port):
    port.tower.ln_pre.forward = lambda x: x


@tower_fault("pixtral", "vision.feature_layer=one-less", PIXTRAL)
def _(port):
    port.config.vision_feature_layer -= 1


@tower_fault("pixtral", "merge.order=reversed", SEVERAL)
def _(port):
    original = port.model.model.get_image_features

    def reversed_features(*arguments, **kwargs):
        output = original(*arguments, **kwargs)
        output.pooler_output = output.pooler_output[::-1]
        return output

    port.model.model.get_image_features = reversed_features


# --- honest, and damage --------------------------------------------------------------------------

for dtype in ("float32", "bfloat16", "float16", "float64"):
    for attention in ("eager", "sdpa"):
        add(f"honest towers {dtype} {attention}", nothing, "honest", setting=dict(dtype=dtype, attention=attention),
            cases=("pixtral", "siglip", "siglip-default", "pixtral-one", "pixtral-layers", "interleave", "pixtral-12b"))  # fmt: skip


@damage("Pixtral: a row of a weight is lost", "vision.layers.0.mlp.up", cases=PIXTRAL)
def _(port):
    port.tower.transformer.layers[0].feed_forward.up_proj.weight.data[3] = 0


@damage("Pixtral: a patch lies one row too low", "vision.rope.cos", cases=PIXTRAL)
def _(port):
    relocated(port, lambda places: places + torch.eye(len(places), 2, dtype=places.dtype))


@damage("SigLIP: a position of the table is lost", "vision.embed", cases=SIGLIP)
def _(port):
    port.tower.embeddings.position_embedding.weight.data[1] = 0
