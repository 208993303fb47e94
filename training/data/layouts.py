"""Which of the known layouts a folder or file has, and its rows."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from terrasynth.hub_ids import no_data_here
from terrasynth.synthesis.core.fetched import on_this_machine
from terrasynth.synthesis.core.layout import IDENTITY
from terrasynth.training.data import class_folders, coco, hub, imagefolder, karpathy, parquet, webdataset
from terrasynth.training.data.parquet import NAMES, split_of_words
from terrasynth.training.data.places import Root
from terrasynth.training.data.rows import Row, folder_split
from terrasynth.training.data.settings import Source
from terrasynth.training.data.text_files import header_of
from terrasynth.training.errors import InputError

KNOWN = ("pairs.jsonl, dataset*.json, metadata.jsonl, metadata.csv, Parquet files, WebDataset .tar files, COCO's "
         "annotations, what save_to_disk of datasets leaves, or images in folders")
LISTS = (".jsonl", ".csv", ".tsv")
SAVED, COCO = "what save_to_disk leaves", "COCO"
OTHER_JSON = frozenset({"dataset_dict.json", "dataset_info.json", "dataset_infos.json", "state.json", "index.json"})
CARD = "README.md"


def rows_of(source: Source, notes: list[str]) -> tuple[str, str, Iterator[Row]]:
    """The name of a data set, its layout and its rows.

    Args:
        source: Where it is, and what the user states of it.
        notes: Receives what a user should know of how it is read.

    Raises:
        InputError: It does not exist, or has none of the known layouts.
    """
    if source.table is not None:
        return source.place, "a data set of datasets", hub.read_table(source)
    path = on_this_machine(source.place)
    try:
        if path.is_dir():
            root = Root(path, source.folders)
            layout, rows = _folder(root, source, notes)
            return root.name, layout, _with_links(rows, root, notes)
        if path.is_file():
            path = Path(os.path.realpath(path))  # a link that the user names is followed; those in the data are not
            root = _root_of(path, source)
            layout, rows = _file(root, path, source, notes)
            return path.resolve().stem, layout, _with_links(rows, root, notes)
        exists = path.exists() or path.is_symlink()
    except OSError as error:  # a name that is too long
        raise InputError(f"data {source.place!r:.80} cannot be read ({error.strerror})") from error
    if exists:
        raise InputError(f"data {source.place!r} is neither a folder nor a file, or a link to nothing")
    if hub.HUB_ID.fullmatch(source.place):
        if wrong := no_data_here(source.place):
            raise InputError(f"data {source.place!r} {wrong}")
        return source.place, "a data set of the Hub", hub.read_hub(source)
    raise InputError(f"data {source.place!r:.200} does not exist; give a folder, a file of a known layout, or a Hub id "
                     "as user/name")


def _with_links(rows: Iterator[Row], root: Root, notes: list[str]) -> Iterator[Row]:
    yield from rows
    notes += [f"the folder {place} of {root.name} may not be looked into" for place in root.closed]
    notes += [f"{link} of {root.name} is a link to {target}; its images are read there"
              for link, target in root.links.items()]


def _folder(root: Root, source: Source, notes: list[str]) -> tuple[str, Iterator[Row]]:
    folder = root.folder
    if hub.is_saved(folder) and not (folder / imagefolder.PAIRS).is_file():
        return SAVED, hub.read_saved(root, source)
    places = _without_runs(root, list(root.walk()), notes)
    lists = [place for place in places if PurePosixPath(place).name in imagefolder.METADATA]
    captions, wrong = _captions_json(root, places)
    found = {
        imagefolder.PAIRS: [place for place in places if place == imagefolder.PAIRS],
        "captions in JSON": captions,
        "an imagefolder": lists,
        "Parquet files": [place for place in places if place.endswith(".parquet") and place not in lists],
        "tar files": [place for place in places if place.endswith((".tar", ".tar.gz", ".tgz"))],
    }
    layouts = [name for name, members in found.items() if members]
    if not layouts and (annotated := coco.annotation_files(root, places)):
        return COCO, _coco(root, annotated, source)
    if not layouts and wrong is not None:
        raise wrong
    if not layouts and class_folders.images_of(places):
        return "folders of images", class_folders.read_class_folders(root, places, source, notes)
    if not layouts:
        raise InputError(f"data folder {str(folder)!r} has no {KNOWN}; add one of them (docs/data.md says what each "
                         "holds)")
    if len(layouts) > 1:
        notes.append(f"{root.name} is read as {layouts[0]}; it also has {', '.join(layouts[1:])}, which is left alone")
    chosen = found[layouts[0]]
    if layouts[0] == "captions in JSON":
        rows = _json(root, chosen, source, notes)
    elif layouts[0] == "Parquet files":
        rows = _parquet(root, chosen, header_of(folder / CARD, CARD), source, notes)
    elif layouts[0] == "tar files":
        rows = _tars(root, chosen, source, notes)
    else:
        rows = (row for place in chosen for row in imagefolder.read_list(root, place, source))
    return layouts[0], rows


def _without_runs(root: Root, places: Sequence[str], notes: list[str]) -> list[str]:
    """Places of a folder but those of runs that lie in it: what these hold was drawn."""
    named = {str(PurePosixPath(place).parent) for place in places if PurePosixPath(place).name == IDENTITY} - {"."}
    runs = [run for run in sorted(named) if any(place.startswith(f"{run}/blocks/") for place in places)]
    notes.extend(f"{root.name}/{run} is a run of terrasynth, whose images were drawn, and is left alone; to read it, "
                 "give its own folder" for run in runs)
    return [place for place in places if not place.startswith(tuple(f"{run}/" for run in runs))]


def _coco(root: Root, files: Mapping[str, Mapping[str, Any]], source: Source) -> Iterator[Row]:
    return (row for place, content in files.items() for row in coco.read_coco(root, place, content, source))


def _root_of(path: Path, source: Source) -> Root:
    """The folder of the data set that a file belongs to: COCO keeps its files in a folder of their own."""
    root, above = Root(path.parent, source.folders), Root(path.parent.parent, source.folders)
    is_below = path.parent.name == coco.FOLDER and coco.annotation_files(above, [f"{coco.FOLDER}/{path.name}"])
    return above if is_below else root


def _file(root: Root, path: Path, source: Source, notes: list[str]) -> tuple[str, Iterator[Row]]:
    place = path.relative_to(root.folder).as_posix()
    if path.suffix == ".json" and (annotated := coco.annotation_files(root, [place])):
        return COCO, _coco(root, annotated, source)
    name, above = path.name, folder_split([root.name])
    if name in OTHER_JSON and hub.is_saved(path.parent):
        return SAVED, hub.read_saved(root, source)
    if path.suffix == ".json":
        return "captions in JSON", _json(root, [name], source, notes)
    if path.suffix in LISTS or name in imagefolder.METADATA:
        return "a list of images", _in_split(imagefolder.read_list(root, name, source), above)
    if path.suffix == ".parquet":
        header = header_of(path.parent / CARD, CARD)
        return "a Parquet file", parquet.read_shard(root, name, split_of_words(path.stem) or above, 0, header, source)
    if path.suffix in (".tar", ".tgz") or name.endswith(".tar.gz"):
        return "a tar file", webdataset.read_shard(root, name, split_of_words(path.stem) or above, source)
    raise InputError(f"data {str(path)!r} is a file of no layout that is read; give a folder, or a file that is one of "
                     f"{KNOWN}")


def _in_split(rows: Iterator[Row], split: str) -> Iterator[Row]:
    """Rows of a list that was named by itself: those that say no split are in that of its folder."""
    for row in rows:
        yield replace(row, folder_split=row.folder_split or split)


def _captions_json(root: Root, places: Sequence[str]) -> tuple[list[str], InputError | None]:
    """The JSON files beside the images that hold captions: those called dataset*, or else those of a known shape.

    Also what is wrong with one that cannot be read, which matters where there is no other data.
    """
    beside = [place for place in places if "/" not in place and place.endswith(".json") and place not in OTHER_JSON]
    called = [place for place in beside if place.startswith("dataset")]
    if called:
        return called, None
    found, wrong = [], None
    for place in beside:
        try:
            if karpathy.captions_json(root.inside(root.folder / place, place), place) is not None:
                found.append(place)
        except InputError as error:
            wrong = wrong or error
    return found, wrong


def _json(root: Root, places: Sequence[str], source: Source, notes: list[str]) -> Iterator[Row]:
    if len(places) > 1:
        raise InputError(f"data folder {str(root.folder)!r} has captions in {' and in '.join(places)}; give the file "
                         "that is meant")
    content = karpathy.captions_json(root.inside(root.folder / places[0], places[0]), places[0])
    if content is None:
        raise InputError(f"{places[0]} holds no captions: neither an object with a list 'images' (Karpathy-style) nor "
                         "classes with lists of rows that have 'raw' (NWPU-Captions)")
    return karpathy.read_captions_json(root, places[0], content, source, notes)


def _tars(root: Root, places: Sequence[str], source: Source, notes: list[str]) -> Iterator[Row]:
    for split, place in _by_split(places, notes):
        yield from webdataset.read_shard(root, place, split, source)


def _parquet(root: Root, places: Sequence[str], header: Mapping[str, Any], source: Source, notes: list[str]
             ) -> Iterator[Row]:
    configs = _configs(header)
    if configs:
        chosen = _config(configs, source, root.name)
        files = _files_of(configs[chosen], places)
        if not files:
            raise InputError(f"{CARD}: the configuration {chosen!r} names no Parquet file that is there")
    elif source.config is not None:
        raise InputError(f"config {source.config!r}: {CARD} of {root.name!r} names no configurations; leave it out")
    else:
        files = _by_split(places, notes)
    counts: dict[str, int] = {}
    for split, place in files:
        for row in parquet.read_shard(root, place, split, counts.get(split, 0), header, source):
            counts[split] = counts.get(split, 0) + 1
            yield row


def _by_split(places: Sequence[str], notes: list[str]) -> list[tuple[str, str]]:
    """Files with the split that their folders say, or else their names; where some say one, the others are left out."""
    paths = [PurePosixPath(place) for place in places]
    for said in ([split_of_words(str(path.parent)) for path in paths], [split_of_words(path.stem) for path in paths]):
        if any(said):
            if others := [place for place, split in zip(places, said, strict=True) if not split]:
                notes.append(f"{len(others)} files name no split and are left alone, such as {others[0]}")
            return [(split, place) for split in NAMES for place, own in zip(places, said, strict=True) if own == split]
    return [("", place) for place in places]


def _configs(header: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The configurations of a card that name their files, by name."""
    listed = header.get("configs")
    if listed is None:
        return {}
    if not isinstance(listed, list) or not all(isinstance(one, Mapping) for one in listed):
        raise InputError(f"{CARD}: configs is {listed!r:.60}; a list of mappings with config_name and data_files is "
                         "needed")
    return {str(one.get("config_name", "default")): one for one in listed}


def _config(configs: Mapping[str, Mapping[str, Any]], source: Source, name: str) -> str:
    names = ", ".join(configs)
    if source.config is not None:
        if source.config not in configs:
            raise InputError(f"config {source.config!r} is not in {name!r}; it has {names}")
        return source.config
    default = [one for one, config in configs.items() if config.get("default") is True or len(configs) == 1]
    if len(default) != 1 and "default" in configs:
        return "default"
    if len(default) != 1:
        raise InputError(f"data {name!r} has the configurations {names}; name one in a data YAML (config: NAME)")
    return default[0]


def _files_of(config: Mapping[str, Any], places: Sequence[str]) -> list[tuple[str, str]]:
    """The files of a configuration, with their splits."""
    folder = str(config.get("data_dir") or "").strip("/")
    inside = [place for place in places if not folder or place.startswith(f"{folder}/")]
    listed = config.get("data_files")
    if listed is None:
        return _by_split(inside, [])
    entries = listed if isinstance(listed, list) else [listed]
    found = []
    for entry in entries:
        named = entry if isinstance(entry, Mapping) else {"path": entry}
        split, paths = named.get("split", "train"), named.get("path")
        for pattern in paths if isinstance(paths, list) else [paths]:
            if not isinstance(split, str) or not isinstance(pattern, str):
                raise InputError(f"{CARD}: data_files has {entry!r:.60}; a split and a path are needed")
            wanted = _pattern(f"{folder}/{pattern}" if folder else pattern)
            found += [(split, place) for place in inside if wanted.match(place)]
    return list(dict.fromkeys(found))


def _pattern(glob: str) -> re.Pattern[str]:
    from fsspec.utils import glob_translate

    return re.compile(glob_translate(glob.removeprefix("./")))
