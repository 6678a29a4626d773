"""Holds tools/llava_twin.py against the goldens in true float64: a third producer of the same numbers.

    python tools/check_twin.py [CASE...]

Every tap of every `true.npz` of the twin's family: the same names and shapes, integers equal, numbers
within 1e-12 of the row's largest value, which is what golden/README.md derives for two float64
implementations. Then the check itself is tried: weights of one stage, wrong by 1e-9 of their size, must
trip it, stage by stage. Exits with 1 where anything is otherwise.
"""

import argparse
import json
import pathlib
import sys

import numpy as np

import llava_twin as twin
from golden_proof import counted, counted_error

GOLDEN = pathlib.Path("golden")
OPTIONS = {"--model", "--inputs", "--image", "--prompt", "--chat", "--messages", "--generate", "--taps"}
TOLERANCE = 1e-12
# A thousand times the tolerance; a sixtieth of what one rounding to float32 changes.
PLANTED = 1e-9
PLANTED_IN = (
    "vision_tower.embeddings.patch_embedding.weight",
    "vision_tower.encoder.layers.0.mlp.fc1.weight",
    "multi_modal_projector.linear_2.weight",
    "language_model.embed_tokens.weight",
    "language_model.layers.0.self_attn.q_proj.weight",
    "language_model.layers.1.mlp.down_proj.weight",
    "lm_head.weight",
)


class Differs(Exception):
    pass


def argument(case, name):
    words = case["arguments"]
    return words[words.index(name) + 1] if name in words else None


def twins_taps(folder, case, golden):
    """What the twin makes of the case's inputs file, or of what picture and prompt have become."""
    others = {word for word in case["arguments"] if word.startswith("--")} - OPTIONS
    if others:
        raise NotImplementedError(f"{', '.join(sorted(others))} is not the twin's")
    if (folder / "inputs.npz").exists():
        inputs = dict(np.load(folder / "inputs.npz"))
    else:
        inputs = {name: golden[name] for name in ("input_ids", "pixel_values") if name in golden}
    return twin.run(folder / argument(case, "--model"), inputs, int(argument(case, "--generate") or 0))


def compare(taps, golden, sampled):
    """(largest difference, its tap) over the taps of the golden; fewer than the twin's where sampled."""
    golden = {name: tap for name, tap in golden.items() if not name.startswith(("image.", "__"))}
    others = set(golden) - set(taps) if sampled else set(golden) ^ set(taps)
    if others:
        raise Differs(f"taps on one side only: {sorted(others)}")
    worst, mask = (0.0, ""), taps["attention_mask"]
    for name, expected in golden.items():
        tap = np.asarray(taps[name])
        if tap.shape != expected.shape:
            raise Differs(f"{name}: shape {tap.shape}, the golden has {expected.shape}")
        if expected.dtype.kind in "iu" and not np.array_equal(tap, expected):
            raise Differs(f"{name}: other integers")
        if not np.isfinite(counted(name, tap, mask)).all():
            raise Differs(f"{name}: not finite")
        worst = max(worst, (counted_error(name, tap, expected, mask), name))
    if not worst[0] <= TOLERANCE:
        raise Differs(f"{worst[1]} is off by {worst[0]:.1e} of its row's largest value")
    return worst


def planted_errors(name):
    """Makes the weights of one stage after the other wrong in the case's model; how many went unnoticed."""
    folder = GOLDEN / name
    case = json.loads((folder / "case.json").read_text())
    golden = dict(np.load(folder / "true.npz"))
    honest, unnoticed = twin.read_weights, 0
    for weight in PLANTED_IN:

        def spoilt(model, weight=weight):
            weights = honest(model)
            return weights | {weight: weights[weight] * (1 + PLANTED)}

        twin.read_weights = spoilt
        try:
            compare(twins_taps(folder, case, golden), golden, False)
            print(f"{name}: {weight} was wrong by {PLANTED:.0e} and nothing showed")
            unnoticed += 1
        except Differs:
            pass
        finally:
            twin.read_weights = honest
    return unnoticed


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("cases", nargs="*", metavar="CASE", help="default: all that have weights")
    options = parser.parse_args()
    folders = [GOLDEN / name for name in options.cases] or sorted(p.parent for p in GOLDEN.glob("*/case.json"))
    checked, wrong, worst = 0, 0, (0.0, "", "")
    for folder in folders:
        case = json.loads((folder / "case.json").read_text())
        if not list((folder / argument(case, "--model")).glob("*.safetensors")):
            continue  # a case about pictures only
        golden = dict(np.load(folder / "true.npz"))
        try:
            found = compare(twins_taps(folder, case, golden), golden, "--taps" in case["arguments"])
            worst = max(worst, (*found, folder.name))
            checked += 1
        except NotImplementedError as other:
            print(f"{folder.name} not compared: {other}")
        except Differs as difference:
            print(f"{folder.name}: {difference}")
            wrong += 1
    print(f"{checked} cases agree within {worst[0]:.1e} ({worst[2]}, {worst[1]})")
    unnoticed = planted_errors("plain")
    print(f"{len(PLANTED_IN) - unnoticed} of {len(PLANTED_IN)} planted errors noticed")
    return int(wrong > 0 or unnoticed > 0 or checked == 0)


if __name__ == "__main__":
    sys.exit(main())
