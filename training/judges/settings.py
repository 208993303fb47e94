"""What a preset may set about a judge."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class JudgeSettings(BaseModel):
    """What a preset may set about the heads.

    Attributes:
        held_out: Share of each class that is held out, where the data has neither `val` nor `test`.
        dim: Width of the space in which images and words meet.
        steps: Of the head for words.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    held_out: float = Field(default=0.25, gt=0, lt=1)
    dim: int = Field(default=64, ge=2)
    steps: int = Field(default=600, ge=1)


class JudgeLoop(BaseModel):
    """What a preset may set about randomness.

    Attributes:
        seed: Of what is held out, of folds, views, captions and first weights.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = Field(default=0, ge=0)
