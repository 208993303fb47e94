"""What every kind of job works with, and what it gives."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.service.orders import Order
from terrasynth.synthesis.service.places import run_folder
from terrasynth.synthesis.service.records import Lease
from terrasynth.synthesis.service.states import State
from terrasynth.synthesis.service.stops import Stops
from terrasynth.synthesis.service.store import JobStore

if TYPE_CHECKING:
    from terrasynth.synthesis.cards.licences import Licence, Statement
    from terrasynth.synthesis.core.real_pictures import RealPictures
    from terrasynth.synthesis.service.specs import StatedLicence

Pictures = Callable[[Path, str, int | None, tuple[int, int]], "RealPictures"]


@dataclass(frozen=True)
class Tools:
    """What only the command line can hand in, because it alone may reach into `training`.

    Attributes:
        pictures: Real images of a source, a split, at most so many, of a size.
        said: What a command says of an error, on one line; prints a traceback of one that was not foreseen.
    """

    pictures: Pictures
    said: Callable[[BaseException], str]


@dataclass(frozen=True)
class Work:
    """A job at work."""

    order: Order
    store: JobStore
    lease: Lease
    stops: Stops
    tools: Tools

    def folder(self, data_set: str) -> Path:
        """The run directory of a data set that is there.

        Raises:
            InputError: There is none.
        """
        folder = run_folder(self.order.runs, data_set)
        if not folder.is_dir():
            raise InputError(f"there is no data set {data_set!r}; make it first")
        return folder


@dataclass(frozen=True)
class Outcome:
    """How a job ended.

    Attributes:
        state: Its state from now on.
        result: What it gave, as plain data.
        error: What is to be said of it, on one line; None for nothing.
    """

    state: State
    result: dict[str, Any]
    error: str | None = None


def plain(value: Any) -> Any:  # noqa: ANN401 - any figures
    """Figures as JSON has them: no tuples, no paths, and None for what is no number."""
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, Sequence | set | frozenset) and not isinstance(value, str | bytes):
        return [plain(each) for each in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, str | int) else str(value)


def statement(licence: StatedLicence | None, by: str) -> Statement | None:
    """What a spec states; None for nothing.

    Raises:
        InputError: A licence that the Hub does not know.
    """
    from terrasynth.synthesis.cards.licences import Statement

    if licence is None:
        return None
    return Statement(licence.id.lower(), licence.name, licence.link, by, " ".join(licence.reason.split()))


def licence_result(licence: Licence) -> dict[str, Any]:
    """A licence as plain data."""
    found: dict[str, Any] = plain(licence.to_json())
    return found
