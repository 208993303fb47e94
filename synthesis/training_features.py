"""The features of a training set in one file, to find near-copies without the pictures.

A file of thumbnails can be turned back into small pictures, so it is as private as the training set itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from synthesis.errors import InputError, one_line
from synthesis.files import write_file

if TYPE_CHECKING:
    from eval import Encoder

FORMAT = "terrasynth training features 1"
CHUNK = 8192
LEVELS = 201


@dataclass(frozen=True)
class TrainingFeatures:
    """Embeddings of training pictures.

    Attributes:
        embeddings: L2-normalised float32 (N x orientations, D); kept as float16, which moves a cosine by 0.001 at most.
        encoder: Identity of what made them.
        about: `n` pictures, `orientations` of each (1, or the 8 flips and quarter turns), `data`, `split`, `size`.
        held_out: Where real pictures that are not in the set were compared: their `split`, `n` and the `values` of the
            quantiles 0 to 1 of the cosine to the nearest training picture, evenly spaced.
    """

    embeddings: NDArray[np.float32]
    encoder: Mapping[str, object]
    about: Mapping[str, object]
    held_out: Mapping[str, object] | None

    @classmethod
    def of(
        cls, encoder: Encoder, pictures: NDArray[np.uint8], turned: bool, about: Mapping[str, object],
        held_out: NDArray[np.uint8] | None = None, held_out_split: str = "",
    ) -> TrainingFeatures:
        """Embed training pictures.

        Args:
            encoder: Any encoder of pictures.
            pictures: uint8 (N, H, W, 3).
            turned: Also all flips and quarter turns; a generator that was trained on them copies them too.
            about: What is known of the pictures, JSON-able; recorded.
            held_out: Real pictures uint8 (M, H, W, 3) that the generator never saw.
            held_out_split: Where these came from; recorded.
        """
        seen = [encoder.encode_images(each) for each in (orientations(pictures) if turned else [pictures])]
        embeddings = _unit(np.concatenate(seen).astype(np.float16))
        about = dict(about) | {"n": len(pictures), "orientations": len(seen)}
        found = cls(embeddings, encoder.identity(), about, None)
        if held_out is None:
            return found
        values = np.quantile(found.nearest(encoder.encode_images(held_out)), np.linspace(0, 1, LEVELS))
        compared = {"split": held_out_split, "n": len(held_out), "values": [round(float(each), 6) for each in values]}
        return cls(embeddings, found.encoder, about, compared)

    def nearest(self, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
        """Cosine of each row (N, D) to the nearest training picture, float32 (N,)."""
        closest = np.full(len(embeddings), -np.inf, np.float32)
        for start in range(0, len(self.embeddings), CHUNK):
            np.maximum(closest, (embeddings @ self.embeddings[start : start + CHUNK].T).max(1), out=closest)
        return closest

    def threshold(self, pass_real: float) -> float:
        """The similarity that a share of the held-out real pictures stays at or below.

        Raises:
            InputError: No held-out pictures were compared.
        """
        if self.held_out is None:
            raise InputError(
                f"pass_real {pass_real}: the training features hold no held-out pictures; make them again with "
                "`terrasynth eval features --held-out SPLIT`, or use max_similarity"
            )
        values = np.array(self.held_out["values"], dtype=np.float64)
        return round(float(np.interp(pass_real, np.linspace(0, 1, len(values)), values)), 6)

    def save(self, path: Path) -> None:
        """Write a safetensors file; the same features always give the same bytes."""
        from safetensors.numpy import save

        content = {"encoder": self.encoder, "about": self.about, "held_out": self.held_out}
        metadata = {"format": FORMAT, "content": json.dumps(content, sort_keys=True)}
        write_file(path, save({"embeddings": self.embeddings.astype(np.float16)}, metadata))

    @classmethod
    def load(cls, path: Path) -> TrainingFeatures:
        """Read what `save` wrote; a file that was read before and has not changed is not read again.

        Raises:
            InputError: There is no such file, or it holds something else.
        """
        try:
            stat = path.stat()
            return _load(path, stat.st_mtime_ns, stat.st_size)
        except (OSError, ValueError, KeyError) as error:
            raise InputError(
                f"training features {str(path)!r} cannot be read ({one_line(error)}); give a file that "
                "`terrasynth eval features DATA --out FILE` wrote"
            ) from error


@lru_cache(maxsize=2)
def _load(path: Path, _changed: int, _size: int) -> TrainingFeatures:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise ValueError(f"its format is {metadata.get('format')!r}")
            content = json.loads(metadata["content"])
            embeddings = _unit(file.get_tensor("embeddings"))
    except SafetensorError as error:
        raise ValueError(one_line(error)) from error
    return TrainingFeatures(embeddings, content["encoder"], content["about"], content["held_out"])


def orientations(pictures: NDArray[np.uint8]) -> Sequence[NDArray[np.uint8]]:
    """The eight flips and quarter turns of pictures (N, H, W, 3), the pictures themselves first."""
    turned = [np.rot90(pictures, quarter, axes=(1, 2)) for quarter in range(4)]
    return [np.ascontiguousarray(each) for one in turned for each in (one, one[:, :, ::-1])]


def _unit(rows: NDArray[np.floating]) -> NDArray[np.float32]:
    values = rows.astype(np.float32)
    length = np.linalg.norm(values, axis=1, keepdims=True)
    unit: NDArray[np.float32] = np.divide(values, length, out=np.zeros_like(values), where=length > 0)
    return unit
