"""Does a data set help a probe on frozen features? Every arm of `eval downstream`, in seconds a draw.

The features of an image are read once; a draw then costs a logistic regression. So twenty draws are afforded where
trainings from random weights afford three, and their intervals are that much narrower.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from terrasynth.eval.metrics.neighbors import neighbor_classes
from terrasynth.eval.metrics.probes import fit_probes
from terrasynth.eval.models.dual_encoders import PictureEncoder
from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.studies.downstream.arms import (
    BOTH,
    RANDOM,
    REAL,
    SCENE,
    SYNTHETIC,
    UNFILTERED,
    Cell,
    Design,
    cells,
)
from terrasynth.synthesis.studies.downstream.cells import RealSplits, TaskFindings, findings_of
from terrasynth.synthesis.studies.downstream.pools import Pool, RunAttempts
from terrasynth.synthesis.studies.trainings import Probing, Swept, Trained

WEIGHTS = (1.0, 3.0, 0.3, 0.1, 0.03)
"""Of a synthetic image where a real one has 1; of equally good ones the first is taken."""

SWEEP_SEEDS = 5
WEIGHTED = (BOTH, UNFILTERED, RANDOM)
"""Arms with real and with synthetic images."""

Rows = NDArray[np.intp]
Floats = NDArray[np.floating]


class Learner(Protocol):
    """A classifier of features that is learned in no time.

    Attributes:
        method: Its name.
        setting: The name of what is chosen.
        settings: What it is chosen from; of equally good ones the first is taken.
    """

    method: str
    setting: str
    settings: tuple[float, ...]

    def predict(self, rows: Rows, weights: Floats, setting: float) -> NDArray[np.intp]:
        """Learn from rows (B, N) with weights (B, N), B times, and name the class of each image asked about, (B, Q)."""


class LinearProbe:
    """Multinomial logistic regression; see `eval.metrics.probes`."""

    method, setting = "linear probe", "L2 penalty"
    settings: tuple[float, ...] = (1.0, 0.1, 0.01)

    def __init__(self, known: Floats, target: Rows, asked: Floats, classes: int) -> None:
        """Known features (M, D) with their classes (M,), and features asked about (Q, D)."""
        self._known, self._target, self._asked, self._classes = known, target, asked, classes

    def predict(self, rows: Rows, weights: Floats, setting: float) -> NDArray[np.intp]:
        """See `Learner`."""
        probes = fit_probes(self._known, rows, self._target, self._classes, setting, weights)
        return probes.predict(self._asked)


class NearestNeighbors:
    """Votes of the nearest by cosine; see `eval.metrics.neighbors`."""

    method, setting = "k-NN", "k"
    settings: tuple[float, ...] = (1, 3, 5, 10, 20)

    def __init__(self, known: Floats, target: Rows, asked: Floats, classes: int) -> None:
        """See `LinearProbe`."""
        self._similarity, self._target, self._classes = _unit(asked) @ _unit(known).T, target, classes

    def predict(self, rows: Rows, weights: Floats, setting: float) -> NDArray[np.intp]:
        """See `Learner`."""
        return np.stack([
            neighbor_classes(self._similarity[:, own], self._target[own], self._classes, int(setting), weight)
            for own, weight in zip(rows, weights, strict=True)
        ])


@dataclass(frozen=True)
class _Group:
    """The cells of one arm at one amount, a row a seed.

    Attributes:
        rows: (S, N), of the known features.
        synthetic: bool (S, N).
        val: (S, V), of the images asked about.
    """

    cells: tuple[Cell, ...]
    rows: Rows
    synthetic: NDArray[np.bool_]
    val: Rows


def measure_probes(
    real: RealSplits, attempts: RunAttempts, design: Design, encoders: Mapping[str, PictureEncoder], seed: int = 0,
    say: Callable[[str], None] = print,
) -> list[TaskFindings]:
    """Compare the arms with a linear probe and with k-NN on the features of each encoder.

    The penalty, or k, is chosen at each amount for `real only`, by the accuracy on `val` over the first `SWEEP_SEEDS`
    seeds, and holds for all arms with real images; `synthetic only` chooses its own on the images that it holds out.
    The weight of a synthetic image is chosen likewise for each arm that has both.

    Args:
        design: Amounts of real images for the task "scene".
        encoders: What each is called -> the encoder.
        seed: Of the intervals.

    Raises:
        InputError: A class to learn that no test image has, or a single one.
    """
    names = sorted(set(real.test.labels))
    if len(names) < 2:
        raise InputError(f"the real test images have one class, {names[0]!r}; a probe needs two to tell apart")
    if unknown := sorted({*real.train.labels, *real.val.labels} - set(names)):
        raise InputError(f"class {unknown[0]!r} has no real test image; there are: {', '.join(names)}")
    planned = list(cells(design, real.train.labels, real.val.labels, attempts.labels, attempts.accepted))
    drawn, places = attempts.pool([row for cell in planned for row in cell.attempts + cell.val_attempts])
    pools = (real.train, drawn, real.val, real.test)
    target = [np.searchsorted(names, pool.labels) for pool in pools]
    groups = _groups(planned, places, *(len(pool) for pool in (real.train, real.val, real.test)))
    found = []
    for name, encoder in encoders.items():
        train, synthetic, val, test = (_features(encoder, pool) for pool in pools)
        say(f"{name}: {sum(map(len, pools)):,} images have {encoder.dim:,} features each")
        known, asked = np.concatenate([train, synthetic]), np.concatenate([val, test, synthetic])
        classes = np.concatenate([target[2], target[3], target[1]])
        for kind in (LinearProbe, NearestNeighbors):
            learner = kind(known, np.concatenate(target[:2]), asked, len(names))
            study = _Study(learner, groups, classes, len(real.val), len(real.test))
            scores, swept = study.run(min(SWEEP_SEEDS, design.seeds))
            network = f"frozen features of {name} ({encoder.dim:,})"
            trained = {cell: Trained({"accuracy": hits}, {"accuracy": 1 / len(names)}, 0, network)
                       for cell, hits in scores.items()}
            how = Probing(learner.method, learner.setting, learner.settings, WEIGHTS, min(SWEEP_SEEDS, design.seeds))
            found.append(findings_of(SCENE, trained, real.test.labels, design, how, seed, f"{name}, {learner.method}",
                                     swept))
            say(f"{name}, {learner.method}: {len(planned):,} of {len(planned):,} cells")
    return found


class _Study:
    """All arms of one learner on one encoder's features."""

    def __init__(self, learner: Learner, groups: Mapping[tuple[str, float], _Group], classes: Rows, n_val: int,
                 n_test: int) -> None:
        self._learner, self._groups, self._classes = learner, groups, classes
        self._test = slice(n_val, n_val + n_test)

    def run(self, choosing: int) -> tuple[dict[Cell, list[float]], list[Swept]]:
        """Scores of each test image by cell, and what was tried."""
        settings = self._learner.settings
        alone = [place for place in self._groups if place[0] in (REAL, SYNTHETIC)]
        swept = self._sweep([(place, setting, 1.0) for place in alone for setting in settings], choosing)
        chosen = {place: next(each.setting for each in swept if (each.arm, each.amount) == place and each.chosen)
                  for place in alone}
        mixed = [place for place in self._groups if place[0] in WEIGHTED]
        swept += self._sweep([(place, chosen[REAL, place[1]], weight) for place in mixed for weight in WEIGHTS],
                             choosing)
        weights = {(each.arm, each.amount): each.weight for each in swept if each.chosen}
        jobs = [(place, chosen[place if place in chosen else (REAL, place[1])], weights.get(place, 1.0) or 1.0)
                for place in self._groups]
        with _side_by_side() as each_of:
            hits = each_of(lambda job: self._hits(*job)[:, self._test], jobs)
        return {cell: row.astype(float).tolist() for (place, _, _), rows in zip(jobs, hits, strict=True)
                for cell, row in zip(self._groups[place].cells, rows, strict=True)}, swept

    def _sweep(self, jobs: Sequence[tuple[tuple[str, float], float, float]], choosing: int) -> list[Swept]:
        with _side_by_side() as each_of:
            found = each_of(lambda job: self._hits(job[0], job[1], job[2], choosing), jobs)
        tried = []
        for (place, setting, weight), hits in zip(jobs, found, strict=True):
            val = np.take_along_axis(hits, self._groups[place].val[:choosing], 1).mean()
            tried.append(Swept(*place, setting, weight if place[0] in WEIGHTED else 0.0, float(val),
                               float(hits[:, self._test].mean()), False))
        best: dict[tuple[str, float], Swept] = {}
        for each in tried:
            if (place := (each.arm, each.amount)) not in best or each.val > best[place].val:
                best[place] = each
        return [Swept(each.arm, each.amount, each.setting, each.weight, each.val, each.test,
                      each is best[each.arm, each.amount]) for each in tried]

    def _hits(self, place: tuple[str, float], setting: float, weight: float,
              seeds: int | None = None) -> NDArray[np.bool_]:
        """Whether each image asked about is recognized, (S, Q); what seeds have in common is learned once."""
        group = self._groups[place]
        rows, first, back = np.unique(group.rows[:seeds], axis=0, return_index=True, return_inverse=True)
        weights = np.where(group.synthetic[first], weight, 1.0)
        found: NDArray[np.bool_] = self._learner.predict(rows, weights, setting) == self._classes
        return found[back.reshape(-1)]


def _groups(planned: Sequence[Cell], places: Mapping[int, int], n_train: int, n_val: int,
            n_test: int) -> dict[tuple[str, float], _Group]:
    by_place: dict[tuple[str, float], list[Cell]] = {}
    for cell in planned:
        by_place.setdefault((cell.arm, cell.amount), []).append(cell)
    found = {}
    for place, own in by_place.items():
        rows = np.array([[*cell.real, *(n_train + places[row] for row in cell.attempts)] for cell in own], np.intp)
        val = np.array([[*cell.val_real, *(n_val + n_test + places[row] for row in cell.val_attempts)] for cell in own],
                       np.intp)
        found[place] = _Group(tuple(own), rows, rows >= n_train, val)
    return found


def _features(encoder: PictureEncoder, pool: Pool) -> NDArray[np.float32]:
    return encoder.features(pool.images)


def _unit(rows: Floats) -> Floats:
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(np.divide(rows, length, out=np.zeros_like(rows), where=length > 0))


@contextmanager
def _side_by_side() -> Iterator[Callable[..., list[NDArray[np.bool_]]]]:
    """A `map` in as many threads as there are processors, each of which computes alone: the problems are small."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            yield lambda function, jobs: list(pool.map(function, jobs))
    finally:
        torch.set_num_threads(before)
