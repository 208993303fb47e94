"""A data YAML: where a data set is, and what nobody can know of it but its user."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from terrasynth.prompts.scenes.ontology import PROFILES
from terrasynth.prompts.settings import first_mistake
from terrasynth.training.data.image_rules import ImageRule
from terrasynth.training.data.rows import Columns
from terrasynth.training.data.text_files import parse_yaml, read_text
from terrasynth.training.errors import InputError

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

    Table: TypeAlias = Dataset | DatasetDict

SUFFIXES = (".yaml", ".yml")
UNSTATED = ImageRule()
LABEL = "{label}"
Role = Literal["image", "captions", "label", "gsd"]
Band = Annotated[int, Field(ge=1, strict=True)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]


class DataSettings(BaseModel):
    """What a data YAML says of a data set.

    Attributes:
        data: Folder, file or Hub id; a path is relative to the YAML file.
        config: Configuration of a data set that has several.
        columns: Role -> column; null for none.
        splits: The data's own name of a split -> train, val or test; null leaves its rows out.
        folders: Further folders that images may lie in.
        bands: The bands, from 1, that are red, green and blue, or the one that is gray.
        range: The values of deep samples that become 0 and 255.
        gsd: Ground sampling distance in meters per pixel of rows that name none.
        caption: What an image without a caption is called; "{label}" stands for the name of its class.
        ontology: What images of the classes can show, an ontology's YAML file or a profile of the expander `grammar`:
            trainings read texts drawn from it where an image has no caption. A path is relative to the YAML file.
        split_list: A CSV file with the columns `name` and `split`, which decides alone; a path is relative to the
            YAML file.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: str = Field(min_length=1)
    config: str | None = None
    columns: dict[Role, str | None] = {}
    splits: dict[str, Literal["train", "val", "test"] | None] = {}
    folders: tuple[str, ...] = ()
    bands: tuple[Band] | tuple[Band, Band, Band] | None = None
    range: tuple[Number, Number] | None = None
    gsd: Number | None = Field(default=None, gt=0)
    caption: str | None = None
    ontology: str | None = None
    split_list: str | None = None

    @field_validator("caption")
    @classmethod
    def _says(cls, value: str | None) -> str | None:
        if value is not None and (not value.strip() or set(value.replace(LABEL, "")) & set("{}")):
            raise ValueError(f"a text is needed in which {LABEL} may stand for the class")
        return value

    @field_validator("range")
    @classmethod
    def _rises(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and value[0] >= value[1]:
            raise ValueError("two numbers are needed, the lower one first")
        return value


@dataclass(frozen=True)
class Source:
    """One data set to read.

    Attributes:
        place: Folder, file or Hub id.
        columns: Role -> column; None for none.
        splits: The data's own name of a split -> "train", "val" or "test"; None leaves its rows out.
        config: Configuration of a data set that has several; None for its only or default one.
        folders: Further folders that images may lie in.
        gsd: Ground sampling distance in meters per pixel of rows that name none; None for unknown.
        table: The data itself, where it is an object of `datasets`; None where it has to be read.
        caption: What an image without a caption is called, with `LABEL` for its class; None for nothing.
        ontology: The file, or the profile's name, from which texts for trainings are drawn; None for none.
        split_list: The file that says the split of each image; None where the data says it.
    """

    place: str
    columns: Columns
    splits: Mapping[str, str | None]
    config: str | None = None
    folders: Sequence[Path] = ()
    rule: ImageRule = UNSTATED
    gsd: float | None = None
    table: Table | None = field(default=None, repr=False, compare=False)
    caption: str | None = None
    ontology: Path | str | None = None
    split_list: Path | None = None


def sources_of(source: str | Path | Table, columns: Columns) -> list[Source]:
    """The data sets that a user names: a place, or a data YAML, which holds one description or a list of them.

    Args:
        source: Folder, file, Hub id, the path of a YAML file, or an object of `datasets`.
        columns: Role -> column, for what is no YAML file.

    Raises:
        InputError: The YAML file is wrong.
    """
    if not isinstance(source, str | Path):
        info = getattr(source, "info", None)  # a `DatasetDict` has none
        return [Source(getattr(info, "dataset_name", None) or "data", columns, {}, table=source)]
    path = Path(source)
    if path.suffix not in SUFFIXES or not path.is_file():
        return [Source(str(source), columns, {})]
    content = parse_yaml(read_text(path, path.name), path.name)
    entries = content if isinstance(content, list) else [content]
    if not entries:
        raise InputError(f"{path.name} names no data set; write `data: FOLDER`")
    return [_source(entry, path, number if isinstance(content, list) else None)
            for number, entry in enumerate(entries, 1)]


def _source(entry: object, path: Path, number: int | None) -> Source:
    where = path.name if number is None else f"{path.name}, entry {number}"
    if not isinstance(entry, dict):
        raise InputError(f"{where}: {entry!r:.60} describes no data set; write `data: FOLDER` and what else is needed")
    try:
        found = DataSettings.model_validate(entry)
    except ValidationError as error:
        raise InputError(f"{where}: {first_mistake(error, DataSettings)}") from None
    below = path.parent / found.data
    for folder in found.folders:
        if not (path.parent / folder).is_dir():
            raise InputError(f"{where}: folders: {folder!r:.80} is no folder; a path is relative to the YAML file")
    if found.split_list is not None and not (path.parent / found.split_list).is_file():
        raise InputError(f"{where}: split_list: {found.split_list!r:.80} is no file; a path is relative to the YAML "
                         "file")
    columns = {str(role): column for role, column in found.columns.items()}
    return Source(str(below) if below.exists() else found.data, columns, found.splits, found.config,
                  [path.parent / folder for folder in found.folders], ImageRule(found.bands, found.range), found.gsd,
                  caption=found.caption, ontology=_ontology(found.ontology, path, where),
                  split_list=None if found.split_list is None else path.parent / found.split_list)


def _ontology(named: str | None, path: Path, where: str) -> Path | str | None:
    if named is None or (not (path.parent / named).is_file() and named in PROFILES):
        return named
    if not (path.parent / named).is_file():
        raise InputError(f"{where}: ontology: {named!r:.80} is no file, relative to the YAML file, and no profile "
                         f"({', '.join(PROFILES)})")
    return path.parent / named
