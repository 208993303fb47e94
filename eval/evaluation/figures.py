"""What an evaluation holds: one record a metric, each with its numbers of images, its null, its floor or ceiling."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from terrasynth.eval.metrics.coverage import Coverage
from terrasynth.eval.metrics.figure import Figure
from terrasynth.eval.metrics.floors import AtEqualSize
from terrasynth.eval.metrics.frechet import FrechetFloor, FrechetInfinity
from terrasynth.eval.metrics.inception_score import InceptionScore
from terrasynth.eval.metrics.kernel_distances import KernelDistance
from terrasynth.eval.metrics.retrieval import Retrieval

Network = Mapping[str, object]
CALLED = "called"


class _Model(Protocol):
    def identity(self) -> dict[str, object]: ...


def network_of(model: _Model) -> Network:
    """What decides the outputs of a model, with the name of its folder, which decides nothing, where it has one."""
    called = getattr(model, "called", "")
    return model.identity() | ({CALLED: called} if called else {})


def network_name(network: Network) -> str:
    """A network with the hash or commit of its weights."""
    name = network.get(CALLED) or network.get("model") or network.get("kind")
    return f"{name} {network.get('content') or network.get('revision') or ''}".strip()


@dataclass(frozen=True)
class SceneFigures:
    """Is the asked-for class recognized?

    Attributes:
        accuracy: Share of images whose most probable class is their label.
        per_class: Class -> (share, n).
        chance: Accuracy of a guess, 1 / number of classes.
        ceiling: The same on the real reference images, where their labels were given.
    """

    accuracy: Figure
    per_class: Mapping[str, tuple[float, int]]
    chance: float
    ceiling: Figure | None
    network: Network


@dataclass(frozen=True)
class AlignmentFigures:
    """CLIP score: cosine of image and text (CLIPScore, Hessel et al., EMNLP 2021, without its factor 2.5).

    Attributes:
        score: Mean cosine of the true pairs.
        null: Mean cosine when the texts are shuffled; None for a single image.
        null_kind: What the shuffled texts are.
        ceiling: Mean cosine of real pairs, where reference texts were given.
    """

    score: Figure
    null: Figure | None
    null_kind: str
    ceiling: Figure | None
    network: Network


@dataclass(frozen=True)
class RetrievalFigures:
    """R@k both ways, of all images and all texts.

    Attributes:
        found: The shares, each beside chance.
        ceiling: The same of real pairs, where reference texts were given.
        n_real: Real images in the ceiling: as many as there are others, a random sample where there are more. Fewer
            candidates are easier to find one's way in. 0 without reference texts.
    """

    found: Retrieval
    ceiling: Retrieval | None
    n_real: int
    network: Network


@dataclass(frozen=True)
class InceptionFigures:
    """Inception score on the probabilities of the scene classifier; 1 where it tells no image from another.

    Attributes:
        most: The score of images that the classifier is sure of, evenly over its classes: their number.
        equal: The score of as many real images, and of as many of these; None without reference.
    """

    found: InceptionScore
    most: int
    equal: AtEqualSize | None
    network: Network


@dataclass(frozen=True)
class FrechetFigures:
    """Squared Frechet distance to the reference images.

    Attributes:
        distance: Between all images and all reference images.
        n_reference: Reference images.
        floor: Real against real: disjoint samples of `n` images, or of half the reference where that is less; None
            where only statistics of the reference are known, without their floor.
        dim: Width of the features; with fewer images than this a covariance is singular and the distance biased.
        network: Identity of the network whose features these are.
        at_floor: As many of the images against the same real images as in the floor, mean of the repeats.
        low: Lower end of the 95 % interval of the distance at these numbers of images, from random halves
            (`terrasynth.eval.metrics.intervals`); it does not reach for the bias. None where there are fewer than four
            images.
        infinity: The distance extrapolated to endless samples of both; None with fewer than eight images.
    """

    distance: float
    n: int
    n_reference: int
    floor: FrechetFloor | None
    dim: int
    network: Network
    at_floor: float | None = None
    low: float | None = None
    high: float | None = None
    infinity: FrechetInfinity | None = None

    @property
    def biased(self) -> bool:
        """Whether one of the sets has too few images for a covariance of full rank: then look at `infinity`."""
        return min(self.n, self.n_reference) <= self.dim


@dataclass(frozen=True)
class KernelFigures:
    """KID to the reference images.

    Attributes:
        found: The distance, its interval, and its subsets.
        equal: Real against real, and these against real, at equal size.
        dim: Width of the features.
        network: Identity of the network whose features these are.
    """

    found: KernelDistance
    equal: AtEqualSize
    dim: int
    network: Network


@dataclass(frozen=True)
class CmmdFigures:
    """CMMD to the reference images, on the embeddings of the dual encoder.

    Attributes:
        distance: By the biased estimator, as in the published code; it grows as the sets get smaller.
        unbiased: By the unbiased one; it may lie below 0.
        low: Lower end of the 95 % interval of the biased one at these numbers, from random halves; None where there
            are fewer than four images.
        n_reference: Reference images.
        equal: The biased one, real against real, and these against real, at equal size.
        dim: Width of the embeddings.
        network: Identity of the encoder; the paper's is CLIP ViT-L/14 at 336 px.
    """

    distance: float
    unbiased: float
    low: float | None
    high: float | None
    n: int
    n_reference: int
    equal: AtEqualSize
    dim: int
    network: Network


@dataclass(frozen=True)
class CoverageFigures:
    """Precision, recall, density and coverage against the reference images.

    No interval: a resample that repeats an image, and a smaller sample, both change the neighbors that the figures
    are made of. The range of real against real, at the size that it has, is what there is.

    Attributes:
        found: The four shares.
        equal: Each of them by its name, at equal size; empty where half of the reference has no k neighbors.
        network: Identity of the network whose features these are.
    """

    found: Coverage
    equal: Mapping[str, AtEqualSize]
    network: Network


@dataclass(frozen=True)
class DiversityFigures:
    """How different the images are from one another. No interval: a resample repeats images, and is less diverse.

    Attributes:
        vendi: Vendi score; it grows with the number of images.
        distance: Mean of 1 - cosine over all pairs.
        distance_within: The same within classes, averaged over them; None where no class has two images.
        real_vendi: The same of as many real images, a random sample where there are more.
        real_distance: The same.
        real_distance_within: The same.
        n_real: Real images, at most n; fewer make the first of the real figures smaller. 0 without reference.
        network: Identity of the network whose features these are.
    """

    vendi: float
    distance: float
    distance_within: float | None
    n: int
    real_vendi: float | None
    real_distance: float | None
    real_distance_within: float | None
    n_real: int
    network: Network


@dataclass(frozen=True)
class NotMeasured:
    """A metric that could not be had.

    Attributes:
        network: Identity of the network that it would have used.
    """

    metric: str
    reason: str
    network: Network


@dataclass(frozen=True)
class Distances:
    """How far the images are from the reference images, on the features of one network.

    Attributes:
        coverage: Precision, recall, density and coverage.
        missing: Those of them that are None, with the reason.
    """

    frechet: FrechetFigures | None
    kid: KernelFigures | None
    coverage: CoverageFigures | None
    missing: tuple[NotMeasured, ...]
