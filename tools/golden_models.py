"""The golden cases: tiny models with awkward sizes, their inputs, and where each comes from.

Every number is drawn with NumPy's PCG64 from the case's seed, as multiples of 2^-53 scaled by one
factor (no log, no cosine: the same bits on every machine), never with torch's generator.
"""

import json
import io
import os
import struct
import sys
import zlib
from dataclasses import dataclass, field

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import (
    CLIPVisionConfig,
    GenerationConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    MistralConfig,
    Qwen2Config,
    PixtralVisionConfig,
    PreTrainedTokenizerFast,
    SiglipVisionConfig,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil
from transformers.models.pixtral import image_processing_pil_pixtral
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

# PixtralProcessor's module takes one function, which it does not call here, from the torchvision
# processor's; the Pillow one has the same function, and torchvision is not among the requirements.
sys.modules.setdefault("transformers.models.pixtral.image_processing_pixtral", image_processing_pil_pixtral)
from transformers.models.pixtral.processing_pixtral import PixtralProcessor  # noqa: E402

from make_demo_model import CHAT_TEMPLATE, train_tokenizer

DTYPES = {"f64": torch.float64, "f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}

# 2 x 2 patches and a class row; one tower layer in use, the second behind the chosen state. Every
# case changes what it is about.
VISION = dict(
    hidden_size=18, intermediate_size=26, num_hidden_layers=2, num_attention_heads=2, image_size=8, patch_size=4
)
TEXT = dict(
    vocab_size=61, hidden_size=20, intermediate_size=30, num_hidden_layers=2, num_attention_heads=2,
    max_position_embeddings=256, rms_norm_eps=1e-5, bos_token_id=1, eos_token_id=2, pad_token_id=58,
)  # fmt: skip
SHALLOW = dict(num_hidden_layers=1)
TEXT_CONFIGS = {"llama": LlamaConfig, "mistral": MistralConfig, "qwen2": Qwen2Config}
NARROW = SHALLOW | dict(hidden_size=16, intermediate_size=18)
TOWERS = {"clip": CLIPVisionConfig, "siglip": SiglipVisionConfig, "pixtral": PixtralVisionConfig}
IMAGE_TOKEN, PAD_TOKEN, WORDS = 57, 58, 56
ROW_END, PICTURE_END = 59, 60  # Pixtral's [IMG_BREAK] and [IMG_END]
FULL = dict(vision_feature_layer=-1, vision_feature_select_strategy="full")
PICTURE = "picture"  # in a layout: one picture's placeholders


@dataclass
class Case:
    name: str
    about: str
    tower: str = "clip"
    vision: dict = field(default_factory=dict)
    text: dict = field(default_factory=dict)
    top: dict = field(default_factory=dict)  # keys of LlavaConfig
    family: str = "llama"  # of the language model
    old_rope: bool = False  # config.json with rope_scaling and rope_theta in place of rope_parameters
    store: str = "f32"  # the type of the stored weights
    spelling: str = "save_pretrained"  # of the weights' names: that, or "released", or "memory"
    shard_size: str = ""
    # What goes in: a list of samples, each a list of run lengths of text and PICTURE ...
    layout: list = None
    pad: str = "right"
    labels: bool = False
    embeds: bool = False  # inputs_embeds in place of input_ids
    pixels: bool = True  # False: placeholders without pictures
    sizes: list = None  # Pixtral: (height, width) of each picture in pixels
    breaks: bool = False  # Pixtral: a token behind each row of a picture, another behind the last
    image_sizes: bool = True  # False: not given, so that every picture is as large as its pixels
    positions: list = None
    square: str = ""  # a mask of four dimensions: "packed" (booleans), or "added" (floats)
    keep: int = 0  # logits_to_keep
    call: dict = field(default_factory=dict)  # further arguments of forward: hidden states chosen for the call
    chunk: int = 0  # positions of the prompt at a time, over past_key_values
    # ... or pictures and a text, through the processor.
    pictures: dict = None  # file name -> bytes
    prompt: str = None
    chat: str = None
    messages: list = None  # a conversation; an image item has a path or takes the next of the pictures left
    words: str = "llama"  # the tokenizer: of the demo model's kind, or one of tests/data/tokenizer
    processor: dict = None  # keys of the image processor
    processor_kind: str = "llava"
    model: str = None  # another case's model folder, relative to the case
    generate: int = 0
    stop: int = -1  # eos_token_id of generation_config.json; -1: none
    taps: list = None  # globs; None: all
    forms: tuple = ("true", "hf")
    draw: int = 0  # another draw of the same case, where a greedy choice was too close

    @property
    def seed(self):
        """Of its name, so that a new case changes no other."""
        return zlib.crc32(f"{self.name}{self.draw or ''}".encode())


def uniform(rng, shape, deviation):
    """Zero mean, the given standard deviation, by exact operations and one rounding each."""
    return (rng.random(shape) * 2 - 1) * (deviation * 1.7320508075688772)


def weight_like(rng, name, shape):
    """Sized so that activations stay near 1 and attention is neither uniform nor a single key."""
    if len(shape) == 1 and ("norm" in name) and name.endswith("weight"):
        return 1 + uniform(rng, shape, 0.2)
    if name.endswith("bias"):
        return uniform(rng, shape, 0.2)
    if name.endswith("ln_pre.weight"):
        return 1 + uniform(rng, shape, 0.2)
    if "embedding" in name or "embed_tokens" in name:
        if "patch" not in name:
            return uniform(rng, shape, 0.7)
    gain = 1.6 if "q_proj" in name or "k_proj" in name else 1.1
    return uniform(rng, shape, gain / np.sqrt(np.prod(shape[1:])))


# --- the model folder ----------------------------------------------------------------------------


def released(name):
    """save_pretrained's spelling -> that of the released llava-1.5 files."""
    return name.replace("vision_tower.", "vision_tower.vision_model.")


def in_memory(name):
    """save_pretrained's spelling -> that of transformers 4.52 and later in memory."""
    if "lm_head" in name:
        return name.removeprefix("language_model.")
    return "model." + name.replace("language_model.model.", "language_model.")


def make_config(case, image_token):
    vision = TOWERS[case.tower](**VISION | case.vision)
    text = TEXT_CONFIGS[case.family](**TEXT | case.text)
    rows = (vision.image_size // vision.patch_size) ** 2
    top = dict(image_token_index=image_token, image_seq_length=rows) | case.top
    return LlavaConfig(vision_config=vision, text_config=text, **top)


def make_model(case, config):
    model = LlavaForConditionalGeneration(config)
    rng = np.random.Generator(np.random.PCG64(case.seed))
    model = model.to(DTYPES[case.store])
    for name, parameter in sorted(model.named_parameters()):
        drawn = torch.from_numpy(weight_like(rng, name, parameter.shape))
        parameter.data.copy_(drawn.to(DTYPES[case.store]))
    model.generation_config = GenerationConfig(
        bos_token_id=1, pad_token_id=PAD_TOKEN, eos_token_id=case.stop if case.stop >= 0 else None
    )
    return model


def save_model(case, folder):
    """Writes the model folder. Cases that look at pictures only get no weights: none are read."""
    tokenizer = make_tokenizer(case.words) if case.processor else None
    token = "[IMG]" if case.processor_kind == "pixtral" else "<image>"
    if tokenizer and token == "[IMG]":
        tokenizer.add_special_tokens({"additional_special_tokens": ["[IMG]", "[IMG_BREAK]", "[IMG_END]"]})
    config = make_config(case, tokenizer.convert_tokens_to_ids(token) if tokenizer else IMAGE_TOKEN)
    if tokenizer:
        make_processor(case, config, tokenizer, folder)
    if case.taps == IMAGE_TAPS:
        config.architectures = ["LlavaForConditionalGeneration"]
        config.save_pretrained(folder)
        return
    model = make_model(case, config)
    shards = {"max_shard_size": case.shard_size} if case.shard_size else {}
    model.save_pretrained(folder, **shards)
    if case.old_rope:
        respell_rope(os.path.join(folder, "config.json"))
    rename = {"released": released, "memory": in_memory}.get(case.spelling)
    if rename:
        path = os.path.join(folder, "model.safetensors")
        tensors = {rename(name): tensor for name, tensor in load_file(path).items()}
        save_file(tensors, path, metadata={"format": "pt"})


def respell_rope(path):
    """rope_parameters -> rope_theta and rope_scaling with its `type`, as 4.x wrote them."""
    with open(path) as file:
        config = json.load(file)
    text = config["text_config"]
    parameters = text.pop("rope_parameters")
    text["rope_theta"] = parameters.pop("rope_theta")
    text["rope_scaling"] = {"type": parameters.pop("rope_type")} | parameters
    with open(path, "w") as file:
        json.dump(config, file, indent=2)


# Special tokens and conversation format of a byte-level tokenizer, as the published folders have them.
BYTE_LEVEL = {
    "qwen2": (dict(eos_token="<|im_end|>", pad_token="<|endoftext|>"), (
        "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n'}}"
        "{# Render all images first #}"
        "{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>' }}{% endfor %}"
        "{# Render all text next #}"
        "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}"
        "{{ '\n' + content['text'] }}{% endfor %}{{'<|im_end|>' + '\n'}}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}")),
    "llama-3": (dict(bos_token="<|begin_of_text|>", eos_token="<|eot_id|>"), (
        "{% set loop_messages = messages %}{% for message in loop_messages %}"
        "{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'+ "
        "message['content'] | trim + '<|eot_id|>' %}"
        "{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}")),
}  # fmt: skip


def make_tokenizer(words):
    if words in BYTE_LEVEL:
        here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        return PreTrainedTokenizerFast(
            tokenizer_file=os.path.join(here, "tests", "data", "tokenizer", words, "tokenizer.json"),
            extra_special_tokens={"image_token": "<image>"}, clean_up_tokenization_spaces=False,
            **BYTE_LEVEL[words][0],
        )  # fmt: skip
    return train_tokenizer(["USER: What is it? ASSISTANT: It is a small red picture of nothing at all."] * 20)


IMAGE_PROCESSORS = {
    "llava": LlavaImageProcessorPil,
    "clip": CLIPImageProcessorPil,
    "siglip": SiglipImageProcessorPil,
    "pixtral": image_processing_pil_pixtral.PixtralImageProcessorPil,
}


def make_processor(case, config, tokenizer, folder):
    image_processor = IMAGE_PROCESSORS[case.processor_kind](**case.processor)
    patch = config.vision_config.patch_size
    if case.processor_kind == "pixtral":
        processor = PixtralProcessor(image_processor, tokenizer, patch_size=patch)
    else:
        processor = LlavaProcessor(
            image_processor,
            tokenizer,
            patch_size=patch,
            vision_feature_select_strategy=config.vision_feature_select_strategy,
            chat_template=BYTE_LEVEL[case.words][1] if case.words in BYTE_LEVEL else CHAT_TEMPLATE,
            num_additional_image_tokens=0 if case.tower == "siglip" else 1,
        )
    processor.save_pretrained(folder)
    if case.processor_kind != "llava":  # preprocessor_config.json, as older files have it
        processor.image_processor.save_pretrained(folder)


# --- inputs --------------------------------------------------------------------------------------


def feature_rows(case, config, height, width):
    """Rows of one picture. Only CLIP has a class row; a Pixtral picture keeps all of its own."""
    patch = config.vision_config.patch_size
    rows = (height // patch) * (width // patch)
    kind = config.vision_config.model_type
    if kind == "pixtral":
        return rows
    strategy = case.call.get("vision_feature_select_strategy", config.vision_feature_select_strategy)
    return rows + (kind == "clip_vision_model") - (strategy == "default")


def square_mask(case, rng, positions, batch, length):
    """packed: each query sees its own sequence, a sequence beginning where the positions do again.
    added: the causal rule as the lowest float32, and a slope besides, as some models have it."""
    visible = np.tril(np.ones((batch, 1, length, length), bool))
    if case.square == "packed":
        sequence = (positions == 0).cumsum(-1)
        return visible & (sequence[:, None, :, None] == sequence[:, None, None, :])
    slope = -uniform(rng, (batch, 1, length, length), 0.5) ** 2
    return np.where(visible, slope, np.finfo(np.float32).min).astype(np.float32)


def picture_ids(case, config, height, width):
    rows = feature_rows(case, config, height, width)
    if not case.breaks:
        return [config.image_token_id] * rows
    columns = width // config.vision_config.patch_size
    row = [config.image_token_id] * columns
    return sum(([*row, ROW_END] for _ in range(rows // columns - 1)), []) + [*row, PICTURE_END]


def make_inputs(case, model):
    """The arrays of the inputs file, drawn from the case's seed."""
    rng = np.random.Generator(np.random.PCG64(case.seed + 1))
    config = model.config
    samples, pictures = [], 0
    size = config.vision_config.image_size
    sizes = case.sizes or [(size, size)] * sum(runs.count(PICTURE) for runs in case.layout)
    for runs in case.layout:
        ids = []
        for run in runs:
            if run == PICTURE:
                ids += picture_ids(case, config, *sizes[pictures])
                pictures += 1
            else:
                ids += rng.integers(3, WORDS, run).tolist()
        samples.append([1] + ids)
    longest = max(map(len, samples))
    padding = [longest - len(ids) for ids in samples]

    def padded(rows, filler):
        if case.pad == "left":
            return np.array([[filler] * n + ids for n, ids in zip(padding, rows)], np.int64)
        return np.array([ids + [filler] * n for n, ids in zip(padding, rows)], np.int64)

    inputs = {"input_ids": padded(samples, PAD_TOKEN)}
    if any(padding):
        inputs["attention_mask"] = padded([[1] * len(ids) for ids in samples], 0)
    if case.positions:
        inputs["position_ids"] = np.array(case.positions, np.int64)
    if case.square:
        inputs["attention_mask"] = square_mask(case, rng, inputs.get("position_ids"), *inputs["input_ids"].shape)
    if case.keep:
        inputs["logits_to_keep"] = np.array(case.keep, np.int64)
    if pictures and case.pixels:
        # What pads a smaller picture is drawn like the rest: nothing may read it.
        height, width = np.array(sizes).max(0)
        inputs["pixel_values"] = uniform(rng, (pictures, 3, height, width), 1.0).astype(np.float32)
        if case.sizes and case.image_sizes:
            inputs["image_sizes"] = np.array(sizes, np.int64)
    if case.labels:
        # Counted: the text behind the first third, never a placeholder or padding.
        labels = inputs["input_ids"].copy()
        labels[labels >= WORDS] = -100
        labels[:, : longest // 3] = -100
        inputs["labels"] = labels
    if case.embeds:
        table = model.get_input_embeddings().weight.detach().numpy()
        rows = table[inputs.pop("input_ids")]
        drawn = uniform(rng, rows.shape, 0.7).astype(np.float32)
        marked = (rows == table[config.image_token_id]).all(-1, keepdims=True)
        inputs["inputs_embeds"] = np.where(marked, rows, drawn)
    return inputs


# --- pictures ------------------------------------------------------------------------------------


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(samples, colour_type, depth=8, before_data=b""):
    """A PNG file of samples [h,w,c], its rows filtered 0..4 in turn. The deflate blocks are stored:
    the same bytes with every zlib."""
    height, width, channels = samples.shape
    if depth == 16:
        rows = samples.astype(">u2").view(np.uint8).reshape(height, -1)
    elif depth == 1:
        rows = np.packbits(samples[:, :, 0], axis=1)
    else:
        rows = samples.astype(np.uint8).reshape(height, -1)
    pixel = max(1, channels * depth // 8)
    rows = rows.astype(np.int64)
    left = np.pad(rows, ((0, 0), (pixel, 0)))[:, : rows.shape[1]]
    above = np.pad(rows, ((1, 0), (0, 0)))[:height]
    corner = np.pad(above, ((0, 0), (pixel, 0)))[:, : rows.shape[1]]
    guess = left + above - corner
    distance = np.abs(np.stack([guess - left, guess - above, guess - corner]))
    paeth = np.choose(distance.argmin(0), [left, above, corner])
    predicted = np.stack([0 * rows, left, above, (left + above) // 2, paeth])
    kinds = np.arange(height) % 5
    filtered = (rows - predicted[kinds, np.arange(height)]) % 256
    data = np.concatenate([kinds[:, None], filtered], 1).astype(np.uint8).tobytes()
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + before_data
        + chunk(b"IDAT", zlib.compress(data, 0)) + chunk(b"IEND", b"")
    )  # fmt: skip


def scene(height, width, channels=3, top=256):
    """Slopes, an edge, and a fine texture: something for every filter tap of a resize."""
    y, x, c = np.mgrid[0:height, 0:width, 0:channels]
    texture = (37 * y * y + 11 * x * x + 5 * x * y + 85 * c) % (top // 4)
    slope = (x * top // max(width, 1) * (c + 1) + y * top // max(height, 1)) // 3
    edge = (top // 3) * ((x + 2 * y) % 23 < 9)
    return (texture + slope + edge) % top


def orientation(turn):
    """An eXIf chunk that says how the picture is to be turned (TIFF, one entry, tag 0x0112)."""
    return chunk(b"eXIf", b"MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, turn, 0, 0))


def palette_picture(height, width):
    colours = scene(1, 40).astype(np.uint8).tobytes()
    see_through = bytes(range(0, 240, 6))
    index = scene(height, width, 1) % 40
    return png(index, 3, before_data=chunk(b"PLTE", colours) + chunk(b"tRNS", see_through))


def every_mode():
    return {
        "0-rgb.png": png(scene(43, 61), 2),
        "1-rgba.png": png(scene(50, 34, 4), 6),
        "2-palette.png": palette_picture(31, 47),
        "3-grey.png": png(scene(29, 64, 1), 0),
        "4-grey-alpha.png": png(scene(33, 22, 2), 4),
        "5-grey16.png": png(scene(26, 31, 1, 1024), 0, 16),
        "6-rgb16.png": png(scene(24, 41, 3, 65536), 2, 16),
        "7-bilevel.png": png(scene(37, 45, 1) % 2, 0, 1),
        "8-turned.png": png(scene(25, 40), 2, before_data=orientation(6)),
        "9-narrow.png": png(scene(97, 5), 2),
        "a-small.png": png(scene(7, 9), 2),
        "b-square.png": png(scene(21, 21), 2),
    }


def jpeg(height, width, mode="RGB", turn=0, **options):
    """Pillow's own JPEG of the scene, 4:2:0 unless told otherwise."""
    image = Image.fromarray(scene(height, width).astype(np.uint8)).convert(mode)
    if turn:
        exif = Image.Exif()
        exif[0x0112] = turn
        options["exif"] = exif
    out = io.BytesIO()
    image.save(out, "JPEG", quality=85, **options)
    return out.getvalue()


def every_jpeg():
    return {
        "0-420.jpg": jpeg(43, 61),
        "1-422.jpg": jpeg(50, 34, subsampling=1),
        "2-444.jpg": jpeg(31, 47, subsampling=0),
        "3-progressive.jpg": jpeg(29, 64, progressive=True),
        "4-grey.jpg": jpeg(33, 22, "L"),
        "5-cmyk.jpg": jpeg(26, 31, "CMYK"),
        "6-turned.jpg": jpeg(24, 41, turn=6),
        "7-restart.jpg": jpeg(25, 40, restart_marker_blocks=1),
        "8-a-png.jpg": png(scene(25, 40), 2),  # the content decides
    }


PICTURE_MODEL = dict(
    vision=dict(image_size=21, patch_size=6),
    text=SHALLOW | dict(vocab_size=416, hidden_size=16),
)
CROP = {"height": 21, "width": 21}
IMAGE_TAPS = ["image.*", "pixel_values", "input_ids"]



MODEL_TAPS = IMAGE_TAPS + ["vision.features", "projector.out", "text.inputs_embeds", "text.norm"]


def picture_case(name, about, replace=False, **changes):
    """replace: the processor has the given keys only."""
    processor = {} if replace else dict(size={"shortest_edge": 21}, crop_size=CROP)
    processor |= changes.pop("processor", {})
    return Case(name, about, processor=processor, **PICTURE_MODEL | changes)


# The demo model is a hundred times the tiny ones: of its taps only these are kept.
DEMO_TEXT_TAPS = ["input_ids", "generated_ids", "text.norm", "step.*.logits"]
DEMO_TAPS = ["image.*", "pixel_values"] + DEMO_TEXT_TAPS
DEMO_MORE = DEMO_TAPS + ["vision.features", "projector.out", "text.layers.0.output", "logits"]


def demo_case(name, about, picture=None, taps=DEMO_TAPS, **changes):
    pictures = {f"../demo/pictures/{picture}": None} if picture else {}  # committed, not made here
    return Case(name, about, model="../demo/model", store="f16", pictures=pictures, generate=24, taps=taps, **changes)


# Where the language model is fed in another way: what goes in, one layer's attention, what comes out.
FED_TAPS = ["input_ids", "pixel_values", "attention_mask", "position_ids", "text.inputs_embeds", "text.layers.0.attn.q_rope",
            "text.layers.0.attn.scores", "text.layers.0.attn.probs", "text.layers.0.output", "text.norm", "logits"]  # fmt: skip


# --- the cases -----------------------------------------------------------------------------------


# Taps in which a family's own part shows, with one that everything before has gone into. A rotary
# type shows in its tables, a window in the probabilities.
ROPE_TAPS = ["attention_mask", "position_ids", "text.rope.*", "text.layers.0.attn.?_rope", "text.layers.1.output",
             "logits", "generated_ids", "step.*.text.rope.*", "step.*.logits"]  # fmt: skip
WINDOW_TAPS = ["attention_mask", "position_ids", "text.layers.0.attn.[qkv]", "text.layers.*.attn.scores",
               "text.layers.*.attn.probs", "text.layers.*.attn.context", "text.layers.*.output", "logits"]  # fmt: skip
WINDOW_STEP_TAPS = ["generated_ids", "step.*.attn.scores", "step.*.attn.probs", "step.*.output", "step.*.logits"]
PADDED_WINDOW_TAPS = ["attention_mask", "position_ids", "text.layers.*.attn.probs", "text.layers.*.output", "logits"]
# One tower layer and little else but heads of width 16: pairs enough for a ramp between some of them.
SMALL_VISION = dict(hidden_size=10, intermediate_size=11, num_hidden_layers=1)
LONG = dict(hidden_size=14, intermediate_size=12, num_attention_heads=2, num_key_value_heads=1, head_dim=16,
            max_position_embeddings=32)  # fmt: skip
PADDED_PAIR = [[1, PICTURE, 5], [4]]


def rope_case(name, about, parameters, theta=100.0, **changes):
    """A rotary type beyond its original context: 20 positions, then a few decoded ones."""
    text = LONG | changes.pop("text", {}) | dict(rope_parameters=dict(rope_theta=theta) | parameters)
    changes = dict(layout=[[6, PICTURE, 9]], generate=3, taps=ROPE_TAPS, store="bf16") | changes
    return Case(name, about, vision=SMALL_VISION, top=dict(vision_feature_layer=-1), text=text, **changes)


def window_case(name, about, family, text, **changes):
    taps = WINDOW_TAPS if changes["layout"] is not PADDED_PAIR else PADDED_WINDOW_TAPS
    changes = dict(taps=taps + (WINDOW_STEP_TAPS if "generate" in changes else []), store="bf16") | changes
    text = dict(intermediate_size=14) | text
    return Case(name, about, family=family, vision=SMALL_VISION, top=dict(vision_feature_layer=-1), text=text,
                **changes)  # fmt: skip


def cases():
    one = [[2, PICTURE, 4]]
    three = [[2, PICTURE, 6], [1, PICTURE, 2], [4, PICTURE, 1]]
    return [
        Case("plain", "LLaVA-1.5 in small, nothing special; also in float32, bfloat16 and float16",
             vision=dict(image_size=12), layout=[[3, PICTURE, 5]], forms=("true", "hf", "f32", "bf16", "f16")),
        Case("odd-sizes", "no width, head, picture or patch count is a round number; 2 pixels left over at the edge",
             vision=dict(hidden_size=33, intermediate_size=37, num_attention_heads=3, image_size=17, patch_size=5,
                         hidden_act="gelu", layer_norm_eps=1e-6),
             text=SHALLOW | dict(vocab_size=67, hidden_size=30, intermediate_size=41, num_attention_heads=5,
                                 rms_norm_eps=1e-6, rope_parameters={"rope_type": "default", "rope_theta": 500000.0}),
             layout=one),
        Case("one-layer", "one tower layer, its output chosen; one text layer",
             vision=dict(num_hidden_layers=1), text=dict(num_hidden_layers=1),
             top=dict(vision_feature_layer=-1), layout=one),
        Case("grouped-heads", "six query heads share two key heads; head width 4 is not hidden / heads; biases",
             text=SHALLOW | dict(hidden_size=18, num_attention_heads=6, num_key_value_heads=2, head_dim=4,
                                 attention_bias=True, mlp_bias=True), layout=one),
        Case("full-strategy", "the class row is kept; the feature layer counts from the front",
             vision=dict(num_hidden_layers=3), text=SHALLOW,
             top=dict(vision_feature_select_strategy="full", vision_feature_layer=2), layout=one),
        Case("feature-layers", "three hidden states side by side, out of order, one of them the tower's first",
             vision=dict(num_hidden_layers=3), text=SHALLOW, top=dict(vision_feature_layer=[-2, 3, -4]), layout=one),
        Case("no-projector-bias", "projector without biases and with the tanh form of GELU",
             text=SHALLOW, top=dict(multimodal_projector_bias=False, projector_hidden_act="gelu_pytorch_tanh"),
             layout=one),
        Case("tied", "the head is the token table", top=dict(tie_word_embeddings=True),
             text=SHALLOW | dict(tie_word_embeddings=True), layout=one),
        Case("stored-f64", "weights stored as float64", store="f64", text=SHALLOW, layout=one),
        Case("stored-bf16", "weights stored as bfloat16; names as in the released files", store="bf16",
             text=SHALLOW, spelling="released", layout=one),
        Case("stored-f16", "weights stored as float16; names as transformers has them in memory", store="f16",
             text=SHALLOW, spelling="memory", layout=one),
        Case("sharded", "weights in several files with an index", shard_size="20KB", text=SHALLOW, layout=one),
        Case("batch-left", "three samples padded on the left; hf: padded samples are NaN (docs: golden/README.md)",
             layout=three, pad="left"),
        Case("batch-right", "three samples padded on the right, with labels", layout=three, labels=True,
             text=SHALLOW),
        Case("several-pictures", "two pictures in the first prompt, one in the second",
             layout=[[2, PICTURE, 2, PICTURE, 1], [9, PICTURE, 4]], text=SHALLOW),
        Case("text-only", "no picture", layout=[[11]]),
        Case("placeholders-only", "image tokens without pixels keep their own embeddings", layout=one, pixels=False,
             text=SHALLOW),
        Case("labels", "the loss of one sample", layout=one, labels=True, text=SHALLOW),
        rope_case("rope-linear", "linear rotary scaling, in the old spelling", old_rope=True,
                  parameters=dict(rope_type="linear", factor=3.0), forms=("true",)),
        rope_case("rope-dynamic", "a rotary base that grows with the context, from the 16th position on",
                  parameters=dict(rope_type="dynamic", factor=2.5), text=dict(max_position_embeddings=16), forms=("true",)),
        rope_case("rope-dynamic-grows", "the same where the context outgrows it while decoding",
                  parameters=dict(rope_type="dynamic", factor=4.0), text=dict(max_position_embeddings=22), generate=5),
        rope_case("rope-llama3", "the rotary type of Llama 3.1, in the old spelling", old_rope=True, theta=500.0,
                  parameters=dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                                  original_max_position_embeddings=16)),
        rope_case("rope-yarn", "yarn with its defaults: cos and sin times 0.1 ln(4) + 1", theta=1000.0,
                  parameters=dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=128),
                  text=dict(max_position_embeddings=512), forms=("true",)),
        rope_case("rope-yarn-mscale", "yarn with its own bounds, not truncated, and mscale", theta=1000.0,
                  parameters=dict(rope_type="yarn", factor=6.0, original_max_position_embeddings=16, beta_fast=3.0,
                                  beta_slow=0.25, mscale=1.4, mscale_all_dim=0.7, truncate=False)),
        rope_case("rope-yarn-given", "yarn, the factor of cos and sin given", theta=1000.0,
                  parameters=dict(rope_type="yarn", factor=2.0, original_max_position_embeddings=16, beta_fast=2,
                                  attention_factor=1.25), forms=("true",)),
        rope_case("rope-longrope", "longrope beyond its original context: the long factors",
                  parameters=dict(rope_type="longrope", original_max_position_embeddings=8,
                                  short_factor=[1.0, 1.0, 1.1, 1.2, 1.3, 1.5, 1.7, 2.0],
                                  long_factor=[1.0, 1.3, 1.9, 2.6, 3.5, 4.1, 5.0, 6.3]), forms=("true",)),
        rope_case("rope-longrope-grows", "longrope: short factors in the prompt, long ones while decoding",
                  parameters=dict(rope_type="longrope", original_max_position_embeddings=22, factor=3.0,
                                  short_factor=[1.0, 1.0, 1.1, 1.2, 1.3, 1.5, 1.7, 2.0],
                                  long_factor=[1.0, 1.3, 1.9, 2.6, 3.5, 4.1, 5.0, 6.3]), generate=5),
        window_case("qwen2", "Qwen2: biases of q, k and v, tied head; the later of its layers slides, with a window "
                    "shorter than the prompt", "qwen2",
                    dict(num_key_value_heads=1, tie_word_embeddings=True, use_sliding_window=True, sliding_window=5,
                         max_window_layers=1, rms_norm_eps=1e-6,
                         rope_parameters=dict(rope_type="default", rope_theta=1e6)),
                    layout=[[2, PICTURE, 5]], generate=5),
        window_case("qwen2-layers", "Qwen2: layer_types by hand, the first slides; padded on the right", "qwen2",
                    dict(use_sliding_window=True, sliding_window=4, num_key_value_heads=2,
                         layer_types=["sliding_attention", "full_attention"]), layout=PADDED_PAIR, forms=("true",)),
        window_case("qwen2-plain", "Qwen2 as in llava-interleave: no window, whatever sliding_window says", "qwen2",
                    SHALLOW | dict(num_key_value_heads=2, sliding_window=3), layout=one, forms=("true",)),
        window_case("mistral", "Mistral: every layer slides; head width 12 is not hidden / heads; decoding crosses the "
                    "window", "mistral", dict(num_key_value_heads=1, head_dim=12, sliding_window=11),
                    layout=[[2, PICTURE, 2]], generate=5),
        window_case("mistral-left", "Mistral: a window and padding on the left", "mistral",
                    dict(num_key_value_heads=2, sliding_window=4), layout=PADDED_PAIR, pad="left", forms=("true", "f32"),
                    generate=3),
        window_case("mistral-right", "Mistral: a window and padding on the right, so that padded rows see no key",
                    "mistral", SHALLOW | dict(num_key_value_heads=2, sliding_window=3), layout=PADDED_PAIR,
                    forms=("true", "f32")),
        window_case("mistral-plain", "Mistral as in Pixtral: sliding_window null", "mistral",
                    SHALLOW | dict(num_key_value_heads=1, sliding_window=None), layout=one, forms=("true",)),
        Case("inputs-embeds", "embeddings in place of ids; the picture goes where a row equals the image token's",
             layout=one, embeds=True, text=SHALLOW),
        Case("given-positions", "position_ids with jumps and repeats",
             layout=[[4, PICTURE, 2], [4, PICTURE, 2]], text=SHALLOW,
             positions=[[0, 1, 2, 3, 7] + [9] * 4 + [40, 41], list(range(5, 16))]),
        Case("mixed-left", "three samples padded on the left, the middle one without a picture",
             layout=[[2, PICTURE, 6], [5], [1, PICTURE, 2]], pad="left", text=SHALLOW, taps=FED_TAPS, forms=("true",)),
        Case("mixed-embeds", "embeddings in place of ids, padded on the right, the last without a picture",
             layout=[[2, PICTURE, 3], [1, PICTURE], [4]], embeds=True, model="../mixed-left/model", taps=FED_TAPS[1:],
             forms=("true",)),
        Case("mask-packed", "two samples of packed sequences: a mask [B,1,S,S] of blocks, positions begin again",
             model="../plain/model", layout=[[3, PICTURE, 5], [2, PICTURE, 6]], square="packed",
             positions=[list(range(6)) + list(range(9)) + list(range(3)), list(range(13)) + list(range(5))], taps=FED_TAPS, draw=1),
        Case("mask-added", "a float mask [B,1,S,S]: the causal rule, and a slope added to the scores",
             model="../plain/model", layout=[[3, PICTURE, 5]], square="added", taps=FED_TAPS),
        Case("logits-to-keep", "logits of the last three positions, two samples padded on the left",
             model="../plain/model", layout=[[3, PICTURE, 5], [1, PICTURE, 4]], pad="left", keep=3, taps=FED_TAPS, forms=("true",)),
        Case("feature-call", "hidden states and rows chosen by the call, not the configuration",
             model="../feature-layers/model", layout=one,
             call=dict(vision_feature_layer=[1, -1, 0], vision_feature_select_strategy="full"),
             taps=["pixel_values", "input_ids", "vision.layers.*.output", "vision.features", "projector.*", "logits"]),
        Case("chunked", "two prompts in chunks of nine, nine and four positions over past_key_values",
             model="../mixed-left/model", layout=[[2, PICTURE, 15], [4, PICTURE, 13]], chunk=9, taps=FED_TAPS),
        Case("generate", "thirteen greedy tokens: the prompt's pass and twelve steps", layout=one, generate=13),
        Case("generate-left-stop", "two samples padded on the left, positions from the mask; one stops early",
             layout=[[2, PICTURE, 6], [1, PICTURE, 2]], pad="left", generate=8, stop=22, forms=("true",)),
        Case("siglip", "a SigLIP tower: no class row, no norm in front, a bias in the convolution; every row kept; "
             "tower heads of odd width, two pixels left over; names as in the released files", tower="siglip",
             vision=dict(image_size=10), text=NARROW, top=FULL,
             layout=[[1, PICTURE, 1, PICTURE], [5, PICTURE, 1]], spelling="released"),
        Case("siglip-default", "a SigLIP tower that loses its first patch to `default`, the layer before the last; no "
             "pooling head; another eps", tower="siglip", forms=("true",),
             vision=dict(image_size=9, vision_use_head=False, hidden_size=16, layer_norm_eps=1e-5), text=NARROW,
             layout=one),
        Case("pixtral", "a Pixtral tower: pictures of several sizes in one call, none of them square, prompts with "
             "different numbers of them; SiLU; a loss", tower="pixtral",
             vision=dict(hidden_size=16, intermediate_size=18, image_size=32, hidden_act="silu"), text=NARROW,
             top=FULL, sizes=[(13, 8), (8, 14), (4, 5)], layout=[[1, PICTURE, 1, PICTURE], [7, PICTURE, 2]],
             labels=True),
        Case("pixtral-one", "one picture, not square, without image_sizes; a head width that two axes do not divide "
             "evenly; another base", tower="pixtral",
             vision=dict(hidden_size=20, intermediate_size=18, num_hidden_layers=1,
                         rope_parameters={"rope_type": "axial", "rope_theta": 100.0}),
             text=NARROW, top=FULL, sizes=[(9, 15)], image_sizes=False, layout=one, forms=("true",)),
        Case("pixtral-layers", "a Pixtral tower whose features are three hidden states side by side, one of them the "
             "first; two pictures, one of a single row", tower="pixtral",
             vision=dict(hidden_size=16, intermediate_size=18), text=NARROW,
             top=FULL | dict(vision_feature_layer=[-1, 1, 0]), sizes=[(8, 9), (4, 12)],
             layout=[[1, PICTURE, 1, PICTURE, 1]], forms=("true",)),
        Case("interleave", "llava-interleave in small: SigLIP and Qwen2, tied, the last layer, every row; two samples "
             "padded on the left, positions from the mask, four tokens of answer", tower="siglip", family="qwen2",
             vision=dict(image_size=9, num_hidden_layers=1, hidden_size=12, intermediate_size=14),
             text=NARROW | dict(num_attention_heads=4, num_key_value_heads=2, tie_word_embeddings=True,
                                rms_norm_eps=1e-6, rope_parameters={"rope_type": "default", "rope_theta": 1e6}),
             top=FULL | dict(tie_word_embeddings=True), layout=[[2, PICTURE, 1, PICTURE], [2, PICTURE, 2]],
             pad="left", generate=4, forms=("true",)),
        Case("pixtral-12b", "Pixtral 12B in small: Pixtral and Mistral without a window, heads wider than hidden / "
             "heads, a token behind each row of a picture; two samples padded on the left, four tokens of answer",
             tower="pixtral", family="mistral",
             vision=dict(image_size=32, num_hidden_layers=1, hidden_size=12, intermediate_size=14,
                         num_attention_heads=1, hidden_act="silu"),
             text=NARROW | dict(hidden_size=12, num_attention_heads=4, num_key_value_heads=2, head_dim=6,
                                sliding_window=None, rope_parameters={"rope_type": "default", "rope_theta": 1e9}),
             top=FULL, sizes=[(9, 12), (4, 8), (8, 5)], breaks=True,
             layout=[[1, PICTURE, 1, PICTURE, 2], [2, PICTURE, 1]], pad="left", generate=4, forms=("true",)),
        picture_case("picture-prompt", "a picture and a prompt through the processor",
                     pictures={"p.png": png(scene(43, 61), 2)},
                     prompt="USER: <image>\nWhat is it? ASSISTANT:", processor_kind="clip"),
        picture_case("picture-chat", "a picture in a conversation, six tokens of answer",
                     pictures={"p.png": png(scene(58, 37), 2)}, chat="What is it, héé? 😊", generate=6,
                     forms=("true",), draw=1),
        picture_case("messages-qwen2", "a byte-level tokenizer and ChatML: a system message, three turns, two pictures, "
                     "one of them named in the file", family="qwen2", words="qwen2", store="bf16",
                     pictures={"a.png": png(scene(17, 26), 2), "b.png": png(scene(24, 15), 2)},
                     messages=[
                         {"role": "system", "content": [{"type": "text", "text": "Be brief; it's 2024."}]},
                         {"role": "user", "content": [
                             {"type": "text", "text": "What's different, héé? 😊\r\n\r\n12345 \u1100\u1161"},
                             {"type": "image"}, {"type": "image", "path": "b.png"}]},
                         {"role": "assistant", "content": [{"type": "text", "text": "Nothing  at all."}]},
                         {"role": "user", "content": [{"type": "text", "text": "Why?"}]}],
                     text=SHALLOW | dict(vocab_size=448, hidden_size=16, intermediate_size=18, num_key_value_heads=1,
                                         tie_word_embeddings=True),
                     top=dict(tie_word_embeddings=True), generate=4, forms=("true",),
                     taps=["pixel_values", "input_ids", "attention_mask", "text.norm", "generated_ids", "step.*.logits"]),
        picture_case("messages-llama3", "a byte-level tokenizer and Llama-3's format, which prints the first token "
                     "itself; contents are texts", words="llama-3",
                     pictures={"a.png": png(scene(17, 26), 2)},
                     messages=[{"role": "system", "content": " Be brief. "},
                               {"role": "user", "content": "<image>\nWhat is it?\n1234567"}],
                     text=SHALLOW | dict(vocab_size=448, hidden_size=16), taps=IMAGE_TAPS),
        picture_case("picture-pad", "pictures padded to a square first: wide, tall, already square",
                     pictures={"wide.png": png(scene(30, 71), 2), "tall.png": png(scene(44, 23), 2),
                               "square.png": png(scene(33, 33), 2)},
                     processor=dict(do_pad=True), taps=IMAGE_TAPS, prompt="<image> <image><image>"),
        picture_case("picture-modes", "every kind of PNG, and sizes from tiny to narrow",
                     pictures=every_mode(), prompt="<image>" * len(every_mode()), taps=IMAGE_TAPS),
        picture_case("picture-short-edge", "the crop is larger than the resized picture: zeros around it",
                     pictures={"wide.png": png(scene(30, 71), 2), "tall.png": png(scene(44, 23), 2)},
                     processor=dict(size={"shortest_edge": 16}), taps=IMAGE_TAPS, prompt="<image><image>"),
        picture_case("picture-stretch", "resized to a given height and width without regard to its shape",
                     pictures={"wide.png": png(scene(30, 71), 2)}, processor_kind="clip",
                     processor=dict(size={"height": 21, "width": 21}, do_center_crop=False),
                     taps=IMAGE_TAPS, prompt="<image>"),
        picture_case("picture-jpeg", "every kind of JPEG, one of them turned; padded to a square first",
                     pictures=every_jpeg(), processor=dict(do_pad=True), taps=IMAGE_TAPS,
                     prompt="<image>" * len(every_jpeg())),
        picture_case("picture-siglip", "a JPEG and a PNG through SigLIP's processor and tower: both edges to the "
                     "size, no crop, no class token", tower="siglip", processor_kind="siglip",
                     pictures={"wide.jpg": jpeg(30, 52), "tall.png": png(scene(41, 23), 2)},
                     processor=dict(size={"height": 21, "width": 21}), replace=True, forms=("true",), top=FULL, store="bf16",
                     taps=MODEL_TAPS, prompt="USER: <image>\n<image>\nWhat is it? ASSISTANT:"),
        picture_case("picture-pixtral", "three pictures of different sizes through Pixtral's processor and tower: rows "
                     "of patches with breaks between them, one turned JPEG, one that is not resized", tower="pixtral",
                     processor_kind="pixtral",
                     pictures={"wide.jpg": jpeg(20, 52), "turned.jpg": jpeg(20, 41, turn=8),
                               "as-it-is.png": png(scene(12, 18), 2)},
                     processor=dict(size={"longest_edge": 26}, patch_size={"height": 6, "width": 6}), replace=True,
                     vision=dict(image_size=48, patch_size=6, hidden_size=16, intermediate_size=18), forms=("true",), store="bf16",
                     top=FULL, taps=MODEL_TAPS, prompt="USER: [IMG][IMG] What is it? [IMG] ASSISTANT:"),
        demo_case("demo-chat", "the demo model on a picture, asked in a conversation",
                  "0-red-triangle-red-triangle-yellow-square.png", DEMO_MORE, chat="What is in the picture?"),
        demo_case("demo-alpha", "the demo model on a picture with transparency, prompted",
                  "1-green-triangle-green-cross.png", prompt="USER: <image>\nHow many crosses? ASSISTANT:"),
        demo_case("demo-palette", "the demo model on a picture with a palette, prompted",
                  "3-purple-circle.png", prompt="USER: <image>\nWhat colour is the circle? ASSISTANT:"),
        demo_case("demo-text", "the demo model without a picture",
                  chat="What is in the picture?", taps=DEMO_TEXT_TAPS, forms=("true",)),
    ]  # fmt: skip
