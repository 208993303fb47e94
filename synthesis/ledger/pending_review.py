"""Verdicts of people that the data set of a run does not follow, and the command that takes them in."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from terrasynth.synthesis.core import layout
from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.ledger.judged_rows import REVIEW, JudgedRows
from terrasynth.synthesis.recipe import Recipe
from terrasynth.synthesis.review.file import ReviewFile
from terrasynth.synthesis.review.standing import Standing, passes
from terrasynth.words import counted


@dataclass(frozen=True)
class PendingReview:
    """What people said of a run's images since it decided.

    Attributes:
        root: The run directory.
        images: How many images it is about. With the filter `review`: those whose verdicts are others than the run
            took in. Without it, where verdicts decide nothing: those of the data set that most who looked rejected.
        filters: How many filters the recipe has, where `review` is none of them; None where it is one.
    """

    root: Path
    images: int
    filters: int | None = None

    @classmethod
    def read(cls, root: Path, recipe: Recipe) -> PendingReview:
        """That of a run; of no image where nobody reviewed it, or it has not decided yet.

        Args:
            recipe: That of the run.

        Raises:
            InputError: The verdicts are on another run.
            RunError: A file is damaged.
            RefusedError: A file may be whole and cannot be read.
        """
        entries = ReviewFile(root, recipe.identity or "").read()
        filters = None if REVIEW in recipe.filter_names else len(recipe.filters)
        if not entries or not (root / layout.DECISIONS).is_file():
            return cls(root, 0, filters)
        rows, standing = JudgedRows.read(root), Standing.of(entries)
        if rows.reviewed:
            return cls(root, count_pending(rows, standing), filters)
        kept = [row for row, reason in zip(rows.ids, rows.reasons, strict=True) if reason is None]
        return cls(root, sum((score := standing.score(row)) is not None and not passes(score, "majority")
                             for row in kept), filters)

    @property
    def command(self) -> str:
        """What takes the verdicts in, for a shell."""
        words = ["terrasynth", "run", str(self.root / layout.RECIPE), "--out", str(self.root)]
        return shlex.join(words if self.filters is None else [*words, "--set", f"filters.{self.filters}.kind=review"])

    @property
    def line(self) -> str:
        """What is not taken in, and the command that takes it in; "" where all is."""
        if not self.images:
            return ""
        images, them = counted(self.images, "image"), "it" if self.images == 1 else "them"
        if self.filters is None:
            return f"the verdicts on {images} are not taken in yet; `{self.command}` takes them in"
        return f"most who looked at {images} of the data set rejected {them}; `{self.command}` leaves {them} out"

    def check(self, goes_out: str) -> None:
        """Check that all is taken in.

        Args:
            goes_out: What `--ignore-review` does instead, as "publishes it as it is".

        Raises:
            InputError: Something is not.
        """
        if self.line:
            raise InputError(f"{self.line}, and --ignore-review {goes_out}")


def count_pending(rows: JudgedRows, standing: Standing) -> int:
    """Images of which a review says something else than the run's decisions took from it.

    Args:
        rows: The attempts of a run whose recipe has the filter `review`.
    """
    before = taken_in(rows)
    said = {row: np.float32(score) for row in standing.verdicts
            if row in rows.places and rows.shown[rows.places[row]] and (score := standing.score(row)) is not None}
    return sum(before.get(row) != said.get(row) for row in before.keys() | said.keys())


def taken_in(rows: JudgedRows) -> dict[str, np.float32]:
    """By id, the share of reviewers who accept an image, as the run's decisions took it from a review."""
    noted = rows.scores.get(REVIEW, np.full(len(rows.ids), np.nan, np.float32))
    return {rows.ids[place]: noted[place] for place in np.flatnonzero(~np.isnan(noted)).tolist()}
