"""The page New: a recipe as a form and as YAML, its plan beside it, and the start."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import Query, Request
from starlette.responses import Response

from terrasynth.errors import UserError, one_line
from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.filters import FILTERS
from terrasynth.synthesis.recipe import Recipe
from terrasynth.synthesis.service.context import Service, ServiceOf
from terrasynth.synthesis.service.page import recipe_form
from terrasynth.synthesis.service.page.pages import page_router, see_other
from terrasynth.synthesis.service.page.rendering import render
from terrasynth.synthesis.service.page.typed import Typed, TypedForm, first, key_of
from terrasynth.synthesis.service.records import Job
from terrasynth.synthesis.service.references import check_recipe, named
from terrasynth.synthesis.service.routes.models import models_of
from terrasynth.synthesis.service.routes.parameters import JobQuery
from terrasynth.synthesis.service.specs import NAME, JobSpec, PlanSpec, parse_spec
from terrasynth.synthesis.service.states import ENDED

router = page_router()


@dataclass
class _Draft:
    """What the form shows.

    Attributes:
        grows: Whether that is there already.
        mistake: What is wrong with it; "" for nothing.
    """

    tree: dict[str, Any]
    data_set: str
    grows: bool = False
    mistake: str = ""
    plan: Job | None = None


@router.get("/new")
def new(
    request: Request, service: ServiceOf, grown: Annotated[str, Query(alias="from", max_length=96)] = "",
    job: JobQuery = "", name: Annotated[str, Query(max_length=96)] = "",
    add: Annotated[str, Query(max_length=96)] = "",
) -> Response:
    """A new data set, the next step of one that is there, or a draft whose plan is being made."""
    if job:
        found = service.store.get(job)
        if found.kind not in ("plan", "run"):
            raise InputError(f"job {job} is no plan; begin at /new")
        tree = dict(found.spec["recipe"] or {})
        data_set = name or found.data_set or str(tree.get("name", ""))
        plan = found if found.kind == "plan" else None
        draft = _Draft(tree, data_set, data_set in service.data_sets.names(), plan=plan)
    elif grown:
        draft = _Draft(named(service.data_sets.recipe(grown).tree(), service.places), grown, grows=True)
        if add:
            recipe_form.add_filter(draft.tree, add)
    else:
        draft = _Draft(recipe_form.beginning(), _free_name(service))
    return _shown(request, service, draft)


@router.post("/new")
def change(request: Request, service: ServiceOf, form: TypedForm) -> Response:
    """What a button of the form asks for: look again, another filter, the plan, the start."""
    act, _, what = first(form, "act", "check").partition(":")
    data_set = first(form, "data_set").strip()
    draft = _Draft({}, data_set, data_set in service.data_sets.names())
    try:
        tree = recipe_form.from_yaml(first(form, "yaml")) if act == "yaml" else recipe_form.tree_of(form)
    except InputError as error:
        draft.mistake = str(error)
        if act == "yaml":
            draft.tree = recipe_form.beginning()
        return _shown(request, service, draft, pasted=first(form, "yaml"))
    draft.tree = tree = {"name": data_set, **tree} if data_set else tree
    if act == "add-filter":
        recipe_form.add_filter(tree, first(form, "kind"))
    elif act == "remove-filter":
        tree["filters"] = [each for place, each in enumerate(tree["filters"]) if str(place) != what]
    elif act in ("plan", "start"):
        return _begun(request, service, draft, act, form)
    return _shown(request, service, draft)


def _begun(request: Request, service: Service, draft: _Draft, act: str, form: Typed) -> Response:
    """The plan or the run of a draft as a job; the form again where it is not possible."""
    try:
        spec: JobSpec
        if act == "plan":
            where = draft.data_set if draft.grows else None
            spec = PlanSpec(kind="plan", recipe=draft.tree, data_set=where)
        else:
            if not re.fullmatch(NAME, draft.data_set):
                raise InputError(f"data set {draft.data_set[:40]!r} is no name of a folder; use letters, digits, "
                                 "blanks, '-', '_' and '.', with a letter or a digit first and no blank at the end")
            if draft.grows and first(form, "grows") != draft.data_set:
                raise InputError(f"data set {draft.data_set!r} is there already; take another name, or open it and "
                                 "choose to grow it")
            spec = parse_spec({"kind": "run", "data_set": draft.data_set, "recipe": draft.tree,
                               "shrink": "shrink" in form})
        job, _ = service.create(spec, priority=1) if act == "plan" else service.create(spec, key=key_of(form))
    except UserError as error:
        draft.mistake = one_line(error)
        return _shown(request, service, draft)
    if act == "plan":
        return see_other(f"/new?{urlencode({'job': job.id, 'name': draft.data_set})}")
    return see_other(f"/jobs/{job.id}")


def _shown(request: Request, service: Service, draft: _Draft, pasted: str = "") -> Response:
    tree, mistake = draft.tree, draft.mistake
    if not mistake:
        try:
            check_recipe(tree, service.places)
        except UserError as error:
            mistake = one_line(error)
    filters = [each if isinstance(each, Mapping) else {"kind": ""} for each in tree.get("filters", ())]
    classes, ticked = recipe_form.classes_shown(tree), _ticked(tree)
    known = {each.label for each in classes}
    plan, prompts = draft.plan, tree.get("prompts")
    return render(
        request, "new.html.j2", draft=draft, tree=tree, mistake=mistake, form=recipe_form, filters=filters,
        kinds=sorted(FILTERS), classes=classes, ticked=ticked,
        checked=isinstance(prompts, Mapping) and prompts.get("checks") is not None,
        further=", ".join(label for label in ticked or () if label not in known),
        yaml=pasted or recipe_form.as_yaml(tree), plan=plan, planning=plan is not None and plan.state not in ENDED,
        models=[each for each in models_of(service) if each.kind in ("generator", "lora")],
        many=len(ticked) if ticked is not None else len(classes) or None, asked=_asked(tree),
    )


def _ticked(tree: Mapping[str, Any]) -> list[str] | None:
    """The classes that a draft asks for; None for all."""
    prompts = tree.get("prompts")
    chosen = prompts.get("classes", "all") if isinstance(prompts, Mapping) else "all"
    return [str(each) for each in chosen] if isinstance(chosen, list) else None


def _asked(tree: Mapping[str, Any]) -> int | None:
    """Images of a class that are asked for, where that is one number."""
    try:
        wanted = Recipe.parse(tree).target.per_class
    except InputError:
        return None
    return wanted if isinstance(wanted, int) else None


def _free_name(service: Service) -> str:
    """A name that no data set has."""
    taken, number = set(service.data_sets.names()), 1
    while f"data-set-{number}" in taken:
        number += 1
    return f"data-set-{number}"
