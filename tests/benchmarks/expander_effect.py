"""What do the prompts of one expander do to the pictures, against those of another?

    python tests/benchmarks/expander_effect.py --captions CAPTIONS --real REAL --out FOLDER --seeds 0 1 2

For each expander and seed one run of the recipe, so as many accepted pictures from each, and one `terrasynth eval` of
it against real pictures. Prints a table of means over the seeds with their standard deviations: how many attempts were
accepted, CLIP score and scene accuracy of the accepted pictures by models that did not choose them, and how different
pictures and texts are from one another. A run that is there is carried on, so an interrupted measurement is too.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parents[2]


def terrasynth(*arguments: str) -> None:
    done = subprocess.run([sys.executable, "-m", "terrasynth", *arguments], cwd=ROOT, capture_output=True, text=True)
    missed = arguments[0] == "run" and done.returncode == 1  # a class missed its target, which the table shows
    if done.returncode and not missed:
        sys.exit(done.stderr)


def measure(options: argparse.Namespace, expander: str, settings: list[str], seed: int) -> dict[str, float]:
    out = options.out.resolve() / f"{expander}-{seed}"
    sets = [f"prompts.expander={expander}", *settings, f"seed={seed}", f"generator.model={options.model}",
            f"target.per_class={options.per_class}", *options.changes]
    terrasynth("run", options.recipe, "--out", str(out), *(part for each in sets for part in ("--set", each)))
    terrasynth("eval", str(out), "--real", str(options.real.resolve()), "--out", str(out / "evaluation.json"))
    found = json.loads((out / "evaluation.json").read_text())
    totals = json.loads((out / "report" / "report.json").read_text())["totals"]
    texts = [text for shard in sorted((out / "data").glob("*.parquet"))
             for text in pq.read_table(shard, columns=["text"])["text"].to_pylist()]
    by_encoder, by_classifier = found["diversity"]
    return {
        "accepted pictures": len(texts),
        "acceptance rate": totals["accepted"] / totals["attempted"],
        f"CLIP score ({found['alignment']['network']['model']})": found["alignment"]["score"]["value"],
        f"scene accuracy ({found['scene']['network']['model']})": found["scene"]["accuracy"]["value"],
        f"Vendi score ({by_encoder['network']['model']})": by_encoder["vendi"],
        f"mean pairwise distance ({by_encoder['network']['model']})": by_encoder["distance"],
        f"the same within classes ({by_encoder['network']['model']})": by_encoder["distance_within"],
        f"Vendi score ({by_classifier['network']['model']})": by_classifier["vendi"],
        f"mean pairwise distance ({by_classifier['network']['model']})": by_classifier["distance"],
        f"the same within classes ({by_classifier['network']['model']})": by_classifier["distance_within"],
        "Frechet distance": found["frechet"]["distance"],
        "distinct texts, share": len(set(texts)) / len(texts),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--captions", type=Path, required=True, help="what the expander `captions` reads")
    parser.add_argument("--real", type=Path, required=True, help="real image-caption data; its split `test` is used")
    parser.add_argument("--out", type=Path, required=True, help="the runs stay here")
    parser.add_argument("--recipe", default="demo")
    parser.add_argument("--model", default="ldm-ucm")
    parser.add_argument("--per-class", type=int, default=10)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--set", dest="changes", action="append", default=[], metavar="A.B=C")
    options = parser.parse_args()
    expanders = {"captions": [f"prompts.path={options.captions.resolve()}"], "grammar": []}
    found: dict[str, list[dict[str, float]]] = {name: [] for name in expanders}
    for seed in options.seeds:
        for name, settings in expanders.items():
            found[name].append(measure(options, name, settings, seed))
            print(name, seed, json.dumps(found[name][-1]), file=sys.stderr, flush=True)
    print(f"`{options.model}`, recipe `{options.recipe}`, {options.per_class} a class, seeds "
          f"{', '.join(map(str, options.seeds))}; mean and standard deviation over the seeds.\n")
    print(f"| | {' | '.join(f'`{name}`' for name in expanders)} |\n|---|{'---|' * len(expanders)}")
    for figure in found["grammar"][0]:
        cells = []
        for runs in found.values():
            values = [run[figure] for run in runs]
            spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
            cells.append(f"{statistics.mean(values):.3f}{spread}")
        print(f"| {figure} | {' | '.join(cells)} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
