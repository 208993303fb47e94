"""The page Publish: evaluate, export and push, with the licence as it is inherited and the card as it will be read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from fastapi import Request
from starlette.responses import Response

from terrasynth.errors import UserError, one_line
from terrasynth.eval.evaluation.reference import shipped_references
from terrasynth.synthesis.cards.licence_sources import load_licence
from terrasynth.synthesis.core import layout
from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.core.plain_yaml import YamlError, parse_yaml
from terrasynth.synthesis.export.registry import exporter_names, load_exporter
from terrasynth.synthesis.export.splits import parse_splits
from terrasynth.synthesis.service.context import Service, ServiceOf
from terrasynth.synthesis.service.data_sets import DataSet
from terrasynth.synthesis.service.files import read_file
from terrasynth.synthesis.service.page.markdown import card_html
from terrasynth.synthesis.service.page.pages import address_of, page_router, see_other
from terrasynth.synthesis.service.page.rendering import render
from terrasynth.synthesis.service.page.typed import TypedForm, key_of
from terrasynth.synthesis.service.places import export_folder
from terrasynth.synthesis.service.problems import Problem
from terrasynth.synthesis.service.records import Job
from terrasynth.synthesis.service.routes.parameters import DataSetName, JobQuery
from terrasynth.synthesis.service.specs import parse_spec
from terrasynth.synthesis.service.states import ENDED, State

MOST_CARD, SHOWN_JOBS = 2**20, 50
KINDS = ("push", "export", "evaluate")
LICENCE = ("id", "name", "link", "reason")
router = page_router()


@router.get("/data-sets/{name}/publish")
def show(request: Request, service: ServiceOf, name: DataSetName, job: JobQuery = "") -> Response:
    """The forms, and how the last job ended."""
    found = service.store.get(job) if job else None
    if found is not None and (found.kind not in KINDS or found.data_set != name):
        raise Problem(404, "unknown_job", f"job {job} neither judges nor publishes data set {name!r}")
    return _shown(request, service, name, found, {})


@router.post("/data-sets/{name}/publish")
def begin(request: Request, service: ServiceOf, name: DataSetName, form: TypedForm) -> Response:
    """Evaluate, export, look at what a push would send, or push."""
    given = {key: values[0].strip() for key, values in form.items()}
    act = given.get("act", "")
    try:
        makers = {"evaluate": _evaluate, "export": _export, "dry-run": _push, "push": _push}
        if act not in makers:
            raise InputError(f"{act[:40]!r} is nothing that can be done here; send {', '.join(makers)}")
        job, _ = service.create(parse_spec(makers[act](name, given)), key=key_of(form))
    except UserError as error:
        return _shown(request, service, name, None, given, one_line(error))
    return see_other(f"{address_of(name)}/publish?job={job.id}")


def _shown(
    request: Request, service: Service, name: str, job: Job | None, given: Mapping[str, str], mistake: str = "",
) -> Response:
    about, folder = service.data_sets.one(name), service.data_sets.folder(name)
    card = read_file(folder / layout.CARD, MOST_CARD)
    if job is None:
        jobs = [each for kind in KINDS for each in service.store.list(kind=kind, data_set=name, limit=1)]
        job = max(jobs, key=lambda each: each.id, default=None)
    return render(
        request, "publish.html.j2", data_set=about, job=job, working=job is not None and job.state not in ENDED,
        given=defaultdict(str, given), mistake=mistake, licence=load_licence(folder), formats=_formats(),
        exports=_exports(service, name), references=shipped_references(),
        card=card_html(card.decode(errors="replace"), name) if card else None,
        licence_words=licence_words, can=card is not None and not _is_run(service, about),
    )


def _is_run(service: Service, about: DataSet) -> bool:
    """Whether a run is writing there, or will; exports and pushes change nothing."""
    job = service.data_sets.working(about.name)
    return about.state in ("busy", "damaged") or (job is not None and job.kind == "run")


def _formats() -> list[tuple[str, str]]:
    """The formats by name, each with what it cannot hold; those whose package is not installed are left out."""
    found = []
    for name in exporter_names():
        try:
            found.append((name, load_exporter(name).loses))
        except UserError:
            continue
    return found


def _exports(service: Service, name: str) -> list[str]:
    """The exports of a data set that are there."""
    jobs = service.store.list(kind="export", data_set=name, state=State.SUCCEEDED, limit=SHOWN_JOBS)
    made = dict.fromkeys(str(job.spec["out"]) for job in jobs)
    return [each for each in made if export_folder(service.settings.runs, each).is_dir()]


def _export(name: str, given: Mapping[str, str]) -> dict[str, Any]:
    spec: dict[str, Any] = {"kind": "export", "data_set": name, "format": given.get("format", ""),
                            "out": given.get("out") or f"{name}-{given.get('format', '')}",
                            "ignore_review": "ignore-review" in given}
    if given.get("splits"):
        spec["splits"] = parse_splits(given["splits"])
    if given.get("seed"):
        spec["seed"] = int(given["seed"]) if given["seed"].isdecimal() and len(given["seed"]) < 20 else given["seed"]
    if given.get("options"):
        try:
            spec["options"] = parse_yaml(given["options"])
        except YamlError as error:
            raise InputError(f"options {given['options'][:60]!r} are no YAML: {error}; write `key: value`, one a line"
                             ) from error
    return spec | _licence(given)


def _evaluate(name: str, given: Mapping[str, str]) -> dict[str, Any]:
    return {"kind": "evaluate", "data_set": name} | {
        key: given[key] for key in ("reference", "real", "split") if given.get(key)}


def _push(name: str, given: Mapping[str, str]) -> dict[str, Any]:
    act = given["act"]
    spec: dict[str, Any] = {"kind": "push", "data_set": name, "repo": given.get("repo", ""),
                            "dry_run": act == "dry-run", "private": "private" in given, "replace": "replace" in given,
                            "ignore_review": "ignore-review" in given}
    spec["offline"] = act == "dry-run" and "offline" in given
    spec |= {key: given[key] for key in ("export", "revision") if given.get(key)}
    return spec | _licence(given)


def _licence(given: Mapping[str, str]) -> dict[str, Any]:
    stated = {key: given[f"licence-{key}"] for key in LICENCE if given.get(f"licence-{key}")}
    return {"licence": stated} if stated else {}


def licence_words(licence: Mapping[str, Any]) -> str:
    """A licence of a result in words.

    Args:
        licence: As a job that publishes gives it.
    """
    named = str(licence["licence_name"] or licence["licence"])
    if licence["missing"]:
        return f"not stated: {licence['missing']}"
    return f"{named} ({'stated by ' + str(licence['stated_by']) if licence['stated_by'] else 'inherited'})"
