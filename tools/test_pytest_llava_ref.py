"""Tests of pytest_llava_ref.py against the built program: `python tools/test_pytest_llava_ref.py`. NumPy only."""

import importlib.util
import os
import subprocess
import sys
import tempfile
import unittest
from unittest import mock

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
sys.path.insert(0, HERE)
os.environ.setdefault("LLAVA_REF", os.path.join(ROOT, "build", "llava-ref"))

from llava_capture import save  # noqa: E402
from pytest_llava_ref import CannotJudge, NotInstalled, assert_matches, find_program, run  # noqa: E402

PLAIN = os.path.join(ROOT, "golden", "plain")
MODEL, INPUTS = os.path.join(PLAIN, "model"), os.path.join(PLAIN, "inputs.npz")


class Matches(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def path(self, name):
        return os.path.join(self.folder, name)

    def port(self, *settings):
        """A float32 port that has these decisions wrong."""
        options = [word for setting in settings for word in ("--set", setting)]
        run("run", "--model", MODEL, "--inputs", INPUTS, "--dtype", "f32", *options, "--dump", self.path("port.npz"))
        return self.path("port.npz")

    def failure(self, *arguments, **options):
        with self.assertRaises(AssertionError) as caught:
            assert_matches(*arguments, **options)
        return str(caught.exception)

    def test_honest_dumps_pass(self):
        for dump in (self.port(), os.path.join(PLAIN, "f32.npz"), os.path.join(PLAIN, "bf16.npz")):
            self.assertIn(assert_matches(dump, MODEL, INPUTS)["verdict"], ("pass", "warn"))

    def test_a_bug_is_named_with_its_first_tap(self):
        said = self.failure(self.port("projector.act=gelu_tanh"), MODEL, INPUTS)
        self.assertIn("first at projector.act", said.splitlines()[0])
        self.assertIn("projector.act=gelu_tanh", said)
        self.assertIn("projector.fc1 ", said)  # what still agreed is in the table
        self.assertIn("text.inputs_embeds", said)

    def test_a_peer_an_expected_dump_and_what_is_required(self):
        expected, peer = os.path.join(PLAIN, "true.npz"), os.path.join(PLAIN, "f32.npz")
        assert_matches(self.port(), MODEL, INPUTS, expected=expected, peer=peer, require=["logits", "vision.*"])
        taps = dict(np.load(self.path("port.npz")))
        del taps["logits"], taps["__meta__"]
        save(self.path("short.npz"), taps)
        with self.assertRaises(CannotJudge):
            assert_matches(self.path("short.npz"), MODEL, INPUTS, expected=expected, require="logits")

    def test_a_ports_own_names(self):
        taps = {f"mine/{k}".replace("/", "_"): v for k, v in np.load(self.port()).items() if k != "__meta__"}
        save(self.path("mine.npz"), {k: v for k, v in taps.items() if k in ("mine_logits", "mine_projector.out")})
        with open(self.path("map.json"), "w") as file:
            file.write('{"mine_logits": {"tap": "logits"}, "mine_projector.out": {"tap": "projector.out"}}')
        report = assert_matches(self.path("mine.npz"), MODEL, INPUTS, map=self.path("map.json"))
        self.assertEqual([t["name"] for t in report["tensors"]], ["projector.out", "logits"])
        with self.assertRaises(CannotJudge):
            assert_matches(self.path("mine.npz"), MODEL, INPUTS)

    def test_what_cannot_be_judged_is_no_pass(self):
        for arguments in ((self.path("none.npz"), MODEL, INPUTS), (INPUTS, self.path("none"), INPUTS)):
            with self.assertRaises(CannotJudge):
                assert_matches(*arguments)
        with self.assertRaises(TypeError):
            assert_matches(INPUTS, MODEL)

    def test_the_program_is_found_by_variable_or_path(self):
        program = find_program()
        with mock.patch.dict(os.environ, {"LLAVA_REF": self.path("none")}), self.assertRaises(NotInstalled):
            find_program()
        os.symlink(os.path.abspath(program), self.path("llava-ref"))
        with mock.patch.dict(os.environ, {"PATH": self.folder}):
            del os.environ["LLAVA_REF"]
            self.assertEqual(os.path.realpath(find_program()), os.path.realpath(program))

    @unittest.skipIf(importlib.util.find_spec("pytest") is None, "pytest is not installed")
    def test_under_pytest(self):
        with open(self.path("test_port.py"), "w") as file:
            file.write("def test_port(llava_ref):\n"
                       f"    llava_ref({self.port('text.rope_sign=reversed')!r}, {MODEL!r}, {INPUTS!r})\n")  # fmt: skip
        command = [sys.executable, "-m", "pytest", "-q", "-p", "pytest_llava_ref", "-p", "no:cacheprovider", self.folder]
        environment = {**os.environ, "PYTHONPATH": HERE}
        failed = subprocess.run(command, env=environment, capture_output=True, text=True)
        self.assertIn("text.rope_sign=reversed", failed.stdout)
        environment["LLAVA_REF"] = self.path("none")
        skipped = subprocess.run(command, env=environment, capture_output=True, text=True)
        self.assertIn("1 skipped", skipped.stdout)


if __name__ == "__main__":
    unittest.main()
