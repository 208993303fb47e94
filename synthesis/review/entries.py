"""The lines of a review: a verdict, what is true in words, or the undoing of one of these."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, model_validator

_JOINERS = "\u200c\u200d"  # which scripts and emoji are written with
MOST_NAME, MOST_REASON, MOST_CAPTION, MOST_CAPTIONS, MOST_THINGS = 64, 200, 1000, 16, 64


def one_spaced(text: str) -> str:
    """A text on one line with single spaces, as names are kept."""
    return " ".join(text.split())


def _plain(text: str) -> str:
    """A text on one line, without characters that steer a terminal or hide what is written."""
    line = one_spaced(text)
    if any(unicodedata.category(each) in ("Cc", "Cf", "Cs") and each not in _JOINERS for each in line):
        raise ValueError("holds a control character; give plain text")
    return line


def _some(text: str) -> str:
    if not text:
        raise ValueError("is empty; give some text")
    return text


Plain = Annotated[str, AfterValidator(_plain)]
Name = Annotated[str, Field(max_length=MOST_NAME), AfterValidator(_plain), AfterValidator(_some)]
Reason = Annotated[str, Field(max_length=MOST_REASON), AfterValidator(_plain)]
Caption = Annotated[str, Field(max_length=MOST_CAPTION), AfterValidator(_plain), AfterValidator(_some)]
Thing = Annotated[str, Field(max_length=MOST_NAME), AfterValidator(_plain), AfterValidator(_some)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Subject(_Model):
    """The image that something is said of.

    Attributes:
        row: Id of the attempt, 16 hexadecimal digits.
        k: Its place in the stream of its class, from 0.
    """

    row: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    label: Annotated[str, Field(max_length=4096)]
    k: Annotated[int, Field(ge=0)]


class _Entry(_Model):
    number: Annotated[int, Field(ge=1)]
    reviewer: Name
    time: Annotated[str, Field(max_length=40)]


class Verdict(_Entry):
    """Whether an image may stay.

    Attributes:
        verdict: "accept" or "reject".
        reason: Why, where it is rejected; "" for none given.
        blind: The reviewer did not see what the filters had said.
        number: Of the line, from 1.
        time: When, in UTC (ISO 8601).
    """

    type: Literal["verdict"] = "verdict"
    subject: Subject
    verdict: Literal["accept", "reject"]
    reason: Reason = ""
    blind: bool = False


class CaptionReview(_Entry):
    """What is true of an image, in words of a person who looked at it.

    Attributes:
        captions: What is said of it from now on, the first in place of the drawn text.
        struck: What was said and is not true.
        present: Things that are there, in the singular.
        absent: Things that are not.
        number: Of the line, from 1.
        time: When, in UTC (ISO 8601).
    """

    type: Literal["captions"] = "captions"
    subject: Subject
    captions: Annotated[tuple[Caption, ...], Field(min_length=1, max_length=MOST_CAPTIONS)]
    struck: Annotated[tuple[Caption, ...], Field(max_length=MOST_THINGS)] = ()
    present: Annotated[tuple[Thing, ...], Field(max_length=MOST_THINGS)] = ()
    absent: Annotated[tuple[Thing, ...], Field(max_length=MOST_THINGS)] = ()

    @model_validator(mode="after")
    def _one_way(self) -> CaptionReview:
        if both := {one.casefold() for one in self.present} & {one.casefold() for one in self.absent}:
            raise ValueError(f"{min(both)!r} is marked as there and as not there; choose one")
        return self


class Undo(_Entry):
    """An earlier line does not count any more.

    Attributes:
        undoes: Its number.
        reviewer: Who said both.
        number: Of the line, from 1.
        time: When, in UTC (ISO 8601).
    """

    type: Literal["undo"] = "undo"
    undoes: Annotated[int, Field(ge=1)]


Entry = Annotated[Verdict | CaptionReview | Undo, Field(discriminator="type")]
Said = Verdict | CaptionReview
ENTRY: TypeAdapter[Verdict | CaptionReview | Undo] = TypeAdapter(Entry)


def plain(entry: Verdict | CaptionReview | Undo) -> dict[str, Any]:
    """An entry as JSON-able data, which `ENTRY` reads back."""
    return entry.model_dump(mode="json")


def now() -> str:
    """The time as entries have it: UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
