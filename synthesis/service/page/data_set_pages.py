"""The pages of data sets: all of them, one with its images as they come, and one image."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal
from urllib.parse import urlencode

from fastapi import Query, Request
from starlette.responses import Response

from terrasynth.errors import UserError, one_line
from terrasynth.synthesis.core import layout
from terrasynth.synthesis.core.errors import RunError
from terrasynth.synthesis.recipe import Recipe
from terrasynth.synthesis.service.attempts import RowProvenance, indexed_row, provenance_of
from terrasynth.synthesis.service.context import Service, ServiceOf
from terrasynth.synthesis.service.data_sets import BusyError, DataSet
from terrasynth.synthesis.service.page.pace import pace_of
from terrasynth.synthesis.service.page.pages import address_of, page_router, see_other
from terrasynth.synthesis.service.page.passing import bounds, threshold_of, thresholds
from terrasynth.synthesis.service.page.rendering import render
from terrasynth.synthesis.service.page.typed import TypedForm, first, key_of
from terrasynth.synthesis.service.problems import Problem
from terrasynth.synthesis.service.records import Job, StoredEvent
from terrasynth.synthesis.service.routes.parameters import DataSetName, JobQuery, RowId
from terrasynth.synthesis.service.row_queries import Count, RowPage, RowQuery, counts, page
from terrasynth.synthesis.service.row_tables import Verdict
from terrasynth.synthesis.service.specs import parse_spec
from terrasynth.synthesis.service.states import ENDED, State

STRIP, SHOWN_JOBS = 5, 20
Text = Annotated[str, Query(max_length=200)]
router = page_router()


@dataclass
class _Class:
    """A line of the table of classes."""

    label: str
    accepted: int = 0
    attempted: int = 0
    target: int = 0
    reasons: dict[str, int] = field(default_factory=dict)


@router.get("/")
def data_sets(request: Request, service: ServiceOf) -> Response:
    """All data sets, with state and progress."""
    found = service.data_sets.all()
    running = next((each.job for each in found if each.state in ("running", "queued")), None)
    names = {each.name for each in found}
    jobs = [job for state in (State.RUNNING, State.QUEUED, State.FAILED, State.SET_ASIDE)
            for job in service.store.list(state=state, limit=SHOWN_JOBS)]
    waiting = [job for job in jobs if job.state not in ENDED or job.data_set not in names]
    following = running or next((job.id for job in waiting if job.state not in ENDED), None)
    return render(request, "data_sets.html.j2", found=[(each, _strip(service, each)) for each in found],
                  following=following, waiting=waiting, runs=service.settings.runs.name)


@router.get("/data-sets/{name}")
def data_set(
    request: Request, service: ServiceOf, name: DataSetName, label: Text = "", verdict: Text = "", reason: Text = "",
    text: Text = "", order: Literal["class", "newest"] = "newest", after: Text = "",
) -> Response:
    """A data set: how far it is, class by class, and its images."""
    about = service.data_sets.one(name)
    if verdict and verdict.upper() not in Verdict.__members__:
        raise Problem(422, "invalid_input", f"verdict {verdict[:40]!r} is none; take "
                      f"{', '.join(each.name.lower() for each in Verdict)}")
    query = RowQuery(label or None, Verdict[verdict.upper()] if verdict else None, reason or None, text or None,
                     order=order, after=after or None, limit=60)
    jobs = list(service.store.list(data_set=name, limit=SHOWN_JOBS))
    job = next((each for each in jobs if each.id == about.job), jobs[0] if jobs else None)
    working = job is not None and job.state not in ENDED
    rows, counted, problem = _rows(service, about, query)
    classes = _classes(about, counted)
    progress = job.progress if job and working and job.kind == "run" else None
    begun = service.store.events(job.id, 0, 10) if job and working else []
    missing = max(0, (about.target or 0) - about.accepted)
    shown = {key: value for key, value in (("label", label), ("verdict", verdict), ("reason", reason), ("text", text),
                                           ("order", order)) if value}
    return render(
        request, "run.html.j2", data_set=about, job=job, working=working, jobs=jobs, classes=classes,
        labels=[each.label for each in classes], judged=sum(each.attempted for each in classes),
        reasons=sorted({name for each in classes for name in each.reasons}), rows=rows.rows, rows_problem=problem,
        query=query, verdict=verdict, pace=pace_of(progress, missing), notes=_notes(begun),
        following_page=urlencode({**shown, "after": rows.next}) if rows.next else "",
        has_report=(service.data_sets.folder(name) / layout.REPORT_PAGE).is_file(), runs=service.settings.runs.name,
        name_pattern=_literally(name),
    )


@router.get("/data-sets/{name}/rows/{row_id}")
def row(
    request: Request, service: ServiceOf, name: DataSetName, row_id: RowId, job: JobQuery = "",
) -> Response:
    """One image, with what it was made from, what filters said, and the real image that a job found nearest to it."""
    found = service.store.get(job) if job else None
    if found is not None and (found.kind, found.data_set) != ("nearest", name):
        raise Problem(404, "unknown_job", f"job {job} looks for nothing in data set {name!r}")
    return _row(request, service, name, row_id, found)


@router.post("/data-sets/{name}/rows/{row_id}")
def look_for_nearest(
    request: Request, service: ServiceOf, name: DataSetName, row_id: RowId, form: TypedForm,
) -> Response:
    """Look for the real image that it is most like."""
    asked = indexed_row(service.data_sets, name, row_id)
    try:
        spec = parse_spec({"kind": "nearest", "data_set": name, "label": asked.label, "k": asked.k,
                           "real": first(form, "real").strip(), "split": first(form, "split").strip() or "train"})
        job, _ = service.create(spec, priority=2, key=key_of(form))
    except UserError as error:
        return _row(request, service, name, row_id, None, one_line(error))
    return see_other(f"{address_of(name)}/rows/{row_id}?job={job.id}")


def _row(
    request: Request, service: Service, name: str, row_id: str, job: Job | None, mistake: str = "",
) -> Response:
    made, recipe = provenance_of(service.data_sets, name, row_id), service.data_sets.recipe(name)
    known = thresholds(service.data_sets.folder(name))
    values = {each.filter: (each, threshold_of(known, each.filter, made.row.label)) for each in bounds(recipe)}
    near_copy = next((each for each in recipe.filters if each.kind == "near_copy"), None)
    return render(
        request, "row.html.j2", data_set=name, row=made.row, made=made, settings=_settings(recipe),
        passing={key: bound.in_words(value) for key, (bound, value) in values.items() if value is not None},
        nearest=made.row.scores.get("near_copy"), nearest_among=near_copy.describe() if near_copy else "",
        try_query=_try(recipe, made), job=job, looking=job is not None and job.state not in ENDED, mistake=mistake,
        has_data=service.places.data is not None,
    )


def _try(recipe: Recipe, made: RowProvenance) -> str:
    generator = recipe.generator
    given = {"text": made.row.text, "seed": made.seed, "model": generator.model, "lora": generator.lora,
             "steps": generator.steps, "guidance": generator.guidance}
    return urlencode({key: value for key, value in given.items() if value is not None})


def _settings(recipe: Recipe) -> str:
    generator = recipe.generator
    parts = [generator.model, f"LoRA {generator.lora}" if generator.lora else "",
             f"{generator.steps} steps" if generator.steps else "",
             f"guidance {generator.guidance:g}" if generator.guidance is not None else ""]
    return ", ".join(part for part in parts if part)


def _strip(service: Service, about: DataSet) -> list[str]:
    """Ids of some accepted images, of different classes first."""
    if not about.drawn:
        return []
    labels: list[str | None] = [each.label for each in about.classes] or [None]
    found: list[str] = []
    try:
        index, _ = service.data_sets.index(about.name)
        with index.reading() as connection:
            each = -(-STRIP // len(labels))
            for label in labels[:STRIP]:
                query = RowQuery(label, Verdict.ACCEPTED, limit=each)
                found += [row.id for row in page(connection, query).rows] if label in _drawn(connection) else []
    except RunError:
        return []  # its own page says what is wrong
    return found[:STRIP]


def _drawn(connection: sqlite3.Connection) -> set[str | None]:
    return {None, *(each.label for each in counts(connection))}


def _rows(service: Service, about: DataSet, query: RowQuery) -> tuple[RowPage, list[Count], str]:
    """A page of rows, how many there are of which kind, and why there are none."""
    if not about.drawn:
        return RowPage((), None), [], ""
    try:
        index, complete = service.data_sets.index(about.name)
    except BusyError as error:
        return RowPage((), None), [], str(error)
    with index.reading() as connection:
        found = page(connection, query), counts(connection)
    return *found, "" if complete or query.text is None else "Texts are still being read: there may be more."


def _classes(about: DataSet, counted: list[Count]) -> list[_Class]:
    found = {each.label: _Class(each.label, each.accepted, each.attempted, each.target) for each in about.classes}
    known = bool(found)
    for each in counted:
        of_class = found.setdefault(each.label, _Class(each.label))
        if each.verdict is Verdict.REJECTED and each.reason is not None:
            of_class.reasons[each.reason] = of_class.reasons.get(each.reason, 0) + each.rows
        if not known and each.verdict in (Verdict.ACCEPTED, Verdict.REJECTED):
            of_class.attempted += each.rows
            of_class.accepted += each.rows if each.verdict is Verdict.ACCEPTED else 0
    return list(found.values())


def _notes(first: Sequence[StoredEvent]) -> list[str]:
    """What a job said before its first image."""
    return [str(note) for each in first if each.type == "planned" for note in each.data.get("notes", ())]


def _literally(name: str) -> str:
    return "".join(f"\\{letter}" if letter in ".-" else letter for letter in name)

