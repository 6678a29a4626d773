"""Runs llama.cpp on a picture and a prompt and writes every tensor that it computes.

    python tools/capture_llama_cpp.py --source llama.cpp --library build/bin --model text.gguf \\
        --mmproj mmproj.gguf --image picture.png --prompt "USER: <image>\\nWhat is it? ASSISTANT:" --out dump/
    llava-ref diagnose --model MODEL --image picture.png --prompt ... --dump dump/ --map llama.cpp

Nothing of llama.cpp is changed: its evaluation callback shows every node of the graph when it has been
computed. The structures' layouts are read from the headers under --source, which must be of the same
version as the libraries; a wrong one is noticed before anything is written.

Names (tools/maps/llama.cpp.json): picture.N.NODE in the tower, chunk.C.NODE in the C-th part of the
prefill (text, picture, text ...), step.G.chunk.0.NODE in a decoding step. A name's second use in one graph
is NODE#1. Nodes that llama.cpp leaves nameless get a name from what they compute, where a tap needs it.
"""

import argparse
import ctypes
import os
import re
import sys

import numpy as np

from llava_capture import Writer

HEADERS = ("ggml/include/ggml.h", "include/llama.h", "tools/mtmd/mtmd.h", "tools/mtmd/mtmd-helper.h")
LIBRARIES = ("libggml-base.so", "libggml.so", "libllama.so", "libmtmd.so")
NUMPY = {"f32": np.float32, "f16": np.float16, "i32": np.int32, "i64": np.int64}
VIEWS = ("RESHAPE", "VIEW", "PERMUTE", "TRANSPOSE")
INPUT, COMPUTE = 1, 16  # GGML_TENSOR_FLAG_*
MARKER = "<image>"

# --- structures, as the headers have them --------------------------------------------------------

SCALARS = {
    "bool": ctypes.c_bool, "float": ctypes.c_float, "size_t": ctypes.c_size_t, "char": ctypes.c_char,
    "int": ctypes.c_int, "int8_t": ctypes.c_int8, "int32_t": ctypes.c_int32, "int64_t": ctypes.c_int64,
    "uint32_t": ctypes.c_uint32, "llama_pos": ctypes.c_int32,
}  # fmt: skip
OPAQUE = re.compile(r".*_(callback|dev_t|buft_t|reg_t)$")  # typedefs of pointers


class Headers:
    def __init__(self, source):
        texts = [open(os.path.join(source, path), encoding="utf-8").read() for path in HEADERS]
        text = re.sub(r"/\*.*?\*/|//[^\n]*", "", "\n".join(texts), flags=re.S)
        self.text = text
        self.numbers = {name: int(value) for name, value in re.findall(r"#\s*define\s+(\w+)\s+(\d+)\s*$", text, re.M)}
        self.known = {}

    def length(self, expression):
        expression = re.sub(r"sizeof\(int32_t\)", "4", expression)
        terms = [self.numbers[term] if term in self.numbers else int(term) for term in expression.split("/")]
        return terms[0] // (terms[1] if len(terms) == 2 else 1)

    def field(self, declaration):
        """'TYPE name[N]' -> (name, ctypes type)"""
        found = re.fullmatch(r"(.*?)(\w+)\s*(?:\[(.*)\])?", " ".join(declaration.split()))
        kind, name, count = found.groups()
        kind = re.sub(r"\bconst\b", "", kind).strip()
        if "*" in kind or OPAQUE.fullmatch(kind):
            c_type = ctypes.c_void_p
        elif kind.startswith("enum "):
            c_type = ctypes.c_int
        elif kind.startswith("struct "):
            c_type = self.struct(kind.removeprefix("struct "))
        else:
            c_type = SCALARS[kind]
        return name, c_type * self.length(count.replace(" ", "")) if count else c_type

    def struct(self, name):
        if name not in self.known:
            body = re.search(rf"struct {name}\s*{{(.*?)}}", self.text, re.S)
            if body is None:
                sys.exit(f"{name}: no such structure in the headers")
            fields = [self.field(text) for text in body.group(1).split(";") if text.strip()]
            self.known[name] = type(name, (ctypes.Structure,), {"_fields_": fields})
        return self.known[name]


class Library:
    """Functions of all libraries: library.f(restype, *arguments)."""

    def __init__(self, folder):
        self.parts = [ctypes.CDLL(os.path.join(folder, name), mode=ctypes.RTLD_GLOBAL) for name in LIBRARIES]

    def __getattr__(self, name):
        for part in self.parts:
            if hasattr(part, name):
                function = getattr(part, name)

                def call(restype, *arguments):
                    function.restype = restype
                    return function(*arguments)

                return call
        raise AttributeError(name)


# --- nodes ---------------------------------------------------------------------------------------


class Graph:
    """What a node is called, and its numbers."""

    def __init__(self, library, node_type):
        self.library = library
        self.node_type = node_type
        self.ops = {}

    def node(self, address):
        return self.node_type.from_address(address) if address else None

    def op(self, t):
        if t.op not in self.ops:
            self.ops[t.op] = self.library.ggml_op_name(ctypes.c_char_p, t.op).decode()
        return self.ops[t.op]

    def check(self, address):
        """Does the structure lie as the header says?"""
        t, library = self.node(address), self.library
        pointer = ctypes.c_void_p(address)
        elements = library.ggml_nelements(ctypes.c_int64, pointer)
        op = library.ggml_op_desc(ctypes.c_char_p, pointer).decode()
        right = (
            library.ggml_get_name(ctypes.c_char_p, pointer) == t.name
            and elements == int(np.prod(list(t.ne)))
            and (self.op(t) in ("UNARY", "GLU") or self.op(t) == op)
            and library.ggml_get_data(ctypes.c_void_p, pointer) == t.data
        )
        if not right:
            sys.exit("the headers under --source are not those of the libraries")

    def source(self, t, i=0):
        return self.node(t.src[i])

    def under(self, t, ops):
        """The first node below that is none of these operations."""
        while t is not None and self.op(t) in ops:
            t = self.source(t)
        return t

    def name(self, t):
        """Its own name, else one by structure, else None."""
        name = t.name.decode()
        if re.match(r"(node|leaf)_\d+|$", name) or name.endswith(")"):
            return self.structural(t)
        return name

    def structural(self, t):
        op, first, second = self.op(t), self.source(t), self.source(t, 1)
        beside = second.name.decode() if second is not None else ""
        if op == "CONT":
            kernel = self.under(t, (*VIEWS, "CONT", "MUL_MAT", "IM2COL"))
            return "patch_embed" if kernel is not None and kernel.name == b"v.patch_embd.weight" else None
        if op == "CONV_2D":
            return "patch_embed" if first.name == b"v.patch_embd.weight" else None
        if op == "ADD":
            if self.op(second) == "GET_ROWS" and self.source(second).name == b"v.position_embd.weight":
                return "embed"
            return {"mm.0.bias": "projector.fc1", "mm.2.bias": "projector.out"}.get(beside)
        if op == "GET_ROWS":
            return "features" if beside == "patches" else None
        if op == "UNARY":
            return "projector.act" if self.name(first) == "projector.fc1" else None
        if op == "MUL_MAT":
            left = first.name.decode()
            keys = re.fullmatch(r"Kcur-(\d+)", self.under(first, VIEWS).name.decode())
            if keys:
                return f"kq-{keys.group(1)}"
            return {"mm.0.weight": "projector.fc1", "mm.2.weight": "projector.out"}.get(left)
        if op == "SOFT_MAX":
            scores = re.fullmatch(r"kq-(\d+)", self.name(first) or "")
            return f"kq_soft_max-{scores.group(1)}" if scores else None
        return None

    def array(self, address):
        """The numbers, slowest axis first; None where there are none or they do not follow each other."""
        t, pointer = self.node(address), ctypes.c_void_p(address)
        kind = self.library.ggml_type_name(ctypes.c_char_p, t.type).decode()
        if kind not in NUMPY or not self.library.ggml_is_contiguous(ctypes.c_bool, pointer) or 0 in list(t.ne):
            return None
        x = np.empty(list(t.ne)[::-1], NUMPY[kind])
        self.library.ggml_backend_tensor_get(None, pointer, ctypes.c_void_p(x.ctypes.data), ctypes.c_size_t(0),
                                             ctypes.c_size_t(x.nbytes))  # fmt: skip
        return x


class Recorder:
    """The evaluation callback. `prefix` says where in the run it stands; None: nothing is written."""

    def __init__(self, graph, writer):
        self.graph, self.writer = graph, writer
        self.prefix, self.uses, self.inputs, self.checked, self.error = None, {}, set(), False, None
        kind = ctypes.CFUNCTYPE(ctypes.c_bool, ctypes.c_void_p, ctypes.c_bool, ctypes.c_void_p)
        self.callback = kind(self.seen)

    def start(self, prefix):
        self.prefix, self.uses, self.inputs = prefix, {}, set()

    def seen(self, address, ask, _):
        """Called before a node is computed (ask) and after."""
        try:
            if self.prefix is not None:
                self.look(address, ask)
        except BaseException as error:  # must not pass through C
            self.error = self.error or error
        return self.error is None

    def look(self, address, ask):
        if not self.checked:
            self.graph.check(address)
            self.checked = True
        t = self.graph.node(address)
        if not ask:
            if t.flags & COMPUTE:
                self.put(address, self.graph.name(t))
            return
        for source in t.src:  # inputs are no nodes: they are read before they are used
            leaf = self.graph.node(source)
            if leaf is not None and leaf.flags & INPUT and t.flags & COMPUTE and source not in self.inputs:
                self.inputs.add(source)
                self.put(source, leaf.name.decode())

    def put(self, address, name):
        x = self.graph.array(address) if name else None
        if x is None:
            return
        use = self.uses.get(name, 0)
        self.uses[name] = use + 1
        self.writer.put(f"{self.prefix}.{name}" + (f"#{use}" if use else ""), x)


# --- the run -------------------------------------------------------------------------------------


class Run:
    def __init__(self, options, recorder, library, headers):
        self.options, self.recorder, self.library, self.headers = options, recorder, library, headers
        library.llama_backend_init(None)
        self.model = self.load_model()
        self.context = self.make_context()
        self.vision = self.make_vision() if options.image else None
        self.ids, self.positions, self.logits = [], [], []

    def defaults(self, name, structure):
        return getattr(self.library, name)(self.headers.struct(structure))

    def pointer(self, value, what):
        return ctypes.c_void_p(value) if value else sys.exit(f"llama.cpp: {what} failed")

    def load_model(self):
        params = self.defaults("llama_model_default_params", "llama_model_params")
        path = self.options.model.encode()
        return self.pointer(self.library.llama_model_load_from_file(ctypes.c_void_p, path, params), self.options.model)

    def type_number(self, name):
        return next(i for i in range(40) if self.library.ggml_type_name(ctypes.c_char_p, i) == name.encode())

    def flash(self):
        return {"auto": -1, "off": 0, "on": 1}[self.options.flash_attn]

    def hook(self, params, threads):
        for name in threads:
            setattr(params, name, self.options.threads)
        params.flash_attn_type = self.flash()
        params.cb_eval = ctypes.cast(self.recorder.callback, ctypes.c_void_p)
        return params

    def make_context(self):
        params = self.defaults("llama_context_default_params", "llama_context_params")
        self.hook(params, ("n_threads", "n_threads_batch"))
        params.n_ctx = params.n_batch = params.n_ubatch = self.options.context
        params.type_k = params.type_v = self.type_number(self.options.cache_type)
        context = self.library.llama_init_from_model(ctypes.c_void_p, self.model, params)
        return self.pointer(context, "the context")

    def make_vision(self):
        params = self.defaults("mtmd_context_params_default", "mtmd_context_params")
        self.hook(params, ("n_threads",))
        params.use_gpu, params.warmup = False, False
        self.marker = ctypes.c_char_p(MARKER.encode())
        params.media_marker = ctypes.cast(self.marker, ctypes.c_void_p)
        path = self.options.mmproj.encode()
        vision = self.library.mtmd_init_from_file(ctypes.c_void_p, path, self.model, params)
        return self.pointer(vision, self.options.mmproj)

    def chunks(self):
        """The prompt, cut into text and pictures by llama.cpp: (ids, None) or (None, chunk)."""
        library = self.library
        opt = self.defaults("mtmd_helper_init_opt_default", "mtmd_helper_init_opt")
        wrapper = self.headers.struct("mtmd_helper_bitmap_wrapper")
        load = library.mtmd_helper_bitmap_init_from_file
        bitmaps = [load(wrapper, self.vision, path.encode(), ctypes.c_bool(False), opt).bitmap
                   for path in self.options.image]  # fmt: skip
        prompt = self.options.prompt.encode()
        text = self.headers.struct("mtmd_input_text")()
        buffer = ctypes.create_string_buffer(prompt)
        text.text = ctypes.cast(buffer, ctypes.c_void_p)
        text.text_len, text.add_special, text.parse_special = len(prompt), True, True
        chunks = ctypes.c_void_p(library.mtmd_input_chunks_init(ctypes.c_void_p))
        array = (ctypes.c_void_p * len(bitmaps))(*bitmaps)
        if library.mtmd_tokenize(ctypes.c_int, self.vision, chunks, ctypes.byref(text), array,
                                 ctypes.c_size_t(len(bitmaps))):  # fmt: skip
            sys.exit("llama.cpp: the prompt can't be tokenized with these pictures")
        for i in range(library.mtmd_input_chunks_size(ctypes.c_size_t, chunks)):
            chunk = ctypes.c_void_p(library.mtmd_input_chunks_get(ctypes.c_void_p, chunks, ctypes.c_size_t(i)))
            if library.mtmd_input_chunk_get_type(ctypes.c_int, chunk) == 0:
                count = ctypes.c_size_t()
                ids = library.mtmd_input_chunk_get_tokens_text(ctypes.POINTER(ctypes.c_int32), chunk,
                                                               ctypes.byref(count))  # fmt: skip
                yield ids[: count.value], None
            else:
                yield None, chunk

    def tokenize(self):
        prompt = self.options.prompt.encode()
        ids = (ctypes.c_int32 * (len(prompt) + 8))()
        vocabulary = ctypes.c_void_p(self.library.llama_model_get_vocab(ctypes.c_void_p, self.model))
        n = self.library.llama_tokenize(ctypes.c_int, vocabulary, prompt, len(prompt), ids, len(ids),
                                        ctypes.c_bool(True), ctypes.c_bool(True))  # fmt: skip
        yield ids[:n], None

    def encode(self, chunk):
        """A picture's rows for the language model [n, width]."""
        library = self.library
        if library.mtmd_encode_chunk(ctypes.c_int, self.vision, chunk):
            self.failed("the picture")
        count = library.mtmd_input_chunk_get_n_tokens(ctypes.c_size_t, chunk)
        width = library.llama_model_n_embd(ctypes.c_int, self.model)
        rows = library.mtmd_get_output_embd(ctypes.POINTER(ctypes.c_float), self.vision)
        return np.ctypeslib.as_array(rows, (count, width)).copy()

    def failed(self, what):
        raise self.recorder.error or SystemExit(f"llama.cpp: {what} failed")

    def decode(self, ids=None, rows=None):
        """Runs one chunk; all its logits are asked for, so that no row is left out."""
        n = len(ids) if rows is None else len(rows)
        batch = self.library.llama_batch_init(
            self.headers.struct("llama_batch"), n, 0 if rows is None else rows.shape[1], 1
        )
        if rows is None:
            ctypes.memmove(batch.token, np.array(ids, np.int32).ctypes.data, 4 * n)
        else:
            ctypes.memmove(batch.embd, np.ascontiguousarray(rows).ctypes.data, rows.nbytes)
        positions = np.arange(len(self.positions), len(self.positions) + n, dtype=np.int32)
        ones = np.ones(n, np.int32)
        ctypes.memmove(batch.pos, positions.ctypes.data, 4 * n)
        ctypes.memmove(batch.n_seq_id, ones.ctypes.data, 4 * n)
        ctypes.memmove(batch.logits, ones.astype(np.int8).ctypes.data, n)
        sequences = ctypes.cast(batch.seq_id, ctypes.POINTER(ctypes.POINTER(ctypes.c_int32)))
        for i in range(n):
            sequences[i][0] = 0
        batch.n_tokens = n
        if self.library.llama_decode(ctypes.c_int, self.context, batch):
            self.failed("a chunk")
        self.library.llama_batch_free(None, batch)
        self.positions += positions.tolist()

    def prefill(self):
        pictures = 0
        for c, (ids, chunk) in enumerate(self.chunks() if self.vision else self.tokenize()):
            rows = None
            if chunk is not None:
                self.recorder.start(f"picture.{pictures}")
                rows = self.encode(chunk)
                pictures += 1
            self.ids += ids if rows is None else [self.options.image_token] * len(rows)
            self.recorder.start(f"chunk.{c}")
            self.decode(ids, rows)

    def best(self):
        vocabulary = ctypes.c_void_p(self.library.llama_model_get_vocab(ctypes.c_void_p, self.model))
        size = self.library.llama_vocab_n_tokens(ctypes.c_int, vocabulary)
        logits = self.library.llama_get_logits_ith(ctypes.POINTER(ctypes.c_float), self.context, -1)
        return int(np.argmax(np.ctypeslib.as_array(logits, (size,))))

    def generate(self):
        """Greedy, N tokens; the steps behind the first one are written as step.G.*"""
        new = []
        for step in range(1, self.options.generate + 1):
            new.append(self.best())
            if step < self.options.generate:
                self.recorder.start(f"step.{step}.chunk.0")
                self.decode([new[-1]])
        return new


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--source", required=True, help="llama.cpp's source folder (its headers are read)")
    parser.add_argument("--library", required=True, help="the folder of libllama.so and libmtmd.so")
    parser.add_argument("--model", required=True, help="the language model's .gguf")
    parser.add_argument("--mmproj", help="the tower's .gguf")
    parser.add_argument("--image", action="append", default=[])
    parser.add_argument("--prompt", required=True, help="with <image> where a picture goes")
    parser.add_argument("--image-token", type=int, default=32000, help="its id in input_ids (config.json)")
    parser.add_argument("--out", required=True, help="dump.npz, or a folder ending in /")
    parser.add_argument("--flash-attn", choices=("auto", "on", "off"), default="off")
    parser.add_argument("--cache-type", default="f32", help="of keys and values: f32, or f16 as llama.cpp's default")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--context", type=int, default=512, help="cells; also the longest chunk")
    parser.add_argument("--generate", type=int, default=0)
    return parser.parse_args()


def main():
    options = arguments()
    headers, library = Headers(options.source), Library(options.library)
    writer = Writer(options.out)
    try:
        recorder = Recorder(Graph(library, headers.struct("ggml_tensor")), writer)
        run = Run(options, recorder, library, headers)
        run.prefill()
        count = len(run.ids)
        writer.put("input_ids", np.array([run.ids], np.int64))
        writer.put("position_ids", np.array([run.positions[:count]], np.int64))
        if options.generate:
            writer.put("generated_ids", np.array([run.generate()], np.int64))
        if recorder.error:
            raise recorder.error
    except BaseException:
        writer.abort()
        raise
    writer.close()


if __name__ == "__main__":
    main()
