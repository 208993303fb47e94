"""Do prompts that set confused classes apart help? The same probe on images of plain prompts, and of such ones.

    python -m tests.benchmarks.set_apart --plain RUN --apart RUN --data DATA [--features MODEL] [--draws 20]

PLAIN is a run with images of every class, APART one of some of them whose prompts `prompts.checks.says` sets apart
(`terrasynth target`). A linear probe learns from real images and 10 images a class of PLAIN, or of APART where it has
the class, at one weight (chosen on `val` for PLAIN). Both are tested on `test`, on all images and on those of the
classes of APART.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from terrasynth.eval.metrics.probes import fit_probes
from terrasynth.eval.models.feature_cache import CachedEncoder, cache_folder
from terrasynth.eval.models.loaders import load_picture_encoder
from terrasynth.synthesis.cli.real_data import real_pairs
from terrasynth.synthesis.ledger.directory import RunDirectory
from terrasynth.synthesis.studies.downstream.arms import COUNTS, subset
from terrasynth.synthesis.studies.downstream.figures import crossed_mean
from terrasynth.synthesis.studies.downstream.pools import RunAttempts, real_pool
from terrasynth.synthesis.studies.downstream.targeted import Candidates

OF_CLASS, CHOOSING, PENALTY = 10, 5, 0.01
WEIGHTS = (1.0, 0.3, 0.1, 0.03)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--plain", type=Path, required=True)
    parser.add_argument("--apart", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--features", default="efficientnet-lite0")
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--per-class", type=int, nargs="+", default=[1, 5, 10, 20])
    given = parser.parse_args()
    encoder = CachedEncoder(load_picture_encoder(given.features), cache_folder(None))
    size = RunDirectory(given.plain).attempt_size()
    train, val, test = (real_pool(real_pairs(given.data, split), size, split) for split in ("train", "val", "test"))
    names = sorted(set(test.labels))
    features, labels, chosen = [encoder.features(train.images)], [*train.labels], []
    for run in (given.plain, given.apart):
        attempts = RunAttempts.read(run, names)
        candidates = Candidates(attempts)
        pool, places = attempts.pool(candidates.rows)
        offset = len(labels)
        even = dict.fromkeys(candidates.there, OF_CLASS)
        chosen.append([[offset + places[row] for row in candidates.drawn(even, seed)] for seed in range(given.draws)])
        features.append(encoder.features(pool.images))
        labels += pool.labels
    known, target = np.concatenate(features), np.searchsorted(names, labels)
    asked = {split: (encoder.features(pool.images), np.searchsorted(names, pool.labels))
             for split, pool in (("val", val), ("test", test))}
    own = {labels[row] for row in chosen[1][0]}
    among = np.isin(np.array(test.labels), sorted(own))
    print(f"classes set apart: {', '.join(sorted(own))}; {given.draws} draws, n = {len(test)} and {among.sum()}")

    def hits(rows, weight, split):
        seen, truth = asked[split]
        weights = np.where(rows < len(train), 1.0, weight)
        return (fit_probes(known, rows, target, len(names), PENALTY, weights).predict(seen) == truth).astype(float)

    for amount in given.per_class:
        real = [list(subset(train.labels, amount, seed, COUNTS)) for seed in range(given.draws)]
        plain = np.array([one + other for one, other in zip(real, chosen[0], strict=True)])
        apart = np.array([one + [row for row in other if labels[row] not in own] + more
                          for one, other, more in zip(real, *chosen, strict=True)])
        weight = max(WEIGHTS, key=lambda each: hits(plain[:CHOOSING], each, "val").mean())
        before, after = (hits(rows, weight, "test") for rows in (plain, apart))
        print(f"{amount} a class, weight {weight:g}: plain {before.mean():.3f}, apart minus plain "
              f"{crossed_mean(after - before, 0).words(True)}; of these classes {before[:, among].mean():.3f}, "
              f"{crossed_mean((after - before)[:, among], 0).words(True)}")


if __name__ == "__main__":
    main()
