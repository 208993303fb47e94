"""How a model is best asked: its own number of steps and guidance, in `sampling.json` beside its weights.

Recipes and calls that leave both out take these. The file is no part of a model's content hash: what it says enters the
identity of a run as numbers.
"""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from terrasynth.eval.models.references import SAMPLING_FILE
from terrasynth.prompts.settings import first_mistake
from terrasynth.synthesis.core.errors import InputError, one_line

MOST_STEPS, MOST_GUIDANCE = 10_000, 100  # far beyond all that draws an image
LARGEST = 64 * 1024


class Sampling(BaseModel):
    """Steps and guidance of a model.

    Attributes:
        steps: Denoising steps; 20 where a model says none.
        guidance: Classifier-free guidance scale, >= 0; 3 where a model says none.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    steps: int = Field(default=20, gt=0, le=MOST_STEPS)
    guidance: float = Field(default=3.0, ge=0, le=MOST_GUIDANCE)

    def save(self, folder: Path) -> None:
        """Write it beside a model's weights, as far as it was said."""
        content = self.model_dump(exclude_unset=True)
        (folder / SAMPLING_FILE).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def read_sampling(*folders: Path) -> Sampling:
    """What some folders say, each number from the first that says it: a LoRA before its base.

    Raises:
        InputError: A file cannot be read, or says something else.
    """
    said: dict[str, int | float] = {}
    for folder in reversed(folders):
        if (folder / SAMPLING_FILE).is_file():
            said |= _read(folder).model_dump(exclude_unset=True)
    return Sampling(**said)  # type: ignore[arg-type]


def _read(folder: Path) -> Sampling:
    path = folder / SAMPLING_FILE
    try:
        if path.stat().st_size > LARGEST:
            raise ValueError(f"{path.stat().st_size} bytes, where {LARGEST} are the most")
        return Sampling.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        raise InputError(f"{folder.name}/{SAMPLING_FILE}: {first_mistake(error, Sampling)}; mend or remove "
                         "it") from error
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{folder.name}/{SAMPLING_FILE} cannot be read ({one_line(error, 160)}); mend or remove "
                         "it") from error
