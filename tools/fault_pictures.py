"""What ports do to a picture before the model sees it: Pillow, NumPy and torch in the ways ports use them.

A Pipeline is the right way for a model folder; a fault changes a field of it. Nothing here comes from
the C program.
"""

import json
import os
import warnings
from dataclasses import dataclass, field

import numpy as np
import torch
from PIL import Image

warnings.filterwarnings("ignore", message="Palette images")  # Pillow's advice, which transformers does not take

PILLOW = {"nearest": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3, "box": 4}


@dataclass
class Pipeline:
    """The processor's steps. resize(picture, width, height) -> bytes or floats."""

    size: int
    mean: list
    std: list
    geometry: str = "crop"
    pad_color: tuple = ()
    pad_align: str = "center"
    pad_order: str = "pad-first"
    bgr: bool = False
    alpha: str = "drop"
    whole: object = int  # how a resized edge becomes a number of pixels
    spare: object = lambda n: n // 2
    rescale: float = 1 / 255
    fused: bool = False  # rescale and normalise in one step, as torchvision's processors do
    resize: object = None
    tokens: object = lambda ids, image_token: ids
    taps: dict = field(default_factory=dict)

    @classmethod
    def of(cls, folder):
        for name in ("processor_config.json", "preprocessor_config.json"):
            path = os.path.join(folder, name)
            if os.path.exists(path):
                with open(path) as file:
                    config = json.load(file)
                config = config.get("image_processor", config)
        size = config["size"]
        edge = size.get("shortest_edge", size.get("height"))
        geometry = "pad" if config.get("do_pad") else "crop" if "shortest_edge" in size else "stretch"
        mean, std = config["image_mean"], config["image_std"]
        color = tuple(int(255 * m) for m in mean)
        return cls(edge, mean, std, geometry, color, resize=pillow("bicubic"))

    def rgb(self, picture):
        if self.alpha != "drop" and picture.has_transparency_data:
            ground = Image.new("RGBA", picture.size, self.alpha)
            ground.alpha_composite(picture.convert("RGBA"))
            picture = ground
        x = np.asarray(picture.convert("RGB"))
        return x[..., ::-1].copy() if self.bgr else x

    def padded(self, x):
        height, width, _ = x.shape
        side = max(height, width)
        square = np.empty((side, side, 3), x.dtype)
        square[:] = self.pad_color
        top, left = ((side - height) // 2, (side - width) // 2) if self.pad_align == "center" else (0, 0)
        square[top : top + height, left : left + width] = x
        return square

    def cropped(self, x):
        top, left = (self.spare(n - self.size) for n in x.shape[:2])
        return x[top : top + self.size, left : left + self.size]

    def square(self, x, put):
        height, width, _ = x.shape
        if self.geometry == "stretch":
            return put("resized", self.resize(x, self.size, self.size))
        if self.geometry == "pad" and self.pad_order == "pad-first":
            return put("resized", self.resize(put("padded", self.padded(x)), self.size, self.size))
        if self.geometry == "pad":
            long = max(height, width)
            width, height = (max(1, self.whole(self.size * n / long)) for n in (width, height))
            return put("resized", self.padded(self.resize(x, width, height)))
        short = min(height, width)
        long = self.whole(self.size * max(height, width) / short)
        width, height = (self.size, long) if width <= height else (long, self.size)
        return put("cropped", self.cropped(put("resized", self.resize(x, width, height))))

    def __call__(self, picture, number=0):
        """pixel values [3,h,w]; the taps on the way in self.taps."""
        prefix = f"image.{number}." if number else "image."

        def put(name, x):
            if x.dtype == np.uint8:  # the taps are pictures of bytes; what a port keeps in floats is none
                self.taps[prefix + name] = x
            return x

        x = self.square(put("rgb", self.rgb(picture)), put)
        mean, std = (np.array(n, np.float32) for n in (self.mean, self.std))
        if self.fused:
            mean, std = (n * np.float32(1 / self.rescale) for n in (mean, std))
            x = x.astype(np.float32)
        else:
            x = (x.astype(np.float64) * self.rescale).astype(np.float32)
        return ((x - mean) / std).transpose(2, 0, 1)


# --- ways to resize ------------------------------------------------------------------------------


def pillow(kind):
    return lambda x, width, height: np.asarray(Image.fromarray(x).resize((width, height), PILLOW[kind]))


def torch_interpolate(mode, floating, antialias):
    """What a port that works on tensors calls."""

    def resize(x, width, height):
        x = torch.from_numpy(np.array(x)).permute(2, 0, 1)[None]
        x = x.double() if floating else x
        x = torch.nn.functional.interpolate(x, size=(height, width), mode=mode, antialias=antialias)
        return x[0].permute(1, 2, 0).contiguous().numpy()

    return resize


def cubic(a):
    def kernel(x):
        x = np.abs(x)
        near = ((a + 2) * x - (a + 3)) * x * x + 1
        far = a * (((x - 5) * x + 8) * x - 4)
        return np.where(x < 1, near, np.where(x < 2, far, 0.0))

    return kernel


GRIDS = {
    "half-pixel": lambda i, n, m: (i + 0.5) * n / m - 0.5,
    "corner": lambda i, n, m: i * n / m,
    "align-corners": lambda i, n, m: i * (n - 1) / max(m - 1, 1),
}


def weights(n, m, a, grid, antialias):
    """[m, n]: how much of each of n inputs goes into each of m outputs; a row's sum is 1. Where the kernel is
    widened, as Pillow does it, inputs outside the picture are left out; else the edge is repeated."""
    wide = max(n / m, 1.0) if antialias else 1.0
    center = GRIDS[grid](np.arange(m)[:, None], n, m)
    if antialias:
        w = cubic(a)((np.arange(n)[None] - center) / wide)
        return w / w.sum(1, keepdims=True)
    first, w = np.floor(center).astype(int), np.zeros((m, n))
    for j in range(-1, 3):
        at = first + j
        np.add.at(w, (np.arange(m), np.clip(at, 0, n - 1)[:, 0]), cubic(a)(at - center)[:, 0])
    return w


def by_hand(a=-0.5, grid="half-pixel", antialias=True):
    """A bicubic written out as Pillow does it: weights in units of 2^-22, bytes behind each pass."""

    def one(x, m):
        w = weights(x.shape[0], m, a, grid, antialias) * 2.0**22
        w = (np.sign(w) * np.floor(np.abs(w) + 0.5)).astype(np.int64)
        return np.clip((np.tensordot(w, x.astype(np.int64), 1) + (1 << 21)) >> 22, 0, 255)

    return lambda x, width, height: one(one(x.swapaxes(0, 1), width).swapaxes(0, 1), height).astype(np.uint8)


def opencv_linear(n, m, down):
    """The two inputs of each output of OpenCV's INTER_LINEAR, and their weights in 2^-11. Beyond the edge a row takes
    the edge alone; a column (down) takes it twice, and loses twice what is cut off."""
    at = ((np.arange(m) + 0.5) * (1 / (m / n)) - 0.5).astype(np.float32)
    first = np.floor(at)
    part = at - first
    if not down:
        part[(first < 0) | (first >= n - 1)] = 0
    pair = np.stack([first, first + 1]).clip(0, n - 1).astype(int)
    return pair, np.rint(np.stack([1 - part, part]) * np.float32(2048)).astype(np.int64)


def opencv_cubic(n, m):
    """The same of INTER_CUBIC: four inputs, in the order in which they are added down a column."""
    at = ((np.arange(m) + 0.5) * (1 / (m / n)) - 0.5).astype(np.float32)
    first = np.floor(at)
    part, a = at - first, np.float32(-0.75)
    far, near = part + 1, [part, 1 - part]
    w = [((a * far - 5 * a) * far + 8 * a) * far - 4 * a]
    w += [((a + 2) * x - (a + 3)) * x * x + 1 for x in near]
    w += [1 - w[0] - w[1] - w[2]]
    four = np.stack([first + k for k in (2, 1, 0, -1)]).clip(0, n - 1).astype(int)
    return four, np.rint(np.stack(w[::-1]) * np.float32(2048)).astype(np.int64)


def opencv_area(n, m):
    """[m, n], float32: how much of each of n inputs lies under each of m outputs, m <= n. By whole factors OpenCV adds
    the pixels and divides once, which these weights do not; no picture here is one."""
    scale, w = 1 / (m / n), np.zeros((m, n), np.float32)
    for i in range(m):
        left, right = i * scale, min((i + 1) * scale, n)
        for j in range(int(left), min(int(np.ceil(right)), n)):
            part = min(j + 1, right) - max(j, left)
            w[i, j] = part / (right - left) if part > 1e-3 else 0
    return w


def opencv(kind):
    """cv::resize of bytes, as OpenCV computes it without Intel's IPP (tools/check_pictures.py --only opencv holds
    the C text of the same against it)."""

    def linear(x, width, height):
        pair, w = opencv_linear(x.shape[1], width, False)
        x = (x.astype(np.int64)[:, pair] * w[:, :, None]).sum(1)
        pair, w = opencv_linear(x.shape[0], height, True)
        levels = (((x[pair] >> 4) * w[:, :, None, None]) >> 16).sum(0)
        return ((levels + 2) >> 2).clip(0, 255).astype(np.uint8)

    def cubic(x, width, height):
        four, w = opencv_cubic(x.shape[1], width)
        x = (x.astype(np.int64)[:, four] * w[:, :, None]).sum(1)
        four, w = opencv_cubic(x.shape[0], height)
        vectors, levels = 3 * width // 8 * 8, np.float32(0)
        for k in range(4):
            levels = levels + x[four[k]].astype(np.float32) * (w[k] / 2**22).astype(np.float32)[:, None, None]
        whole = ((x[four] * w[:, :, None, None]).sum(0) + (1 << 21)) >> 22
        levels, whole = np.rint(levels).reshape(height, -1), whole.reshape(height, -1)
        levels[:, vectors:] = whole[:, vectors:]
        return levels.reshape(height, width, 3).clip(0, 255).astype(np.uint8)

    def area(x, width, height):
        def along(x, w):
            out = np.zeros((w.shape[0], *x.shape[1:]), np.float32)
            for i, row in enumerate(w):
                for j in np.flatnonzero(row):
                    out[i] += x[j] * row[j]
            return out

        x = along(x.astype(np.float32).swapaxes(0, 1), opencv_area(x.shape[1], width)).swapaxes(0, 1)
        return np.rint(along(x, opencv_area(x.shape[0], height))).clip(0, 255).astype(np.uint8)

    return {"linear": linear, "cubic": cubic, "area": area}[kind]


# --- the faults: name -> (change of a Pipeline, cases, further names to expect) ---------------------

PICTURES, PADS = ("picture-prompt", "picture-chat", "demo-chat", "demo-palette"), ("picture-pad",)
EVERY = PICTURES + PADS
UP = {"image.size_rounding=round", "image.size_rounding=ceil", "image.size_rounding=ceil-f32"}  # often the same number
FAULTS = {}


def add(name, cases=EVERY, expect=None, also=(), **fields):
    FAULTS[name] = (fields, cases, [name] if expect is None else expect, dict(also))


add("image.channel_order=bgr", bgr=True)
add("image.geometry=pad", PICTURES, geometry="pad")
add("image.geometry=stretch", geometry="stretch")
add("image.geometry=crop", PADS, geometry="crop")
add("image.pad_color=black", PADS, pad_color=(0, 0, 0))
add("image.pad_color=white", PADS, pad_color=(255, 255, 255))
add("image.pad_align=top-left", PADS, pad_align="top-left")
add("image.pad_order=resize-first", PADS, pad_order="resize-first")
for kind in ("bilinear", "nearest", "lanczos", "box"):
    add(f"image.resize_filter={kind}", resize=pillow(kind))
add("image.antialias=off", resize=by_hand(antialias=False))
add("image.cubic_a=-0.75", resize=by_hand(a=-0.75))
add("image.resize_grid=corner", resize=by_hand(grid="corner"))
add("image.resize_grid=align-corners", resize=by_hand(grid="align-corners"))
add("image.resize_rounding=torchvision", fused=True, resize=torch_interpolate("bicubic", floating=False, antialias=True))
add("image.resize_rounding=float", resize=torch_interpolate("bicubic", floating=True, antialias=True))
add("image.size_rounding=round", PICTURES, also={"image.size_rounding=round": UP}, whole=round)
add("image.size_rounding=ceil", PICTURES, also={"image.size_rounding=ceil": UP},
    whole=lambda n: int(np.ceil(n)))  # fmt: skip
add("image.crop_rounding=ceil", PICTURES, spare=lambda n: -(-n // 2))
add("image.alpha=white", ("demo-alpha", "picture-modes"), alpha="white")
add("image.alpha=black", ("demo-alpha", "picture-modes"), alpha="black")
add("image.rescale=none", rescale=1.0)
add("image.normalize=none", mean=[0, 0, 0], std=[1, 1, 1])
add("image.normalize=half", mean=[0.5] * 3, std=[0.5] * 3)
add("image.normalize=imagenet", mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
add("image.channel_order=bgr + image.normalize=half", expect=["image.channel_order=bgr", "image.normalize=half"],
    bgr=True, mean=[0.5] * 3, std=[0.5] * 3)  # fmt: skip
add("image.geometry=pad + image.pad_color=black", PICTURES, ["image.geometry=pad", "image.pad_color=black"],
    geometry="pad", pad_color=(0, 0, 0))  # fmt: skip
add("image.resize_rounding=opencv", resize=opencv("cubic"))
add("image.resize_filter=bilinear + image.resize_rounding=opencv (OpenCV's INTER_LINEAR of bytes)", EVERY,
    ["image.resize_filter=bilinear", "image.resize_rounding=opencv"], resize=opencv("linear"))  # fmt: skip
add("image.resize_filter=box + image.resize_rounding=opencv (OpenCV's INTER_AREA of bytes)", EVERY,
    ["image.resize_filter=box", "image.resize_rounding=opencv"], resize=opencv("area"))  # fmt: skip
add("image.geometry=stretch + image.resize_rounding=opencv", PICTURES,
    ["image.geometry=stretch", "image.resize_rounding=opencv"], geometry="stretch", resize=opencv("cubic"))  # fmt: skip
add("image.resize_filter=bilinear + image.antialias=off (OpenCV's INTER_LINEAR of floats)", PADS,
    ["image.resize_filter=bilinear", "image.antialias=off", "image.resize_rounding=float"],
    resize=torch_interpolate("bilinear", floating=True, antialias=False))  # fmt: skip
add("image.antialias=off + image.cubic_a=-0.75 (torch's bicubic on a float tensor)", EVERY,
    ["image.antialias=off", "image.cubic_a=-0.75", "image.resize_rounding=float"],
    resize=torch_interpolate("bicubic", floating=True, antialias=False))  # fmt: skip
add("image.geometry=pad + image.pad_order=resize-first + image.size_rounding=ceil (llama.cpp)", PICTURES,
    ["image.geometry=pad", "image.pad_order=resize-first", "image.size_rounding=ceil"],
    also={"image.size_rounding=ceil": UP},
    geometry="pad", pad_order="resize-first", whole=lambda n: int(np.ceil(n)))  # fmt: skip
add("honest pictures", EVERY + ("picture-modes", "picture-stretch", "demo-alpha"), [])


def image_runs(ids, token):
    """(first, behind the last) of each run of image tokens."""
    edges = [0] + [i for i in range(1, len(ids)) if ids[i] != ids[i - 1] or ids[i] != token] + [len(ids)]
    return [(a, b) for a, b in zip(edges, edges[1:]) if ids[a] == token]


def other_count(change):
    def tokens(ids, token):
        out, last = [], 0
        for first, behind in image_runs(ids, token):
            out += ids[last:first] + [token] * change(behind - first)
            last = behind
        return out + ids[last:]

    return tokens


def bos_again(ids, token):
    out, last = [], 0
    for _, behind in image_runs(ids, token):
        out += ids[last:behind] + ids[:1]
        last = behind
    return out + ids[last:]


TEXTS = ("picture-prompt", "demo-chat")
add("tokens.bos=none", TEXTS, tokens=lambda ids, token: ids[1:])
add("tokens.bos=every-segment", TEXTS, tokens=bos_again)
add("tokens.image_count=one-less", TEXTS, tokens=other_count(lambda n: n - 1))
add("tokens.image_count=one-more", TEXTS, tokens=other_count(lambda n: n + 1))
add("tokens.image_count=single", TEXTS, tokens=other_count(lambda n: 1))
