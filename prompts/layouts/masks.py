"""Layouts from masks of a user's own: cut, turned, and recombined along the seam where two of them agree.

A folder holds PNG masks whose pixel values are classes, and `classes.yaml`:

    gsd: 2.3                  # meters a pixel
    label: residential        # the class that their layouts have
    classes: {0: land, 1: building, 2: road, 3: motorway, 4: water, 5: grass}

Classes are names of the catalog. Covers become the ground; of things, each connected piece becomes one, with the
piece's own outline.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import yaml
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from terrasynth.errors import nearest, one_line
from terrasynth.hashing import text_hash
from terrasynth.prompts.errors import InputError
from terrasynth.prompts.layouts.catalog import load_catalog
from terrasynth.prompts.layouts.layout import Layout, Raster, Thing
from terrasynth.prompts.scenes.draws import Draws
from terrasynth.prompts.settings import first_mistake

SETTINGS = "classes.yaml"
SEAM = 0.25  # of a side: how wide the band is in which two masks are joined
Classes = NDArray[np.uint8]


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    gsd: Annotated[float, Field(gt=0)]
    label: str
    classes: Annotated[dict[Annotated[int, Field(ge=0, le=255)], str], Field(min_length=1)]


@dataclass(frozen=True)
class Masks:
    """Masks of one class of scenes.

    Attributes:
        label: That class.
        gsd: Meters a pixel.
        names: The files, as paths in the folder.
        values: Each mask, uint8 (H, W), values as `Catalog.classes`.
        kinds: Kinds of thing that `classes.yaml` names.
        hash: Names what the files hold, 16 hexadecimal digits.
    """

    label: str
    gsd: float
    names: tuple[str, ...]
    values: tuple[Classes, ...]
    kinds: tuple[str, ...]
    hash: str


@dataclass(frozen=True)
class MaskClasses:
    """What `classes.yaml` says of the masks beside it.

    Attributes:
        label: The class of scenes that they show.
        gsd: Meters a pixel.
        values: uint8 (256,), by the value of a mask's pixel: the place in `Catalog.classes`, 255 for none.
        kinds: Kinds of thing that they have where they are there.
    """

    label: str
    gsd: float
    values: Classes
    kinds: tuple[str, ...]


def read_classes(folder: str | Path) -> MaskClasses:
    """Read `classes.yaml`.

    Raises:
        InputError: The file is missing or wrong, or names a class that is not in the catalog.
    """
    place = Path(folder)
    settings = _settings(place)
    values = np.full(256, 255, np.uint8)
    catalog = load_catalog()
    for value, name in settings.classes.items():
        if name not in catalog.classes:
            raise InputError(f"{place.name}/{SETTINGS}: class {value} is {name!r}, which is not in the catalog"
                             f"{nearest(name, catalog.classes)}; there is {', '.join(catalog.classes)}")
        values[value] = catalog.value(name)
    kinds = tuple(name for name in settings.classes.values() if name in catalog.things)
    return MaskClasses(settings.label, settings.gsd, values, kinds)


def read_masks(folder: str | Path, size: int) -> Masks:
    """Read a folder of masks.

    Args:
        size: Side of the layouts that are to be cut from them, in pixels.

    Raises:
        InputError: The folder, `classes.yaml` or a mask is missing or wrong: which, and what is wrong with it.
    """
    place = Path(folder)
    classes = read_classes(place)
    files = sorted(place.rglob("*.png"))
    if not files:
        raise InputError(f"folder {str(place)!r} has no .png mask; put masks beside {SETTINGS}")
    masks = tuple(read_mask(file, classes, size) for file in files)
    names = tuple(file.relative_to(place).as_posix() for file in files)
    digests = [[name, hashlib.sha256(mask.tobytes()).hexdigest(), list(mask.shape)]
               for name, mask in zip(names, masks, strict=True)]
    return Masks(classes.label, classes.gsd, names, masks, classes.kinds,
                 text_hash(json.dumps([classes.gsd, classes.label, classes.kinds, digests])))


def mask_layout(masks: Masks, seed: int, k: int, size: int, min_pixels: int = 12) -> Layout:
    """A layout from one mask or two: attempt k is a pure function of masks, seed and k.

    A square of each is cut anywhere and turned by quarters or mirrored. Half of the layouts are two squares joined
    along the seam across which classes differ least (dynamic programming, as in Efros and Freeman, SIGGRAPH 2001).
    """
    draws = Draws("masks", masks.label, seed, k)
    found = _square(masks, draws, size)
    if draws.chance(0.5):
        found = joined(found, _square(masks, draws, size))
    return layout_of(found, masks.label, masks.gsd, min_pixels, masks.kinds)


def joined(one: Classes, other: Classes) -> Classes:
    """Two masks of one size in one: the left of the first and the right of the second.

    Example:
        >>> import numpy as np
        >>> from terrasynth.prompts.layouts.masks import joined
        >>> one, other = np.zeros((8, 8), np.uint8), np.ones((8, 8), np.uint8)
        >>> one[:, 4] = 1  # where they agree, they are joined
        >>> joined(one, other)[0].tolist()
        [0, 0, 0, 0, 1, 1, 1, 1]
    """
    size = one.shape[1]
    left, right = int(size * (0.5 - SEAM / 2)), max(int(size * (0.5 + SEAM / 2)), int(size * (0.5 - SEAM / 2)) + 1)
    costs = (one[:, left:right] != other[:, left:right]).astype(np.int64)
    best = [costs[0]]
    for row in costs[1:]:
        above = np.pad(best[-1], 1, constant_values=np.iinfo(np.int64).max // 2)
        best.append(row + np.minimum(np.minimum(above[:-2], above[1:-1]), above[2:]))
    at = int(best[-1].argmin())
    found = one.copy()
    for row in range(len(costs) - 1, -1, -1):
        found[row, left + at :] = other[row, left + at :]
        if row:
            low = max(0, at - 1)
            at = low + int(best[row - 1][low : at + 2].argmin())
    return found


def layout_of(mask: Classes, label: str, gsd: float, min_pixels: int = 12, kinds: tuple[str, ...] = ()) -> Layout:
    """The layout of a mask: its semantic mask is the same again, but for pieces that are too small to be labeled.

    Args:
        mask: uint8 (N, N), values as `Catalog.classes`.
        kinds: Kinds of thing that the mask has where they are there.

    Example:
        >>> import numpy as np
        >>> from terrasynth.prompts.layouts.catalog import load_catalog
        >>> from terrasynth.prompts.layouts.labels import Labels
        >>> from terrasynth.prompts.layouts.masks import layout_of
        >>> mask = np.full((32, 32), load_catalog().value("grass"), np.uint8)
        >>> mask[4:9, 6:20] = load_catalog().value("building")
        >>> bool((Labels(layout_of(mask, "residential", 2.0)).semantic == mask).all())
        True
    """
    catalog = load_catalog()
    thing_values = {catalog.value(name): name for name in catalog.things}
    things, ground = [], mask.copy()
    for value, kind in thing_values.items():
        if (mask == value).any():
            things += [_thing(kind, piece, corner, gsd) for piece, corner in _cut_out(_pieces(mask == value))]
            ground[mask == value] = catalog.value("land")
    return Layout(label, round(len(mask) * gsd, 6), gsd, Raster.of(ground), things=tuple(things), min_pixels=min_pixels,
                  kinds=kinds)


def _settings(folder: Path) -> _Settings:
    file = folder / SETTINGS
    if not file.is_file():
        raise InputError(f"folder {str(folder)!r} has no {SETTINGS}, which says gsd, label and classes of its masks")
    try:
        tree: Any = yaml.safe_load(file.read_text(encoding="utf-8"))
        return _Settings.model_validate(tree)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{folder.name}/{SETTINGS} is no YAML ({one_line(error)})") from error
    except ValidationError as error:
        raise InputError(f"{folder.name}/{SETTINGS}: {first_mistake(error, _Settings)}") from error


def read_mask(file: Path, classes: MaskClasses, size: int = 1) -> Classes:
    """Read a mask: uint8 (H, W), values as `Catalog.classes`.

    Args:
        size: The least that either side has to have, in pixels.

    Raises:
        InputError: It cannot be read, its values are none of its classes, or it is too small.
    """
    values = classes.values
    try:
        with Image.open(file) as image:
            if image.mode not in ("P", "L", "1"):
                raise InputError(f"mask {file.name} has mode {image.mode}; its pixels have to be class values of 8 "
                                 "bits (palette or gray)")
            found = np.array(image, np.uint8)
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"mask {file.name} cannot be read ({one_line(error)})") from error
    unknown = np.unique(found[values[found] == 255])
    if len(unknown):
        raise InputError(f"mask {file.name} has the value {int(unknown[0])}, which {SETTINGS} does not name")
    if min(found.shape) < size:
        raise InputError(f"mask {file.name} is {found.shape[1]} x {found.shape[0]} pixels; layouts of {size} need as "
                         "many a side")
    return values[found]


def _square(masks: Masks, draws: Draws, size: int) -> Classes:
    """A square of a mask, cut anywhere and turned."""
    mask = draws.pick(masks.values)
    top, left = draws.below(mask.shape[0] - size + 1), draws.below(mask.shape[1] - size + 1)
    found = np.rot90(mask[top : top + size, left : left + size], draws.below(4))
    return np.ascontiguousarray(found[:, ::-1] if draws.chance(0.5) else found)


def _pieces(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Pieces of pixels that share an edge, numbered from 1 in the order of their first pixels; 0 elsewhere."""
    labels = np.where(mask, np.arange(1, mask.size + 1).reshape(mask.shape), 0)
    while True:  # the smallest number spreads within each piece, along whole runs at once
        for turned in (labels, labels.T):
            turned[...] = _run_minima(np.ascontiguousarray(turned))
        if _settled(labels):
            break
    _, found = np.unique(labels, return_inverse=True)
    found = found.reshape(mask.shape)
    return found if not mask.all() else found + 1


def _run_minima(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Each run of a row with its smallest number."""
    flat = labels.ravel()
    breaks = np.concatenate([[True], ((flat[1:] > 0) != (flat[:-1] > 0))])
    breaks[:: labels.shape[1]] = True
    starts = np.flatnonzero(breaks)
    return np.repeat(np.minimum.reduceat(flat, starts), np.diff(np.append(starts, len(flat)))).reshape(labels.shape)


def _settled(labels: NDArray[np.int64]) -> bool:
    across = (labels[:, 1:] > 0) & (labels[:, :-1] > 0) & (labels[:, 1:] != labels[:, :-1])
    down = (labels[1:] > 0) & (labels[:-1] > 0) & (labels[1:] != labels[:-1])
    return not (across.any() or down.any())


def _cut_out(pieces: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.bool_], tuple[int, int]]]:
    """Each piece in a mask of its own size, with column and row of its upper left corner."""
    rows, columns = np.nonzero(pieces)
    numbers = pieces[rows, columns]
    order = np.argsort(numbers, kind="stable")
    for own in np.split(order, np.flatnonzero(np.diff(numbers[order])) + 1):
        top, left = int(rows[own].min()), int(columns[own].min())
        piece = np.zeros((int(rows[own].max()) - top + 1, int(columns[own].max()) - left + 1), bool)
        piece[rows[own] - top, columns[own] - left] = True
        yield piece, (left, top)


def _thing(kind: str, piece: NDArray[np.bool_], corner: tuple[int, int], gsd: float) -> Thing:
    """A piece of a mask as a thing with the piece's outline, in the smallest box over headings of whole degrees."""
    outline = (np.array(_outline(piece), float) + corner) * gsd
    turn = np.deg2rad(np.arange(90))
    ahead, right = np.stack([np.sin(turn), -np.cos(turn)]), np.stack([np.cos(turn), np.sin(turn)])
    along, across = outline @ ahead, outline @ right
    size = np.stack([across.max(0) - across.min(0), along.max(0) - along.min(0)])
    best = int(size.prod(0).argmin())
    x, y = ((across[:, best].max() + across[:, best].min()) * right[:, best]
            + (along[:, best].max() + along[:, best].min()) * ahead[:, best]) / 2
    wide, long = size[:, best].tolist()
    heading = best if long >= wide else best + 90
    return Thing(kind, round(float(x), 3), round(float(y), 3), float(heading), round(max(long, wide), 3),
                 round(min(long, wide), 3), outline=tuple((round(float(a), 6), round(float(b), 6)) for a, b in outline))


def _outline(piece: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """The border of a piece along pixel edges; holes are joined to it by a line there and back, which fills nothing."""
    rings = _rings(np.pad(piece, 1))
    outer, *holes = sorted(rings, key=lambda one: -_area(one))
    for hole in holes:
        turn = (outer[0][0], hole[0][1])  # the line goes along the axes, where there and back cross the same places
        outer = [*outer, outer[0], turn, *hole, hole[0], turn, outer[0]]
    return outer


def _area(points: list[tuple[int, int]]) -> float:
    x, y = np.array(points, float).T
    return abs(float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum())) / 2


def _rings(padded: NDArray[np.bool_]) -> list[list[tuple[int, int]]]:
    """The closed borders of a mask, the inside to the right, corners only."""
    inside = padded.astype(np.int8)
    after: dict[tuple[int, int], list[tuple[int, int]]] = {}
    down, across = np.diff(inside, axis=0), np.diff(inside, axis=1)
    for row, column in np.argwhere(down).tolist():  # an edge along x between this row and the next
        a, b = (column - 1, row), (column, row)
        start, end = (a, b) if down[row, column] > 0 else (b, a)
        after.setdefault(start, []).append(end)
    for row, column in np.argwhere(across).tolist():
        a, b = (column, row - 1), (column, row)
        start, end = (b, a) if across[row, column] > 0 else (a, b)
        after.setdefault(start, []).append(end)
    rings = []
    while after:
        first = here = next(iter(after))
        points = [here]
        while True:
            options = after[here]
            there = options.pop()
            if not options:
                del after[here]
            if there == first:
                break
            points.append(there)
            here = there
        rings.append(_corners_only(points))
    return rings


def _corners_only(points: list[tuple[int, int]]) -> list[tuple[int, int]]:
    around = zip([points[-1], *points[:-1]], points, [*points[1:], points[0]], strict=True)
    return [b for a, b, c in around if (b[0] - a[0]) * (c[1] - b[1]) != (b[1] - a[1]) * (c[0] - b[0])]

