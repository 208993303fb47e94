"""Which attempts are in the data set: the first `per_class` of each class that pass every filter, in order of k.

A decision depends on earlier attempts of its class and on nothing else, so that interruption, workers and order of
completion change nothing, and deciding again with other filters needs no new image.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from terrasynth.synthesis.core.errors import RunError
from terrasynth.synthesis.events import ClassCount
from terrasynth.synthesis.filters import Measurements
from terrasynth.synthesis.filters.base import NamedJudge
from terrasynth.synthesis.recipe import KeptRows

BEYOND_TARGET, BEYOND_MAX_ATTEMPTS, UNDECIDED = "beyond_target", "beyond_max_attempts", "undecided"
WITHHELD, UNREVIEWED = "withheld", "unreviewed"
NOT_JUDGED = (BEYOND_TARGET, BEYOND_MAX_ATTEMPTS, UNDECIDED)
_ACCEPTED, _BEYOND_TARGET, _BEYOND_MAX, _UNREVIEWED, _WITHHELD = 0, -1, -2, 126, 127


@dataclass(frozen=True)
class Decision:
    """What became of one attempt.

    Attributes:
        k: The attempt's place in its class.
        accepted: Whether it is in the data set.
        reason: The filter that it failed, "withheld" where the model's safety checker made the image black,
            "unreviewed" where every filter lets it pass but one that waits for somebody to look at it,
            "beyond_target", "beyond_max_attempts", or "undecided" where a run was stopped before a threshold that
            comes from the class's first attempts was known; None when accepted.
        scores: By filter name; None where the filter had nothing to compare with or was not asked.
    """

    k: int
    accepted: bool
    reason: str | None
    scores: dict[str, float | None]


def nearest_score(scores: NDArray[np.float32], threshold: float) -> float | None:
    """The score of rejected attempts that lies nearest to the threshold; None where there is none, or no threshold.

    Args:
        scores: (N,), NaN where there is no score.
    """
    known = scores[~np.isnan(scores)]
    if not len(known) or np.isnan(threshold):
        return None
    return float(known[np.abs(known - threshold).argmin()])


def judgement_of(codes: NDArray[np.int8]) -> NDArray[np.int8]:
    """Of codes (N,) of `ClassDecisions.coded`: 1 for accepted, -1 for rejected, 0 where neither is known."""
    rejected = (codes > _ACCEPTED) & (codes != _UNREVIEWED)
    return np.where(codes == _ACCEPTED, 1, np.where(rejected, -1, 0)).astype(np.int8)


class ClassDecisions:
    """The decisions on one class, block by block; about ten bytes an attempt stay in memory.

    Where a judge takes its threshold from the first attempts of the class, the first blocks wait until all of these
    are measured.
    """

    def __init__(
        self, label: str, judges: Sequence[NamedJudge], per_class: int, max_attempts: int,
        kept: KeptRows | None = None,
    ) -> None:
        """Begin with nothing decided.

        Args:
            kept: What is kept beyond these of attempts that are there; None for nothing.
        """
        self.label = label
        self.blocks = 0
        self._judges = judges
        self._per_class = per_class
        self._max_attempts = max_attempts
        self._most_rows = max(per_class, kept.rows if kept else 0)
        self._kept_attempts = kept.attempts if kept else 0
        self._most_attempts = max(max_attempts, self._kept_attempts)
        self._accepted = self._unreviewed = 0
        self._judged = 0
        self._attempts = 0
        self._seen = 0
        self._needs = max((each.judge.needs for each in judges), default=0)
        self._reasons: dict[int, str | None] = {
            _ACCEPTED: None, _BEYOND_TARGET: BEYOND_TARGET, _BEYOND_MAX: BEYOND_MAX_ATTEMPTS,
            _UNREVIEWED: UNREVIEWED, _WITHHELD: WITHHELD,
            **{place: each.name for place, each in enumerate(judges, 1)}}
        self._waiting: list[tuple[int, dict[str, Measurements], frozenset[int]]] = []
        self._starts = array("q", [0])  # the first attempt of each block, and where the last one ends
        self._codes, self._scores = array("b"), array("f")  # of each attempt; a score a judge

    @property
    def count(self) -> ClassCount:
        """How far the class is."""
        return ClassCount(self.label, self._judged, self._accepted, self._per_class, self._unreviewed)

    @property
    def done(self) -> bool:
        """Whether no further attempt has to be made."""
        met = self._accepted + self._unreviewed >= self._per_class or self._attempts >= self._max_attempts
        return met and (self._accepted >= self._most_rows or self._attempts >= self._kept_attempts)

    @property
    def closed(self) -> bool:
        """Whether no further attempt, made already or not, could change the data set."""
        return self._accepted >= self._most_rows or self._attempts >= self._most_attempts

    @property
    def decided(self) -> int:
        """How many blocks are decided on; those that were seen after them wait for a threshold."""
        return self.blocks - len(self._waiting)

    @property
    def filters(self) -> int:
        """How many filters judge it."""
        return len(self._judges)

    @property
    def remembers(self) -> bool:
        """Whether a filter has to see earlier blocks again before it judges a further one."""
        return any(each.judge.remembers for each in self._judges)

    @property
    def missing(self) -> tuple[int, int]:
        """How many further attempts, beyond those that were seen, the class needs: at least, and at most."""
        if self.done:
            return 0, 0
        waiting = self._seen - self._attempts
        bounds = []
        taken = self._accepted + self._unreviewed
        for rows, attempts in ((self._per_class - taken, self._max_attempts),
                               (self._most_rows - self._accepted, self._kept_attempts)):
            most = max(0, attempts - self._seen) if rows > 0 else 0
            bounds.append((min(most, max(0, rows - waiting)), most))
        least = max(low for low, _ in bounds)
        return max(least, self._needs - self._seen), max(most for _, most in bounds)

    @property
    def chances(self) -> tuple[int, int, int]:
        """Rows that are missing, attempts that wait for a threshold, and attempts that count towards the target."""
        taken = self._accepted + self._unreviewed
        kept = self._most_rows - self._accepted if self._attempts < self._kept_attempts else 0
        return max(0, self._per_class - taken, kept), self._seen - self._attempts, taken

    def decide(self, rows: int, measure: Callable[[str], Measurements], withheld: Sequence[int] = ()) -> None:
        """Decide on the next block.

        Args:
            measure: Gives the block's measurements by an encoder; not called when the class is closed already.
            withheld: Attempts, counted within the block, whose images the model's safety checker made black: they
                are rejected, and no threshold is taken from them.

        Raises:
            RunError: A threshold comes from the first attempts of the class, and all of these were withheld.
        """
        self._seen += rows
        self._starts.append(self._seen)
        self.blocks += 1
        measured = {} if self.closed else {key: measure(key) for key in {each.encoder for each in self._judges}}
        self._waiting.append((rows, measured, frozenset(withheld)))
        if self._seen < self._needs:
            return
        if not self._codes:
            self._learn()
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            self._decide_block(*each)

    def _learn(self) -> None:
        for each in self._judges:
            if each.judge.needs:
                seen = Measurements.joined([measured[each.encoder] for _, measured, _ in self._waiting])
                shown = np.concatenate([~np.isin(np.arange(rows), list(black)) for rows, _, black
                                        in self._waiting])[: each.judge.needs]
                if not shown.any():
                    raise RunError(f"class {self.label!r}: the model's safety checker withheld all of the first "
                                   f"{len(shown)} images, from which the {each.name} filter takes its threshold; "
                                   "give other prompts or another model")
                each.judge.learn(seen.rows(0, each.judge.needs).where(shown))

    def _decide_block(self, rows: int, measured: Mapping[str, Measurements], withheld: frozenset[int]) -> None:
        codes = np.zeros(rows, np.int8)
        scores = np.full((rows, len(self._judges)), np.nan, np.float32)
        if not self.closed:
            for each in self._judges:
                each.judge.begin(measured[each.encoder])
        for row in range(rows):
            codes[row] = self._decide_row(row, scores[row], row in withheld)
            self._attempts += 1
        self._codes.frombytes(codes.tobytes())
        self._scores.frombytes(scores.tobytes())

    def _decide_row(self, row: int, scores: NDArray[np.float32], withheld: bool) -> int:
        if self._accepted >= self._most_rows:
            return _BEYOND_TARGET
        if self._attempts >= self._most_attempts:
            return _BEYOND_MAX
        self._judged += 1
        if withheld:
            return _WITHHELD
        code = _ACCEPTED
        for place, each in enumerate(self._judges):
            score = each.judge.score(row)
            scores[place] = np.nan if score is None else score
            if code in (_ACCEPTED, _UNREVIEWED) and not each.judge.passes(score):
                code = _UNREVIEWED if each.judge.waits(score) else place + 1
        if code == _UNREVIEWED and self._accepted + self._unreviewed >= self._most_rows:
            # Enough of those before it wait for somebody; where one is rejected, this takes its place.
            self._judged -= 1
            scores[:] = np.nan
            return _BEYOND_TARGET
        if code == _UNREVIEWED:
            self._unreviewed += 1
        if code == _ACCEPTED:
            self._accepted += 1
            for each in self._judges:
                each.judge.keep(row)
        return code

    def take_over(self, codes: NDArray[np.int8], scores: NDArray[np.float32]) -> int:
        """Take what was decided on the next blocks before, as far as deciding again gives just that.

        Args:
            codes: (blocks, rows), as `coded` gave them under the thresholds of now.
            scores: (blocks, rows, filters).

        Returns:
            How many of these blocks were taken; those after them are to be decided on.
        """
        if self._waiting or self._seen < self._needs or self.remembers or (self._judges and not self._codes):
            return 0
        (blocks, rows), flat = codes.shape, codes.ravel()
        accepted, attempts = flat == _ACCEPTED, self._attempts + np.arange(codes.size)
        judged = accepted | (flat == _WITHHELD) | ((flat > _ACCEPTED) & (flat <= len(self._judges)))
        rows_before = self._accepted + np.cumsum(accepted) - accepted
        # What `_decide_row` would make of them; what waits for review depends on more, and is decided anew.
        beyond = np.where(attempts >= self._most_attempts, _BEYOND_MAX, _ACCEPTED)
        beyond[rows_before >= self._most_rows] = _BEYOND_TARGET
        same = np.where(judged, _ACCEPTED, flat) == beyond
        taken: int = blocks if same.all() else int(same.argmin()) // rows
        count = taken * rows
        self._starts.extend(range(self._seen + rows, self._seen + count + 1, rows))
        self.blocks, self._seen, self._attempts = self.blocks + taken, self._seen + count, self._attempts + count
        self._judged += int(judged[:count].sum())
        self._accepted += int(accepted[:count].sum())
        self._codes.frombytes(flat[:count].astype(np.int8).tobytes())
        self._scores.frombytes(scores[:taken].astype(np.float32).tobytes())
        for each in self._judges:
            each.judge.skip(count)
        return taken

    def coded(self, first: int, end: int) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
        """Codes (N,) and scores (N, filters) of the attempts of the decided blocks `first` to `end - 1`."""
        start, stop, filters = self._starts[first], self._starts[end], len(self._judges)
        codes, scores = self._codes[start:stop], self._scores[filters * start : filters * stop]
        return np.array(codes, np.int8), np.array(scores, np.float32).reshape(len(codes), filters)

    def verdicts(self, index: int) -> tuple[str | None, ...]:
        """The reasons (`Decision.reason`) of the attempts of a block, in order of k."""
        start, end = self._starts[index], self._starts[index + 1]
        if start >= len(self._codes):
            return (UNDECIDED,) * (end - start)
        return tuple(map(self._reasons.__getitem__, self._codes[start:end]))

    def block(self, index: int) -> list[Decision]:
        """The decisions on the attempts of a block, in order of k."""
        start, end, judges = self._starts[index], self._starts[index + 1], len(self._judges)
        if start >= len(self._codes):
            return [
                Decision(k, False, UNDECIDED, {each.name: None for each in self._judges}) for k in range(start, end)
            ]
        return [
            Decision(k, code == _ACCEPTED, self._reasons[code],
                     self._named(self._scores[judges * k : judges * (k + 1)]))
            for k, code in enumerate(self._codes[start:end], start)
        ]

    def columns(self, names: Sequence[str]) -> tuple[list[bool], list[str | None], dict[str, NDArray[np.float32]]]:
        """Of all attempts in order of k: whether it was accepted, the reason, and the scores of filters.

        Args:
            names: Filters; one that is none of the class has no scores.

        Returns:
            Accepted, reasons, and by name the scores, float32 (attempts,), NaN where there is none.
        """
        left = self._seen - len(self._codes)
        codes, scores = self._arrays()
        own = {each.name: place for place, each in enumerate(self._judges)}
        unknown = np.full(left, np.nan, np.float32)
        found = {name: np.concatenate([scores[:, own[name]], unknown]) if name in own
                 else np.full(self._seen, np.nan, np.float32) for name in names}
        reasons = [self._reasons[code] for code in self._codes]
        return (codes == _ACCEPTED).tolist() + [False] * left, [*reasons, *[UNDECIDED] * left], found

    @property
    def reasons(self) -> dict[str | None, int]:
        """How many attempts have which reason; None for those that were accepted."""
        found: dict[str | None, int] = {}
        for code, count in zip(*np.unique(self._arrays()[0], return_counts=True), strict=True):
            found[self._reasons[int(code)]] = int(count)
        left = self._seen - len(self._codes)
        return found | ({UNDECIDED: left} if left else {})

    @property
    def thresholds(self) -> dict[str, float]:
        """The score that decides, by filter name."""
        return {each.name: each.judge.threshold for each in self._judges}

    @property
    def files(self) -> dict[str, Mapping[str, object]]:
        """What is known of the files that judges were made from, by filter name; see `ClassJudge.file`."""
        return {each.name: each.judge.file for each in self._judges if each.judge.file}

    def scores(self, name: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The known scores of a filter over accepted and over rejected attempts, in order of k."""
        place = [each.name for each in self._judges].index(name)
        codes, every = self._arrays()
        scores = every[:, place]
        known = ~np.isnan(scores)
        rejected = (codes > _ACCEPTED) & (codes != _UNREVIEWED)
        return scores[known & (codes == _ACCEPTED)], scores[known & rejected]

    @property
    def nearest(self) -> dict[str, tuple[float, float]]:
        """Of each filter that rejected attempts by a score, the one nearest to its threshold, and that threshold."""
        found = {}
        codes, scores = self._arrays()
        for place, each in enumerate(self._judges):
            own = nearest_score(scores[codes == place + 1, place], each.judge.threshold)
            if own is not None:
                found[each.name] = (own, float(each.judge.threshold))
        return found

    def __iter__(self) -> Iterator[Decision]:
        for index in range(self.blocks):
            yield from self.block(index)

    def _arrays(self) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
        """Codes (N,) and scores (N, judges) of all decided attempts; copies, since the class may go on."""
        codes = np.array(self._codes, np.int8)
        return codes, np.array(self._scores, np.float32).reshape(len(codes), len(self._judges))

    def _named(self, scores: Sequence[float]) -> dict[str, float | None]:
        values = (None if score != score else score for score in scores)  # NaN, in a tenth of the time of numpy
        return dict(zip((each.name for each in self._judges), values, strict=True))
