"""Does a data set help a model that is trained on it? Trainings on real and synthetic images, tested on real ones.

Every training is a small file that is keyed by all that decides it, so the same command carries on where it ended and
never trains the same thing twice.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path

import numpy as np

from terrasynth.synthesis.core.errors import RunError, one_line
from terrasynth.synthesis.core.files import locked, write_file
from terrasynth.synthesis.core.identity import digest
from terrasynth.synthesis.studies.downstream.arms import (
    REAL,
    SHARES,
    SYNTHETIC,
    USEFULNESS,
    Cell,
    Comparison,
    Design,
    Scale,
    cells,
)
from terrasynth.synthesis.studies.downstream.figures import (
    ArmFigure,
    ClassDifference,
    Difference,
    Interval,
    class_differences,
    crossed_mean,
    differences,
    stacked,
)
from terrasynth.synthesis.studies.downstream.pools import Pool, RunAttempts
from terrasynth.synthesis.studies.trainings import Budget, Probing, Swept, Trained

REVISION = 1  # raised when a training would give other scores for the same images and budget


TrainCell = Callable[[str, Pool, Pool, Pool, Budget, int, str], Trained]
"""Task, what to train on, what chooses the checkpoint, what to test on, budget, seed, name; `training` can do it."""


@dataclass(frozen=True)
class TaskFindings:
    """What was found for one task.

    Attributes:
        task: "scene" or "retrieval", or which probe on which features.
        metrics: Their names, the first being the one that is judged.
        chance: What guessing reaches.
        amounts: Of real training images.
        classes: One arm against another by class, as the comparison says.
        more_real: `real only` at the largest amount minus at the smallest: whether the trainings are long enough to
            show what more images do; None with one amount.
        scale: How amounts are counted.
        swept: What was tried to choose how a synthetic image is weighted; empty for trainings.
        comparison: What is compared.
        allotted: Amount of real images -> class -> images that `real + targeted` gave it, the mean over seeds; empty
            for other comparisons.
    """

    task: str
    budget: Budget | Probing
    network: str
    metrics: tuple[str, ...]
    chance: Mapping[str, float]
    amounts: tuple[float, ...]
    arms: tuple[ArmFigure, ...]
    differences: tuple[Difference, ...]
    classes: tuple[ClassDifference, ...]
    more_real: Interval | None
    scale: Scale = SHARES
    swept: tuple[Swept, ...] = ()
    comparison: Comparison = USEFULNESS
    allotted: Mapping[float, Mapping[str, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class RealSplits:
    """The real images of a comparison.

    Attributes:
        val: Real images to choose checkpoints on.
    """

    train: Pool
    val: Pool
    test: Pool


def measure_downstream(
    real: RealSplits, attempts: RunAttempts, design: Design, budgets: Mapping[str, Budget], train_cell: TrainCell,
    out: Path, seed: int = 0, say: Callable[[str], None] = print,
) -> list[TaskFindings]:
    """Train what is not trained yet, and compare.

    Args:
        budgets: Task -> what each training may spend.
        out: Folder; `cells/` in it holds a file for each training.

    Raises:
        InputError: Another process works in `out`.
        RunError: A damaged file of a training, or the disk is full.
    """
    planned = list(cells(design, real.train.labels, real.val.labels, attempts.labels, attempts.accepted))
    drawn, places = attempts.pool([row for cell in planned for row in cell.attempts + cell.val_attempts])
    found: dict[Cell, Trained] = {}
    began, made = time.monotonic(), 0
    with locked(out):
        for number, cell in enumerate(planned, 1):
            # The images are put together for one training at a time.
            train = _pool(real.train, cell.real, drawn, [places[row] for row in cell.attempts])
            val = _pool(real.val, cell.val_real, drawn, [places[row] for row in cell.val_attempts])
            budget = budgets[cell.task]
            key = _key(cell, train, val, real.test, budget)
            path = out / "cells" / f"{key}.json"
            done = path.is_file()
            if not done:
                trained = train_cell(cell.task, train, val, real.test, budget, cell.seed, cell.name)
                content = {"key": key, "cell": cell.name, "n_train": len(train), "n_val": len(val), **asdict(trained)}
                write_file(path, json.dumps(content) + "\n")
                made += 1
            found[cell] = _read(path, key, len(real.test))
            metric, scores = next(iter(found[cell].scores.items()))
            rate = f", {(time.monotonic() - began) / made / 60:.1f} minutes each" if made else ""
            say(f"{number} of {len(planned)}: {cell.name}: {metric} {np.mean(scores):.3f}"
                f"{' (done before)' if done else rate}")
    return [findings_of(task, found, real.test.labels, design, budgets[task], seed) for task in design.amounts]


def _pool(real: Pool, rows: Sequence[int], drawn: Pool, places: Sequence[int]) -> Pool:
    if not places:
        return real.take(rows)
    return real.take(rows) + drawn.take(places) if rows else drawn.take(places)


def _key(cell: Cell, train: Pool, val: Pool, test: Pool, budget: Budget) -> str:
    return digest({
        "revision": REVISION, "torch": version("torch"), "task": cell.task, "seed": cell.seed, "budget": asdict(budget),
        "train": train.digests, "val": val.digests, "test": test.digests,
    })


def _read(path: Path, key: str, n_test: int) -> Trained:
    try:
        content = json.loads(path.read_text("utf-8"))
        trained = Trained(content["scores"], content["chance"], content["best_step"], content["network"])
        if content["key"] != key or not all(len(scores) == n_test for scores in trained.scores.values()):
            raise ValueError("it is of another training")
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise RunError(f"{path} cannot be read ({one_line(error)}); remove it and run the same command again: the "
                       "training is done again") from error
    return trained


def findings_of(
    task: str, found: Mapping[Cell, Trained], labels: Sequence[str], design: Design, budget: Budget | Probing,
    seed: int, called: str = "", swept: Sequence[Swept] = (), comparison: Comparison = USEFULNESS,
) -> TaskFindings:
    """What the trainings of a task show.

    Args:
        found: All trainings of the design.
        labels: The class of each test image.
        called: In place of the task's name.
        swept: What was tried to choose weights.
        comparison: What is compared.
    """
    own = {cell: trained for cell, trained in found.items() if cell.task == task}
    one = next(iter(own.values()))
    metrics, amounts = tuple(one.scores), design.amounts[task]
    scores = {
        metric: stacked({(cell.arm, cell.amount, cell.seed): trained.scores[metric] for cell, trained in own.items()},
                        amounts, design.seeds, comparison)
        for metric in metrics
    }
    arms = tuple(
        ArmFigure(
            cell.arm, cell.amount, len(cell.real), len(cell.attempts), len(cell.val_real) + len(cell.val_attempts),
            {metric: crossed_mean(scores[metric][cell.arm, cell.amount], seed) for metric in metrics},
        )
        for cell in _in_order(cell for cell in own if cell.seed == 0)
    )
    judged = scores[metrics[0]]
    return TaskFindings(
        called or task, budget, one.network, metrics, dict(one.chance), amounts, arms,
        tuple(differences(judged, amounts, seed, comparison)),
        tuple(class_differences(judged, amounts, labels, seed, comparison)),
        crossed_mean(judged[REAL, amounts[-1]] - judged[REAL, amounts[0]], seed) if len(amounts) > 1 else None,
        design.scale, tuple(swept), comparison,
    )


def _in_order(some: Iterable[Cell]) -> list[Cell]:
    """By amount, `synthetic only` last."""
    return sorted(some, key=lambda cell: (cell.arm == SYNTHETIC, cell.amount))
