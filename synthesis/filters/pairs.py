"""A filter at work on pairs of before and after: both images are judged, and the worse one decides."""

from __future__ import annotations

from collections.abc import Mapping

from typing_extensions import override

from terrasynth.synthesis.filters.base import ClassJudge, Measurements


class PairJudge(ClassJudge):
    """The judge of a filter, asked about both images of each attempt.

    The score of a pair is that of its worse image: one that does not pass before one that does, and of two alike the
    one farther to that side of the threshold. An image without a score, which had nothing to be compared with, is the
    better one. So the score alone says whether the pair passes, as that of an image does. What a filter remembers of
    accepted attempts, it remembers of both images; they are not compared with each other.
    """

    def __init__(self, judge: ClassJudge) -> None:
        """Take the place of a judge of single images."""
        self.threshold, self.needs, self.remembers = judge.threshold, judge.needs, judge.remembers
        self._judge = judge
        self._pairs = 0  # of the block; 0 where the filter looks at no image

    @property
    @override
    def file(self) -> Mapping[str, object]:
        return self._judge.file

    @override
    def learn(self, first: Measurements) -> None:
        self._judge.learn(first.both())
        self.threshold = self._judge.threshold

    @override
    def begin(self, measurements: Measurements) -> None:
        self._pairs = 0 if measurements.after is None else len(measurements)
        self._judge.begin(measurements.both())

    @override
    def score(self, row: int) -> float | None:
        return self._worse(*(self._judge.score(place) for place in self._places(row)))

    @override
    def passes(self, score: float | None) -> bool:
        return self._judge.passes(score)

    @override
    def waits(self, score: float | None) -> bool:
        return self._judge.waits(score)

    @override
    def keep(self, row: int) -> None:
        for place in self._places(row):
            self._judge.keep(place)

    @override
    def skip(self, rows: int) -> None:
        self._judge.skip(rows)

    def _places(self, row: int) -> tuple[int, ...]:
        return (row, row + self._pairs) if self._pairs else (row,)

    def _worse(self, *scores: float | None) -> float | None:
        known = [score for score in scores if score is not None]
        failing = [score for score in known if not self.passes(score)]
        if None in scores and not self.passes(None):
            return None
        if failing:
            return max(failing, key=lambda score: abs(score - self.threshold))
        return min(known, key=lambda score: abs(score - self.threshold), default=None)
