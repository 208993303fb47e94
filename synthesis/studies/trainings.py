"""What `training` does for a study: the shape of its budgets and answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from terrasynth.eval.metrics.figure import Figure


@dataclass(frozen=True)
class Budget:
    """What every training of a task may spend, whatever it is trained on.

    Attributes:
        size: Side in pixels.
    """

    steps: int
    batch_size: int
    size: int

    def __str__(self) -> str:
        return f"{self.steps} steps of {self.batch_size} images at {self.size} px"


@dataclass(frozen=True)
class Probing:
    """How a probe on frozen features is chosen.

    Attributes:
        method: "linear probe" or "k-NN".
        setting: What is chosen on `val` for `real only` at each amount, and holds for all arms.
        settings: What it is chosen from.
        weights: What the weight of a synthetic image is chosen from, a real one having 1.
        seeds: How many seeds choose, the first ones.
    """

    method: str
    setting: str
    settings: tuple[float, ...]
    weights: tuple[float, ...]
    seeds: int

    def __str__(self) -> str:
        settings, weights = (", ".join(f"{each:g}" for each in some) for some in (self.settings, self.weights))
        return (f"{self.method}; {self.setting} of {settings} and weight of a synthetic image of {weights}, chosen on "
                f"`val` over {self.seeds} draws")


@dataclass(frozen=True)
class Swept:
    """One choice of settings that was tried.

    Attributes:
        amount: Of real training images.
        setting: The penalty, or the number of neighbors.
        weight: Of a synthetic image, a real one having 1; 0 for `real only`.
        val: Accuracy on `val`, over the seeds that choose.
        test: Accuracy on `test`, which chose nothing.
        chosen: Whether `val` chose it for its arm.
    """

    arm: str
    amount: float
    setting: float
    weight: float
    val: float
    test: float
    chosen: bool


@dataclass(frozen=True)
class Trained:
    """What one training came to.

    Attributes:
        scores: Metric -> score of each test image, 0 to 1; the first metric is the one that is judged.
        chance: Metric -> what guessing reaches.
        best_step: The step whose weights were chosen.
        network: What kind of network it is.
    """

    scores: Mapping[str, Sequence[float]]
    chance: Mapping[str, float]
    best_step: int
    network: str


@dataclass(frozen=True)
class TrainedAccuracy:
    """How a classifier that learned from some images does on real ones.

    Attributes:
        accuracy: Share of the real images whose class it names.
        chance: Accuracy of a guess.
        n_train: Images it learned from.
        n_val: Images of the same source that chose the checkpoint.
        network: What kind of classifier it is, and at what size it looks.
    """

    accuracy: Figure
    chance: float
    n_train: int
    n_val: int
    steps: int
    network: str
