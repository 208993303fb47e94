"""`/v1/data-sets/{name}/reviews`: images to look at, verdicts and captions of people, and how far all agree."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Body, Query
from pydantic import BaseModel, ConfigDict, Field

from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.review.entries import Said, Verdict
from terrasynth.synthesis.service.attempts import UnknownRowError
from terrasynth.synthesis.service.context import Service, ServiceOf
from terrasynth.synthesis.service.routes.parameters import DataSetName, RowId
from terrasynth.synthesis.studies.review.looking import Image, Queue, Review
from terrasynth.synthesis.studies.review.summary import ReviewSummary, summarize

router = APIRouter(prefix="/v1/data-sets/{name}/reviews", tags=["reviews"])
MOST_SHOWN, MOST_SAMPLE, MOST_SEED = 20, 100_000, 2**31 - 1
Id = Annotated[str, Field(pattern="^[0-9a-f]{16}$", examples=["0f1e2d3c4b5a6978"])]
Who = Annotated[str, Field(min_length=1, max_length=64, examples=["ada"])]
ReviewerName = Annotated[str, Query(min_length=1, max_length=64, description="Who looks.", examples=["ada"])]
Blind = Annotated[bool, Query(description="Tell nothing of what the filters said.")]
Seed = Annotated[int, Query(ge=0, le=MOST_SEED, description="Of the random order.")]
Texts = Annotated[list[Annotated[str, Field(max_length=1000)]], Field(max_length=64)]


class ReviewObject(BaseModel):
    """A thing that an image is said to show.

    Attributes:
        noun: What it is.
        present: Whether it is there, or said to be absent.
    """

    noun: str = Field(examples=["boat"])
    present: bool


class OwnVerdict(BaseModel):
    """What the reviewer said.

    Attributes:
        verdict: Whether the image may stay.
        reason: Why not.
    """

    verdict: Literal["accept", "reject"]
    reason: str = Field(examples=["no water"])


class ReviewRow(BaseModel):
    """An image to look at.

    Attributes:
        id: Names it; `/v1/data-sets/{name}/images/{id}` is the image.
        label: Its class.
        k: Its place in its class.
        text: What it was drawn from.
        captions: What is said of it, by a person where `by_hand`.
        claims: The drawn text piece by piece, each of which can be struck.
        objects: The things that the drawn text speaks of.
        by_hand: Whether a person said in words what it shows.
        mine: What this reviewer said of it; null so far.
        verdict: Of the filters and earlier reviews: "accepted" or "rejected"; null where the review is blind.
        reason: What rejected it; null where nothing did, or where the review is blind.
        scores: Of the filters; empty where the review is blind.
    """

    id: Id
    label: str = Field(examples=["beach"])
    k: int = Field(examples=[0])
    text: str = Field(examples=["A beach beside a calm sea."])
    captions: list[str]
    claims: list[str] = Field(examples=[["a calm sea"]])
    objects: list[ReviewObject]
    by_hand: bool
    mine: OwnVerdict | None
    verdict: Literal["accepted", "rejected"] | None
    reason: str | None
    scores: dict[str, float] = Field(examples=[{"alignment": 0.31}])


class ReviewRows(BaseModel):
    """The next images of a queue.

    Attributes:
        rows: In order.
        done: Images of the queue that this reviewer gave a verdict on.
        left: Those that are still to come.
    """

    rows: list[ReviewRow]
    done: int
    left: int


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class VerdictRequest(_Request):
    """A verdict.

    Attributes:
        row_id: The image.
        verdict: Whether it may stay.
        reviewer: Who says so.
        reason: Why it is rejected.
        blind: The reviewer did not see what the filters said.
    """

    row_id: Id
    verdict: Literal["accept", "reject"]
    reviewer: Who
    reason: Annotated[str, Field(max_length=200, examples=["no water"])] = ""
    blind: bool = False


class CaptionRequest(_Request):
    """What is true of an image in words.

    Attributes:
        row_id: The image.
        reviewer: Who says so.
        captions: What is said of it from now on; empty to keep those that say nothing of what is struck.
        struck: What is said and is not true.
        present: Things that are there, in the singular.
        absent: Things that are not.
    """

    row_id: Id
    reviewer: Who
    captions: Texts = []
    struck: Texts = []
    present: Texts = []
    absent: Texts = []


class UndoRequest(_Request):
    """Take back the last thing that a reviewer said.

    Attributes:
        reviewer: Who takes it back.
    """

    reviewer: Who


class ReviewEntry(BaseModel):
    """What was said, as it is kept.

    Attributes:
        number: Of its line in the run's file.
        type: "verdict", or "captions" for what is true in words.
        row_id: The image.
        reviewer: Who said so.
        time: When, in UTC (ISO 8601).
        verdict: Whether the image may stay; null where `type` is "captions".
        reason: Why not.
        captions: What is said of the image from now on.
    """

    number: int = Field(examples=[1])
    type: Literal["verdict", "captions"]
    row_id: Id
    reviewer: str
    time: str = Field(examples=["2026-01-31T12:00:00.000+00:00"])
    verdict: Literal["accept", "reject"] | None = None
    reason: str = ""
    captions: list[str] = []


class Undone(BaseModel):
    """What was taken back.

    Attributes:
        entry: What does not count any more; null where there was nothing to take back.
        row: Its image as it stands now.
    """

    entry: ReviewEntry | None
    row: ReviewRow | None


@router.get("/next", summary="The next images to look at")
def next_rows(
    service: ServiceOf, name: DataSetName, reviewer: ReviewerName,
    of: Annotated[Literal["accepted", "rejected", "all"], Query(
        description="Those that every filter but the review lets pass, the others, or both.")] = "accepted",
    label: Annotated[str | None, Query(max_length=255, description="Of one class.")] = None,
    sample: Annotated[int | None, Query(ge=1, le=MOST_SAMPLE, description="So many at random; without it all, class "
                                        "by class.")] = None,
    seed: Seed = 0, blind: Blind = False,
    count: Annotated[int, Query(ge=1, le=MOST_SHOWN)] = 1,
    after: Annotated[str | None, Query(pattern="^[0-9a-f]{16}$", description="Pass over those up to this one.")] = None,
) -> ReviewRows:
    """Those that this reviewer gave no verdict on, in an order that stays."""
    found = _review(service, name).next(reviewer, Queue(of, label, sample, seed), count, after or "", blind)
    return ReviewRows(rows=[_row(each, blind) for each in found.images], done=found.done, left=found.left)


@router.get("/rows/{row_id}", summary="One image as a reviewer sees it")
def one_row(service: ServiceOf, name: DataSetName, row_id: RowId, reviewer: ReviewerName, blind: Blind = False
            ) -> ReviewRow:
    """With what this reviewer said of it."""
    review = _review(service, name)
    if row_id not in review.rows.places:
        raise UnknownRowError(f"data set {name!r} has no row {row_id}; rows of /v1/data-sets/{name}/rows have ids")
    return _row(review.image(row_id, reviewer, blind), blind)


@router.post("", summary="Give a verdict")
def judge(service: ServiceOf, name: DataSetName, request: Annotated[VerdictRequest, Body()]) -> ReviewEntry:
    """It is on the disk when the answer comes. Said again, it is no second one."""
    return _entry(_review(service, name).judge(
        request.row_id, request.verdict, request.reviewer, request.reason, request.blind))


@router.post("/captions", summary="Say what is true of an image")
def describe(service: ServiceOf, name: DataSetName, request: Annotated[CaptionRequest, Body()]) -> ReviewEntry:
    """Strike what is not true, write what is, mark things as there or not; exports have it as `basis: human`."""
    return _entry(_review(service, name).describe(
        request.row_id, request.reviewer, request.captions, request.struck, request.present, request.absent))


@router.post("/undo", summary="Take back the last thing said")
def undo(service: ServiceOf, name: DataSetName, request: Annotated[UndoRequest, Body()]) -> Undone:
    """What was said before it stands again."""
    review = _review(service, name)
    taken = review.undo(request.reviewer)
    if taken is None:
        return Undone(entry=None, row=None)
    try:  # whether its review was blind is not known here, and a blind one must not be told
        row = _row(review.image(taken.subject.row, request.reviewer, True), True)
    except InputError:  # the run has let go of it since; the undoing stands
        row = None
    return Undone(entry=_entry(taken), row=row)


@router.get("/summary", summary="How far all agree, and how many images are good")
def summary(service: ServiceOf, name: DataSetName, seed: Seed = 0) -> ReviewSummary:
    """Figures with 95 % intervals."""
    return summarize(service.data_sets.folder(name), seed)


def _review(service: Service, name: str) -> Review:
    return Review(service.data_sets.folder(name))


def _row(image: Image, blind: bool) -> ReviewRow:
    said = image.verdict
    return ReviewRow(
        id=image.row, label=image.label, k=image.k, text=image.text, captions=list(image.captions),
        claims=list(image.claims), objects=[ReviewObject(noun=each.noun, present=each.present)
                                            for each in image.objects],
        by_hand=image.by_hand is not None,
        mine=None if said is None else OwnVerdict(verdict=said.verdict, reason=said.reason),
        verdict=None if blind else "accepted" if image.reason is None else "rejected",
        reason=image.reason, scores=dict(image.scores))


def _entry(said: Said) -> ReviewEntry:
    made = ReviewEntry(number=said.number, type=said.type, row_id=said.subject.row, reviewer=said.reviewer,
                       time=said.time)
    if isinstance(said, Verdict):
        return made.model_copy(update={"verdict": said.verdict, "reason": said.reason})
    return made.model_copy(update={"captions": list(said.captions)})
