"""The candidates of one class in order, and which of them are kept."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from prompts.draws import Draws
from prompts.errors import InputError
from prompts.judge import GROUND_VIEW, KNOWN, OTHER_CLASS, TOO_LONG, UNKNOWN_WORDS, UNNAMED, Judge
from prompts.near import NearIndex, TextSet
from prompts.types import Expander, Prompt
from prompts.wording import concepts

if TYPE_CHECKING:
    from prompts.checks import CheckSettings

POOL = 2048  # candidates in which the concepts of a class are counted
PATIENCE = 2000  # candidates in a row without one that is kept: the expander has no more, or the checks ask too much
CHUNK = 256  # most candidates asked for at once
GAP = 8  # candidates that nobody wants are asked for again with their neighbours, up to so many in a row
DUPLICATE, NEAR, BALANCE = "duplicate", "near duplicate", "balance"
REASONS = (TOO_LONG, GROUND_VIEW, UNNAMED, OTHER_CLASS, UNKNOWN_WORDS, KNOWN, DUPLICATE, NEAR, BALANCE)
_CODES = {reason: code for code, reason in enumerate(REASONS)}
_KEPT = len(REASONS)
_RANGE = 2**32


class Candidates:
    """One class's candidates under one seed: one byte for each, and eight for each that is kept.

    Attributes:
        laps: How often the candidates ran dry, so that duplicates were allowed again.
    """

    def __init__(self, inner: Expander, label: str, seed: int, judge: Judge, settings: CheckSettings) -> None:
        self.laps = 0
        self._inner = inner
        self._label = label
        self._seed = seed
        self._judge = judge
        self._settings = settings
        self._codes = bytearray()
        self._kept = array("Q")
        self._barren = 0
        self._lap_start = 0
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
        counts = {reason: self._codes.count(code, 0, end) for reason, code in _CODES.items()}
        return {reason: count for reason, count in counts.items() if count}

    def _grow(self, attempts: int) -> dict[int, Prompt]:
        """Judge candidates until there are so many attempts; returns the prompts kept on the way, by candidate."""
        found: dict[int, Prompt] = {}
        while len(self._kept) < attempts:
            if self._barren >= PATIENCE and self._counting:
                self._count(found)  # the pool is all that there is
                continue
            if self._barren >= PATIENCE:
                self._begin_lap()
            # Never more than can be kept: a candidate may cost money.
            wanted = POOL - len(self._pool) if self._counting else attempts - len(self._kept)
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
        fitted = self._judge.fitted(prompt)
        reason = TOO_LONG if fitted is None else self._judge.refusal(fitted) or self._repetition(fitted.text)
        if fitted is None or reason is not None:
            self._drop(reason or TOO_LONG)
        elif self._counting:
            self._codes.append(_KEPT)
            self._pool.append((number, fitted))
            self._barren = 0
            if len(self._pool) == POOL:
                self._count(found)
        elif self._settings.balance is not None and not self._wins(number, fitted.text):
            self._drop(BALANCE)
        else:
            self._codes.append(_KEPT)
            self._keep(number, fitted, found)

    def _drop(self, reason: str) -> None:
        self._codes.append(_CODES[reason])
        self._barren += 1

    def _keep(self, number: int, prompt: Prompt, found: dict[int, Prompt]) -> None:
        self._kept.append(number)
        found[number] = prompt
        self._barren = 0

    def _repetition(self, text: str) -> str | None:
        if self._texts is not None and not self._texts.add(text):
            return DUPLICATE
        return NEAR if self._index is not None and not self._index.add(text) else None

    def _count(self, found: dict[int, Prompt]) -> None:
        """Count the concepts of the pool, and draw who of it is kept."""
        pool, self._pool, barren = self._pool, [], self._barren
        self._counts = Counter(concept for _, prompt in pool for concept in concepts(prompt.text))
        for number, prompt in pool:
            if self._wins(number, prompt.text):
                self._keep(number, prompt, found)
            else:
                self._codes[number] = _CODES[BALANCE]
        self._barren = barren

    def _wins(self, number: int, text: str) -> bool:
        """Whether any concept of the text draws below min(1, t / count)."""
        limit, counts = self._settings.balance or 0, self._counts or Counter()
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
        recent = Counter(self._codes[-PATIENCE:])
        repeated = recent[_CODES[DUPLICATE]] + recent[_CODES[NEAR]]
        if not repeated or len(self._kept) == self._lap_start:
            reasons = ", ".join(f"{REASONS[code]} {count}" for code, count in recent.most_common())
            raise InputError(
                f"class {self._label!r}: none of {PATIENCE} prompts in a row of the {self._inner.name} expander passed "
                f"the checks ({reasons}); loosen the check that drops most, or give prompts that pass it"
            )
        self.laps += 1
        self._lap_start = len(self._kept)
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
