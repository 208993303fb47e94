"""Folders of images: the folder that an image lies in is its class (AID, NWPU-RESISC45, EuroSAT, UC Merced)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from terrasynth.training.data.class_names import classes_of_files
from terrasynth.training.data.images import SUFFIXES, FileImage
from terrasynth.training.data.places import IMAGE_FOLDERS, Root
from terrasynth.training.data.rows import Row, folder_split
from terrasynth.training.data.settings import Source
from terrasynth.training.data.text_files import read_text

SAID = ".txt"  # beside an image: its captions, one a line


def images_of(places: Sequence[str]) -> list[str]:
    """The image files among some files."""
    return [place for place in places if PurePosixPath(place).suffix[1:].lower() in SUFFIXES]


def read_class_folders(root: Root, places: Sequence[str], source: Source, notes: list[str]) -> Iterator[Row]:
    """The rows of images in folders.

    The class is the folder that an image lies in, folders of splits and those called `images` or the like aside; where
    there is none, what the file names say. Captions are the lines of a text file of the image's name beside it.

    Args:
        root: The folder of the data set.
        places: All its files.
        notes: Receives what a user should know.
    """
    images, others = images_of(places), set(places)
    folders = [_class_parts(place) for place in images]
    said = classes_of_files(images)[0] if not any(folders) else [""] * len(images)
    for place, parts, by_name in zip(images, folders, said, strict=True):
        path = root.inside(root.folder / place, place)
        beside = str(PurePosixPath(place).with_suffix(SAID))
        captions = read_text(root.inside(root.folder / beside, beside), beside).split("\n") if beside in others else []
        yield Row(place, place, [line for line in captions if line.strip()], parts[-1] if parts else by_name, None,
                  folder_split(PurePosixPath(place).parts[:-1]), open=FileImage(path, source.rule), path=str(path))
    empty = [folder.name for folder in sorted(root.folder.iterdir()) if folder.is_dir()
             and not folder.name.startswith(".") and not any(place.startswith(f"{folder.name}/") for place in images)]
    if empty:
        notes.append(f"no image lies in the folder {', '.join(empty)}")


def _class_parts(place: str) -> list[str]:
    """The folders of an image that may be its class."""
    return [part for part in PurePosixPath(place).parts[:-1]
            if not folder_split([part]) and part.lower() not in {name.lower() for name in IMAGE_FOLDERS}]
