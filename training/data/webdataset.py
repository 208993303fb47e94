"""WebDataset shards: samples of a tar file are members of one name, an image beside its text and JSON."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from PIL import Image

from terrasynth.synthesis.core.errors import RunError, one_line
from terrasynth.training.data.image_rules import ImageRule
from terrasynth.training.data.images import SUFFIXES, image_in
from terrasynth.training.data.pairs import Opener
from terrasynth.training.data.places import Root, open_file
from terrasynth.training.data.rows import CAPTIONS, LABEL, Row, folder_split, pick
from terrasynth.training.data.settings import Source
from terrasynth.training.data.stamps import Stamp, stamp_of
from terrasynth.training.data.text_files import parse_json
from terrasynth.training.errors import ImageError, InputError, is_shortage

TEXTS = ("txt", "caption", "captions", "text")
CLASS = ("cls", "class")
MOST_TEXT = 1 << 24  # bytes of a text or JSON member


@dataclass(frozen=True)
class Member:
    """A regular file in a tar file.

    Attributes:
        start: Position of its first byte in the tar file.
        size: In bytes.
    """

    start: int
    size: int


@dataclass(frozen=True)
class TarImage:
    """Opens an image in a tar file, which may not have changed since it was listed.

    Attributes:
        stamp: What it was when it was listed.
        rule: What the user states of its pixels.
    """

    path: Path
    stamp: Stamp
    member: Member
    rule: ImageRule

    def __call__(self) -> Image.Image:
        """The image as `read_image` gives it.

        Raises:
            ImageError: See `read_image`; also if the tar file has changed.
        """
        return image_in(_bytes(self.path, self.stamp, self.member), self.rule)


def read_shard(root: Root, place: str, split: str, source: Source) -> Iterator[Row]:
    """The samples of a tar file in the order of their first members.

    Args:
        root: The folder of the data set.
        place: The tar file, relative to it.
        split: The split that its name or folder says; "" for none.

    Raises:
        InputError: It is damaged, compressed or empty, or a sample is not as it should be.
    """
    path = root.inside(root.folder / place, place)
    stamp = stamp_of(path)
    samples: dict[str, dict[str, Member]] = {}
    for name, member in _members(path, place):
        key, suffix = _key(name)
        held = samples.setdefault(key, {})
        if suffix in held:
            raise InputError(f"{place}: the member {name!r:.80} is there twice; a sample has one file of a kind")
        held[suffix] = member
    for key, held in samples.items():
        yield _row(path, stamp, f"{place}: {key:.80}", place, key, held, split, source)


def _members(path: Path, place: str) -> Iterator[tuple[str, Member]]:
    """The regular files of a tar file.

    Raises:
        InputError: It is damaged. `tarfile` alone ends a list in silence at the first header it cannot read.
        RunError: There is no memory or file handle left.
    """
    try:
        with open_file(path) as file:
            size = path.stat().st_size
            with tarfile.open(fileobj=file, mode="r:") as archive:
                for member in archive:
                    if member.isreg() and not member.issparse():
                        if member.offset_data + member.size > size:
                            raise InputError(f"{place}: the member {member.name!r:.80} is cut off; the file is damaged")
                        yield member.name, Member(member.offset_data, member.size)
                end = archive.offset  # of the header that ended the list: zeros, or one that could not be read
            file.seek(end)
            rest = file.read(1 << 20)
    except RunError:
        raise
    except (tarfile.TarError, OSError, ValueError, EOFError, OverflowError, RecursionError, MemoryError) as error:
        if isinstance(error, InputError):
            raise
        if is_shortage(error):
            raise RunError(f"{place} cannot be opened: {one_line(error)}; free some and run the same command again"
                           ) from error
        raise InputError(f"{place} is no tar file that can be read ({one_line(error, 80)}); a WebDataset shard is an "
                         "uncompressed tar file") from error
    if rest.strip(b"\0"):
        raise InputError(f"{place}: damaged at byte {end}, or several tar files in one; get the file again")


def _key(name: str) -> tuple[str, str]:
    """Key and suffix of a member: all up to the first dot of its name, and what follows."""
    folder, slash, file = name.rpartition("/")
    stem, _, suffix = file.partition(".")
    return folder + slash + stem, suffix.lower()


def _row(path: Path, stamp: Stamp, where: str, place: str, key: str, held: Mapping[str, Member], split: str,
         source: Source) -> Row:
    cells = _cells(path, stamp, where, held)
    images = [suffix for suffix in held if suffix.rpartition(".")[2] in SUFFIXES]
    if "image" in source.columns:
        images = [suffix for suffix in images if suffix == source.columns["image"]]
    if len(images) > 1:
        raise InputError(f"{where} has the images {', '.join(images)}; say which one under columns of a data YAML, as "
                         f"image: {images[0]}")
    captions = pick(cells, source.columns, "captions", CAPTIONS, where)
    if captions is None and "captions" not in source.columns:
        captions = next((_text(path, stamp, where, held[name]) for name in TEXTS if name in held), None)
    label = pick(cells, source.columns, "label", LABEL, where)
    if label is None and "label" not in source.columns:
        label = next((_text(path, stamp, where, held[name]) for name in CLASS if name in held), None)
    opener: Opener | None = TarImage(path, stamp, held[images[0]], source.rule) if images else None
    return Row(where, f"{place}/{key}", captions, label, cells.get("split"),
               split or folder_split(PurePosixPath(key).parts[:-1]),
               pick(cells, source.columns, "gsd", ("gsd",), where), opener)


def _cells(path: Path, stamp: Stamp, where: str, held: Mapping[str, Member]) -> Mapping[str, Any]:
    if "json" not in held:
        return {}
    found = parse_json(_text(path, stamp, f"{where}.json", held["json"]), f"{where}.json")
    if not isinstance(found, dict):
        raise InputError(f"{where}.json: {found!r:.40} is not a JSON object")
    return found


def _text(path: Path, stamp: Stamp, where: str, member: Member) -> str:
    if member.size > MOST_TEXT:
        raise InputError(f"{where}: {member.size:,} bytes of text; at most {MOST_TEXT:,} are read")
    try:
        return _bytes(path, stamp, member).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{where}: byte {error.start} is not UTF-8") from None
    except ImageError as error:
        raise InputError(f"{where}: {error}") from error


def _bytes(path: Path, stamp: Stamp, member: Member) -> bytes:
    with open_file(path) as file:
        stamp.check(file)
        file.seek(member.start)
        return file.read(member.size)
