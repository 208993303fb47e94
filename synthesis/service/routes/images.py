"""`/v1/images/generations`, as clients of OpenAI's interface ask for images.

Source: https://platform.openai.com/docs/api-reference/images/create. What only their own models have is refused rather
than passed over, unless it asks for what is done anyway. `seed`, `steps` and `guidance` are ours.
"""

from __future__ import annotations

import base64
import re
import secrets
from contextlib import suppress
from typing import Annotated, Literal

import anyio
import anyio.to_thread
from fastapi import APIRouter, Body, Request
from pydantic import BaseModel, ConfigDict, Field

from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.core.sampling import MOST_GUIDANCE, MOST_STEPS
from terrasynth.synthesis.recipe import MOST_PIXELS, MOST_TEXT
from terrasynth.synthesis.service import places
from terrasynth.synthesis.service.context import Service, ServiceOf
from terrasynth.synthesis.service.files import read_file
from terrasynth.synthesis.service.problems import Problem
from terrasynth.synthesis.service.records import ConflictError, Job
from terrasynth.synthesis.service.routes.jobs import LARGEST_IMAGE
from terrasynth.synthesis.service.routes.parameters import Wait
from terrasynth.synthesis.service.short_jobs import result_of
from terrasynth.synthesis.service.specs import LARGEST_SEED, DrawSpec

MOST_IMAGES = 16
router = APIRouter(prefix="/v1/images", tags=["images"])


class ImagesRequest(BaseModel):
    """What is drawn.

    Attributes:
        model: Model reference.
        prompt: What is drawn.
        n: How many images; their seeds follow each other.
        size: "WIDTHxHEIGHT" in pixels; "auto" for the model's own.
        response_format: Images come in the answer; there are no addresses of them.
        seed: Of the first image; null for one by chance.
        steps: Denoising steps; null for the model's own.
        guidance: Guidance scale; null for the model's own.
        lora: LoRA for the model.
        quality: Taken for clients that always send it; there is one quality.
        background: As `quality`.
        moderation: As `quality`.
        output_format: Images are PNG.
        output_compression: PNG is lossless: 100.
        stream: The answer comes at once.
        user: Taken, and not kept.
    """

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, json_schema_extra={"examples": [
        {"model": "ldm-ucm", "prompt": "A beach beside a calm sea.", "n": 2, "size": "128x128", "seed": 7}]})

    model: str = Field(default="ldm-ucm", min_length=1, max_length=MOST_TEXT)
    prompt: str = Field(min_length=1, max_length=MOST_TEXT)
    n: int | None = Field(default=1, ge=1, le=MOST_IMAGES)
    size: Annotated[str, Field(pattern=r"^(auto|[1-9][0-9]{0,4}x[1-9][0-9]{0,4})$")] | None = "auto"
    response_format: Literal["b64_json"] | None = "b64_json"
    seed: int | None = Field(default=None, ge=0, lt=LARGEST_SEED - MOST_IMAGES)
    steps: int | None = Field(default=None, gt=0, le=MOST_STEPS)
    guidance: float | None = Field(default=None, ge=0, le=MOST_GUIDANCE)
    lora: str | None = Field(default=None, min_length=1, max_length=MOST_TEXT)
    quality: Literal["auto", "standard"] | None = None
    background: Literal["auto", "opaque"] | None = None
    moderation: Literal["auto", "low"] | None = None
    output_format: Literal["png"] | None = None
    output_compression: Literal[100] | None = None
    stream: Literal[False] | None = None
    user: str | None = Field(default=None, max_length=MOST_TEXT)


class DrawnImage(BaseModel):
    """An image.

    Attributes:
        b64_json: A PNG in base 64.
        seed: Draws it again.
    """

    b64_json: str
    seed: int


class ImagesAnswer(BaseModel):
    """Images.

    Attributes:
        created: When, in seconds since 1970.
        data: One for each that was asked for.
        output_format: Always "png".
        size: Width and height in pixels.
        job: Id of the job that drew them.
    """

    created: int
    data: list[DrawnImage]
    output_format: Literal["png"] = "png"
    size: str
    job: str


@router.post("/generations", summary="Draw images")
async def generations(
    service: ServiceOf, http: Request, request: Annotated[ImagesRequest, Body()], wait: Wait = None,
) -> ImagesAnswer:
    """Answers when they are drawn; a client that leaves before cancels them."""
    spec = _spec(request)
    job, _ = await anyio.to_thread.run_sync(service.create, spec)
    found: list[Job] = []
    async with anyio.create_task_group() as tasks:
        async def watch() -> None:
            while not await http.is_disconnected():
                await anyio.sleep(1)
            tasks.cancel_scope.cancel()

        tasks.start_soon(watch)
        with suppress(Problem):  # raised below, outside of the group, which would wrap it
            found.append(await result_of(service, job, wait))
        tasks.cancel_scope.cancel()
    ended = found[0] if found else await result_of(service, job, 0)
    if ended.result is None:
        with suppress(ConflictError):
            await anyio.to_thread.run_sync(service.store.cancel, job.id)
        raise Problem(429, "slow", f"the images were not drawn in time, so job {job.id} was canceled; ask for fewer, "
                      "or wait longer (?wait=SECONDS)", {"Retry-After": "30"})
    return await anyio.to_thread.run_sync(_answer, service, ended, spec)


def _spec(request: ImagesRequest) -> DrawSpec:
    count = request.n or 1
    seed = secrets.randbits(31) if request.seed is None else request.seed
    size = re.fullmatch("([0-9]+)x([0-9]+)", request.size or "")
    width, height = (int(size[1]), int(size[2])) if size else (None, None)
    if max(width or 0, height or 0) > MOST_PIXELS:
        raise InputError(f"size {request.size!r} is beyond {MOST_PIXELS} pixels; ask for a smaller one, or for auto")
    return DrawSpec(kind="draw", model=request.model, prompts=[request.prompt] * count,
                    seeds=[seed + number for number in range(count)], steps=request.steps, guidance=request.guidance,
                    lora=request.lora, width=width, height=height)


def _answer(service: Service, job: Job, spec: DrawSpec) -> ImagesAnswer:
    folder, result = places.draws_folder(service.settings.runs, job.id), job.result or {}
    images = [(read_file(folder / f"{number}.png", LARGEST_IMAGE), seed) for number, seed in enumerate(spec.seeds)]
    if any(image is None for image, _ in images):
        raise Problem(422, "withheld", f"the model withheld images of job {job.id}; ask for another prompt or seed")
    return ImagesAnswer(
        created=int((job.ended or job.created).timestamp()), job=job.id, size=f"{result['width']}x{result['height']}",
        data=[DrawnImage(b64_json=base64.b64encode(image or b"").decode(), seed=seed) for image, seed in images])
