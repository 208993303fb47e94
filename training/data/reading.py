"""Read image-caption data of one or several sources, each in whichever of the known layouts it has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from PIL import Image

from terrasynth.prompts.scenes.wording import spoken_name
from terrasynth.training.data.class_names import one_name, renamed
from terrasynth.training.data.drafted_texts import TEXTS, Drafts
from terrasynth.training.data.layouts import rows_of
from terrasynth.training.data.pairs import Pair, PairSet, Skipped, merged
from terrasynth.training.data.rows import Row, captions_of, gsd_of, label_of, split_of, text_of
from terrasynth.training.data.settings import LABEL, Source, sources_of
from terrasynth.training.data.split_list import with_listed_splits
from terrasynth.training.errors import InputError
from terrasynth.words import counted

if TYPE_CHECKING:
    from terrasynth.training.data.settings import Table

    DataSource: TypeAlias = str | Path | Table

NO_FILE, EMPTY = "the image file does not exist", "no caption"
NAMELESS = ("; say what an image is called under `caption` of a data YAML (docs/data.md), or let `terrasynth init` "
            "write one")


def read_pairs(source: DataSource | Sequence[DataSource], columns: Mapping[str, str | None] | None = None,
               captionless: bool = False, drafts: bool = False) -> PairSet:
    """Read image-caption data.

    Images are not opened. Of several sources, classes that the open ontology knows under several names get one name,
    and row names begin with the name of their data set.

    Args:
        source: One data set or several: a folder with `pairs.jsonl`, captions in JSON (Karpathy-style, LEVIR-CC,
            NWPU-Captions), an imagefolder with `metadata.jsonl`, `.csv` or `.parquet`, Parquet files, WebDataset tar
            files, what `save_to_disk` leaves, COCO, or a folder of images for each class; one such file; a Hub id; a
            data YAML (docs/data.md); or a `Dataset` or `DatasetDict` of `datasets`.
        columns: Role -> column: which one is the `image`, the `captions`, the `label`, the `gsd`; None says that there
            is none.
        captionless: Keep images without a caption, with no captions: for whoever looks at images and classes alone.
        drafts: Give images without a caption the texts, too, that a data YAML lets draw from an `ontology`. They are
            true of the class and not of the image: for trainings alone.

    Returns:
        The pairs, and the rows left out (no caption, no such file) with the reason.

    Raises:
        InputError: `source` has none of these layouts, a row is not as it should be, or nothing is left of it.
        RunError: There is no memory or no file handle left.

    Example:
        >>> from terrasynth.training.data.reading import read_pairs
        >>> read_pairs("no/../such/folder")
        Traceback (most recent call last):
        ...
        terrasynth.training.errors.InputError: data 'no/../such/folder' does not exist; give a folder, ...
    """
    named = list(source) if isinstance(source, list | tuple) else [source]
    sources = [found for one in named for found in sources_of(one, columns or {})]
    if not sources:
        raise InputError("no data is named; give a folder, a file or a Hub id")
    if len(sources) == 1:
        return _read(sources[0], captionless, drafts)
    return _joined(sources, captionless, drafts)


def _read(source: Source, captionless: bool, drafts: bool) -> PairSet:
    notes: list[str] = []
    name, layout, rows = rows_of(source, notes)
    pairs, skipped = _collect(rows, source, captionless, drafts, notes)
    if not pairs:
        first = f" (first: {skipped[0].name}: {skipped[0].reason})" if skipped else ""
        nameless = NAMELESS if skipped and all(row.reason == EMPTY for row in skipped) else ""
        gone = f"{counted(len(skipped), 'row')} {'was' if len(skipped) == 1 else 'were'} left out"
        raise InputError(f"the data has no usable image-caption pair; {gone}{first}{nameless}")
    if source.split_list is not None:
        pairs = with_listed_splits(pairs, source.split_list, skipped, notes)
    return PairSet(pairs, merged(skipped, ()), notes, (name,), (layout,))


def _joined(sources: Sequence[Source], captionless: bool, drafts: bool) -> PairSet:
    """Several data sets as one."""
    places = [str(Path(source.place).resolve()) if Path(source.place).exists() else source.place for source in sources]
    for place, source in zip(places, sources, strict=True):
        if source.table is None and places.count(place) > 1:
            raise InputError(f"data {source.place!r} is named twice; name it once")
    parts = []
    for source in sources:
        try:
            parts.append(_read(source, captionless, drafts))
        except InputError as error:
            raise InputError(f"data {source.place!r}: {error}") from error
    names = _distinct([part.sources[0] for part in parts])
    common, said = one_name([part.labels for part in parts])
    whole = PairSet([], [], [note for part in parts for note in part.notes], names,
                    tuple(part.layouts[0] for part in parts))
    if said:
        whole.notes.append(f"classes of one meaning go under one name: {said}")
    for index, (name, part, own) in enumerate(zip(names, parts, common, strict=True)):
        whole.pairs += [replace(pair, name=f"{name}/{pair.name}", label=renamed(pair.label, own), source=index)
                        for pair in part.pairs]
        whole.skipped += [Skipped(f"{name}/{row.name}", row.reason) for row in part.skipped]
    return whole


def _collect(rows: Iterable[Row], source: Source, captionless: bool, drafts: bool, notes: list[str]
             ) -> tuple[list[Pair], list[Skipped]]:
    """Check rows and put those of one image together."""
    called, undrafted = 0, set[str]()
    ontology = Drafts(source.ontology) if drafts and source.ontology is not None else None
    pairs: list[Pair] = []
    paths: list[str] = []
    skipped: list[Skipped] = []
    known: dict[str, int] = {}
    unused: dict[str, int] = {}
    for row in rows:
        split = split_of(row.split, row.folder_split, source.splits, row.where)
        captions, empty = captions_of(row.captions, row.where)
        name = text_of(row.name, "the file name", row.where)
        label = label_of(row.label, row.where)
        described = bool(captions)
        if not described and row.open is not None and split is not None:
            captions = [*_called(label, source.caption)]
            called += len(captions)
            more = ontology.of(label) if ontology is not None else ()
            captions += more
            undrafted |= set() if more else {label}
        pair = Pair(name, label, split or "", tuple(captions), row.open or _nothing,
                    gsd=gsd_of(row.gsd, row.where) or source.gsd, before=row.before, described=described)
        if split is None:
            unused[str(row.split)] = unused.get(str(row.split), 0) + 1
        elif row.open is None:
            skipped.append(Skipped(name, NO_FILE))
        elif (empty or not captions) and not (captionless and not captions):
            skipped.append(Skipped(name, f"{empty} of {empty + len(captions)} captions empty" if empty else EMPTY))
        if split is None or row.open is None or not (captions or captionless):
            continue
        first = known.setdefault(row.path, len(pairs)) if row.path else len(pairs)
        if first == len(pairs):
            pairs.append(pair)
            paths.append(row.path)
        elif why := _differs(pairs[first], pair):
            skipped.append(Skipped(name, why))
        else:  # lists with one caption a row
            pairs[first] = replace(pairs[first], captions=tuple(dict.fromkeys([*pairs[first].captions, *captions])),
                                   described=pairs[first].described or described)
    if called:
        notes.append(f"{called} images without a caption are called {source.caption!r}, as the data YAML says")
    if ontology is not None and (drafted := sum(not pair.described and pair.label not in undrafted for pair in pairs)):
        notes.append(f"{drafted} images without a caption have {TEXTS} texts each, drawn from {ontology.name}: what "
                     "their class can show, not what they show")
    if ontology is not None and (missing := sorted(undrafted - {""})):
        notes.append(f"{ontology.name} has no class {', '.join(missing[:3])}" + (
            f" and {len(missing) - 3} more" if len(missing) > 3 else "") + "; nothing is drawn from it for its images")
    skipped += [Skipped(f"split {name}", f"{count} rows left out as asked") for name, count in unused.items()]
    return _with_unique_names(pairs, paths), skipped


def _called(label: str, caption: str | None) -> list[str]:
    """What a data YAML calls an image of a class."""
    if caption is None or (LABEL in caption and not label):
        return []
    return [caption.replace(LABEL, spoken_name(label))]


def _nothing() -> Image.Image:
    raise InputError("a row without an image was opened")


def _differs(first: Pair, second: Pair) -> str:
    """Why two rows of one image do not go together; "" where they do."""
    if first.split != second.split:
        return f"the same image is in split {first.split} already"
    if second.label and first.label != second.label:
        return f"the same image is of class {first.label!r} already"
    return ""


def _with_unique_names(pairs: Sequence[Pair], paths: Sequence[str]) -> list[Pair]:
    """Pairs with a name each: of images that are called alike in several folders, as much of the path as tells."""
    counts: dict[str, int] = {}
    for pair in pairs:
        counts[pair.name] = counts.get(pair.name, 0) + 1
    if len(counts) == len(pairs):
        return list(pairs)
    taken = {name for name, count in counts.items() if count == 1}
    found = []
    for pair, path in zip(pairs, paths, strict=True):
        name = pair.name
        parts = Path(path).parts
        length = len(Path(name).parts)
        while name in taken or counts.get(name, 0) > 1:
            length += 1
            name = "/".join(parts[-length:]) if length <= len(parts) else f"{pair.name} ({length - len(parts) + 1})"
        taken.add(name)
        found.append(replace(pair, name=name))
    return found


def _distinct(names: Sequence[str]) -> tuple[str, ...]:
    """Names of which none is another's."""
    found: list[str] = []
    for name in names:
        number, own = 1, name
        while own in found:
            number += 1
            own = f"{name}-{number}"
        found.append(own)
    return tuple(found)
