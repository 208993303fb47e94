"""A start for one's own classes: a recipe and what it names, from a folder of images or from names alone."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from terrasynth.prompts.reading import LABEL_RULE, is_label
from terrasynth.prompts.scenes.draft_text import ClassData, DraftedFile, drafted_file, flow
from terrasynth.prompts.scenes.own_ontology import read_ontology
from terrasynth.synthesis.core.files import write_file
from terrasynth.synthesis.recipe import Recipe
from terrasynth.training.data import read_pairs
from terrasynth.training.data.settings import SUFFIXES, sources_of
from terrasynth.training.data.split_list import split_list
from terrasynth.training.data.text_files import header_of, parse_yaml, read_text
from terrasynth.training.errors import InputError
from terrasynth.training.own_classes.lines import found_lines, next_lines
from terrasynth.training.own_classes.look import look_at
from terrasynth.training.own_classes.recipe_text import recipe_text
from terrasynth.training.own_classes.splits import made_splits, near_groups
from terrasynth.training.own_classes.start import CAPTION, PROFILE, RECIPE, Start, Wishes, plain

COMMENTS = {
    "caption": "   # what an image without a caption is called; {label} is its class in words",
    "ontology": "   # trainings read texts drawn from it, too, where an image has no caption",
    "split_list": "   # which image is in which split; edit it, or delete it and run `terrasynth init` again",
    "gsd": "   # meters a pixel",
}


@dataclass(frozen=True)
class Project:
    """A start, ready to be written.

    Attributes:
        files: Path -> text.
        found: What the data hold, in lines.
        next_steps: What to do then, in lines.
    """

    files: Mapping[Path, str]
    found: Sequence[str]
    next_steps: Sequence[str]

    def write(self, overwrite: bool = False) -> list[str]:
        """Write the files, all or none; gives a line for each.

        Args:
            overwrite: Replace files that say something else.

        Raises:
            InputError: A file is there and says something else, or a folder cannot be written to.
        """
        lines = {path: "" for path in self.files}
        for path, text in self.files.items():
            there = path.read_bytes() == text.encode() if path.is_file() else None
            if there is False and not overwrite:
                raise InputError(f"{str(path)!r} is there and says something else, as your edits and what trainings "
                                 "put into a recipe do; name another place by --out, or add --overwrite to lose them")
            if there is None and path.exists():
                raise InputError(f"{str(path)!r} is a folder; name another place by --out")
            lines[path] = "there already" if there else "replaced" if there is False else "written"
        for path, text in self.files.items():
            write_file(path, text)
        self._check()
        return [f"{state:<11}{path}" if state == "written" else f"{state}: {path}" for path, state in lines.items()]

    def _check(self) -> None:
        """Read what was written as other commands do."""
        for path in self.files:
            if path.name == "classes.yaml":
                read_ontology(path)
            elif path.name == "data.yaml":
                read_pairs(path)
            elif path.suffix in SUFFIXES:
                Recipe.load(path)


def project_of_data(source: str, out: Path | None, wishes: Wishes) -> Project:
    """A start from images.

    Args:
        source: Folder, file, Hub id or data YAML.
        out: A folder, or the recipe's file in it; None for a folder that is called by the data.

    Raises:
        InputError: The data cannot be read, or name no class.
    """
    given = _given(source)
    look = look_at(source)
    if not look.counts:
        above = (f" (if {Path(source).name!r} is the folder of one class, name the one above it: "
                 f"{str(Path(source).resolve().parent)!r})" if Path(source).is_dir() else "")
        raise InputError(f"the data {source!r} name no class; put each class into a folder of its own{above}, "
                         "say which column holds it (columns: {label: NAME}) in a data YAML, or begin from names with "
                         "--classes")
    for label in look.counts:
        _check_label(label)
    groups = near_groups(look.hashes, look.digests)
    splits = None if "val" in look.splits else made_splits(look.pairs, groups, wishes.seed)
    recipe = _recipe_place(out, look.data.sources[0])
    drawn = look.bare and "ontology" not in (given or {})
    lacks = splits is not None or drawn or wishes.gsd is not None
    suffices = given is not None and not lacks
    start = Start(plain(look.data.sources[0]), recipe, source, look, tuple(look.counts), splits,
                  Path(source) if suffices else recipe.with_name("data.yaml"), wishes,
                  wishes.licence or _licence_of(Path(source)))
    near = len(groups) - len(set(groups.tolist()))
    sides = set(zip(groups.tolist(), (start.split_of(pair.name, pair.split) for pair in look.pairs), strict=True))
    return _project(start, {} if suffices else _data_files(start, given), near, len(sides) - len(groups) + near)


def project_of_names(labels: Sequence[str], out: Path | None, wishes: Wishes) -> Project:
    """A start from names of classes, without images; see `project_of_data`.

    Raises:
        InputError: A name cannot be a label, or is given twice.
    """
    for label in labels:
        _check_label(label)
    if not labels or len(set(labels)) < len(labels):
        raise InputError(f"--classes {', '.join(labels)!r:.80}: name at least one class, and each only once")
    recipe = _recipe_place(out, "own")
    start = Start(plain(recipe.parent.name), recipe, "", None, tuple(labels), None, recipe, wishes,
                  wishes.licence)
    return _project(start, {}, 0, 0)


def _project(start: Start, files: dict[Path, str], near: int, apart: int) -> Project:
    if start.embedded_suffices:
        drafted = DraftedFile("", start.labels, ())
    else:
        drafted = drafted_file(_class_data(start))
        files = {start.ontology: drafted.text, **files}
    return Project({start.recipe: recipe_text(start), **files}, found_lines(start, drafted.nameless, near, apart),
                   next_lines(start))


def _class_data(start: Start) -> dict[str, ClassData]:
    """What captions of training images, and distances, say of each class."""
    found = {}
    for label in start.labels:
        own = [pair for pair in (start.look.pairs if start.look else ()) if pair.label == label]
        learned = [pair for pair in own if start.split_of(pair.name, pair.split) == "train"]
        gsd = {pair.gsd or start.wishes.gsd for pair in own} if own else {start.wishes.gsd}
        found[label] = ClassData([pair.captions for pair in learned if pair.described],
                                 sorted(each for each in gsd if each is not None))
    return found


def _data_files(start: Start, given: Mapping[str, Any] | None) -> dict[Path, str]:
    """The data YAML, and the list of splits if they were made."""
    folder, look = start.data_file.parent, start.look
    assert look is not None
    content: dict[str, Any] = _moved(given, Path(start.source).parent, folder) if given is not None else {
        "data": _relative(start.source, folder)}
    if look.bare:
        content.setdefault("caption", CAPTION)
        content.setdefault("ontology", PROFILE if start.embedded_suffices else start.ontology.name)
    if start.wishes.gsd is not None:
        content["gsd"] = start.wishes.gsd
    files = {}
    if start.splits is not None:
        content["split_list"] = start.split_list.name
        files[start.split_list] = split_list(start.splits)
    head = ("# Your data as every command takes them (docs/data.md), begun by `terrasynth init`. Paths are relative to "
            "this file.\n")
    text = head + "".join(f"{key}: {flow(value)}{COMMENTS.get(key, '')}\n" for key, value in content.items())
    return {start.data_file: text, **files}


def _given(source: str) -> dict[str, Any] | None:
    """What a data YAML says that the user names; None for other data."""
    path = Path(source)
    if path.suffix not in SUFFIXES or not path.is_file():
        return None
    if len(sources_of(source, {})) > 1:
        raise InputError(f"{path.name} names several data sets; a start is made from one: write a data YAML for it")
    content = parse_yaml(read_text(path, path.name), path.name)
    one = content[0] if isinstance(content, list) else content
    return dict(one)


def _moved(given: Mapping[str, Any], before: Path, after: Path) -> dict[str, Any]:
    """A data YAML in another folder."""
    found = dict(given)
    if (before / str(found["data"])).exists():
        found["data"] = _relative(str(before / str(found["data"])), after)
    if "folders" in found:
        found["folders"] = [_relative(str(before / folder), after) for folder in found["folders"]]
    for key in ("split_list", "ontology"):
        if key in found and (before / found[key]).is_file():
            found[key] = _relative(str(before / found[key]), after)
    return found


def _relative(place: str, folder: Path) -> str:
    """A place as a file in a folder names it; a Hub id stays."""
    return os.path.relpath(place, folder) if Path(place).exists() else place


def _recipe_place(out: Path | None, name: str) -> Path:
    if out is not None and out.suffix in SUFFIXES:
        if out.name in ("classes.yaml", "data.yaml"):
            raise InputError(f"--out {str(out)!r} would be taken by {out.name} of the classes or the data; call it "
                             f"{RECIPE}")
        return out
    return (out or Path(f"{plain(name)}-recipe")) / RECIPE


def _check_label(label: str) -> None:
    if not is_label(label):
        raise InputError(f"class {label!r:.120} {LABEL_RULE}; call it otherwise")


def _licence_of(source: Path) -> str:
    """The licence in the card of a folder of data; "" where there is none."""
    said = header_of(source / "README.md", "README.md").get("license") if source.is_dir() else None
    return said if isinstance(said, str) else ""

