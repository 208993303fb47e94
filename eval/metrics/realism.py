"""Can images be told from real ones by their texture alone, and does their spectrum look real?

No network: a network that is blind to a grid calls images with a grid real, and one that shares data or a loss with
the generator flatters it. A logistic regression on texture measures is a classifier two-sample test (Lopez-Paz &
Oquab, ICLR 2017): 0.5 where there is nothing to tell apart, 1 where every image gives itself away.

All images of one comparison have the same size and came to it the same way: what was made smaller is sharper.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from terrasynth.eval.errors import InputError
from terrasynth.eval.images import LUMA, check_images

VERSION = 2
"""Changes whenever a figure below would."""

BANDS = 24
PERIODS = (4, 8)
FOLDS, HALVES = 5, 10
LEAST = 2 * FOLDS
SMALLEST = 32
FINE = 0.25  # cycles per pixel: half of the Nyquist frequency

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ToldApart:
    """How often a classifier on texture measures names the right one of "generated" and "real".

    Attributes:
        fine: Whether it was given the many measures or the few.
        accuracy: Share of images named right by a classifier that did not see them.
        low: Lower end of its 95 % interval (Wilson, over images).
        null: Mean of the same for random halves of the real images against each other.
        null_low: Smallest of these.
        null_high: Largest.
        n: Generated images, and as many real ones: of the larger number a random sample.
        n_halves: Real images in each half.
        seed: Seed of the sample, of folds and of halves.
    """

    fine: bool
    accuracy: float
    low: float
    high: float
    null: float
    null_low: float
    null_high: float
    n: int
    n_halves: int
    seed: int


@dataclass(frozen=True)
class Spectrum:
    """The radial power spectrum of generated images beside that of real ones.

    Attributes:
        frequency: Cycles per pixel in the middle of each band, rising to 0.5.
        generated: Mean power in dB in each band.
        fine: Mean difference in dB over the bands above 0.25 cycles per pixel; negative for a blur.
        peaks: Period in pixels -> how far the power at its lattice frequencies stands above its neighborhood, in dB,
            less the same of real images; a decoder's grid shows here.
        n: Generated images.
    """

    frequency: tuple[float, ...]
    generated: tuple[float, ...]
    real: tuple[float, ...]
    fine: float
    peaks: dict[int, float]
    n: int
    n_real: int


class Textures:
    """Texture measures of a set of images, each computed when it is first needed: real images are compared twice.

    Args:
        images: `uint8` (N, H, W, 3), 32 px a side at the least.

    Raises:
        InputError: Smaller images.
        TypeError: Not `uint8`.
        ValueError: Not (N, H, W, 3).
    """

    def __init__(self, images: NDArray[np.uint8]) -> None:
        _check(images)
        self.images = images
        self._features: dict[bool, Floats] = {}
        self._nulls: dict[tuple[bool, int, int], list[float]] = {}

    def __len__(self) -> int:
        return len(self.images)

    @classmethod
    def of(cls, images: NDArray[np.uint8] | Textures) -> Textures:
        """Those of images, which may be measured already."""
        return images if isinstance(images, Textures) else cls(images)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.images.shape[2], self.images.shape[1]

    @cached_property
    def power(self) -> Floats:
        """Their `mean_power`."""
        return mean_power(self.images)

    def features(self, fine: bool) -> Floats:
        """Their `texture_features`."""
        if fine not in self._features:
            self._features[fine] = texture_features(self.images, fine)
        return self._features[fine]

    def null(self, fine: bool, seed: int, halves: int) -> list[float]:
        """How often random halves of them are told apart from each other."""
        key = (fine, seed, halves)
        if key not in self._nulls:
            features, random = self.features(fine), np.random.default_rng([seed, 2])
            half = len(features) // 2
            orders = [random.permutation(len(features)) for _ in range(halves)]
            self._nulls[key] = [float(_hits(features[order[:half]], features[order[half:2 * half]], seed).mean())
                                for order in orders]
        return self._nulls[key]


def texture_features(images: NDArray[np.uint8], fine: bool = False) -> NDArray[np.float64]:
    """Measures of the texture of each image: spectrum, slopes, color.

    Args:
        images: `uint8` (N, H, W, 3), 32 px a side at the least.
        fine: Many measures in place of a few: a difference of 2 dB in the upper half of the spectrum is then told.

    Returns:
        float64 (N, 18): log power of luma in eight rings of the spectrum, an octave to every 1.6 of them, and at the
        lattices of 4 and 8 px; log mean and deviation of the slope of luma; mean and deviation of the channels. Or, if
        `fine`, float64 (N, 72): luma in 24 rings of equal width and two color differences in 8 each, the lattices,
        quantiles of slope and curvature, mean, deviation, skewness and correlation of the channels, and quantiles of
        saturation.

    Raises:
        InputError: Smaller images.
        TypeError: Not `uint8`.
        ValueError: Not (N, H, W, 3).
    """
    _check(images)
    measure = _fine if fine else _coarse
    return np.stack([measure(image.astype(np.float64)) for image in images])


def _coarse(image: Floats) -> Floats:
    luma = image @ LUMA
    power = _power(luma)
    slope = np.hypot(np.diff(luma, axis=1)[:-1], np.diff(luma, axis=0)[:, :-1])
    return np.concatenate([
        np.log(_rings(power, np.geomspace(1 / 64, 0.5, 9)) + 1e-3), [_peak(power, period) for period in PERIODS],
        [np.log(slope.mean() + 0.1), np.log(slope.std() + 0.1)], image.mean((0, 1)), image.std((0, 1))])


def _fine(image: Floats) -> Floats:
    luma = image @ LUMA
    red, blue = image[..., 0] - luma, image[..., 2] - luma
    power = _power(luma)
    parts = [np.log(_rings(power, np.linspace(0, 0.5, BANDS + 1)) + 1e-3),
             *(np.log(_rings(_power(plane), np.linspace(0, 0.5, 9)) + 1e-3) for plane in (red, blue)),
             np.array([_peak(power, period) for period in PERIODS])]
    across, down = np.diff(luma, axis=1)[:-1], np.diff(luma, axis=0)[:, :-1]
    shares = (0.1, 0.25, 0.5, 0.75, 0.9, 0.97, 0.995)
    curvature = np.abs(np.diff(luma, 2, axis=1)[1:-1] + np.diff(luma, 2, axis=0)[:, 1:-1])
    parts += [np.log(np.quantile(np.hypot(across, down), shares) + 0.5), np.log(np.quantile(curvature, shares) + 0.5)]
    pixels = image.reshape(-1, 3)
    centered = pixels - pixels.mean(0)
    deviation = pixels.std(0) + 1e-6
    covariance = centered.T @ centered / len(pixels) / np.outer(deviation, deviation)
    saturation = pixels.max(1) - pixels.min(1)
    parts += [pixels.mean(0), np.log(deviation), np.clip(((centered / deviation) ** 3).mean(0), -5, 5),
              covariance[np.triu_indices(3, 1)], np.quantile(saturation, (0.1, 0.5, 0.9, 0.99))]
    return np.concatenate(parts)


def tell_apart(images: NDArray[np.uint8] | Textures, real: NDArray[np.uint8] | Textures, fine: bool = False,
               seed: int = 0, halves: int = HALVES) -> ToldApart:
    """Cross-validated accuracy of a logistic regression on `texture_features`, generated against real.

    Args:
        images: `uint8` (N, H, W, 3) or the `Textures` of such, N >= 10.
        real: `uint8` (M, H, W, 3) or the `Textures` of such, M >= 20.
        fine: See `texture_features`.
        seed: Seed of folds and halves.
        halves: Random splits of the real images for the null.

    Raises:
        InputError: Too few images, or another size.
    """
    from terrasynth.eval.metrics.figure import share_of

    images, real = _pair(images, real)
    if len(images) < LEAST or len(real) < 2 * LEAST:
        raise InputError(f"{len(images)} images against {len(real)} real ones: telling them apart needs {LEAST} "
                         f"images and {2 * LEAST} real ones at the least")
    own, others = images.features(fine), real.features(fine)
    random = np.random.default_rng([seed, 1])
    n = min(len(own), len(others))  # of unequal numbers, a classifier that sees nothing names the larger
    chosen = [np.sort(random.permutation(len(side))[:n]) for side in (own, others)]
    figure = share_of(_hits(own[chosen[0]], others[chosen[1]], seed))
    null = real.null(fine, seed, halves)
    return ToldApart(fine, figure.value, figure.low, figure.high, float(np.mean(null)), min(null), max(null),
                     n, len(others) // 2, seed)


def _hits(one: Floats, other: Floats, seed: int) -> NDArray[np.bool_]:
    from terrasynth.eval.metrics.probe import cross_validated

    return cross_validated(np.concatenate([one, other]), ["generated"] * len(one) + ["real"] * len(other), FOLDS, seed)


def compare_spectra(images: NDArray[np.uint8] | Textures, real: NDArray[np.uint8] | Textures) -> Spectrum:
    """Radial spectrum and grid peaks of images beside those of real ones.

    Args:
        images: `uint8` (N, H, W, 3) or the `Textures` of such.
        real: `uint8` (M, H, W, 3) of the same size, or the `Textures` of such.

    Raises:
        InputError: No images, or another size.
    """
    images, real = _pair(images, real)
    if not len(images) or not len(real):
        raise InputError(f"{len(images)} images against {len(real)} real ones: a spectrum needs one of each")
    own, others = images.power, real.power
    edges = np.linspace(0, 0.5, BANDS + 1)
    generated, natural = (10 * np.log10(_rings(power, edges) + 1e-12) for power in (own, others))
    frequency = (edges[1:] + edges[:-1]) / 2
    fine = float((generated - natural)[frequency > FINE].mean())
    peaks = {period: 10 * (_peak(own, period) - _peak(others, period)) / math.log(10) for period in PERIODS}
    return Spectrum(tuple(frequency.tolist()), tuple(generated.tolist()), tuple(natural.tolist()), fine, peaks,
                    len(images), len(real))


def mean_power(images: NDArray[np.uint8]) -> Floats:
    """Mean power spectrum (S, S) of the luma of images, in the order of `numpy.fft`."""
    total = np.zeros((min(images.shape[1:3]),) * 2)
    for image in images:
        total += _power(image @ LUMA)
    return total / len(images)


def _power(plane: Floats) -> Floats:
    """Windowed power spectrum of the middle square, its mean taken out; mean square of the plane is its sum."""
    side = min(plane.shape)
    top, left = ((edge - side) // 2 for edge in plane.shape)
    square = plane[top:top + side, left:left + side]
    window = np.hanning(side + 1)[:-1]
    window = np.outer(window, window)
    square = (square - square.mean()) * window
    return np.asarray(np.abs(np.fft.fft2(square)) ** 2 / (window**2).sum() / side**2)


def _rings(power: Floats, edges: Floats) -> Floats:
    """Mean power between rising edges in cycles per pixel; 0 where a ring holds no frequency."""
    frequency = np.fft.fftfreq(len(power))
    ring = np.digitize(np.hypot(frequency[:, None], frequency), edges).ravel()
    sums, counts = (np.bincount(ring, weights, len(edges) + 1)[1:-1] for weights in (power.ravel(), None))
    return np.asarray(sums / np.maximum(counts, 1))


def _peak(power: Floats, period: int) -> float:
    """Log of the mean power at the lattice of a period over that of its neighborhood, two to four bins away."""
    side = len(power)
    places = [round(side * k / period) % side for k in range(period)]
    logs = []
    for row in places:
        for column in places:
            if (row, column) == (0, 0):
                continue
            rows, columns = (np.arange(place - 4, place + 5) % side for place in (row, column))
            patch = power[np.ix_(rows, columns)]
            near = np.ones((9, 9), bool)
            near[3:6, 3:6] = False
            if row == 0:
                near[4, :] = False  # the axes hold more than what is beside them in every image
            if column == 0:
                near[:, 4] = False
            logs.append((patch[4, 4] + 1e-9, patch[near].mean() + 1e-9))
    peaks = np.array(logs)
    return float(np.log(peaks[:, 0].sum() / peaks[:, 1].sum()))


def _check(images: NDArray[np.uint8]) -> None:
    check_images(images)
    if min(images.shape[1:3]) < SMALLEST:
        raise InputError(f"images of {images.shape[2]} x {images.shape[1]} px are too small for a spectrum; "
                         f"{SMALLEST} px a side are needed")


def _pair(images: NDArray[np.uint8] | Textures, real: NDArray[np.uint8] | Textures) -> tuple[Textures, Textures]:
    own, others = Textures.of(images), Textures.of(real)
    if own.size != others.size:
        raise InputError(f"images of {own.size[0]} x {own.size[1]} px against real ones of {others.size[0]} x "
                         f"{others.size[1]} px: bring both to one size")
    return own, others
