"""One attempt of a block, without the images of the others in memory: a block may hold 4096 large ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow.parquet as pq

from terrasynth.synthesis.core.errors import RunError
from terrasynth.synthesis.core.files import readable
from terrasynth.synthesis.core.identity import Identity
from terrasynth.synthesis.ledger.block_files import AGAIN, UNREADABLE, damaged
from terrasynth.synthesis.ledger.blocks import Blocks

ROWS, BUFFER = 16, 2**18


def read_attempt(blocks: Blocks, identity: Identity, label: str, k: int, columns: Sequence[str]) -> dict[str, Any]:
    """Columns of an attempt, as plain data.

    Args:
        identity: Of the run, which says what id attempt k has.
        k: Its place in the class, from 0.
        columns: Of `blocks.SCHEMA`.

    Raises:
        RunError: The block is gone or damaged, or holds another attempt there.
        RefusedError: It may be whole and cannot be read.
    """
    index, row = divmod(k, blocks.block_size)
    path = blocks.path(label, index)
    wanted = list(dict.fromkeys(["id", *columns]))
    try:
        with pq.ParquetFile(readable(path), page_checksum_verification=True, pre_buffer=False,
                            buffer_size=BUFFER) as file:
            for batch in file.iter_batches(min(ROWS, blocks.block_size), columns=wanted, use_threads=False):
                if row < len(batch):
                    found: dict[str, Any] = batch.slice(row, 1).to_pylist()[0]
                    break
                row -= len(batch)
            else:
                raise ValueError(f"it has no attempt {k}")
    except UNREADABLE as error:
        raise damaged(path, error, AGAIN) from error
    if found["id"] != identity.attempt(label, k)[0]:
        raise RunError(f"{path} holds other attempts than its place in this run; run again with --repair: {AGAIN}")
    return found
