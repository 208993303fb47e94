"""What answers cost, and caps on it: counted from the files of a cache folder, so that no rerun and no kill forgets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from terrasynth.prompts.errors import InputError
from terrasynth.prompts.language_models.answer_cache import AnswerCache, read_record, write_record

MILLION = 1_000_000
OVERHEAD = 128  # tokens that a chat template puts round the messages, at most


class Usage(NamedTuple):
    """Tokens that were read and written."""

    prompt_tokens: int = 0
    completion_tokens: int = 0

    def plus(self, other: Usage, times: int = 1) -> Usage:
        """The sum with so many of another."""
        return Usage(self.prompt_tokens + times * other.prompt_tokens,
                     self.completion_tokens + times * other.completion_tokens)


def usage_of(value: object) -> Usage | None:
    """The usage that an answer or a record states; None where it states none that can be added up."""
    if not isinstance(value, Mapping):
        return None
    counts = [value.get(field) for field in Usage._fields]
    if any(isinstance(one, bool) or not isinstance(one, int) or one < 0 for one in counts):
        return None
    return Usage(*counts)  # type: ignore[arg-type]


def worst_case(body: Mapping[str, object], max_tokens: int) -> Usage:
    """The most that a request can use: no tokenizer makes more tokens of a text than it has bytes."""
    return Usage(len(json.dumps(body, ensure_ascii=False).encode()) + OVERHEAD, max_tokens)


class Spending:
    """The budgets of a cache folder.

    Before a request is sent it is noted as sent, at its worst case; its record replaces the note. So a request whose
    answer was lost on the way, which may have been paid for, counts too.
    """

    def __init__(
        self, cache: AnswerCache, token_budget: int | None, cost_budget: float | None,
        price_in: float | None, price_out: float | None,
    ) -> None:
        """Set the caps.

        Args:
            token_budget: Most tokens, read and written, of all answers in the folder; None for no cap.
            cost_budget: Most money for all answers in the folder, at the prices given here; None for no cap.
            price_in: Price of a million tokens that are read.
            price_out: Price of a million tokens that are written.
        """
        self._cache = cache
        self._token_budget, self._cost_budget = token_budget, cost_budget
        self._price_in, self._price_out = price_in or 0.0, price_out or 0.0
        self._known: dict[Path, Usage] = {}

    def reserve(self, request: Mapping[str, object], worst: Usage, made: str) -> None:
        """Note that a request is about to be sent.

        Args:
            request: What is asked; held by `AnswerCache.locked`.
            worst: The most that it can use.
            made: How many prompts there are, in words, for the error.

        Raises:
            InputError: It could cost more than a budget leaves.
        """
        with self._cache.lock("budget"):
            if self._token_budget is not None or self._cost_budget is not None:
                self._check(worst, made)
            self._note(request, self._sent(request) + 1, worst)

    def release(self, request: Mapping[str, object], worst: Usage) -> None:
        """Note that a request that was sent is certainly not paid for."""
        self._note(request, self._sent(request) - 1, worst)

    def lost(self, request: Mapping[str, object]) -> int:
        """How often the request was sent and not answered, once its answer has arrived."""
        return max(0, self._sent(request) - 1)

    def settle(self, request: Mapping[str, object]) -> None:
        """Forget the note of a request whose record is stored."""
        self._cache.path(request, ".sent").unlink(missing_ok=True)

    def _sent(self, request: Mapping[str, object]) -> int:
        note = read_record(self._cache.path(request, ".sent"))
        return int(note["sent"]) if note else 0

    def _note(self, request: Mapping[str, object], sent: int, worst: Usage) -> None:
        if sent < 1:
            self.settle(request)
        else:
            write_record(self._cache.path(request, ".sent"), {"sent": sent, "worst": worst._asdict()})

    def _check(self, worst: Usage, made: str) -> None:
        answered, unknown = self._spent()
        spent = answered.plus(unknown)
        after = spent.plus(worst)
        lost = f", {sum(unknown)} of them perhaps, for answers that were lost" if sum(unknown) else ""
        advice = f"{made}; raise the budget and run again: answers that are there are not paid for again"
        if self._token_budget is not None and sum(after) > self._token_budget:
            raise InputError(
                f"token_budget {self._token_budget} of the openai expander is too small: {sum(spent)} tokens are spent"
                f"{lost}, and the next request can take {sum(worst)}; {advice}"
            )
        if self._cost_budget is not None and self._cost(after) > self._cost_budget:
            raise InputError(
                f"cost_budget {self._cost_budget} of the openai expander is too small: {self._cost(spent):.6f} is "
                f"spent ({sum(spent)} tokens{lost}), and the next request can cost {self._cost(worst):.6f}; {advice}"
            )

    def _cost(self, usage: Usage) -> float:
        return (usage.prompt_tokens * self._price_in + usage.completion_tokens * self._price_out) / MILLION

    def _spent(self) -> tuple[Usage, Usage]:
        """What all answers in the folder used, and the worst case of those that were lost."""
        for path in self._cache.records():
            if path not in self._known:
                record = read_record(path) or {}
                used, worst = usage_of(record.get("usage")), usage_of(record.get("worst"))
                if used is None or worst is None:
                    raise InputError(f"cache file {str(path)!r} states no usage; restore it, or use another folder")
                self._known[path] = used.plus(worst, int(record.get("lost", 0)))
        answered = lost = Usage()
        for used in self._known.values():
            answered = answered.plus(used)
        for path in self._cache.folder.glob("*.sent"):
            note = read_record(path)
            worst = usage_of(note["worst"]) if note else None
            if note and worst and path.with_suffix(".json") not in self._known:
                lost = lost.plus(worst, int(note["sent"]))
        return answered, lost
