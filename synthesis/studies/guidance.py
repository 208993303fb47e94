"""What a run directory says of itself, and runs of one recipe that differ in guidance alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.core.identity import differences, some_differences
from terrasynth.synthesis.ledger.directory import RunDirectory
from terrasynth.synthesis.studies.evaluation import JudgedRun, Judges, judge_run

if TYPE_CHECKING:
    from terrasynth.eval.evaluation.guidance_sweep import SweepPoint

SWEPT = "pictures.generator.guidance"


def check_sweep(records: Sequence[RunDirectory]) -> None:
    """Check that runs differ from the first in guidance and in nothing else that has a part in the figures.

    Raises:
        InputError: They differ in something else, or not at all.
    """
    for other in records[1:]:
        record = records[0]
        if other.guidance == record.guidance:
            raise InputError(f"--sweep {str(other.root)!r} has the guidance {other.guidance:g} of "
                             f"{str(record.root)!r} too; give runs of different guidance")
        found = [each for each in differences(_comparable(record), _comparable(other))
                 if not each.startswith(f"{SWEPT}:")]
        if found:
            raise InputError(f"--sweep {str(other.root)!r} differs from {str(record.root)!r} in more than "
                             f"generator.guidance: {some_differences(found)}; give runs of one recipe")


def _comparable(record: RunDirectory) -> dict[str, object]:
    tree = record.recipe.tree()
    return {"pictures": record.parts, "filters": tree["filters"], "target": tree["target"]}


def sweep_points(
    records: Sequence[RunDirectory], run: JudgedRun, judges: Judges, limit: int, seed: int
) -> tuple[SweepPoint, ...]:
    """The figures of runs of different guidance, in its order; none for a single run.

    Args:
        records: The run that was judged first, then those beside it.
        run: What was found of the first.
        limit: Most rows of each.

    Raises:
        InputError: No data set there, or two runs of equal guidance.
    """
    from terrasynth.eval.evaluation.guidance_sweep import SweepPoint, in_order

    first, *others = records
    if not others:
        return ()
    points = [SweepPoint.of(first.guidance, first.recipe.name, first.identity, run.evaluation)]
    for record in others:
        found = judge_run(record.pictures(limit), judges, seed, run.real)
        points.append(SweepPoint.of(record.guidance, record.recipe.name, record.identity, found.evaluation))
    return in_order(points)
