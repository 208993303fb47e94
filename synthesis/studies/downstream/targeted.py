"""Do images help more where they are missed? Targeted allocation against its controls, at equal numbers of images.

All arms take their images from one finished run that has more of each class than any of them needs, so nothing is drawn
anew. In each draw `real only` is asked about `val`, its mistakes decide the allocation, and `test` sees the result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from terrasynth.eval.metrics.probes import fit_probes
from terrasynth.eval.models.dual_encoders import PictureEncoder
from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.studies.downstream.arms import (
    ALLOCATIONS,
    BALANCED,
    BLIND,
    COVERING,
    DUPLICATED,
    HARD,
    REAL,
    SCENE,
    TARGETED,
    UNIFORM,
    Cell,
    Design,
    duplicated,
    shuffled,
)
from terrasynth.synthesis.studies.downstream.cells import RealSplits, TaskFindings
from terrasynth.synthesis.studies.downstream.pools import RunAttempts
from terrasynth.synthesis.studies.downstream.probing import (
    SWEEP_SEEDS,
    Group,
    LinearProbe,
    NearestNeighbors,
    Study,
    grouped,
    known_classes,
    unit,
)
from terrasynth.synthesis.targeting.allocation import allocate, shrunken_errors, uniform
from terrasynth.synthesis.targeting.allocation import shuffled as on_other_classes

Floats = NDArray[np.floating]


class Candidates:
    """The accepted images of a run, and ways to choose some of them.

    Attributes:
        rows: Rows of the attempts, class by class as the run has them.
        labels: The class of each.
        there: Class -> how many there are.
    """

    def __init__(self, attempts: RunAttempts) -> None:
        self.rows = [int(row) for row in np.flatnonzero(attempts.accepted)]
        self.labels = [attempts.labels[row] for row in self.rows]
        self.there = {name: self.labels.count(name) for name in sorted(set(self.labels))}

    def drawn(self, allocation: Mapping[str, int], seed: int) -> tuple[int, ...]:
        """So many of each class at random, the same first ones for every allocation of a seed.

        Raises:
            InputError: A class has fewer.
        """
        return self._first(allocation, shuffled(self.labels, seed, "targeted"))

    def by_order(self, allocation: Mapping[str, int], order: Floats) -> tuple[int, ...]:
        """So many of each class, the lowest first.

        Args:
            order: (N,), of each of them.
        """
        names = np.array(self.labels)
        own = [np.flatnonzero(names == name) for name in self.there]
        return self._first(allocation, [places[np.argsort(order[places], kind="stable")].tolist() for places in own])

    def _first(self, allocation: Mapping[str, int], orders: Sequence[Sequence[int]]) -> tuple[int, ...]:
        for name, count in allocation.items():
            if count > self.there[name]:
                raise InputError(f"class {name!r} is allotted {count} images, and the run has {self.there[name]}; let "
                                 "it have more of each class (target.per_class), or compare fewer (--targeted)")
        return tuple(sorted(self.rows[place] for name, own in zip(self.there, orders, strict=True)
                            for place in own[:allocation[name]]))


def measure_targeted(
    real: RealSplits, attempts: RunAttempts, design: Design, encoders: Mapping[str, PictureEncoder], images: int,
    seed: int = 0, say: Callable[[str], None] = print,
) -> list[TaskFindings]:
    """Compare allocations of equal numbers of a run's images with a linear probe and with k-NN.

    Penalty, or k, and weights are chosen as `measure_probes` does it.

    Args:
        design: Amounts of real images for the task "scene".
        encoders: What each is called -> the encoder.
        images: How many images of the run each arm has beside the real ones.
        seed: Of the intervals.

    Raises:
        InputError: A class to learn that no test image has, a single one, or an allocation that asks for more images of
            a class than the run has.
    """
    names = known_classes(real)
    candidates = Candidates(attempts)
    if images < len(candidates.there):
        raise InputError(f"--targeted {images} for {len(candidates.there)} classes: give one image a class at "
                         "the least")
    drawn, places = attempts.pool(candidates.rows)
    pools = (real.train, drawn, real.val, real.test)
    target = [np.searchsorted(names, pool.labels) for pool in pools]
    sizes = [len(pool) for pool in (real.train, real.val, real.test)]
    alone = list(_alone(design, real))
    found = []
    for name, encoder in encoders.items():
        train, synthetic, val, test = (encoder.features(pool.images) for pool in pools)
        say(f"{name}: {sum(map(len, pools)):,} images have {encoder.dim:,} features each")
        known, asked = np.concatenate([train, synthetic]), np.concatenate([val, test, synthetic])
        classes = np.concatenate([target[2], target[3], target[1]])
        unsure: dict[float, Floats] = {}
        for kind in (LinearProbe, NearestNeighbors):
            learner = kind(known, np.concatenate(target[:2]), asked, len(names))
            study = Study(learner, grouped(alone, places, *sizes), classes, sizes[1], sizes[2],
                          min(SWEEP_SEEDS, design.seeds))
            settings = study.choose_settings()
            cells: list[Cell] = []
            given: dict[float, dict[str, float]] = {}
            for amount in design.amounts[SCENE]:
                group = study.groups[REAL, amount]
                if kind is LinearProbe:
                    unsure[amount] = _own_odds(known, group.rows, target, len(names), settings[REAL, amount])
                predicted = study.predictions((REAL, amount), settings[REAL, amount])[:, : sizes[1]]
                allocations = [_allocation(row, target[2], names, candidates, images) for row in predicted]
                given[amount] = {label: float(np.mean([each[label] for each in allocations]))
                                 for label in candidates.there}
                for cell, allocation, odds in zip(group.cells, allocations, unsure[amount], strict=True):
                    far = farthest_first(train, synthetic, real.train.labels, candidates.labels, cell.real)
                    cells += _arms(cell, allocation, candidates, real.train.labels, odds, far)
            study.groups |= grouped(cells, places, *sizes)
            study.factors = {(BALANCED, amount): evened(study.groups[BALANCED, amount], np.concatenate(target[:2]))
                             for amount in design.amounts[SCENE]}
            study.choose_weights(settings)
            own = study.findings(settings, real, design, name, encoder.dim, seed, ALLOCATIONS)
            found.append(replace(own, allotted=given))
            say(f"{name}, {learner.method}: {len(alone) + len(cells):,} cells")
    return found


def _alone(design: Design, real: RealSplits) -> Iterator[Cell]:
    val = tuple(range(len(real.val)))
    for seed in range(design.seeds):
        for amount in design.amounts[SCENE]:
            yield Cell(SCENE, REAL, amount, seed, design.subset(real.train.labels, amount, seed), (), val, (),
                       design.scale)


def _arms(cell: Cell, allocation: Mapping[str, int], candidates: Candidates, labels: Sequence[str], odds: Floats,
          far: Floats) -> Iterator[Cell]:
    """The other arms of a draw.

    Args:
        cell: `real only`.
        labels: The classes of the real training images.
        odds: What the probe of `real only` gives the class of each candidate.
        far: The place of each candidate in the order that covers.
    """
    total = sum(allocation.values())
    even = uniform(list(allocation), total)
    yield replace(cell, arm=DUPLICATED, real=duplicated(labels, cell.real, len(cell.real) + total, cell.seed))
    for arm, rows in (
        (TARGETED, candidates.drawn(allocation, cell.seed)),
        (BALANCED, candidates.drawn(allocation, cell.seed)),
        (UNIFORM, candidates.drawn(even, cell.seed)),
        (BLIND, candidates.drawn(on_other_classes(allocation, cell.seed), cell.seed)),
        (HARD, candidates.by_order(even, odds)),
        (COVERING, candidates.by_order(even, far)),
    ):
        yield replace(cell, arm=arm, attempts=rows)


def _allocation(predicted: NDArray[np.intp], truth: NDArray[np.intp], names: Sequence[str], candidates: Candidates,
                images: int) -> dict[str, int]:
    """What the mistakes on `val` give each class of the run."""
    place = {label: names.index(label) for label in candidates.there}
    missed = {label: int(((truth == own) & (predicted != own)).sum()) for label, own in place.items()}
    n = {label: int((truth == own).sum()) for label, own in place.items()}
    return allocate(shrunken_errors(missed, n), images)


def evened(group: Group, target: NDArray[np.intp]) -> Floats:
    """Factors (S, N) by which the synthetic images of each class weigh as much together as those of any other.

    An allocation that is uneven tells a learner that some classes are frequent, beside showing it more of them. With
    these it only shows more.

    Args:
        target: The class of each image that is known.
    """
    factors = np.ones(group.rows.shape)
    for own, rows, synthetic in zip(factors, group.rows, group.synthetic, strict=True):
        there, place, counts = np.unique(target[rows[synthetic]], return_inverse=True, return_counts=True)
        own[synthetic] = synthetic.sum() / (len(there) * counts[place])
    return factors


def _own_odds(known: Floats, rows: NDArray[np.intp], target: Sequence[NDArray[np.intp]], classes: int,
              penalty: float) -> Floats:
    """Log probability (S, N) of its own class for each synthetic image, by the probes of `real only`."""
    probes = fit_probes(known, rows, np.concatenate(target[:2]), classes, penalty)
    synthetic = known[len(target[0]):]
    logits = np.matmul(synthetic[None].astype(probes.weight.dtype), probes.weight) + probes.bias[:, None]
    logits -= logits.max(2, keepdims=True)
    odds = logits - np.log(np.exp(logits).sum(2, keepdims=True))
    return np.asarray(np.take_along_axis(odds, target[1][None, :, None], 2)[:, :, 0])


def farthest_first(train: Floats, synthetic: Floats, train_labels: Sequence[str], labels: Sequence[str],
                    real: Sequence[int]) -> Floats:
    """The place of each synthetic image in its class where each next one is the farthest from all before it.

    It begins from the real images of the draw: greedy k-center (Sener & Savarese, ICLR 2018, algorithm 1), by cosine.
    """
    chosen, names = np.array(real, np.intp), np.array(labels)
    own = np.array([train_labels[row] for row in real])
    place = np.zeros(len(labels))
    for name in sorted(set(labels)):
        rows = np.flatnonzero(names == name)
        some = unit(synthetic[rows])
        centers = unit(train[chosen[own == name]])
        nearest = (some @ centers.T).max(1) if len(centers) else some @ some.mean(0)
        for turn in range(len(rows)):
            next_one = int(nearest.argmin())
            place[rows[next_one]] = turn
            nearest = np.maximum(nearest, some @ some[next_one])
            nearest[next_one] = np.inf
    return place
