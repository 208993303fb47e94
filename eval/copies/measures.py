"""Ways to compare images: an encoder's features, the bits of a perceptual hash; and the nearest image by each."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from terrasynth.eval.copies.nearest import Neighbours, nearest_by_bits, nearest_by_cosine
from terrasynth.eval.copies.perceptual_hash import BITS, VIEWS, perceptual_hashes, turned
from terrasynth.eval.copies.registration import CANDIDATES, REGISTERED, Registration
from terrasynth.eval.models.thumbnail import PARTS, ThumbnailEncoder


class Measure(Protocol):
    """A way to compare images.

    Attributes:
        unit: Of its distances.
        coarse: Whether many distances are equal, so that it says little which of two is smaller.
    """

    name: str
    unit: str
    coarse: bool

    def identity(self) -> dict[str, object]:
        """What decides the distances, JSON-able."""

    def views(self, images: NDArray[np.uint8], count: int = VIEWS) -> Iterator[NDArray[Any]]:
        """Descriptions (N, D) of the images in the first `count` of the eight views; the first is as they lie."""

    def nearest(self, queries: NDArray[Any], candidates: NDArray[Any], k: int = 1) -> Neighbours:
        """The k nearest of the candidates to each query; see `terrasynth.eval.copies.nearest`."""


class EncodesPictures(Protocol):
    """The part of an encoder that a `FeatureMeasure` needs."""

    def identity(self) -> dict[str, object]:
        """What decides the embeddings, JSON-able."""

    def encode_images(self, images: NDArray[np.uint8], batch_size: int = 64) -> NDArray[np.float32]:
        """Images `uint8` (N, H, W, 3) to `float32` (N, D)."""


class FeatureMeasure:
    """1 - cosine of an encoder's embeddings.

    Example:
        >>> import numpy as np
        >>> from terrasynth.eval import FeatureMeasure, ThumbnailEncoder
        >>> images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
        >>> measure = FeatureMeasure("layout", ThumbnailEncoder())
        >>> described = next(measure.views(images))
        >>> measure.nearest(described[:1], described[::-1]).index.tolist()
        [[2]]
    """

    unit = "1 - cosine"
    coarse = False

    def __init__(self, name: str, encoder: EncodesPictures) -> None:
        self.name = name
        self._encoder = encoder

    def identity(self) -> dict[str, object]:
        """The encoder's."""
        return self._encoder.identity()

    def views(self, images: NDArray[np.uint8], count: int = VIEWS) -> Iterator[NDArray[np.float32]]:
        """Embeddings float32 (N, D), a view at a time."""
        return (self._encoder.encode_images(turned(images, view)) for view in range(count))

    def nearest(self, queries: NDArray[Any], candidates: NDArray[Any], k: int = 1) -> Neighbours:
        """See `nearest_by_cosine`."""
        return nearest_by_cosine(queries, candidates, k)


class HashMeasure:
    """Differing bits of the perceptual hash, 0 to 64.

    Example:
        >>> import numpy as np
        >>> from terrasynth.eval import HashMeasure
        >>> images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
        >>> described = next(HashMeasure().views(images))
        >>> found = HashMeasure().nearest(described[:1], described[::-1])
        >>> found.index.tolist(), found.distance.tolist()
        ([[2]], [[0.0]])
    """

    name = "perceptual hash"
    unit = f"bits of {BITS}"
    coarse = True

    def identity(self) -> dict[str, object]:
        """JSON-able."""
        return {"kind": "pHash", "bits": BITS}

    def views(self, images: NDArray[np.uint8], count: int = VIEWS) -> Iterator[NDArray[np.uint8]]:
        """Hashes uint8 (N, 8), a view at a time."""
        hashes = perceptual_hashes(images)
        return (hashes[:, view] for view in range(count))

    def nearest(self, queries: NDArray[Any], candidates: NDArray[Any], k: int = 1) -> Neighbours:
        """See `nearest_by_bits`."""
        return nearest_by_bits(queries, candidates, k)


class RegisteredMeasure:
    """1 - correlation of the details after an image was laid over the few most like it (see `copies.registration`)."""

    name = REGISTERED
    unit = "1 - correlation"
    coarse = False

    def __init__(self) -> None:
        self._known: tuple[NDArray[Any], Registration] | None = None

    def identity(self) -> dict[str, object]:
        """JSON-able."""
        return {"kind": REGISTERED, "candidates": CANDIDATES}

    def views(self, images: NDArray[np.uint8], count: int = VIEWS) -> Iterator[NDArray[np.float32]]:
        """Layout and detail float32 (N, 1792), a view at a time."""
        encoder = ThumbnailEncoder()
        return (encoder.with_detail(turned(images, view)) for view in range(count))

    def nearest(self, queries: NDArray[Any], candidates: NDArray[Any], k: int = 1) -> Neighbours:
        """The nearest of those laid over each query; another may be nearer, so it is never exact."""
        layout = PARTS["layout"]
        if self._known is None or self._known[0] is not candidates:
            self._known = candidates, Registration(candidates[:, :layout], candidates[:, layout:])
        found = self._known[1].nearest(queries[None, :, :layout], queries[None, :, layout:], max(k, CANDIDATES))
        return Neighbours(found.index[:, :k], 1 - found.correlation[:, :k], exact=False)


@dataclass(frozen=True)
class Nearest:
    """The nearest other image of each of N.

    Attributes:
        index: int64 (N,), its row.
        distance: float32 (N,).
        view: int64 (N,), how the image was turned for it (see `turned`).
        exact: False where an approximate index was asked.
    """

    index: NDArray[np.int64]
    distance: NDArray[np.float32]
    view: NDArray[np.int64]
    exact: bool


def nearest_picture(
    measure: Measure, images: NDArray[np.uint8], candidates: NDArray[Any] | None = None,
    own: NDArray[np.int64] | None = None,
) -> Nearest:
    """The nearest candidate to each image in any of its eight views; of equal ones the first view and row.

    Args:
        images: `uint8` (N, H, W, 3).
        candidates: Descriptions (M, D) under the same measure, as they lie; None for the images themselves.
        own: int64 (N,), the row of each image among the candidates, which is no neighbor of its own; None where it
            is not among them.
    """
    own = np.arange(len(images)) if candidates is None else own
    index, distance = np.zeros(len(images), np.int64), np.full(len(images), np.inf, np.float32)
    turn, exact = np.zeros(len(images), np.int64), True
    for view, described in enumerate(measure.views(images)):
        candidates = described if candidates is None else candidates
        found = measure.nearest(described, candidates, 1 if own is None else 2)
        place = np.zeros(len(images), np.int64) if own is None else (found.index[:, 0] == own).astype(np.int64)
        rows = np.take_along_axis(found.index, place[:, None], 1)[:, 0]
        away = np.take_along_axis(found.distance, place[:, None], 1)[:, 0]
        closer = away < distance
        index[closer], distance[closer], turn[closer] = rows[closer], away[closer], view
        exact = exact and found.exact
    return Nearest(index, distance, turn, exact)


def pixel_hash(image: NDArray[np.uint8]) -> str:
    """SHA-256 of the shape and the pixels of an image, uint8 (H, W, 3); the first 16 hex digits."""
    return hashlib.sha256(str(image.shape).encode() + np.ascontiguousarray(image).tobytes()).hexdigest()[:16]
