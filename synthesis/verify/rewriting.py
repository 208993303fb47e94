"""Is a file what its own content gives? Page checksums cover what is in the pages; this covers headers and footer too.

Equal tables written by equal versions give equal bytes. So a stored file that was read can be written once more into
nothing and compared on the way: no hash has to be kept beside it, and none can be lost.
"""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
from typing_extensions import Buffer, override

from terrasynth.synthesis.core.files import readable
from terrasynth.synthesis.ledger.block_files import DRAWN, ENCODER, WITHHELD
from terrasynth.synthesis.ledger.blocks import WRITTEN

METADATA, OPTIONAL = {ENCODER, b"ARROW:schema"}, {DRAWN, WITHHELD}
_WRITER = re.compile(r"parquet-cpp-arrow version \d+(\.\d+)*\S*")


class ComparisonSink(io.RawIOBase):
    """A file to write to that keeps nothing and notes where it differs from one that exists.

    Attributes:
        difference: Offset of the first byte that differs; None so far.
    """

    def __init__(self, other: BinaryIO) -> None:
        self.difference: int | None = None
        self._other = other
        self._position = 0

    @override
    def writable(self) -> bool:
        return True

    @override
    def tell(self) -> int:
        return self._position

    @override
    def write(self, data: Buffer, /) -> int:
        written = bytes(data)
        found = self._other.read(len(written))
        if self.difference is None and found != written:
            same = next((at for at, (a, b) in enumerate(zip(found, written, strict=False)) if a != b), len(found))
            self.difference = self._position + same
        self._position += len(written)
        return len(written)


def wrong_with_bytes(path: Path, table: pa.Table, schema: pa.Schema) -> str | None:
    """What is wrong with a file of the ledger that could be read, as far as its bytes show.

    Nothing is said where another version of pyarrow, or the same one with another compressor, wrote the file. Then
    lengths differ, which damage to a stored file whose metadata can still be read does not bring about.

    Args:
        schema: As such files are written; reading renames the items of lists.
    """
    metadata = pq.read_metadata(readable(path))
    try:
        writer, keys = metadata.created_by, set(metadata.metadata or {})
    except UnicodeDecodeError:
        return "its footer does not say what wrote it"
    if keys - OPTIONAL != METADATA or not _WRITER.fullmatch(writer):
        return f"its footer names the writer {writer[:40]!r} and the metadata {sorted(keys)}"[:160]
    if not writer.endswith(f" {pa.__version__}"):
        return None
    with path.open("rb") as file:
        sink = ComparisonSink(file)
        pq.write_table(table.cast(schema.with_metadata(table.schema.metadata)), sink, **WRITTEN)
    if sink.difference is None or sink.tell() != path.stat().st_size:
        return None
    return f"byte {sink.difference} is not what its content gives"
