"""What a run directory says of itself, and runs of one recipe that differ in guidance alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthesis.errors import InputError
from synthesis.evaluating import JudgedRun, Judges, judge_run
from synthesis.filter_base import THUMBNAIL
from synthesis.frozen import frozen_of
from synthesis.identity import differences
from synthesis.recipe import Recipe
from synthesis.run_pictures import RunPictures

if TYPE_CHECKING:
    from eval.figures import Network
    from eval.guidance_sweep import SweepPoint

SWEPT = "pictures.generator.guidance"


@dataclass(frozen=True)
class RunRecord:
    """What a run directory says of itself.

    Attributes:
        folder: Where it is.
        recipe: Its recipe.
        identity: Hash of what decides its pictures.
        parts: What was hashed.
    """

    folder: Path
    recipe: Recipe
    identity: str
    parts: Mapping[str, Any]

    @classmethod
    def read(cls, run: Path) -> RunRecord:
        """Read `recipe.yaml` and `identity.json`.

        Raises:
            InputError: One is missing.
        """
        for name in ("recipe.yaml", "identity.json"):
            if not (run / name).is_file():
                raise InputError(f"{str(run)!r} has no {name}; give the folder of a run")
        found = frozen_of(run).identity
        return cls(run, Recipe.load(run / "recipe.yaml"), found.hash, found.parts)

    @property
    def guidance(self) -> float:
        """The guidance scale of its pictures."""
        return float(self.parts["generator"]["guidance"])

    def filter_networks(self) -> tuple[Network, ...]:
        """Identities of the networks that its filters ask; one that is no longer there is left out."""
        from eval.errors import InputError as Unknown
        from eval.models import EMBEDDED_ROOT, resolve

        found: list[Network] = []
        for each in self.recipe.filters:
            if each.source.reference not in ("", THUMBNAIL):
                try:
                    found.append(resolve(each.source.reference, (EMBEDDED_ROOT,)).identity())
                except Unknown:
                    continue
        return tuple(found)


def check_sweep(records: Sequence[RunRecord]) -> None:
    """Check that runs differ from the first in guidance and in nothing else that has a part in the figures.

    Raises:
        InputError: They differ in something else, or not at all.
    """
    for other in records[1:]:
        record = records[0]
        if other.guidance == record.guidance:
            raise InputError(f"--sweep {str(other.folder)!r} has the guidance {other.guidance:g} of "
                             f"{str(record.folder)!r} too; give runs of different guidance")
        found = [each for each in differences(_comparable(record), _comparable(other))
                 if not each.startswith(f"{SWEPT}:")]
        if found:
            raise InputError(f"--sweep {str(other.folder)!r} differs from {str(record.folder)!r} in more than "
                             f"generator.guidance: {'; '.join(found)}; give runs of one recipe")


def _comparable(record: RunRecord) -> dict[str, object]:
    tree = record.recipe.tree()
    return {"pictures": record.parts, "filters": tree["filters"], "target": tree["target"]}


def sweep_points(
    records: Sequence[RunRecord], run: JudgedRun, judges: Judges, limit: int, seed: int
) -> tuple[SweepPoint, ...]:
    """The figures of runs of different guidance, in its order; none for a single run.

    Args:
        records: The run that was judged first, then those beside it.
        run: What was found of the first.
        judges: The networks that judged it.
        limit: Most rows of each.
        seed: Of bootstrap and samples.

    Raises:
        InputError: No data set there, or two runs of equal guidance.
    """
    from eval.guidance_sweep import SweepPoint, in_order

    first, *others = records
    if not others:
        return ()
    points = [SweepPoint.of(first.guidance, first.recipe.name, first.identity, run.evaluation)]
    for record in others:
        found = judge_run(RunPictures.read(record.folder, limit), judges, seed, run.real)
        points.append(SweepPoint.of(record.guidance, record.recipe.name, record.identity, found.evaluation))
    return in_order(points)
