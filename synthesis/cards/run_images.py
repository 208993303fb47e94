"""All images of a run for its report: a row of each, and sheets of their tiles beside the page.

A sheet holds `PER_SHEET` consecutive attempts of one class and notes a hash of their images. So a run that is resumed
or grown makes the sheets that are new, and the last of each class; the others stay as they are.

The report is published with the data set. So what was rejected as a near copy of a training image is a gray tile here;
the block has the image.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from PIL import Image

from terrasynth.eval.pages.run_images import (
    ACCEPTED,
    BEYOND,
    PER_PAGE,
    REJECTED,
    UNDECIDED,
    WAITING,
    Redraw,
    RunImage,
    RunImages,
)
from terrasynth.eval.pages.tiles import (
    AFTER,
    LABELS,
    LABELS_AFTER,
    PER_SHEET,
    TileSize,
    note_of,
    overlay_png,
    overlay_sheet,
    sheet_name,
    tile_jpeg,
    tile_sheet,
)
from terrasynth.prompts.layouts.catalog import catalog_hash
from terrasynth.synthesis.cards.label_tiles import Placed, colors, described, legend, overlays
from terrasynth.synthesis.core import layout
from terrasynth.synthesis.core.files import write_file
from terrasynth.synthesis.core.identity import Identity
from terrasynth.synthesis.core.images import decode, encode
from terrasynth.synthesis.filters import NearCopyFilter
from terrasynth.synthesis.ledger import decisions as known
from terrasynth.synthesis.ledger.blocks import EDIT, IMAGE_AFTER, LAYOUT, TEXT_AFTER, Blocks
from terrasynth.synthesis.ledger.decisions import Decision

COLUMNS = ["id", "text", "seed", "image"]
HEAD = 1024  # bytes of a sheet in which its note stands
THREADS, WAITING_SHEETS = 4, 8
VERDICT_OF = {None: ACCEPTED, known.UNREVIEWED: WAITING, known.BEYOND_TARGET: BEYOND, known.BEYOND_MAX_ATTEMPTS: BEYOND,
              known.UNDECIDED: UNDECIDED}


class Stored(NamedTuple):
    """What is stored of an attempt, as far as its tiles show it.

    Attributes:
        image: The bytes of its image.
        after: Of a pair, those of the image after; else nothing.
        placed: What the model was shown; None of a run without layouts.
    """

    image: bytes
    after: bytes = b""
    placed: Placed | None = None

    @property
    def parts(self) -> list[bytes]:
        """All of it, as bytes."""
        return [self.image, *([self.after] if self.after else []),
                *([part.encode() for part in self.placed] if self.placed else [])]


def layers_of(identity: Identity | None) -> tuple[str, ...]:
    """What the report of a run shows beside its images."""
    if identity is None or not identity.has_layouts:
        return ()
    return (LABELS, AFTER, LABELS_AFTER) if identity.has_pairs else (LABELS,)


class Decided(Protocol):
    """What became of the attempts of one class."""

    @property
    def label(self) -> str:
        """The class."""

    @property
    def blocks(self) -> int:
        """How many blocks of it there are."""

    def block(self, index: int) -> list[Decision]:
        """The decisions on the attempts of a block, in order of k."""


def attempts(blocks: Blocks, classes: Sequence[Decided]) -> Iterator[tuple[RunImage, Stored]]:
    """All attempts with what is stored: the first block of each class, then the second of each, and so on."""
    columns = [*COLUMNS, *(name for name in (LAYOUT, EDIT, IMAGE_AFTER, TEXT_AFTER) if name in blocks.schema.names)]
    for index in range(max((each.blocks for each in classes), default=0)):
        for each in classes:
            if index >= each.blocks:
                continue
            rows = blocks.read(each.label, index, columns).to_pylist()
            for decision, row in zip(each.block(index), rows, strict=True):
                verdict = VERDICT_OF.get(decision.reason, REJECTED)
                scores = {name: score for name, score in decision.scores.items() if score is not None}
                stored = [row[name]["bytes"] for name in ("image", IMAGE_AFTER) if name in row]
                if is_near_copy(decision):
                    stored = [_gray(one) for one in stored]
                placed = Placed(row[LAYOUT], row.get(EDIT, "")) if LAYOUT in row else None
                change = described(placed) if placed and placed.edit else ""
                yield RunImage(row["id"], each.label, decision.k, row["seed"], row["text"], verdict,
                               decision.reason or "" if verdict == REJECTED else "", scores, row.get(TEXT_AFTER, ""),
                               change), Stored(stored[0], stored[1] if len(stored) > 1 else b"", placed)


def is_near_copy(decision: Decision) -> bool:
    """Whether an attempt was rejected because it is too near to a training image."""
    return (decision.reason or "").startswith(NearCopyFilter.model_fields["kind"].default)


def _gray(stored: bytes) -> bytes:
    """An image of the same size that shows nothing."""
    with Image.open(io.BytesIO(stored)) as image:
        return encode(np.full((image.height, image.width, 3), 128, np.uint8), "png")


def _with_size(
    found: Iterator[tuple[RunImage, Stored]]
) -> tuple[tuple[int, int] | None, Iterator[tuple[RunImage, Stored]]]:
    """Width and height of the images, None where there is none, and all of them."""
    first = next(found, None)
    if first is None:
        return None, found
    with Image.open(io.BytesIO(first[1].image)) as image:
        return image.size, chain([first], found)


def pages(
    blocks: Blocks, classes: Sequence[Decided], filters: Sequence[str], thresholds: Mapping[str, Mapping[str, float]],
    redraw: Redraw,
) -> Iterator[RunImages]:
    """The images of a run, a page each, and their sheets, written as the pages are taken; old ones go at the end.

    Args:
        filters: Names, in order.
        thresholds: Filter -> class -> the score that decides.
        redraw: What draws one again.

    Raises:
        RunError: A block is damaged, or the disk is full.
    """
    size, found = _with_size(attempts(blocks, classes))
    total = sum(each.blocks for each in classes) * blocks.block_size
    labels = tuple(each.label for each in classes)
    layers = layers_of(blocks.identity)
    known = legend(AFTER in layers) if layers else {}
    with Sheets(blocks.root, TileSize.of(size or (1, 1)), layers) as sheets:
        for first in range(0, total, PER_PAGE):
            images = []
            for image, stored in islice(found, PER_PAGE):
                sheets.add(image, stored)
                images.append(image)
            yield RunImages(images, size or (1, 1), redraw, labels, tuple(filters), thresholds, total, first,
                            layers=layers, legend=known)


def embedded(
    blocks: Blocks, classes: Sequence[Decided], filters: Sequence[str], thresholds: Mapping[str, Mapping[str, float]],
    redraw: Redraw, most: int,
) -> RunImages | None:
    """The first images of a run with their tiles, for a page that needs no other file; None where there are none.

    Args:
        filters: Names, in order.
        thresholds: Filter -> class -> the score that decides.
        redraw: What draws one again.
        most: Images at the most; of each class the same number, where it has as many.
    """
    size, found = _with_size(attempts(blocks, classes))
    if size is None:
        return None
    tile, images, layers = TileSize.of(size), list[RunImage](), layers_of(blocks.identity)
    tiles: dict[str, dict[str, bytes]] = {layer: {} for layer in ("", *layers)}
    made = [each.blocks * blocks.block_size for each in classes]
    of_each = max(range(max(made) + 1), key=lambda count: (sum(min(count, each) for each in made) <= most, count))
    for image, stored in found:
        if image.k < of_each:
            images.append(image)
            for layer, data in _tiles(stored, tile).items():
                tiles[layer][image.id] = data
    return RunImages(images, size, redraw, tuple(each.label for each in classes), tuple(filters), thresholds,
                     len(images), embedded=tiles.pop(""), left_out=sum(made) - len(images), layers=layers,
                     embedded_layers=tiles, legend=legend(AFTER in layers) if layers else {})


def _tiles(stored: Stored, size: TileSize) -> dict[str, bytes]:
    """The tiles of an attempt, each a file of its own, by layer."""
    found = {"": tile_jpeg(decode(stored.image), size)}
    if stored.after:
        found[AFTER] = tile_jpeg(decode(stored.after), size)
    if stored.placed:
        made = [overlay_png(each, colors()) for each in overlays(stored.placed, size)]
        found |= dict(zip((LABELS, LABELS_AFTER), made, strict=False))
    return found


class Sheets:
    """The sheets of tiles of one report, written as images come; those that are there already are left alone."""

    def __init__(self, run: Path, size: TileSize, layers: Sequence[str] = ()) -> None:
        """Begin.

        Args:
            size: Of the tiles.
            layers: What there are sheets of beside the images.
        """
        self._run, self._size, self._layers = run, size, layers
        self._open: dict[str, list[Stored]] = {}
        self._number: dict[str, int] = {}
        self._kept: set[str] = set()
        self._pool = ThreadPoolExecutor(min(THREADS, os.cpu_count() or 1))  # Pillow works without Python's lock
        self._working: list[Future[None]] = []

    def __enter__(self) -> Sheets:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                for label in [label for label, images in self._open.items() if images]:
                    self._close(label)
                self._wait(0)
                for name in layout.report_sheets(self._run):
                    if name not in self._kept:
                        (layout.report_folder(self._run) / name).unlink()
        finally:
            self._pool.shutdown(cancel_futures=True)

    def add(self, image: RunImage, stored: Stored) -> None:
        """Take the next image of its class."""
        images = self._open.setdefault(image.label, [])
        images.append(stored)
        if len(images) == PER_SHEET:
            self._close(image.label)

    def _close(self, label: str) -> None:
        number = self._number.get(label, 0)
        self._number[label] = number + 1
        stored = self._open.pop(label)
        paths = {layer: layout.report_folder(self._run) / sheet_name(label, number, layer)
                 for layer in ("", *self._layers)}
        self._kept.update(path.name for path in paths.values())
        self._working.append(self._pool.submit(self._write, paths, stored))
        self._wait(WAITING_SHEETS)

    def _wait(self, most: int) -> None:
        while len(self._working) > most:
            self._working.pop(0).result()

    def _write(self, paths: Mapping[str, Path], stored: Sequence[Stored]) -> None:
        note = _note([part for each in stored for part in each.parts], self._size, self._layers)
        wanted = [layer for layer, path in paths.items() if not _is_of(path, note)]
        for layer in set(wanted) & {"", AFTER}:
            images = [decode(each.after if layer else each.image) for each in stored]
            write_file(paths[layer], tile_sheet(images, self._size, note))
        if over := [layer for layer in (LABELS, LABELS_AFTER) if layer in wanted]:
            made = zip(*(overlays(each.placed, self._size) for each in stored if each.placed), strict=True)
            for layer, found in zip((LABELS, LABELS_AFTER), made, strict=False):
                if layer in over:
                    write_file(paths[layer], overlay_sheet(found, colors(), self._size, note))


def _is_of(path: Path, note: str) -> bool:
    """Whether a sheet is there that has this note."""
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as file:
        return note_of(file.read(HEAD)) == note


def _note(parts: Sequence[bytes], size: TileSize, layers: Sequence[str]) -> str:
    """What sheets were made of: images, and layouts with what they are painted by."""
    found = hashlib.sha256(repr(size).encode())
    if layers:
        found.update(f"{catalog_hash()} {colors()}".encode())
    for each in parts:
        found.update(len(each).to_bytes(8))
        found.update(each)
    return f"terrasynth {found.hexdigest()}"
