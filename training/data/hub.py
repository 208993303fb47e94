"""Data sets of the Hugging Face Hub, and those that `save_to_disk` of `datasets` left in a folder."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from terrasynth.errors import shortened
from terrasynth.synthesis.core.errors import RunError, one_line
from terrasynth.training.data.image_rules import ImageRule
from terrasynth.training.data.images import FileImage, guarded, image_in
from terrasynth.training.data.parquet import IMAGE, bytes_of, check_columns, check_image, wanted_columns
from terrasynth.training.data.places import Root
from terrasynth.training.data.rows import CAPTIONS, LABEL, Row, pick
from terrasynth.training.data.settings import Source
from terrasynth.training.data.text_files import parse_json, read_text
from terrasynth.training.errors import ImageError, InputError, is_shortage

if TYPE_CHECKING:
    from datasets import Dataset

DICT, INFO, STATE = "dataset_dict.json", "dataset_info.json", "state.json"
HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*(@[\w./-]+)?")


@dataclass(frozen=True)
class TableImage:
    """Opens an image of a table of `datasets`.

    Attributes:
        table: The data set, its images undecoded.
        root: Where a file that the row names may lie.
        rule: What the user states of its pixels.
    """

    table: Dataset = field(repr=False)
    column: str
    row: int
    root: Root
    rule: ImageRule

    def __call__(self) -> Image.Image:
        """The image as `read_image` gives it.

        Raises:
            ImageError: See `read_image`; also if the row names a file that is not there.
            InputError: It names a file elsewhere on this machine.
            RunError: There is no memory or file handle left.
        """
        try:
            cell = self.table[self.row][self.column]
        except Exception as error:
            if is_shortage(error):
                raise RunError(f"row {self.row} cannot be read: {one_line(error)}; free some and run the same command "
                               "again") from error
            raise ImageError(f"its table cannot be read ({one_line(error, 80)})") from error
        data = bytes_of(cell)
        if data is not None:
            return image_in(data, self.rule)
        name = cell.get("path") if isinstance(cell, Mapping) else cell
        if not isinstance(name, str) or not name:
            raise ImageError("no bytes of an image")
        find = self.root.absolute if os.path.isabs(name) else self.root.find
        path = find(name, f"row {self.row}")
        if path is None:
            raise ImageError(f"the image file {name!r:.80} does not exist")
        return guarded(FileImage(path, self.rule))


def is_saved(folder: Path) -> bool:
    """Whether a folder is what `save_to_disk` leaves."""
    return (folder / DICT).is_file() or all((folder / name).is_file() for name in (INFO, STATE))


def read_saved(root: Root, source: Source) -> Iterator[Row]:
    """The rows of a folder that `save_to_disk` left; they are read in place, so no cache comes between.

    Raises:
        InputError: It is damaged, or a column is missing.
    """
    for place in root.walk():
        if place.rpartition("/")[2] == STATE:
            _check_state(root, place)
    with _errors(f"data {root.name!r} cannot be read as what save_to_disk leaves"):
        from datasets import load_from_disk

        loaded = load_from_disk(str(root.folder))
    yield from _tables(loaded, root.name, root, source)


def read_hub(source: Source) -> Iterator[Row]:
    """The rows of a data set on the Hub, or in its cache if the Hub cannot be asked.

    The cache of `datasets` is right here: its key has the commit that was read.

    Raises:
        InputError: There is no such data set, it cannot be had, has several configurations, or a column is missing.
    """
    name, _, revision = source.place.partition("@")
    print(f"reading {source.place} from the Hugging Face Hub", file=sys.stderr)
    with _errors(f"data {source.place!r} is no folder here, and cannot be had from the Hub"):
        from datasets import config, load_dataset

        loaded = load_dataset(name, source.config, revision=revision or None)
        downloads = Path(config.HF_DATASETS_CACHE)
        from huggingface_hub.constants import HF_HUB_CACHE
    downloads.mkdir(parents=True, exist_ok=True)
    yield from _tables(loaded, source.place, Root(downloads, [Path(HF_HUB_CACHE)]), source)


def read_table(source: Source) -> Iterator[Row]:
    """The rows of `source.table`; whoever holds it has let `datasets` open its files, wherever they lie.

    Raises:
        InputError: It is a stream, or a column is missing.
    """
    from datasets import Dataset, DatasetDict

    if not isinstance(source.table, Dataset | DatasetDict):
        raise InputError(f"data of type {type(source.table).__name__} cannot be read; give a folder, a Hub id, or a "
                         "Dataset or DatasetDict of datasets")
    yield from _tables(source.table, source.place, Root(Path(Path.cwd().anchor)), source)


def _tables(loaded: Any, name: str, root: Root, source: Source) -> Iterator[Row]:  # noqa: ANN401 - Dataset or DatasetDict
    parts = loaded if isinstance(loaded, dict) else {str(loaded.split or "train").partition("[")[0]: loaded}
    for split, part in parts.items():
        yield from _rows(part.with_format(None), str(split), name, root, source)


def _rows(part: Dataset, split: str, name: str, root: Root, source: Source) -> Iterator[Row]:
    from datasets import Image as ImageFeature

    image = source.columns.get("image") or IMAGE
    check_image(part.features.arrow_schema, image, name)
    check_columns(part.column_names, source, name)
    with _errors(f"data {name!r} cannot be read"):
        part.data.validate(full=True)  # pyarrow itself trusts what a mapped file says
        raw = part.cast_column(image, ImageFeature(decode=False))
        wanted = wanted_columns(source) - {image}
        cells = raw.select_columns([column for column in raw.column_names if column in wanted])
        names = {column: feature.names for column, feature in cells.features.items() if hasattr(feature, "names")}
        rows = iter(cells) if cells.column_names else ({} for _ in range(len(raw)))
    for number in range(len(raw)):
        with _errors(f"{name}, {split}[{number}] cannot be read"):
            row = next(rows)
        row |= {column: _name(row.get(column), known) for column, known in names.items()}
        where = f"{split}[{number}]"
        yield Row(where, where, pick(row, source.columns, "captions", CAPTIONS, where),
                  pick(row, source.columns, "label", LABEL, where), split, "",
                  pick(row, source.columns, "gsd", ("gsd",), where),
                  TableImage(raw, image, number, root, source.rule))


def _name(value: object, names: list[str]) -> object:
    if not isinstance(value, int):
        return value
    return names[value] if 0 <= value < len(names) else None


def _check_state(root: Root, place: str) -> None:
    """Check that a saved table names Arrow files in its own folder: `load_from_disk` opens any."""
    content = parse_json(read_text(root.inside(root.folder / place, place), place), place)
    listed = content.get("_data_files") if isinstance(content, dict) else None
    if not isinstance(listed, list):
        raise InputError(f"{place}: '_data_files' is missing; the folder is not what save_to_disk leaves")
    for entry in listed:
        name = entry.get("filename") if isinstance(entry, dict) else None
        if not isinstance(name, str) or root.find(name, place, place.rpartition("/")[0]) is None:
            raise InputError(f"{place}: the Arrow file {name!r:.80} does not exist; save the data set again")


@contextmanager
def _errors(what: str) -> Iterator[None]:
    """Run `datasets` without its progress bars, and make one line of whatever it raises.

    Raises:
        InputError: It raised something.
        RunError: There is no memory or file handle left.
    """
    import datasets

    bars, verbosity = datasets.are_progress_bars_disabled(), datasets.logging.get_verbosity()
    datasets.disable_progress_bars()
    datasets.logging.set_verbosity(logging.CRITICAL)
    try:
        yield
    except (InputError, RunError):
        raise
    except Exception as error:
        if is_shortage(error):
            raise RunError(f"{what}: {one_line(error)}; free some and run the same command again") from error
        raise InputError(f"{what} ({_short(error)})") from error
    finally:
        datasets.logging.set_verbosity(verbosity)
        if not bars:
            datasets.enable_progress_bars()


def _short(error: Exception) -> str:
    """The library's reason without its advice, on one line."""
    text = one_line(error)
    if "Config name is missing" in text:
        text += "; name one in a data YAML (config: NAME)"
    return shortened(text, 240)
