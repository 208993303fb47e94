"""The page Review: one image after another, a verdict by one key, and how far all agree."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal
from urllib.parse import urlencode

from fastapi import Query, Request
from starlette.responses import Response

from terrasynth.errors import UserError, one_line
from terrasynth.synthesis.core import layout
from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.service.context import Service, ServiceOf
from terrasynth.synthesis.service.page.pages import address_of, page_router, see_other
from terrasynth.synthesis.service.page.rendering import render
from terrasynth.synthesis.service.page.typed import TypedForm
from terrasynth.synthesis.service.routes.parameters import DataSetName
from terrasynth.synthesis.studies.review.looking import Queue, Review
from terrasynth.synthesis.studies.review.summary import summarize

MOST_SAMPLE = 100_000
REASONS = ("wrong class", "not what the text says", "blurred", "artifacts", "not from above", "repeats another")
KINDS: Mapping[str, str] = {"accepted": "accepted by the filters", "rejected": "rejected by them", "all": "both"}
Word = Annotated[str, Query(max_length=255)]
router = page_router()


@dataclass(frozen=True)
class ReviewSettings:
    """Who looks at what.

    Attributes:
        reviewer: The name; "" before it is given.
        of: "accepted", "rejected" or "all".
        label: Of one class; "" for all.
        sample: So many at random; "" for all, class by class.
        seed: Of the random order.
        blind: Whether nothing of what the filters said is told.
    """

    reviewer: str = ""
    of: Literal["accepted", "rejected", "all"] = "accepted"
    label: str = ""
    sample: int | None = None
    seed: int = 0
    blind: bool = False

    @property
    def queue(self) -> Queue:
        """The images, in order."""
        return Queue(self.of, self.label or None, self.sample, self.seed)

    @property
    def address(self) -> str:
        """Query of the page's address."""
        given = {"reviewer": self.reviewer, "of": self.of, "label": self.label, "sample": self.sample,
                 "seed": self.seed or "", "blind": "1" if self.blind else ""}
        return urlencode({key: value for key, value in given.items() if value})


@router.get("/data-sets/{name}/review")
def show(
    request: Request, service: ServiceOf, name: DataSetName, reviewer: Annotated[str, Query(max_length=64)] = "",
    of: Literal["accepted", "rejected", "all"] = "accepted", label: Word = "",
    sample: Annotated[str, Query(pattern="^[0-9]{0,6}$")] = "",
    seed: Annotated[str, Query(pattern="^[0-9]{0,9}$")] = "",
    blind: Annotated[str, Query(pattern="^1?$")] = "",
) -> Response:
    """Who looks at what; then the next image, and what the review says so far."""
    wanted = min(int(sample or 0), MOST_SAMPLE) or None
    settings = ReviewSettings(reviewer.strip(), of, label, wanted, int(seed or 0), bool(blind))
    return _shown(request, service, name, settings)


def _count(text: str) -> int | None:
    """A number of a form; None where there is none, or one that no page has written."""
    return int(text) if text.isdecimal() and len(text) < 10 else None


@router.post("/data-sets/{name}/review")
def say(request: Request, service: ServiceOf, name: DataSetName, form: TypedForm) -> Response:
    """A verdict, its undoing, or what is true in words, from a page without JavaScript."""
    given = defaultdict(str, {key: values[0].strip() for key, values in form.items()})
    settings = ReviewSettings(given["reviewer"], _kind(given["of"]), given["label"],
                              _count(given["sample"]), _count(given["seed"]) or 0, given["blind"] == "1")
    review = Review(service.data_sets.folder(name))
    act, _, reason = given["act"].partition(":")
    try:
        if act == "undo":
            review.undo(settings.reviewer)
        elif act == "captions":
            review.describe(given["row_id"], settings.reviewer, _lines(given["captions"]), form.get("struck", ()),
                            form.get("present", ()), form.get("absent", ()))
        elif act in ("accept", "reject"):
            review.judge(given["row_id"], "accept" if act == "accept" else "reject", settings.reviewer,
                         reason or given["reason"], settings.blind)
        else:
            raise InputError(f"{act[:40]!r} is nothing that a reviewer can do here; accept, reject, undo or captions")
    except UserError as error:
        return _shown(request, service, name, settings, one_line(error))
    return see_other(f"{address_of(name)}/review?{settings.address}")


def _shown(request: Request, service: Service, name: str, settings: ReviewSettings, mistake: str = "") -> Response:
    about, folder = service.data_sets.one(name), service.data_sets.folder(name)
    if not (folder / layout.DECISIONS).is_file():
        return render(request, "review.html.j2", data_set=about, ready=False, settings=settings)
    labels = [each.label for each in about.classes]
    found = None
    if settings.reviewer:
        found = Review(folder).next(settings.reviewer, settings.queue, 1, "", settings.blind)
    summary = summarize(folder, settings.seed)
    reasons = list(dict.fromkeys([*REASONS, *summary.reasons]))[: len(REASONS) + 3]
    return render(
        request, "review.html.j2", data_set=about, ready=True, settings=settings, mistake=mistake, labels=labels,
        image=next(iter(found.images), None) if found else None, done=found.done if found else 0,
        left=found.left if found else 0, summary=summary, reasons=[each for each in reasons if each][:9], kinds=KINDS,
    )


def _kind(of: str) -> Literal["accepted", "rejected", "all"]:
    return "rejected" if of == "rejected" else "all" if of == "all" else "accepted"


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]
