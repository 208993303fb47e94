"""Images with captions that a captioner wrote: a folder of them, or a run's, as image-text data to train on."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from terrasynth.eval.models.captioners import Captioner
from terrasynth.hashing import text_hash
from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.core.files import TEMPORARY, locked, write_file
from terrasynth.synthesis.core.images import encode
from terrasynth.synthesis.core.records import RecordError, read_record, write_record
from terrasynth.synthesis.studies.captions import captions_of
from terrasynth.words import counted

PAIRS, RECORD, PARTS, IMAGES = "pairs.jsonl", "recaption.json", ".parts", "images"
PORTION = 32
AGAIN = "give another --out, or remove that folder"


@dataclass(frozen=True)
class Uncaptioned:
    """An image that gets a caption.

    Attributes:
        name: What it is called where it comes from.
        label: Its class; "" for none.
        split: "train", "val" or "test".
        texts: What is said of it so far.
        open: Gives its pixels, `uint8` (H, W, 3).
    """

    name: str
    label: str
    split: str
    texts: tuple[str, ...]
    open: Callable[[], NDArray[np.uint8]]


@dataclass(frozen=True)
class Recaptioned:
    """A folder of image-text data.

    Attributes:
        folder: Where it is.
        images: How many it holds.
        distinct: How many different captions the captioner wrote.
        before: Images that an earlier call had captioned.
        first: The first caption.
    """

    folder: Path
    images: int
    distinct: int
    before: int
    first: str

    def lines(self) -> list[str]:
        """What was written and what to do with it, a line each."""
        there = f"; {self.before} of them {'was' if self.before == 1 else 'were'} there" if self.before else ""
        return [f"captions   {self.folder / PAIRS}   ({counted(self.images, 'image')}, "
                f"{counted(self.distinct, 'distinct caption')}{there})",
                f"first      {self.first}",
                f"next       terrasynth train lora --data {shlex.quote(str(self.folder))} --base BASE --out LORA"]


def recaption(images: Sequence[Uncaptioned], captioner: Captioner, out: Path, source: str, style: str | None = None,
              beams: int | None = None, keep: bool = False, told: Callable[[int, int], None] | None = None
              ) -> Recaptioned:
    """Write images and their captions as `pairs.jsonl` with a folder of PNG files; the same call goes on where it was.

    Args:
        images: What gets a caption.
        out: A new folder, or one that the same call began.
        source: What the images are called together; recorded.
        style: As `Captioner.caption` takes it.
        beams: As `Captioner.caption` takes it.
        keep: Keep the texts that images have, before the new one.
        told: Told how many images are done, and of how many.

    Raises:
        InputError: There are no images, or `out` holds something else.
    """
    if not images:
        raise InputError(f"{source!r} has no images to caption")
    made = {"captioner": captioner.identity(), "style": style or (captioner.styles[0] if captioner.styles else None),
            "beams": beams, "keep": keep, "source": source, "images": len(images),
            "rows": text_hash(json.dumps([[one.name, one.label, one.split, one.texts] for one in images]))}
    _begin(out, made)
    with locked(out / PARTS):
        rows: list[dict[str, object]] = []
        before = 0
        for start in range(0, len(images), PORTION):
            part = images[start : start + PORTION]
            path = out / PARTS / f"{start:07d}.json"
            said = _there(path)
            if said is None:
                said = _caption(part, captioner, out, start, style, beams)
                write_record(path, {"captions": said})
            else:
                before += len(said)
            rows += [_row(one, text, start + at, keep) for at, (one, text) in enumerate(zip(part, said, strict=True))]
            if told is not None:
                told(min(start + PORTION, len(images)), len(images))
        write_file(out / PAIRS, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    written = [str(row["caption"]) for row in rows]
    return Recaptioned(out, len(rows), len(set(written)), before, written[0])


def _begin(out: Path, made: Mapping[str, object]) -> None:
    """Note what is being made.

    Raises:
        InputError: The folder holds something else.
    """
    path = out / RECORD
    if path.is_file():
        try:
            there = read_record(path)
        except RecordError as error:
            raise InputError(f"{path} cannot be believed ({error}); {AGAIN}") from error
        other = [name for name, value in made.items() if json.loads(json.dumps(value)) != there.get(name)]
        if other:
            raise InputError(f"{out} holds captions of another call: {', '.join(other)} differ; {AGAIN}")
        return
    begun = {RECORD + TEMPORARY}  # what is left where an earlier call was killed before it had noted anything
    if out.exists() and (not out.is_dir() or any(each.name not in begun for each in out.iterdir())):
        raise InputError(f"--out {str(out)!r} exists and holds no captions of this command; give a new folder")
    write_record(path, made)


def _there(path: Path) -> list[str] | None:
    """The captions of a portion that was captioned before; None where it was not, or not wholly."""
    try:
        return [str(text) for text in read_record(path)["captions"]]
    except (FileNotFoundError, RecordError):
        return None


def _caption(part: Sequence[Uncaptioned], captioner: Captioner, out: Path, start: int, style: str | None,
             beams: int | None) -> list[str]:
    pixels = [one.open() for one in part]
    said = list(captions_of(captioner, pixels, style, beams))
    for at, image in enumerate(pixels):
        write_file(out / _file(start + at), encode(image, "png"))
    return said


def _file(number: int) -> str:
    return f"{IMAGES}/{number:07d}.png"


def _row(one: Uncaptioned, said: str, number: int, keep: bool) -> dict[str, object]:
    row: dict[str, object] = {"file": _file(number), "split": one.split, "caption": said,
                              "captions": [*(one.texts if keep else ()), said], "of": one.name}
    return row | ({"class": one.label} if one.label else {})
