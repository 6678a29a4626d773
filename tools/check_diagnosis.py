#!/usr/bin/env python3
"""How often does `llava-ref diagnose` name the decision that was planted?

Every decision value is planted with `run --set` in every golden case where it has an effect, in
each type, as a full dump and as sparse ones, and diagnosed. No Python packages needed.

    tools/check_diagnosis.py [--program build/llava-ref] [--case NAME]... [--only GLOB]
                             [--dtypes f32,...] [--dumps full,...] [--verbose] [--json FILE]

A planted decision is *visible* where the wrong run, in float64, is further from the right one than
8 times what an honest run of the type is, in some tap of the dump; only these must be found. Score:
  named    the planted decision and value stand first
  among    they stand among the likely ones (others leave an error of the same size)
  wrong    something else is named as certain
  unknown  a finding without a cause
  missed   nothing was found
Exit status 1 if anything is wrong, missed, or if an honest dump is found guilty.
"""
import argparse
import collections
import fnmatch
import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
GOLDEN = os.path.join(ROOT, "golden")
SPARSE = "vision.features,projector.out,text.layers.*.output,step.*.text.layers.*.output,logits,step.*.logits"
# One of each kind: the rest of golden/ differs in how the same model is stored.
CASES = ["plain", "batch-left", "feature-layers", "full-strategy", "grouped-heads", "odd-sizes", "one-layer",
         "several-pictures", "given-positions", "inputs-embeds", "no-projector-bias", "labels", "generate",
         "generate-left-stop", "picture-prompt", "picture-chat", "picture-pad", "picture-short-edge",
         "picture-stretch", "picture-modes"]
MASKS = {"full": None, "layers": SPARSE, "logits": "logits,step.*.logits"}


def run(program, folder, *words):
    return subprocess.run([program, *words], cwd=folder, capture_output=True, text=True)


class Case:
    def __init__(self, name):
        self.name = name
        self.folder = os.path.join(GOLDEN, name)
        with open(os.path.join(self.folder, "case.json")) as f:
            self.spec = json.load(f)
        words = self.spec["arguments"]
        self.run_words, self.inputs, self.taps = list(words), [], None
        i = 0
        while i < len(words):
            if words[i] in ("--generate", "--taps"):
                self.taps = words[i + 1] if words[i] == "--taps" else self.taps
                i += 2
            else:
                self.inputs.append(words[i])
                i += 1


def decisions(program):
    """[(name, value)] of all wrong values: `explain` lists them, the default first."""
    text = subprocess.run([program, "explain"], capture_output=True, text=True, check=True).stdout
    found = []
    for line in text.splitlines():
        m = re.match(r"    ((?:image|tokens|vision|projector|merge|text|cache|numerics)\.\w+) +(\S.*)", line)
        if m:
            found += [(m[1], v) for v in m[2].split(", ")[1:]]
    return found


def diff_errors(program, folder, a, b):
    """{tap: relative L2} of b against a, over what counts; inf for another shape or NaN."""
    r = run(program, folder, "diff", a, b, "--json", "-")
    try:
        found = json.loads(r.stdout)
    except ValueError:
        return {}
    errors = {}
    for t in found["tensors"]:
        e = t["rel_l2"]
        if t["type"] == "exact":
            e = 1.0 if t["verdict"] == "differ" else 0.0
        if e is None or t["why"] in ("another shape", "NaN or infinity"):
            e = float("inf")
        errors[t["name"]] = e
    return errors


class Bench:
    def __init__(self, program, folder, verbose):
        self.program, self.folder, self.verbose = program, folder, verbose
        self.score = collections.Counter()
        self.by_kind = collections.defaultdict(collections.Counter)
        self.failures = []

    def dump(self, case, path, dtype, numerics, taps=None, choice=None):
        words = ["run", *case.run_words, "--dtype", dtype, "--numerics", numerics, "--dump", path]
        if choice:
            words += ["--set", "%s=%s" % choice]
        r = run(self.program, case.folder, *[w for w in words])
        return r.returncode == 0

    def diagnose(self, case, path, *more):
        """more: --positions forward, where another convention of positions is the fault."""
        words = ["diagnose", *case.inputs, "--dump", path, "--json", "-", *more]
        r = run(self.program, case.folder, *words)
        try:
            return json.loads(r.stdout)
        except ValueError:
            return {"verdict": "crash %d: %s" % (r.returncode, r.stderr.strip()[-200:])}

    def thin(self, path, globs):
        """A copy of an .npz with only these taps (and the ids, as ports give them)."""
        if globs is None:
            return path
        out = path[:-4] + "-thin.npz"
        globs = globs.split(",") + ["__meta__", "generated_ids"]
        with zipfile.ZipFile(path) as src, zipfile.ZipFile(out, "w") as dst:
            for m in src.infolist():
                if any(fnmatch.fnmatch(m.filename[:-4], g) for g in globs):
                    dst.writestr(m.filename, src.read(m.filename))
        return out

    def note(self, outcome, key, detail=""):
        self.score[outcome] += 1
        self.by_kind[key[2].split(".")[0]][outcome] += 1
        if outcome in ("wrong", "missed", "false alarm", "crash", "unknown") or self.verbose:
            self.failures.append((outcome, " ".join(map(str, key)), detail))
            print("%-12s %s  %s" % (outcome, " ".join(map(str, key)), detail), flush=True)


def brief(result):
    out = []
    for f in result.get("findings", [])[:3]:
        causes = ["%s=%s%s %.1e" % (c["decision"], c["value"],
                                    "".join("+%s=%s" % (w["decision"], w["value"]) for w in c["with"]),
                                    -1 if c["error"] is None else c["error"]) for c in f["causes"][:3]]
        out.append("%s[%s %s/%s] %s" % (f["tap"], f["confidence"],
                                       "nan" if f["local_error"] is None else "%.1e" % f["local_error"],
                                       "%.1e" % f["noise"], " | ".join(causes)))
    return result["verdict"] + ": " + " ;; ".join(out)


def outcome_of(result, choice):
    if result["verdict"].startswith("crash"):
        return "crash"
    name, value = choice
    if any(d["decision"] == name and d["value"] == value
           for d in result.get("precision", {}).get("decisions", [])):
        return "named"
    if any(d["decision"] == name for d in result.get("precision", {}).get("decisions", [])):
        return "among"  # float16 and TF32 have the same 11 bits: often the same numbers
    findings = result.get("findings", [])
    if not findings:
        return "missed"
    for f in findings:
        for i, c in enumerate(f["causes"]):
            if c["decision"] == name and c["value"] == value and not c["with"]:
                if len(findings) > 1:
                    return "spread"
                return "named" if i == 0 else "among"
    return "unknown" if not findings[0]["causes"] else "wrong"


def check(bench, case, dtypes, masks, choices):
    at = os.path.join(bench.folder, "x")
    base = at + "-right64.npz"
    if not bench.dump(case, base, "f64", "true"):
        return
    for dtype, numerics in dtypes:
        right = at + "-right.npz"
        bench.dump(case, right, dtype, numerics)
        floor = diff_errors(bench.program, bench.folder, base, right)
        for mask in masks:
            result = bench.diagnose(case, bench.thin(right, MASKS[mask]))
            if result["verdict"] == "cannot-judge":
                continue  # a case of pictures alone, thinned to taps of the model
            key = (case.name, dtype, "honest", mask)
            bench.note("honest" if result["verdict"] == "pass" else "false alarm", key, brief(result))
        for choice in choices:
            if numerics == "hf" and choice == ("numerics.islands", "hf"):
                continue  # they are there anyway
            wrong64, wrong = at + "-wrong64.npz", at + "-wrong.npz"
            if not bench.dump(case, wrong64, "f64", "true", choice=choice):
                continue
            effect = diff_errors(bench.program, bench.folder, base, wrong64)
            if not bench.dump(case, wrong, dtype, numerics, choice=choice):
                continue
            for mask in masks:
                thin = bench.thin(wrong, MASKS[mask])
                with zipfile.ZipFile(thin) as z:
                    taps = {m.filename[:-4] for m in z.infolist()}
                seen = max([effect.get(t, 0) / max(8 * floor.get(t, 0), 1e-11) for t in taps if t in effect],
                           default=0)
                key = (case.name, dtype, choice[0] + "=" + choice[1], mask)
                own = "generate" if "--generate" in case.run_words else "forward"
                more = ["--positions", own] if choice[0] == "text.positions" else []
                result = bench.diagnose(case, thin, *more)
                outcome = outcome_of(result, choice)
                if seen < 1:
                    if outcome not in ("named", "among", "crash"):
                        outcome = "invisible"
                    else:
                        outcome = outcome if outcome == "crash" else "named anyway"
                bench.note(outcome, key, "seen %.1e  %s" % (seen, brief(result)))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--program", default=os.path.join(ROOT, "build", "llava-ref"))
    p.add_argument("--case", action="append", help="only these")
    p.add_argument("--only", default="*", help="decisions, a glob of NAME=VALUE")
    p.add_argument("--dtypes", default="f64,f32,bf16,f16")
    p.add_argument("--dumps", default="full,layers,logits")
    p.add_argument("--verbose", action="store_true", help="print every trial")
    p.add_argument("--json", help="the counts, for machines")
    o = p.parse_args()
    program = os.path.abspath(o.program)
    choices = [c for c in decisions(program) if fnmatch.fnmatch("%s=%s" % c, o.only)]
    numerics = {"f64": "true"}
    dtypes = [(t, numerics.get(t, "hf")) for t in o.dtypes.split(",")]
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(program, folder, o.verbose)
        for name in o.case or CASES:
            check(bench, Case(name), dtypes, o.dumps.split(","), choices)
    kinds = sorted(bench.by_kind)
    for kind in kinds:
        print("%-10s %s" % (kind, dict(bench.by_kind[kind])))
    print("total      %s" % dict(bench.score))
    if o.json:
        with open(o.json, "w") as f:
            json.dump({"total": bench.score, "by": bench.by_kind}, f, indent=1)
    bad = sum(bench.score[k] for k in ("wrong", "missed", "false alarm", "crash"))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
