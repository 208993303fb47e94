"""Files as they are to stand on the Hub, with their hashes, and the manifest that names them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from terrasynth.synthesis.core.errors import RefusedError, RunError, one_line, refusal
from terrasynth.synthesis.core.files import readable
from terrasynth.synthesis.ledger.shards import GROUP_BYTES, GROUP_ROWS

CARD, DATA = "README.md", "data"
MANIFEST = "terrasynth.json"


@dataclass(frozen=True)
class LocalFile:
    """A file as it is to stand in the repository.

    Attributes:
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


@dataclass(frozen=True)
class ManifestEntry:
    """What a manifest says of a file that was pushed: enough to know it again.

    Attributes:
        size: Bytes.
        sha256: What large file storage calls it.
        git_sha1: What git calls it.
    """

    size: int
    sha256: str
    git_sha1: str


@dataclass(frozen=True)
class Manifest:
    """What an earlier push noted of itself.

    Attributes:
        kind: What was pushed: "run", "parquet export".
        identity: Of the run or export.
        hashes: The files that were pushed, by path; empty for a manifest of a version that noted no hashes.
    """

    kind: str
    identity: str
    hashes: Mapping[str, ManifestEntry]

    @classmethod
    def read(cls, content: object) -> Manifest | None:
        """From JSON; None where it is not what a push writes."""
        if not isinstance(content, dict) or content.get("made_by") != "terrasynth":
            return None
        kind, identity, hashes = content.get("kind", "run"), content.get("identity"), content.get("hashes", {})
        if not isinstance(kind, str) or not isinstance(identity, str) or not isinstance(hashes, dict):
            return None
        try:
            return cls(kind, identity, {str(path): ManifestEntry(**noted) for path, noted in hashes.items()})
        except TypeError:
            return None


def with_manifest(files: Sequence[LocalFile], kind: str, identity: str) -> list[LocalFile]:
    """Files in the order of their paths, then the manifest: a later push knows by its hashes what is ours.

    A path alone says nothing: somebody may have changed the file since, or written its name into the manifest.
    """
    found = sorted(files, key=lambda file: file.path)
    hashes = {file.path: {"size": file.size, "sha256": file.sha256, "git_sha1": file.git_sha1} for file in found}
    manifest = {"made_by": "terrasynth", "kind": kind, "identity": identity, "files": list(hashes), "hashes": hashes}
    return [*found, LocalFile(MANIFEST, (json.dumps(manifest, indent=1) + "\n").encode())]


def check_shard(root: Path, shard: Path) -> int:
    """Check that a Parquet file can be read and suits the Hub's viewer; gives its rows.

    Raises:
        RunError: It is damaged, or has a row group that the viewer refuses.
    """
    name = shard.relative_to(root)
    try:
        metadata = pq.read_metadata(readable(shard))
    except (OSError, pa.ArrowException, MemoryError) as error:
        if why := refusal(error):
            raise RefusedError(f"{shard} cannot be read: {why}") from error
        raise RunError(f"{shard} is damaged ({one_line(error, 80)}); remove it and run again, which writes it "
                       "anew") from error
    for index in range(metadata.num_row_groups):
        group = metadata.row_group(index)
        if group.num_rows > GROUP_ROWS or (group.num_rows > 1 and group.total_byte_size > 2 * GROUP_BYTES):
            raise RunError(
                f"row group {index} of {name} has {group.num_rows} rows and {group.total_byte_size / 2**20:.0f} "
                f"MiB; the Hub's viewer takes up to {GROUP_ROWS} rows and {GROUP_BYTES >> 20} MiB; remove the "
                "file and run again, which writes it anew"
            )
    return int(metadata.num_rows)
