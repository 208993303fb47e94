"""Every distance between the features of images and those of real ones, with its interval and its floor."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray

from terrasynth.eval.evaluation.figures import (
    CmmdFigures,
    CoverageFigures,
    Distances,
    FrechetFigures,
    KernelFigures,
    Network,
    NotMeasured,
)
from terrasynth.eval.metrics.coverage import NEIGHBOURS, measure_coverage
from terrasynth.eval.metrics.floors import AtEqualSize, Features, against_real
from terrasynth.eval.metrics.frechet import (
    FeatureStatistics,
    FrechetFloor,
    frechet_distance,
    frechet_floor,
    frechet_infinity,
    frechet_of_features,
)
from terrasynth.eval.metrics.intervals import half_sample_interval
from terrasynth.eval.metrics.kernel_distances import cmmd, kid, kid_of_all

HALVES = 20
INTERVAL_LEAST = 4
INFINITY_LEAST = 8
KID_LEAST = 4
NO_REFERENCE = "no reference images; give real ones (--real DATA)"
ONLY_STATISTICS = "only statistics of the reference were given; give the real images (--real DATA)"

METRICS = ("Frechet distance", "KID", "precision, recall, density, coverage")


def compare(
    features: Features, real: Features | FeatureStatistics | None, network: Network, seed: int,
    floor: FrechetFloor | None = None,
) -> Distances:
    """All distances on the features of one network.

    Args:
        features: Of the images (N, F).
        real: Of the reference images (M, F); or their statistics, which serve for the Frechet distance alone.
        floor: Beside statistics: what is known of real against real.
    """
    if real is None:
        return Distances(None, None, None, tuple(NotMeasured(metric, NO_REFERENCE, network) for metric in METRICS))
    if isinstance(real, FeatureStatistics):
        distance = frechet_distance(FeatureStatistics.of(features), real)
        figures = FrechetFigures(distance, len(features), real.n, floor, features.shape[1], network)
        unknown = tuple(NotMeasured(metric, ONLY_STATISTICS, network) for metric in METRICS[1:])
        return Distances(figures, None, None, unknown)
    counts = f"{len(features)} images and {len(real)} real ones"
    missing: tuple[NotMeasured, ...] = ()
    kernel, shares = None, None
    if min(len(features), len(real)) >= KID_LEAST:
        kernel = _kid(features, real, network, seed)
    else:
        missing += (NotMeasured("KID", f"{counts}: it needs {KID_LEAST} of each", network),)
    if min(len(features), len(real)) > NEIGHBOURS:
        shares = _coverage(features, real, network, seed)
    else:
        reason = f"{counts}: {NEIGHBOURS} neighbours need {NEIGHBOURS + 1} of each"
        missing += (NotMeasured(METRICS[2], reason, network),)
    return Distances(_frechet(features, real, network, seed), kernel, shares, missing)


def compare_embeddings(embeddings: Features, real: Features, network: Network, seed: int) -> CmmdFigures:
    """CMMD on embeddings (N, D) and (M, D) of a dual encoder, N >= 2 and M >= 4."""
    distance = cmmd(embeddings, real)
    low, high = _interval(distance, cmmd, embeddings, real, seed)
    equal = against_real(lambda a, b: {"cmmd": cmmd(a, b)}, embeddings, real, seed)["cmmd"]
    return CmmdFigures(
        distance, cmmd(embeddings, real, biased=False), low, high, len(embeddings), len(real), equal,
        embeddings.shape[1], network,
    )


def _frechet(features: Features, real: Features, network: Network, seed: int) -> FrechetFigures:
    n, n_real = len(features), len(real)
    distance = frechet_of_features(features, real)
    floor = frechet_floor(real, seed, n=min(n, n_real // 2))
    equal = against_real(lambda a, b: {"frechet": frechet_of_features(a, b)}, features, real, seed)["frechet"]
    low, high = _interval(distance, frechet_of_features, features, real, seed)
    infinity = frechet_infinity(features, real, seed) if min(n, n_real) >= INFINITY_LEAST else None
    return FrechetFigures(
        distance, n, n_real, floor, features.shape[1], network, equal.generated, low, high, infinity
    )


def _interval(
    value: float, statistic: Callable[[Features, Features], float], features: Features, real: Features, seed: int
) -> tuple[float, float] | tuple[None, None]:
    """Of a distance that is never below 0."""
    if min(len(features), len(real)) < INTERVAL_LEAST:
        return None, None
    low, high = half_sample_interval(value, statistic, [features, real], seed, HALVES)
    return max(0.0, low), high


def _kid(features: Features, real: Features, network: Network, seed: int) -> KernelFigures:
    equal = against_real(lambda a, b: {"kid": kid_of_all(a, b)}, features, real, seed)["kid"]
    return KernelFigures(kid(features, real, seed), equal, features.shape[1], network)


def _coverage(features: Features, real: Features, network: Network, seed: int) -> CoverageFigures:
    equal: Mapping[str, AtEqualSize] = {}
    if min(len(features), len(real) // 2) > NEIGHBOURS:
        equal = against_real(_shares, features, real, seed)
    return CoverageFigures(measure_coverage(features, real), equal, network)


def _shares(pictures: NDArray[np.floating], real: NDArray[np.floating]) -> dict[str, float]:
    found = asdict(measure_coverage(pictures, real))
    return {name: found[name] for name in ("precision", "recall", "density", "coverage")}
