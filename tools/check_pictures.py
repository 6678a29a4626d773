#!/usr/bin/env python3
"""Checks the picture stage against Pillow, transformers and torch, bit for bit.

    python3 tools/check_pictures.py [--cases N] [--seed S]

Calls the C code as a library (tools/c_library.py) and compares: every resampling filter with Pillow's Image.resize; pixel_values with the image
processors that transformers loads for the same preprocessor_config.json; torchvision's rounding
with torch.nn.functional.interpolate on uint8 (the same kernel); PNG and JPEG files of every kind
with transformers' load_image and with Pillow. Needs Pillow, numpy, torch and transformers.
Where torchvision is installed, too, `--only torchvision` compares its processors with
image.resize_rounding=torchvision, and where OpenCV is (the package opencv-python-headless), `--only opencv` every
byte of its resize with image.resize_rounding=opencv. Exits 1 when anything differs.
"""

import argparse
import ctypes
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
from PIL import Image

import c_library
import jpeg_files
from c_library import Error

ROOT = pathlib.Path(__file__).resolve().parent.parent

class Picture(ctypes.Structure):
    _fields_ = [("height", ctypes.c_size_t), ("width", ctypes.c_size_t), ("rgb", ctypes.c_void_p)]


class Plane(ctypes.Structure):
    _fields_ = [("height", ctypes.c_size_t), ("width", ctypes.c_size_t),
                ("u8", ctypes.c_void_p), ("f64", ctypes.c_void_p)]


class Resampling(ctypes.Structure):
    _fields_ = [("filter", ctypes.c_int), ("antialias", ctypes.c_bool), ("cubic_a", ctypes.c_double),
                ("rounding", ctypes.c_int), ("grid", ctypes.c_int), ("horizontal_first", ctypes.c_bool),
                ("tie", ctypes.c_double)]


class Processor(ctypes.Structure):
    _fields_ = [("images", ctypes.c_int)] + \
               [(n, ctypes.c_bool) for n in
                ("do_pad", "do_resize", "do_center_crop", "do_rescale", "do_normalize")] + \
               [(n, ctypes.c_size_t) for n in
                ("shortest_edge", "resize_height", "resize_width", "grid_height", "grid_width",
                 "crop_height", "crop_width")] + \
               [("resample", ctypes.c_int), ("rescale_factor", ctypes.c_double),
                ("mean", ctypes.c_double * 3), ("std", ctypes.c_double * 3),
                ("class", ctypes.c_int), ("has_processor", ctypes.c_bool),
                ("patch_size", ctypes.c_size_t), ("select", ctypes.c_int),
                ("additional_tokens", ctypes.c_size_t), ("image_token", ctypes.c_char * 128),
                ("image_break_token", ctypes.c_char * 128), ("image_end_token", ctypes.c_char * 128)]


PLAN = ["channel_order", "geometry", "pad_color", "pad_align", "pad_order", "resize_filter",
        "antialias", "cubic_a", "resize_rounding", "resize_grid", "pass_order", "size_rounding", "crop_rounding",
        "alpha", "exif", "jpeg_upsampling", "jpeg_dct", "rescale", "normalize"]
TORCHVISION, FLOAT, ONCE, OPENCV = 1, 2, 3, 4
TRUNC = 2


class Plan(ctypes.Structure):
    _fields_ = [(n, ctypes.c_int) for n in PLAN] + [("tie", ctypes.c_double)]


class Stages(ctypes.Structure):
    _fields_ = [("stage", Picture * 4), ("height", ctypes.c_size_t), ("width", ctypes.c_size_t),
                ("pixel_values", ctypes.c_void_p)]


STRUCTURES = {"llava_picture": Picture, "llava_plane": Plane, "llava_resampling": Resampling,
              "llava_processor": Processor, "llava_image_plan": Plan, "llava_image_stages": Stages}
HEADERS = ["ref/picture.h", "ref/picture_file.h", "ref/plan.h", "ref/config.h", "ref/resample.h"]


def array_at(address, shape, kind):
    count = int(np.prod(shape))
    return np.frombuffer((kind * count).from_address(address), dtype=kind).reshape(shape).copy()


class Library:
    def __init__(self, handle):
        self.c = handle

    def resize(self, image, height, width, filter, antialias=True, cubic_a=-0.5, rounding=0, grid=0):
        image = np.ascontiguousarray(image)
        plane = Plane(image.shape[0], image.shape[1], image.ctypes.data, None)
        how = Resampling(filter, antialias, cubic_a, rounding, grid)
        out, e = Plane(), Error()
        if not self.c.llava_resize(ctypes.byref(how), ctypes.byref(plane), ctypes.c_size_t(height),
                                   ctypes.c_size_t(width), ctypes.byref(out), ctypes.byref(e)):
            raise RuntimeError(e.text.decode())
        got = array_at(out.u8, (height, width, 3), ctypes.c_uint8) if out.u8 else \
            array_at(out.f64, (height, width, 3), ctypes.c_double)
        self.c.llava_plane_free(ctypes.byref(out))
        return got

    def read_processor(self, folder):
        """The image processor of a folder."""
        processor, e = Processor(), Error()
        if not self.c.llava_processor_read(ctypes.byref(processor), str(folder).encode(),
                                           ctypes.byref(e)):
            raise RuntimeError(e.text.decode())
        return processor

    def process(self, processor, image, **decisions):
        image = np.ascontiguousarray(image)
        picture = Picture(image.shape[0], image.shape[1], image.ctypes.data)
        plan, stages, e = Plan(**decisions), Stages(), Error()
        if not self.c.llava_picture_process(ctypes.byref(processor), ctypes.byref(plan),
                                            ctypes.byref(picture), ctypes.byref(stages),
                                            ctypes.byref(e)):
            raise RuntimeError(e.text.decode())
        values = array_at(stages.pixel_values, (3, stages.height, stages.width), ctypes.c_float)
        shown = [array_at(s.rgb, (s.height, s.width, 3), ctypes.c_uint8) if s.rgb else None
                 for s in stages.stage]
        self.c.llava_image_stages_free(ctypes.byref(stages))
        return values, shown

    def read(self, data, **decisions):
        picture, plan, e = Picture(), Plan(**decisions), Error()
        if not self.c.llava_picture_read(ctypes.byref(picture), b"p", data,
                                         ctypes.c_size_t(len(data)), ctypes.byref(plan),
                                         ctypes.byref(e)):
            raise RuntimeError(e.text.decode(errors="replace"))
        got = array_at(picture.rgb, (picture.height, picture.width, 3), ctypes.c_uint8)
        self.c.llava_picture_free(ctypes.byref(picture))
        return got


class Tally:
    def __init__(self):
        self.failed = False

    def report(self, what, cases, bad, detail=""):
        print(f"{what}: {cases} cases, {len(bad)} differ {detail}")
        for line in bad[:5]:
            print("   ", line)
        self.failed |= bool(bad)


def random_size(rng):
    kind = rng.random()
    if kind < 0.15:
        return 1, rng.randint(1, 900)
    if kind < 0.3:
        return rng.randint(1, 900), 1
    if kind < 0.4:
        return rng.randint(200, 1500), rng.randint(1, 4)
    return rng.randint(1, 160), rng.randint(1, 160)


def random_image(rng, h, w):
    kind = rng.random()
    source = np.random.default_rng(rng.randrange(2**32))
    if kind < 0.5:
        return source.integers(0, 256, (h, w, 3), dtype=np.uint8)
    if kind < 0.75:
        return (source.integers(0, 2, (h, w, 3)) * 255).astype(np.uint8)
    y, x, c = np.meshgrid(np.arange(h), np.arange(w), np.arange(3), indexing="ij")
    return ((37 * y * y + 11 * x * x + 5 * x * y + 71 * c) % 256).astype(np.uint8)


FILTERS = {"nearest": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3, "box": 4, "hamming": 5}


def check_resize(lib, rng, cases, tally):
    for name, number in FILTERS.items():
        bad = []
        n = cases if name == "bicubic" else cases // 2
        for _ in range(n):
            (h, w), (oh, ow) = random_size(rng), random_size(rng)
            image = random_image(rng, h, w)
            want = np.array(Image.fromarray(image).resize((ow, oh), number))
            got = lib.resize(image, oh, ow, number)
            if not np.array_equal(got, want):
                bad.append(f"{h}x{w} -> {oh}x{ow}: {np.count_nonzero(got != want)} values")
        tally.report(f"resize {name} = Pillow", n, bad)


def check_torch(lib, rng, cases, tally):
    import torch
    from torch.nn.functional import interpolate
    for mode, number in (("bicubic", 3), ("bilinear", 2)):
        bad, without = [], 0
        for _ in range(cases):
            (h, w), (oh, ow) = random_size(rng), random_size(rng)
            image = random_image(rng, h, w)
            tensor = torch.from_numpy(image).permute(2, 0, 1)[None].contiguous()
            try:
                want = interpolate(tensor, (oh, ow), mode=mode, antialias=True)[0].permute(1, 2, 0)
            except RuntimeError:  # torch 2.13 asserts in its own kernel for a few thin sizes
                without += 1
                continue
            got = lib.resize(image, oh, ow, number, rounding=TORCHVISION)
            if not np.array_equal(got, want.numpy()):
                bad.append(f"{h}x{w} -> {oh}x{ow}: {np.count_nonzero(got != want.numpy())} values")
        tally.report(f"resize {mode}, torchvision rounding = torch uint8", cases - without, bad,
                     f"({without} that torch itself fails on)")
    # The ports' resize: no antialias, replicated edges, float64; a=-0.75 is torch's cubic.
    for mode, number, grid, corners in (("bilinear", 2, 0, False), ("bicubic", 3, 0, False),
                                        ("bilinear", 2, 2, True), ("bicubic", 3, 2, True)):
        bad, worst = [], 0.0
        for _ in range(cases // 4):
            h, w, oh, ow = (rng.randint(1, 90) for _ in range(4))
            image = random_image(rng, h, w)
            tensor = torch.from_numpy(image.astype(np.float64)).permute(2, 0, 1)[None]
            want = interpolate(tensor, (oh, ow), mode=mode, align_corners=corners)[0]
            got = lib.resize(image, oh, ow, number, antialias=False, cubic_a=-0.75, rounding=FLOAT,
                             grid=grid)
            error = np.abs(got - want.permute(1, 2, 0).numpy()).max()
            worst = max(worst, error)
            if error > 1e-9:  # float64 noise of sums of products up to 255
                bad.append(f"{h}x{w} -> {oh}x{ow}: {error}")
        tally.report(f"resize {mode} align_corners={corners}, antialias off = torch float64",
                     cases // 4, bad, f"(largest error {worst:.1e})")


def opencv_filters():
    """name -> (our number of the filter, OpenCV's resize of an image). The cubic is OpenCV's own, not Intel's IPP's,
    which pip's builds for x86 have, too."""
    import cv2

    def resize(flag):
        return lambda image, height, width: cv2.resize(image, (width, height), interpolation=flag)

    cv2.ipp.setUseIPP(False)
    return {"bilinear": (2, resize(cv2.INTER_LINEAR)), "bicubic": (3, resize(cv2.INTER_CUBIC)),
            "box": (4, resize(cv2.INTER_AREA)), "nearest": (0, resize(cv2.INTER_NEAREST))}


def check_opencv(lib, rng, cases, tally):
    """Odd sizes, larger and smaller, and now and then whole factors, where OpenCV goes other ways."""
    for name, (number, resize) in opencv_filters().items():
        bad, bytes_in_all = [], 0
        for i in range(cases):
            h, w, oh, ow = (rng.randint(1, 300) for _ in range(4))
            if i % 5 == 0:
                down, across = rng.choice([(2, 2), (3, 3), (4, 2), (1, 3), (49, 2)])
                oh, ow = min(oh, 60), min(ow, 60)
                h, w = down * oh, across * ow
            image = random_image(rng, h, w)
            want, got = resize(image, oh, ow), lib.resize(image, oh, ow, number, rounding=OPENCV)
            bytes_in_all += want.size
            if not np.array_equal(got, want):
                bad.append(f"{h}x{w} -> {oh}x{ow}: {np.count_nonzero(got != want)} values")
        tally.report(f"resize {name} = OpenCV", cases, bad, f"({bytes_in_all} bytes)")


def square(edge):
    return {"height": edge, "width": edge}


# preprocessor_config.json of every class; more than one size or step is of interest.
PROCESSORS = {
    "CLIP 56": dict(type="CLIP", size={"shortest_edge": 56}, crop_size=square(56)),
    "CLIP 20, crop 33x28": dict(type="CLIP", size={"shortest_edge": 20},
                                crop_size={"height": 33, "width": 28}),
    "CLIP, crop only": dict(type="CLIP", do_resize=False, crop_size={"height": 40, "width": 31}),
    "CLIP, no rescale": dict(type="CLIP", size={"shortest_edge": 24}, crop_size=square(24),
                             do_rescale=False),
    "CLIP, no normalise, bilinear": dict(type="CLIP", size={"shortest_edge": 24},
                                         crop_size=square(24), do_normalize=False, resample=2),
    "LLaVA, pad": dict(type="Llava", size={"shortest_edge": 56}, crop_size=square(56), do_pad=True),
    "LLaVA, pad, both edges": dict(type="Llava", size={"height": 30, "width": 41}, do_pad=True,
                                   do_center_crop=False),
    "LLaVA, pad, other mean": dict(type="Llava", size={"shortest_edge": 17}, crop_size=square(15),
                                   do_pad=True, image_mean=[0.1, 0.9, 0.999], image_std=[1, 2, 3]),
    "LLaVA": dict(type="Llava", size=19, crop_size=17),
    "SigLIP 42": dict(type="Siglip", size=square(42)),
    "SigLIP 23x60, bilinear": dict(type="Siglip", size={"height": 23, "width": 60}, resample=2),
    "SigLIP, shortest edge": dict(type="Siglip", size=31),
    "SigLIP, crop": dict(type="Siglip", size={"shortest_edge": 31}, do_center_crop=True,
                         crop_size=square(28)),
    "SigLIP's default": dict(type="Siglip"),
    "Pixtral 64": dict(type="Pixtral", size={"longest_edge": 64}, patch_size=square(16)),
    "Pixtral 50, 7x9": dict(type="Pixtral", size={"longest_edge": 50},
                            patch_size={"height": 7, "width": 9}),
    "Pixtral 40x90": dict(type="Pixtral", size={"height": 40, "width": 90}, patch_size=8),
    "Pixtral, lanczos": dict(type="Pixtral", size={"longest_edge": 33}, patch_size=4, resample=1),
    "Pixtral, crop": dict(type="Pixtral", size={"longest_edge": 64}, patch_size=16,
                          do_center_crop=True, crop_size=square(48)),
}


def their_processor(folder, options, backend):
    """The folder's image processor by the class that transformers loads for it."""
    from transformers import AutoImageProcessor
    options = dict(options)
    options["image_processor_type"] = options.pop("type") + "ImageProcessor"
    (pathlib.Path(folder) / "preprocessor_config.json").write_text(json.dumps(options))
    return AutoImageProcessor.from_pretrained(folder, backend=backend)


def one_picture(theirs, image, tensors):
    values = theirs(images=Image.fromarray(image), return_tensors=tensors)
    return np.asarray(values["pixel_values"])[0].astype(np.float32)


def check_processors(lib, rng, cases, tally, folder, backend):
    """pixel_values of one picture, to the last bit. backend: pil or torchvision."""
    for name, options in PROCESSORS.items():
        theirs = their_processor(folder, options, backend)
        assert theirs.backend == backend, theirs
        ours = lib.read_processor(folder)
        bad, nothing = [], 0
        for _ in range(cases):
            h, w = rng.randint(1, 130), rng.randint(1, 130)
            image = random_image(rng, h, w)
            try:
                want = one_picture(theirs, image, "np" if backend == "pil" else "pt")
            except (ValueError, RuntimeError):  # no pixel left, or torch's own assertion
                nothing += 1
                continue
            fast = backend == "torchvision"
            got, _ = lib.process(ours, image, resize_rounding=TORCHVISION if fast else 0,
                                 crop_rounding=TRUNC if fast else 0)
            if got.shape != want.shape or got.tobytes() != want.tobytes():
                far = np.abs(got - want).max() if got.shape == want.shape else None
                bad.append(f"{h}x{w}: shapes {got.shape} {want.shape}, {far}")
        tally.report(f"pixel_values, {name} = transformers ({backend})", cases - nothing, bad,
                     f"({nothing} that transformers fails on)" if nothing else "")


def check_batches(lib, rng, cases, tally, folder):
    """Pixtral pads a batch with zeros and gives the sizes."""
    theirs = their_processor(folder, PROCESSORS["Pixtral 50, 7x9"], "pil")
    ours, bad = lib.read_processor(folder), []
    for _ in range(cases):
        images = [random_image(rng, rng.randint(9, 99), rng.randint(9, 99)) for _ in range(3)]
        want = theirs(images=[Image.fromarray(i) for i in images], return_tensors="np")
        values = want["pixel_values"].astype(np.float32)
        for i, image in enumerate(images):
            got, _ = lib.process(ours, image)
            padded = np.zeros(values[i].shape, np.float32)
            padded[:, :got.shape[1], :got.shape[2]] = got
            if padded.tobytes() != values[i].tobytes() or \
                    tuple(want["image_sizes"][i]) != got.shape[1:]:
                bad.append(str(image.shape))
    tally.report("Pixtral, batches of 3 = transformers", cases, bad)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2),
         (0, 1, 1, 2)]


def scanlines(samples, depth):
    """samples: [h, w, channels] of integers; filter 0."""
    out = b""
    for row in samples:
        flat = row.reshape(-1)
        if depth == 16:
            body = flat.astype(">u2").tobytes()
        else:
            bits = ((flat[:, None] >> np.arange(depth - 1, -1, -1)) & 1).astype(np.uint8)
            body = np.packbits(bits.reshape(-1)).tobytes()
        out += b"\0" + body
    return out


def make_png(samples, depth, color, before=b"", after=b"", interlaced=False, end=True):
    h, w, _ = samples.shape
    if interlaced:
        raw = b"".join(scanlines(samples[y::dy, x::dx], depth) for x, y, dx, dy in ADAM7
                       if samples[y::dy, x::dx].size)
    else:
        raw = scanlines(samples, depth)
    header = struct.pack(">IIBBBBB", w, h, depth, color, 0, 0, int(interlaced))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + before +
            chunk(b"IDAT", zlib.compress(raw)) + after + (chunk(b"IEND", b"") if end else b""))


KINDS = [(0, 1), (0, 2), (0, 4), (0, 8), (0, 16), (2, 8), (2, 16), (3, 1), (3, 2), (3, 4), (3, 8),
         (4, 8), (4, 16), (6, 8), (6, 16)]


# One value of each type of number that is longer than four bytes or has a point: fractions, float, double, 64 bits.
LONG_VALUES = {5: lambda o: ("II", 2 * o, 2), 10: lambda o: ("ii", -2 * o, -2), 11: lambda o: ("f", o),
               12: lambda o: ("d", o), 16: lambda o: ("Q", o)}


def tiff(orientation, order="<", kind=3, count=1, extra=0):
    entries = [struct.pack(order + "HHII", 256 + i, 4, 1, 7) for i in range(extra)]
    behind = b""
    if kind in LONG_VALUES:
        form, *numbers = LONG_VALUES[kind](orientation)
        value = struct.pack(order + form, *numbers) * max(count, 1)
        if len(value) > 4:
            behind, value = value, struct.pack(order + "I", 8 + 2 + 12 * (extra + 1) + 4)
    else:
        value = struct.pack(order + {3: "HH", 4: "I", 1: "BBBB", 8: "hh", 9: "i", 6: "bbbb"}[kind],
                            *([orientation] + [0] * ({3: 1, 1: 3, 8: 1, 6: 3}.get(kind, 0))))
    entries.append(struct.pack(order + "HHI", 274, kind, count) + value)
    return ((b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8) +
            struct.pack(order + "H", len(entries)) + b"".join(entries) + b"\0\0\0\0" + behind)


def orientation_chunk(rng):
    """A chunk that asks for a turn, in one of the ways that Pillow reads."""
    o = rng.randint(0, 9)
    data = tiff(o, rng.choice("<>"), rng.choice([3, 3, 3, 4, 8, 9, 1, 6, *LONG_VALUES]), rng.choice([1, 1, 1, 2, 0])
                if rng.random() < 0.5 else 1, rng.randint(0, 3))
    way = rng.randrange(8)
    if way < 3:
        return chunk(b"eXIf", (b"Exif\0\0" if rng.random() < 0.3 else b"") + data)
    hexed = (b"Exif\0\0" + data).hex().encode()
    profile = b"\nexif\n%8d\n" % (len(hexed) // 2) + b"\n".join(
        hexed[i:i + 72] for i in range(0, len(hexed), 72)) + b"\n"
    if way == 3:
        return chunk(b"tEXt", b"Raw profile type exif\0" + profile)
    if way == 4:
        return chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(profile))
    xmp = rng.choice([b'<x tiff:Orientation="%d"/>', b"<tiff:Orientation>%d</tiff:Orientation>",
                      b"<a tiff:Orientation='3'/><tiff:Orientation>%d</tiff:Orientation>"]) % o
    if way == 5:
        return chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp)
    if way == 6:
        return chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0en\0k\0" + zlib.compress(xmp))
    return chunk(b"tEXt", b"XML:com.adobe.xmp\0" + xmp)


def random_png(rng):
    color, depth = rng.choice(KINDS)
    h, w = rng.randint(1, 20), rng.randint(1, 20)
    top = 1 << depth
    source = np.random.default_rng(rng.randrange(2**32))
    samples = source.integers(0, min(top, rng.choice([top, 4])), (h, w, CHANNELS[color]))
    if depth == 16 and rng.random() < 0.5:
        samples = samples % 300  # 16-bit grey around the clip
    before = b""
    if color == 3:
        entries = rng.randint(1, min(top, 256))
        before += chunk(b"PLTE", source.integers(0, 256, 3 * entries, dtype=np.uint8).tobytes())
        samples = samples % rng.choice([entries, top])  # indices past the palette, too
    if color in (0, 2) and rng.random() < 0.5:
        key = samples[0, 0] if rng.random() < 0.7 else source.integers(0, top, CHANNELS[color])
        if depth == 16 and rng.random() < 0.5:
            key = key >> 8
        before += chunk(b"tRNS", key.astype(">u2").tobytes())
    if color == 3 and rng.random() < 0.6:
        alphas = source.integers(0, 256, rng.randint(1, entries), dtype=np.uint8)
        if rng.random() < 0.3:
            alphas[:] = 255
            alphas[-1] = 0
        if alphas[-1] != 10:  # Pillow's pattern takes a last byte of 10 for a line's end
            before += chunk(b"tRNS", alphas.tobytes())
    after = b""
    for _ in range(rng.choice([0, 0, 1, 1, 2])):
        if rng.random() < 0.7:
            before += orientation_chunk(rng)
        else:
            after += orientation_chunk(rng)
    return make_png(samples, depth, color, before, after, rng.random() < 0.4, rng.random() < 0.9)


def on_background(data, level):
    """What transformers' convert_to_rgb does to a PIL object, on white or black."""
    from PIL import ImageOps
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    if "A" in image.getbands() or image.info.get("transparency") is not None:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (level,) * 3 + (255,)), image)
    return np.array(image.convert("RGB"))


def check_png(lib, rng, cases, tally, folder):
    from transformers.image_utils import load_image
    path = pathlib.Path(folder) / "p.png"
    bad, white, black = [], [], []
    for _ in range(cases):
        data = random_png(rng)
        path.write_bytes(data)
        try:
            want = np.array(load_image(str(path)))
        except Exception as error:  # Pillow gives up on some EXIF: no reference then
            bad.append(f"reference: {error!r}")
            continue
        if not np.array_equal(lib.read(data), want):
            bad.append(data.hex())
        if not np.array_equal(lib.read(data, alpha=1), on_background(data, 255)):
            white.append(data.hex())
        if not np.array_equal(lib.read(data, alpha=2), on_background(data, 0)):
            black.append(data.hex())
    tally.report("PNG, alpha dropped = load_image", cases, bad)
    tally.report("PNG, on white = convert_to_rgb", cases, white)
    tally.report("PNG, on black", cases, black)
    bad = []
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"):
        for size in ((1, 1), (7, 5), (40, 33)):
            image = random_image(rng, size[1], size[0])
            pil = Image.fromarray(image)
            pil = Image.fromarray(image[..., 0].astype(np.uint16) * 3) if mode == "I;16" else \
                pil.convert(mode)
            pil.save(path)
            if not np.array_equal(lib.read(path.read_bytes()), np.array(load_image(str(path)))):
                bad.append(f"{mode} {size}")
    tally.report("PNG written by Pillow", 21, bad)


def check_damaged(lib, rng, cases, tally):
    """Flips and cuts: no crash, and whatever is still read has Pillow's size and values, unless the
    damage lies in what Pillow does not look at."""
    refused = 0
    for _ in range(cases):
        data = bytearray(random_png(rng))
        for _ in range(rng.randint(1, 3)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        if rng.random() < 0.3:
            del data[rng.randrange(len(data)):]
        try:
            lib.read(bytes(data))
        except RuntimeError:
            refused += 1
    tally.report("damaged PNG: no crash", cases, [], f"({refused} refused)")


def jpeg_metadata(rng):
    """Markers that ask for a turn, some of them contradicting each other."""
    out = b""
    for _ in range(rng.choice([0, 1, 1, 2])):
        o = rng.randint(0, 9)
        if rng.random() < 0.6:
            out += jpeg_files.exif(tiff(o, rng.choice("<>"), rng.choice([3, 3, 4, 1])))
        else:
            out += jpeg_files.xmp(rng.choice([b'<x tiff:Orientation="%d"/>',
                                              b"<tiff:Orientation>%d</tiff:Orientation>"]) % o)
    return out


def load_with_pillow(data):
    """As transformers' load_image, from bytes; None where Pillow refuses."""
    from transformers.image_utils import load_image
    try:
        return np.array(load_image(Image.open(io.BytesIO(data))))
    except Exception:
        return None


def check_jpeg(lib, rng, cases, tally):
    """Files of our own making: every sampling, restart markers, colour spaces, orientation."""
    bad = []
    for _ in range(cases):
        data = jpeg_files.random_jpeg(rng, jpeg_metadata(rng))
        want = load_with_pillow(data)
        if want is None or not np.array_equal(lib.read(data), want):
            bad.append(data[:400].hex())
    tally.report("JPEG of random coefficients = load_image", cases, bad)


def check_saved_jpeg(lib, rng, cases, tally):
    """Files that Pillow writes, with all its settings."""
    bad = []
    for _ in range(cases):
        image = Image.fromarray(random_image(rng, rng.randint(1, 90), rng.randint(1, 90)))
        image = image.resize((rng.randint(1, 120), rng.randint(1, 120)))
        image = image.convert(rng.choice(["RGB", "RGB", "RGB", "L", "CMYK"]))
        out = io.BytesIO()
        keep = image.mode == "RGB" and rng.random() < 0.2
        image.save(out, "JPEG", quality=rng.randint(1, 100), progressive=rng.random() < 0.5,
                   subsampling=0 if keep else rng.choice([0, 1, 2]), optimize=rng.random() < 0.3,
                   restart_marker_blocks=rng.choice([0, 0, 1, 4]), keep_rgb=keep)
        want = load_with_pillow(out.getvalue())
        if not np.array_equal(lib.read(out.getvalue()), want):
            bad.append(f"{image.mode} {image.size}")
    tally.report("JPEG written by Pillow = load_image", cases, bad)


def check_damaged_jpeg(lib, rng, cases, tally):
    """Flips and cuts: both read the same or both refuse. Where only one refuses, it is said."""
    bad, refused, only_pillow, only_we = [], 0, [], []
    for _ in range(cases):
        data = bytearray(jpeg_files.random_jpeg(rng, jpeg_metadata(rng)))
        for _ in range(rng.choice([0, 1, 1, 3])):
            data[rng.randrange(len(data))] = rng.randrange(256)
        if rng.random() < 0.3:
            del data[rng.randrange(len(data)):]
        data = bytes(data)
        want, got = load_with_pillow(data), None
        try:
            got = lib.read(data)
        except RuntimeError as error:
            refused += 1
            if want is not None:
                only_we.append((str(error), data))
        if got is not None and want is None:
            only_pillow.append(data)
        if got is not None and want is not None and not np.array_equal(got, want):
            bad.append(data.hex())
    tally.report("damaged JPEG", cases, bad, f"({refused} refused; only by Pillow "
                 f"{len(only_pillow)}, only by us {len(only_we)})")
    return only_pillow, only_we


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="resize,torch,values,png,damaged,jpeg")
    options = parser.parse_args()
    only = options.only.split(",")
    warnings.simplefilter("ignore")
    rng, tally = random.Random(options.seed), Tally()
    with tempfile.TemporaryDirectory() as folder:
        lib = Library(c_library.load(STRUCTURES, HEADERS))
        if "resize" in only:
            check_resize(lib, rng, options.cases, tally)
        if "torch" in only:
            check_torch(lib, rng, options.cases // 4, tally)
        if "values" in only:
            check_processors(lib, rng, 60, tally, folder, "pil")
            check_batches(lib, rng, 40, tally, folder)
        if "torchvision" in only:
            check_processors(lib, rng, 60, tally, folder, "torchvision")
        if "opencv" in only:
            check_opencv(lib, rng, options.cases, tally)
        if "png" in only:
            check_png(lib, rng, options.cases, tally, folder)
        if "damaged" in only:
            check_damaged(lib, rng, options.cases, tally)
        if "jpeg" in only:
            check_jpeg(lib, rng, options.cases, tally)
            check_saved_jpeg(lib, rng, options.cases // 2, tally)
            check_damaged_jpeg(lib, rng, options.cases, tally)
    return 1 if tally.failed else 0


if __name__ == "__main__":
    sys.exit(main())
