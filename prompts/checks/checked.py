"""Checks of the prompts that an expander gives, and balance of what they say: an expander round another one."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable

from terrasynth.prompts.checks.candidates import POOL, Candidates
from terrasynth.prompts.checks.judge import UNKNOWN_WORDS, Judge
from terrasynth.prompts.checks.settings import CheckSettings
from terrasynth.prompts.errors import InputError
from terrasynth.prompts.types import Expander, Prompt, check_request

REVISION = 1  # raise it when this code would keep other candidates: it is part of the identity
NOT_CHECKED, LAPS = "class not checked", "laps"
log = logging.getLogger("terrasynth")


class CheckedExpander:
    """The prompts of another expander that pass the checks, in its order.

    Attempt k is the k-th candidate that passes; candidates are the other expander's attempts. Which pass is a function
    of the candidate, and of those before it (duplicates) or in the pool (balance): not of what was asked before. Where
    nothing but repetitions comes (the expander has no more), duplicates are allowed again: a new lap begins, as if
    nothing had been said before. In memory stay one byte a candidate, eight a prompt, and what duplicates are found by.

    Attributes:
        inner: The other expander.
        costly: What that says, False where it does not say.
    """

    def __init__(
        self, inner: Expander, settings: CheckSettings, count_tokens: Callable[[str], int] | None = None,
        read: Callable[[str, str], str] | None = None,
    ) -> None:
        """Load what the checks compare with.

        Args:
            count_tokens: Tokens of a text, begin and end marks included; only for `max_tokens`.
            read: What the model is given for a text and its class, where that is not the text alone: of it the tokens
                are counted.

        Raises:
            InputError: The reference cannot be read, or nothing counts tokens.
        """
        if settings.max_tokens is not None and (count_tokens is None or settings.max_tokens == "auto"):
            raise InputError(f"max_tokens {settings.max_tokens!r} needs a model whose tokenizer counts; name one, or "
                             "leave max_tokens out")
        self.name = inner.name
        self.classes = inner.classes
        self.costly = bool(getattr(inner, "costly", False))
        self.inner = inner
        self._settings = settings
        self._judge = Judge(settings, inner.classes, count_tokens, read)
        self._streams: dict[tuple[str, int], Candidates] = {}

    def identity(self) -> dict[str, object]:
        """The other expander's, with the checks that change something; no paths."""
        settings = self._settings
        checks = self._judge.identity()
        if settings.distinct:
            checks["distinct"] = True
        if settings.near is not None:
            checks["near"] = settings.near
        if settings.balance is not None:
            checks["balance"] = {"t": settings.balance, "pool": POOL}
        return self.inner.identity() | ({"checks": {"revision": REVISION, **checks}} if checks else {})

    def expand(self, label: str, seed: int, start: int, count: int) -> list[Prompt]:
        """See `Expander.expand`.

        Raises:
            InputError: None of `PATIENCE` candidates in a row passed; the message has the reasons.
        """
        check_request(self, label, start, count)
        return self._stream(label, seed).prompts(start, count)

    def seen(self, label: str, seed: int | None = None, attempts: int | None = None) -> int:
        """How many candidates were judged; see `drops`."""
        return sum(stream.seen(attempts) for stream in self._of(label, seed))

    def drops(self, label: str, seed: int | None = None, attempts: int | None = None) -> dict[str, int]:
        """How many candidates of a class were dropped, by reason, with those that the other expander dropped itself.

        Args:
            seed: Only of the stream with this seed.
            attempts: Only those before the last of so many attempts; None for all candidates seen so far.
        """
        counts: Counter[str] = Counter()
        for stream in self._of(label, seed):
            counts.update(stream.drops(attempts))
        inner_drops = getattr(self.inner, "drops", None)
        if callable(inner_drops):
            counts.update(inner_drops(label))
        return dict(counts)

    def notes(self, label: str, seed: int | None = None, attempts: int | None = None) -> dict[str, int]:
        """What else is to be said of a class, with the number of candidates (or laps) it is true of; see `drops`."""
        streams = self._of(label, seed)
        said = {
            NOT_CHECKED: self.seen(label, seed, attempts) if self._judge.unchecked(label) else 0,
            LAPS: sum(stream.laps(attempts) for stream in streams),
            UNKNOWN_WORDS: sum(stream.outside(attempts) for stream in streams),
        }
        return {note: count for note, count in said.items() if count}

    def _of(self, label: str, seed: int | None) -> list[Candidates]:
        return [stream for key, stream in self._streams.items() if key[0] == label and seed in (None, key[1])]

    def _stream(self, label: str, seed: int) -> Candidates:
        if (label, seed) not in self._streams:
            if self._judge.unchecked(label) and not self._of(label, None):
                log.warning("class %r is none of profile %r: that prompts name it is not checked; switch it off with "
                            "keep_class: false", label, self._settings.profile)
            self._streams[label, seed] = Candidates(self.inner, label, seed, self._judge, self._settings)
        return self._streams[label, seed]
