"""llama.cpp's side of bench_peers.py: the same model as its .gguf files, and one timed process.

    python tools/bench_peers.py --llama-cpp llama.cpp --library build/bin

--llama-cpp is its source folder (headers and gguf-py are read), --library that of libllama.so and libmtmd.so,
built as docs/ports/llama.cpp.md says. bfloat16 and float16 keep the matrices in that type, vectors in float32,
as its converters do. Everything else is at llama.cpp's defaults (flash attention where it likes, float16 keys
and values), which are its fastest; one thread.
"""

import argparse
import ctypes
import json
import mmap
import multiprocessing
import os
import re
import sys
import time

import numpy as np

from capture_llama_cpp import Headers, Library, Run

PROMPT = "<image>"

TEXT_NAMES = {
    "input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
}  # fmt: skip
TOWER_NAMES = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.out_proj": "attn_out", "layer_norm1": "ln1", "layer_norm2": "ln2", "mlp.fc1": "ffn_down",
    "mlp.fc2": "ffn_up",
}  # fmt: skip
OTHER_NAMES = {
    "language_model.model.embed_tokens.weight": "token_embd.weight",
    "language_model.model.norm.weight": "output_norm.weight",
    "language_model.lm_head.weight": "output.weight",
    "vision_tower.embeddings.class_embedding": "v.class_embd",
    "vision_tower.embeddings.patch_embedding.weight": "v.patch_embd.weight",
    "vision_tower.embeddings.position_embedding.weight": "v.position_embd.weight",
    "vision_tower.pre_layrnorm.weight": "v.pre_ln.weight",
    "vision_tower.pre_layrnorm.bias": "v.pre_ln.bias",
    "multi_modal_projector.linear_1.weight": "mm.0.weight",
    "multi_modal_projector.linear_1.bias": "mm.0.bias",
    "multi_modal_projector.linear_2.weight": "mm.2.weight",
    "multi_modal_projector.linear_2.bias": "mm.2.bias",
}


# ---- the model -----------------------------------------------------------------------------------

def gguf_name(name, tower_layers):
    """llama.cpp's name of a tensor of the checkpoint; None: it has no use for it."""
    layer = re.fullmatch(r"language_model\.model\.layers\.(\d+)\.(.*)\.weight", name)
    if layer:
        return f"blk.{layer[1]}.{TEXT_NAMES[layer[2]]}.weight"
    layer = re.fullmatch(r"vision_tower\.encoder\.layers\.(\d+)\.(.*)\.(weight|bias)", name)
    if layer:
        kept = int(layer[1]) < tower_layers
        return f"v.blk.{layer[1]}.{TOWER_NAMES[layer[2]]}.{layer[3]}" if kept else None
    return OTHER_NAMES.get(name)


def paired(x, heads):
    """The rows of a q or k matrix as llama.cpp's rotation of neighbours wants them: [h, 2, d/2] -> [h, d/2, 2]."""
    return x.reshape(heads, 2, -1, x.shape[1]).swapaxes(1, 2).reshape(x.shape)


def read_anew(path):
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        with mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ, flags=mmap.MAP_PRIVATE) as mapped:
            mapped.madvise(mmap.MADV_HUGEPAGE)
            for at in range(0, len(mapped), mmap.PAGESIZE):
                mapped[at]


def settle(path):
    """Has the file read anew from the disk. What was written in small pieces lies in small pages in the page cache
    until then, and a program that maps it pays for that: a step that reads all weights up to twice the time. In a
    process of its own: the system counts what it maps as memory of every process that is begun after it."""
    process = multiprocessing.get_context("fork").Process(target=read_anew, args=(path,))
    process.start()
    process.join()
    if process.exitcode != 0:
        sys.exit(f"{path}: cannot be read")


def write_model(folder, source, dtype):
    """Writes folder/text.DTYPE.gguf and folder/mmproj.DTYPE.gguf of folder/model, unless they are there."""
    paths = [folder / f"{part}.{dtype}.gguf" for part in ("text", "mmproj")]
    if all(path.exists() for path in paths):
        return
    sys.path.insert(0, str(source / "gguf-py"))
    import gguf
    from safetensors import safe_open

    config = json.loads((folder / "model/config.json").read_text())
    text, tower = config["text_config"], config["vision_config"]
    tower_layers = tower["num_hidden_layers"] + 1 + config["vision_feature_layer"]
    kind = gguf.GGMLQuantizationType[{"float32": "F32", "bfloat16": "BF16", "float16": "F16"}[dtype]]
    writers = [gguf.GGUFWriter(None, "llama"), gguf.GGUFWriter(None, "clip")]
    describe_text(writers[0], text)
    describe_tower(writers[1], tower, tower_layers, text["hidden_size"])
    heads = {"attn_q": text["num_attention_heads"], "attn_k": text["num_key_value_heads"]}
    with safe_open(folder / "model/model.safetensors", "pt") as file:
        for name in file.keys():
            new = gguf_name(name, tower_layers)
            if new is None:
                continue
            x = file.get_tensor(name).float().numpy()
            part = new.split(".")[2] if new.startswith("blk.") else ""
            x = paired(x, heads[part]) if part in heads else x
            own = kind if x.ndim > 1 and new != "v.position_embd.weight" else gguf.GGMLQuantizationType.F32
            writers[new.startswith(("v.", "mm."))].add_tensor(new, gguf.quants.quantize(x, own), raw_dtype=own)
    for writer, path in zip(writers, paths):
        aside = path.with_suffix(".part")
        writer.write_header_to_file(aside)
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        aside.rename(path)
        settle(path)


def describe_text(writer, text):
    writer.add_context_length(text["max_position_embeddings"])
    writer.add_embedding_length(text["hidden_size"])
    writer.add_block_count(text["num_hidden_layers"])
    writer.add_feed_forward_length(text["intermediate_size"])
    writer.add_head_count(text["num_attention_heads"])
    writer.add_head_count_kv(text["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(text["rms_norm_eps"])
    writer.add_rope_freq_base(text["rope_parameters"]["rope_theta"])
    writer.add_rope_dimension_count(text["hidden_size"] // text["num_attention_heads"])
    writer.add_vocab_size(text["vocab_size"])
    tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)]
    types = [2, 3, 3] + [6] * 256  # unknown, control, byte
    rest = text["vocab_size"] - len(tokens)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens + [f"token{i}" for i in range(rest)])
    writer.add_token_scores([0.0] * text["vocab_size"])
    writer.add_token_types(types + [1] * rest)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)


def describe_tower(writer, tower, layers, projected):
    writer.add_bool("clip.has_vision_encoder", True)
    writer.add_bool("clip.has_llava_projector", True)
    writer.add_string("clip.projector_type", "mlp")
    writer.add_bool("clip.use_gelu", False)
    for key, value in {
        "image_size": tower["image_size"], "patch_size": tower["patch_size"], "block_count": layers,
        "embedding_length": tower["hidden_size"], "feed_forward_length": tower["intermediate_size"],
        "projection_dim": projected, "attention.head_count": tower["num_attention_heads"],
    }.items():  # fmt: skip
        writer.add_uint32(f"clip.vision.{key}", value)
    writer.add_float32("clip.vision.attention.layer_norm_epsilon", tower["layer_norm_eps"])
    writer.add_array("clip.vision.feature_layer", [layers])  # else it leaves one layer out
    writer.add_array("clip.vision.image_mean", [0.5, 0.5, 0.5])
    writer.add_array("clip.vision.image_std", [0.5, 0.5, 0.5])


# ---- one process ---------------------------------------------------------------------------------

class Silent:
    """Stands where the capture has its recorder: nothing is recorded, so the graph runs unwatched."""

    error = None


class Timed(Run):
    def hook(self, params, threads):
        for name in threads:
            setattr(params, name, 1)
        return params

    def make_context(self):
        params = self.hook(self.defaults("llama_context_default_params", "llama_context_params"),
                           ("n_threads", "n_threads_batch"))
        params.n_ctx, params.n_batch, params.n_ubatch = 1024, 1024, 1024
        return self.pointer(self.library.llama_init_from_model(ctypes.c_void_p, self.model, params), "the context")

    def decode(self, ids):
        """One batch of tokens; logits of the last one."""
        tokens = (ctypes.c_int32 * len(ids))(*ids)  # the batch only points at them
        batch = self.library.llama_batch_get_one(self.headers.struct("llama_batch"), tokens, ctypes.c_int32(len(ids)))
        if self.library.llama_decode(ctypes.c_int, self.context, batch):
            self.failed("a batch")

    def forget(self):
        memory = ctypes.c_void_p(self.library.llama_get_memory(ctypes.c_void_p, self.context))
        self.library.llama_memory_clear(None, memory, ctypes.c_bool(True))

    def last_logits(self):
        vocabulary = ctypes.c_void_p(self.library.llama_model_get_vocab(ctypes.c_void_p, self.model))
        size = self.library.llama_vocab_n_tokens(ctypes.c_int, vocabulary)
        logits = self.library.llama_get_logits_ith(ctypes.POINTER(ctypes.c_float), self.context, -1)
        return np.ctypeslib.as_array(logits, (size,)).astype(np.float64)


def timed(work):
    begun = time.process_time()
    work()
    return time.process_time() - begun


def child(options, steps):
    """Prints one line of JSON: CPU seconds of tower and projector, of the prefill, of a token; last logits."""
    folder, dtype = options.folder, options.child.split("-")[1]
    write_model(folder, options.llama_cpp, dtype)
    ids = np.load(folder / "text.npz")["input_ids"][0].tolist()
    run_options = argparse.Namespace(model=str(folder / f"text.{dtype}.gguf"), mmproj=str(folder / f"mmproj.{dtype}.gguf"),
                                     image=[str(folder / "picture.png")], prompt=PROMPT)  # fmt: skip
    run = Timed(run_options, Silent(), Library(str(options.library)), Headers(str(options.llama_cpp)))
    picture = next(chunk for _, chunk in run.chunks() if chunk is not None)
    result = {"tower": min(timed(lambda: run.encode(picture)) for _ in range(2))}
    prefills = []
    for _ in range(2):
        run.forget()
        prefills.append(timed(lambda: run.decode(ids)))
    result["prefill"], result["logits"] = min(prefills), run.last_logits().tolist()
    tokens = []
    for _ in range(steps):
        best = int(run.last_logits().argmax())
        tokens.append(timed(lambda: run.decode([best])))
    result["token"] = sum(tokens) / len(tokens)
    print(json.dumps(result))
