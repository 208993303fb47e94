"""The settings of the training loop."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator


class LoopSettings(BaseModel):
    """What a preset may set about the loop; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = 0
    minutes: float = Field(default=math.inf, gt=0, description="time budget; the schedule ends with it")
    max_steps: int = Field(gt=0, description="optimiser steps, unless the time budget ends first")
    batch_size: int = Field(gt=0, description="pictures a step and process")
    accumulate: int = Field(default=1, gt=0, description="micro-batches a step")
    learning_rate: float = Field(gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    betas: tuple[float, float] = (0.9, 0.99)
    warmup_steps: int = Field(default=100, ge=0)
    clip_norm: float = Field(default=1.0, gt=0)
    optimiser: Literal["adamw", "adamw8bit"] = Field(default="adamw", description="8 bits need the extra 8bit")
    ema_decay: float = Field(default=0.999, ge=0, lt=1)
    mixed_precision: Literal["auto", "no", "fp16", "bf16"] = Field(
        default="auto", description="auto is bf16 where the processor or GPU has units for it; fp16 on older GPUs"
    )
    validate_every: int = Field(default=500, gt=0)
    preview_every: int = Field(default=1000, gt=0)
    checkpoint_every: int = Field(default=500, gt=0)

    @field_validator("mixed_precision", mode="before")
    @classmethod
    def _no_is_a_word(cls, value: object) -> object:
        return "no" if value is False else value  # YAML reads a bare `no` as false
