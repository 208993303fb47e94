"""`/v1/models`: what draws and judges here, as clients of OpenAI's interface list models."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from fastapi import APIRouter
from fastapi import Path as InPath
from pydantic import BaseModel, Field

from terrasynth.errors import nearest
from terrasynth.eval.models.references import EMBEDDED_ROOT, embedded_models, is_captioner
from terrasynth.synthesis.core.embedded import WEIGHTS
from terrasynth.synthesis.service.context import Service, ServiceOf
from terrasynth.synthesis.service.problems import Problem
from terrasynth.synthesis.service.references import model_names

router = APIRouter(prefix="/v1/models", tags=["models"])
Kind = Literal["generator", "autoencoder", "evaluator", "captioner", "lora", "other"]
_LORA = ("pytorch_lora_weights.safetensors", "adapter_model.safetensors")


class Model(BaseModel):
    """A model.

    Attributes:
        id: What recipes and requests call it.
        object: Always "model".
        created: When its files were written, in seconds since 1970.
        owned_by: "terrasynth" where it is embedded, "local" where it lies inside the server's `--models`.
        kind: What it is for.
        bytes: Size of its files.
    """

    id: str = Field(examples=["ldm-ucm"])
    object: Literal["model"] = "model"
    created: int = Field(examples=[1767225600])
    owned_by: Literal["terrasynth", "local"]
    kind: Kind
    bytes: int = Field(examples=[31_000_000])


class ModelList(BaseModel):
    """All models that need no name on the Hub.

    Attributes:
        object: Always "list".
        data: Those that draw come first.
    """

    object: Literal["list"] = "list"
    data: list[Model]


@router.get("", summary="List models")
def list_models(service: ServiceOf) -> ModelList:
    """Embedded ones, and those inside the server's `--models`; any other may be named by its id on the Hub."""
    return ModelList(data=sorted(models_of(service), key=lambda model: (model.kind != "generator", model.id)))


@router.get("/{model_id:path}", summary="Look at a model")
def get(service: ServiceOf, model_id: Annotated[str, InPath(max_length=255)]) -> Model:
    """By its name."""
    found = {model.id: model for model in models_of(service)}
    if model_id not in found:
        raise Problem(404, "unknown_model", f"model {model_id[:80]!r} is neither embedded nor inside the server's "
                      f"--models{nearest(model_id[:80], found)}; /v1/models lists them")
    return found[model_id]


def models_of(service: Service) -> Iterator[Model]:
    """The models of a server."""
    for root, kind in ((WEIGHTS, "generator"), (EMBEDDED_ROOT, "evaluator")):
        for name, folder in embedded_models([root]).items():
            alone = kind == "generator" and not (folder / "model_index.json").is_file()
            shown = "autoencoder" if alone else "captioner" if is_captioner(folder) else kind
            yield _model(name, folder, "terrasynth", shown)  # type: ignore[arg-type]
    models = service.places.models
    for name in model_names(models):
        if models is not None:
            yield _model(name, models / name, "local", _kind(models / name))


def _kind(folder: Path) -> Kind:
    if (folder / "model_index.json").is_file():
        return "generator"
    if folder.suffix == ".safetensors" or any((folder / name).is_file() for name in _LORA):
        return "lora"
    if is_captioner(folder):
        return "captioner"
    return "evaluator" if (folder / "config.json").is_file() else "other"


def _model(name: str, folder: Path, owner: Literal["terrasynth", "local"], kind: Kind) -> Model:
    files = [folder] if folder.is_file() else [path for path in folder.rglob("*") if path.is_file()]
    stats = [path.stat() for path in files]
    return Model(id=name, created=int(max((stat.st_mtime for stat in stats), default=0)), owned_by=owner, kind=kind,
                 bytes=sum(stat.st_size for stat in stats))
