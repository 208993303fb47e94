"""Read image-caption data: `pairs.jsonl`, Karpathy-style JSON, an imagefolder, or any `datasets` data set."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from training.errors import InputError

SPLITS = {"train": "train", "restval": "train", "val": "val", "validation": "val", "valid": "val", "test": "test"}
FILES = (".json", ".jsonl", ".csv", ".parquet", ".tar")  # a Hub id may have a dot, too
SAVED = ("dataset_dict.json", "dataset_info.json")  # what `save_to_disk` of `datasets` leaves in a folder


@dataclass(frozen=True)
class Pair:
    """One real picture with its captions.

    Attributes:
        name: File name or row number; what a report of a broken picture calls it.
        label: Scene class, or "" where the data names none.
        split: "train", "val" or "test".
        captions: At least one caption, white space trimmed.
        open: Opens the picture as an RGB `PIL.Image`; raises `OSError` when it is broken.
    """

    name: str
    label: str
    split: str
    captions: tuple[str, ...]
    open: Callable[[], Image.Image] = field(repr=False, compare=False)


@dataclass(frozen=True)
class Skipped:
    """A row that was left out, and why."""

    name: str
    reason: str


@dataclass
class PairSet:
    """Image-caption pairs together with what had to be left out."""

    pairs: list[Pair]
    skipped: list[Skipped]

    def split(self, name: str) -> list[Pair]:
        """The pairs of one split ("train", "val" or "test"), in file order."""
        return [pair for pair in self.pairs if pair.split == name]

    @property
    def labels(self) -> tuple[str, ...]:
        """The distinct scene classes, sorted."""
        return tuple(sorted({pair.label for pair in self.pairs if pair.label}))


def read_pairs(source: str | Path, columns: Mapping[str, str] | None = None) -> PairSet:
    """Read image-caption data, whichever of the known layouts `source` has.

    Args:
        source: A folder with `pairs.jsonl`; a folder with (or the path of) a Karpathy-style `dataset*.json`; an
            imagefolder with `metadata.jsonl` or `metadata.csv`; else a `datasets` folder or Hub id.
        columns: For the last two: which column is the `image`, the `captions` (text or list), the `label`.

    Returns:
        The pairs, and the rows left out (no caption, no such file) with the reason.

    Raises:
        InputError: `source` has none of these layouts, or a named column is missing.
    """
    path = Path(source)
    if path.is_file() and path.suffix == ".json":
        return _collect(_karpathy(path))
    if not path.is_dir():
        if path.suffix in FILES or path.is_absolute() or str(source).startswith("."):
            raise InputError(f"data {str(source)!r} does not exist; give a folder, a dataset_*.json or a Hub id")
        return _collect(_hub(str(source), columns or {}))
    if (path / "pairs.jsonl").is_file():
        return _collect(_jsonl(path))
    saved = any((path / name).is_file() for name in SAVED)
    karpathy = sorted(path.glob("dataset*.json"))
    if karpathy and not saved:
        return _collect(_karpathy(karpathy[0]))
    for name in ("metadata.jsonl", "metadata.csv"):
        if next(path.rglob(name), None):
            return _collect(_imagefolder(path, name, columns or {}))
    if saved or any(path.rglob("*.parquet")):
        return _collect(_hub(str(path), columns or {}))
    raise InputError(
        f"data folder {str(source)!r} has no pairs.jsonl, dataset*.json, metadata.jsonl or Parquet files; "
        "add one of them (training/data.py says what each holds)"
    )


Row = tuple[str, str, str, Any, Callable[[], Image.Image] | None]


def _collect(rows: Iterable[Row]) -> PairSet:
    pairs: list[Pair] = []
    skipped: list[Skipped] = []
    for name, label, split, captions, opener in rows:
        if opener is None:
            skipped.append(Skipped(name, "the picture file does not exist"))
            continue
        texts = [captions] if isinstance(captions, str) else list(captions or [])
        kept = tuple(text.strip() for text in texts if isinstance(text, str) and text.strip())
        if len(kept) < len(texts):
            skipped.append(Skipped(name, f"{len(texts) - len(kept)} of {len(texts)} captions empty"))
        if not kept:
            if not texts:
                skipped.append(Skipped(name, "no caption"))
            continue
        if split not in SPLITS:
            raise InputError(f"{name}: split {split!r} is unknown; use one of {', '.join(sorted(SPLITS))}")
        pairs.append(Pair(name, label, SPLITS[split], kept, opener))
    if not pairs:
        first = f" (first: {skipped[0].name}: {skipped[0].reason})" if skipped else ""
        raise InputError(f"the data has no usable image-caption pair; {len(skipped)} rows were left out{first}")
    return PairSet(pairs, skipped)


def _file(path: Path) -> Callable[[], Image.Image] | None:
    if not path.is_file():
        return None

    def opener() -> Image.Image:
        with Image.open(path) as picture:
            return picture.convert("RGB")

    return opener


def _lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with path.open(encoding="utf-8") as stream:
        for number, line in enumerate(stream, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise InputError(f"{path.name}:{number}: not JSON ({error.msg}); one object a line is needed") from None
            if not isinstance(row, dict):
                raise InputError(f"{path.name}:{number}: {row!r:.40} is not a JSON object")
            yield number, row


def _jsonl(folder: Path) -> Iterator[Row]:
    for number, row in _lines(folder / "pairs.jsonl"):
        if "file" not in row:
            raise InputError(f"pairs.jsonl:{number}: the key 'file' is missing")
        name = str(row["file"])
        yield name, str(row.get("class", "")), row.get("split", "train"), row.get("captions"), _file(folder / name)


def _karpathy(path: Path) -> Iterator[Row]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        images = content["images"]
    except (json.JSONDecodeError, KeyError, TypeError):
        raise InputError(f"{path.name} is not Karpathy-style JSON: an object with a list 'images' is needed") from None
    folders = [path.parent, *(path.parent / name for name in ("images", "imgs", "RSICD_images"))]
    for row in images:
        name = str(row["filename"])
        found = next((f for folder in folders if (f := folder / row.get("filepath", "") / name).is_file()), None)
        captions = [sentence.get("raw") or " ".join(sentence.get("tokens", [])) for sentence in row["sentences"]]
        # RSICD names its pictures <class>_<number>.jpg; a purely numeric name carries no class.
        stem = Path(name).stem.rpartition("_")[0]
        yield name, stem, row.get("split", "train"), captions, _file(found) if found else None


def _imagefolder(folder: Path, metadata: str, columns: Mapping[str, str]) -> Iterator[Row]:
    for file in sorted(folder.rglob(metadata)):
        parts = file.relative_to(folder).parts
        split = parts[0] if parts[0] in SPLITS else "train"
        rows: Iterable[dict[str, Any]]
        if file.suffix == ".csv":
            with file.open(encoding="utf-8", newline="") as stream:
                rows = list(csv.DictReader(stream))
        else:
            rows = (row for _, row in _lines(file))
        for row in rows:
            if "file_name" not in row:
                raise InputError(f"{file.name}: a row has no 'file_name'; the imagefolder layout needs it")
            name = str(row["file_name"])
            captions = _column(row, columns, "captions", ("captions", "text", "caption"))
            label = _column(row, columns, "label", ("label", "class"), default="")
            yield name, str(label), str(row.get("split", split)), captions, _file(file.parent / name)


def _column(row: Mapping[str, Any], columns: Mapping[str, str], role: str, usual: tuple[str, ...],
            default: object = None) -> Any:  # noqa: ANN401 - a data set's cell can be anything
    if role in columns:
        if columns[role] not in row:
            raise InputError(f"column {columns[role]!r} for {role} is not in the data; it has {', '.join(row)}")
        return row[columns[role]]
    return next((row[name] for name in usual if row.get(name) is not None), default)


def _hub(source: str, columns: Mapping[str, str]) -> Iterator[Row]:
    from datasets import Dataset, load_dataset, load_from_disk
    from datasets import Image as ImageFeature

    saved = any(Path(source, name).is_file() for name in SAVED)
    loaded = load_from_disk(source) if saved else load_dataset(source)
    parts = {"train": loaded} if isinstance(loaded, Dataset) else dict(loaded)
    for split, part in parts.items():
        image = columns.get("image", "image")
        if image not in part.column_names:
            raise InputError(f"column {image!r} for image is not in {source!r}; it has {', '.join(part.column_names)}")
        classes = getattr(part.features.get(columns.get("label", "label")), "names", None)
        raw = part.cast_column(image, ImageFeature(decode=False))
        for number, row in enumerate(raw):
            label = _column(row, columns, "label", ("label", "class"), default="")
            label = classes[label] if classes and isinstance(label, int) else label
            captions = _column(row, columns, "captions", ("captions", "text", "caption"))
            yield f"{split}[{number}]", str(label), split, captions, _encoded(row[image])


def _encoded(cell: Mapping[str, Any]) -> Callable[[], Image.Image] | None:
    if cell.get("bytes") is None:
        return _file(Path(cell["path"])) if cell.get("path") else None

    def opener() -> Image.Image:
        with Image.open(io.BytesIO(cell["bytes"])) as picture:
            return picture.convert("RGB")

    return opener
