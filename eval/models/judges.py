"""Judges of one's own classes: a frozen network with two small heads, one that names scenes, one that reads words.

A folder of `terrasynth train judge` holds the heads (`heads.safetensors`), what they know (`judge.json`), and the
network below them, as a copy in `backbone/` or by its name. It is a dual encoder and a scene classifier at once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from terrasynth.errors import one_line
from terrasynth.eval.errors import InputError
from terrasynth.eval.images import check_some_images
from terrasynth.eval.models.calibration import Calibration
from terrasynth.eval.models.classifiers import Classification, SceneClassifier
from terrasynth.eval.models.dual_encoders import PictureEncoder, check_texts, paired_cosine
from terrasynth.eval.models.inference import unit_length
from terrasynth.eval.models.knowledge import forms_of, words_of
from terrasynth.eval.models.references import JUDGE_FILE

HEADS_FILE = "heads.safetensors"
BACKBONE = "backbone"
"""Folder in a judge's own, with a copy of the network below its heads; and what `judge.json` calls that copy."""

KIND = "judge"
AGAIN = "make it again with `terrasynth train judge`"


@dataclass(frozen=True)
class About:
    """What `judge.json` says.

    Attributes:
        backbone: `BACKBONE`, or the reference of a network that lies elsewhere.
        network: Identity of that network.
        labels: The C classes.
        words: The V words that it reads.
    """

    backbone: str
    network: Mapping[str, object]
    labels: tuple[str, ...]
    words: tuple[str, ...]

    def save(self, folder: Path) -> None:
        """Write the file; the same content always gives the same bytes."""
        (folder / JUDGE_FILE).write_text(json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n", "utf-8")

    @classmethod
    def load(cls, folder: Path) -> About:
        """Read the file.

        Raises:
            InputError: It says nothing that can be read.
        """
        path = folder / JUDGE_FILE
        try:
            content = json.loads(path.read_text("utf-8"))
            found = cls(content["backbone"], dict(content["network"]), tuple(content["labels"]),
                        tuple(content["words"]))
            if not isinstance(found.backbone, str) or not all(isinstance(x, str) for x in found.labels + found.words):
                raise TypeError("names have to be texts")
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise InputError(f"{path} describes no judge ({one_line(error, 100)}); {AGAIN}") from error
        return found


@dataclass(frozen=True)
class Heads:
    """The numbers of both heads.

    Attributes:
        mean: `float32` (F,), taken off the unit-length features of the network.
        scale: `float32` (F,), what they are divided by then.
        scene: `float32` (F, C), to the classes; the temperature is in it.
        bias: `float32` (C,).
        image: `float32` (F, D), to the space of the words.
        words: `float32` (V, D), one row a word; a text is the sum of its words.
    """

    mean: NDArray[np.float32]
    scale: NDArray[np.float32]
    scene: NDArray[np.float32]
    bias: NDArray[np.float32]
    image: NDArray[np.float32]
    words: NDArray[np.float32]

    def standardized(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """What both heads see, `float32` (N, F), of features (N, F)."""
        seen: NDArray[np.float32] = (unit_length(features) - self.mean) / self.scale
        return seen

    def probabilities(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Class probabilities `float32` (N, C), rows sum to 1."""
        logits = (self.standardized(features) @ self.scene + self.bias).astype(np.float64)
        odds = np.exp(logits - logits.max(1, keepdims=True))
        shares: NDArray[np.float32] = (odds / odds.sum(1, keepdims=True)).astype(np.float32)
        return shares

    def embeddings(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Images in the space of the words, `float32` (N, D), not of unit length."""
        seen: NDArray[np.float32] = self.standardized(features) @ self.image
        return seen

    def read(self, rows: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Texts, each the numbers of its words, as unit vectors `float32` (N, D); zeros for a text of no known word."""
        summed = [self.words[list(own)].sum(0) for own in rows]
        return unit_length(np.stack(summed)) if summed else np.empty((0, self.words.shape[1]), np.float32)

    def save(self, folder: Path) -> None:
        """Write `heads.safetensors`."""
        from safetensors.numpy import save

        (folder / HEADS_FILE).write_bytes(save({name: np.ascontiguousarray(each) for name, each in vars(self).items()}))

    @classmethod
    def load(cls, folder: Path, about: About, width: int) -> Heads:
        """Read what `save` wrote.

        Args:
            width: F, of the network's features.

        Raises:
            InputError: It cannot be read, or does not fit the network or what `judge.json` says.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        path = folder / HEADS_FILE
        try:
            heads = cls(**load_file(path))
        except (OSError, TypeError, SafetensorError) as error:
            raise InputError(f"{path} cannot be read ({one_line(error, 100)}); {AGAIN}") from error
        classes, words = len(about.labels), len(about.words)
        deep = heads.words.shape[-1]
        wanted = {"mean": (width,), "scale": (width,), "scene": (width, classes), "bias": (classes,),
                  "image": (width, deep), "words": (words, deep)}
        for name, shape in wanted.items():
            if getattr(heads, name).shape != shape:
                raise InputError(f"{path}: {name} is {getattr(heads, name).shape}, and {shape} is needed; {AGAIN}")
        return heads


def word_rows(text: str, places: Mapping[str, int]) -> list[int]:
    """Numbers of the known words of a text, ascending, each once; a plural stands for its singular where only that is.

    Args:
        places: Word -> its number.
    """
    found = set()
    for word in words_of(text):
        known = [word] if word in places else sorted(forms_of(word) & places.keys())
        found |= {places[one] for one in known[:1]}
    return sorted(found)


class JudgeEncoder:
    """The side of a judge that reads words; made by `load_encoder`.

    Attributes:
        dim: Width D of the embeddings.
        calibration: Scores of held-out pairs; None where there were too few.
        reads_text: True.
        precision: Of the network below the heads.
    """

    reads_text = True

    def __init__(
        self, network: PictureEncoder, heads: Heads, words: Sequence[str], identity: Mapping[str, object],
        calibration: Calibration | None, called: str = "",
    ) -> None:
        self.called, self._network, self._heads, self._identity = called, network, heads, dict(identity)
        self._places = {word: row for row, word in enumerate(words)}
        self.dim, self.precision, self.calibration = heads.image.shape[1], network.precision, calibration

    def identity(self) -> dict[str, object]:
        """Kind, model and content hash."""
        return dict(self._identity)

    def features(self, images: NDArray[np.uint8], batch_size: int = 64) -> NDArray[np.float32]:
        """Embeddings `float32` (N, D) of images `uint8` (N, H, W, 3), of the length that the head gives."""
        return self._heads.embeddings(self._network.features(images, batch_size))

    def encode_images(self, images: NDArray[np.uint8], batch_size: int = 64) -> NDArray[np.float32]:
        """The same, L2-normalized."""
        return unit_length(self.features(images, batch_size))

    def encode_texts(self, texts: Sequence[str], batch_size: int = 256) -> NDArray[np.float32]:
        """Embed texts by their known words; one of none is all zeros, so that its cosine with any image is 0.

        Returns:
            L2-normalized `float32` (N, D).

        Raises:
            TypeError: `texts` is one string instead of a sequence of them.
        """
        check_texts(texts)
        return self._heads.read([word_rows(text, self._places) for text in texts])

    def score(self, images: NDArray[np.uint8], texts: Sequence[str]) -> NDArray[np.float32]:
        """Cosine of each image with its own text, `float32` (N,), -1 to 1.

        Raises:
            ValueError: The numbers of images and texts differ.
        """
        return paired_cosine(self, images, texts)


class JudgeClassifier(SceneClassifier):
    """The side of a judge that names scenes; made by `load_classifier`.

    Attributes:
        labels: The C class names, in the order of the probabilities.
        precision: Of the network below the heads.
    """

    def __init__(
        self, network: PictureEncoder, heads: Heads, labels: Sequence[str], identity: Mapping[str, object],
        called: str = "",
    ) -> None:
        self.called, self._network, self._heads, self._own = called, network, heads, dict(identity)
        self.labels, self.precision = tuple(labels), network.precision

    @override
    def identity(self) -> dict[str, object]:
        return dict(self._own)

    @override
    def classify(self, images: NDArray[np.uint8], batch_size: int = 64) -> Classification:
        check_some_images(images)
        seen = self._network.features(images, batch_size)
        return Classification(self._heads.probabilities(seen), seen)

    @override
    def probabilities(self, images: NDArray[np.uint8], batch_size: int = 64) -> NDArray[np.float32]:
        return self.classify(images, batch_size).probabilities
