#!/usr/bin/env python3
"""Writes what the C tests of the picture stage read: tests/data/png/*.png, tests/data/jpeg/*.jpg and
tests/picture_vectors.h, from Pillow, transformers and torch.

    python3 tools/make_test_pictures.py
    python3 tools/make_test_pictures.py --torchvision   # where torchvision is installed, only these

The files good-*.png and odd-*.png (not quite right, and read all the same) come with the RGB bytes
that transformers' load_image gives for them; bad-*.png are to be refused.
"""

import io
import json
import pathlib
import random
import struct
import sys
import tempfile
import warnings
import zlib

import numpy as np
import PIL
import torch
import transformers
from PIL import Image
from transformers.image_utils import load_image

import jpeg_files
from check_pictures import CHANNELS, FILTERS, KINDS, chunk, make_png, on_background, one_picture, \
    opencv_filters, square, their_processor, tiff

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDER = ROOT / "tests" / "data" / "png"
COLORS = {0: "grey", 2: "rgb", 3: "palette", 4: "greyalpha", 6: "rgba"}


def samples(h, w, channels, top):
    y, x, c = np.meshgrid(np.arange(h), np.arange(w), np.arange(channels), indexing="ij")
    return (37 * y * y + 11 * x * x + 5 * x * y + 71 * c + 3) * (1 if top < 300 else 311) % top


def formula(h, w):
    """The tests' picture, the same as picture_of() in tests/test_picture.c."""
    y, x, c = np.meshgrid(np.arange(h), np.arange(w), np.arange(3), indexing="ij")
    return ((37 * y * y + 11 * x * x + 5 * x * y + 71 * c) % 256).astype(np.uint8)


def palette(entries):
    return chunk(b"PLTE", bytes((53 * i + 17) % 256 for i in range(3 * entries)))


def good_files():
    files = {}
    for color, depth in KINDS:
        top = min(1 << depth, 256) if color == 3 else 1 << depth
        picture = samples(3, 5, CHANNELS[color], top)
        before = palette(min(top, 20)) if color == 3 else b""
        picture = picture % 20 if color == 3 else picture
        files[f"good-{COLORS[color]}{depth}"] = make_png(picture, depth, color, before)
    grey16 = np.array([0, 5, 255, 256, 257, 40000, 65535]).reshape(1, 7, 1)
    files["good-grey16-clip"] = make_png(grey16, 16, 0)
    files["good-interlaced-grey1"] = make_png(samples(9, 9, 1, 2), 1, 0, interlaced=True)
    files["good-interlaced-rgb8"] = make_png(samples(9, 9, 3, 256), 8, 2, interlaced=True)
    files["good-interlaced-narrow"] = make_png(samples(7, 2, 3, 256), 8, 2, interlaced=True)
    files["good-interlaced-flat"] = make_png(samples(2, 7, 1, 16), 4, 3, palette(16), interlaced=True)
    key = lambda *levels: chunk(b"tRNS", struct.pack(f">{len(levels)}H", *levels))
    files["good-key-grey1"] = make_png(samples(3, 5, 1, 2), 1, 0, key(1))
    files["good-key-grey4"] = make_png(samples(3, 5, 1, 16), 4, 0, key(0x33))
    files["good-key-grey8"] = make_png(samples(3, 5, 1, 256), 8, 0, key(3))
    files["good-key-grey16"] = make_png(grey16, 16, 0, key(5))
    files["good-key-rgb8"] = make_png(samples(3, 5, 3, 256), 8, 2, key(3, 74, 145))
    files["good-key-rgb16"] = make_png(samples(3, 5, 3, 65536), 16, 2, key(3, 86, 174))
    alphas = chunk(b"tRNS", bytes([0, 1, 127, 128, 200, 254]))
    files["good-alphas-palette8"] = make_png(samples(3, 5, 1, 9), 8, 3, palette(9) + alphas)
    files["good-one-clear-palette8"] = make_png(samples(3, 5, 1, 9), 8, 3,
                                                palette(9) + chunk(b"tRNS", b"\xff\xff\xff\0"))
    files["good-split-data"] = None  # filled below
    plain = make_png(samples(3, 5, 3, 256), 8, 2)
    data = plain[41:-16]
    files["good-split-data"] = plain[:33] + b"".join(
        chunk(b"IDAT", data[i:i + 9]) for i in range(0, len(data), 9)) + chunk(b"IEND", b"")
    small = samples(2, 3, 3, 256)
    for o in range(1, 9):
        files[f"good-exif-{o}"] = make_png(small, 8, 2, chunk(b"eXIf", tiff(o, "<>"[o % 2])))
    files["good-exif-behind-data"] = make_png(small, 8, 2, after=chunk(b"eXIf", tiff(6)))
    hexed = (b"Exif\0\0" + tiff(8)).hex().encode()
    profile = b"\nexif\n%8d\n" % (len(hexed) // 2) + hexed + b"\n"
    files["good-exif-raw-profile"] = make_png(
        small, 8, 2, chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(profile)))
    xmp = b"<x xmlns:tiff='t' tiff:Orientation=\"3\"/>"
    files["good-exif-xmp"] = make_png(small, 8, 2,
                                      chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp))
    files["odd-exif-broken"] = make_png(small, 8, 2, chunk(b"tEXt", b"Raw profile type exif\0\n\n\n"))
    files["odd-palette-short"] = make_png(samples(3, 5, 1, 9), 8, 3, palette(4))
    files["odd-no-end"] = make_png(small, 8, 2, end=False)
    files["odd-end-cut"] = make_png(small, 8, 2)[:-3]
    files["odd-tail"] = make_png(small, 8, 2) + b"anything"
    files["odd-text-cut"] = make_png(small, 8, 2, end=False) + struct.pack(">I", 900) + b"vpAgx"
    raw = zlib.compress(b"\0" + bytes(range(9)))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 3, 1, 8, 2, 0, 0, 0))
    files["odd-adler"] = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", raw[:-1] + b"\x55") + \
        chunk(b"IEND", b"")
    return files


def bad_files():
    rgb = samples(2, 3, 3, 256)
    plain = make_png(rgb, 8, 2)
    flip = lambda data, at: data[:at] + bytes([data[at] ^ 1]) + data[at + 1:]
    header = lambda *values: b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", *values))
    idat = chunk(b"IDAT", zlib.compress(b"\0" * 40))
    end = chunk(b"IEND", b"")
    indexed = make_png(samples(2, 3, 1, 4), 8, 3, palette(4))
    text = make_png(rgb, 8, 2, chunk(b"tEXt", b"a\0b"))
    return {
        "crc-header": flip(plain, 30),
        "crc-data": flip(plain, len(plain) - 13),
        "crc-palette": flip(indexed, 33 + 8 + 12),
        "crc-end": flip(plain, len(plain) - 1),
        "crc-text-before-data": flip(text, 33 + 11),
        "cut-header": plain[:20],
        "cut-before-data": plain[:33],
        "cut-in-data": plain[:50],
        "cut-in-crc": plain[:-14],
        "data-short": header(3, 3, 8, 2, 0, 0, 0) + chunk(b"IDAT", zlib.compress(b"\0" * 20)) + end,
        "data-none": header(3, 3, 8, 2, 0, 0, 0) + end,
        "data-not-deflate": header(3, 3, 8, 2, 0, 0, 0) + chunk(b"IDAT", b"x" * 20) + end,
        "data-filter": header(3, 1, 8, 2, 0, 0, 0) +
        chunk(b"IDAT", zlib.compress(b"\x09" + b"\0" * 9)) + end,
        "critical": make_png(rgb, 8, 2, chunk(b"ABCD", b"x")),
        "critical-behind-data": make_png(rgb, 8, 2, after=chunk(b"ABCD", b"x")),
        "palette-absent": make_png(samples(2, 3, 1, 4), 8, 3),
        "palette-behind-data": make_png(samples(2, 3, 1, 4), 8, 3, after=palette(4)),
        "palette-behind-rgb": make_png(rgb, 8, 2, after=palette(4)),
        "palette-twice": make_png(samples(2, 3, 1, 4), 8, 3, palette(4) + palette(4)),
        "palette-in-grey": make_png(samples(2, 3, 1, 4), 8, 0, palette(4)),
        "palette-length": make_png(samples(2, 3, 1, 4), 8, 3, chunk(b"PLTE", b"12345")),
        "palette-empty": make_png(samples(2, 3, 1, 4), 8, 3, chunk(b"PLTE", b"")),
        "key-short": make_png(rgb, 8, 2, chunk(b"tRNS", b"\0\1")),
        "zero-width": header(0, 3, 8, 2, 0, 0, 0) + idat + end,
        "zero-height": header(3, 0, 8, 2, 0, 0, 0) + idat + end,
        "too-many-pixels": header(13378, 13378, 8, 2, 0, 0, 0) + idat + end,
        "huge": header(0xffffffff, 0xffffffff, 8, 2, 0, 0, 0) + idat + end,
        "depth": header(3, 3, 3, 2, 0, 0, 0) + idat + end,
        "color-type": header(3, 3, 8, 5, 0, 0, 0) + idat + end,
        "interlace": header(3, 3, 8, 2, 0, 0, 2) + idat + end,
        "header-second": make_png(rgb, 8, 2, plain[8:33]),
        "header-not-first": plain[:8] + plain[33:],
        "chunk-name": make_png(rgb, 8, 2, chunk(b"\x1b[2J", b"x")),
        "chunk-length": plain[:33] + b"\xff\xff\xff\xff" + plain[37:],
        "text": b"hello, this is no picture",
        "empty": b"",
    }


# Read all the same, as the file without the fault.
PILLOW_REFUSES = {
    "odd-exif-broken": make_png(samples(2, 3, 3, 256), 8, 2),
    "odd-text-cut": make_png(samples(2, 3, 3, 256), 8, 2),
    "odd-adler": make_png(np.arange(9).reshape(1, 3, 3), 8, 2),
}


def c_bytes(values, kind="%d", per_line=24):
    words = [kind % v for v in values]
    lines = [", ".join(words[i:i + per_line]) for i in range(0, len(words), per_line)]
    return ",\n        ".join(lines)


def file_vectors(out):
    for old in FOLDER.glob("*.png"):
        old.unlink()
    for name, data in bad_files().items():
        (FOLDER / f"bad-{name}.png").write_bytes(data)
    arrays, rows = [], []
    for name, data in sorted(good_files().items()):
        path = FOLDER / f"{name}.png"
        path.write_bytes(data)
        if name in PILLOW_REFUSES:
            path.write_bytes(PILLOW_REFUSES[name])
        want = [np.array(load_image(str(path)))] + \
            [on_background(path.read_bytes(), level) for level in (255, 0)]
        path.write_bytes(data)
        names = []
        for alpha, pixels in zip(("drop", "white", "black"), want):
            if alpha != "drop" and np.array_equal(pixels, want[0]):
                names.append(names[0])
                continue
            names.append(f"{name.replace('-', '_')}_{alpha}")
            arrays.append(f"static const uint8_t {names[-1]}[] = {{{c_bytes(pixels.reshape(-1))}}};")
        h, w, _ = want[0].shape
        rows.append(f'{{"{name}", {h}, {w}, {{{", ".join(names)}}}}}')
    out += arrays
    out.append("static const png_vector png_vectors[] = {\n    " + ",\n    ".join(rows) + "};")
    bad = ",\n    ".join(f'"{name}"' for name in bad_files())
    out.append(f"static const char *const bad_pngs[] = {{\n    {bad}}};")


def smooth(h, w):
    """Colours that a photo has: a decoder that repeats chroma is seen at once."""
    y, x = np.meshgrid(np.arange(h) / h, np.arange(w) / w, indexing="ij")
    return np.stack([255 * x, 255 * y, 255 * (1 - x) * (1 - y)], -1).astype(np.uint8)


def saved(image, **options):
    out = io.BytesIO()
    image.save(out, "JPEG", **options)
    return out.getvalue()


def good_jpegs():
    files, rng = {}, random.Random(3)
    photo = Image.fromarray(smooth(21, 35))
    for i, name in enumerate(("444", "422", "420")):
        files[name] = saved(photo, quality=80, subsampling=i)
        files[f"progressive-{name}"] = saved(photo, quality=80, subsampling=i, progressive=True)
    files["restart"] = saved(photo, quality=60, restart_marker_blocks=1)
    files["grey"] = saved(photo.convert("L"), quality=80)
    files["rgb"] = saved(photo, quality=80, subsampling=0, keep_rgb=True)
    files["cmyk"] = saved(photo.convert("CMYK"), quality=80)
    for name, samplings in jpeg_files.SAMPLINGS.items():
        for kind in ("one", "progressive"):
            j = jpeg_files.Jpeg(rng, 13, 11, samplings, restart=2 if kind == "one" else 0)
            before = jpeg_files.adobe(2) if name == "ycck" else b""
            files[f"made-{name}-{kind}"] = j.file(kind, before)
    files["made-split"] = jpeg_files.Jpeg(rng, 9, 17, jpeg_files.SAMPLINGS["420"]).file("split")
    files["made-one-pixel"] = jpeg_files.Jpeg(rng, 1, 1, jpeg_files.SAMPLINGS["420"]).file()
    small = jpeg_files.Jpeg(rng, 3, 2, [(1, 1)] * 3)
    files["made-ids-rgb"] = jpeg_files.Jpeg(rng, 3, 2, [(1, 1)] * 3, [82, 71, 66]).file()
    files["made-adobe-rgb"] = small.file(before=jpeg_files.adobe(0))
    for o in range(1, 9):
        files[f"exif-{o}"] = small.file(before=jpeg_files.exif(tiff(o, "<>"[o % 2])))
    whole = tiff(8, extra=2)
    files["exif-in-two"] = small.file(before=jpeg_files.exif(whole[:20]) + jpeg_files.exif(whole[20:]))
    xmp = jpeg_files.xmp(b"<x tiff:Orientation=\"3\"/>")
    files["exif-before-xmp"] = small.file(before=xmp + jpeg_files.exif(tiff(6)))
    files["exif-unreadable"] = small.file(before=xmp + jpeg_files.exif(b"IM" + tiff(6)[2:]))
    files["xmp"] = small.file(before=xmp)
    plain = small.file()
    files["odd-no-huffman"] = plain[:plain.index(b"\xff\xc4")] + \
        plain[plain.index(b"\xff\xc0"):]  # as in Motion JPEG: the tables of the standard
    files["odd-segment-length"] = plain[:2] + b"\xff\xfe\0\1" + plain[2:]
    files["odd-no-end"] = small.file(after=b"\0\0\0\0")
    files["odd-tail"] = small.file() + b"anything"
    files["odd-between"] = small.file(before=jpeg_files.jfif() + b"\0\0\xff\xff")
    scan = jpeg_files.Jpeg(rng, 60, 9, [(1, 1)] * 3).file()
    files["odd-data-missing"] = scan[:-120] + b"\xff\xd9"
    return files


def bad_jpegs():
    rng = random.Random(4)
    j = jpeg_files.Jpeg(rng, 40, 30, jpeg_files.SAMPLINGS["420"])
    plain = j.file()
    frame = j.frame(0xc0)
    at = plain.index(frame)
    swap = lambda new: plain[:at] + new + plain[at + len(frame):]
    two = jpeg_files.Jpeg(rng, 5, 5, [(1, 1)] * 2)
    large = frame[:5] + struct.pack(">HH", 13378, 13378) + frame[9:]
    empty = jpeg_files.segment(0xda, b"\3\1\0\2\0\3\0\0\0\0")
    bomb = jpeg_files.Jpeg(rng, 8, 8, [(1, 1)] * 3, busy=0)
    return {
        "cut-mark": plain[:3],
        "cut-header": plain[:at + 8],
        "cut-data": plain[:-200],
        "cut-data-progressive": j.file("progressive")[:-200],
        "cut-segment": b"\xff\xd8\xff\xe0\0\x10JFIF\0",
        "no-data": plain[:plain.index(b"\xff\xda")] + b"\xff\xd9",
        "no-frame": swap(b""),
        "no-quantisation": b"\xff\xd8" + plain[plain.index(b"\xff\xc4"):],
        "two-frames": swap(frame + frame),
        "two-components": two.file(),
        "five-components": jpeg_files.Jpeg(rng, 5, 5, [(1, 1)] * 5).file("split"),
        "twelve-bits": swap(j.frame(0xc1, 12)),
        "lossless": swap(j.frame(0xc3)),
        "zero-height": swap(frame[:5] + b"\0\0" + frame[7:]),
        "zero-width": swap(frame[:7] + b"\0\0" + frame[9:]),
        "sampling-zero": swap(frame[:-1 - 7] + b"\0" + frame[-7:]),
        "too-many-pixels": swap(large),
        "huffman-code": plain[:2] + jpeg_files.segment(0xc4, b"\0" + b"\xff" * 16 + b"\0" * 99) +
        plain[2:],
        "scans": bomb.file("progressive", after=empty * 600 + b"\xff\xd9"),
    }


READ_BY_PILLOW = {"scans"}  # it has no limit of scans


def jpeg_vectors(out):
    folder = ROOT / "tests" / "data" / "jpeg"
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.jpg"):
        old.unlink()
    rows = []
    for name, data in bad_jpegs().items():
        path = folder / f"bad-{name}.jpg"
        path.write_bytes(data)
        try:
            load_image(str(path))
        except Exception:
            continue
        assert name in READ_BY_PILLOW, name
    for name, data in sorted(good_jpegs().items()):
        path = folder / f"good-{name}.jpg"
        path.write_bytes(data)
        pixels = np.array(load_image(str(path)))
        label = "jpeg_" + name.replace("-", "_")
        out.append(f"static const uint8_t {label}[] = {{{c_bytes(pixels.reshape(-1))}}};")
        rows.append(f'{{"{name}", {pixels.shape[0]}, {pixels.shape[1]}, {label}}}')
    out.append("static const jpeg_vector jpeg_vectors[] = {\n    " + ",\n    ".join(rows) + "};")
    bad = ",\n    ".join(f'"{name}"' for name in bad_jpegs())
    out.append(f"static const char *const bad_jpegs[] = {{\n    {bad}}};")


SIZES = [((1, 10), (1, 4)), ((7, 1), (16, 1)), ((13, 4), (5, 3)), ((4, 13), (3, 5)),
         ((5, 6), (8, 7)), ((9, 2), (3, 6)), ((12, 11), (4, 9))]
# Whole factors: of 2, which OpenCV's linear averages; of 3 and 2; of 49, whose reciprocal's reciprocal is not whole.
OPENCV_SIZES = [((6, 10), (3, 5)), ((6, 4), (2, 2)), ((49, 2), (1, 2)), ((1, 5), (3, 5))]


def resize_vectors(out):
    arrays, rows = [], []

    def add(name, enum, rounding, h, w, oh, ow, pixels):
        label = f"{name}_{h}x{w}_{oh}x{ow}"
        arrays.append(f"static const uint8_t {label}[] = {{{c_bytes(pixels.reshape(-1))}}};")
        rows.append(f"{{{enum}, {rounding}, {h}, {w}, {oh}, {ow}, {label}}}")

    for name, number in FILTERS.items():
        for (h, w), (oh, ow) in SIZES:
            pixels = np.array(Image.fromarray(formula(h, w)).resize((ow, oh), number))
            add(name, f"LLAVA_RESAMPLE_{name.upper()}", "LLAVA_RESIZE_PILLOW", h, w, oh, ow, pixels)
    for name in ("bicubic", "bilinear"):
        for (h, w), (oh, ow) in SIZES:
            tensor = torch.from_numpy(formula(h, w)).permute(2, 0, 1)[None].contiguous()
            pixels = torch.nn.functional.interpolate(tensor, (oh, ow), mode=name, antialias=True)
            add(f"torch_{name}", f"LLAVA_RESAMPLE_{name.upper()}", "LLAVA_RESIZE_TORCHVISION",
                h, w, oh, ow, pixels[0].permute(1, 2, 0).numpy())
    out += arrays
    out.append("static const resize_vector resize_vectors[] = {\n    " + ",\n    ".join(rows) + "};")


# preprocessor_config.json of every class, and a picture's height and width.
VALUES = {
    "clip": (dict(type="CLIP", size={"shortest_edge": 5}, crop_size=square(5)), (7, 11)),
    "clip_tall": (dict(type="CLIP", size={"shortest_edge": 4}, crop_size=square(4)), (23, 9)),
    "clip_crop_beyond": (dict(type="CLIP", size={"shortest_edge": 3},
                              crop_size={"height": 6, "width": 6}), (4, 5)),
    "clip_bilinear": (dict(type="CLIP", size={"shortest_edge": 5}, crop_size=square(5), resample=2),
                      (13, 8)),
    "clip_not_scaled": (dict(type="CLIP", size={"shortest_edge": 4}, crop_size=square(4),
                             do_rescale=False), (6, 7)),
    "llava": (dict(type="Llava", size={"shortest_edge": 4}, crop_size=square(4)), (6, 9)),
    "llava_pad": (dict(type="Llava", do_pad=True, size={"shortest_edge": 4}, crop_size=square(4)),
                  (6, 9)),
    "llava_pad_tall": (dict(type="Llava", do_pad=True, size={"height": 7, "width": 4},
                            do_center_crop=False), (9, 4)),
    "siglip": (dict(type="Siglip", size=square(6)), (9, 14)),
    "siglip_larger": (dict(type="Siglip", size={"height": 7, "width": 5}), (3, 4)),
    "pixtral": (dict(type="Pixtral", size={"longest_edge": 12}, patch_size=square(4)), (15, 21)),
    "pixtral_as_it_is": (dict(type="Pixtral", size={"longest_edge": 12}, patch_size=square(4)),
                         (8, 4)),
    "pixtral_tall": (dict(type="Pixtral", size={"longest_edge": 9},
                          patch_size={"height": 2, "width": 3}), (31, 7)),
}


def value_vectors(out, backend):
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, (options, (h, w)) in VALUES.items():
            processor = their_processor(folder, options, backend)
            assert processor.backend == backend
            values = one_picture(processor, formula(h, w), "np" if backend == "pil" else "pt")
            bits = values.reshape(-1).view(np.uint32)
            label = f"{backend}_{name}"
            out.append(f"static const uint32_t {label}[] = {{{c_bytes(bits, '0x%08x', 8)}}};")
            text = (pathlib.Path(folder) / "preprocessor_config.json").read_text()
            rows.append(f'{{"{label}", {json.dumps(text)}, {h}, {w}, {values.shape[1]}, '
                        f"{values.shape[2]}, {label}}}")
    out.append(f"static const value_vector {backend}_vectors[] = {{\n    " +
               ",\n    ".join(rows) + "};")


VALUE_VECTOR = """typedef struct {
    const char *name, *processor; /* preprocessor_config.json */
    size_t height, width, new_height, new_width;
    const uint32_t *bits; /* of the float32 pixel_values */
} value_vector;"""


def torchvision_vectors():
    """In an environment that has torchvision: tests/torchvision_vectors.h."""
    import torchvision
    out = [f"""/* Written by `tools/make_test_pictures.py --torchvision` from torchvision {torchvision.__version__.split("+")[0]},
 * torch {torch.__version__.split("+")[0]} and transformers {transformers.__version__}: what the processors of the torchvision backend
 * give for the pictures and processors of picture_vectors.h, and torchvision's own resize. */
/* clang-format off */"""]
    arrays, rows = [], []
    from torchvision.transforms.v2 import functional
    for name in ("bicubic", "bilinear"):
        for (h, w), (oh, ow) in SIZES:
            tensor = torch.from_numpy(formula(h, w)).permute(2, 0, 1).contiguous()
            mode = functional.InterpolationMode(name)
            pixels = functional.resize(tensor, [oh, ow], interpolation=mode, antialias=True)
            label = f"torchvision_{name}_{h}x{w}_{oh}x{ow}"
            pixels = pixels.permute(1, 2, 0).numpy()
            arrays.append(f"static const uint8_t {label}[] = {{{c_bytes(pixels.reshape(-1))}}};")
            rows.append(f"{{LLAVA_RESAMPLE_{name.upper()}, LLAVA_RESIZE_TORCHVISION, {h}, {w}, {oh}, "
                        f"{ow}, {label}}}")
    out += arrays
    out.append("static const resize_vector torchvision_resizes[] = {\n    " + ",\n    ".join(rows) +
               "};")
    value_vectors(out, "torchvision")
    (ROOT / "tests" / "torchvision_vectors.h").write_text("\n".join(out) + "\n")


def opencv_vectors():
    """In an environment that has OpenCV (opencv-python-headless): tests/opencv_vectors.h."""
    import cv2

    arrays, rows = [], []
    for name, (_, resize) in opencv_filters().items():
        for (h, w), (oh, ow) in SIZES + OPENCV_SIZES:
            label = f"opencv_{name}_{h}x{w}_{oh}x{ow}"
            pixels = resize(formula(h, w), oh, ow).reshape(-1)
            arrays.append(f"static const uint8_t {label}[] = {{{c_bytes(pixels)}}};")
            rows.append(f"{{LLAVA_RESAMPLE_{name.upper()}, LLAVA_RESIZE_OPENCV, {h}, {w}, {oh}, {ow}, {label}}}")
    made = f"/* Written by `tools/make_test_pictures.py --opencv` from OpenCV {cv2.__version__}"
    out = [f"""{made}, its IPP switched off: what
 * cv::resize makes of picture_of() of tests/test_picture.c. */
/* clang-format off */"""]
    out += arrays
    out.append("static const resize_vector opencv_resizes[] = {\n    " + ",\n    ".join(rows) + "};")
    (ROOT / "tests" / "opencv_vectors.h").write_text("\n".join(out) + "\n")
    opencv_ports(made)


def opencv_ports(made):
    """What ports that call OpenCV make of golden/picture-prompt/p.png before they normalise: the centre of a picture
    of 21 rows, or, the aspect lost, of 21 rows and columns."""
    import cv2

    image = np.array(Image.open(ROOT / "golden" / "picture-prompt" / "p.png").convert("RGB"))
    wide = 21 * image.shape[1] // image.shape[0]
    ports = {"linear": (cv2.INTER_LINEAR, wide, False), "cubic": (cv2.INTER_CUBIC, wide, False),
             "area": (cv2.INTER_AREA, wide, False), "linear_stretched": (cv2.INTER_LINEAR, 21, False),
             "cubic_stretched_ipp": (cv2.INTER_CUBIC, 21, True)}
    out = [f"""{made}:
 * golden/picture-prompt/p.png as ports have it before they normalise, [21, 21, 3]. Intel's IPP is
 * in use where the name says so. */
/* clang-format off */"""]
    for name, (flag, width, ipp) in ports.items():
        cv2.ipp.setUseIPP(ipp)
        left = (width - 21) // 2
        pixels = cv2.resize(image, (width, 21), interpolation=flag)[:, left : left + 21].reshape(-1)
        out.append(f"static const uint8_t opencv_{name}[] = {{{c_bytes(pixels)}}};")
    (ROOT / "tests" / "opencv_ports.h").write_text("\n".join(out) + "\n")


def main():
    warnings.simplefilter("ignore")
    if "--torchvision" in sys.argv[1:]:
        torchvision_vectors()
        return
    if "--opencv" in sys.argv[1:]:
        opencv_vectors()
        return
    FOLDER.mkdir(parents=True, exist_ok=True)
    out = [f"""/* Written by tools/make_test_pictures.py from Pillow {PIL.__version__}, transformers
 * {transformers.__version__} and torch {torch.__version__.split("+")[0]}. The pictures that are resized are picture_of() of
 * tests/test_picture.c. */
/* clang-format off */"""]
    files = list(out)
    files.append("""typedef struct {
    const char *name;
    size_t height, width;
    const uint8_t *rgb[3]; /* alpha dropped, on white, on black */
} png_vector;""")
    file_vectors(files)
    (ROOT / "tests" / "png_vectors.h").write_text("\n".join(files) + "\n")
    jpegs = list(out)
    jpegs.append("""typedef struct {
    const char *name;
    size_t height, width;
    const uint8_t *rgb;
} jpeg_vector;""")
    jpeg_vectors(jpegs)
    (ROOT / "tests" / "jpeg_vectors.h").write_text("\n".join(jpegs) + "\n")
    out.append("""typedef struct {
    llava_resample filter;
    llava_resize_rounding rounding;
    size_t height, width, new_height, new_width;
    const uint8_t *rgb;
} resize_vector;""")
    out.append(VALUE_VECTOR)
    resize_vectors(out)
    value_vectors(out, "pil")
    (ROOT / "tests" / "picture_vectors.h").write_text("\n".join(out) + "\n")


if __name__ == "__main__":
    main()
