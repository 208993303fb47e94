"""The page Try: four images of a text, and the words in it that the model does not know."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import Path, Query, Request
from starlette.responses import Response

from terrasynth.errors import UserError, one_line
from terrasynth.synthesis.service.context import Service, ServiceOf
from terrasynth.synthesis.service.files import read_file
from terrasynth.synthesis.service.page import recipe_form
from terrasynth.synthesis.service.page.kept_prompts import MOST_BYTES, NAME, keep_prompt, kept_file, kept_prompts
from terrasynth.synthesis.service.page.pages import page_router, see_other
from terrasynth.synthesis.service.page.rendering import render
from terrasynth.synthesis.service.page.schema_fields import fields_of
from terrasynth.synthesis.service.page.typed import TypedForm, first, key_of
from terrasynth.synthesis.service.page.words import reading
from terrasynth.synthesis.service.problems import Problem
from terrasynth.synthesis.service.records import Job
from terrasynth.synthesis.service.routes.models import models_of
from terrasynth.synthesis.service.routes.parameters import JobId, JobQuery
from terrasynth.synthesis.service.specs import LARGEST_SEED, DrawSpec, parse_spec
from terrasynth.synthesis.service.states import ENDED

IMAGES, SHOWN_KEPT = 4, 20
NAMES = ("text", "label", "model", "lora", "steps", "guidance", "seed")
Word = Annotated[str, Query(max_length=4096)]
router = page_router()


@router.get("/try")
def show(
    request: Request, service: ServiceOf, text: Word = "", label: Word = "", model: Word = "ldm-ucm", lora: Word = "",
    steps: Word = "", guidance: Word = "", seed: Word = "0", job: JobQuery = "",
) -> Response:
    """The form, and the images of a job that draws."""
    given = dict(zip(NAMES, (text, label, model, lora, steps, guidance, seed), strict=True))
    found = service.store.get(job) if job else None
    if found is not None:
        if found.kind != "draw":
            raise Problem(404, "unknown_job", f"job {job} draws no images to look at; begin at /try")
        given = _given(found) if not text else given
    return _shown(request, service, given, found)


@router.post("/try")
def draw(request: Request, service: ServiceOf, form: TypedForm) -> Response:
    """Draw, keep the prompt, or only look at its words."""
    given = {name: first(form, name).strip() for name in NAMES}
    shown, act = first(form, "job"), first(form, "act", "look")
    try:
        if act == "look":
            return _shown(request, service, given, service.store.get(shown) if shown else None)
        if act == "keep":
            keep_prompt(service.settings, {"text": given["text"], "label": given["label"]})
            return see_other(f"/try?{urlencode({**given, 'job': shown})}")
        job, _ = service.create(parse_spec(_spec(given)), priority=2, key=key_of(form))
    except UserError as error:
        return _shown(request, service, given, service.store.get(shown) if shown else None, one_line(error))
    return see_other(f"/try?job={job.id}")


@router.get("/try/{job_id}/{number}")
def image(request: Request, service: ServiceOf, job_id: JobId, number: Annotated[int, Path(ge=0, le=999)]) -> Response:
    """One image that was tried, large, with the command that draws it again."""
    job = service.store.get(job_id)
    if job.kind != "draw" or number >= len(job.spec["prompts"]):
        raise Problem(404, "unknown_image", f"job {job_id} has no image {number}")
    spec = job.spec
    return render(request, "tried.html.j2", job=job, number=number, text=spec["prompts"][number],
                  seed=spec["seeds"][number], spec=spec, command=_command(spec, number))


@router.get("/kept-prompts.jsonl")
def kept(service: ServiceOf) -> Response:
    """The prompts that were kept, as the expander `file` reads them."""
    content = read_file(kept_file(service.settings), MOST_BYTES) or b""
    return Response(content, media_type="application/jsonl",
                    headers={"Content-Disposition": f'attachment; filename="{NAME}"'})


def _shown(
    request: Request, service: Service, given: Mapping[str, str], job: Job | None, mistake: str = "",
) -> Response:
    looked = reading(given["text"], given["label"], given["model"], given["lora"], service.places)
    models = list(models_of(service))
    drawing = job is not None and job.state not in ENDED
    numbers = {field.name: field for field in fields_of(DrawSpec)}
    tree = {"prompts": {"expander": "file", "path": NAME}}
    return render(
        request, "try.html.j2", given=given, job=job, drawing=drawing, looked=looked, mistake=mistake,
        generators=[each.id for each in models if each.kind == "generator"],
        loras=[each.id for each in models if each.kind == "lora"], fields=numbers,
        labels=[each.label for each in recipe_form.scene_classes("ucm", 0)], images=IMAGES,
        withheld=(job.result or {}).get("withheld", ()) if job else (),
        kept=kept_prompts(service.settings)[:SHOWN_KEPT],
        named=service.places.data is not None, kept_yaml=recipe_form.as_yaml(tree),
    )


def _spec(given: Mapping[str, str]) -> dict[str, Any]:
    """A job that draws, as plain data; what is no number stays text, of which the spec says what is wrong."""
    numbers = {field.name: field for field in fields_of(DrawSpec)}
    seed = int(given["seed"]) if given["seed"].isdecimal() else given["seed"] or 0
    spec: dict[str, Any] = {"kind": "draw", "model": given["model"], "prompts": [given["text"]] * IMAGES}
    further = range(IMAGES)
    spec["seeds"] = [(seed + more) % LARGEST_SEED if isinstance(seed, int) else seed for more in further]
    spec |= {name: numbers[name].read(given[name]) for name in ("steps", "guidance") if given[name]}
    if given["lora"]:
        spec["lora"] = given["lora"]
    if given["label"]:
        spec["labels"] = [given["label"]] * IMAGES
    return spec


def _given(job: Job) -> dict[str, str]:
    """The form that a job came from."""
    spec = job.spec
    found = {"text": spec["prompts"][0], "label": next(iter(spec["labels"]), ""), "model": spec["model"],
             "lora": spec["lora"], "steps": spec["steps"], "guidance": spec["guidance"], "seed": spec["seeds"][0]}
    return {name: "" if value is None else str(value) for name, value in found.items()}


def _command(spec: Mapping[str, Any], number: int) -> str:
    words = ["terrasynth", "generate", f"--model={spec['model']}", f"--seed={spec['seeds'][number]}"]
    words += [f"--{name}={spec[name]}" for name in ("lora", "steps", "guidance") if spec[name] is not None]
    words += [f"--class={spec['labels'][number]}"] if spec["labels"] else []
    return shlex.join([*words, "--out=again", "--", spec["prompts"][number]])
