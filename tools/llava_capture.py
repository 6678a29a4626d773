"""Captures what a PyTorch model computes, under the tap names of llava-ref. One file to copy.

    from llava_capture import capture
    with capture(model, "port.npz"):
        model(**inputs)                        # or model.generate(**inputs, max_new_tokens=20)

    llava-ref diagnose --model MODEL --inputs inputs.npz --dump port.npz

Transformers' LLaVA models (CLIP, SigLIP or Pixtral tower; Llama, Mistral or Qwen2 language model) get the
contract's names at once. Queries, keys, values, rotary embeddings and the attention's context are always
seen; its scores and probabilities only with attn_implementation="eager", because other implementations
never form them. The steps of a generation are `step.1.*`, `step.2.*`, ... Any other module tree gets
the paths of its modules ("layers.0.mlp"), for `--map`.

Hooks only look: the model's results are the same bits with and without. bfloat16, which NumPy does not
have, is written as the float32 of the same value. Other frameworks use the writer alone:

    from llava_capture import save
    save("port.npz", {"vision.pre_norm": array, ...})

NumPy is all that is needed to import this; torch is imported by the hooks.
"""

import fnmatch
import inspect
import io
import json
import os
import shutil
import sys
import warnings
import zipfile
from contextlib import ExitStack, contextmanager

import numpy as np

# --- dump files ----------------------------------------------------------------------------------


def to_numpy(x):
    """A tensor of torch, JAX, MLX or NumPy as an array of a type that dump files know."""
    if hasattr(x, "detach"):  # torch
        x = x.detach()
        x = (x.float() if str(x.dtype) == "torch.bfloat16" else x).cpu().numpy()
    x = np.asarray(x)
    if x.dtype.name == "bfloat16":
        x = x.astype(np.float32)
    return np.array(x, order="C")


class Writer:
    """A dump: an .npz archive, or a folder of .npy files where the path ends in "/". It is built beside
    its place and moved there by close(), so that a broken run leaves nothing half written."""

    def __init__(self, path, meta=None):
        self.names = set()
        self.folder = path.endswith("/")
        self.path = path.rstrip("/") if self.folder else path
        if self.folder and os.path.isdir(self.path) and os.listdir(self.path):
            raise FileExistsError(f"{path}: the folder is not empty")
        self.part = f"{self.path}.part{os.getpid()}"
        if self.folder:
            os.makedirs(self.part)
        else:
            self.archive = zipfile.ZipFile(self.part, "w", zipfile.ZIP_STORED, allowZip64=True)
        if meta is not None:
            self.put("__meta__", np.frombuffer(json.dumps(meta).encode(), np.uint8))

    def put(self, name, x):
        """Writes one tensor. A name has its place once."""
        if name in self.names:
            raise ValueError(f"{self.path}: {name} is written twice")
        if not name or name.startswith(".") or any(c in '/\\"' or not c.isprintable() for c in name):
            raise ValueError(f"{self.path}: {name!r} is no name of a tensor")
        self.names.add(name)
        x = to_numpy(x)
        if self.folder:
            np.save(os.path.join(self.part, name + ".npy"), x, allow_pickle=False)
            return
        with self.archive.open(zipfile.ZipInfo(name + ".npy"), "w", force_zip64=x.nbytes > 1 << 30) as member:
            if x.flags.c_contiguous and x.nbytes < 1 << 20:
                whole = io.BytesIO()  # one write, where NumPy makes several
                np.lib.format.write_array(whole, x, allow_pickle=False)
                member.write(whole.getbuffer())
            else:
                np.lib.format.write_array(member, x, allow_pickle=False)

    def close(self):
        if self.folder:
            if os.path.isdir(self.path):
                os.rmdir(self.path)  # empty: looked at when opened
        else:
            self.archive.close()
        os.replace(self.part, self.path)

    def abort(self):
        if self.folder:
            shutil.rmtree(self.part, ignore_errors=True)
        else:
            self.archive.close()
            os.remove(self.part)


def save(path, tensors, meta=None):
    """Writes {name: tensor} as a dump."""
    writer = Writer(path, meta)
    try:
        for name, x in tensors.items():
            writer.put(name, x)
    except BaseException:
        writer.abort()
        raise
    writer.close()


# --- what is recorded ----------------------------------------------------------------------------


class Recorder:
    """Gives tensors to a writer under their names. put() may also be called by hand inside the block:
    `with capture(...) as recorder: recorder.put("image.resized", picture)`."""

    def __init__(self, writer, taps):
        self.writer = writer
        self.globs = taps.split(",") if isinstance(taps, str) else taps
        self.prefix = ""  # "step.3." in a step of a generation
        self.muted = False

    def wants(self, name):
        return not self.muted and (
            self.globs is None or any(fnmatch.fnmatchcase(self.prefix + name, glob) for glob in self.globs)
        )

    def put(self, name, x):
        if not self.wants(name):
            return
        name = self.prefix + name
        if name in self.writer.names:
            raise ValueError(f"{name} is computed twice in one pass; capture one pass per file")
        self.writer.put(name, x)


def first(output):
    """A module's result where it may be a tuple."""
    return output[0] if isinstance(output, tuple) else output


class Hooks:
    """Forward hooks that come off together."""

    def __init__(self):
        self.stack = ExitStack()

    def after(self, module, look):
        """look(arguments, kwargs, output) behind each call."""
        handle = module.register_forward_hook(lambda _, a, k, output: look(a, k, output), with_kwargs=True)
        self.stack.callback(handle.remove)

    def before(self, module, look):
        """look(arguments, kwargs) in front of each call."""
        handle = module.register_forward_pre_hook(lambda _, a, k: look(a, k), with_kwargs=True)
        self.stack.callback(handle.remove)


# --- transformers' LLaVA -------------------------------------------------------------------------

# (module in a layer, its input or output, tap of that layer)
CLIP_LAYER = [
    ("layer_norm1", "out", "norm1"),
    ("self_attn.q_proj", "heads", "attn.q"),
    ("self_attn.k_proj", "heads", "attn.k"),
    ("self_attn.v_proj", "heads", "attn.v"),
    ("self_attn.out_proj", "out", "attn.out"),
    ("layer_norm2", "in", "resid1"),
    ("layer_norm2", "out", "norm2"),
    ("mlp.fc1", "out", "mlp.fc1"),
    ("mlp.fc2", "in", "mlp.act"),
    ("mlp.fc2", "out", "mlp.out"),
    ("", "out", "output"),
]


def gated_layer(norm1, attention, norm2, mlp):
    """A Llama layer; Pixtral's has other words for the same."""
    return [
        (norm1, "out", "norm1"),
        (f"{attention}.q_proj", "heads", "attn.q"),
        (f"{attention}.k_proj", "heads", "attn.k"),
        (f"{attention}.v_proj", "heads", "attn.v"),
        (f"{attention}.o_proj", "out", "attn.out"),
        (norm2, "in", "resid1"),
        (norm2, "out", "norm2"),
        (f"{mlp}.gate_proj", "out", "mlp.gate"),
        (f"{mlp}.up_proj", "out", "mlp.up"),
        (f"{mlp}.down_proj", "in", "mlp.act"),
        (f"{mlp}.down_proj", "out", "mlp.out"),
        ("", "out", "output"),
    ]


PIXTRAL_LAYER = gated_layer("attention_norm", "attention", "ffn_norm", "feed_forward")
LLAMA_LAYER = gated_layer("input_layernorm", "self_attn", "post_attention_layernorm", "mlp")


def find(model, *paths):
    """The first of the paths that the module tree has, or None: releases moved things about."""
    for path in paths:
        module = model
        for part in path.split(".") if path else ():
            module = getattr(module, part, None)
            if module is None:
                break
        else:
            return module
    return None


class Llava:
    """Every tap of the contract that transformers' modules show."""

    def __init__(self, model, recorder):
        self.model, self.recorder, self.hooks = model, recorder, Hooks()
        self.tower = find(model, "model.vision_tower", "vision_tower")
        self.tower = find(self.tower, "vision_model", "") if self.tower is not None else None
        self.projector = find(model, "model.multi_modal_projector", "multi_modal_projector")
        self.language = find(model, "model.language_model", "language_model.model", "language_model")
        self.head = find(model, "lm_head", "language_model.lm_head")
        self.found = None not in (self.tower, self.projector, self.language)
        self.prefixes = {}  # id of an attention module -> "text.layers.3.attn"
        self.inside = None  # the attention module that runs, until its queries and keys are rotated
        self.started = self.generating = False
        self.step = self.batch = 0
        self.last_norm = None

    def install(self):
        self.passes()
        self.vision()
        self.text()
        self.attention()
        self.generate()

    # Taps that are a module's input or output.

    def tap(self, module, which, name, width=None):
        def put(x):
            self.recorder.put(name, x.unflatten(-1, (-1, width)) if which == "heads" else x)

        if module is None:
            return
        if which == "in":
            self.hooks.before(module, lambda a, k: put(a[0] if a else next(iter(k.values()))))
        else:
            self.hooks.after(module, lambda a, k, output: put(first(output)))

    def layer(self, layer, table, name):
        attention = find(layer, "self_attn", "attention")
        self.prefixes[id(attention)] = f"{name}.attn"
        for path, which, tap in table:
            self.tap(find(layer, path), which, f"{name}.{tap}", getattr(attention, "head_dim", None))

    def vision(self):
        tower, put = self.tower, self.recorder.put
        pixtral = hasattr(tower, "ln_pre")
        if pixtral:
            for name in ("vision.patch_embed", "vision.embed"):  # flattened pictures, one behind the other
                self.tap(tower.ln_pre, "in", name)
            self.tap(tower.ln_pre, "out", "vision.pre_norm")

            def rotary(a, k, output):
                put("vision.rope.cos", output[0])
                put("vision.rope.sin", output[1])

            self.hooks.after(tower.patch_positional_embedding, rotary)
        else:
            patches = find(tower, "embeddings.patch_embedding")
            if patches is not None:
                self.hooks.after(patches, lambda a, k, x: put("vision.patch_embed", x.flatten(2).transpose(1, 2)))
            self.tap(find(tower, "embeddings"), "out", "vision.embed")
            self.tap(find(tower, "pre_layrnorm"), "out", "vision.pre_norm")
        layers = find(tower, "encoder.layers", "transformer.layers")
        for i, layer in enumerate(layers[: self.layers_needed(len(layers))]):
            self.layer(layer, PIXTRAL_LAYER if pixtral else CLIP_LAYER, f"vision.layers.{i}")
        self.tap(self.projector, "in", "vision.features")
        self.tap(find(self.projector, "linear_1"), "out", "projector.fc1")
        self.tap(find(self.projector, "linear_2"), "in", "projector.act")
        self.tap(find(self.projector, "linear_2"), "out", "projector.out")

    def layers_needed(self, count):
        """Tower layers up to the last chosen hidden state; what lies behind changes nothing."""
        chosen = getattr(self.model.config, "vision_feature_layer", -1)
        chosen = [chosen] if isinstance(chosen, int) else chosen
        return max(c if c >= 0 else count + 1 + c for c in chosen)

    def text(self):
        language, put = self.language, self.recorder.put

        def embedded(a, k, output):
            if output.dim() == 3:  # not the image token's row alone, which transformers may look up as well
                put("text.embed", output)

        def merged(a, k):
            x = k.get("inputs_embeds")
            if x is not None:
                self.batch = x.shape[0]
                put("text.inputs_embeds", x)

        def rotary(a, k, output):
            positions = k.get("position_ids", a[1] if len(a) > 1 else None)
            batch = max(self.batch, output[0].shape[0])
            if positions is not None:
                put("position_ids", positions.expand(batch, -1))
            for name, table in zip(("cos", "sin"), output):
                put(f"text.rope.{name}", table.expand(batch, -1, -1))

        def normed(a, k, output):
            self.last_norm = output

        def logits(a, k, output):
            if self.generating and not self.step and self.recorder.wants("logits"):
                rows = self.last_norm
                if rows is not None and rows.shape[1] != output.shape[1]:
                    output = self.head.forward(rows)  # generate() asks for the last row only; a dump has all
            put("logits", output)

        self.hooks.after(language.embed_tokens, embedded)
        self.hooks.before(language, merged)
        if find(language, "rotary_emb") is not None:
            self.hooks.after(language.rotary_emb, rotary)
        for i, layer in enumerate(language.layers):
            self.layer(layer, LLAMA_LAYER, f"text.layers.{i}")
        self.tap(language.norm, "out", "text.norm")
        self.hooks.after(language.norm, normed)
        if self.head is not None:
            self.hooks.after(self.head, logits)

    # Inside attention: the functions that transformers' attention classes call.

    def attention(self):
        """Stands in front of the rotation and the eager functions, which are globals of the modelling
        files, and of the others, which are in transformers' registry."""
        modules = [m for m in self.model.modules() if id(m) in self.prefixes]
        for module in modules:
            self.hooks.before(module, lambda a, k, m=module: setattr(self, "inside", m))
        for name in {type(m).__module__ for m in modules}:
            self.replace(sys.modules[name], "eager_attention_forward", self.observer)
            self.replace(sys.modules[name], "apply_rotary_pos_emb", self.rotation)
        registry = getattr(sys.modules.get("transformers.modeling_utils"), "ALL_ATTENTION_FUNCTIONS", {})
        for kind in {getattr(m.config, "_attn_implementation", None) for m in modules}:
            if kind in registry:
                original = registry[kind]
                registry[kind] = self.observer(original)
                self.hooks.stack.callback(registry.__setitem__, kind, original)

    def replace(self, file, name, around):
        original = getattr(file, name, None)
        if original is not None:
            setattr(file, name, around(original))
            self.hooks.stack.callback(setattr, file, name, original)

    def rotation(self, original):
        """The rotated keys before they go to the cache, which may round them."""

        def rotate(*arguments, **kwargs):
            query, key = result = original(*arguments, **kwargs)
            if self.inside is not None:
                self.rotated(self.prefixes[id(self.inside)], query, key)
            self.inside = None
            return result

        return rotate

    def rotated(self, name, query, key):
        self.recorder.put(f"{name}.q_rope", query.transpose(1, 2))
        self.recorder.put(f"{name}.k_rope", key.transpose(1, 2))

    def observer(self, original):
        def attend(module, query, key, value, *arguments, **kwargs):
            context, probs = result = original(module, query, key, value, *arguments, **kwargs)
            name = self.prefixes.get(id(module))
            if name is not None and not self.recorder.muted:
                self.attended(name, module, query, key, kwargs, context, probs)
            return result

        return attend

    def attended(self, name, module, query, key, kwargs, context, probs):
        put = self.recorder.put
        if self.inside is not None and (name.startswith("text") or hasattr(self.tower, "ln_pre")):
            self.rotated(name, query, key[:, :, -query.shape[2] :])  # the last ones: behind the cached
        if probs is not None:
            if self.recorder.wants(f"{name}.scores"):
                # What the eager function has just computed and not returned, by the same operations.
                groups = getattr(module, "num_key_value_groups", 1)
                if groups != 1:
                    key = sys.modules[type(module).__module__].repeat_kv(key, groups)
                put(f"{name}.scores", (query @ key.transpose(2, 3)) * kwargs["scaling"])
            put(f"{name}.probs", probs)
        put(f"{name}.context", context.flatten(2))

    # Passes, inputs, results.

    def passes(self):
        """Tells the prefill from the steps, which find keys in the cache, and from further passes."""
        parameters = inspect.signature(self.model.forward)

        def begin(a, k):
            given = parameters.bind_partial(*a, **k).arguments
            cache = given.get("past_key_values")
            past = cache.get_seq_length() if hasattr(cache, "get_seq_length") else int(cache is not None)
            rows = given.get("inputs_embeds") if given.get("input_ids") is None else given["input_ids"]
            if not self.started:
                self.started = True
                self.inputs(given, rows)
            elif past and rows is not None and rows.shape[1] == 1:
                self.step += 1
                self.recorder.prefix = f"step.{self.step}."
            else:
                self.recorder.muted = True
                warnings.warn("llava_capture: only the first pass and its steps are recorded", stacklevel=2)

        def end(a, k, output):
            if getattr(output, "loss", None) is not None:
                self.recorder.put("loss", output.loss)
            self.recorder.muted = False

        self.hooks.before(self.model, begin)
        self.hooks.after(self.model, end)

    def inputs(self, given, rows):
        put, mask = self.recorder.put, given.get("attention_mask")
        if given.get("input_ids") is not None:
            put("input_ids", given["input_ids"])
        elif rows is not None:
            put("text.embed", rows)
        if rows is not None and (mask is None or mask.dim() == 2):
            put("attention_mask", np.ones(rows.shape[:2], np.int64) if mask is None else mask.long())
        self.pixels(given)

    def pixels(self, given):
        """generate() may run the tower itself, before the model's first pass."""
        if given.get("pixel_values") is not None and "pixel_values" not in self.recorder.writer.names:
            self.recorder.put("pixel_values", given["pixel_values"])

    def generate(self):
        """The new tokens, and that a pass of this model is part of a generation."""
        original = getattr(self.model, "generate", None)
        if original is None:
            return

        def generate(*arguments, **kwargs):
            if self.started:
                raise ValueError("llava_capture: something was captured already; one generation per file")
            self.generating = True
            self.pixels(kwargs)
            output = original(*arguments, **kwargs)
            self.generating, self.recorder.prefix = False, ""
            ids = kwargs.get("input_ids", kwargs.get("inputs", arguments[0] if arguments else None))
            sequences = getattr(output, "sequences", output)
            self.recorder.put("generated_ids", sequences[:, 0 if ids is None else ids.shape[1] :])
            return output

        self.model.generate = generate
        self.hooks.stack.callback(delattr, self.model, "generate")


# --- any other module tree -----------------------------------------------------------------------


class Modules:
    """Every module's output under its path; the second call's is `PATH#1`, and so on. Where a module
    returns several tensors: `PATH.0`, `PATH.1`, or `PATH.KEY`. With inputs, `PATH.in` as well."""

    def __init__(self, model, recorder, inputs):
        self.model, self.recorder, self.inputs, self.hooks = model, recorder, inputs, Hooks()

    def install(self):
        for path, module in self.model.named_modules():
            self.watch(path or "model", module)

    def watch(self, path, module):
        calls = [0]

        def before(a, k):
            calls[0] += 1
            if self.inputs:
                self.put(f"{path}.in", a if len(a) != 1 else a[0], calls[0])

        self.hooks.before(module, before)
        self.hooks.after(module, lambda a, k, output: self.put(path, output, calls[0]))

    def put(self, name, x, call):
        if hasattr(x, "detach"):
            name = name if call == 1 else f"{name}#{call - 1}"
            if self.recorder.wants(name):
                self.recorder.put(name, x)
        elif isinstance(x, dict):
            for key, part in x.items():
                self.put(f"{name}.{key}", part, call)
        elif isinstance(x, (tuple, list)):
            for i, part in enumerate(x):
                self.put(f"{name}.{i}", part, call)


@contextmanager
def capture(model, path, taps=None, meta=None, raw=None, inputs=False):
    """Records what `model` computes inside the block into `path` (.npz, or a folder where it ends in "/").

    taps: only the matching ones: globs, a list or separated by commas, as --taps of `llava-ref run`.
    meta: a dict for the member __meta__ (contract, section 3), or none.
    raw: True for module paths also where the model is one of transformers' LLaVAs.
    inputs: with module paths, modules' inputs as well.
    """
    writer = Writer(str(path), meta)
    recorder = Recorder(writer, taps)
    watcher = Llava(model, recorder)
    if raw or (raw is None and not watcher.found):
        watcher = Modules(model, recorder, inputs)
    elif not watcher.found:
        writer.abort()
        raise ValueError("this is none of transformers' LLaVA models; leave out raw=False")
    try:
        with watcher.hooks.stack:
            watcher.install()
            yield recorder
        if not writer.names - {"__meta__"}:
            raise ValueError(f"{path}: nothing was captured")
    except BaseException:
        writer.abort()
        raise
    writer.close()
