"""The file that says what an export folder is, and who wrote it: nothing else is ever written into."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from terrasynth.synthesis.core.errors import InputError, one_line
from terrasynth.synthesis.core.files import LOCK, TEMPORARY
from terrasynth.synthesis.core.identity import differences, digest, some_differences
from terrasynth.synthesis.core.records import RecordError, read_record, write_record
from terrasynth.synthesis.core.storage.object_path import LEASES

MARKER = "terrasynth-export.json"
FORMAT = "terrasynth export 2"
READ_FORMATS = (FORMAT, "terrasynth export 1")  # of the first, neither the record nor the files have a hash
CARD = "README.md"
TEXTS = "texts"  # in its content: the rule by which captions and scenes were cut down to the drawn texts


@dataclass(frozen=True)
class Marker:
    """What an export folder is.

    Attributes:
        made_from: What decides its rows and files beside the content of its sources; a folder keeps it for good.
        content: Hash of each source when the export ended; empty while it is unfinished.
        left_out: How many rows are in no split, by reason.
        extent: How many `files` there are beside this one and `licence.json`, their `bytes`, and those of the `card`.
        digest: Hash of the hashes of these but for the card, which a push writes anew; "" in a marker of an earlier
            version.
    """

    made_from: Mapping[str, Any]
    content: Mapping[str, str] = field(default_factory=dict)
    rows: Mapping[str, int] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)
    extent: Mapping[str, int] = field(default_factory=dict)
    digest: str = ""

    @property
    def finished(self) -> bool:
        """Whether the export ended."""
        return bool(self.content)

    def save(self, folder: Path) -> None:
        """Write it into a folder."""
        write_record(folder / MARKER, {"format": FORMAT} | asdict(self))

    @classmethod
    def load(cls, folder: Path) -> Marker | None:
        """That of a folder; None for a folder that is empty or not there.

        Raises:
            InputError: The folder holds something else.
        """
        path = folder / MARKER
        if not path.is_file():
            _check_empty(folder)
            return None
        try:
            found = read_record(path)
            if found.pop("format", None) not in READ_FORMATS:
                raise InputError(f"{str(path)!r} was not written by this version of terrasynth; choose another --out")
            marker = cls(**found)
            marker._check()
        except (RecordError, TypeError) as error:
            raise InputError(f"{str(path)!r} cannot be believed ({one_line(error, 160)}); export into an empty folder"
                             ) from error
        return marker

    def _check(self) -> None:
        for name in ("made_from", "content", "rows", "left_out", "extent"):
            value = getattr(self, name)
            counts = name in ("rows", "left_out", "extent")
            if not isinstance(value, dict) or (counts and not all(map(_is_count, value.values()))):
                raise RecordError(f"{name} {value!r} is impossible")
        if not isinstance(self.digest, str):
            raise RecordError(f"digest {self.digest!r} is impossible")


def digest_of(hashes: Mapping[str, str]) -> str:
    """Hash of the hashes of an export's files by name, the card's left out."""
    return digest({name: hashed for name, hashed in hashes.items() if name != CARD})


def check_same(marker: Marker, made_from: Mapping[str, Any], folder: Path) -> None:
    """Check that a folder was made in the way that is asked for now.

    Raises:
        InputError: It was not; the differences are named.
    """
    found = differences(marker.made_from, made_from)
    if found:
        raise InputError(f"{str(folder)!r} holds an export that was made otherwise ({some_differences(found)}); choose "
                         "another --out, or give the options it was made with")


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _check_empty(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--out {str(folder)!r} is a file; choose a folder")
    # What a process that was killed before it had written the marker leaves behind.
    ours = {LOCK, LEASES, MARKER + TEMPORARY}
    if folder.is_dir() and any(entry.name not in ours for entry in folder.iterdir()):
        raise InputError(f"{str(folder)!r} holds files and no {MARKER}, so no export wrote it; choose an empty folder")
