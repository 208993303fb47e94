"""`/v1/data-sets/{name}/rows`: rows by page and filter, their images, and how each came to be."""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal

from fastapi import APIRouter, Header, Query, Response
from pydantic import BaseModel, Field

from terrasynth.synthesis.service import row_queries
from terrasynth.synthesis.service.attempts import MEDIA_TYPES, RowProvenance, image_of, provenance_of, with_texts
from terrasynth.synthesis.service.context import ServiceOf
from terrasynth.synthesis.service.routes.parameters import DataSetName, RowId
from terrasynth.synthesis.service.row_queries import MOST_ROWS, Count, Row, RowQuery
from terrasynth.synthesis.service.row_tables import Verdict, VerdictName

router = APIRouter(prefix="/v1/data-sets/{name}", tags=["data sets"])
Word = Annotated[str | None, Query(max_length=255, pattern=r"^[^\x00]*$")]
Score = Annotated[float | None, Query(ge=-1e9, le=1e9, allow_inf_nan=False)]


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
    index, complete = service.data_sets.index(name)
    with index.reading() as connection:
        found = row_queries.page(connection, query)
    return Rows(rows=with_texts(service.data_sets, name, found.rows), next=found.next, texts_complete=complete)


@router.get("/rows/{row_id}", summary="How a row came to be")
def provenance(service: ServiceOf, name: DataSetName, row_id: RowId) -> RowProvenance:
    """Text, captions, seed, generator, and the command that draws it again."""
    return provenance_of(service.data_sets, name, row_id)


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
        return Counts(counts=row_queries.counts(connection))


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
        ScoredRows(label=label, verdict=verdict.word, rows=[rows.get(place, 0) for place in range(bins)])
        for (label, verdict), rows in found.rows.items()])
