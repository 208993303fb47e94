"""Checks of an export: all files are there, and each is a whole file of its kind with images that decode."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from terrasynth.synthesis.cards.licence_sources import FILE as LICENCE
from terrasynth.synthesis.core.drawn_texts import RULE
from terrasynth.synthesis.core.errors import InputError, RefusedError, one_line, refusal
from terrasynth.synthesis.core.files import TEMPORARY, readable, sha256
from terrasynth.synthesis.export.marker import MARKER, TEXTS, Marker, digest_of
from terrasynth.synthesis.export.output import README
from terrasynth.synthesis.ledger.label_columns import IMAGES
from terrasynth.synthesis.verify.blocks import NO_PICTURE
from terrasynth.synthesis.verify.faults import Fault, Remedy, refused, unreadable

AGAIN = "remove it and run the same `terrasynth export` again"
OURS = (MARKER, LICENCE, ".lock")  # not of the extent that the marker tells


def export_faults(folder: Path, counts: dict[str, int], any_card: bool = False) -> Iterator[Fault]:
    """Everything that can be seen to be wrong with an export from the export alone.

    Args:
        counts: Gets how many files were looked at.
        any_card: Whether the card may have another size than the export gave it: a push writes it anew.
    """
    try:
        marker = Marker.load(folder)
    except InputError as error:
        yield Fault(MARKER, f"cannot be read ({one_line(error, 120)})", Remedy.USER,
                    "export into an empty folder")
        return
    if marker is None or not marker.finished:
        yield Fault(MARKER, "says that the export did not end", Remedy.USER, "run the same `terrasynth export` again")
        return
    if marker.content.get(TEXTS) != RULE:
        yield Fault(MARKER, "is of a version whose captions and scenes say more than the texts that were drawn",
                    Remedy.USER, "run the same `terrasynth export` again")
    files, size, complete, hashes = 0, 0, True, dict[str, str]()
    for path in sorted(each for each in folder.rglob("*") if each.is_file() and each.name not in OURS):
        name = path.relative_to(folder).as_posix()
        if path.suffix == TEMPORARY:
            yield Fault(name, "left over by a process that was killed", Remedy.USER, AGAIN)
            continue
        files, size = files + 1, size + path.stat().st_size
        try:
            what = _wrong_with(path)
            hashes[name] = _hash(path)
        except RefusedError as error:
            yield refused(name, error)
            complete = False
            continue
        if what:
            yield Fault(name, what, Remedy.USER, AGAIN)
            complete = False
    counts["files"] = files
    wanted = marker.extent.get("files"), marker.extent.get("bytes")
    if any_card and (folder / README).is_file():
        size += marker.extent.get("card", 0) - (folder / README).stat().st_size
    if complete and marker.digest and (files, size) == wanted and marker.digest != digest_of(hashes):
        yield Fault(MARKER, "speaks of other files: each is whole, and one is not what was written, or lies where "
                            "another belongs", Remedy.USER, AGAIN)
    if (files, size) != wanted:
        yield Fault(MARKER, f"speaks of {wanted[0]} files with {wanted[1]} bytes, and there are {files} with {size}",
                    Remedy.USER, "run the same `terrasynth export` again")


def _hash(path: Path) -> str:
    try:
        return sha256(path)
    except OSError as error:
        raise RefusedError(refusal(error) or one_line(error)) from error


def _wrong_with(path: Path) -> str:
    """What is wrong with a file, or nothing.

    Raises:
        RefusedError: It may be whole and cannot be read.
    """
    check = KINDS.get(path.suffix.lower())
    if check is None:
        return ""
    try:
        check(path)
        return _wrong_with_hash(path) if path.suffix == ".tar" else ""
    except (*NO_PICTURE, KeyError, AttributeError, RecursionError, pa.ArrowException, tarfile.TarError) as error:
        found = unreadable(path, error)
        if isinstance(found, RefusedError):
            raise found from error
        return f"is damaged ({one_line(error, 120)})"


def _picture(source: BinaryIO) -> None:
    with Image.open(source) as picture:
        picture.load()


def _picture_file(path: Path) -> None:
    with path.open("rb") as file:
        _picture(file)


def _json(path: Path) -> None:
    with path.open(encoding="utf-8") as file:
        json.load(file)


def _lines(path: Path) -> None:
    with path.open(encoding="utf-8") as file:
        for line in file:
            json.loads(line)


def _parquet(path: Path) -> None:
    with pq.ParquetFile(readable(path), page_checksum_verification=True) as file:
        for batch in file.iter_batches(100):
            for row in batch.to_pylist():
                more = [row[name] for name in IMAGES if row.get(name)]
                for value in row["images"] if "images" in row else [row["image"], *more]:
                    _picture(io.BytesIO(value["bytes"]))


def _tar(path: Path) -> None:
    with path.open("rb") as file, tarfile.open(fileobj=file) as archive:
        for member in archive:
            stored = archive.extractfile(member)
            if stored is None:
                raise ValueError(f"{member.name} is no file")
            data = stored.read()
            if member.name.endswith(".json"):
                json.loads(data)
            elif not member.name.endswith(".txt"):
                _picture(io.BytesIO(data))


def _wrong_with_hash(path: Path) -> str:
    """A tar shard against its entry in the index beside it; tar itself has no checksums of content."""
    index = json.loads((path.parent / "index.json").read_text(encoding="utf-8"))
    hashes = {shard["name"]: shard["sha256"] for shards in index["splits"].values() for shard in shards}
    return "" if hashes.get(path.name) == sha256(path) else "is not what index.json says (sha256)"


KINDS: Mapping[str, Callable[[Path], None]] = {
    **dict.fromkeys((".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff"), _picture_file),
    ".json": _json, ".jsonl": _lines, ".parquet": _parquet, ".tar": _tar,
}
