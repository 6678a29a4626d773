#!/usr/bin/env python3
"""Compares ref/tokenizer.c, prompt.c and chat.c with tokenizers, transformers and jinja2.

    python3 tools/check_tokenizer.py                  # the differential check
    python3 tools/check_tokenizer.py --write-cases    # tests/data/tokenizer, tests/data/chat
    python3 tools/check_tokenizer.py --unicode-tables # ref/unicode_since.h

Needs tokenizers (0.23), transformers (5.23) and jinja2; calls the C code as a library
(tools/c_library.py). Exit status 0 only if every comparison is equal. The random texts come from
--seed, so a finding can be replayed.
"""
import argparse
import ctypes
import hashlib
import itertools
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import unicodedata

from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

import c_library
from c_library import Error

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
META = "\u2581"

# ---- The C side ----

class Plan(ctypes.Structure):
    _fields_ = [("bos", ctypes.c_int), ("prefix_space", ctypes.c_int), ("image_count", ctypes.c_int),
                ("image_breaks", ctypes.c_int),
                ("no_template", ctypes.c_bool)]


class Refused(Exception):
    pass


class CTokenizer:
    def __init__(self, lib, folder):
        self.lib, self.handle, self.error = lib, ctypes.c_void_p(), Error()
        if not lib.llava_tokenizer_open(ctypes.byref(self.handle), folder.encode(),
                                        ctypes.byref(self.error)):
            raise Refused(self.error.text.decode())

    def __del__(self):
        if self.handle:
            self.lib.llava_tokenizer_close(self.handle)

    def encode(self, text, plan=None):
        raw, ids, n = text.encode(), ctypes.POINTER(ctypes.c_int64)(), ctypes.c_size_t()
        if not self.lib.llava_tokenizer_encode(self.handle, ctypes.byref(plan or Plan()), raw,
                                               ctypes.c_size_t(len(raw)), ctypes.byref(ids),
                                               ctypes.byref(n), ctypes.byref(self.error)):
            raise Refused(self.error.text.decode())
        found = ids[:n.value]
        self.lib.free(ids)
        return found

    def decode(self, ids, skip):
        array, text, n = (ctypes.c_int64 * len(ids))(*ids), ctypes.c_void_p(), ctypes.c_size_t()
        if not self.lib.llava_tokenizer_decode(self.handle, array, ctypes.c_size_t(len(ids)),
                                               ctypes.c_bool(skip), ctypes.byref(text),
                                               ctypes.byref(n), ctypes.byref(self.error)):
            raise Refused(self.error.text.decode())
        found = ctypes.string_at(text, n.value).decode()
        self.lib.free(text)
        return found

    def special(self, token):
        return bool(self.lib.llava_tokenizer_is_special(self.handle, ctypes.c_int64(token)))


def prepare():
    lib = c_library.load(
        {"llava_token_plan": Plan, "llava_image_run": ImageRun, "llava_prompt": Prompt, "llava_chat_item": Item,
         "llava_chat_message": Message, "llava_conversation": Conversation, "llava_bytes": Bytes},
        ["ref/tokenizer.h", "ref/prompt.h", "ref/chat.h", "ref/nfc.h", "ref/plan.h"])
    for name in ("tokenizer_open", "tokenizer_encode", "tokenizer_decode", "tokenizer_is_special",
                 "chat_recognise", "chat_render", "chat_render_turn", "chat_template", "prompt_encode", "nfc", "is_word"):
        getattr(lib, "llava_" + name).restype = ctypes.c_bool
    lib.llava_tokenizer_close.restype = lib.free.restype = None
    lib.llava_split_pattern_of.restype = ctypes.c_void_p
    lib.llava_split_pattern_piece.restype = ctypes.c_size_t
    lib.llava_split_pattern_piece.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]
    lib.llava_char_class.restype = ctypes.c_uint
    return lib


# ---- Tokenizers to compare with ----

SAMPLES = [
    "USER: <image>\nWhat is shown in this image? ASSISTANT:",
    "The quick brown fox jumps over the lazy dog. 0123456789, 3.14159; (a+b)*c == [x] {y} <z>",
    "Der Straßenverkehr in Zürich läuft über die Brücke. Œuvre, naïve café, mañana, Ærø.",
    "Съешь же ещё этих мягких французских булок, да выпей чаю.",
    "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία.",
    "中文字符和標點。日本語のテスト、カタカナ。한국어 문장입니다.",
    "שלום עולם. مرحبا بالعالم. नमस्ते दुनिया। สวัสดีชาวโลก",
    "😊 👩‍👩‍👧‍👦 🇩🇪 👍🏽 ✈️ \U0001f9ff",
    "a\tb\r\nc\n\n\nd  e   f    g\u00a0h\u2003i\u3000j\u200bk\ufeffl",
    "e\u0301 \u0e33 \u1100\u1161\u11a8 \ufb01 \u2126 \u212b x\u0338",
    META + META + " " + META + "a", "   ", " ", "\n", "", "\u0000a\u0001\u007f\u0085\u0080",
    "\U0010ffff\U000e0001\ufffd\ufffe", "<0x0A> <0x41>", "ab" * 300, "a" * 1000, " a" * 300,
]


def corpus():
    """Text to train on: fixed, so that the committed tokenizer can be made again."""
    rng = random.Random(7)
    words = [word for text in SAMPLES[:8] for word in text.split()]
    plain = ("the of and to in is it you that was for on are with as at be this have from or one "
             "had by word but what some we can out other were all there when up use your how said "
             "an each she which do their time if will way about many then them image picture shown "
             "describe question answer please thank what's don't running walked happily").split()
    return [" ".join(rng.choice(plain if rng.random() < 0.8 else words) for _ in range(12))
            for _ in range(400)]


def train(size, bytes_too=True):
    """A Llama-like vocabulary: <unk> <s> </s>, byte tokens, characters, merges."""
    t = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=bytes_too))
    t.normalizer = normalizers.Sequence([normalizers.Prepend(META), normalizers.Replace(" ", META)])
    t.pre_tokenizer = pre_tokenizers.Metaspace(META, prepend_scheme="never")
    special = ["<unk>", "<s>", "</s>"]
    if bytes_too:
        special += ["<0x%02X>" % b for b in range(256)]
    t.train_from_iterator(corpus(), trainers.BpeTrainer(vocab_size=size, special_tokens=special,
                                                        show_progress=False))
    found = json.loads(t.to_str())
    found["added_tokens"] = [x for x in found["added_tokens"] if x["id"] < 3]
    return found


def byte_corpus():
    """Fragments in random order: what stands beside what is the trainer's to find."""
    rng = random.Random(8)
    words = [word for line in corpus()[:60] for word in line.split()]
    words += "it's WE'LL they'Ve I'D camelCase HTTPServer de\u02cas \u00c4\u00d6\u00fc".split()
    ends = [" ", " ", " ", "  ", "\n", "\r\n", "\n\n", " \n", "\t", "/", ", ", ".\n", "!", "-", "(", ")"]
    for _ in range(3000):
        kind = rng.random()
        yield "".join((rng.choice(words) if kind < 0.8 else str(rng.randrange(10 ** rng.randint(1, 6)))
                       ) + rng.choice(ends) for _ in range(rng.randint(1, 5)))


def train_bytes(size):
    """A byte-level vocabulary: the 256 characters of the bytes, merges. It is trained without a
    split pattern, so merges reach over the borders that a pattern draws, and a border that is
    missing shows in the ids."""
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    t.train_from_iterator(byte_corpus(), trainers.BpeTrainer(
        vocab_size=size, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), special_tokens=[],
        show_progress=False))
    return json.loads(t.to_str())


def added(content, id_, **flags):
    token = dict(id=id_, content=content, single_word=False, lstrip=False, rstrip=False,
                 normalized=False, special=True)
    return {**token, **flags}


TEMPLATE = {"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}},
                       {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}},
                     {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}}
BOTH_ENDS = {**TEMPLATE, "single": TEMPLATE["single"] + [{"SpecialToken": {"id": "</s>",
                                                                          "type_id": 0}}],
             "special_tokens": {**TEMPLATE["special_tokens"],
                                "</s>": {"id": "</s>", "ids": [2, 1], "tokens": ["</s>", "<s>"]}}}
NORMALIZER = {"type": "Sequence", "normalizers": [
    {"type": "Prepend", "prepend": META},
    {"type": "Replace", "pattern": {"String": " "}, "content": META}]}


def replace(pattern, content):
    return {"type": "Replace", "pattern": {"String": pattern}, "content": content}


GPT2 = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
QWEN2 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|"
         r"\s*[\r\n]+|\s+(?!\S)|\s+")
LLAMA3 = QWEN2.replace(r"|\p{N}|", r"|\p{N}{1,3}|")
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
TEKKEN = (r"[^\r\n\p{L}\p{N}]?" + UPPER + "*" + LOWER + r"+|[^\r\n\p{L}\p{N}]?" + UPPER + "+" + LOWER +
          r"*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")


def byte_level(prefix=False, regex=False):
    return {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": False,
            "use_regex": regex}


def split_bytes(pattern, **level):
    """Split, then ByteLevel, as Qwen2's, Llama-3's and Mistral's tokenizer.json have it."""
    return {"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False},
        byte_level(**level)]}


def template(token, id_):
    """One special token in front."""
    return json.loads(json.dumps(TEMPLATE).replace('"<s>"', json.dumps(token)).replace(
        "[1]", "[%d]" % id_))


DECODER = {"type": "Sequence", "decoders": [replace(META, " "), {"type": "ByteFallback"},
                                            {"type": "Fuse"},
                                            {"type": "Strip", "content": " ", "start": 1,
                                             "stop": 0}]}


def metaspace(scheme, split=True):
    return {"type": "Metaspace", "replacement": META, "prepend_scheme": scheme, "split": split}


def variant(base, tokens=(), **parts):
    """base with other parts; model settings go by model_NAME."""
    made = json.loads(json.dumps(base))
    for key, value in parts.items():
        if key.startswith("model_"):
            made["model"][key[6:]] = value
        else:
            made[key] = value
    first = len(made["model"]["vocab"])
    made["added_tokens"] = made["added_tokens"] + [
        added(content, first + i, **flags) for i, (content, flags) in enumerate(tokens)]
    return made


LLAVA = [("<image>", {}), ("<pad>", {})]


def flag_tokens():
    """Every combination of the five flags, and tokens that overlap or are white space."""
    names = ("lstrip", "rstrip", "single_word", "normalized", "special")
    tokens = []
    for bits in itertools.product((False, True), repeat=5):
        tokens.append(("<f%s>" % "".join("01"[b] for b in bits), dict(zip(names, bits))))
        tokens.append(("w%s" % "".join("xy"[b] for b in bits), dict(zip(names, bits))))
    return tokens + [("<image>", {}), ("<im", {}), ("<image><image>", {}), ("im", dict(
        normalized=True, special=False)), ("é", dict(single_word=True)), ("中文", dict(
            single_word=True, special=False)), ("big word", dict(normalized=True, special=False)),
        ("aba", {}), ("bab", dict(special=False)), ("ba", {}), ("the", dict(special=False,
                                                                           normalized=True))]


CHATML = [("<|endoftext|>", {}), ("<|im_start|>", {}), ("<|im_end|>", {}), ("<image>", {})]


def published_bytes(size):
    """The byte-level tokenizers of the published checkpoints, with small vocabularies."""
    yield "qwen2", variant(train_bytes(size), CHATML, normalizer={"type": "NFC"},
                           pre_tokenizer=split_bytes(QWEN2), post_processor=byte_level(),
                           decoder=byte_level())
    llama = train_bytes(size)
    first = len(llama["model"]["vocab"])
    yield "llama-3", variant(
        llama, [("<|begin_of_text|>", {}), ("<|start_header_id|>", {}), ("<|end_header_id|>", {}),
                ("<|eot_id|>", {}), ("<image>", {})],
        pre_tokenizer=split_bytes(LLAMA3), decoder=byte_level(True, True),
        model_ignore_merges=True, post_processor={"type": "Sequence", "processors": [
            byte_level(True, True), template("<|begin_of_text|>", first)]})
    mistral = train_bytes(size)
    first = len(mistral["model"]["vocab"])
    for name, pattern in (("mistral", TEKKEN), ("pixtral", LLAMA3)):
        yield name, variant(
            mistral, [("<s>", {}), ("</s>", {}), ("[INST]", {}), ("[/INST]", {}), ("[IMG]", {}),
                      ("[IMG_BREAK]", {}), ("[IMG_END]", {}), ("<unk>", {})],
            pre_tokenizer=split_bytes(pattern), decoder=byte_level(), model_ignore_merges=True,
            post_processor=template("<s>", first))


def byte_variants():
    yield from published_bytes(700)
    base = train_bytes(700)
    nfc = {"type": "NFC"}
    for prefix, regex in itertools.product((False, True), repeat=2):
        yield "bytes %s %s" % (prefix, regex), variant(
            base, CHATML, pre_tokenizer=byte_level(prefix, regex), decoder=byte_level(),
            post_processor=None)
    yield "bytes twice", variant(base, CHATML, pre_tokenizer=split_bytes(QWEN2, regex=True),
                                 decoder=byte_level(), post_processor=None, normalizer=nfc)
    yield "bytes prefixed", variant(
        base, CHATML, pre_tokenizer=split_bytes(GPT2.replace(
            "'(?:[sdmt]|ll|ve|re)", "'s|'t|'re|'ve|'m|'ll|'d"), prefix=True),
        decoder={"type": "Sequence", "decoders": [byte_level(), {"type": "Fuse"}]},
        post_processor=None)
    yield "bytes flags", variant(
        base, flag_tokens() + [("e\u0301x", dict(normalized=True)), ("e\u0301y", {}),
                               ("\u212b", dict(normalized=True, special=False)), (" ", {}),
                               ("\u0120", dict(special=False)), ("\xa0\u0100", {})],
        pre_tokenizer=split_bytes(LLAMA3), decoder=byte_level(), post_processor=None,
        normalizer={"type": "Sequence", "normalizers": [nfc, replace("ob", "the")]})
    for behavior, invert in (("Isolated", True), ("Removed", True)):
        split = split_bytes(LLAMA3)
        split["pretokenizers"][0].update(behavior=behavior, invert=invert)
        yield "bytes %s %s" % (behavior, invert), variant(
            base, CHATML, pre_tokenizer=split, decoder=byte_level(), post_processor=None)
    missing = json.loads(json.dumps(base))
    for character in ("a", "\u0120", "\u0122"):
        missing["model"]["vocab"].pop(character)
    missing["model"]["merges"] = []
    missing["model"]["vocab"] = {text: i for i, text in enumerate(missing["model"]["vocab"])}
    yield "bytes missing", variant(missing, CHATML, pre_tokenizer=byte_level(False, True),
                                   decoder=byte_level(), post_processor=None)


def variants():
    yield from byte_variants()
    full, small = train(900), train(500, bytes_too=False)
    few = json.loads(json.dumps(full))  # byte tokens for some bytes only
    for b in range(0, 256, 3):
        few["model"]["vocab"].pop("<0x%02X>" % b)
    few["model"]["vocab"] = {text: i for i, text in enumerate(few["model"]["vocab"])}
    legacy = [" ".join(pair) for pair in full["model"]["merges"]]
    yield "prepend", variant(full, LLAVA, pre_tokenizer=None, decoder=DECODER,
                             post_processor=TEMPLATE)
    yield "legacy merges", variant(full, LLAVA, pre_tokenizer=None, decoder=DECODER,
                                   post_processor={"type": "Sequence", "processors": [TEMPLATE]},
                                   model_merges=["#version: 0.2"] + legacy)
    for scheme, split in itertools.product(("always", "first", "never"), (True, False)):
        yield "metaspace %s %s" % (scheme, split), variant(
            full, LLAVA, normalizer=None, pre_tokenizer=metaspace(scheme, split),
            decoder=DECODER if split else metaspace(scheme), post_processor=BOTH_ENDS)
    yield "flags, prepend", variant(full, flag_tokens(), pre_tokenizer=None, decoder=DECODER,
                                    post_processor=TEMPLATE)
    for scheme in ("always", "first", "never"):
        yield "flags, metaspace " + scheme, variant(
            full, flag_tokens(), normalizer=None, pre_tokenizer=metaspace(scheme),
            decoder=metaspace(scheme), post_processor=None)
    yield "flags, replaced", variant(
        full, flag_tokens(), normalizer={"type": "Sequence", "normalizers": [
            replace("aa", "a"), replace("é", "e"), replace("ob", "the")]},
        pre_tokenizer=metaspace("always"), decoder=None, post_processor=None)
    white = [(" ", {}), ("\n", dict(rstrip=True)), ("\t", dict(lstrip=True)),
             ("x", dict(rstrip=True)), ("y", dict(lstrip=True, rstrip=True)),
             ("  ", dict(special=False))]
    for scheme in ("always", "first"):
        yield "white space " + scheme, variant(full, white, normalizer=None,
                                               pre_tokenizer=metaspace(scheme), decoder=DECODER,
                                               post_processor=TEMPLATE)
    yield "no bytes, fused unknown", variant(small, LLAVA, pre_tokenizer=None, decoder=DECODER,
                                             post_processor=None)
    yield "no bytes, unknown apart", variant(small, LLAVA, pre_tokenizer=None, decoder=DECODER,
                                             post_processor=None, model_fuse_unk=False)
    yield "no unknown token", variant(small, LLAVA, pre_tokenizer=None, post_processor=None,
                                      decoder=None, model_unk_token=None)
    yield "some bytes", variant(few, [("<image>", {})], pre_tokenizer=None, decoder=DECODER,
                                post_processor=None, model_fuse_unk=False)
    yield "ignore merges", variant(full, LLAVA, pre_tokenizer=metaspace("always"), normalizer=None,
                                   decoder={"type": "Sequence", "decoders": [
                                       {"type": "ByteFallback"}, replace("the", META), {
                                           "type": "Strip", "content": "e", "start": 2, "stop": 0}]},
                                   post_processor=TEMPLATE, model_ignore_merges=True)
    doubled = full["model"]["merges"] + full["model"]["merges"][:200]
    yield "merges twice", variant(full, LLAVA, pre_tokenizer=None, decoder={"type": "ByteFallback"},
                                  post_processor=None, model_merges=doubled)


# ---- Texts ----

def random_text(rng, contents):
    parts = []
    for _ in range(rng.randint(0, 12)):
        kind = rng.random()
        if kind < 0.3:
            parts.append(rng.choice(contents))
        elif kind < 0.45:
            parts.append(rng.choice(" \n\t\u00a0\u3000" + META) * rng.randint(1, 4))
        elif kind < 0.6:
            parts.append("".join(chr(rng.choice(POINTS)) for _ in range(rng.randint(1, 8))))
        elif kind < 0.8:
            parts.append("".join(rng.choice("aabe the<im_") for _ in range(rng.randint(1, 15))))
        else:
            sample = rng.choice(SAMPLES)
            start = rng.randint(0, len(sample))
            parts.append(sample[start:start + rng.randint(0, 20)])
    return "".join(parts)


POINTS = ([p for p in range(0x20, 0x3000) if unicodedata.category(chr(p)) not in ("Cn", "Cs")] +
          list(range(0, 0x20)) + list(range(0x4e00, 0x4f00)) + list(range(0x1f300, 0x1f700)) +
          list(range(0xfe00, 0xfe10)) + list(range(0xfff0, 0x10000)) + [0x10ffff, 0xe000, 0xd7ff])


def texts(rng, contents, count):
    yield from SAMPLES
    for a, b in itertools.islice(itertools.product(contents, contents), 400):
        yield a + b
    for content, around in itertools.product(contents, (" %s ", "  %s", "a%sb", "é %s\n", "_%s-",
                                                        "%s\u0301", "\u200d%s", "中%s文")):
        yield around % content
    for _ in range(count):
        yield random_text(rng, contents)


def compare(lib, folder, name, spec, count, seed):
    path = os.path.join(folder, "tokenizer.json")
    with open(path, "w", encoding="utf-8") as f:
        json.dump(spec, f, ensure_ascii=seed % 2 == 0)
    theirs, ours, rng = Tokenizer.from_file(path), CTokenizer(lib, folder), random.Random(seed)
    contents = [x["content"] for x in spec["added_tokens"]]
    wrong, done, panics = 0, 0, 0
    ids_in_use = sorted(set(theirs.get_vocab(with_added_tokens=True).values())) + [10 ** 6]
    for text in texts(rng, contents, count):
        try:
            expected = theirs.encode(text).ids
        except BaseException as problem:  # a panic of the library is no exception of Python's own
            if type(problem).__name__ != "PanicException":
                raise
            panics += 1
            ours.encode(text)
            continue
        picked = [rng.choice(ids_in_use) for _ in range(rng.randint(0, 20))]
        checks = [(expected, ours.encode(text))]
        for ids, skip in itertools.product((expected, picked), (False, True)):
            checks.append((theirs.decode(ids, skip_special_tokens=skip), ours.decode(ids, skip)))
        done += len(checks)
        for want, got in checks:
            if want != got:
                wrong += 1
                if wrong < 4:
                    print("  %s: %r\n    library %r\n    ours    %r" % (name, text, want, got))
    print("%-28s %7d comparisons, %d differ%s" % (
        name, done, wrong, ", %d texts the library panics on" % panics if panics else ""))
    return wrong


def check_pipelines(lib, folder, count, seed):
    return sum(compare(lib, folder, name, spec, count, seed + i)
               for i, (name, spec) in enumerate(variants()))


# ---- tokenizer_config.json, as transformers reads it ----

def config_variants():
    base = variant(train(500), [("<image>", {})], pre_tokenizer=None, decoder=DECODER,
                   post_processor=TEMPLATE)
    base["added_tokens"] = [x for x in base["added_tokens"] if x["content"] != "</s>"]
    none = {**base, "post_processor": None}

    def flags(content, **more):
        return {key: value for key, value in added(content, 0, **more).items() if key != "id"}

    def typed(content, **more):
        return {"__type": "AddedToken", **flags(content, **more)}

    yield base, {}
    yield base, dict(add_bos_token=False, add_eos_token=True, bos_token="<s>", eos_token="</s>",
                     unk_token="<unk>", pad_token="<pad>", legacy=False)
    yield none, dict(add_bos_token=True, bos_token="<s>", eos_token="</s>")
    yield base, dict(added_tokens_decoder={
        "1": flags("<s>", lstrip=True), "2": flags("</s>", rstrip=True, special=False),
        "900": flags("<new>"), "800": flags("the", special=False, normalized=True)},
        bos_token="<s>", eos_token="</s>", extra_special_tokens={"image_token": "<image>"},
        image_token="<image>")
    yield base, dict(image_token=typed("<image>", lstrip=True), bos_token=typed("<s>", lstrip=True),
                     sep_token=typed("<sep>", lstrip=True, special=False),
                     additional_special_tokens=["<x>", typed("<y>", rstrip=True, special=False)])
    bare = {"__type": "AddedToken", "content": "<pad>"}
    yield base, dict(pad_token=bare, extra_special_tokens=[{**bare, "content": "<x>"}],
                     added_tokens_decoder={"7": {"content": "<y>"}, "1": {"content": "<s>"}},
                     eos_token="<y>")
    yield base, dict(extra_special_tokens=["<x>", "</s>"], additional_special_tokens=["<y>"],
                     mask_token=None, video_token="<video>", clean_up_tokenization_spaces=True)
    yield base, dict(extra_special_tokens={"image_token": "<image>", "video_token": "<video>"},
                     cls_token="question")
    # byte-level ones, with the classes that the published folders name
    bytes_too = dict(published_bytes(500))
    yield bytes_too["qwen2"], dict(
        tokenizer_class="Qwen2Tokenizer", add_prefix_space=False, bos_token=None, errors="replace",
        eos_token="<|im_end|>", pad_token="<|endoftext|>", unk_token=None, split_special_tokens=False,
        additional_special_tokens=["<|im_start|>", "<|im_end|>"])
    yield bytes_too["llama-3"], dict(
        tokenizer_class="PreTrainedTokenizerFast", bos_token="<|begin_of_text|>", pad_token="<pad>",
        eos_token="<|eot_id|>", clean_up_tokenization_spaces=True)
    for name, kind in (("pixtral", "LlamaTokenizerFast"), ("mistral", "LlamaTokenizer"),
                       ("pixtral", "PreTrainedTokenizerFast")):
        yield bytes_too[name], dict(
            tokenizer_class=kind, add_bos_token=True, add_prefix_space=None, bos_token="<s>",
            eos_token="</s>", unk_token="<unk>", legacy=True, use_default_system_prompt=False)
    yield base, dict(tokenizer_class="LlamaTokenizerFast", legacy=False, add_prefix_space=True,
                     bos_token="<s>", unk_token="<unk>", sp_model_kwargs={})


def check_configs(lib, folder, seed):
    from transformers import AutoTokenizer, logging
    logging.set_verbosity_error()
    wrong = done = 0
    for number, (spec, config) in enumerate(config_variants()):
        place = os.path.join(folder, "config%d" % number)
        os.mkdir(place)
        for name, value in (("tokenizer", spec), ("tokenizer_config", config),
                            ("config", {"model_type": "llava"})):
            with open(os.path.join(place, name + ".json"), "w", encoding="utf-8") as f:
                json.dump(value, f)
        theirs, ours = AutoTokenizer.from_pretrained(place), CTokenizer(lib, place)
        rng, contents = random.Random(seed), list(theirs.added_tokens_encoder) + ["<new>", "</s>"]
        for text in texts(rng, contents, 100):
            ids = theirs(text)["input_ids"]
            checks = [(ids, ours.encode(text))]
            checks += [(theirs.decode(ids, skip_special_tokens=skip), ours.decode(ids, skip))
                       for skip in (False, True)]
            done += len(checks)
            wrong += sum(want != got for want, got in checks)
            if any(want != got for want, got in checks) and wrong < 6:
                print("  config %d: %r %r" % (number, text, checks))
    print("%-28s %7d comparisons, %d differ" % ("tokenizer_config.json", done, wrong))
    return wrong


# ---- Prompts with pictures, as LlavaProcessor expands them ----

class ImageRun(ctypes.Structure):
    _fields_ = [("count", ctypes.c_size_t), ("columns", ctypes.c_size_t)]


class Prompt(ctypes.Structure):
    _fields_ = [("text", ctypes.c_char_p), ("image_text", ctypes.c_char_p),
                ("image_id", ctypes.c_int64), ("runs", ctypes.POINTER(ImageRun)),
                ("pictures", ctypes.c_size_t), ("break_text", ctypes.c_char_p),
                ("end_text", ctypes.c_char_p)]


def check_prompts(lib, folder):
    from PIL import Image
    from transformers import AutoProcessor
    spec = variant(train(500), LLAVA, pre_tokenizer=None, decoder=DECODER, post_processor=TEMPLATE)
    place = os.path.join(folder, "prompts")
    os.mkdir(place)
    size, patch, more = 8, 2, 1
    for name, value in (
            ("tokenizer", spec), ("tokenizer_config", {"image_token": "<image>"}),
            ("config", {"model_type": "llava"}),
            ("preprocessor_config", {"image_processor_type": "CLIPImageProcessor",
                                     "size": {"shortest_edge": size},
                                     "crop_size": {"height": size, "width": size}}),
            ("processor_config", {"processor_class": "LlavaProcessor", "patch_size": patch,
                                  "num_additional_image_tokens": more,
                                  "vision_feature_select_strategy": "default"})):
        with open(os.path.join(place, name + ".json"), "w", encoding="utf-8") as f:
            json.dump(value, f)
    processor, ours, wrong = AutoProcessor.from_pretrained(place), CTokenizer(lib, place), 0
    image_id = ours.encode("<image>")[1]
    texts_here = ["<image>", "USER: <image>\nWhat is shown? ASSISTANT:", "a <image> b<image>\n",
                  "<image><image><image> x", "é<image>中<image> </s><image>", "<s><image> <unk>",
                  "no picture"]
    for text in texts_here:
        pictures = text.count("<image>")
        inputs = {"images": [Image.new("RGB", (9, 12))] * pictures} if pictures else {}
        want = processor(text=text, **inputs)["input_ids"]
        want = want[0] if isinstance(want[0], list) else want
        count = (size // patch) ** 2 + more - 1
        prompt = Prompt(text.encode(), b"<image>", image_id,
                        (ImageRun * max(pictures, 1))(*[(count, 0)] * pictures), pictures, None, None)
        ids, n = ctypes.POINTER(ctypes.c_int64)(), ctypes.c_size_t()
        if not lib.llava_prompt_encode(ours.handle, ctypes.byref(Plan()), ctypes.byref(prompt),
                                       ctypes.byref(ids), ctypes.byref(n),
                                       ctypes.byref(ours.error)):
            raise Refused(ours.error.text.decode())
        if list(want) != ids[:n.value]:
            wrong += 1
            print("  prompt %r\n    processor %r\n    ours %r" % (text, want, ids[:n.value]))
        lib.free(ids)
    print("%-28s %7d comparisons, %d differ" % ("prompts", len(texts_here), wrong))
    return wrong


# ---- Chat templates ----

class Item(ctypes.Structure):
    _fields_ = [("image", ctypes.c_bool), ("text", ctypes.c_char_p), ("content", ctypes.c_char_p)]


class Message(ctypes.Structure):
    _fields_ = [("role", ctypes.c_char_p), ("text", ctypes.c_char_p),
                ("items", ctypes.POINTER(Item)), ("count", ctypes.c_size_t)]


class Conversation(ctypes.Structure):
    _fields_ = [("messages", ctypes.POINTER(Message)), ("count", ctypes.c_size_t),
                ("generation", ctypes.c_bool), ("bos", ctypes.c_char_p), ("eos", ctypes.c_char_p)]


def encoded(value):
    return None if value is None else value.encode()


def our_rendering(lib, chat, talk, generation, words):
    """The prompt, or None where it is refused; and the refusal or warning."""
    messages = (Message * len(talk))()
    for message, given in zip(messages, talk):
        message.role = given["role"].encode()
        if isinstance(given["content"], str):
            message.text = given["content"].encode()
            continue
        items = (Item * len(given["content"]))()
        for item, part in zip(items, given["content"]):
            item.image = part["type"] == "image"
            item.text, item.content = encoded(part.get("text")), encoded(part.get("content"))
        message.items, message.count = items, len(given["content"])
    conversation = Conversation(messages, len(talk), generation, encoded(words.get("bos_token")),
                                encoded(words.get("eos_token")))
    prompt, warning, error = ctypes.c_void_p(), Error(), Error()
    if not lib.llava_chat_render(chat, ctypes.byref(conversation), ctypes.byref(prompt),
                                 ctypes.byref(warning), ctypes.byref(error)):
        return None, error.text.decode()
    text = ctypes.string_at(prompt.value).decode()
    lib.free(prompt)
    return text, warning.text.decode()


def known_templates(lib):
    """(text, format) of every template that is recognised."""
    for i in itertools.count():
        text, chat, error = Bytes(), ctypes.c_int(), Error()
        if not lib.llava_chat_template(ctypes.c_size_t(i), ctypes.byref(text), ctypes.byref(chat),
                                       ctypes.byref(error)):
            return
        yield ctypes.string_at(text.at, text.n).decode(), chat.value
        lib.free(ctypes.c_void_p(text.at))


def random_talk(rng):
    """A conversation; now and then one that a template cannot take."""
    words = ["Hi", "", "What is shown?", " é \x1c\n", "{{ x }} <image>", "\u3000a b\x85", "[IMG]",
             "<|reserved_special_token_69|> two <|reserved_special_token_69|>"]

    def content(role):
        if rng.random() < strings:
            return rng.choice(words)
        parts = [{"type": "image"} if rng.random() < 0.4 and role != "assistant" else
                 {"type": "text", "text": rng.choice(words)} for _ in range(rng.randint(0, 4))]
        for part in parts:
            if part["type"] == "text" and rng.random() < contents:
                part["content"] = rng.choice(words)
                if rng.random() < 0.5:
                    del part["text"]
        return parts

    strings, contents = rng.choice((0, 1, 1, 0.5)), rng.choice((0, 0, 0.5))
    roles = (["system"] if rng.random() < 0.4 else []) + ["user", "assistant"] * 3
    roles = roles[:rng.randint(1, 6)] if rng.random() < 0.8 else [
        rng.choice(("system", "user", "assistant")) for _ in range(rng.randint(1, 4))]
    return [{"role": role, "content": content(role)} for role in roles]


def printed_list(talk, chat):
    """Would Jinja print a list as Python writes it?"""
    return 10 <= chat <= 15 and any(not isinstance(m["content"], str) for m in talk)


def check_rendering(lib, count, seed):
    """Every known template, rendered by Jinja as transformers does and by us."""
    from transformers.utils.chat_template_utils import _compile_jinja_template
    rng, wrong, refused, done, formats = random.Random(seed), 0, 0, 0, set()
    for text, chat in known_templates(lib):
        compiled, found, error = _compile_jinja_template(text), ctypes.c_int(), Error()
        raw = text.encode()
        wrong += not lib.llava_chat_recognise(b"t", raw, ctypes.c_size_t(len(raw)),
                                              ctypes.byref(found), ctypes.byref(error))
        wrong += found.value != chat
        formats.add(chat)
        for _ in range(count):
            talk, generation = random_talk(rng), rng.random() < 0.7
            words = rng.choice(({"bos_token": "<s>", "eos_token": "</s>"},) * 4 + ({},))
            try:
                want = compiled.render(messages=talk, tools=None, documents=None,
                                       add_generation_prompt=generation, **words)
            except Exception:  # whatever the template or Jinja raises
                want = None
            got, note = our_rendering(lib, chat, talk, generation, words)
            done += 1
            refused += got is None
            if want != got and not (got is None and printed_list(talk, chat)):
                wrong += 1
                if wrong < 6:
                    print("  format %d %r\n    Jinja %r\n    ours  %r %s" % (
                        chat, talk, want, got, note))
    print("%-28s %7d renderings of %d formats, %d refused, %d differ" % (
        "conversations", done, len(formats), refused, wrong))
    return wrong


def check_turns(lib):
    """--chat: one user turn, its pictures first."""
    from transformers.utils.chat_template_utils import _compile_jinja_template
    wrong = done = 0
    for text, chat in known_templates(lib):
        for pictures, user in itertools.product(range(3), ("Hi", "", "é <image> {{ x }}\n")):
            if chat < 10:
                content = [{"type": "image"}] * pictures + [
                    {"type": "text", "text": user, "content": user}]
            else:
                content = "<image>\n" * (pictures if chat < 15 else 0) + user
            want = _compile_jinja_template(text).render(
                messages=[{"role": "user", "content": content}], add_generation_prompt=True,
                bos_token="<s>", tools=None)
            prompt, error = ctypes.c_void_p(), Error()
            if not lib.llava_chat_render_turn(chat, user.encode(), ctypes.c_size_t(pictures), b"<s>",
                                              ctypes.byref(prompt), ctypes.byref(error)):
                raise Refused(error.text.decode())
            done += 1
            wrong += want != ctypes.string_at(prompt.value).decode()
            lib.free(prompt)
    print("%-28s %7d comparisons, %d differ" % ("one user turn", done, wrong))
    return wrong


def probes():
    """Conversations that show what a template does."""
    def turn(role, *parts):
        return {"role": role, "content": [{"type": "image"} if part is None else
                                          {"type": "text", "text": part, "content": part + "c"}
                                          for part in parts]}

    listed = [[turn("user", None, "What is shown?")], [turn("user", "a", None, " b ", None)],
              [turn("system", "Be brief."), turn("user", None, "Hi"),
               turn("assistant", "A sign."), turn("user", "More.")]]
    plain = [[{"role": m["role"], "content": " ".join(part.get("text", "<image>")
                                                      for part in m["content"])} for m in talk]
             for talk in listed]
    return listed + plain + [[{"role": "assistant", "content": "x"}]]


def mutate(rng, template):
    """The template with a few changes, most of which keep what it renders."""
    for _ in range(rng.randint(0, 5)):
        at = rng.randint(0, len(template))
        tag = rng.choice([m for m in ("{%", "%}", "{{", "}}", "{#", "#}") if m in template])
        places = [i for i in range(len(template)) if template.startswith(tag, i)]
        place = rng.choice(places)
        kind = rng.random()
        if kind < 0.3:  # white space beside a tag
            place += rng.choice((0, 2))
            template = template[:place] + rng.choice((" ", "\n", "\r\n", "\n    ", "\t", "  \n"))\
                + template[place:]
        elif kind < 0.5:  # white space control
            place += 2 if tag[0] == "{" else 0
            template = template[:place] + rng.choice("--+") + template[place:]
        elif kind < 0.6:
            template = template[:place] + "{#- note -#}"[rng.choice((0, 1)):] + template[place:]
        elif kind < 0.7:
            template = template.replace("'", '"')
        elif kind < 0.85:
            template = template[:at] + rng.choice(" \n'\"{}%+-=x") + template[at:]
        else:
            template = template[:at] + template[at + 1:]
    return template + rng.choice(("", "", "\n", "\n\n"))


def check_chat(lib, count, seed):
    """Changed templates: what is still taken for a known one must render the same."""
    from transformers.utils.chat_template_utils import _compile_jinja_template

    def outcome(compiled, talk, end):
        try:
            return compiled.render(messages=talk, add_generation_prompt=end, bos_token="<s>",
                                   eos_token="</s>", tools=None)
        except Exception:  # whatever the template or Jinja raises
            return None

    def render(text):
        try:
            compiled = _compile_jinja_template(text)
        except Exception:  # a broken template
            return "broken"
        return [outcome(compiled, talk, end) for talk in probes() for end in (True, False)]

    rng, error = random.Random(seed), Error()
    templates = list(known_templates(lib))
    known = {text: render(text) for text, _ in templates}
    accepted = same = wrong = 0
    for _ in range(count):
        original, format_ = rng.choice(templates)
        text, chat = mutate(rng, original), ctypes.c_int()
        raw = text.encode()
        taken = lib.llava_chat_recognise(b"t", raw, ctypes.c_size_t(len(raw)), ctypes.byref(chat),
                                         ctypes.byref(error))
        equal = render(text) == known[original]
        accepted += taken
        same += equal
        if taken and (not equal or chat.value != format_):
            wrong += 1
            print("  taken for %d, equal %s: %r" % (chat.value, equal, text))
    print("%-28s %7d templates, %d taken, %d render the same, %d wrongly taken" % (
        "changed templates", count, accepted, same, wrong))
    return wrong


# ---- Committed files ----

def write_unicode_cases():
    """tests/data/tokenizer/unicode.json: what the library makes of every code point, as SHA-256, and
    where its patterns split random texts."""
    nfc, classes, normal, in_blocks = normalizers.NFC(), hashlib.sha256(), hashlib.sha256(), hashlib.sha256()
    classes.update(bytes(character_classes()))
    for point in POINTS_ALL:
        text = nfc.normalize_str(nfc_probe(point)).encode()
        normal.update(text)
        if point < 0x34000 or 0xe0000 <= point < 0xe1000:  # where there are characters: a quick test's sample
            in_blocks.update(text)
    fuzz, splits = Fuzz(11), []
    patterns = [(text, pre_tokenizers.Split(Regex(text), "isolated"))
                for text in (GPT2, QWEN2, LLAMA3, TEKKEN)]
    for _ in range(150):
        text = fuzz.text().replace("\0", "0")
        splits.append(dict(text=text, nfc=nfc.normalize_str(text), lengths=[
            [len(piece.encode()) for piece, _ in split.pre_tokenize_str(text)]
            for _, split in patterns]))
    path = os.path.join(ROOT, "tests", "data", "tokenizer", "unicode.json")
    with open(path, "w", encoding="utf-8") as f:
        f.write('{"classes":"%s",\n"nfc":"%s",\n"nfc_in_blocks":"%s",\n"patterns":%s,\n"splits":[\n%s\n]}\n' % (
            classes.hexdigest(), normal.hexdigest(), in_blocks.hexdigest(), json.dumps([text for text, _ in patterns]),
            ",\n".join(json.dumps(case, separators=(",", ":")) for case in splits)))


def write_chat_cases():
    """tests/data/chat/renderings.json: what Jinja makes of conversations, for every format."""
    from transformers.utils.chat_template_utils import _compile_jinja_template
    folder = tempfile.mkdtemp()
    rng, cases, first = random.Random(12), [], {}
    for text, chat in known_templates(prepare()):
        first.setdefault(chat, text)
    shutil.rmtree(folder)
    for chat, text in sorted(first.items()):
        compiled = _compile_jinja_template(text)
        talks = [talk for talk in [random_talk(rng) for _ in range(60)]
                 if not printed_list(talk, chat) and len(json.dumps(talk)) < 700]
        for i, talk in enumerate(probes()[:6] + talks[:12]):
            if printed_list(talk, chat):
                continue
            generation, words = i % 3 > 0, {} if i % 7 == 6 else {"bos_token": "<s>",
                                                                   "eos_token": "</s>"}
            try:
                prompt = compiled.render(messages=talk, tools=None, documents=None,
                                         add_generation_prompt=generation, **words)
            except Exception:  # whatever the template or Jinja raises
                prompt = None
            cases.append(dict(format=chat, prompt=prompt, bos=words.get("bos_token"),
                              eos=words.get("eos_token"), file={
                                  "messages": talk, "add_generation_prompt": generation}))
    path = os.path.join(ROOT, "tests", "data", "chat", "renderings.json")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as f:
        f.write("[\n" + ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases) +
                "\n]\n")


def write_cases():
    """tests/data/tokenizer/NAME: a tokenizer.json and cases.json with the library's answers."""
    write_unicode_cases()
    write_chat_cases()
    small = train(480)
    chosen = {
        "prepend": variant(small, LLAVA, pre_tokenizer=None, decoder=DECODER,
                           post_processor=TEMPLATE),
        "metaspace": variant(small, LLAVA, normalizer=None, pre_tokenizer=metaspace("first"),
                             decoder=DECODER, post_processor=BOTH_ENDS,
                             model_merges=[" ".join(x) for x in small["model"]["merges"]]),
        "flags": variant(small, flag_tokens(), normalizer=None, pre_tokenizer=metaspace("always"),
                         decoder=metaspace("always"), post_processor=None),
        **dict(published_bytes(420)),
    }
    for name, spec in chosen.items():
        folder = os.path.join(ROOT, "tests", "data", "tokenizer", name)
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, "tokenizer.json"), "w", encoding="utf-8") as f:
            json.dump(spec, f, ensure_ascii=False, separators=(",", ":"))
            f.write("\n")
        theirs, rng, fuzz = Tokenizer.from_str(json.dumps(spec)), random.Random(3), Fuzz(4)
        contents = [x["content"] for x in spec["added_tokens"]]
        all_texts = SAMPLES[:-3] + ["abab" * 9, "a" * 50] + [random_text(rng, contents)
                                                            for _ in range(60)]
        if spec["decoder"]["type"] == "ByteLevel":
            all_texts += [fuzz.text() for _ in range(60)]
        cases = []
        for text in all_texts:
            if "\0" not in text:
                ids = theirs.encode(text).ids
                cases.append(dict(text=text, ids=ids,
                                  all=theirs.decode(ids, skip_special_tokens=False),
                                  plain=theirs.decode(ids, skip_special_tokens=True)))
        with open(os.path.join(folder, "cases.json"), "w", encoding="utf-8") as f:
            f.write("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n")


# ---- Unicode, as the library knows it ----

POINTS_ALL = list(itertools.chain(range(0xd800), range(0xe000, 0x110000)))


def matched(expression):
    """Every code point that the library's regular expression matches."""
    split, found = pre_tokenizers.Split(Regex(expression), "removed"), set()
    for i in range(0, len(POINTS_ALL), 2000):
        some = POINTS_ALL[i:i + 2000]
        kept = {ord(c) for piece, _ in split.pre_tokenize_str("\x01".join(map(chr, some)))
                for c in piece}
        found.update(p for p in some if p not in kept)
    return found


def word_characters():
    """The library does not match a single_word token beside one."""
    t = Tokenizer(models.BPE(vocab={"u": 0}, merges=[], unk_token="u"))
    t.add_tokens([AddedToken("X", single_word=True, normalized=False)])
    return {p for p in POINTS_ALL if t.token_to_id("X") not in t.encode("X" + chr(p)).ids}


def character_classes():
    """llava_char_class and llava_is_word (64) of every code point, as the library has them."""
    classes = [0] * 0x110000
    groups = {name: matched(r"\p{%s}" % name)
              for name in ("Lu", "Ll", "Lt", "Lm", "Lo", "M", "N")}
    upper = groups["Lu"] | groups["Lt"] | groups["Lm"] | groups["Lo"] | groups["M"]
    lower = groups["Ll"] | groups["Lm"] | groups["Lo"] | groups["M"]
    space = matched(r"\s")
    letter = (upper | lower) - groups["M"]
    for points, bit in ((letter, 1), (groups["N"], 2), (space, 4), (upper, 16), (lower, 32),
                        (word_characters(), 64),
                        (set(POINTS_ALL) - letter - groups["N"] - space, 8)):
        for point in points:
            classes[point] |= bit
    return classes


def check_classes(lib):
    wrong = 0
    for point, want in enumerate(character_classes()):
        got = lib.llava_char_class(point) | 64 * lib.llava_is_word(point)
        if 0xd800 <= point < 0xe000 or want == got:
            continue
        wrong += 1
        if wrong < 6:
            print("  U+%04X: library %d, ours %d" % (point, want, got))
    print("%-28s %7d comparisons, %d differ" % ("character classes", len(POINTS_ALL), wrong))
    return wrong


class Fuzz:
    """Random texts of every plane, with what the patterns and the normal form stumble over."""

    def __init__(self, seed):
        self.rng = random.Random(seed)
        groups = {}
        for p in POINTS_ALL:
            groups.setdefault(unicodedata.category(chr(p)), []).append(p)
        self.groups = [points for name, points in sorted(groups.items()) if name != "Co"]
        self.marks = groups["Mn"] + groups["Mc"]
        self.composed = [p for p in POINTS_ALL if unicodedata.decomposition(chr(p))[:1] not in
                         ("", "<")]

    def piece(self):
        rng = self.rng
        kind = rng.randrange(12)
        if kind == 0:
            return chr(rng.choice(POINTS_ALL))
        if kind == 1:
            return chr(rng.choice(rng.choice(self.groups)))
        if kind == 2:
            return rng.choice(["'s", "'T", "'rE", "'VE", "'m", "'Ll", "'D", "'\u017f", "'", "'l",
                               "\u2019s", "'r\u0435", "'\u212a"])
        if kind == 3:
            return "".join(rng.choice(" \n\r\t\u00a0\u3000\u2028\x85 \x0b")
                           for _ in range(rng.randint(1, 4)))
        if kind == 4:
            return rng.choice("aZ\u01c5\u00e9\u4e2d\u02b0") * rng.randint(1, 3)
        if kind == 5:
            return rng.choice("07\u0663\u2167\u00bd\U0001d7d8") * rng.randint(1, 5)
        if kind == 6:
            return rng.choice("/.,!-+=[](){}<>|#\u3002\u20ac\U0001f600") * rng.randint(1, 3)
        if kind == 7:
            return "".join(chr(rng.choice(self.marks)) for _ in range(rng.randint(1, 5)))
        if kind == 8:  # conjoining Hangul
            return "".join(chr(rng.choice((rng.randrange(0x10fe, 0x1114), rng.randrange(0x115f, 0x1178),
                                           rng.randrange(0x11a5, 0x11c5),
                                           rng.randrange(0xac00, 0xd7a4))))
                           for _ in range(rng.randint(1, 4)))
        if kind == 9:
            text = chr(rng.choice(self.composed))
            return unicodedata.normalize(rng.choice(("NFC", "NFD", "NFKD")), text)
        if kind == 10:
            first, last, _ = rng.choice(self.young)
            return chr(rng.randint(first, last))
        return chr(rng.randrange(32, 127)) * rng.randint(1, 2)

    def text(self):
        return "".join(self.piece() for _ in range(self.rng.randint(1, 14)))

    # code points that came between the library's tables and utf8proc's, and their neighbours
    young = [(0x897, 0x8d3, 0), (0x10d40, 0x10d85, 0), (0x11930, 0x11943, 0), (0x11380, 0x113e2, 0),
             (0x16100, 0x16139, 0), (0x1e5d0, 0x1e5fa, 0), (0x2ebf0, 0x2ee5d, 0), (0xa7c0, 0xa7dc, 0),
             (0x1abf, 0x1ace, 0), (0x105c0, 0x105f3, 0), (0x16d40, 0x16d79, 0)]


class Bytes(ctypes.Structure):
    _fields_ = [("at", ctypes.c_void_p), ("n", ctypes.c_size_t), ("room", ctypes.c_size_t)]


def our_nfc(lib, text):
    raw, out, error = text.encode(), Bytes(), Error()
    if not lib.llava_nfc(raw, ctypes.c_size_t(len(raw)), ctypes.c_size_t(1 << 24),
                         ctypes.byref(out), ctypes.byref(error)):
        raise Refused(error.text.decode())
    found = ctypes.string_at(out.at, out.n).decode()
    lib.free(ctypes.c_void_p(out.at))
    return found


def our_pieces(lib, pattern, text):
    raw, pieces, at = text.encode(), [], 0
    buffer = ctypes.create_string_buffer(raw)
    while at < len(raw):
        n = lib.llava_split_pattern_piece(pattern, ctypes.addressof(buffer) + at, len(raw) - at)
        pieces.append(raw[at:at + n].decode())
        at += n
    return pieces


def check_fuzz(lib, count, seed):
    """The split patterns and the normal form by themselves: no vocabulary hides a difference."""
    fuzz, nfc = Fuzz(seed), normalizers.NFC()
    patterns = [(name, pre_tokenizers.Split(Regex(text), "isolated"),
                 lib.llava_split_pattern_of(text.encode()))
                for name, text in (("gpt2", GPT2), ("qwen2", QWEN2), ("llama-3", LLAMA3),
                                   ("tekken", TEKKEN))]
    wrong = 0
    for _ in range(count):
        text = fuzz.text()
        checks = [(name, [piece for piece, _ in theirs.pre_tokenize_str(text)],
                   our_pieces(lib, ours, text)) for name, theirs, ours in patterns]
        checks.append(("NFC", nfc.normalize_str(text), our_nfc(lib, text)))
        for name, want, got in checks:
            if want != got:
                wrong += 1
                if wrong < 6:
                    print("  %s: %s\n    library %s\n    ours    %s" % (
                        name, ascii(text), ascii(want), ascii(got)))
    print("%-28s %7d comparisons, %d differ" % ("fuzz, patterns and NFC", 5 * count, wrong))
    return wrong


class Utf8proc:
    """The C library that the tables of ref/unicode_since.h are the difference to."""

    def __init__(self):
        self.lib, self.libc = ctypes.CDLL("libutf8proc.so.2"), ctypes.CDLL(None)
        self.lib.utf8proc_map.restype = ctypes.c_ssize_t
        self.lib.utf8proc_category_string.restype = ctypes.c_char_p
        self.lib.utf8proc_unicode_version.restype = ctypes.c_char_p
        self.libc.free.argtypes = [ctypes.c_void_p]

    def category(self, point):
        return self.lib.utf8proc_category_string(point).decode()

    def normal(self, text, compose):
        raw, out = text.encode(), ctypes.c_void_p()
        n = self.lib.utf8proc_map(raw, len(raw), ctypes.byref(out), 2 | (8 if compose else 16))
        found = ctypes.string_at(out.value, n).decode()
        self.libc.free(out)
        return found


def nfc_probe(point):
    """A text whose composed form shows the code point's decomposition and combining class."""
    c = chr(point)
    return "".join(form % c for form in ("a%s\u0334\x01", "\u0345%s\u0301\x01", "%s\u05b0\u0e38\x01",
                                         "\u0327%s\u302a\x01", "\u3099%s\x01", "\uac00%s\x01"))


def write_unicode_tables():
    utf8proc, nfc = Utf8proc(), normalizers.NFC()
    theirs, since, inert = {}, {}, set()
    for name in ("Lu", "Ll", "Lt", "Lm", "Lo", "M", "Nd", "Nl", "No"):
        theirs.update((p, name) for p in matched(r"\p{%s}" % name))
    for p in POINTS_ALL:
        ours = utf8proc.category(p)
        if theirs.get(p, "-") != (ours[0] if ours[0] == "M" else ours if ours[0] in "LN" else "-"):
            since[p] = {"M": "MN"}.get(theirs[p], theirs[p].upper())
        if nfc.normalize_str(nfc_probe(p)) != utf8proc.normal(nfc_probe(p), True):
            inert.add(p)
        parts = utf8proc.normal(chr(p), False)
        if len(parts) > 1 and nfc.normalize_str(parts) != utf8proc.normal(parts, True):
            inert.update((p, ord(parts[-1])))
    path = os.path.join(ROOT, "ref", "unicode_since.h")
    with open(path, "w", encoding="utf-8") as f:
        f.write(TABLES % (
            "".join("    {0x%x, 0x%x, UTF8PROC_CATEGORY_%s},\n" % row for row in ranges(since)),
            "".join("    {0x%x, 0x%x, 0},\n" % row[:2]
                    for row in ranges(dict.fromkeys(inert | set(since), 0)))))
    subprocess.run(["clang-format", "-i", path], check=True)


def ranges(values):
    """(first, last, value) of every run of neighbours with one value."""
    rows = []
    for point in sorted(values):
        if rows and rows[-1][1] == point - 1 and rows[-1][2] == values[point]:
            rows[-1] = (rows[-1][0], point, values[point])
        else:
            rows.append((point, point, values[point]))
    return rows


TABLES = """/* Generated by tools/check_tokenizer.py --unicode-tables: do not edit.
 *
 * Where the tokenizers library 0.23.3 knows another Unicode than utf8proc 2.8 (Unicode 15), read
 * off both, code point by code point. */
#ifndef LLAVA_UNICODE_SINCE_H
#define LLAVA_UNICODE_SINCE_H

#include <stdint.h>
#include <utf8proc.h>

/* Code points first .. last. */
typedef struct {
    uint32_t first, last, category;
} llava_unicode_range;

/* Letters, marks and numbers that Unicode 15.1 and 16 brought: the library's expressions know them.
 * All marks stand as MN. */
static const llava_unicode_range llava_unicode_since[] = {
%s};

/* Marks and composed characters that came after Unicode 9: the library's normal forms do not know
 * them. Those above are in it, too, so that a newer utf8proc gives the same; and U+11A7, which
 * utf8proc swallows behind a Hangul syllable. */
static const llava_unicode_range llava_unicode_inert[] = {
%s};

#endif
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--texts", type=int, default=1500, help="random texts per tokenizer")
    parser.add_argument("--templates", type=int, default=4000, help="changed chat templates")
    parser.add_argument("--conversations", type=int, default=60, help="of every template")
    parser.add_argument("--fuzz", type=int, default=20000, help="random texts for the patterns")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write-cases", action="store_true")
    parser.add_argument("--unicode-tables", action="store_true")
    options = parser.parse_args()
    if options.write_cases or options.unicode_tables:
        if options.write_cases:
            write_cases()
        if options.unicode_tables:
            write_unicode_tables()
        return 0
    folder = tempfile.mkdtemp()
    try:
        lib = prepare()
        wrong = check_classes(lib)
        wrong += check_fuzz(lib, options.fuzz, options.seed)
        wrong += check_pipelines(lib, folder, options.texts, options.seed)
        wrong += check_configs(lib, folder, options.seed)
        wrong += check_prompts(lib, folder)
        wrong += check_rendering(lib, options.conversations, options.seed)
        wrong += check_turns(lib)
        wrong += check_chat(lib, options.templates, options.seed)
    finally:
        shutil.rmtree(folder)
    print("%d differences" % wrong)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
