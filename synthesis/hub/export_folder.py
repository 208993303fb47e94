"""An export as it goes to the Hub: all of its files, and whether it is fit to go."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from terrasynth.synthesis.cards.header import split_card
from terrasynth.synthesis.cards.licence_sources import FILE, load_licence, save_licence
from terrasynth.synthesis.cards.licences import Licence, Statement
from terrasynth.synthesis.core.errors import InputError, RunError
from terrasynth.synthesis.core.files import TEMPORARY, write_file
from terrasynth.synthesis.core.identity import digest
from terrasynth.synthesis.core.storage.object_path import ObjectPath
from terrasynth.synthesis.export.licence import HEADING, combined, licence_digest, licence_text
from terrasynth.synthesis.export.marker import Marker
from terrasynth.synthesis.hub.files import CARD, DATA, LocalFile, check_shard
from terrasynth.synthesis.hub.read_back import read_back_files, read_back_splits
from terrasynth.synthesis.verify.exports import OURS, export_faults

ENTRIES = 10_000
"""Files that a folder on the Hub may have (https://huggingface.co/docs/hub/repositories-recommendations)."""
AGAIN = "run the same `terrasynth export` again"


class ExportFolder:
    """The folder of an export; see `terrasynth.synthesis.hub.folder.Folder`."""

    def __init__(self, root: Path) -> None:
        """Read what the folder says of itself.

        Raises:
            InputError: It says nothing that this version reads.
        """
        self.root = root
        marker = Marker.load(root)
        if marker is None or not marker.finished:
            raise InputError(f"the export in {str(root)!r} did not end; {AGAIN}")
        self._marker = marker
        self.kind = f"{marker.made_from.get('exporter', '')} export".strip()
        self.identity = digest(marker.made_from)

    @property
    def rows_at(self) -> Sequence[str]:
        """See `Folder`."""
        return [str(one["path"]) for one in self._data_files()]

    @property
    def compared(self) -> str:
        """See `Folder`."""
        return f"{'rows' if self.rows_at and self._streams else 'files'} read back are those of the export"

    def check(self, card: str, ignore_review: bool) -> int:
        """See `Folder`."""
        fault = next(export_faults(self.root, {}, any_card=True), None)
        if fault is not None:
            raise RunError(f"the export in {str(self.root)!r} is not fit to go: {fault.line}")
        for folder, entries in Counter(Path(file.path).parent.as_posix() for file in self.files()).items():
            if entries > ENTRIES:
                raise InputError(f"{folder!r} of {str(self.root)!r} has {entries} files and the Hub takes {ENTRIES} in "
                                 "a folder; export as parquet or webdataset, which put many rows into a file")
        for shard in sorted((self.root / DATA).glob("*.parquet")):
            check_shard(self.root, shard)
        told = {one["name"]: one["num_examples"] for one in _split(card, self.root)[0].get("dataset_info", {}).get(
            "splits", [])}
        if told and told != dict(self._marker.rows):
            raise RunError(f"the card of {str(self.root)!r} tells of other rows ({told}) than the export has "
                           f"({dict(self._marker.rows)}); {AGAIN}")
        return sum(self._marker.rows.values())

    def licence(self, stated: Statement | None) -> Licence:
        """See `Folder`."""
        if not (self.root / FILE).is_file():
            raise InputError(f"{str(self.root)!r} has no {FILE}, so nothing says what its parts are under; {AGAIN}")
        licence = load_licence(self.root, rule=combined)
        return licence if stated is None else combined(licence.sources, stated)

    def card(self, text: str, licence: Licence) -> str:
        """See `Folder`."""
        fields, body = _split(text, self.root)
        kept = {key: value for key, value in fields.items() if key not in ("license", "license_name", "license_link")}
        return _joined(licence.header() | kept, body.partition(HEADING)[0].rstrip() + "\n" + licence_text(licence))

    def published_card(self, card: str, repository: str, branch: str) -> str:
        """See `Folder`."""
        fields, body = _split(card, self.root)
        before, mark, after = body.partition("```python\n")
        at = "" if branch == "main" else branch
        download = f"hf download {repository} --repo-type dataset{f' --revision {at}' if at else ''} --local-dir FOLDER"
        told = f"After `{download}`:\n\n"
        if splits := [str(one["split"]) for one in self._data_files()]:
            place = f'"{repository}"' + (f', revision="{at}"' if at else "")
            told = (f'{mark}from datasets import load_dataset\nrows = load_dataset({place}, split="{splits[0]}")\n```'
                    f"\n\n{told}")
        else:
            told = f"`load_dataset` finds no more than the images here. {told}"
        return _joined(fields, (before + told + mark + after if mark else body).rstrip())

    def files(self) -> list[LocalFile]:
        """See `Folder`."""
        return [
            LocalFile(path.relative_to(self.root).as_posix(), path) for path in sorted(self.root.rglob("*"))
            if path.is_file() and path.name not in (*OURS, CARD) and path.suffix != TEMPORARY and path.stat().st_size
        ]

    def save(self, licence: Licence, card: str) -> None:
        """See `Folder`."""
        save_licence(self.root, licence)
        write_file(self.root / CARD, card)
        size, extent = (self.root / CARD).stat().st_size, self._marker.extent
        extent = {**extent, "bytes": extent["bytes"] + size - extent["card"], "card": size}
        content = {**self._marker.content, "licence": licence_digest(licence)}
        self._marker = replace(self._marker, content=content, extent=extent)
        self._marker.save(self.root)

    @property
    def _streams(self) -> bool:
        """Whether `load_dataset` reads the folder itself; it takes no address of object storage."""
        return not isinstance(self.root, ObjectPath)

    def read_back(self, repository: str, commit: str, token: str | None) -> int:
        """See `Folder`."""
        splits = [str(one["split"]) for one in self._data_files()]
        if splits and self._streams:
            return read_back_splits(self.root, splits, repository, commit, token)
        return read_back_files(self.files(), repository, commit, token)

    def notes(self, new: bool) -> list[str]:
        """See `Folder`."""
        if self.rows_at:
            return []
        return [f"the Hub's viewer and load_dataset find the images of a {self.kind} and not what is said of them; "
                "parquet, imagefolder, webdataset and geotiff they read wholly"]

    def _data_files(self) -> list[dict[str, Any]]:
        """The files that `load_dataset` reads, by split; none for a format that it does not know."""
        configs = _split((self.root / CARD).read_text(encoding="utf-8"), self.root)[0].get("configs") or []
        return list(configs[0]["data_files"]) if configs else []


def _split(text: str, root: Path) -> tuple[dict[str, Any], str]:
    return split_card(text, root / CARD, AGAIN)


def _joined(fields: dict[str, Any], body: str) -> str:
    return f"---\n{yaml.safe_dump(fields, sort_keys=False, allow_unicode=True)}---\n\n{body.strip()}\n"
