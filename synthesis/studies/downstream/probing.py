"""Does a data set help a probe on frozen features? Every arm of `eval downstream`, in seconds a draw.

The features of an image are read once; a draw then costs a logistic regression. So twenty draws are afforded where
trainings from random weights afford three, and their intervals are that much narrower.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from terrasynth.eval.metrics.neighbors import neighbor_classes
from terrasynth.eval.metrics.probes import fit_probes
from terrasynth.eval.models.dual_encoders import PictureEncoder
from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.studies.downstream.arms import (
    REAL,
    SCENE,
    SYNTHETIC,
    USEFULNESS,
    Cell,
    Comparison,
    Design,
    cells,
)
from terrasynth.synthesis.studies.downstream.cells import RealSplits, TaskFindings, findings_of
from terrasynth.synthesis.studies.downstream.pools import RunAttempts
from terrasynth.synthesis.studies.trainings import Probing, Swept, Trained

WEIGHTS = (1.0, 3.0, 0.3, 0.1, 0.03)
"""Of a synthetic image where a real one has 1; of equally good ones the first is taken."""

SWEEP_SEEDS = 5
Rows = NDArray[np.intp]
Place = tuple[str, float]
"""An arm, at an amount of real images."""

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
        self._similarity, self._target, self._classes = unit(asked) @ unit(known).T, target, classes

    def predict(self, rows: Rows, weights: Floats, setting: float) -> NDArray[np.intp]:
        """See `Learner`."""
        return np.stack([
            neighbor_classes(self._similarity[:, own], self._target[own], self._classes, int(setting), weight)
            for own, weight in zip(rows, weights, strict=True)
        ])


@dataclass(frozen=True)
class Group:
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

    @property
    def mixed(self) -> bool:
        """Whether a synthetic image stands beside real ones, so that it has a weight."""
        return bool(self.synthetic.any() and not self.synthetic.all())


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
    names = known_classes(real)
    planned = list(cells(design, real.train.labels, real.val.labels, attempts.labels, attempts.accepted))
    drawn, places = attempts.pool([row for cell in planned for row in cell.attempts + cell.val_attempts])
    pools = (real.train, drawn, real.val, real.test)
    target = [np.searchsorted(names, pool.labels) for pool in pools]
    groups = grouped(planned, places, *(len(pool) for pool in (real.train, real.val, real.test)))
    found = []
    for name, encoder in encoders.items():
        train, synthetic, val, test = (encoder.features(pool.images) for pool in pools)
        say(f"{name}: {sum(map(len, pools)):,} images have {encoder.dim:,} features each")
        known, asked = np.concatenate([train, synthetic]), np.concatenate([val, test, synthetic])
        classes = np.concatenate([target[2], target[3], target[1]])
        for kind in (LinearProbe, NearestNeighbors):
            learner = kind(known, np.concatenate(target[:2]), asked, len(names))
            study = Study(learner, groups, classes, len(real.val), len(real.test), min(SWEEP_SEEDS, design.seeds))
            settings = study.choose_settings()
            study.choose_weights(settings)
            found.append(study.findings(settings, real, design, name, encoder.dim, seed))
            say(f"{name}, {learner.method}: {len(planned):,} of {len(planned):,} cells")
    return found


def known_classes(real: RealSplits) -> list[str]:
    """The classes that are learned, sorted: those of the test images.

    Raises:
        InputError: A class to learn that no test image has, or a single one.
    """
    names = sorted(set(real.test.labels))
    if len(names) < 2:
        raise InputError(f"the real test images have one class, {names[0]!r}; a probe needs two to tell apart")
    if unknown := sorted({*real.train.labels, *real.val.labels} - set(names)):
        raise InputError(f"class {unknown[0]!r} has no real test image; there are: {', '.join(names)}")
    return names


class Study:
    """Arms of one learner on one encoder's features.

    Attributes:
        groups: Arms by amount; further ones may be added.
        swept: What was tried so far.
        factors: (S, N) of some arms, by which the weight of each row is multiplied; 1 where there are none.
    """

    def __init__(self, learner: Learner, groups: Mapping[Place, Group], classes: Rows, n_val: int, n_test: int,
                 choosing: int) -> None:
        """Prepare.

        Args:
            learner: Knows the features.
            groups: Arms by amount.
            classes: Of the images asked about: `val`, `test`, and the synthetic ones.
            choosing: How many seeds choose, the first ones.
        """
        self.groups, self.swept, self.factors = dict(groups), list[Swept](), dict[Place, Floats]()
        self._learner, self._classes, self._choosing = learner, classes, choosing
        self._test = slice(n_val, n_val + n_test)

    def choose_settings(self) -> dict[Place, float]:
        """The penalty, or k, by what is learned from real or from synthetic images alone."""
        alone = [place for place in self.groups if place[0] in (REAL, SYNTHETIC)]
        tried = self._sweep([(place, setting, 1.0) for place in alone for setting in self._learner.settings])
        return {place: next(each.setting for each in tried if (each.arm, each.amount) == place and each.chosen)
                for place in alone}

    def choose_weights(self, settings: Mapping[Place, float]) -> None:
        """The weight of a synthetic image, for each arm that has real ones, too."""
        mixed = [place for place, group in self.groups.items() if group.mixed]
        self._sweep([(place, settings[REAL, place[1]], weight) for place in mixed for weight in WEIGHTS])

    def findings(self, settings: Mapping[Place, float], real: RealSplits, design: Design, name: str, dim: int,
                 seed: int, comparison: Comparison = USEFULNESS) -> TaskFindings:
        """What all arms show on `test`, with what was chosen.

        Args:
            name: Of the encoder.
            dim: Of its features.
            seed: Of the intervals.
        """
        weights = {(each.arm, each.amount): each.weight for each in self.swept if each.chosen}
        jobs = [(place, settings[place if place in settings else (REAL, place[1])], weights.get(place, 1.0) or 1.0)
                for place in self.groups]
        with _side_by_side() as each_of:
            hits = each_of(lambda job: self._hits(*job)[:, self._test], jobs)
        chance = {"accuracy": 1 / len(set(real.test.labels))}
        network = f"frozen features of {name} ({dim:,})"
        trained = {cell: Trained({"accuracy": row.astype(float).tolist()}, chance, 0, network)
                   for (place, _, _), rows in zip(jobs, hits, strict=True)
                   for cell, row in zip(self.groups[place].cells, rows, strict=True)}
        learner = self._learner
        how = Probing(learner.method, learner.setting, learner.settings, WEIGHTS, self._choosing)
        return findings_of(SCENE, trained, real.test.labels, design, how, seed, f"{name}, {learner.method}",
                           self.swept, comparison)

    def predictions(self, place: Place, setting: float, weight: float = 1.0, seeds: int | None = None) -> Rows:
        """The class that each image asked about is taken for, (S, Q); what seeds have in common is learned once."""
        group = self.groups[place]
        rows, first, back = np.unique(group.rows[:seeds], axis=0, return_index=True, return_inverse=True)
        weights = np.where(group.synthetic[first], weight, 1.0)
        if (factors := self.factors.get(place)) is not None:
            weights = weights * factors[first]
        found: Rows = self._learner.predict(rows, weights, setting)[back.reshape(-1)]
        return found

    def _sweep(self, jobs: Sequence[tuple[Place, float, float]]) -> list[Swept]:
        with _side_by_side() as each_of:
            found = each_of(lambda job: self._hits(job[0], job[1], job[2], self._choosing), jobs)
        tried = []
        for (place, setting, weight), hits in zip(jobs, found, strict=True):
            group = self.groups[place]
            val = np.take_along_axis(hits, group.val[:self._choosing], 1).mean()
            tried.append(Swept(*place, setting, weight if group.mixed else 0.0, float(val),
                               float(hits[:, self._test].mean()), False))
        best: dict[Place, Swept] = {}
        for each in tried:
            if (place := (each.arm, each.amount)) not in best or each.val > best[place].val:
                best[place] = each
        marked = [replace(each, chosen=each is best[each.arm, each.amount]) for each in tried]
        self.swept += marked
        return marked

    def _hits(self, place: Place, setting: float, weight: float, seeds: int | None = None) -> NDArray[np.bool_]:
        """Whether each image asked about is recognized, (S, Q)."""
        found: NDArray[np.bool_] = self.predictions(place, setting, weight, seeds) == self._classes
        return found


def grouped(planned: Sequence[Cell], places: Mapping[int, int], n_train: int, n_val: int,
            n_test: int) -> dict[Place, Group]:
    """Cells by arm and amount.

    Args:
        places: Row of an attempt -> its place among the synthetic images.
        n_train: Real images to learn from, which come before these among what is known.
        n_val: Real images that choose, which come first among those asked about.
        n_test: Real images that come after them, and before the synthetic ones.
    """
    by_place: dict[Place, list[Cell]] = {}
    for cell in planned:
        by_place.setdefault((cell.arm, cell.amount), []).append(cell)
    found = {}
    for place, own in by_place.items():
        rows = np.array([[*cell.real, *(n_train + places[row] for row in cell.attempts)] for cell in own], np.intp)
        val = np.array([[*cell.val_real, *(n_val + n_test + places[row] for row in cell.val_attempts)] for cell in own],
                       np.intp)
        found[place] = Group(tuple(own), rows, rows >= n_train, val)
    return found


def unit(rows: Floats) -> Floats:
    """Rows (N, D) of length 1; those of length 0 stay."""
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
