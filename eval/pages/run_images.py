"""All images of a run on a page: which there are, where their tiles lie, and how to draw one of them again."""

from __future__ import annotations

import base64
import hashlib
import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from terrasynth.eval.pages.tiles import (
    ACROSS,
    AFTER,
    LABELS,
    LABELS_AFTER,
    LAYERS,
    MARGIN,
    PER_SHEET,
    TileSize,
    sheet_name,
)

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"
ACCEPTED, REJECTED, WAITING, BEYOND, UNDECIDED = "accepted", "rejected", "waiting", "beyond the target", "undecided"
VERDICTS = (ACCEPTED, REJECTED, WAITING, BEYOND, UNDECIDED)
PER_PAGE = 20_000
"""Images of one HTML file: some 3 MB of texts as the grammar writes them."""

FIRST = 48
"""Images that are there without JavaScript."""


@dataclass(frozen=True, slots=True)
class RunImage:
    """One image of a run.

    Attributes:
        id: Of its attempt.
        k: Place of the attempt in its class, from 0.
        seed: Of the noise.
        text: What was asked for.
        verdict: One of `VERDICTS`.
        reason: Why it was rejected; "" for others.
        scores: Filter -> score, of the filters that were asked.
        text_after: What the image after of a pair was drawn from; "" for a single image.
        change: What was done between the two, in some words; "" for a single image.
    """

    id: str
    label: str
    k: int
    seed: int
    text: str
    verdict: str
    reason: str
    scores: Mapping[str, float]
    text_after: str = ""
    change: str = ""


@dataclass(frozen=True)
class Redraw:
    """What draws one image of a run again: a command, or Python where no command can say it.

    Attributes:
        start: What all images of a run have in common.
        note: What else it takes, or "".

    Example:
        >>> from terrasynth.eval.pages.run_images import Redraw
        >>> print(Redraw("terrasynth generate --model=ldm-ucm --out=again").line("beach", "it's sand", 7))
        terrasynth generate --model=ldm-ucm --out=again --class=beach --seed=7 -- 'it'"'"'s sand'
        >>> print(Redraw("load_generator('ldm-ucm')", python=True).line("beach", "it's sand", 7))
        load_generator('ldm-ucm').generate(["it's sand"], seeds=[7])
    """

    start: str
    python: bool = False
    note: str = ""

    def line(self, label: str, text: str, seed: int) -> str:
        """The line for one image; `templates/images.js` writes the same."""
        if self.python:
            return f"{self.start}.generate([{json.dumps(text, ensure_ascii=False)}], seeds=[{seed}])"
        return f"{self.start} {shlex.quote(f'--class={label}')} --seed={seed} -- {shlex.quote(text)}"


@dataclass(frozen=True)
class RunImages:
    """The images of one page.

    Attributes:
        images: In the order in which they were drawn.
        size: Width and height in pixels of the images.
        redraw: What draws one of them again.
        labels: All classes of the run, in its order.
        filters: Their names, in the order of the run.
        thresholds: Filter -> class -> the score that decides; the class is "" where it is the same for all.
        total: Images of the run, on however many pages.
        first: Number of the first one here, from 0.
        embedded: Tiles by id, as JPEG files; empty where they lie in sheets beside the page.
        left_out: Images of the run that are on no page.
        title: Of the part; "".
        layers: What there is beside the images: those after, of pairs, and labels that lie over them (`tiles.LAYERS`).
        embedded_layers: Layer -> their tiles by id, where those of the images are embedded, too.
        legend: What lies over images -> its color (red, green, blue).
    """

    images: Sequence[RunImage]
    size: tuple[int, int]
    redraw: Redraw
    labels: tuple[str, ...]
    filters: tuple[str, ...] = ()
    thresholds: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    total: int = 0
    first: int = 0
    embedded: Mapping[str, bytes] = field(default_factory=dict)
    left_out: int = 0
    title: str = ""
    layers: Sequence[str] = ()
    embedded_layers: Mapping[str, Mapping[str, bytes]] = field(default_factory=dict)
    legend: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)

    @cached_property
    def tile(self) -> TileSize:
        """Of the tiles."""
        return TileSize.of(self.size)

    @property
    def shown(self) -> list[RunImage]:
        """What is there without JavaScript: the first attempts of each class."""
        place = {label: number for number, label in enumerate(self.labels)}
        return sorted(self.images, key=lambda each: (each.k, place[each.label]))[:FIRST]

    @property
    def others(self) -> list[tuple[str, str]]:
        """All pages of the run's images: address, or "" of this one, and what is there."""
        found = []
        for page, first in enumerate(range(0, self.total, PER_PAGE)):
            last = min(self.total, first + PER_PAGE)
            found.append(("" if first == self.first else page_name(page), f"{first + 1:,} to {last:,}"))
        return found

    @property
    def pairs(self) -> bool:
        """Whether each image is the one before of a pair."""
        return AFTER in self.layers

    @property
    def labeled(self) -> bool:
        """Whether labels can be laid over the images."""
        return LABELS in self.layers

    def source(self, image: RunImage, layer: str = "") -> tuple[str, int | None]:
        """Address of an image's tile, and its place on the sheet; None where it has a file of its own."""
        embedded = self.embedded_layers.get(layer, {}) if layer else self.embedded
        if image.id in embedded:
            return f"data:image/jpeg;base64,{base64.b64encode(embedded[image.id]).decode()}", None
        number, place = divmod(image.k, PER_SHEET)
        return quote(sheet_name(image.label, number, layer), safe=""), place

    @property
    def style(self) -> str:
        """How large tiles are, and how they lie, for the style sheet."""
        (across, down), tile = self.tile.pitch, self.tile
        return (f"--tile-width:{tile.width};--tile-height:{tile.height};--across:{across};--down:{down};"
                f"--columns:{ACROSS};--margin:{MARGIN}")

    def html(self) -> str:
        """The images as a part of a page, whose script is `SCRIPT`."""
        template = _environment().get_template("images.html.j2")
        return template.render(part=self, data=self.json(), verdicts=VERDICTS)

    def json(self) -> str:
        """What the script reads: every image in one short row, safe within a `<script>`."""
        reasons = list(dict.fromkeys(each.reason for each in self.images))
        labels, reason = _places(self.labels), _places(reasons)
        verdicts = _places(VERDICTS)
        rows = [[each.id, labels[each.label], each.k, str(each.seed), each.text, verdicts[each.verdict],
                 reason[each.reason], *(_rounded(each.scores.get(name)) for name in self.filters)]
                for each in self.images]
        there = {each.id for each in self.shown}
        embedded = {name: base64.b64encode(tile).decode() for name, tile in self.embedded.items() if name not in there}
        layers = {layer: {name: base64.b64encode(tile).decode() for name, tile in tiles.items()
                          if layer in (LABELS, LABELS_AFTER) or name not in there}
                  for layer, tiles in self.embedded_layers.items()}
        content = {
            "labels": self.labels, "verdicts": VERDICTS, "reasons": reasons, "filters": self.filters,
            "thresholds": {name: {label: _rounded(value) for label, value in each.items()}
                           for name, each in self.thresholds.items()},
            "size": self.size, "tile": (self.tile.width, self.tile.height), "across": ACROSS, "per_sheet": PER_SHEET,
            "redraw": {"start": self.redraw.start, "python": self.redraw.python, "note": self.redraw.note},
            "embedded": embedded if self.embedded else None, "rows": rows, **self._pairs(),
            **({"layers": {layer: {"ending": LAYERS[layer], "tiles": layers.get(layer)} for layer in self.layers}}
               if self.layers else {}),
        }
        text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
        return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")

    def _pairs(self) -> dict[str, Any]:
        """What is told of pairs beside their images: texts after, null where they are the texts, and changes."""
        if not self.pairs:
            return {}
        said = list(dict.fromkeys(each.change for each in self.images))
        places = _places(said)
        return {"after": [None if each.text_after == each.text else each.text_after for each in self.images],
                "changes": said, "change": [places[each.change] for each in self.images]}


def page_name(page: int) -> str:
    """The HTML file of a page of images, counted from 0."""
    return "index.html" if page == 0 else f"images-{page + 1}.html"


@cache
def script() -> str:
    """What filters, sorts and enlarges the images, between the tags of `<script>`."""
    text = (TEMPLATES / "images.js").read_text("utf-8")
    if "</" in text or "<!--" in text:
        raise ValueError("a script with '</' or '<!--' cannot stand in a page: write it otherwise")
    return text


def script_source() -> str:
    """The script as a source of a content security policy: no other one may run on a page that allows this alone."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script().encode()).digest()).decode()}'"


def pages_of(total: int) -> int:
    """On how many pages the images of a run are."""
    return max(1, -(-total // PER_PAGE))


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined,
                              trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"divmod": lambda place: divmod(place, ACROSS)}
    return environment


def _places(names: Iterable[str]) -> dict[str, int]:
    return {name: place for place, name in enumerate(names)}


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")
