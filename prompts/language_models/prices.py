"""What answers of an endpoint will cost: a table of prices with its date, and what requests have used so far."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from terrasynth.prompts.language_models.spending import MILLION, Usage

TABLE = Path(__file__).with_name("prices.yaml")
_DATED = re.compile(r"-\d{4}-\d{2}-\d{2}$")


@dataclass(frozen=True)
class Price:
    """What a million tokens cost.

    Attributes:
        read: Of what the model reads.
        written: Of what it writes.
        source: Where that comes from, in words.
    """

    read: float
    written: float
    source: str

    def of(self, usage: Usage) -> float:
        """The price of a number of tokens."""
        return (usage.prompt_tokens * self.read + usage.completion_tokens * self.written) / MILLION


@dataclass(frozen=True)
class Forecast:
    """What the requests for further prompts will use.

    Attributes:
        least: Requests that are to be paid for, at the least.
        most: At the most.
        usage: Tokens of one request, the mean of `measured` ones.
        measured: Requests of which that is known.
        where: Model and endpoint, in words.
        price: None where none is known.
    """

    least: int
    most: int
    usage: Usage
    measured: int
    where: str
    price: Price | None

    def text(self) -> str:
        """All of that on one line."""
        requests = f"{self.least:,} to {self.most:,} requests to {self.where}"
        if not self.most:
            return f"nothing to pay: every answer of {self.where} is in the cache"
        if not self.measured:
            return f"{requests}; what one uses is not known yet"
        read, written = self.usage
        tokens = f"{read:,} tokens read and {written:,} written each (mean of {self.measured})"
        if self.price is None:
            return f"{requests}, {tokens}; no price of it is known: set prompts.price_in and prompts.price_out"
        one = self.price.of(self.usage)
        return (f"{self.least * one:.4f} to {self.most * one:.4f} for {requests}, {tokens}, at {self.price.read:g} and "
                f"{self.price.written:g} a million ({self.price.source})")


def price_of(model: str) -> Price | None:
    """The price of a model of OpenAI's own endpoint; None where the table does not have it.

    Args:
        model: Its name; the date at its end, as in "gpt-4o-mini-2024-07-18", may be there.

    Example:
        >>> from terrasynth.prompts.language_models.prices import price_of
        >>> price_of("gpt-4o-mini-2024-07-18").read, price_of("my-model")
        (0.15, None)
    """
    table = _table()
    found = table["models"].get(model) or table["models"].get(_DATED.sub("", model))
    if found is None:
        return None
    return Price(found["in"], found["out"], f"{table['currency']}, table of {table['date']}")


def mean_usage(used: list[Usage]) -> Usage:
    """The mean of what requests used, in whole tokens, rounded up."""
    total = Usage()
    for each in used:
        total = total.plus(each)
    return Usage(*(-(-number // len(used)) for number in total)) if used else total


@cache
def _table() -> Any:  # noqa: ANN401 - checked by its test
    return yaml.safe_load(TABLE.read_text(encoding="utf-8"))
