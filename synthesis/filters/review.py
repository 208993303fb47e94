"""The filter `review`: do the people who looked at the image let it stay?"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

from typing_extensions import override

from terrasynth.synthesis.core.identity import Identity
from terrasynth.synthesis.filters.base import NOTHING, ClassJudge, FilterSettings, Measurements, Source
from terrasynth.synthesis.review.standing import Rule, Standing, passes

LEAST = {"any": 0.0, "majority": 0.5, "all": 1.0}


class ReviewFilter(FilterSettings):
    """Keeps images by the verdicts in the run itself, which `terrasynth review` writes; it is the last filter.

    Its score is the share of reviewers who accept an image, 0 .. 1. As many images are drawn as the target asks for
    beside the rejected ones; those that nobody looked at yet count among them, whether they are kept or not.

    Attributes:
        reviewers: How many of those who looked at an image have to accept it: one of them, more than half, or all.
        undecided: What becomes of images that nobody looked at: "keep", or "drop" until somebody has.
    """

    last: ClassVar[bool] = True

    kind: Literal["review"] = "review"
    reviewers: Rule = "majority"
    undecided: Literal["keep", "drop"] = "keep"

    @property
    @override
    def source(self) -> Source:
        return Source(NOTHING)

    @override
    def read_run(self, root: Path, identity: Identity) -> _Verdicts:
        """The verdicts on the images of a run.

        Raises:
            InputError: They are on another run.
            RunError: Their file is damaged.
        """
        return _Verdicts(Standing.read(root, identity.hash), identity)

    @override
    def judge(self, label: str, model: _Verdicts, scratch: Path) -> ClassJudge:
        """A judge that looks verdicts up by the id of the attempt."""
        return _ReviewJudge(self, label, model)


class _Verdicts:
    def __init__(self, standing: Standing, identity: Identity) -> None:
        self.record = standing.record
        self._standing, self._identity = standing, identity
        self._labels = {one.subject.label for each in standing.verdicts.values() for one in each.values()}

    def score(self, label: str, k: int) -> float | None:
        """Of attempt `k` of a class."""
        return self._standing.score(self._identity.attempt(label, k)[0]) if label in self._labels else None


class _ReviewJudge(ClassJudge):
    remembers = False

    def __init__(self, settings: ReviewFilter, label: str, verdicts: _Verdicts) -> None:
        self.threshold = LEAST[settings.reviewers]
        self._settings, self._label, self._verdicts = settings, label, verdicts
        self._start = self._rows = 0

    @property
    @override
    def file(self) -> Mapping[str, object]:
        return self._verdicts.record

    @override
    def begin(self, measurements: Measurements) -> None:
        self._start += self._rows
        self._rows = len(measurements)

    @override
    def skip(self, rows: int) -> None:
        self._start += rows

    @override
    def score(self, row: int) -> float | None:
        return self._verdicts.score(self._label, self._start + row)

    @override
    def passes(self, score: float | None) -> bool:
        return self._settings.undecided == "keep" if score is None else passes(score, self._settings.reviewers)

    @override
    def waits(self, score: float | None) -> bool:
        return score is None and self._settings.undecided == "drop"
