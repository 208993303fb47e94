"""Scene classes: those that file names say, and the same class under the names of several data sets."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import PurePosixPath

from terrasynth.training.data.rows import SPLITS

# RSICD and NWPU write airport_12.jpg and golf_course_003.jpg; an export of ours ends in an id of 16 hex digits.
_NUMBERED = re.compile(r"(?P<name>.*\D)_(\d+|(real-)?[0-9a-f]{16})")
_JOINED = re.compile(r"(?P<name>[A-Za-z]+)\d+")  # UC Merced: agricultural00.tif
_LETTERS = re.compile(r"[^\W\d_]+([ _-][^\W\d_]+)*")
NO_CLASS = frozenset({
    *SPLITS, "coco", "dji", "dsc", "frame", "im", "image", "images", "img", "mapillary", "patch", "photo", "pic",
    "picture", "sample", "scene", "screenshot", "tile", "before", "after", "a", "b",
})
"""What people and cameras call files before a number."""


def classes_of_files(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """The class that each file name of a data set says, and which of these classes the open ontology does not know.

    `CLASS_12.jpg` says one where the open ontology knows the class, or where it is made of letters, is no such word as
    "image", and is not what every file of the data set is called. `CLASS12.jpg` says one the ontology knows.

    Args:
        names: File names, folders before them or not.

    Returns:
        A class for each name, "" where it says none; the distinct unknown ones, sorted.
    """
    stems = [PurePosixPath(name).stem for name in names]
    found = [_class_of(stem) for stem in stems]
    unknown = Counter(name for name, known in found if name and not known)
    trusted = len(unknown) > 1 or any(known for _, known in found)
    return [name if known or trusted else "" for name, known in found], sorted(unknown) if trusted else []


def one_name(labels: Sequence[Iterable[str]]) -> tuple[list[dict[str, str]], str]:
    """The names under which the classes of several data sets go together, by the open ontology.

    Args:
        labels: The classes of each data set.

    Returns:
        For each data set its class -> the common one, where that differs; and what was merged, in words ("" for
        nothing). Two classes of one data set stay two.
    """
    renamed: list[dict[str, str]] = []
    for own in labels:
        common = {label: _known(label) or label for label in dict.fromkeys(own) if label}
        taken = Counter(common.values())
        renamed.append({label: name for label, name in common.items() if name != label and taken[name] == 1})
    merged = {f"{label} -> {name}": None for own in renamed for label, name in sorted(own.items())}
    return renamed, ", ".join(merged)


def renamed(label: str, names: Mapping[str, str]) -> str:
    """The common name of a class."""
    return names.get(label, label)


def _class_of(stem: str) -> tuple[str, bool]:
    """The class of a file name, and whether the open ontology knows it."""
    if match := _NUMBERED.fullmatch(stem):
        name = match["name"]
        if _known(name):
            return name, True
        return (name, False) if _LETTERS.fullmatch(name) and name.lower() not in NO_CLASS else ("", False)
    match = _JOINED.fullmatch(stem)
    return (match["name"], True) if match and _known(match["name"]) else ("", False)


@lru_cache(maxsize=4096)
def _known(label: str) -> str | None:
    """What the open ontology calls a class; None where it does not know it."""
    from terrasynth.prompts.scenes.ontology import load_ontology
    from terrasynth.prompts.scenes.wording import find_label

    ontology = load_ontology("open")
    return find_label(label, ontology.classes, ontology)
