"""The figures of `terrasynth.eval.metrics.realism` for an evaluation: of generated images, and of coded real ones.

Coded images are real ones that an autoencoder encoded and decoded.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from terrasynth.eval.errors import InputError
from terrasynth.eval.evaluation.distances import NO_REFERENCE
from terrasynth.eval.evaluation.figures import Network, NotMeasured
from terrasynth.eval.metrics.realism import VERSION, Spectrum, Textures, ToldApart, compare_spectra, tell_apart

MEASURES: Network = {"kind": "texture measures", "version": VERSION}
TOLD_APART, CODED = "told apart", "told apart, coded"


@dataclass(frozen=True)
class Realism:
    """Images beside real ones of the same size, by texture alone.

    Attributes:
        coarse: Told apart by 18 measures.
        fine: Told apart by 72 measures.
        spectrum: The radial spectrum and the peaks of a grid.
        network: What made the images of the real ones, as an autoencoder; of generated images, the measures.
    """

    coarse: ToldApart
    fine: ToldApart
    spectrum: Spectrum
    network: Network


@dataclass(frozen=True)
class CodedImages:
    """Real images, coded and decoded by the autoencoder of a generator: the best that its decoder can give.

    Attributes:
        images: `uint8` (M, H, W, 3), in the order of the real ones.
    """

    images: NDArray[np.uint8]
    network: Network


@dataclass(frozen=True)
class RealismFigures:
    """What was found, and what could not be.

    Attributes:
        missing: Those that are None, with the reason.
    """

    generated: Realism | None = None
    coded: Realism | None = None
    missing: tuple[NotMeasured, ...] = ()


def realism_figures(images: NDArray[np.uint8], real: NDArray[np.uint8] | None,
                    coded: CodedImages | NotMeasured | None = None, seed: int = 0,
                    reason: str = NO_REFERENCE) -> RealismFigures:
    """Both figures, or why there is none.

    Args:
        images: Generated, `uint8` (N, H, W, 3).
        real: `uint8` (M, H, W, 3), brought to their size as the real ones that the generator learned from; None for
            none.
        coded: These real ones, coded and decoded; or why they are not.
        reason: Why there are no real ones, where there are none.
    """
    if real is None:
        return RealismFigures(missing=(NotMeasured(TOLD_APART, reason, MEASURES),))
    try:
        natural = Textures(real)
    except InputError as error:
        return RealismFigures(missing=(NotMeasured(TOLD_APART, str(error), MEASURES),))
    generated = _measured(TOLD_APART, images, natural, MEASURES, seed)
    found = generated if isinstance(generated, Realism) else None
    missing = [] if isinstance(generated, Realism) else [generated]
    other = _measured(CODED, coded.images, natural, coded.network, seed) if isinstance(coded, CodedImages) else coded
    if isinstance(other, NotMeasured):
        missing.append(other)
    return RealismFigures(found, other if isinstance(other, Realism) else None, tuple(missing))


def _measured(metric: str, images: NDArray[np.uint8], real: Textures, network: Network, seed: int,
              ) -> Realism | NotMeasured:
    try:
        own = Textures(images)
        return Realism(tell_apart(own, real, seed=seed), tell_apart(own, real, fine=True, seed=seed),
                       compare_spectra(own, real), network)
    except InputError as error:
        return NotMeasured(metric, str(error), network)
