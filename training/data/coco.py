"""COCO annotations: images, and captions or categories that refer to them by number; a JSON file for each split."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from terrasynth.training.data.images import FileImage
from terrasynth.training.data.parquet import split_of_words
from terrasynth.training.data.places import IMAGE_FOLDERS, Root
from terrasynth.training.data.rows import LABEL, Row, file_of, folder_split, pick
from terrasynth.training.data.settings import Source
from terrasynth.training.data.text_files import parse_json, read_text
from terrasynth.training.errors import InputError

FOLDER = "annotations"
_PLACE = re.compile(rf"[^/]+\.json|{FOLDER}/[^/]+\.json|[^/]+/_annotations\.coco\.json")
_KIND = re.compile(r"(captions|instances|person_keypoints|stuff|panoptic)_?")


def annotation_files(root: Root, places: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    """The files of annotations with their content: those of captions alone, where there are any."""
    found = {}
    for place in places:
        if _PLACE.fullmatch(place):
            try:
                content = parse_json(read_text(root.inside(root.folder / place, place), place), place)
            except InputError:  # whatever else lies there; a file that is meant is named in what is then missing
                continue
            if is_coco(content):
                found[place] = content
    captions = {place: content for place, content in found.items() if _has_captions(content)}
    return captions or found


def is_coco(content: object) -> bool:
    """Whether a JSON document has images and annotations of them."""
    return isinstance(content, Mapping) and all(isinstance(content.get(key), list) for key in ("images", "annotations"))


def read_coco(root: Root, place: str, content: Mapping[str, Any], source: Source) -> Iterator[Row]:
    """The rows of one file.

    The class of an image is its `label`, or the category of its annotations where all are of one.

    Raises:
        InputError: A row is not as it should be.
    """
    captions: dict[object, list[object]] = {}
    categories: dict[object, set[object]] = {}
    for number, one in enumerate(content["annotations"]):
        if not isinstance(one, Mapping) or not isinstance(one.get("image_id"), int | str):
            raise InputError(f"{place}: annotations[{number}]: {one!r:.40} has no image_id; it belongs to no image")
        if "caption" in one:
            captions.setdefault(one["image_id"], []).append(one["caption"])
        elif isinstance(one.get("category_id"), int | str):
            categories.setdefault(one["image_id"], set()).add(one["category_id"])
    names = {one["id"]: one.get("name") for one in content.get("categories") or ()
             if isinstance(one, Mapping) and isinstance(one.get("id"), int | str)}
    split, folders = _split_and_folders(place)
    for number, row in enumerate(content["images"]):
        where = f"{place}: images[{number}]"
        if not isinstance(row, Mapping) or not isinstance(row.get("id"), int | str):
            raise InputError(f"{where}: {row!r:.40} has no id; it is no image of COCO")
        name = file_of(row, "file_name", where)
        found = next((path for folder in folders if (path := root.find(name, where, folder)) is not None), None)
        own = categories.get(row["id"], set())
        label = pick(row, source.columns, "label", LABEL, where)
        if label is None and "label" not in source.columns and len(own) == 1:
            label = names.get(next(iter(own)))
        yield Row(where, name, pick({**row, "captions": captions.get(row["id"])}, source.columns, "captions",
                                    ("captions",), where), label, row.get("split"),
                  folder_split(PurePosixPath(name).parts[:-1]) or split,
                  pick(row, source.columns, "gsd", ("gsd",), where),
                  None if found is None else FileImage(found, source.rule), path=str(found or ""))


def _split_and_folders(place: str) -> tuple[str, list[str]]:
    """The split that a file's name or folder says, and the folders in which its images may lie."""
    path = PurePosixPath(place)
    above = "" if str(path.parent) in (".", FOLDER) else str(path.parent)
    own = _KIND.sub("", path.stem)  # train2017: the folder beside, or below `images`
    split = folder_split([above]) or folder_split([own]) or split_of_words(path.stem)
    bases = [above, *(str(PurePosixPath(above, name)) for name in IMAGE_FOLDERS)]
    return split, [folder for base in bases for folder in (base, str(PurePosixPath(base, own)))]


def _has_captions(content: Mapping[str, Any]) -> bool:
    return any(isinstance(one, Mapping) and "caption" in one for one in content["annotations"][:1])
