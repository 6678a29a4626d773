"""Runs mlx-vlm's LLaVA on a picture and a prompt and writes what every module takes and gives.

    python tools/capture_mlx.py --model MODEL --image picture.png --prompt "USER: <image>\\nWhat is it? ASSISTANT:" \\
        --out dump.npz
    llava-ref diagnose --model MODEL --image picture.png --prompt ... --dump dump.npz --map mlx

The model is loaded by mlx-vlm itself, its weights made float32 unless --dtype says otherwise; picture and
prompt go through mlx-vlm's own processor. Nothing is patched but the call of modules: each writes its first
argument and its result under its path ("language_model.model.layers.0.input_layernorm.output"; a second
call is ".output#1"). Only with --device cpu are float32 products whole.
"""

import argparse

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from mlx_vlm import load
from mlx_vlm.utils import load_image

from llava_capture import Writer

DTYPES = {"float32": mx.float32, "float16": mx.float16, "bfloat16": mx.bfloat16}


class Recorder:
    def __init__(self, model, writer):
        self.writer, self.uses = writer, {}
        self.paths = {id(module): path for path, module in model.named_modules()}

    def put(self, name, x):
        use = self.uses.get(name, 0)
        self.uses[name] = use + 1
        x = x.astype(mx.float32) if x.dtype == mx.bfloat16 else x
        self.writer.put(f"{name}#{use}" if use else name, np.array(x))

    def hook(self, kind):
        """Wraps __call__ of one class of modules."""
        original = kind.__call__

        def call(module, *arguments, **keywords):
            path = self.paths.get(id(module))
            result = original(module, *arguments, **keywords)
            if path:
                if arguments and isinstance(arguments[0], mx.array):
                    self.put(f"{path}.input", arguments[0])
                first = result[0] if isinstance(result, tuple) else getattr(result, "logits", result)
                if isinstance(first, mx.array):
                    self.put(f"{path}.output", first)
            return result

        kind.__call__ = call


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", required=True, help="a folder as save_pretrained writes it")
    parser.add_argument("--image", required=True)
    parser.add_argument("--prompt", required=True, help="with <image> where the picture goes")
    parser.add_argument("--out", required=True, help="dump.npz, or a folder ending in /")
    parser.add_argument("--dtype", choices=DTYPES, default="float32")
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    return parser.parse_args()


def main():
    options = arguments()
    mx.set_default_device(mx.Device({"cpu": mx.cpu, "gpu": mx.gpu}[options.device]))
    model, processor = load(options.model)
    model.set_dtype(DTYPES[options.dtype])
    inputs = processor(images=[load_image(options.image)], text=options.prompt)
    writer = Writer(options.out)
    try:
        recorder = Recorder(model, writer)
        for kind in {type(module) for _, module in model.named_modules() if isinstance(module, nn.Module)}:
            recorder.hook(kind)
        writer.put("input_ids", np.array(inputs["input_ids"]).astype(np.int64))
        output = model(inputs["input_ids"], inputs["pixel_values"], None)
        mx.eval(output.logits)
    except BaseException:
        writer.abort()
        raise
    writer.close()


if __name__ == "__main__":
    main()
