"""Tests of llava_capture.py: `python tools/test_llava_capture.py`. Those with models need torch and transformers."""

import json
import os
import sys
import tempfile
import unittest
import warnings

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
GOLDEN = os.path.join(os.path.dirname(HERE), "golden")
sys.path.insert(0, HERE)

from llava_capture import Writer, capture, save  # noqa: E402

try:
    import torch
    import transformers
    from transformers import LlavaConfig, LlavaForConditionalGeneration
except ImportError:
    torch = None
else:
    torch.set_num_threads(1)

needs_torch = unittest.skipIf(torch is None, "torch and transformers are not installed")


class Folder(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def path(self, name):
        return os.path.join(self.folder.name, name)


class Files(Folder):
    TENSORS = {
        "a.f64": np.arange(6.0).reshape(1, 2, 3),
        "b.f16": np.float16([1, -0.0]),
        "c.scalar": np.float32(2.5),
        "d.empty": np.zeros((3, 0), np.int64),
        "e.fortran": np.asfortranarray(np.arange(6, dtype=np.int32).reshape(2, 3)),
        "f.big": np.zeros(1 << 18),
    }

    def test_archives_and_folders_hold_what_was_put_in(self):
        save(self.path("x.npz"), self.TENSORS, meta={"dtype": "f64"})
        save(self.path("x/"), self.TENSORS)
        archive = np.load(self.path("x.npz"))
        self.assertEqual(archive.files, ["__meta__"] + list(self.TENSORS))
        self.assertEqual(json.loads(archive["__meta__"].tobytes()), {"dtype": "f64"})
        for name, x in self.TENSORS.items():
            for y in (archive[name], np.load(self.path(f"x/{name}.npy"))):
                self.assertEqual((y.shape, y.dtype), (np.shape(x), x.dtype))
                self.assertTrue(np.array_equal(x, y) and y.flags.c_contiguous)

    def test_the_same_tensors_are_the_same_bytes(self):
        for name in ("1.npz", "2.npz"):
            save(self.path(name), self.TENSORS)
        with open(self.path("1.npz"), "rb") as a, open(self.path("2.npz"), "rb") as b:
            self.assertEqual(a.read(), b.read())

    def test_a_failure_leaves_nothing(self):
        for name in ("x.npz", "x/"):
            for tensors in ({"a": 1.0, "../b": 2.0}, {"a": 1.0, "b": object()}):
                with self.assertRaises(ValueError):
                    save(self.path(name), tensors)
                self.assertEqual(os.listdir(self.folder.name), [])

    def test_a_full_folder_and_a_second_use_of_a_name_are_refused(self):
        save(self.path("x/"), {"a": 1.0})
        with self.assertRaises(FileExistsError):
            Writer(self.path("x/"))
        writer = Writer(self.path("y.npz"))
        writer.put("a", 1.0)
        with self.assertRaises(ValueError):
            writer.put("a", 1.0)
        writer.abort()


def golden(case, dtype="float64", attention="eager"):
    """The case's model, inputs and number of new tokens."""
    folder = os.path.join(GOLDEN, case)
    with open(os.path.join(folder, "case.json")) as file:
        arguments = json.load(file)["arguments"]
    model = LlavaForConditionalGeneration.from_pretrained(
        os.path.join(folder, "model"), dtype=getattr(torch, dtype), attn_implementation=attention
    )
    inputs = {name: torch.from_numpy(x) for name, x in np.load(os.path.join(folder, "inputs.npz")).items()}
    if "inputs_embeds" in inputs:
        inputs["inputs_embeds"] = inputs["inputs_embeds"].to(model.dtype)
    steps = int(arguments[arguments.index("--generate") + 1]) if "--generate" in arguments else 0
    return model.eval(), inputs, steps


def answer(model, inputs, steps):
    with torch.no_grad():
        if steps:
            return model.generate(**inputs, max_new_tokens=steps, do_sample=False)
        return model(**inputs).logits


def tiny(vision, text, **top):
    """A model of other families, weights as they come."""
    torch.manual_seed(1)
    sizes = dict(hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2)
    config = LlavaConfig(
        vision_config=vision(**sizes, image_size=16, patch_size=4),
        text_config=text(**sizes, num_key_value_heads=1, vocab_size=40),
        image_token_index=39,
        **top,
    )
    config._attn_implementation = "eager"
    return LlavaForConditionalGeneration(config).double().eval()


@needs_torch
class Transformers(Folder):
    def taps(self, model, inputs, steps=0, **options):
        path = self.path("dump.npz")
        with capture(model, path, **options):
            answer(model, inputs, steps)
        return dict(np.load(path))

    def test_the_goldens_taps_by_name_shape_type_and_value(self):
        """The committed dumps come from the exporter, which finds its taps in another way. Both are
        transformers in float64; 1e-12 is what golden/README.md allows another machine's torch, and
        the float32 islands may flip a last digit: hence 1e-6, with a planted error below."""
        for case in ("plain", "grouped-heads", "feature-layers", "full-strategy", "batch-right", "labels",
                     "inputs-embeds", "several-pictures", "generate"):  # fmt: skip
            with self.subTest(case):
                taps = self.taps(*golden(case))
                expected = np.load(os.path.join(GOLDEN, case, "hf.npz"))
                self.assertEqual(sorted(taps), sorted(set(expected.files) - {"__meta__"}))
                for name, x in taps.items():
                    self.assertEqual((x.shape, x.dtype), (expected[name].shape, expected[name].dtype), name)
                    np.testing.assert_allclose(x, expected[name], rtol=0, atol=1e-6, err_msg=name)

    def test_windows_and_rotary_types_of_the_goldens(self):
        """These goldens hold some of the taps, those of the steps with the window's keys alone."""
        for case in ("qwen2", "mistral", "rope-llama3", "rope-yarn-mscale", "rope-dynamic-grows",
                     "rope-longrope-grows"):  # fmt: skip
            with self.subTest(case):
                taps = self.taps(*golden(case))
                expected = np.load(os.path.join(GOLDEN, case, "hf.npz"))
                self.assertEqual(set(expected.files) - {"__meta__"} - set(taps), set())
                for name in set(expected.files) - {"__meta__"}:
                    self.assertEqual((taps[name].shape, taps[name].dtype), (expected[name].shape, expected[name].dtype))
                    np.testing.assert_allclose(taps[name], expected[name], rtol=0, atol=1e-5, err_msg=name)

    def test_a_planted_error_is_in_the_dump(self):
        model, inputs, _ = golden("plain")
        with torch.no_grad():
            model.model.language_model.layers[1].mlp.up_proj.weight[3] *= 1.01
        taps, expected = self.taps(model, inputs), np.load(os.path.join(GOLDEN, "plain", "hf.npz"))
        wrong = [name for name in taps if not np.allclose(taps[name], expected[name], rtol=0, atol=1e-6)]
        self.assertEqual(wrong[:2], ["text.layers.1.mlp.up", "text.layers.1.mlp.act"])

    def test_results_are_the_same_bits_with_and_without(self):
        runs = [("plain", dtype, attention) for dtype in ("float32", "bfloat16") for attention in ("eager", "sdpa")]
        for case, dtype, attention in runs + [("batch-left", "float16", "eager"), ("generate", "float32", "sdpa")]:
            with self.subTest(case, dtype=dtype, attention=attention):
                run = golden(case, dtype, attention)
                before = answer(*run)
                with capture(run[0], self.path(f"{case}-{dtype}-{attention}.npz")):
                    during = answer(*run)
                for x in (during, answer(*run)):
                    self.assertEqual(x.double().numpy().tobytes(), before.double().numpy().tobytes())

    def test_types_as_the_contract_has_them(self):
        for dtype, written in (("float32", "<f4"), ("bfloat16", "<f4"), ("float16", "<f2")):
            taps = self.taps(*golden("plain", dtype))
            self.assertEqual(taps["logits"].dtype.str, written)
            self.assertEqual(taps["input_ids"].dtype.str, "<i8")
            bits = taps["text.layers.0.output"].view(np.uint32) if dtype == "bfloat16" else np.zeros(1, np.uint32)
            self.assertFalse((bits & 0xFFFF).any())  # bfloat16's values and no others

    def test_sdpa_shows_all_but_scores_and_probabilities(self):
        eager = self.taps(*golden("plain", "float32"))
        sdpa = self.taps(*golden("plain", "float32", "sdpa"))
        hidden = {name for name in eager if name.endswith((".scores", ".probs"))}
        self.assertEqual(set(eager) - set(sdpa), hidden)
        # Sums of at most 61 terms in float32, in another order: far below 1e-4 of numbers near 1.
        np.testing.assert_allclose(sdpa["logits"], eager["logits"], rtol=0, atol=1e-4)

    def test_transformers_is_left_as_it_was(self):
        from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
        from transformers.models.clip import modeling_clip
        from transformers.models.llama import modeling_llama

        def state():
            return (modeling_clip.eager_attention_forward, modeling_llama.eager_attention_forward,
                    ALL_ATTENTION_FUNCTIONS["sdpa"])  # fmt: skip

        before = state()
        for attention in ("eager", "sdpa"):
            model, inputs, _ = golden("plain", "float32", attention)
            with self.assertRaises(RuntimeError), capture(model, self.path("x.npz")):
                answer(model, inputs, 0)
                raise RuntimeError("the port stops")
            self.assertEqual(state(), before)
            left = [m for m in (model, *model.model.multi_modal_projector.modules(), model.lm_head)
                    if m._forward_hooks or m._forward_pre_hooks]  # fmt: skip
            self.assertEqual(left, [])
            self.assertNotIn("generate", vars(model))
        self.assertEqual(os.listdir(self.folder.name), [])

    def test_a_second_pass_is_not_mixed_in(self):
        model, inputs, _ = golden("plain", "float32")
        alone = self.taps(model, inputs)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            with capture(model, self.path("two.npz")):
                answer(model, inputs, 0)
                answer(model, {k: v.flip(0) * (1 if k == "input_ids" else 2) for k, v in inputs.items()}, 0)
        self.assertTrue(any("only the first pass" in str(w.message) for w in caught))
        both = np.load(self.path("two.npz"))
        self.assertEqual(sorted(both.files), sorted(alone))
        self.assertTrue(np.array_equal(both["logits"], alone["logits"]))

    def test_only_the_taps_asked_for(self):
        run = golden("generate", "float32")
        taps = self.taps(*run, taps="text.layers.*.attn.q,step.2.logits")
        self.assertEqual(sorted(taps), ["step.2.logits", "text.layers.0.attn.q", "text.layers.1.attn.q"])
        with self.assertRaises(ValueError):
            self.taps(*run, taps="no.such.tap")

    def test_decoding_by_hand_gives_steps_too(self):
        model, inputs, _ = golden("plain", "float32")
        with torch.no_grad(), capture(model, self.path("x.npz")):
            output = model(**inputs, use_cache=True)
            for _ in range(2):
                token = output.logits[:, -1:].argmax(-1)
                output = model(input_ids=token, past_key_values=output.past_key_values)
        taps = np.load(self.path("x.npz"))
        self.assertEqual(taps["step.2.position_ids"].tolist(), [[inputs["input_ids"].shape[1] + 1]])
        self.assertEqual(taps["step.2.text.layers.0.attn.k_rope"].shape[1], 1)
        self.assertEqual(taps["step.2.text.layers.0.attn.scores"].shape[-1], inputs["input_ids"].shape[1] + 2)

    def test_siglip_with_qwen2(self):
        model = tiny(transformers.SiglipVisionConfig, transformers.Qwen2Config,
                     vision_feature_layer=-1, vision_feature_select_strategy="full")  # fmt: skip
        ids = torch.tensor([[1] + [39] * 16 + [2]])
        taps = self.taps(model, dict(input_ids=ids, pixel_values=torch.randn(1, 3, 16, 16).double()))
        self.assertNotIn("vision.pre_norm", taps)
        for name in ("vision.patch_embed", "vision.embed", "vision.layers.1.output", "vision.features"):
            self.assertEqual(taps[name].shape, (1, 16, 16), name)
        self.assertEqual(taps["text.layers.1.attn.k_rope"].shape, (1, 18, 1, 8))
        self.assertEqual(taps["text.layers.1.attn.scores"].shape, (1, 2, 18, 18))

    def test_pixtral_with_mistral(self):
        model = tiny(transformers.PixtralVisionConfig, transformers.MistralConfig,
                     vision_feature_layer=-1, vision_feature_select_strategy="full")  # fmt: skip
        sizes = [[16, 12], [8, 16]]
        ids = torch.tensor([[1] + [39] * 12 + [2] + [39] * 8])
        taps = self.taps(model, dict(input_ids=ids, pixel_values=torch.randn(2, 3, 16, 16).double(),
                                     image_sizes=torch.tensor(sizes)))  # fmt: skip
        for name in ("vision.patch_embed", "vision.embed", "vision.pre_norm", "vision.layers.1.resid1"):
            self.assertEqual(taps[name].shape, (1, 20, 16), name)
        self.assertTrue(np.array_equal(taps["vision.patch_embed"], taps["vision.embed"]))
        self.assertEqual(taps["vision.rope.cos"].shape, (20, 8))
        self.assertEqual(taps["vision.layers.0.attn.q_rope"].shape, (1, 20, 2, 8))
        self.assertEqual(taps["vision.layers.0.mlp.gate"].shape, (1, 20, 24))
        # Pictures do not see each other.
        self.assertFalse(taps["vision.layers.0.attn.probs"][0, :, :12, 12:].any())


@needs_torch
class AnyModules(Folder):
    class Port(torch.nn.Module if torch else object):
        def __init__(self):
            super().__init__()
            self.norm = torch.nn.LayerNorm(4)
            self.pair = torch.nn.LSTM(4, 4)

        def forward(self, x):
            x = self.norm(self.norm(x))
            return {"features": self.pair(x)[0]}

    def test_modules_by_path_and_use(self):
        port, x = self.Port(), torch.randn(2, 4)
        with torch.no_grad():
            once = port.norm(x)
            with capture(port, self.path("raw.npz"), inputs=True):
                port(x)
        taps = np.load(self.path("raw.npz"))
        self.assertEqual(
            sorted(taps.files),
            ["model.features", "model.in", "norm", "norm#1", "norm.in", "norm.in#1", "pair.0", "pair.1.0", "pair.1.1",
             "pair.in"],
        )  # fmt: skip
        self.assertTrue(np.array_equal(taps["norm"], once.numpy()))
        self.assertTrue(np.array_equal(taps["norm.in#1"], taps["norm"]))

    def test_a_llava_by_its_module_paths(self):
        model, inputs, _ = golden("plain", "float32")
        with capture(model, self.path("raw.npz"), raw=True, taps="*.o_proj"):
            answer(model, inputs, 0)
        self.assertEqual(sorted(np.load(self.path("raw.npz")).files),
                         [f"model.language_model.layers.{i}.self_attn.o_proj" for i in (0, 1)])  # fmt: skip

    def test_a_tree_that_is_no_llava_cannot_be_captured_as_one(self):
        with self.assertRaises(ValueError), capture(self.Port(), self.path("x.npz"), raw=False):
            pass
        self.assertEqual(os.listdir(self.folder.name), [])


if __name__ == "__main__":
    unittest.main()
