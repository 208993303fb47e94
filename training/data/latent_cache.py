"""Encoded images and texts on disk: made once, keyed by what decides them, read a row at a time."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from terrasynth.hashing import text_hash
from terrasynth.permissions import like_new_files
from terrasynth.synthesis.core.real_pictures import opened
from terrasynth.training.data.how_far import HowFar, encoding
from terrasynth.training.data.pictures import to_float

if TYPE_CHECKING:
    from terrasynth.training.data import Pair
    from terrasynth.training.data.views import View

Rows = dict[str, torch.Tensor]
BATCH = 8
PLACE = "place"
MOST_OPEN = 64
log = logging.getLogger("terrasynth")


def cache_key(**parts: object) -> str:
    """Hash of everything that decides what is cached, JSON-able; 16 hex digits."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return text_hash(text)


class TensorCache:
    """Rows of tensors in `safetensors` shards of equal length; a shard that is whole is never made again.

    Each says which rows of which cache it holds, so that one in the place of another is noticed.

    Args:
        folder: Where the shards are; its name holds the key.
    """

    def __init__(self, folder: Path, rows: int, shard: int) -> None:
        self.folder, self.rows, self.shard = folder, rows, shard
        self._open: dict[int, Any] = {}

    def __len__(self) -> int:
        return self.rows

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:05d}.safetensors"

    def missing(self) -> list[range]:
        """The rows of the shards that are not there yet."""
        starts = range(0, self.rows, self.shard)
        shards = [range(first, min(first + self.shard, self.rows)) for first in starts]
        return [rows for number, rows in enumerate(shards) if not self._holds(number, rows)]

    def _holds(self, number: int, rows: range) -> bool:
        """Whether a shard is there and of its place; one of an earlier version, which does not say, is taken so."""
        path = self._path(number)
        if not path.is_file():
            return False
        try:
            with safe_open(path, framework="pt") as file:
                lengths = {file.get_slice(name).get_shape()[0] for name in file.keys()}  # noqa: SIM118 - not a mapping
                place = (file.metadata() or {}).get(PLACE, self._place(number))
        except SafetensorError as error:
            log.warning("%s is damaged (%s) and made again", path, error)
            return False
        if lengths != {len(rows)} or place != self._place(number):
            log.warning("%s holds other rows than its place and is made again", path)
            return False
        return True

    def _place(self, number: int) -> str:
        return f"{self.folder.name}/{number}"

    def make(self, encode: Callable[[range], Rows], far: HowFar | None = None) -> None:
        """Make what is missing, a shard at a time.

        Args:
            encode: Rows -> tensors by name, the first axis counts the rows.
            far: Told how many rows are to be made; `encode` tells it how many it made.
        """
        missing = self.missing()
        if far is not None:
            far.begin(sum(map(len, missing)))
        for rows in missing:
            self.folder.mkdir(parents=True, exist_ok=True)
            path = self._path(rows.start // self.shard)
            partial = path.with_suffix(f".{os.getpid()}.tmp")
            partial.unlink(missing_ok=True)
            save_file({name: value.cpu().contiguous() for name, value in encode(rows).items()}, partial,
                      metadata={PLACE: self._place(rows.start // self.shard)})
            like_new_files(partial)
            os.replace(partial, path)

    def all(self, name: str) -> torch.Tensor:
        """One tensor of every row, in memory: (rows, ...), the shards after one another."""
        shards = range(-(-self.rows // self.shard))
        return torch.cat([self._file(number).get_tensor(name) for number in shards])

    def read(self, row: int, part: int | None = None) -> Rows:
        """The tensors of one row, or of one part of it along its first axis."""
        number, place = divmod(row, self.shard)
        file = self._file(number)
        found = {}
        for name in file.keys():  # noqa: SIM118 - not a mapping
            stored = file.get_slice(name)
            found[name] = stored[place] if part is None else stored[place, part]
        return found

    def _file(self, number: int) -> Any:  # noqa: ANN401 - safetensors is untyped
        if number not in self._open:
            if len(self._open) >= MOST_OPEN:  # fewer than a process may have, often 256
                self._open.pop(next(iter(self._open)))
            self._open[number] = safe_open(self._path(number), framework="pt")
        return self._open[number]


class TextCache:
    """What a pipeline makes of texts, by text; padding that a mask leaves out is not stored.

    Args:
        folder: Where encoded texts are kept; a folder of its own is made in it for each key.
        texts: All texts that will be asked for.
        encode: Texts -> tensors by name; one that ends in `_mask` says which positions of the others count.
        key: What decides the result besides the texts.
    """

    SHARD = 256

    def __init__(self, folder: Path, texts: Sequence[str], encode: Callable[[list[str]], Rows],
                 key: Mapping[str, object]) -> None:
        self.texts = sorted(set(texts))
        self._index = {text: row for row, text in enumerate(self.texts)}
        self._cache = TensorCache(folder / f"texts-{cache_key(texts=self.texts, **key)}", len(self.texts), self.SHARD)
        self._far = HowFar("encoding {} texts", "encoded")
        self._cache.make(lambda rows: self._encode(rows, encode), self._far)

    @torch.no_grad()
    def _encode(self, rows: range, encode: Callable[[list[str]], Rows]) -> Rows:
        parts = []
        for first in rows[::BATCH]:
            texts = self.texts[first:min(first + BATCH, rows.stop)]
            parts.append(encode(texts))
            self._far.add(len(texts))
        whole = {name: torch.cat([part[name].cpu() for part in parts]) for name in parts[0]}
        return without_padding(whole)

    @property
    def folder(self) -> Path:
        """Where the encoded texts are."""
        return self._cache.folder

    def read(self, texts: Sequence[str]) -> Rows:
        """Tensors for N texts, padded to the longest of them, float32 but for masks."""
        return stack([self._cache.read(self._index[text]) for text in texts])


class LatentCache:
    """Posterior mean and deviation of every view of every image, scaled as the denoiser reads them, float16.

    Args:
        folder: Where latents are kept; a folder of its own is made in it for each key.
        views: Of image i; the same number V for all.
        size: Side in pixels at which images are encoded.
        vae: A diffusers autoencoder with a diagonal Gaussian posterior, in float32.
        key: What decides the result: pixels, views, size, weights, precision.
        autocast: Context to encode in.
    """

    SHARD = 64

    def __init__(self, folder: Path, pairs: Sequence[Pair], views: Sequence[Sequence[View]], size: int,
                 vae: Any, key: Mapping[str, object], autocast: Callable[[], AbstractContextManager[None]],  # noqa: ANN401
                 ) -> None:
        self.autocast = autocast
        self.pairs, self.views, self.size, self.vae = pairs, views, size, vae
        self._cache = TensorCache(folder / f"latents-{cache_key(**key)}", len(pairs), self.SHARD)
        self._far = encoding(len(views[0]) if views else 0)
        self._cache.make(self._encode, self._far)

    def _encode(self, rows: range) -> Rows:
        """`mean` and `std`, (rows, V, C, h, w)."""
        made: list[Rows] = []
        for row in rows:
            picture = opened(self.pairs[row])
            seen = torch.stack([torch.from_numpy(view.of(picture, self.size)) for view in self.views[row]])
            with self.autocast():
                parts = [encode_pictures(self.vae, part) for part in seen.split(BATCH)]
            made.append({name: torch.cat([part[name].half().cpu() for part in parts]) for name in parts[0]})
            self._far.add(1)
        return {name: torch.stack([row[name] for row in made]) for name in made[0]}

    @property
    def folder(self) -> Path:
        """Where the latents are."""
        return self._cache.folder

    def read(self, rows: Sequence[int], views: Sequence[int]) -> Rows:
        """`mean` and `std` of one view an image, float32 (N, C, h, w)."""
        return stack([self._cache.read(row, view) for row, view in zip(rows, views, strict=True)])


@torch.no_grad()
def encode_pictures(vae: Any, pixels: torch.Tensor) -> Rows:  # noqa: ANN401 - diffusers is untyped
    """`mean` and `std` of the posterior of images `uint8` (N, S, S, 3), scaled as the denoiser reads them."""
    posterior = vae.encode(to_float(pixels.permute(0, 3, 1, 2)).to(vae.device)).latent_dist
    scale, shift = vae.config.scaling_factor, getattr(vae.config, "shift_factor", None) or 0.0
    return {"mean": (posterior.mean - shift) * scale, "std": posterior.std * scale}


def without_padding(rows: Rows) -> Rows:
    """Conditions of texts, cut to the longest of them where a mask says how long each is."""
    masks = [value for name, value in rows.items() if name.endswith("_mask")]
    if not masks:
        return rows
    length = max(1, int(masks[0].sum(1).max()))
    return {name: value[:, :length] for name, value in rows.items()}


def stack(rows: Sequence[Rows]) -> Rows:
    """Rows of tensors as one batch, zeros behind the shorter ones; float32 but for whole numbers."""
    found = {}
    for name in rows[0]:
        values = [row[name].float() if row[name].is_floating_point() else row[name] for row in rows]
        length = max(value.shape[0] for value in values)
        padded = [torch.cat([value, value.new_zeros(length - value.shape[0], *value.shape[1:])]) for value in values]
        found[name] = torch.stack(padded)
    return found
