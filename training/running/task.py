"""What the training loop asks of a model family, and what it gives back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence, Sized
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

Losses = dict[str, torch.Tensor]


class Task(ABC):
    """One model family as the loop sees it.

    A task has one or more *players*, each with an optimizer of its own (an autoencoder and its discriminator are two).
    Its randomness comes only from the generator that the loop hands it, so that step s of a run is the same whether
    or not the run was interrupted before.

    Attributes:
        size: Side of the images in pixels.
        splits: The data by split, of which the loop asks how many "train" has.
    """

    players: tuple[str, ...] = ("model",)
    size: int
    splits: Any

    def __len__(self) -> int:
        """Number of training images."""
        train: Sized = self.splits["train"]
        return len(train)

    @abstractmethod
    def networks(self) -> dict[str, nn.Module]:
        """Every trained network by name; a player's parameters are those of `player_networks`."""

    def player_networks(self, player: str) -> Sequence[str]:
        """Names of the networks that `player` optimizes: all of them unless a task says otherwise."""
        return list(self.networks())

    def rate(self, network: str, parameter: str) -> float:
        """Learning rate of a parameter in units of the loop's; names as in `networks` and `named_parameters`."""
        return 1.0

    @abstractmethod
    def batch(self, rows: torch.Tensor, generator: torch.Generator) -> dict[str, torch.Tensor]:
        """Tensors of the training images `rows` (int64 (B,)), augmented, on the task's device."""

    @abstractmethod
    def losses(self, player: str, batch: dict[str, torch.Tensor], progress: float) -> Losses:
        """Named scalar losses of `player`, weights included; the loop minimizes their sum. `progress` in [0, 1)."""

    @abstractmethod
    def validate(self) -> dict[str, float]:
        """Figures on `val` with the averaged weights; of the highest `score` is what is kept, without one the last."""

    def preview(self) -> np.ndarray | None:
        """A `uint8` (H, W, 3) sheet to look at, or None where there is nothing to see."""
        return None

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write the model in its libraries' own format, half precision, `safetensors`."""


@dataclass(frozen=True)
class Outcome:
    """How a training ended.

    Attributes:
        steps: Of the whole training.
        minutes: That they took.
        best_step: The one whose weights are kept.
        figures: What these reached on `val`.
        begun_at: Steps that were there already when this call went on.
        before: The same figures before the first step, where they were measured.
        real: The same figures of the real images of `val`, where they were measured.
    """

    steps: int
    minutes: float
    best_step: int
    figures: dict[str, float]
    begun_at: int = 0
    before: dict[str, float] = field(default_factory=dict)
    real: dict[str, float] = field(default_factory=dict)

    def record(self) -> dict[str, object]:
        """What `training.json` says of it."""
        return {"steps": self.steps, "minutes": round(self.minutes, 1), "best_step": self.best_step,
                "val": self.figures}
