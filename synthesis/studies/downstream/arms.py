"""Which images each training of `eval downstream` gets: arms, nested real subsets, controls. Row numbers only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from terrasynth.synthesis.core.identity import digest

SCENE, RETRIEVAL = "scene", "retrieval"
REAL, SYNTHETIC, BOTH = "real only", "synthetic only", "real + synthetic"
DUPLICATED, UNFILTERED, RANDOM = "real duplicated", "real + unfiltered", "real + random keep"
ARMS = (REAL, BOTH, DUPLICATED, UNFILTERED, RANDOM, SYNTHETIC)
TARGETED, UNIFORM, BLIND = "real + targeted", "real + uniform", "real + random allocation"
BALANCED, HARD, COVERING = "real + targeted, balanced", "real + hard", "real + covering"
HELD_OUT = 10
"""Of `synthetic only` one image of so many chooses the checkpoint."""

Rows = tuple[int, ...]


@dataclass(frozen=True)
class Comparison:
    """What is compared with what.

    Attributes:
        arms: In the order of a key.
        pairs: One arm minus another.
        main: The arm that is judged against `real only`, and whose weights are shown.
        controls: What it has to beat.
        by_class: The pair that is shown class by class.
    """

    arms: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...]
    main: str
    controls: tuple[str, ...]
    by_class: tuple[str, str]


USEFULNESS = Comparison(
    ARMS, ((BOTH, REAL), (BOTH, DUPLICATED), (BOTH, UNFILTERED), (BOTH, RANDOM), (DUPLICATED, REAL), (UNFILTERED, REAL),
           (RANDOM, REAL), (SYNTHETIC, REAL)),
    BOTH, (DUPLICATED, UNFILTERED, RANDOM), (BOTH, REAL))
ALLOCATIONS = Comparison(
    (REAL, TARGETED, DUPLICATED, UNIFORM, BLIND, BALANCED, HARD, COVERING),
    ((TARGETED, REAL), (TARGETED, UNIFORM), (TARGETED, BLIND), (TARGETED, DUPLICATED), (UNIFORM, REAL), (BLIND, REAL),
     (DUPLICATED, REAL), (BALANCED, REAL), (BALANCED, UNIFORM), (HARD, REAL), (HARD, UNIFORM),
     (COVERING, REAL), (COVERING, UNIFORM)),
    TARGETED, (UNIFORM, BLIND, DUPLICATED), (TARGETED, UNIFORM))



@dataclass(frozen=True)
class Scale:
    """How amounts of real images are counted.

    Attributes:
        name: "share" in percent of the training images, or "count" of images a class.
        title: Of an axis or a column.
        unit: Behind a number.
    """

    name: str
    title: str
    unit: str

    def words(self, amount: float) -> str:
        """An amount for people."""
        return f"{amount:g} {self.unit}"

    def file(self, amount: float, seed: int) -> str:
        """The name of the file that lists a subset."""
        return f"{amount:g}-{'percent' if self.name == 'share' else 'a-class'}-seed-{seed}.txt"

    def size(self, of: int, amount: float) -> int:
        """How many of the images of a class an amount is; one at the least, and no more than there are."""
        return max(1, round(of * amount / 100)) if self.name == "share" else min(of, int(amount))


SHARES = Scale("share", "share of the real training images", "%")
COUNTS = Scale("count", "real training images a class", "a class")

@dataclass(frozen=True)
class Cell:
    """One training.

    Attributes:
        task: "scene" or "retrieval".
        arm: One of those of a comparison.
        amount: Of real training images, on the scale of the design; 0 for `synthetic only`, which sees none.
        seed: Of subset, weights, order, views.
        real: Rows of the real training images, repeated where the arm repeats them.
        attempts: Rows of the run's attempts.
        val_real: Rows of the real `val` images that choose the checkpoint.
        val_attempts: Rows of the attempts that choose it in their place.
        scale: How the amount is counted.
    """

    task: str
    arm: str
    amount: float
    seed: int
    real: Rows
    attempts: Rows
    val_real: Rows
    val_attempts: Rows
    scale: Scale = SHARES

    @property
    def name(self) -> str:
        """For people."""
        share = f", {self.scale.words(self.amount)}" if self.amount else ""
        return f"{self.task}, {self.arm}{share}, seed {self.seed}"


@dataclass(frozen=True)
class Design:
    """What is compared.

    Attributes:
        amounts: Task -> amounts of real training images on the scale, ascending.
        seeds: How many trainings of each arm, with seeds 0, 1, ...
        subset_seed: The same real subsets for all seeds, of this one; None for others at each seed.
        scale: How amounts are counted.
        whole_val: All of `val` chooses, not a share of it as large as that of the training images.
    """

    amounts: dict[str, tuple[float, ...]]
    seeds: int
    subset_seed: int | None = None
    scale: Scale = SHARES
    whole_val: bool = False

    def seed_of_subset(self, seed: int) -> int:
        """What decides the real subset of a seed."""
        return seed if self.subset_seed is None else self.subset_seed

    def subset(self, labels: Sequence[str], amount: float, seed: int) -> Rows:
        """Rows of the real images of a seed, of images with these classes."""
        return subset(labels, amount, self.seed_of_subset(seed), self.scale)


def subset(labels: Sequence[str], amount: float, seed: int, scale: Scale = SHARES) -> Rows:
    """Rows of an amount of labeled images drawn class by class, ascending.

    A share of each class is rounded and one image at the least. For the same seed a smaller amount lies within a
    larger one.
    """
    return tuple(sorted(
        row for order in shuffled(labels, seed, "subset") for row in order[:scale.size(len(order), amount)]
    ))


def duplicated(labels: Sequence[str], rows: Rows, total: int, seed: int) -> Rows:
    """Whole copies of `rows` as often as `total` holds them, and for the rest one more of some, in turn by class."""
    copies, rest = divmod(total, len(rows))
    orders = shuffled([labels[row] for row in rows], seed, "duplicated")
    turns = sorted((place, number, index) for number, order in enumerate(orders) for place, index in enumerate(order))
    return rows * copies + tuple(rows[index] for _, _, index in turns[:rest])


def unfiltered(labels: Sequence[str], accepted: NDArray[np.bool_]) -> Rows:
    """What the run would hold without filters: of each class its first attempts, as many as were accepted."""
    return _chosen(labels, accepted, None)


def random_keep(labels: Sequence[str], accepted: NDArray[np.bool_], seed: int) -> Rows:
    """Attempts of each class at random, as many as were accepted; accepted ones may be among them."""
    return _chosen(labels, accepted, seed)


def held_out(labels: Sequence[str], rows: Rows, seed: int) -> tuple[Rows, Rows]:
    """Rows to learn from, and every tenth in an order that goes class by class and is random within each."""
    orders = shuffled([labels[row] for row in rows], seed, "held out")
    ordered = [rows[index] for order in orders for index in order]
    out = set(ordered[::HELD_OUT])
    return tuple(row for row in rows if row not in out), tuple(row for row in rows if row in out)


def cells(
    design: Design, train_labels: Sequence[str], val_labels: Sequence[str], attempt_labels: Sequence[str],
    accepted: NDArray[np.bool_],
) -> Iterator[Cell]:
    """All trainings, seed by seed, so that whatever is finished early is an answer of fewer seeds.

    Args:
        train_labels: The classes of the real training images.
        val_labels: The classes of the real `val` images.
        attempt_labels: The classes of all attempts of the run, in order of (class, k).
        accepted: bool, of all attempts.
    """
    kept = tuple(int(row) for row in np.flatnonzero(accepted))
    first = unfiltered(attempt_labels, accepted)
    for seed in range(design.seeds):
        drawn = random_keep(attempt_labels, accepted, seed)
        learned, apart = held_out(attempt_labels, kept, seed)
        for task, amounts in design.amounts.items():
            for amount in amounts:
                real = design.subset(train_labels, amount, seed)
                val = tuple(range(len(val_labels))) if design.whole_val else design.subset(val_labels, amount, seed)
                twice = duplicated(train_labels, real, len(real) + len(kept), seed)
                parts: dict[str, tuple[Rows, Rows]] = {
                    REAL: (real, ()), BOTH: (real, kept), DUPLICATED: (twice, ()), UNFILTERED: (real, first),
                    RANDOM: (real, drawn),
                }
                for arm, (own, attempts) in parts.items():
                    yield Cell(task, arm, amount, seed, own, attempts, val, (), design.scale)
            yield Cell(task, SYNTHETIC, 0, seed, (), learned, (), apart, design.scale)


def shuffled(labels: Sequence[str], seed: int, purpose: str) -> list[list[int]]:
    """The rows of each class in a random order of its own, classes in name order."""
    names = np.array(labels, dtype=np.str_)
    return [
        np.random.default_rng(int(digest([seed, purpose, str(name)]), 16))
        .permutation(np.flatnonzero(names == name)).tolist()
        for name in np.unique(names)
    ]


def _chosen(labels: Sequence[str], accepted: NDArray[np.bool_], seed: int | None) -> Rows:
    names = np.array(labels, dtype=np.str_)
    orders = (
        [np.flatnonzero(names == name).tolist() for name in np.unique(names)] if seed is None
        else shuffled(labels, seed, "random keep")
    )
    return tuple(sorted(row for order in orders for row in order[:int(accepted[order].sum())]))
