"""Plants faults into transformers and asks llava-ref what is wrong: does `diagnose` name what was planted, pass
what is honest, and say "unknown" of damage that no decision explains?

    python tools/plant_faults.py                       # every fault on every golden that it fits
    python tools/plant_faults.py --quick               # one golden for each fault: what CI runs
    python tools/plant_faults.py --only 'text.rope*' --dtype bfloat16 --sparse
    python tools/plant_faults.py --agree               # is `run --set` what the fault does? (no diagnosis)
    python tools/plant_faults.py --list

The faults (faults.py, fault_pictures.py) are written in torch and Pillow, not with the C program's --set: the two
must agree on what a bug does. A fault that moves no tap further than the port's own rounding is "not visible"
on that model, and no failure. LLAVA_REF names the program, else build/llava-ref.
"""

import argparse
import copy
import fnmatch
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import redirect_stderr

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
sys.path.insert(0, HERE)
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

import torch  # noqa: E402
import transformers  # noqa: E402
from PIL import Image, ImageOps  # noqa: E402
from transformers import LlavaForConditionalGeneration  # noqa: E402

import fault_pictures  # noqa: E402
import fault_towers  # noqa: E402, F401
from faults import FAULTS, Port  # noqa: E402
from llava_capture import capture, save  # noqa: E402

SPARSE = ("input_ids,attention_mask,position_ids,pixel_values,vision.embed,vision.layers.*.output,vision.features,"
          "projector.out,text.inputs_embeds,text.layers.*.output,text.norm,logits,*generated_ids,*logits")  # fmt: skip
DTYPES = {"f32": "float32", "bf16": "bfloat16", "f16": "float16", "f64": "float64"}
UNITS = {"float32": 2.0**-24, "bfloat16": 2.0**-9, "float16": 2.0**-12, "float64": 2.0**-24}  # f64: the float32 islands


class Case:
    """A golden folder: its command line, and its model, loaded once for each type and attention."""

    models = {}

    def __init__(self, name):
        self.name, self.folder = name, os.path.join(ROOT, "golden", name)
        with open(os.path.join(self.folder, "case.json")) as file:
            self.arguments = json.load(file)["arguments"]
        self.model_folder = os.path.normpath(os.path.join(self.folder, self.option("--model")))
        if "--inputs" not in self.arguments:
            self.drop("--generate")  # with pictures, the prompt's pass is enough
        self.drop("--taps")
        self.steps = int(self.option("--generate", 0))
        self.has_weights = any(name.endswith(".safetensors") for name in os.listdir(self.model_folder))

    def drop(self, name):
        if name in self.arguments:
            at = self.arguments.index(name)
            del self.arguments[at : at + 2]

    def option(self, name, default=None):
        return self.arguments[self.arguments.index(name) + 1] if name in self.arguments else default

    def options(self, name):
        return [b for a, b in zip(self.arguments, self.arguments[1:]) if a == name]

    def model(self, dtype, attention):
        key = (self.model_folder, dtype, attention)
        if key not in self.models:
            with redirect_stderr(io.StringIO()):
                self.models[key] = LlavaForConditionalGeneration.from_pretrained(
                    self.model_folder, dtype=getattr(torch, dtype), attn_implementation=attention
                ).eval()
        return copy.deepcopy(self.models[key])

    def config(self):
        return transformers.AutoConfig.from_pretrained(self.model_folder)

    def inputs(self):
        """The inputs file, or what transformers' processor made of pictures and prompt: the golden has it."""
        names = ("input_ids", "pixel_values") if self.option("--inputs") is None else None
        with np.load(os.path.join(self.folder, self.option("--inputs", "true.npz"))) as file:
            return {name: torch.from_numpy(file[name]) for name in names or file.files if name in file.files}


def run_port(case, fault, path, dtype, attention, taps):
    """The port's dump: the model with the fault in it."""
    torch.manual_seed(0)
    port = Port(case.model(dtype, attention), case.inputs(), lambda: case.model("float32", attention))
    try:
        fault(port)
        with torch.no_grad(), capture(port.model, path, taps):
            if case.steps:
                port.model.generate(**port.inputs, max_new_tokens=case.steps, do_sample=False)
            else:
                port.model(**port.inputs)
    finally:
        port.close()


def run_pictures(case, fields, path, dtype, sparse):
    """The dump of a port that has its own way from a picture file to the model."""
    pipeline = fault_pictures.Pipeline.of(case.model_folder)
    for name, value in fields.items():
        setattr(pipeline, name, value)
    pictures = []
    for i, name in enumerate(case.options("--image")):
        with Image.open(os.path.join(case.folder, name)) as picture:
            pictures.append(pipeline(ImageOps.exif_transpose(picture), i))
    token = case.config().image_token_id
    ids = torch.tensor([pipeline.tokens(case.inputs()["input_ids"][0].tolist(), token)])
    taps = {} if sparse else dict(pipeline.taps)
    taps["pixel_values"] = np.stack(pictures).astype(np.float32)
    same_count = ids.eq(token).sum() == case.inputs()["input_ids"].eq(token).sum()
    if not case.has_weights or not same_count:
        save(path, taps | {"input_ids": ids.numpy()})
        return
    model = case.model(dtype, "eager")
    with torch.no_grad(), capture(model, path, SPARSE if sparse else None) as recorder:
        for name, x in taps.items():
            if name != "pixel_values":
                recorder.put(name, x)
        model(input_ids=ids, pixel_values=torch.from_numpy(taps["pixel_values"]))


# --- what the program says -----------------------------------------------------------------------


def diagnose(binary, case, dump, options):
    result = subprocess.run(
        [binary, "diagnose", *case.arguments, "--dump", os.path.abspath(dump), "--json", "-", *options],
        cwd=case.folder, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    if not result.stdout:
        raise RuntimeError((result.stderr.strip().splitlines() or ["no output"])[-1])
    report = json.loads(result.stdout)
    expected = {"pass": 0, "differ": 1, "cannot-judge": 2}[report["verdict"]]
    if result.returncode != expected:
        raise RuntimeError(f"verdict {report['verdict']} with exit status {result.returncode}")
    return report


def agree(binary, case, dump, expect):
    """The same decisions taken wrongly by `run --set`, in float64, compared with the port's dump."""
    expected = dump.removesuffix(".npz") + ".set.npz"
    settings = [word for name in expect for word in ("--set", name)]
    try:
        taps = [] if case.has_weights else ["--taps", "image.*,pixel_values,input_ids"]
        made = subprocess.run([binary, "run", *case.arguments, *taps, *settings, "--dump", os.path.abspath(expected)],
                              cwd=case.folder, capture_output=True, text=True, timeout=600)  # fmt: skip
        if made.returncode:
            raise RuntimeError(made.stderr.strip().splitlines()[-1])
        # The bound from sizes alone first; the model's own, which is slower, where a row has hardly a number.
        for more in ([], ["--model", case.model_folder]):
            result = subprocess.run([binary, "diff", expected, dump, "--json", "-", *more], capture_output=True, text=True)  # fmt: skip
            if not result.stdout:
                raise RuntimeError((result.stderr.strip().splitlines() or ["no output"])[-1])
            report = json.loads(result.stdout)
            if report["verdict"] != "differ":
                break
        differing = [t for t in report["tensors"] if t["verdict"] == "differ"]
        if differing and all(t["ratio"] is not None and t["ratio"] < 2 for t in differing):
            report["verdict"] = "warn"  # a step's one row of a dozen numbers: the bound holds for more of them
        return report
    finally:
        if os.path.exists(expected):
            os.remove(expected)


def comparable(name):
    """Ports that `run --set` can be held against. Roundings to a short type are none: a last digit decides
    which way they go. Nor are wrong counts of image tokens, which `run` refuses."""
    if name in FAULTS:
        return FAULTS[name].group == "cause"
    return not name.startswith("tokens.image_count")


def words(cause):
    """A cause and what it comes with, as a set of "decision=value"."""
    return {f"{c['decision']}={c['value']}" for c in [cause, *cause.get("with", [])]}


def shown(report):
    """The findings in a few words: "vision.embed: vision.cls_position=last (certain)"."""
    parts = []
    for finding in report["findings"][:3]:
        best = " + ".join(sorted(words(finding["causes"][0]))) if finding["causes"] else "?"
        parts.append(f"{finding['tap']}: {best} ({finding['confidence']})")
    more = len(report["findings"]) - 3
    return "; ".join(parts) + (f"; {more} more" if more > 0 else "") or report["verdict"]


def named_in(finding, wanted):
    """The first cause; where several explain a finding equally well ("likely"), the planted one if it is among
    those that leave as little."""
    causes = finding["causes"]
    if finding["confidence"] == "likely":
        for cause in causes:
            if words(cause) <= wanted and cause["error"] <= 1.5 * causes[0]["error"]:
                return words(cause)
    return words(causes[0]) if causes else {"unknown"}


def judge_cause(expect, also, report):
    """Each planted decision is among the first causes of the findings, and nothing else is."""
    right = set(expect).union(*also.values())
    named = [named_in(f, right) for f in report["findings"]]
    got = set().union(*named) if named else set()
    wanted = set(expect)
    for name, others in also.items():
        if name in wanted and name not in got:
            wanted = wanted - {name} | (got & others or {name})
    if report["verdict"] != "differ":
        return f"verdict {report['verdict']}"
    if not named or not named[0] <= wanted:
        return "something else is named first"
    if wanted - got:
        return "not named: " + ", ".join(sorted(wanted - got))
    return "" if got <= wanted else "also blamed: " + ", ".join(sorted(got - wanted))


def judge_honest(report):
    return "" if report["verdict"] == "pass" and not report["findings"] else "an honest port is blamed"


def judge_precision(expect, also, report):
    """A rounding that a port makes everywhere is its precision and no finding: the verdict is pass."""
    right = set(expect).union(*(also.get(name, set()) for name in expect))
    precision = json.dumps(report["precision"])
    found = {name for name in right if all(f'"{word}"' in precision for word in name.split("="))}
    if report["verdict"] != "pass" or report["findings"]:
        return "a rounding is blamed"
    return "" if found else "not recognised"


def judge_unknown(tap, report):
    if not report["findings"]:
        return "not found"
    first = report["findings"][0]
    if first["causes"] and not all(w.startswith("numerics.") for w in words(first["causes"][0])):
        return "a decision is blamed"
    if not first["causes"] and first["confidence"] != "unknown":
        return f"no cause, yet {first['confidence']}"
    return "" if tap is None or first["tap"] == tap else f"found first at {first['tap']}, not {tap}"


# --- is a fault visible? --------------------------------------------------------------------------


def distance(a, b):
    """Relative L2; NaN counts as infinitely far from a number."""
    a, b = (np.asarray(x, np.float64) for x in (a, b))
    if a.shape != b.shape or (np.isnan(a) != np.isnan(b)).any():
        return np.inf
    a, b = np.nan_to_num(a, nan=0), np.nan_to_num(b, nan=0)
    size = np.linalg.norm(b)
    return np.linalg.norm(a - b) / size if size else np.inf if a.any() else 0.0


def visible(faulty, healthy, true, unit):
    """Some tap is further from the healthy port's than four times that port's own distance from the truth, or
    than what sixteen roundings of its type make where the truth is not known. Four: what `diagnose` takes for noise."""
    faulty, healthy, true = np.load(faulty), np.load(healthy), np.load(true)
    if set(faulty.files) != set(healthy.files):
        return True
    for name in healthy.files:
        own = distance(healthy[name], true[name]) if name in true.files else 16 * unit
        floor = max(own if np.isfinite(own) else 0, unit if healthy[name].dtype.kind == "f" else 0)
        if distance(faulty[name], healthy[name]) > 4 * floor:
            return True
    return False


class Trials:
    """All faults on their cases; the table grows line by line."""

    def __init__(self, options):
        self.o = options
        self.passed = self.failed = self.unseen = 0
        self.folder = options.keep or tempfile.mkdtemp()
        os.makedirs(self.folder, exist_ok=True)
        self.healthy = {}

    def path(self, *parts):
        return os.path.join(self.folder, "-".join(parts).replace(" ", "_").replace("/", "_") + ".npz")

    def cases(self, fits, names):
        """The goldens for a fault: its own, or of those asked for the ones it fits."""
        asked = self.o.models
        if asked:
            # A fault that needs a special case (padding, a generation, several pictures) gets no other.
            names = [n for n in asked if n in names or ("plain" in names and not Case(n).option("--image"))
                     or (("plain" in names or "picture-prompt" in names) and Case(n).option("--image"))]  # fmt: skip
        chosen = [Case(n) for n in names if os.path.exists(os.path.join(ROOT, "golden", n, "case.json"))]
        chosen = [case for case in chosen if fits(case)]
        return chosen[:1] if self.o.quick else chosen

    def healthy_dump(self, case, run):
        key = (case.name, run["dtype"], run["attention"])
        if key not in self.healthy:
            path = self.path("healthy", *key)
            run_port(case, lambda port: None, path, run["dtype"], run["attention"], run["taps"])
            self.healthy[key] = path
        return self.healthy[key]

    def line(self, name, case, problem, report, unseen=False):
        mark = "ok" if not problem else "not visible" if unseen else "FAILED"
        self.passed += not problem
        self.failed += bool(problem) and not unseen
        self.unseen += bool(problem) and unseen
        said = shown(report) if isinstance(report, dict) else report
        print(f"{mark:11}  {case.name:18} {name}", flush=True)
        if problem or self.o.verbose:
            print(f"{'':11}  {problem + ': ' if problem else ''}{said}", flush=True)

    def model_fault(self, fault, case):
        run = dict(dtype=DTYPES[self.o.dtype], attention="eager", threads=1, taps=SPARSE if self.o.sparse else None)
        run.update(fault.setting)
        torch.set_num_threads(run["threads"])
        path = self.path(case.name, fault.name)
        run_port(case, fault.plant, path, run["dtype"], run["attention"], run["taps"])
        if self.o.agree:
            return self.agreement(fault.name, case, path, fault.expect)
        report = diagnose(self.o.binary, case, path, fault.options)
        also = fault.also(case.config()) if fault.also else {}
        if fault.group == "honest":
            problem = judge_honest(report)
        elif fault.group == "precision":
            problem = judge_precision(fault.expect, also, report)
        elif fault.group == "unknown":
            problem = judge_unknown(None if self.o.sparse else fault.tap, report)
        else:
            problem = judge_cause(fault.expect, also, report)
        unseen = False
        if problem and fault.group != "honest" and judge_honest(report) == "":
            unseen = not self.shows(path, case, run)
        elif problem.startswith("not named: "):  # of several at once: do the others show alone?
            unseen = not any(self.shows_alone(name, case, run) for name in problem[11:].split(", ") if name in FAULTS)
        self.line(fault.name, case, problem, report, unseen)
        self.keep(path)

    def shows(self, path, case, run):
        truth = os.path.join(case.folder, "true.npz")
        return visible(path, self.healthy_dump(case, run), truth, UNITS[run["dtype"]])

    def shows_alone(self, name, case, run):
        path = self.path(case.name, "alone", name)
        run_port(case, FAULTS[name].plant, path, run["dtype"], run["attention"], run["taps"])
        shown_alone = self.shows(path, case, run)
        self.keep(path)
        return shown_alone

    def picture_fault(self, name, case):
        fields, _, expect, also = fault_pictures.FAULTS[name]
        path, healthy = self.path(case.name, name), self.path("healthy", case.name)
        dtype = DTYPES[self.o.dtype]
        run_pictures(case, fields, path, dtype, self.o.sparse)
        if self.o.agree:
            return self.agreement(name, case, path, expect)
        report = diagnose(self.o.binary, case, path, ())
        problem = judge_cause(expect, also, report) if expect else judge_honest(report)
        unseen = False
        if problem and expect and judge_honest(report) == "":
            run_pictures(case, {}, healthy, dtype, self.o.sparse)
            unseen = not visible(path, healthy, os.path.join(case.folder, "true.npz"), UNITS[dtype])
        self.line(name, case, problem, report, unseen)
        self.keep(path)

    def agreement(self, name, case, path, expect):
        report = agree(self.o.binary, case, path, expect)
        first = report["first_divergence"]
        self.line(name, case, "" if report["verdict"] in ("pass", "warn") else "`run --set` does something else",
                  f"first at {first}" if first else report["verdict"])  # fmt: skip
        self.keep(path)

    def keep(self, path):
        if not self.o.keep:
            os.remove(path)

    def wanted(self, name):
        return not self.o.only or any(fnmatch.fnmatchcase(name, glob) for glob in self.o.only)

    def all(self):
        plan = [(f.name, lambda case, f=f: case.has_weights and f.fits(case.config()), f.cases,
                 lambda case, f=f: self.model_fault(f, case)) for f in FAULTS.values()]  # fmt: skip
        plan += [(name, lambda case: case.option("--image"), entry[1], lambda case, name=name: self.picture_fault(name, case))
                 for name, entry in fault_pictures.FAULTS.items()]  # fmt: skip
        for name, fits, cases, trial in plan:
            if not self.wanted(name) or (self.o.agree and not comparable(name)):
                continue
            for case in self.cases(fits, cases):
                try:
                    trial(case)
                except (RuntimeError, ValueError, KeyError, subprocess.TimeoutExpired) as error:
                    self.line(name, case, "cannot be judged", str(error))


def show_list():
    for fault in FAULTS.values():
        print(f"{fault.group:10} {fault.name:70} {' '.join(fault.cases)}{'  # ' + fault.about if fault.about else ''}")
    for name, (_, cases, expect, _) in fault_pictures.FAULTS.items():
        print(f"{'cause' if expect else 'honest':10} {name:70} {' '.join(cases)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", help="folders of golden/")
    parser.add_argument("--only", action="append", metavar="GLOB", help="only these faults (repeatable)")
    parser.add_argument("--dtype", choices=DTYPES, default="f32", help="the port's type (default f32)")
    parser.add_argument("--sparse", action="store_true", help="the port supplies hidden states only")
    parser.add_argument("--quick", action="store_true", help="each fault on the first golden that it fits")
    parser.add_argument("--agree", action="store_true", help="compare with `run --set` in place of diagnosing")
    parser.add_argument("--list", action="store_true", help="the faults, and the goldens they are for")
    parser.add_argument("--keep", metavar="DIR", help="leave the dumps there")
    parser.add_argument("--verbose", action="store_true", help="what was said, also where it was right")
    options = parser.parse_args()
    if options.list:
        return show_list()
    options.models = options.models or None
    options.binary = os.path.abspath(os.environ.get("LLAVA_REF", os.path.join(ROOT, "build", "llava-ref")))
    if not os.access(options.binary, os.X_OK):
        sys.exit(f"plant_faults: {options.binary}: not there; run make, or set LLAVA_REF")
    start, trials = time.time(), Trials(options)
    trials.all()
    if not options.keep:
        for name in os.listdir(trials.folder):
            os.remove(os.path.join(trials.folder, name))
        os.rmdir(trials.folder)
    print(f"{trials.passed} passed, {trials.failed} failed, {trials.unseen} not visible in {time.time() - start:.0f} s")
    if trials.passed + trials.failed == 0:
        sys.exit("plant_faults: nothing was tried")
    sys.exit(1 if trials.failed else 0)


if __name__ == "__main__":
    main()
