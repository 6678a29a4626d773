"""Asks the demo model one question about each of 500 pictures it never saw.

An answer is right when its text is exactly the expected sentence. With --binary the same pictures
and questions go through llava-ref, whose token ids and text must equal those of transformers.

    python tools/eval_demo_model.py
    python tools/eval_demo_model.py --binary build/llava-ref

Prints `accuracy X/500, equal Y/500`. Exits with 1 below 95 % or when llava-ref differs anywhere, and
with 2 when it cannot be run.
"""

import argparse
import collections
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import torch
from transformers import AutoProcessor, LlavaForConditionalGeneration
from transformers.image_utils import load_image

import demo_pictures as demo

LEAST_ACCURACY = 0.95
MOST_TOKENS = 40  # the longest answer has fewer


class Transformers:
    """The model folder as transformers runs it: the standard processor, `generate`, greedy."""

    def __init__(self, folder, dtype):
        self.processor = AutoProcessor.from_pretrained(folder, backend="pil")
        self.model = LlavaForConditionalGeneration.from_pretrained(folder, dtype=dtype).eval()

    def answer(self, picture, question):
        """(new token ids, text) of the answer about the picture file."""
        content = [{"type": "image"}, {"type": "text", "text": question}]
        prompt = self.processor.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True
        )
        inputs = self.processor(images=load_image(str(picture)), text=prompt, return_tensors="pt")
        inputs["pixel_values"] = inputs["pixel_values"].to(self.model.dtype)
        with torch.no_grad():
            ids = self.model.generate(**inputs, max_new_tokens=MOST_TOKENS, do_sample=False)
        ids = ids[0, inputs["input_ids"].shape[1] :]
        return ids.tolist(), self.processor.decode(ids, skip_special_tokens=True)


class Binary:
    """The same folder as the llava-ref program runs it."""

    def __init__(self, program, folder, scratch):
        self.program, self.folder, self.dump = program, folder, scratch / "ids.npz"

    def answer(self, picture, question):
        command = [self.program, "run", "--model", self.folder, "--image", picture, "--chat", question]
        command += ["--generate", MOST_TOKENS, "--dump", self.dump, "--taps", "generated_ids"]
        done = subprocess.run([str(word) for word in command], capture_output=True)
        if done.returncode != 0:
            sys.stderr.buffer.write(done.stderr)
            raise SystemExit(2)
        with np.load(self.dump) as dump:
            ids = dump["generated_ids"][0].tolist()
        return ids, done.stdout.decode().removesuffix("\n")


def evaluate(options, scratch):
    reference = Transformers(options.model, getattr(torch, options.dtype))
    binary = options.binary and Binary(options.binary, options.model, scratch)
    asked, right, equal = collections.Counter(), collections.Counter(), 0
    for index in range(options.count):
        picture, scene, rng = demo.make_picture(demo.EVAL, index)
        (question,) = demo.draw_questions(rng, scene, 1)
        path = scratch / f"{index}.png"
        picture.save(path)
        ids, text = reference.answer(path, question.text)
        asked[question.kind] += 1
        right[question.kind] += text == question.answer
        if text != question.answer:
            print(f"{index}: {question.text} expected: {question.answer} answered: {text}")
        if binary:
            other = binary.answer(path, question.text)
            equal += other == (ids, text)
            if other != (ids, text):
                print(f"{index}: {question.text} transformers: {ids} {text!r} llava-ref: {other}")
    return asked, right, equal


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="golden/demo/model", type=pathlib.Path)
    parser.add_argument("--binary", type=pathlib.Path, help="llava-ref, to be compared with transformers")
    parser.add_argument("--dtype", default="float32", choices=("float32", "float64"))
    parser.add_argument("--count", default=500, type=int)
    parser.add_argument("--record", type=pathlib.Path, help="a PROVENANCE.json to put the numbers into")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        asked, right, equal = evaluate(options, pathlib.Path(scratch))
    for kind in sorted(asked):
        print(f"  {kind}: {right[kind]}/{asked[kind]}")
    correct, count = right.total(), options.count
    print(f"accuracy {correct}/{count}, equal {f'{equal}/{count}' if options.binary else 'not asked'}")
    if options.record:
        provenance = json.loads(options.record.read_text())
        provenance["accuracy"] = {
            "command": f"python tools/eval_demo_model.py --dtype {options.dtype}",
            "right": correct,
            "asked": count,
            "kinds": {kind: f"{right[kind]}/{asked[kind]}" for kind in sorted(asked)},
        }
        options.record.write_text(json.dumps(provenance, indent=1) + "\n")
    return int(correct < LEAST_ACCURACY * count or bool(options.binary and equal < count))


if __name__ == "__main__":
    sys.exit(main())
