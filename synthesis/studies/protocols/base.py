"""Protocols by name: the same images drawn, compared and written down in the same way, so that figures compare."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from terrasynth.eval.pages.page import Notes, Page, Section, settings_section
from terrasynth.eval.table import Table
from terrasynth.synthesis.core.errors import InputError, RunError
from terrasynth.synthesis.core.files import write_file
from terrasynth.synthesis.core.real_pictures import RealPair
from terrasynth.synthesis.ledger.directory import RunDirectory
from terrasynth.synthesis.ledger.pictures import RunPictures
from terrasynth.synthesis.studies.trainings import TrainedAccuracy

if TYPE_CHECKING:
    from terrasynth.synthesis.events import Listener
    from terrasynth.synthesis.recipe import GeneratorSettings

ALL = "all"
"""The one class of the runs behind a protocol: classes may be of unequal size, and a run makes equally many of each."""

CLASS = "class"
"""Under this key the `scene` of a row holds the class that its text is of."""


@dataclass(frozen=True)
class PromptRequest:
    """A text to draw, and the class it is of."""

    text: str
    label: str


TrainAndTest = Callable[
    [NDArray[np.uint8], Sequence[str], NDArray[np.uint8], Sequence[str], int, int], TrainedAccuracy
]
"""Images and classes to learn from, real ones to test on, steps, seed -> accuracy; only `training` can do it."""


@dataclass(frozen=True)
class Row:
    """One figure of a protocol, as a table shows it.

    Attributes:
        value: With its interval and n.
        null: What it would be by chance, or "".
        ceiling: What real images reach, or "".
        how: Network and seed.
    """

    name: str
    value: str
    null: str
    ceiling: str
    how: str


@dataclass(frozen=True)
class ProtocolResult:
    """What a protocol found.

    Attributes:
        settings: All that decides the figures: models with their hashes, counts, seeds.
        follows: What of the published protocol is followed.
    """

    protocol: str
    settings: Mapping[str, object]
    rows: tuple[Row, ...]
    figures: Mapping[str, object]
    follows: tuple[str, ...]
    differs: tuple[str, ...]

    def table(self) -> Table:
        """A row a figure."""
        return Table(("figure", "value", "null", "ceiling (real)", "how"), tuple(
            (row.name, row.value, row.null, row.ceiling, row.how) for row in self.rows))

    def markdown(self) -> str:
        """The table, and what it rests on."""
        notes = (("Followed", self.follows), ("Different", self.differs))
        return Page("", f"Protocol {self.protocol}", "", (
            Section("Figures", (self.table(),)), *(Section(title, (Notes(lines),)) for title, lines in notes if lines),
            settings_section(self.settings))).markdown()

    def lines(self) -> list[str]:
        """The figures for a terminal, a line each."""
        return self.table().lines(names=("null", "ceiling (real)"))

    def save(self, out: Path) -> None:
        """Write `<protocol>.json` and `<protocol>.md`; the same result always gives the same bytes."""
        write_file(out / f"{self.protocol}.json", json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n")
        write_file(out / f"{self.protocol}.md", self.markdown())


def by_rank_of_class(asked: Sequence[PromptRequest]) -> list[PromptRequest]:
    """One text of every class after the other, so that the first ones are of all classes."""
    by_class: dict[str, list[PromptRequest]] = {}
    for one in asked:
        by_class.setdefault(one.label, []).append(one)
    ranked = [(rank, label, one) for label, own in by_class.items() for rank, one in enumerate(own)]
    return [one for _, _, one in sorted(ranked, key=lambda entry: entry[:2])]


def draw(
    asked: Sequence[PromptRequest], count: int, generator: GeneratorSettings, seed: int, out: Path,
    device: str = "auto", on_event: Listener | None = None,
) -> RunPictures:
    """Draw an image of each of the first `count` texts, as a run without filters: it resumes, and grows.

    Args:
        asked: All texts, also those that are not drawn yet.
        out: Folder; the run lies in `pictures/`, the texts in `prompts.jsonl`.
        device: A torch device, or "auto".

    Returns:
        The images, in the order of the texts, with their classes.

    Raises:
        InputError: No such generator, or the folder holds the images of other texts or settings.
        RunError: Disk full, a damaged block, or an image that the model withheld.
    """
    from terrasynth.synthesis.pipeline import run
    from terrasynth.synthesis.recipe import Recipe

    rows = [{"label": ALL, "text": one.text, "scene": {CLASS: one.label}} for one in asked]  # of the run's identity
    prompts = out / "prompts.jsonl"
    write_file(prompts, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    recipe = Recipe.parse({
        "name": "protocol", "seed": seed, "generator": generator.model_dump(exclude_none=True),
        "prompts": {"expander": "file", "path": str(prompts)},
        "target": {"per_class": count, "max_attempts": count}, "runtime": {"device": device},
    })
    run(recipe, out / "pictures", on_event)
    made = RunPictures.read(out / "pictures", count)
    if len(made.ids) < count:  # without a filter row k is of text k, but for images that were withheld
        raise RunError(f"the safety checker of {generator.model!r} withheld {count - len(made.ids)} of {count} "
                       "images, and a protocol compares an image of every text; use a model without one")
    labels = tuple(one.label for one in asked[:count])
    return RunPictures(made.images, made.ids, made.texts, labels, made.scenes, made.sources)


def labelled(pairs: Sequence[RealPair], split: str) -> Sequence[RealPair]:
    """The pairs, all of which have a class.

    Raises:
        InputError: One has none.
    """
    for pair in pairs:
        if not pair.label:
            raise InputError(f"image {pair.name!r} of split {split!r} has no class, and the protocols compare "
                             "classes; use data with classes")
    return pairs


def files_of(pairs: Sequence[RealPair]) -> str:
    """16 hex digits that name a list of images by file name and caption count."""
    from terrasynth.synthesis.core.identity import digest

    return digest({"files": [[pair.name, len(pair.captions)] for pair in pairs]})


def drawn_from(run: Path) -> dict[str, Any]:
    """Identity of a run's images with its parts: seed, generator with the hash of its files, prompts.

    Raises:
        InputError: It is no run.
        RunError: The record cannot be believed.
    """
    found = RunDirectory(run)
    return {"identity": found.identity, **found.parts}
