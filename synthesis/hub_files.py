"""What of a run goes to the Hub, and whether it is fit to go."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from synthesis.errors import InputError, RunError, one_line
from synthesis.files import TEMPORARY
from synthesis.shards import GROUP_BYTES, GROUP_ROWS

# Nothing else of a run is published: not blocks/, scores/, locks, caches, what was being written, or evaluation/, whose
# page shows real pictures.
FILES = ("recipe.yaml", "identity.json", "runtime.json", "prompt_drops.json", "decisions.parquet", "evaluation.json")
FOLDERS = ("report",)
CARD, DATA = "README.md", "data"
MANIFEST = "terrasynth.json"
EXPORTED = "terrasynth-export.json"


@dataclass(frozen=True)
class LocalFile:
    """A file as it is to stand in the repository.

    Attributes:
        path: Its path there.
        source: Where it lies, or its bytes.
    """

    path: str
    source: Path | bytes = field(repr=False)

    @cached_property
    def size(self) -> int:
        """Bytes."""
        return len(self.source) if isinstance(self.source, bytes) else self.source.stat().st_size

    @cached_property
    def _hashes(self) -> tuple[str, str]:
        large, small = hashlib.sha256(), hashlib.sha1(b"blob %d\0" % self.size, usedforsecurity=False)
        for chunk in self._chunks():
            large.update(chunk)
            small.update(chunk)
        return large.hexdigest(), small.hexdigest()

    @property
    def sha256(self) -> str:
        """What large file storage calls it."""
        return self._hashes[0]

    @property
    def git_sha1(self) -> str:
        """What git calls it."""
        return self._hashes[1]

    def _chunks(self) -> Iterator[bytes]:
        if isinstance(self.source, bytes):
            yield self.source
            return
        with self.source.open("rb") as file:
            while chunk := file.read(1 << 20):
                yield chunk


def published_files(root: Path, card: str) -> list[LocalFile]:
    """The files of a run that are published, in the order of their paths, and the manifest that names them.

    Args:
        root: The run directory.
        card: The card's text, as it is to stand on the Hub.
    """
    found = [LocalFile(CARD, card.encode())]
    places = [root / name for name in FILES]
    places += [path for folder in FOLDERS for path in (root / folder).rglob("*")]
    found += [
        LocalFile(path.relative_to(root).as_posix(), path) for path in [*places, *shards_of(root)]
        if path.is_file() and path.suffix != TEMPORARY and not path.name.startswith(".")
    ]
    found.sort(key=lambda file: file.path)
    manifest = {"made_by": "terrasynth", "identity": identity_of(root), "files": [file.path for file in found]}
    return [*found, LocalFile(MANIFEST, (json.dumps(manifest, indent=1) + "\n").encode())]


def shards_of(root: Path) -> list[Path]:
    """The shards of a run, in order."""
    return sorted((root / DATA).glob("train-*.parquet"))


def identity_of(root: Path) -> str:
    """The run's identity.

    Raises:
        InputError: It is no run.
    """
    try:
        return str(json.loads((root / "identity.json").read_text(encoding="utf-8"))["identity"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        if (root / EXPORTED).is_file():
            raise InputError(f"{str(root)!r} is an export; push the run that it came from, or send the folder with "
                             f"`hf upload USER/NAME {root} . --repo-type dataset`") from error
        raise InputError(f"{str(root)!r} is no run: identity.json cannot be read ({one_line(error)[:80]}); give the "
                         "folder that `terrasynth run --out` wrote") from error


def check_shards(root: Path, card: str) -> int:
    """Check that the shards can be read, suit the Hub's viewer, and hold what the card says; gives their rows.

    Raises:
        InputError: There is none.
        RunError: One of them is damaged, has a row group that the viewer refuses, or the card tells of other rows.
    """
    shards = shards_of(root)
    if not shards:
        raise InputError(f"{str(root)!r} has no data/train-*.parquet, so there is nothing to push; run it first")
    rows = 0
    for shard in shards:
        name = shard.relative_to(root)
        try:
            metadata = pq.read_metadata(shard)
        except (OSError, pa.ArrowException) as error:
            raise RunError(f"{shard} is damaged ({one_line(error)[:80]}); remove it and run again, which writes it "
                           "from the blocks") from error
        for index in range(metadata.num_row_groups):
            group = metadata.row_group(index)
            if group.num_rows > GROUP_ROWS or (group.num_rows > 1 and group.total_byte_size > 2 * GROUP_BYTES):
                raise RunError(
                    f"row group {index} of {name} has {group.num_rows} rows and {group.total_byte_size / 2**20:.0f} "
                    f"MiB; the Hub's viewer takes up to {GROUP_ROWS} rows and {GROUP_BYTES >> 20} MiB; remove the "
                    "file and run again, which writes it anew"
                )
        rows += metadata.num_rows
    told = _rows_told(card)
    if told is not None and told != rows:
        raise RunError(f"the card of {str(root)!r} tells of {told} rows and data/ holds {rows}; run again, which "
                       "brings them together")
    return rows


def local_folders(root: Path) -> list[str]:
    """Folders of this machine that the recipe names: they are published with it."""
    try:
        tree = yaml.safe_load((root / "recipe.yaml").read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise InputError(f"{str(root)!r} is no run: recipe.yaml cannot be read ({one_line(error)[:80]})") from error
    return sorted({text for text in _texts(tree) if Path(text).is_absolute()})


def _texts(node: object) -> Iterator[str]:
    if isinstance(node, str):
        yield node
    elif isinstance(node, Mapping):
        for value in node.values():
            yield from _texts(value)
    elif isinstance(node, list):
        for value in node:
            yield from _texts(value)


def _rows_told(card: str) -> int | None:
    header = yaml.safe_load(card.partition("---\n")[2].partition("\n---\n")[0])
    try:
        return int(header["dataset_info"]["splits"][0]["num_examples"])
    except (KeyError, IndexError, TypeError):
        return None
