"""What lies where in real images, from masks beside them, as the map that a model is shown."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from terrasynth.errors import nearest
from terrasynth.prompts.layouts.masks import MaskClasses, read_classes, read_mask
from terrasynth.prompts.layouts.palettes import Colors, class_colors
from terrasynth.training.data.pairs import Pair
from terrasynth.training.data.views import View
from terrasynth.training.errors import InputError

KEPT = 512  # masks in memory


@dataclass(frozen=True)
class MaskFiles:
    """A mask for each of N images, read when it is asked for.

    Attributes:
        files: Of the masks.
        classes: What their values mean.
        digest: Names what they hold, 64 hexadecimal digits.
    """

    files: tuple[Path, ...]
    classes: MaskClasses
    digest: str

    def __len__(self) -> int:
        return len(self.files)

    def values(self, row: int, view: View | None = None, size: int | None = None) -> NDArray[np.uint8]:
        """A mask, or a view of it, with values as `Catalog.classes`.

        Args:
            size: Side of the view in pixels.

        Returns:
            `uint8` (H, W) of the mask, (size, size) of a view.
        """
        mask = _read(self.files[row], _key(self.classes))
        return mask if view is None or size is None else view.of_mask(mask, size)

    def map(self, row: int, view: View, size: int, colors: Colors) -> NDArray[np.uint8]:
        """A view of a mask in colors, `uint8` (size, size, 3)."""
        found: NDArray[np.uint8] = class_colors(colors)[self.values(row, view, size)]
        return found


def masks_of(pairs: Sequence[Pair], folder: str | Path) -> MaskFiles:
    """The masks of images: PNG files with the names of the images, in the same folders or in one, and `classes.yaml`.

    The mask of `images/a/1.jpg` is `images/a/1.png`, `a/1.png` or `1.png` in the folder, whichever is there first.

    Raises:
        InputError: An image has no mask, one of other proportions, or that of another image;
            `terrasynth.prompts.errors.InputError` where `classes.yaml` or a mask is missing or wrong.
    """
    place = Path(folder)
    classes = read_classes(place)
    found: dict[Path, str] = {}
    digest = hashlib.sha256(f"{_key(classes)}".encode())
    for pair in pairs:
        file = _mask_of(pair.name, place)
        name = file.relative_to(place).as_posix()
        if file in found:
            raise InputError(f"{name} would be the mask of {found[file]} and of {pair.name}; put masks into folders "
                             "that are called as those of the images")
        mask, (width, height) = _read(file, _key(classes)), pair.open().size
        if mask.shape[0] * width != mask.shape[1] * height:
            raise InputError(f"mask {name} is {mask.shape[1]} x {mask.shape[0]} pixels, and {pair.name} {width} x "
                             f"{height}; both have to show the same ground")
        digest.update(f"{mask.shape}".encode() + mask.tobytes())
        found[file] = pair.name
    return MaskFiles(tuple(found), classes, digest.hexdigest())


def _mask_of(name: str, place: Path) -> Path:
    """The mask of the image `name`.

    Raises:
        InputError: There is none.
    """
    parts = PurePosixPath(name).with_suffix(".png").parts
    for first in range(len(parts)):
        if (file := place.joinpath(*parts[first:])).is_file():
            return file
    there = [path.stem for path in place.glob("*.png")]
    raise InputError(f"{name} has no mask in {str(place)!r}{nearest(PurePosixPath(name).stem, there)}; it has to be "
                     f"called {parts[-1]}")


def to_maps(maps: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """Maps as pipelines of diffusers hand them to their networks: float32 (N, 3, S, S) from 0 to 1."""
    return np.divide(np.stack(maps).transpose(0, 3, 1, 2), 255, dtype=np.float32)


_Key = tuple[str, float, bytes, tuple[str, ...]]


def _key(classes: MaskClasses) -> _Key:
    return classes.label, classes.gsd, classes.values.tobytes(), classes.kinds


def _read(file: Path, key: _Key) -> NDArray[np.uint8]:
    now = file.stat()
    return _read_once(file, now.st_mtime_ns, now.st_size, key)


@lru_cache(maxsize=KEPT)
def _read_once(file: Path, time: int, size: int, key: _Key) -> NDArray[np.uint8]:
    label, gsd, values, kinds = key
    return read_mask(file, MaskClasses(label, gsd, np.frombuffer(values, np.uint8), kinds))
