"""Presets: what the YAML files beside this module say, checked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from terrasynth.errors import nearest
from terrasynth.prompts.settings import first_mistake
from terrasynth.synthesis.core.overrides import put
from terrasynth.synthesis.core.plain_yaml import YamlError, read_yaml
from terrasynth.training.errors import InputError

FOLDER = Path(__file__).parent / "presets"
WORK = ".training"
"""Folder in the result of a tuning for what belongs to the training and not to the model."""
Settings = TypeVar("Settings", bound=BaseModel)


class Stage(BaseModel):
    """One training of a chain: a preset with what is set otherwise.

    Attributes:
        preset: Name of the preset.
        minutes: Time budget, and the share of one that is given for the whole chain.
        load_size: In place of the preset's own.
        needs: Added to the preset's own.
        model: Added to the preset's own.
        loop: Added to the preset's own.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    preset: str
    minutes: float | None = Field(default=None, gt=0)
    load_size: int | None = None
    needs: dict[str, str] = {}
    model: dict[str, Any] = {}
    loop: dict[str, Any] = {}


class FinishSettings(BaseModel):
    """How much is measured at the end of a chain.

    Attributes:
        guidance: Guidance scales at which the generator is measured.
        zero_shot_per_class: Generated images of each class that a classifier is trained on.
        zero_shot_steps: Steps of that classifier.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    guidance: tuple[float, ...] = (1.0, 1.5, 2.0, 3.0, 5.0)
    zero_shot_per_class: int = Field(default=30, gt=1)
    zero_shot_steps: int = Field(default=400, gt=0)


class Preset(BaseModel):
    """What to train.

    Attributes:
        description: What it trains, on one line.
        family: Kind of model.
        load_size: Side in pixels at which images are kept in memory; of no meaning to a family that reads views of
            them from disk.
        needs: Role -> model that must exist before: a stage of the same chain, an embedded name, or a folder.
        model: Settings of the family.
        loop: Settings of the loop.
        stages: For a chain: the trainings, in order.
        finish: For a chain: what is measured at its end.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    description: str
    family: Literal["scene", "clip", "autoencoder", "decoder", "diffusion", "vq", "hopfield", "ablations", "finetune",
                    "distil", "control", "autoencoder-distil", "latent-vq", "segmenter", "captioner", "judge", "chain"]
    load_size: int = Field(default=128, gt=0)
    needs: dict[str, str] = {}
    model: dict[str, Any] = {}
    loop: dict[str, Any] = {}
    stages: tuple[Stage, ...] = ()
    finish: FinishSettings = FinishSettings()

    def changed(self, stage: Stage) -> Preset:
        """This preset with what a stage sets otherwise."""
        return self.model_copy(update={
            "needs": {**self.needs, **stage.needs},
            "model": {**self.model, **stage.model},
            "loop": {**self.loop, **stage.loop, **({"minutes": stage.minutes} if stage.minutes else {})},
            **({"load_size": stage.load_size} if stage.load_size else {}),
        })


def presets() -> dict[str, str]:
    """Name -> one-line description of every preset."""
    return {path.stem: load_preset(path.stem).description for path in sorted(FOLDER.glob("*.yaml"))}


def load_preset(name: str, overrides: Mapping[str, Any] | None = None) -> Preset:
    """Read a preset by name, or a YAML file of one's own by path.

    Args:
        name: A name of `presets()`, or a path that ends in `.yaml`.
        overrides: Dotted key -> value, for instance {"loop.seed": 1}.

    Raises:
        InputError: There is no such preset, or a key or value in it is wrong
            (`terrasynth.synthesis.core.errors.InputError` for a key that leads below a plain value).
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else FOLDER / f"{name}.yaml"
    if not path.is_file():
        known = sorted(each.stem for each in FOLDER.glob("*.yaml"))
        raise InputError(f"preset {name!r} does not exist{nearest(name, known)}; there are: {', '.join(known)}")
    try:
        content = read_yaml(path)
    except (OSError, YamlError) as error:
        raise InputError(f"preset {name!r} cannot be read: {error}; it has to be YAML") from error
    if not isinstance(content, dict):
        raise InputError(f"preset {name!r} holds no settings")
    for key, value in (overrides or {}).items():
        put(content, key, value)
    try:
        return Preset.model_validate(content)
    except ValidationError as error:
        raise InputError(f"preset {name!r}: {first_mistake(error, Preset)}") from None


def checked(kind: type[Settings], values: Mapping[str, Any], where: str) -> Settings:
    """Values of a preset as the settings of a family.

    Raises:
        InputError: A key or value is wrong; `where` is the part of the preset that holds it.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise InputError(first_mistake(error, kind, where)) from None
