"""How far the program is from transformers' true float64, over all goldens: what README says of it.

    python tools/golden_distance.py [--binary build/llava-ref]

Runs each case of golden/ and holds it against its true.npz with `diff`. Prints the largest difference relative to the
row's largest value, rounded up, and the tolerance of the cases.
"""

import argparse
import json
import math
import pathlib
import subprocess
import tempfile

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "golden"


def distance(binary, case, dump, folder):
    """The largest rel_max of any tensor that is not compared for equality."""
    out, report = f"{folder}/{case.parent.name}.npz", f"{folder}/diff.json"
    arguments = json.loads(case.read_text())["arguments"]
    if "--taps" not in arguments:
        arguments = arguments + ["--taps", "*"] if "--generate" not in arguments else arguments
    quiet = {"cwd": case.parent, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run([binary, "run", *arguments, "--numerics", dump["numerics"], "--dump", out], check=True, **quiet)
    subprocess.run([binary, "diff", dump["file"], out, "--json", report], **quiet)
    tensors = json.loads(pathlib.Path(report).read_text())["tensors"]
    return max((t["rel_max"] or 0 for t in tensors if not t.get("exact")), default=0)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--binary", type=pathlib.Path, default="build/llava-ref")
    binary = parser.parse_args().binary.resolve(strict=True)
    most, lines = 0, set()
    with tempfile.TemporaryDirectory() as folder:
        for case in sorted(GOLDEN.glob("*/case.json")):
            for dump in json.loads(case.read_text())["dumps"]:
                if dump["file"] == "true.npz":
                    most = max(most, distance(binary, case, dump, folder))
                    lines.add(dump["tolerance"])
    unit = 10 ** math.floor(math.log10(most))
    print(f"within {math.ceil(most / unit) * unit:.0e} of the row's largest value; the line is {max(lines):.0e}")


if __name__ == "__main__":
    main()
