"""The features of a training set in one file, to find near-copies without the images.

A file of thumbnails can be turned back into small images, so it is as private as the training set itself.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from terrasynth.eval.copies.perceptual_hash import turned
from terrasynth.eval.copies.registration import REGISTERED
from terrasynth.eval.models.thumbnail import PARTS
from terrasynth.synthesis.core.errors import InputError, one_line
from terrasynth.synthesis.core.files import write_file
from terrasynth.synthesis.core.identity import ID_LENGTH
from terrasynth.synthesis.filters.base import THUMBNAIL
from terrasynth.synthesis.filters.training_pictures import TrainingPictures, on_one_scale

if TYPE_CHECKING:
    from terrasynth.eval import Encoder

FORMAT, UNREGISTERED = "terrasynth training features 3", "terrasynth training features 2"
"""With and without images being laid over each other; a file that was made before they were finds what it found."""

EARLIER = ("terrasynth training features 1",)
LEVELS = 201
QUERIES = 512


@dataclass(frozen=True)
class TrainingFeatures:
    """Training images, and how near to them real images come that are none of them.

    Attributes:
        pictures: As they are compared: by layout, detail (`terrasynth.eval.models.thumbnail`) and laid over each other,
            or by the embeddings of an encoder.
        about: `n` images, `orientations` of each (1, or the 8 flips and quarter turns), `data`, `split`, `size`.
        held_out: Where real images that are not in the set were compared: their `split`, `n`, the `levels` of each
            measure and the `values` of the similarity, all of them quantiles 0 to 1, evenly spaced.
        content: First 16 hex digits of the SHA-256 of the file that they were read from; "" where they were not.
    """

    pictures: TrainingPictures
    encoder: Mapping[str, object]
    about: Mapping[str, object]
    held_out: Mapping[str, object] | None
    content: str = ""

    @property
    def record(self) -> Mapping[str, object]:
        """What a run notes of them: `content`, `encoder`, number of `pictures`, and what else is known of these."""
        made_by = (self.encoder.get("model") or self.encoder.get("kind"),
                   self.encoder.get("content") or self.encoder.get("revision"))
        about = {"pictures" if key == "n" else key: value for key, value in sorted(self.about.items())}
        apart = {} if self.held_out is None else {"held out": f"{self.held_out['n']} of {self.held_out['split']}"}
        return {"content": self.content, "encoder": " ".join(str(part) for part in made_by if part), **about, **apart}

    @classmethod
    def of(
        cls, encoder: Encoder, pictures: NDArray[np.uint8], all_views: bool, about: Mapping[str, object],
        held_out: NDArray[np.uint8] | None = None, held_out_split: str = "",
    ) -> TrainingFeatures:
        """Embed training images.

        Args:
            pictures: uint8 (N, H, W, 3).
            all_views: Also all flips and quarter turns; a generator that was trained on them copies them too.
            about: What is known of the images, JSON-able; recorded.
            held_out: Real images uint8 (M, H, W, 3) that the generator never saw.
            held_out_split: Where these came from; recorded.
        """
        seen = [_measured(encoder, each) for each in (orientations(pictures) if all_views else [pictures])]
        rows = np.concatenate(seen)
        identity = encoder.identity()
        thumbnails = identity.get("kind") == THUMBNAIL
        known = TrainingPictures.split(rows, PARTS if thumbnails else {"embeddings": rows.shape[1]}, thumbnails)
        about = dict(about) | {"n": len(pictures), "orientations": len(seen)}
        if held_out is None:
            return cls(known, identity, about, None)
        closeness = _in_parts(known, _measured(encoder, held_out))
        levels = _quantiles(closeness)
        values = _quantiles(on_one_scale(closeness, levels))
        compared = {
            "split": held_out_split, "n": len(held_out), "levels": levels.tolist(), "values": values.tolist()
        }
        return cls(known, identity, about, compared)

    def similarity(self, rows: NDArray[np.float32]) -> NDArray[np.float64]:
        """How near images are to the nearest training image.

        Args:
            rows: float32 (N, D): layout and detail, or embeddings of the encoder.

        Returns:
            (N,), -1 .. 1: the cosine, of the layout where there are other measures too; these count where held-out
            images tell how they compare with it (`on_one_scale`). Without such images, the correlation of images
            that are laid over each other counts as it is: of others than copies it is low.
        """
        closeness = _in_parts(self.pictures, rows)
        if self.held_out is None:
            count = [0, -1] if self.pictures.measures[-1] == REGISTERED else [0]
            nearer: NDArray[np.float64] = closeness[count].max(0)
            return nearer
        return on_one_scale(closeness, np.array(self.held_out["levels"], np.float64))

    def threshold(self, pass_real: float) -> float:
        """The similarity that a share of the held-out real images stays at or below.

        Raises:
            InputError: No held-out images were compared.
        """
        if self.held_out is None:
            raise InputError(
                f"pass_real {pass_real}: the training features hold no held-out images; make them again with "
                "`terrasynth eval features --held-out SPLIT`, or use max_similarity"
            )
        values = np.array(self.held_out["values"], dtype=np.float64)
        return round(float(np.interp(pass_real, np.linspace(0, 1, len(values)), values)), 6)

    def save(self, path: Path) -> None:
        """Write a safetensors file; the same features always give the same bytes."""
        from safetensors.numpy import save

        content = {"encoder": self.encoder, "about": self.about, "held_out": self.held_out,
                   "measures": self.pictures.measures}
        laid = REGISTERED in self.pictures.measures
        metadata = {"format": FORMAT if laid else UNREGISTERED, "content": json.dumps(content, sort_keys=True)}
        write_file(path, save(self.pictures.tensors(), metadata))

    @classmethod
    def load(cls, path: Path) -> TrainingFeatures:
        """Read what `save` wrote; a file that was read before and has not changed is not read again.

        Raises:
            InputError: There is no such file, or it holds something else, or is of an earlier version.
        """
        try:
            return _load(path, _stamp(path))
        except InputError:
            raise
        except (OSError, ValueError, KeyError) as error:
            raise InputError(
                f"training features {str(path)!r} cannot be read ({one_line(error)}); give a file that "
                "`terrasynth eval features DATA --out FILE` wrote"
            ) from error


def _stamp(path: Path) -> tuple[int, ...]:
    """What no other file in the same place has: the last two cannot be set to those of the first."""
    found = path.stat()
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino


@lru_cache(maxsize=2)
def _load(path: Path, stamp: tuple[int, ...]) -> TrainingFeatures:
    from safetensors import SafetensorError, safe_open

    with path.open("rb") as read:
        hashed = hashlib.file_digest(read, "sha256").hexdigest()[:ID_LENGTH]
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") in EARLIER:
                raise InputError(
                    f"training features {str(path)!r} are of an earlier version, which kept no detail; make them "
                    "again with `terrasynth eval features DATA --out FILE`"
                )
            if metadata.get("format") not in (FORMAT, UNREGISTERED):
                raise ValueError(f"its format is {metadata.get('format')!r}")
            content = json.loads(metadata["content"])
            tensors = {name: file.get_tensor(name) for name in content["measures"] if name != REGISTERED}
            pictures = TrainingPictures(tensors, REGISTERED in content["measures"])
    except SafetensorError as error:
        raise ValueError(one_line(error)) from error
    if _stamp(path) != stamp:
        raise ValueError("it was replaced while it was read")
    return TrainingFeatures(pictures, content["encoder"], content["about"], content["held_out"], hashed)


def orientations(pictures: NDArray[np.uint8]) -> Sequence[NDArray[np.uint8]]:
    """The eight flips and quarter turns of images (N, H, W, 3), the images themselves first."""
    return [turned(pictures, view) for view in (0, 4, 1, 5, 2, 6, 3, 7)]


def _measured(encoder: Encoder, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    from terrasynth.eval import ThumbnailEncoder

    return encoder.with_detail(images) if isinstance(encoder, ThumbnailEncoder) else encoder.encode_images(images)


def _in_parts(pictures: TrainingPictures, rows: NDArray[np.float32]) -> NDArray[np.float64]:
    parts = [pictures.closeness(rows[start : start + QUERIES]) for start in range(0, len(rows), QUERIES)]
    return np.concatenate(parts, axis=1)


def _quantiles(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """`LEVELS` along the last axis, rounded as they are stored."""
    return np.moveaxis(np.quantile(values, np.linspace(0, 1, LEVELS), axis=-1), 0, -1).round(6)
