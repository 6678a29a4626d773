"""Tests of plant_faults.py itself: `python tools/test_plant_faults.py`. They need torch and transformers, and the
built program for the last ones. Whether llava-ref names the faults is what plant_faults.py --quick tells."""

import contextlib
import io
import os
import sys
import tempfile
import unittest
from unittest import mock

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

try:
    import torch
    import transformers  # noqa: F401
    from PIL import Image
except ImportError:
    print("test_plant_faults: torch, transformers or Pillow is not installed: nothing was tested")
    sys.exit(0)

import fault_pictures  # noqa: E402
import faults  # noqa: E402
import plant_faults  # noqa: E402

torch.set_num_threads(1)
HAVE_PROGRAM = os.access(os.environ.get("LLAVA_REF", os.path.join(plant_faults.ROOT, "build", "llava-ref")), os.X_OK)


def report(*findings, verdict="differ", precision=()):
    """findings: (tap, ["decision=value", with ...] or [])."""
    made = []
    for tap, names in findings:
        pairs = [dict(zip(("decision", "value"), name.split("="))) for name in names]
        causes = [{**pairs[0], "with": pairs[1:]}] if pairs else []
        made.append({"tap": tap, "from": [], "causes": causes, "confidence": "certain" if pairs else "unknown"})
    return {"verdict": verdict, "findings": made, "precision": {"decisions": [p.split("=") for p in precision]}}


class Judges(unittest.TestCase):
    """A judge that lets everything pass would make the whole table worthless."""

    def test_a_cause_must_be_named_first_and_alone(self):
        right = report(("a", ["text.x=1"]))
        self.assertEqual(plant_faults.judge_cause(["text.x=1"], {}, right), "")
        for wrong in (report(("a", ["text.x=2"])), report(("a", [])), report(), report(verdict="pass"),
                      report(("a", []), ("b", ["text.x=1"])), report(("a", ["text.x=1"]), ("b", [])),
                      report(("a", ["text.x=1", "text.y=1"]))):  # fmt: skip
            self.assertNotEqual(plant_faults.judge_cause(["text.x=1"], {}, wrong), "")

    def test_two_causes_in_one_finding_or_in_two(self):
        names = ["text.x=1", "text.y=2"]
        self.assertEqual(plant_faults.judge_cause(names, {}, report(("a", names))), "")
        self.assertEqual(plant_faults.judge_cause(names, {}, report(("a", names[:1]), ("b", names[1:]))), "")
        self.assertIn("text.y=2", plant_faults.judge_cause(names, {}, report(("a", names[:1]))))

    def test_another_name_for_the_same_thing(self):
        also = {"text.x=1": {"text.x=3"}}
        self.assertEqual(plant_faults.judge_cause(["text.x=1"], also, report(("a", ["text.x=3"]))), "")
        self.assertNotEqual(plant_faults.judge_cause(["text.x=1"], also, report(("a", ["text.x=2"]))), "")

    def test_honest_ports_precision_and_unknown_damage(self):
        self.assertEqual(plant_faults.judge_honest(report(verdict="pass")), "")
        self.assertNotEqual(plant_faults.judge_honest(report(("a", []), verdict="pass")), "")
        name = "numerics.weights=f16"
        self.assertEqual(plant_faults.judge_precision([name], {}, report(verdict="pass", precision=[name])), "")
        self.assertNotEqual(plant_faults.judge_precision([name], {}, report(verdict="pass")), "")
        self.assertNotEqual(plant_faults.judge_precision([name], {}, report(("a", [name]))), "")
        self.assertEqual(plant_faults.judge_unknown("a", report(("a", []))), "")
        self.assertEqual(plant_faults.judge_unknown("a", report(("a", [name]))), "")
        for wrong in (report(("a", ["text.x=1"])), report(("b", [])), report(verdict="pass")):
            self.assertNotEqual(plant_faults.judge_unknown("a", wrong), "")


class Library(unittest.TestCase):
    def test_every_fault_moves_some_tap_of_some_golden(self):
        """A fault that does nothing would be "not visible" for ever."""
        with tempfile.TemporaryDirectory() as folder:
            for name, fault in faults.FAULTS.items():
                if fault.group == "honest" or " + " in name or fault.options:
                    continue  # options: wrong only where that convention was asked for
                with self.subTest(name):
                    case = next(c for c in map(plant_faults.Case, fault.cases) if fault.fits(c.config()))
                    dumps = [os.path.join(folder, n) for n in ("bad.npz", "good.npz")]
                    for path, plant in zip(dumps, (fault.plant, faults.nothing)):
                        plant_faults.run_port(case, plant, path, "float32", "eager", None)
                    bad, good = map(np.load, dumps)
                    same = set(bad.files) == set(good.files) and all(
                        np.array_equal(bad[n], good[n], equal_nan=bad[n].dtype.kind == "f") for n in good.files
                    )
                    self.assertFalse(same)
                    bad.close(), good.close()

    def test_patches_come_off(self):
        import transformers.cache_utils as cache_utils
        from transformers.models.clip import modeling_clip as clip
        from transformers.models.llama import modeling_llama as llama

        def state():
            return (clip.eager_attention_forward, llama.eager_attention_forward, llama.apply_rotary_pos_emb,
                    llama.repeat_kv, cache_utils.DynamicCache.update)  # fmt: skip

        before, case = state(), plant_faults.Case("grouped-heads")
        with tempfile.TemporaryDirectory() as folder:
            for name in ("vision.attn_mask=causal", "text.rope_pairing=interleaved", "text.kv_groups=interleaved",
                         "numerics.attn_accumulate=f16", "numerics.kv_cache=f16"):  # fmt: skip
                plant_faults.run_port(case, faults.FAULTS[name].plant, os.path.join(folder, "x.npz"), "float32", "eager", None)
                self.assertEqual(state(), before, name)

    def test_roundings_are_to_nearest_even(self):
        x = torch.tensor([1 + 2**-11, 1 + 3 * 2**-11, 1 + 2**-11 + 2**-20, -(1 + 2**-11)])
        expected = torch.tensor([1.0, 1 + 2**-9, 1 + 2**-10, -1.0])
        for convert in (faults.to_tf32, faults.to_half):
            self.assertTrue(torch.equal(convert(x), expected))
        self.assertLessEqual(float((faults.int8(x[None]) - x).abs().max()), 1.01 * float(x.abs().max()) / 254)


class Pictures(unittest.TestCase):
    def test_the_right_way_is_transformers_way(self):
        """Pixel for pixel what the processor made of the goldens' pictures."""
        for name in ("picture-prompt", "picture-pad", "picture-stretch", "picture-modes", "demo-chat", "demo-palette"):
            case = plant_faults.Case(name)
            pipeline = fault_pictures.Pipeline.of(case.model_folder)
            expected = np.load(os.path.join(case.folder, "true.npz"))
            for i, file in enumerate(case.options("--image")):
                with Image.open(os.path.join(case.folder, file)) as picture:
                    x = pipeline(plant_faults.ImageOps.exif_transpose(picture), i)
                with self.subTest(name, picture=file):
                    self.assertTrue(np.array_equal(x, expected["pixel_values"][i]))
            for name, x in pipeline.taps.items():
                self.assertTrue(np.array_equal(x, expected[name]), name)

    def test_the_bicubic_by_hand_is_pillows(self):
        rng = np.random.default_rng(1)
        for size in ((40, 61), (17, 9), (21, 90)):
            x = rng.integers(0, 256, (*size, 3), np.uint8)
            self.assertTrue(np.array_equal(fault_pictures.by_hand()(x, 21, 21), fault_pictures.pillow("bicubic")(x, 21, 21)))

    def test_token_faults(self):
        ids = [1, 5, 9, 9, 9, 6, 9, 9, 7]
        change = {n.split("=")[1]: f[0]["tokens"](ids, 9) for n, f in fault_pictures.FAULTS.items() if "tokens" in f[0]}
        self.assertEqual(change["one-less"], [1, 5, 9, 9, 6, 9, 7])
        self.assertEqual(change["single"], [1, 5, 9, 6, 9, 7])
        self.assertEqual(change["every-segment"], [1, 5, 9, 9, 9, 1, 6, 9, 9, 1, 7])
        self.assertEqual(change["none"], ids[1:])


@unittest.skipUnless(HAVE_PROGRAM, "the program is not built")
class Program(unittest.TestCase):
    def main(self, *arguments):
        with mock.patch.object(sys, "argv", ["plant_faults", *arguments]), contextlib.redirect_stdout(io.StringIO()) as out:
            with self.assertRaises(SystemExit) as end:
                plant_faults.main()
        return end.exception.code, out.getvalue().splitlines()

    def test_a_table_and_a_closing_line(self):
        status, lines = self.main("--quick", "--only", "text.rope_sign=reversed", "--only", "honest two threads")
        self.assertEqual(status, 0)
        self.assertRegex(lines[-1], r"^2 passed, 0 failed, 0 not visible in \d+ s$")

    def test_a_fault_that_is_misnamed_fails(self):
        wrong = faults.Fault("text.rope_sign=reversed", faults.FAULTS["text.mlp_act=gelu"].plant, "cause",
                             ["text.rope_sign=reversed"])  # fmt: skip
        with mock.patch.dict(plant_faults.FAULTS, {wrong.name: wrong}):
            status, lines = self.main("--quick", "--only", wrong.name)
        self.assertEqual(status, 1)
        self.assertIn("0 passed, 1 failed", lines[-1])

    def test_nothing_tried_is_no_success(self):
        self.assertNotEqual(self.main("--only", "no such fault")[0], 0)

    def test_run_with_set_agrees(self):
        status, lines = self.main("--agree", "--quick", "--only", "vision.cls_position=last*", "--only", "image.cubic_a*")
        self.assertEqual((status, lines[-1].split(" in ")[0]), (0, "4 passed, 0 failed, 0 not visible"))


if __name__ == "__main__":
    unittest.main()
