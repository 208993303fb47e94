"""Checks of the ledger: every block and every file of scores is where it belongs, whole, and says what it should."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
from PIL import Image

from terrasynth.errors import shortened
from terrasynth.prompts.errors import InputError as LayoutError
from terrasynth.prompts.layouts.changes import layout_after
from terrasynth.synthesis.core import layout
from terrasynth.synthesis.core.errors import RefusedError, one_line
from terrasynth.synthesis.core.files import TEMPORARY
from terrasynth.synthesis.ledger.block_files import UNREADABLE, drawn_in
from terrasynth.synthesis.ledger.blocks import AFTER, EDIT, IMAGE_AFTER, LAYOUT, after_name, schema_of, side_schema_of
from terrasynth.synthesis.verify.faults import (
    DAMAGED,
    DamagedError,
    Fault,
    Remedy,
    parquet,
    refused,
    unreadable_content,
)
from terrasynth.synthesis.verify.record import CheckedRun, lost_runtime
from terrasynth.synthesis.verify.rewriting import wrong_with_bytes

_ENCODER = re.compile(r"[0-9a-f]{16}|")
# What Pillow raises for bytes that are no image: some formats are recognized by errors of any kind.
NO_PICTURE = (OSError, ValueError, SyntaxError, TypeError, EOFError, MemoryError, Image.DecompressionBombError)
FILE_NAME = re.compile(r"\d{5,}\.parquet")


def layout_faults(run: CheckedRun) -> Iterator[Fault]:
    """Leftovers of a killed process anywhere, and files that do not belong into `blocks/`, `scores/` or `data/`."""
    for path in sorted(run.root.rglob(f"*{TEMPORARY}")):
        if DAMAGED not in path.relative_to(run.root).parts:
            yield Fault(run.relative(path), "left over by a process that was killed", Remedy.REMOVE)
    shapes = {"blocks": 2, "scores": 3, "data": 1}
    for folder, depth in shapes.items():
        for path in sorted((run.root / folder).rglob("*")):
            inside = path.relative_to(run.root / folder).parts
            named = path.name.removeprefix("train-") if folder == "data" else path.name
            ours = len(inside) == depth and FILE_NAME.fullmatch(named)
            if not ours and path.is_file() and path.suffix != TEMPORARY:
                yield Fault(run.relative(path), "no file of this run", Remedy.MOVE)


def block_faults(run: CheckedRun, fast: bool) -> Iterator[Fault]:
    """Every block that is there, and gaps between them."""
    for label in run.labels:
        expected = 0
        for index, path in run.blocks(label):
            for missing in range(expected, index):
                yield missing_block(run, label, missing)
            expected = index + 1
            run.count("blocks")
            try:
                what = next(wrong_with_block(run, path, label, index, fast), None)
            except RefusedError as error:
                run.broken.add((label, index))
                yield refused(run.relative(path), error)
                continue
            if what is not None:
                run.broken.add((label, index))
                yield Fault(run.relative(path), what, Remedy.DRAW)
    if run.unlike:
        name, how = next(iter(run.unlike.items()))
        yield lost_runtime(run.root, f"says otherwise than {len(run.unlike)} blocks how they were drawn, such as "
                                     f"{name} ({how})")


def missing_block(run: CheckedRun, label: str, index: int) -> Fault:
    """The fault of a block that is not there."""
    run.broken.add((label, index))
    return Fault(f"blocks/{label}/{index:05d}.parquet", "missing", Remedy.DRAW)


def score_faults(run: CheckedRun) -> Iterator[Fault]:
    """Every file of scores beside the blocks."""
    for path in layout.scores_files(run.root):
        if not FILE_NAME.fullmatch(path.name):
            continue
        label, index = path.parent.name, int(path.stem)
        if not (layout.block_folder(run.root, label) / path.name).is_file():
            if (label, index) not in run.broken:
                yield Fault(run.relative(path), "scores of a block that is not there", Remedy.MOVE)
            continue
        run.count("files of scores")
        try:
            what = next(_wrong_with_scores(run, path, label, index), None)
        except RefusedError as error:
            yield refused(run.relative(path), error)
            continue
        if what is not None:
            yield Fault(run.relative(path), what, Remedy.MEASURE)


def wrong_with_block(run: CheckedRun, path: Path, label: str, index: int, fast: bool) -> Iterator[str]:
    """What is wrong with a block, the worst first.

    Raises:
        RefusedError: It may be whole and cannot be read.
    """
    try:
        table = parquet(path)
        schema = schema_of(run.identity)
        yield from _wrong_with_table(table, schema)
        yield from _wrong_with_rows(run, table, label, index)
        yield from _wrong_with_drawing(run, table, run.relative(path))
        if not fast:
            yield from _wrong_with_pictures(run, table)
            if what := wrong_with_bytes(path, table, schema):
                yield what
    except DamagedError as error:
        yield one_line(error)
        return
    except UNREADABLE as error:
        yield one_line(unreadable_content(path, error))
        return
    run.count("attempts", len(table))


def _wrong_with_scores(run: CheckedRun, path: Path, label: str, index: int) -> Iterator[str]:
    try:
        table, schema = parquet(path), side_schema_of(run.identity)
        yield from _wrong_with_table(table, schema)
        if _encoder(table) != path.parts[-3]:
            yield f"measured by {_encoder(table)!r}, not by {path.parts[-3]!r}"
        if table.column("id").to_pylist() != [name for name, _ in _named(run, label, index)]:
            yield "holds scores of other attempts than its place"
        if what := wrong_with_bytes(path, table, schema):
            yield what
    except DamagedError as error:
        yield one_line(error)
    except UNREADABLE as error:
        yield one_line(unreadable_content(path, error))


def _wrong_with_table(table: pa.Table, schema: pa.Schema) -> Iterator[str]:
    if not table.schema.remove_metadata().equals(schema):
        wanted, found = set(map(str, schema)), set(map(str, table.schema.remove_metadata()))
        different = sorted(wanted ^ found) or ["their order"]
        yield f"has other columns than a block of this version ({shortened(', '.join(different), 120)})"
        return
    if not _ENCODER.fullmatch(_encoder(table)):
        yield f"was measured by {_encoder(table)[:40]!r}, which is no key of an encoder"
    measured = [name for name in ("embedding", "embedding" + AFTER) if name in table.schema.names]
    lengths = {len(each) for name in measured for each in table.column(name).to_pylist() if each is not None}
    if len(lengths) > 1:
        yield f"has embeddings of {len(lengths)} lengths"


def _encoder(table: pa.Table) -> str:
    return str((table.schema.metadata or {}).get(b"encoder", b"").decode(errors="replace"))


def _named(run: CheckedRun, label: str, index: int) -> list[tuple[str, int]]:
    start = index * run.block_size
    return [run.identity.attempt(label, k) for k in range(start, start + run.block_size)]


def _wrong_with_rows(run: CheckedRun, table: pa.Table, label: str, index: int) -> Iterator[str]:
    """Whether the attempts are those of the block's place, by id, number, class, seed and name of the image."""
    if len(table) != run.block_size:
        yield f"holds {len(table)} attempts, not {run.block_size}"
        return
    named, start = _named(run, label, index), index * run.block_size
    wanted: dict[str, list[Any]] = {
        "id": [name for name, _ in named],
        "seed": [seed for _, seed in named],
        "k": list(range(start, start + run.block_size)),
        "label": [label] * run.block_size,
    }
    for column, values in wanted.items():
        if table.column(column).to_pylist() != values:
            yield f"holds other attempts than its place in this run (column {column!r})"
            return
    paths = [value and value["path"] for value in table.column("image").to_pylist()]
    if paths != [f"{name}.{run.image_format}" for name in wanted["id"]]:
        yield "names its images otherwise than by id"
    if run.identity.has_pairs:
        yield from _wrong_with_pairs(run, table, wanted["id"])
    for text, captions in zip(table.column("text").to_pylist(), table.column("captions").to_pylist(), strict=True):
        if not captions or captions[0] != text:
            yield f"has an attempt whose captions do not begin with its text {str(text)[:40]!r}"
            return


def _wrong_with_pairs(run: CheckedRun, table: pa.Table, ids: list[str]) -> Iterator[str]:
    """Whether edits fit their layouts, and images after have their names."""
    paths = [value and value["path"] for value in table.column(IMAGE_AFTER).to_pylist()]
    if paths != [after_name(name, run.image_format) for name in ids]:
        yield "names its images after otherwise than by id"
    for k, layout_, edit in zip(*(table.column(name).to_pylist() for name in ("k", LAYOUT, EDIT)), strict=True):
        try:
            layout_after(layout_, edit)
        except LayoutError as error:
            yield f"the edit of attempt {k} is none ({one_line(error, 120)})"
            return


def _wrong_with_drawing(run: CheckedRun, table: pa.Table, name: str) -> Iterator[str]:
    """What the block says of how it was drawn; where the run's record says otherwise, that is the record's fault."""
    try:
        drawn = drawn_in(table.schema.metadata or {})
    except ValueError as error:
        yield one_line(error)
        return
    if drawn is not None and run.runtime is not None and not run.runtime.drew(drawn):
        run.unlike[name] = run.runtime.unlike(drawn)


def _wrong_with_pictures(run: CheckedRun, table: pa.Table) -> Iterator[str]:
    sizes = set()
    shown = [name for name in ("image", IMAGE_AFTER) if name in table.schema.names]
    for k, value in (each for name in shown
                     for each in zip(table.column("k").to_pylist(), table.column(name).to_pylist(), strict=True)):
        try:
            with Image.open(io.BytesIO(value["bytes"]), formats=[run.image_format]) as picture:
                picture.load()
                sizes.add(picture.size)
        except NO_PICTURE as error:
            if isinstance(error, MemoryError):
                raise
            yield f"the image of attempt {k} is no {run.image_format} ({one_line(error, 80)})"
            return
    if len(sizes) > 1:
        yield f"has images of {len(sizes)} sizes"
