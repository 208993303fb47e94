"""The settings of the training loop."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from terrasynth.training.errors import InputError


class LoopSettings(BaseModel):
    """What a preset may set about the loop; unknown keys are refused.

    Attributes:
        seed: Decides initial weights, which rows a step sees, and all noise.
        minutes: Time budget; the schedule ends with it.
        max_steps: Optimizer steps, unless the time budget ends first.
        batch_size: Images a step and process.
        accumulate: Micro-batches a step.
        learning_rate: Highest learning rate, after the warm-up.
        weight_decay: Of AdamW.
        betas: Of AdamW.
        warmup_steps: Steps in which the learning rate rises to its highest.
        clip_norm: Largest norm of the gradient of all weights together; a larger one is scaled down.
        optimiser: "adamw8bit" keeps its moments in 8 bits and needs the extra `8bit`.
        ema_decay: Of the average of the weights that is validated and saved; 0 for the weights themselves.
        mixed_precision: "auto" is bf16 where the processor or GPU has units for it, and fp16 on older GPUs.
        validate_every: Steps between two measurements on `val`.
        preview_every: Steps between two sheets of drawn images.
        checkpoint_every: Steps between two checkpoints.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = 0
    minutes: float = Field(default=math.inf, gt=0)
    max_steps: int = Field(gt=0)
    batch_size: int = Field(gt=0)
    accumulate: int = Field(default=1, gt=0)
    learning_rate: float = Field(gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    betas: tuple[float, float] = (0.9, 0.99)
    warmup_steps: int = Field(default=100, ge=0)
    clip_norm: float = Field(default=1.0, gt=0)
    optimiser: Literal["adamw", "adamw8bit"] = "adamw"
    ema_decay: float = Field(default=0.999, ge=0, lt=1)
    mixed_precision: Literal["auto", "no", "fp16", "bf16"] = "auto"
    validate_every: int = Field(default=500, gt=0)
    preview_every: int = Field(default=1000, gt=0)
    checkpoint_every: int = Field(default=500, gt=0)

    @field_validator("mixed_precision", mode="before")
    @classmethod
    def _no_is_a_word(cls, value: object) -> object:
        return "no" if value is False else value  # YAML reads a bare `no` as false

    def check_batch(self, images: int) -> None:
        """Check that a batch is no larger than the training images are many.

        Raises:
            InputError: It is.
        """
        if self.batch_size > images:
            raise InputError(f"loop.batch_size {self.batch_size} is more than the {images} training images; make it "
                             "smaller")
