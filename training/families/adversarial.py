"""What families with a discriminator share: two players, of which the second sees what the first has just drawn."""

from __future__ import annotations

from collections.abc import Sequence, Sized
from typing import Any

import torch
from torch import nn
from typing_extensions import override

from terrasynth.training.families.perception import hinge_loss
from terrasynth.training.running.loop import Losses, Task


class AdversarialTask(Task):
    """A task whose discriminator joins after a share of the budget.

    The settings have `adversarial_weight`, `adversarial_start` and, where the discriminator learns at another rate
    than the loop's, `discriminator_rate`.

    Attributes:
        splits: Images of `train` and `val`.
        settings: Those of the family.
        discriminator: Tells what was drawn from what is real.
    """

    splits: Any
    settings: Any
    discriminator: nn.Module
    _fake: torch.Tensor | None = None  # what the first player drew last

    @override
    def __len__(self) -> int:
        train: Sized = self.splits["train"]
        return len(train)

    @override
    def player_networks(self, player: str) -> Sequence[str]:
        return [player]

    @override
    def rate(self, network: str, parameter: str) -> float:
        own: float = getattr(self.settings, "discriminator_rate", 1.0)
        return own if network == "discriminator" else 1.0

    def joined(self, progress: float) -> bool:
        """Whether the discriminator has a say at a share `progress` of the budget."""
        return bool(self.settings.adversarial_weight > 0 and progress >= self.settings.adversarial_start)

    def discriminator_losses(self, real: torch.Tensor, joined: bool) -> Losses:
        """The hinge loss of real images or latents (N, C, H, W) against what was drawn last; nothing before."""
        if not joined or self._fake is None:
            return {}
        return {"hinge": hinge_loss(self.discriminator(real), self.discriminator(self._fake))}
