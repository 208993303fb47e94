"""What the networks say about images: each network sees each image once, and every figure is made of that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from terrasynth.eval.errors import InputError
from terrasynth.eval.evaluation.figures import Network, network_of

if TYPE_CHECKING:
    from terrasynth.eval.models.classifiers import SceneClassifier
    from terrasynth.eval.models.dual_encoders import Encoder, PictureEncoder


@dataclass(frozen=True)
class Judged:
    """What the networks say about N images.

    Attributes:
        networks: Identities of the further networks.
        known: The C classes of the classifier.
        embeddings: float32 (N, D), of unit length, of the encoder.
        probabilities: float32 (N, C), of the classifier.
        features: float32 (N, F), of the classifier.
        further: Of each further network, its features float32 (N, G).
        texts: The text of each image; None where there is none.
        sentences: float32 (N, D), of unit length, what the encoder makes of these texts.
        labels: The class of each image; None where the data names none.
    """

    encoder: Network
    classifier: Network
    networks: tuple[Network, ...]
    known: tuple[str, ...]
    embeddings: NDArray[np.float32]
    probabilities: NDArray[np.float32]
    features: NDArray[np.float32]
    further: tuple[NDArray[np.float32], ...]
    texts: tuple[str, ...] | None
    sentences: NDArray[np.float32] | None
    labels: tuple[str, ...] | None

    def __len__(self) -> int:
        return len(self.features)

    @property
    def scores(self) -> NDArray[np.float32]:
        """CLIP score float32 (N,) of each image and its text; without texts there is none.

        Raises:
            ValueError: There are no texts.
        """
        if self.sentences is None:
            raise ValueError("CLIP scores of images without texts: give texts")
        found: NDArray[np.float32] = np.einsum("nd,nd->n", self.embeddings, self.sentences)
        return found

    @property
    def strangers(self) -> tuple[str, ...]:
        """Classes of the images that the classifier does not know, sorted; with any, nothing is said of recognition."""
        return tuple(sorted(set(self.labels or ()) - set(self.known)))

    @property
    def places(self) -> NDArray[np.intp]:
        """Column of each image's own class (N,).

        Raises:
            ValueError: There are no labels, or the classifier does not know one.
        """
        if self.labels is None:
            raise ValueError("classes of images without labels: give labels")
        if self.strangers:
            raise ValueError(f"class {self.strangers[0]!r} is unknown to the classifier; ask for `strangers` first")
        index = {label: number for number, label in enumerate(self.known)}
        return np.array([index[label] for label in self.labels], np.intp)

    @property
    def hits(self) -> NDArray[np.bool_]:
        """Whether the most probable class of each image is its own (N,)."""
        found: NDArray[np.bool_] = self.probabilities.argmax(1) == self.places
        return found

    @property
    def own_probability(self) -> NDArray[np.float32]:
        """The probability float32 (N,) that the classifier gives to the class of each image."""
        found: NDArray[np.float32] = self.probabilities[np.arange(len(self)), self.places]
        return found


def judge(
    images: NDArray[np.uint8], texts: Sequence[str] | None, labels: Sequence[str] | None, *, encoder: Encoder,
    classifier: SceneClassifier, picture_encoders: Sequence[PictureEncoder] = (), what: str = "images",
) -> Judged:
    """Show images to every network.

    Args:
        images: `uint8` (N, H, W, 3).
        texts: The text of each image.
        labels: The class of each image; what the classifier knows, it names in these words.
        encoder: A dual encoder.
        classifier: A scene classifier.
        picture_encoders: Further networks.

    Raises:
        InputError: No images, or numbers that do not match.
    """
    check_pictures(what, images, texts, labels)
    seen = classifier.classify(images)
    return Judged(
        network_of(encoder), network_of(classifier), tuple(network_of(network) for network in picture_encoders),
        tuple(classifier.labels), encoder.encode_images(images), seen.probabilities, seen.features,
        tuple(network.features(images) for network in picture_encoders), None if texts is None else tuple(texts),
        None if texts is None else encoder.encode_texts(texts), None if labels is None else tuple(labels),
    )


def check_pictures(
    what: str, images: NDArray[np.uint8], texts: Sequence[str] | None, labels: Sequence[str] | None
) -> None:
    """Check what `judge` needs, before any network sees an image.

    Raises:
        InputError: No images, or numbers that do not match.
    """
    if not len(images):
        raise InputError(f"no {what}: give at least one")
    for name, values in (("texts", texts), ("labels", labels)):
        if values is not None and len(values) != len(images):
            raise InputError(f"{len(images)} {what} and {len(values)} {name}: give one for each")
