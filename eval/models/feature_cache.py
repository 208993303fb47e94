"""Features on disk, so that an image is embedded once, whichever metric, filter or command asks first.

A row is found by the hash of the decoded image and everything that decides its features: the network's identity, how
images are prepared, and the precision. A different file with the same pixels is the same image.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terrasynth.eval.images import check_images
from terrasynth.eval.models.classifiers import Classification, SceneClassifier
from terrasynth.eval.models.dual_encoders import PictureEncoder
from terrasynth.eval.models.feature_store import KEY_BYTES, FeatureStore
from terrasynth.eval.models.inference import unit_length
from terrasynth.eval.models.preprocess import PREPROCESSING
from terrasynth.eval.models.thumbnail import ThumbnailEncoder

ROWS_PER_FILE = 1024
"""What a kill can cost at most, and what a damaged file does."""


def default_folder() -> Path:
    """`$XDG_CACHE_HOME/terrasynth/features`, where that is not set under `~/.cache`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "terrasynth" / "features"


def cache_folder(option: str | None) -> Path | None:
    """What a user's choice means: None the default folder, "none" no cache, anything else a folder."""
    if option is None:
        return default_folder()
    return None if option.strip().lower() == "none" else Path(option).expanduser()


def picture_keys(images: NDArray[np.uint8]) -> list[bytes]:
    """BLAKE2b of size and bytes of each image of `uint8` (N, H, W, 3)."""
    size = f"{images.shape[1]}x{images.shape[2]}".encode()
    return [_hash(size + b"\0", np.ascontiguousarray(image).data) for image in images]


class _Cached:
    """Counts what a network had to read, and what came from disk."""

    computed = reused = 0

    def _through_cache(
        self, store: FeatureStore, images: NDArray[np.uint8], dim: int, batch_size: int,
        compute: Callable[[NDArray[np.uint8]], NDArray[np.float32]],
    ) -> NDArray[np.float32]:
        check_images(images)
        rows, computed = _through(store, picture_keys(images), dim, batch_size, lambda chosen: compute(images[chosen]))
        self.computed += computed
        self.reused += len(images) - computed
        return rows


class CachedEncoder(_Cached):
    """An encoder that remembers on disk; to whoever asks it is the encoder itself.

    The rows are those that the network gave when it first saw an image, so a second pass repeats the first exactly.

    Attributes:
        computed: Images that the network had to read so far.
        reused: Images whose features came from disk so far.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> import numpy as np
        >>> from terrasynth.eval import CachedEncoder, load_encoder
        >>> images = np.random.default_rng(0).integers(0, 256, (2, 128, 128, 3), dtype=np.uint8)
        >>> with TemporaryDirectory() as folder:
        ...     encoder = CachedEncoder(load_encoder("clip-ucm"), Path(folder))
        ...     first, again = encoder.features(images), encoder.features(images)
        >>> np.array_equal(first, again), encoder.computed, encoder.reused
        (True, 2, 2)
    """

    def __init__(self, encoder: PictureEncoder, folder: Path | None) -> None:
        """Wrap an encoder.

        Args:
            encoder: Any `PictureEncoder` or `Encoder`.
            folder: Of the cache; None for no cache. A thumbnail costs no more than its hash and is never cached.

        Raises:
            InputError: The folder cannot be written.
        """
        self._encoder: Any = encoder
        self.dim, self.reads_text, self.precision = encoder.dim, encoder.reads_text, encoder.precision
        self.calibration, self.called = getattr(encoder, "calibration", None), getattr(encoder, "called", "")
        used = None if isinstance(encoder, ThumbnailEncoder) else folder
        self._pictures = _open(used, encoder, "pictures")
        self._texts = _open(used, encoder, "texts") if encoder.reads_text else None

    def identity(self) -> dict[str, object]:
        """That of the encoder: where a feature came from changes no figure."""
        identity: dict[str, object] = self._encoder.identity()
        return identity

    def features(self, images: NDArray[np.uint8], batch_size: int = 64) -> NDArray[np.float32]:
        """See `PictureEncoder.features`."""
        if self._pictures is None:
            self.computed += len(images)
            rows: NDArray[np.float32] = self._encoder.features(images, batch_size)
            return rows
        return self._through_cache(self._pictures, images, self.dim, batch_size,
                                   lambda chosen: self._encoder.features(chosen, batch_size))

    def encode_images(self, images: NDArray[np.uint8], batch_size: int = 64) -> NDArray[np.float32]:
        """See `PictureEncoder.encode_images`."""
        if self._pictures is None:
            self.computed += len(images)
            rows: NDArray[np.float32] = self._encoder.encode_images(images, batch_size)
            return rows
        return unit_length(self.features(images, batch_size))

    def encode_texts(self, texts: Sequence[str], batch_size: int = 256) -> NDArray[np.float32]:
        """See `Encoder.encode_texts`."""
        if self._texts is None or isinstance(texts, str):
            rows: NDArray[np.float32] = self._encoder.encode_texts(texts, batch_size)
            return rows
        keys = [_hash(b"", text.encode("utf-8", "surrogatepass")) for text in texts]
        return _through(self._texts, keys, self.dim, batch_size,
                        lambda chosen: self._encoder.encode_texts([texts[row] for row in chosen], batch_size))[0]

    def score(self, images: NDArray[np.uint8], texts: Sequence[str]) -> NDArray[np.float32]:
        """See `Encoder.score`."""
        if not self.reads_text or len(images) != len(texts):
            refused: NDArray[np.float32] = self._encoder.score(images, texts)
            return refused
        cosine: NDArray[np.float32] = np.einsum("nd,nd->n", self.encode_images(images), self.encode_texts(texts))
        return cosine


class CachedClassifier(_Cached, SceneClassifier):
    """A scene classifier that remembers on disk.

    Attributes:
        computed: Images that the network had to read so far.
        reused: Images whose results came from disk so far.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> import numpy as np
        >>> from terrasynth.eval import CachedClassifier, load_classifier
        >>> images = np.random.default_rng(0).integers(0, 256, (2, 128, 128, 3), dtype=np.uint8)
        >>> with TemporaryDirectory() as folder:
        ...     classifier = CachedClassifier(load_classifier("scene-ucm"), Path(folder))
        ...     first, again = classifier.probabilities(images), classifier.probabilities(images)
        >>> np.array_equal(first, again), classifier.computed, classifier.reused
        (True, 2, 2)
    """

    def __init__(self, classifier: SceneClassifier, folder: Path | None) -> None:
        """Wrap a classifier; see `CachedEncoder`."""
        self._classifier = classifier
        self.labels, self.precision, self.called = classifier.labels, classifier.precision, classifier.called
        self._store = _open(folder, classifier, "classes and pictures")

    def identity(self) -> dict[str, object]:
        """That of the classifier."""
        return self._classifier.identity()

    def classify(self, images: NDArray[np.uint8], batch_size: int = 64) -> Classification:
        """See `SceneClassifier.classify`."""
        if self._store is None or not isinstance(images, np.ndarray) or not len(images):
            self.computed += len(images)
            return self._classifier.classify(images, batch_size)
        rows = self._through_cache(self._store, images, 0, batch_size, lambda chosen: self._rows(chosen, batch_size))
        classes = len(self.labels)
        return Classification(rows[:, :classes].copy(), rows[:, classes:].copy())

    def probabilities(self, images: NDArray[np.uint8], batch_size: int = 64) -> NDArray[np.float32]:
        """See `SceneClassifier.probabilities`."""
        return self.classify(images, batch_size).probabilities

    def _rows(self, images: NDArray[np.uint8], batch_size: int) -> NDArray[np.float32]:
        judged = self._classifier.classify(images, batch_size)
        return np.concatenate([judged.probabilities, judged.features], axis=1)


def _open(folder: Path | None, network: PictureEncoder | SceneClassifier, what: str) -> FeatureStore | None:
    if folder is None:
        return None
    return FeatureStore(folder, {
        "network": network.identity(), "of": what, "precision": network.precision, "preprocessing": PREPROCESSING,
    })


def _through(
    store: FeatureStore, keys: Sequence[bytes], dim: int, batch_size: int,
    compute: Callable[[list[int]], NDArray[np.float32]],
) -> tuple[NDArray[np.float32], int]:
    """Rows of all keys, and how many had to be computed; equal keys once."""
    found = store.get(keys)
    missing = {key: row for row, key in reversed(list(enumerate(keys))) if key not in found}
    ordered = sorted(missing.values())
    # Whole batches, so that the network meets the batches that it would meet without a cache.
    at_once = max(ROWS_PER_FILE // batch_size, 1) * batch_size
    for start in range(0, len(ordered), at_once):
        chosen = ordered[start : start + at_once]
        rows, names = compute(chosen), [keys[row] for row in chosen]
        store.put(names, rows)
        found |= dict(zip(names, rows, strict=True))
    table = np.stack([found[key] for key in keys]) if keys else np.empty((0, dim), np.float32)
    return table, len(ordered)


def _hash(prefix: bytes, content: memoryview | bytes) -> bytes:
    digest = hashlib.blake2b(prefix, digest_size=KEY_BYTES)
    digest.update(content)
    return digest.digest()
