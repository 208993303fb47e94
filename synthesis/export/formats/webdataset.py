"""WebDataset: tar shards that are read from start to end, and an index of them."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any, BinaryIO, ClassVar

from terrasynth.synthesis.export.output import Output
from terrasynth.synthesis.export.plan import Plan
from terrasynth.synthesis.export.registry import whole_number
from terrasynth.synthesis.export.rows import Row, as_json

INDEX = "index.json"


class WebdatasetExporter:
    """Samples of three members: the image, `txt` with the text, `json` with all columns.

    Args:
        rows_per_shard: Samples of a file.
    """

    name = "webdataset"
    own: ClassVar[Sequence[str]] = (r"(train|validation|test)-\d{5,}\.tar", INDEX)
    data_files = "{split}-*.tar"
    load = (
        "import json\nimport webdataset\nshards = json.load(open(\"FOLDER/index.json\"))[\"splits\"][\"train\"]\n"
        'rows = webdataset.WebDataset([f"FOLDER/{shard[\'name\']}" for shard in shards], shardshuffle=False)'
        '.decode("pil")'
    )
    loses = "nothing; what draws an image again and the scores are one JSON text, `provenance`"

    def __init__(self, rows_per_shard: int = 1000) -> None:
        self._rows = whole_number("rows_per_shard", rows_per_shard)

    def options(self) -> dict[str, object]:
        """What decides the files beside the rows."""
        return {"rows_per_shard": self._rows}

    def write(self, plan: Plan, out: Output) -> None:
        """Write `SPLIT-00000.tar` and so on, then `index.json`; a set that grows keeps all shards but the last one."""
        index: dict[str, list[dict[str, Any]]] = {}
        for split in plan.splits:
            rows, total = plan.rows(split), plan.total(split)
            index[split] = []
            for start in range(0, total, self._rows):
                name = f"{split}-{len(index[split]):05d}.tar"
                with out.file(name) as file:
                    _write_shard(file, islice(rows, self._rows))
                with (out.folder / name).open("rb") as written:
                    digest = hashlib.file_digest(written, "sha256").hexdigest()
                    size = written.tell()
                index[split].append({"name": name, "rows": min(self._rows, total - start), "bytes": size,
                                     "sha256": digest})
        with out.file(INDEX) as file:
            file.write((json.dumps({"splits": index}, indent=2) + "\n").encode())


def _write_shard(file: BinaryIO, rows: Iterable[Row]) -> None:
    with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for row in rows:
            for suffix, data in ((row.suffix, row.picture), ("txt", row.text.encode()),
                                 ("json", as_json(row.flat()).encode())):
                member = tarfile.TarInfo(f"{row.id}.{suffix}")  # its time, owner and mode are constants
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
