"""The candidates of one class in order, and which of them are kept."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from terrasynth.prompts.checks.judge import (
    GROUND_VIEW,
    KNOWN,
    OTHER_CLASS,
    TOO_LONG,
    UNKNOWN_WORDS,
    UNNAMED,
    UNSAID,
    Judge,
)
from terrasynth.prompts.checks.near import NearIndex, TextSet
from terrasynth.prompts.errors import InputError
from terrasynth.prompts.scenes.draws import Draws
from terrasynth.prompts.scenes.wording import concepts
from terrasynth.prompts.types import Expander, Prompt

if TYPE_CHECKING:
    from terrasynth.prompts.checks.settings import CheckSettings

POOL = 2048  # candidates in which the concepts of a class are counted ...
POOL_CANDIDATES = 4 * POOL  # ... or fewer, where so many candidates have no more that pass the other checks
PATIENCE = 2000  # candidates in a row without one that is kept: the expander has no more, or the checks ask too much
CHUNK = 256  # most candidates asked for at once
GAP = 8  # candidates that nobody wants are asked for again with their neighbors, up to so many in a row
DUPLICATE, NEAR, BALANCE = "duplicate", "near duplicate", "balance"
REASONS = (TOO_LONG, GROUND_VIEW, UNNAMED, OTHER_CLASS, UNKNOWN_WORDS, UNSAID, KNOWN, DUPLICATE, NEAR, BALANCE)
_CODES = {reason: code for code, reason in enumerate(REASONS)}
_KEPT = len(REASONS)
_OUTSIDE = 128  # added to the code of a candidate with words outside the vocabulary
_RANGE = 2**32


class Candidates:
    """One class's candidates under one seed: one byte for each, and eight for each that is kept."""

    def __init__(self, inner: Expander, label: str, seed: int, judge: Judge, settings: CheckSettings) -> None:
        self._inner = inner
        self._label = label
        self._seed = seed
        self._judge = judge
        self._settings = settings
        self._codes = bytearray()
        self._kept = array("Q")
        self._barren = 0
        self._laps: list[tuple[int, int]] = []  # candidates and attempts at the start of each
        self._counts: Counter[str] | None = None
        self._pool: list[tuple[int, Prompt]] = []
        self._forget()

    def prompts(self, start: int, count: int) -> list[Prompt]:
        """Attempts `start` to `start + count - 1`.

        Raises:
            InputError: None of `PATIENCE` candidates in a row was kept.
        """
        if count == 0:
            return []
        found = self._grow(start + count)
        numbers = self._kept[start : start + count].tolist()
        for first, last in _spans([number for number in numbers if number not in found]):
            again = self._inner.expand(self._label, self._seed, first, last + 1 - first)
            for number, prompt in enumerate(again, first):
                if (fitted := self._judge.fitted(prompt)) is not None:
                    found[number] = fitted
        return [found[number] for number in numbers]

    def seen(self, attempts: int | None = None) -> int:
        """How many candidates were judged: all, or up to the last of so many attempts."""
        if attempts is None or attempts > len(self._kept):
            return len(self._codes)
        return self._kept[attempts - 1] + 1 if attempts else 0

    def drops(self, attempts: int | None = None) -> dict[str, int]:
        """How many of those were dropped, by reason."""
        end = self.seen(attempts)
        counts = {reason: sum(self._codes.count(each, 0, end) for each in (code, code + _OUTSIDE))
                  for reason, code in _CODES.items()}
        return {reason: count for reason, count in counts.items() if count}

    def outside(self, attempts: int | None = None) -> int:
        """How many of those had words outside the vocabulary, kept or not."""
        return sum(code >= _OUTSIDE for code in self._codes[: self.seen(attempts)])

    def laps(self, attempts: int | None = None) -> int:
        """How often they ran dry, so that duplicates were allowed again."""
        return sum(start < self.seen(attempts) for start, _ in self._laps)

    def _grow(self, attempts: int) -> dict[int, Prompt]:
        """Judge candidates until there are so many attempts; returns the prompts kept on the way, by candidate."""
        found: dict[int, Prompt] = {}
        while len(self._kept) < attempts:
            # Never more candidates than can be kept: one may cost money.
            wanted = attempts - len(self._kept)
            if self._counting:
                wanted = min(POOL - len(self._pool), POOL_CANDIDATES - len(self._codes))
                if not wanted or self._barren >= PATIENCE:
                    self._count(found)
                    continue
            elif self._barren >= PATIENCE:
                self._begin_lap()
            for prompt in self._inner.expand(self._label, self._seed, len(self._codes), min(wanted, CHUNK)):
                self._take(prompt, found)
                if self._barren >= PATIENCE:
                    break
        return found

    @property
    def _counting(self) -> bool:
        return self._settings.balance is not None and self._counts is None

    def _take(self, prompt: Prompt, found: dict[int, Prompt]) -> None:
        """Judge the next candidate."""
        number = len(self._codes)
        # A text that passed before would pass again: the cheapest check comes first, whatever the order of reasons.
        again = self._texts is not None and prompt.text in self._texts
        fitted = prompt if again else self._judge.fitted(prompt)
        outside = fitted is not None and self._judge.goes_outside(fitted)
        flag = _OUTSIDE * outside
        reason: str | None = DUPLICATE
        if not again:
            reason = TOO_LONG if fitted is None else self._judge.refusal(fitted, outside) or self._repetition(fitted)
        if fitted is not None and reason is None and self._counting:
            self._codes.append(_KEPT + flag)
            self._pool.append((number, fitted))
            self._barren = 0
            return
        if fitted is not None and reason is None and not self._wins(number, fitted.text):
            reason = BALANCE
        if fitted is None or reason is not None:
            self._codes.append(_CODES[reason or TOO_LONG] + flag)
            self._barren += 1
        else:
            self._codes.append(_KEPT + flag)
            self._keep(number, fitted, found)

    def _keep(self, number: int, prompt: Prompt, found: dict[int, Prompt]) -> None:
        self._kept.append(number)
        found[number] = prompt
        self._barren = 0

    def _repetition(self, prompt: Prompt) -> str | None:
        if self._texts is not None and not self._texts.add(prompt.text):
            return DUPLICATE
        return NEAR if self._index is not None and not self._index.add(prompt.text) else None

    def _count(self, found: dict[int, Prompt]) -> None:
        """Count the concepts of the pool, and draw who of it is kept."""
        pool, self._pool, barren = self._pool, [], self._barren
        self._counts = Counter(concept for _, prompt in pool for concept in concepts(prompt.text))
        for number, prompt in pool:
            if self._wins(number, prompt.text):
                self._keep(number, prompt, found)
            else:
                self._codes[number] += _CODES[BALANCE] - _KEPT
        self._barren = barren

    def _wins(self, number: int, text: str) -> bool:
        """Whether any concept of the text draws below min(1, t / count)."""
        limit, counts = self._settings.balance, self._counts
        if limit is None or counts is None:
            return True
        said = concepts(text)
        return any(counts[concept] <= limit for concept in said) or any(
            Draws("balance", self._label, self._seed, number, concept).below(_RANGE) * counts[concept] < limit * _RANGE
            for concept in said
        )

    def _begin_lap(self) -> None:
        """Allow duplicates again where they are what is left.

        Raises:
            InputError: They are not, or the last lap kept nothing.
        """
        recent = Counter(code % _OUTSIDE for code in self._codes[-PATIENCE:])
        repeated = recent[_CODES[DUPLICATE]] + recent[_CODES[NEAR]]
        if not repeated or len(self._kept) == (self._laps[-1][1] if self._laps else 0):
            reasons = ", ".join(f"{REASONS[code]} {count}" for code, count in recent.most_common())
            raise InputError(
                f"class {self._label!r}: none of {PATIENCE} prompts in a row of the {self._inner.name} expander passed "
                f"the checks ({reasons}); loosen the check that drops most, or give prompts that pass it"
            )
        self._laps.append((len(self._codes), len(self._kept)))
        self._barren = 0
        self._forget()

    def _forget(self) -> None:
        settings = self._settings
        self._texts = TextSet() if settings.distinct else None
        self._index = NearIndex(settings.near) if settings.near is not None else None


def _spans(numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    """First and last of runs of ascending numbers with small gaps between them."""
    first = 0
    for place in range(1, len(numbers) + 1):
        if place == len(numbers) or numbers[place] - numbers[place - 1] > GAP:
            yield numbers[first], numbers[place - 1]
            first = place
