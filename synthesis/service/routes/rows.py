"""`/v1/data-sets/{name}/rows`: rows by page and filter, their images, and how each came to be."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, Literal, cast

from fastapi import APIRouter, Header, Query, Response
from pydantic import BaseModel, Field

from terrasynth.synthesis.service import row_queries
from terrasynth.synthesis.service.attempts import MEDIA_TYPES, image_of, provenance_of, texts_of
from terrasynth.synthesis.service.context import Service, ServiceOf
from terrasynth.synthesis.service.routes.parameters import DataSetName, RowId
from terrasynth.synthesis.service.row_queries import MOST_ROWS, IndexedRow, RowQuery
from terrasynth.synthesis.service.row_tables import Verdict

router = APIRouter(prefix="/v1/data-sets/{name}", tags=["data sets"])
VerdictName = Literal["accepted", "rejected", "unjudged", "pending"]
Word = Annotated[str | None, Query(max_length=255, pattern=r"^[^\x00]*$")]
Score = Annotated[float | None, Query(ge=-1e9, le=1e9, allow_inf_nan=False)]


class Row(BaseModel):
    """An attempt.

    Attributes:
        id: Names it, its image and its provenance.
        label: Its class.
        k: Its place in its class.
        verdict: "accepted": in the data set; "rejected": by a filter, or withheld; "unjudged": not needed; "pending":
            its run has not decided yet, or waits for a person.
        reason: The filter that rejected it, or why it was not judged.
        text: What it was drawn from.
        scores: By filter, of those that were asked.
    """

    id: str = Field(examples=["0f1e2d3c4b5a6978"])
    label: str = Field(examples=["beach"])
    k: int = Field(examples=[0])
    verdict: VerdictName
    reason: str | None = Field(examples=["alignment"])
    text: str | None = Field(examples=["A beach beside a calm sea."])
    scores: dict[str, float] = Field(examples=[{"alignment": 0.31}])


class Rows(BaseModel):
    """A page of rows.

    Attributes:
        rows: At most as many as were asked for.
        next: What `after` has to be for the next page; null where this is the last.
        texts_complete: Whether a search for text sees all rows; a large run is looked through once, which takes time.
    """

    rows: list[Row]
    next: str | None = Field(examples=["class:99"])
    texts_complete: bool


class RowProvenance(BaseModel):
    """How an attempt came to be.

    Attributes:
        row: What became of it.
        captions: Ways to say what its text says.
        scene: What the text says is in the image.
        prompt_source: Name of the expander.
        seed: Of the noise.
        identity: Hash of what decides the images of the data set.
        generator: What decided the image beside prompt and seed.
        drawn: On what, and how, it was drawn.
        command: What draws it again.
    """

    row: Row
    captions: list[str]
    scene: dict[str, Any]
    prompt_source: str
    seed: int
    identity: str
    generator: dict[str, Any]
    drawn: dict[str, Any]
    command: str


class Count(BaseModel):
    """How many rows of a class came to one end.

    Attributes:
        label: The class.
        verdict: As of a row.
        reason: As of a row.
        rows: How many.
    """

    label: str
    verdict: VerdictName
    reason: str | None
    rows: int


class Counts(BaseModel):
    """How many rows came to which end, by class."""

    counts: list[Count]


class ScoredRows(BaseModel):
    """Rows of a class with one verdict, by score.

    Attributes:
        label: The class.
        verdict: As of a row.
        rows: How many lie in each bin.
    """

    label: str
    verdict: VerdictName
    rows: list[int]


class Scores(BaseModel):
    """The scores of a filter.

    Attributes:
        filter: Its name.
        low: The lowest score, where the first bin begins.
        high: The highest score, where the last bin ends.
        classes: The rows that it was asked about.
    """

    filter: str
    low: float
    high: float
    classes: list[ScoredRows]


@router.get("/rows", summary="Rows by page and filter")
def rows(
    service: ServiceOf, name: DataSetName, label: Word = None, verdict: VerdictName | None = None,
    reason: Word = None, text: Annotated[str | None, Query(min_length=1, max_length=200, pattern=r"^[^\x00]*$",
                                                           description="Case does not count.")] = None,
    filter: Annotated[str | None, Query(max_length=96, description="Of which `least`, `most` and the order `score` "
                                        "speak.")] = None,
    least: Score = None, most: Score = None,
    order: Annotated[Literal["class", "newest", "score"], Query(description="By class and attempt; the last drawn "
                                                                "first; or the lowest score first.")] = "class",
    after: Annotated[str | None, Query(max_length=96, description="The `next` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=MOST_ROWS)] = 100,
) -> Rows:
    """Reads no images, and takes as long for a large run as for a small one."""
    query = RowQuery(label, None if verdict is None else Verdict[verdict.upper()], reason, text, filter, least, most,
                     order, after, limit)
    return page_of(service, name, query)


def page_of(service: Service, name: str, query: RowQuery) -> Rows:
    """A page of rows of a data set.

    Args:
        service: Of the request.
        name: The data set.
        query: Which rows.

    Raises:
        UserError: There is no such data set, or the query speaks of what it has not.
        RunError: Nothing was drawn yet, or a file is damaged.
    """
    index, complete = service.data_sets.index(name)
    with index.reading() as connection:
        found = row_queries.page(connection, query)
    texts = texts_of(service.data_sets, name, found.rows)
    return Rows(rows=[row_of(each, texts.get(each.id)) for each in found.rows], next=found.next,
                texts_complete=complete)


def row_of(row: IndexedRow, text: str | None = None) -> Row:
    """A row as it is sent; `text` where the index has not read it."""
    return Row(id=row.id, label=row.label, k=row.k, verdict=verdict_name(row.verdict), reason=row.reason,
               text=row.text or text, scores=dict(row.scores))


@router.get("/rows/{row_id}", summary="How a row came to be")
def provenance(service: ServiceOf, name: DataSetName, row_id: RowId) -> RowProvenance:
    """Text, captions, seed, generator, and the command that draws it again."""
    found = provenance_of(service.data_sets, name, row_id)
    return RowProvenance(
        row=row_of(found.row), captions=list(found.captions), scene=found.scene, prompt_source=found.prompt_source,
        seed=found.seed, identity=found.identity, generator=found.generator, drawn=found.drawn, command=found.command)


@router.get("/images/{row_id}", summary="The image of a row", response_class=Response,
            responses={200: {"content": {kind: {} for kind in MEDIA_TYPES.values()}},
                       304: {"description": "The client has it"}})
def image(
    service: ServiceOf, name: DataSetName, row_id: RowId,
    known: Annotated[str | None, Header(alias="If-None-Match", max_length=200)] = None,
) -> Response:
    """Its stored bytes, as they were drawn."""
    content, kind = image_of(service.data_sets, name, row_id)
    tag = f'"{hashlib.sha256(content).hexdigest()[:24]}"'
    headers = {"ETag": tag, "Cache-Control": "private, max-age=3600"}
    if known == tag:
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=kind, headers=headers)


@router.get("/counts", summary="How many rows came to which end")
def counts(service: ServiceOf, name: DataSetName) -> Counts:
    """By class, verdict and reason."""
    index, _ = service.data_sets.index(name)
    with index.reading() as connection:
        found = row_queries.counts(connection)
    return Counts(counts=[Count(label=each.label, verdict=verdict_name(each.verdict), reason=each.reason,
                                rows=each.rows) for each in found])


@router.get("/scores", summary="The scores of a filter")
def scores(
    service: ServiceOf, name: DataSetName,
    filter: Annotated[str, Query(min_length=1, max_length=96, description="Name of a filter.")],
    bins: Annotated[int, Query(ge=1, le=1000, description="Of equal width, from the lowest score on.")] = 100,
) -> Scores:
    """How many rows of each class lie where, for charts of thresholds."""
    index, _ = service.data_sets.index(name)
    with index.reading() as connection:
        found = row_queries.histogram(connection, filter, bins)
    return Scores(filter=filter, low=found.low, high=found.high, classes=[
        ScoredRows(label=label, verdict=verdict_name(verdict), rows=[rows.get(place, 0) for place in range(bins)])
        for (label, verdict), rows in found.rows.items()])


def verdict_name(verdict: Verdict) -> VerdictName:
    """A verdict as it is sent."""
    return cast(VerdictName, verdict.name.lower())
