"""The schema of a row of foreign data, whichever format it came in: each value is checked, and named if it is wrong."""

from __future__ import annotations

import ast
import json
import math
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from terrasynth.training.data.pairs import Opener
from terrasynth.training.errors import InputError

SPLITS = {
    "train": "train", "training": "train", "restval": "train",
    "val": "val", "validation": "val", "valid": "val", "dev": "val",
    "test": "test", "testing": "test", "eval": "test", "evaluation": "test",
}
CAPTIONS = ("captions", "text", "caption")
LABEL = ("label", "class")
TEXT_OF = ("raw", "text", "caption", "captions", "sentence", "sentences")  # of a caption that is a mapping
_NUMBER = re.compile(r"[-_ ]?\d+$")
Columns = Mapping[str, str | None]


@dataclass(frozen=True)
class Row:
    """One row as a format gives it, its values unchecked.

    Attributes:
        where: File and line, or split and number: what an error names.
        name: File name or row number of the image.
        captions: A text, a list of texts, or what `captions_of` makes one of.
        label: Scene class; None for none.
        split: A name of a split; None where the row names none.
        folder_split: The split that folders or file names say; "" for none.
        gsd: Ground sampling distance in meters per pixel; None for unknown.
        open: Opens the image; None if there is no such file.
        before: Opens the earlier image of change captions.
        path: Place of the image in its data set with slashes; "" if it is no file of its own.
    """

    where: str
    name: str
    captions: object
    label: object = None
    split: object = None
    folder_split: str = ""
    gsd: object = None
    open: Opener | None = field(default=None, repr=False)
    before: Opener | None = field(default=None, repr=False)
    path: str = ""


def pick(row: Mapping[str, Any], columns: Columns, role: str, usual: Sequence[str], where: str) -> Any:  # noqa: ANN401
    """The cell of a role: of the column that the user named, or of the first usual one that holds something.

    Args:
        row: The cells by column.
        columns: Role -> column that the user named; None says that no column has this role.
        role: "image", "captions", "label" or "gsd".
        usual: Columns to try if the user named none.
        where: Named in the error.

    Raises:
        InputError: The named column is not there.
    """
    if role not in columns:
        return next((row[name] for name in usual if row.get(name) is not None), None)
    named = columns[role]
    if named is not None and named not in row:
        raise InputError(f"{where}: column {named!r} for {role} is not in the data; it has {', '.join(map(str, row))}")
    return None if named is None else row[named]


def file_of(row: Mapping[str, Any], key: str, where: str) -> str:
    """The file name under a key.

    Raises:
        InputError: The key is missing, or its value is no text.
    """
    if key not in row:
        raise InputError(f"{where}: the key {key!r} is missing; it has {', '.join(map(str, row)) or 'none'}")
    return text_of(row[key], key, where)


def text_of(value: object, what: str, where: str) -> str:
    """A value that has to be a text of at least one character.

    Raises:
        InputError: It is something else, or holds half of a surrogate pair, which no file can store.
    """
    if not isinstance(value, str) or not value:
        raise InputError(f"{where}: {what} is {value!r:.60}; a text is needed")
    return _storable(value, what, where)


def captions_of(value: object, where: str) -> tuple[list[str], int]:
    """The captions of a row, white space trimmed, and how many of its captions were empty.

    A text, a list of texts, a JSON list as text, and mappings with a `raw`, `text`, `caption` or `sentence` (as
    Karpathy-style data and lists of structs have them) are captions; None is none.

    Raises:
        InputError: It is something else, such as a number.
    """
    try:
        texts = _texts(value, where)
    except RecursionError:
        raise InputError(f"{where}: captions are nested too deeply; a text or a list of texts is needed") from None
    kept = [text for one in texts if (text := _storable(one, "captions", where).strip())]
    return kept, len(texts) - len(kept)


def label_of(value: object, where: str) -> str:
    """The class of a row, "" for None, NaN and blank text; a whole number stands for itself.

    Raises:
        InputError: It is something else, such as a list.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise InputError(f"{where}: the class is {value!r:.60}; one text is needed (or name another column as label)")
    return _storable(value, "the class", where).strip()


def split_of(value: object, folder: str, names: Mapping[str, str | None], where: str) -> str | None:
    """The split of a row: "train", "val" or "test"; that of its folder if it names none, and else "train".

    Args:
        folder: What its folder says; "" for nothing.
        names: What the user says of the data's own names of splits; None leaves the row out.
        where: Named in the error.

    Returns:
        The split; None where the user leaves the rows of this one out.

    Raises:
        InputError: There is no such split.
    """
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        value = folder or "train"
    if isinstance(value, str):
        if value in names:
            return names[value]
        if (known := SPLITS.get(value.strip().lower())) is not None:
            return known
    raise InputError(f"{where}: split {value!r:.60} is unknown; use one of {', '.join(SPLITS)}")


def gsd_of(value: object, where: str) -> float | None:
    """Ground sampling distance in meters per pixel; None for None, NaN and blank text.

    Raises:
        InputError: It is no number above 0.
    """
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    try:
        number = math.inf if isinstance(value, bool) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        number = math.inf
    if math.isnan(number):
        return None
    if not 0 < number < math.inf:
        raise InputError(f"{where}: gsd is {value!r:.60}; meters per pixel are needed, such as 0.3")
    return number


def folder_split(parts: Iterable[str]) -> str:
    """The split that the first of some folder names says, such as `val` or `train2017`; "" for none."""
    return next((split for part in parts if (split := SPLITS.get(_NUMBER.sub("", part.lower())))), "")


def _texts(value: object, where: str) -> list[str]:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return []
    if isinstance(value, str):
        written = _written_list(value)
        return [value] if written is None else _texts(written, where)
    if isinstance(value, Mapping):
        return _texts(_text_in(value, where), where)
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return [text for one in value for text in _one(one, where)]
    raise InputError(f"{where}: captions is {value!r:.60}; a text or a list of texts is needed")


def _one(value: object, where: str) -> list[str]:
    """A caption of a list, as a list; an empty text for one that is missing."""
    if value is None:
        return [""]
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        return _texts(_text_in(value, where), where) or [""]
    raise InputError(f"{where}: a caption is {value!r:.60}; a text is needed")


def _text_in(value: Mapping[Any, Any], where: str) -> object:
    for key in TEXT_OF:
        if value.get(key):
            return value[key]
    tokens = value.get("tokens")
    if isinstance(tokens, Sequence) and tokens and all(isinstance(token, str) for token in tokens):
        return " ".join(tokens)
    if any(key in value for key in (*TEXT_OF, "tokens")):
        return None
    keys = ", ".join(map(str, value)) or "no key"
    raise InputError(f"{where}: captions is a mapping with {keys:.60}; a text, a list of texts, or a key 'raw' is "
                     "needed")


def _written_list(text: str) -> object | None:
    """The list or mapping that a text spells, as a cell of CSV does; None for any other text."""
    bare = text.strip()
    if bare[:1] + bare[-1:] not in ("[]", "{}") or len(bare) > 1 << 20:
        return None
    try:
        found = json.loads(bare)
    except (ValueError, RecursionError):
        try:  # pandas writes a list as Python does
            with warnings.catch_warnings(action="ignore"):
                found = ast.literal_eval(bare)
        except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
            return None
    is_list = isinstance(found, list) and all(isinstance(one, str | Mapping) for one in found)
    return found if is_list or (isinstance(found, dict) and any(key in found for key in TEXT_OF)) else None


def _storable(text: str, what: str, where: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{where}: {what} has {text[error.start]!a}, half of a surrogate pair; write the whole "
                         "character") from None
    return text
