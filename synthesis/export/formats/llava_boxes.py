"""Instruction JSON with coordinates: questions, captions of regions and grounding, by what lies where in an image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from typing_extensions import override

from terrasynth.errors import nearest
from terrasynth.prompts.layouts.labels import Instance
from terrasynth.prompts.layouts.questions import questions
from terrasynth.prompts.layouts.regions import region_captions
from terrasynth.prompts.scenes.draws import Draws
from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.export.coordinates import WAYS
from terrasynth.synthesis.export.formats.grounding import expressions_of
from terrasynth.synthesis.export.formats.llava import LlavaExporter, entry, write_entries
from terrasynth.synthesis.export.labels import ImageLabels, LabelExporter
from terrasynth.synthesis.export.output import Output
from terrasynth.synthesis.export.plan import Plan
from terrasynth.synthesis.export.questions import BRIEFLY, Question
from terrasynth.synthesis.export.registry import whole_number
from terrasynth.synthesis.export.reviewed import HUMAN
from terrasynth.synthesis.export.rows import Row

LAYOUT_BASIS = "layout"


class LlavaBoxesExporter(LabelExporter):
    """`images/SPLIT/` and `llava_SPLIT.json`, the files of the format `llava`.

    After the caption come questions about counts, presence, comparison and relations, then captions of regions and
    boxes of things, as many of each as `regions` says. `coordinates` of an entry says what its numbers mean. A row that
    a person described has what the format `llava` has, since nobody compared the layout with that.

    Args:
        coordinates: "pixels", "unit" for 0 to 1, "thousand" for 0 to 999, or "geochat" for oriented boxes in the marks
            and with the tasks of GeoChat.
        regions: Captions of regions, and boxes that are asked for, of an image at most.
    """

    name = "llava-boxes"
    own: ClassVar[Sequence[str]] = LlavaExporter.own
    load = LlavaExporter.load
    loses = "captions after the first, masks, land cover, scene, what draws an image again, scores"

    def __init__(self, coordinates: str = "pixels", regions: int = 3) -> None:
        if coordinates not in WAYS:
            raise InputError(f"option coordinates {coordinates!r} is unknown{nearest(str(coordinates), WAYS)}; there "
                             f"is {', '.join(WAYS)}")
        self._name, self._way = coordinates, WAYS[coordinates]
        self._regions = whole_number("regions", regions)
        self.conventions = f"Coordinates are {self._way.meaning}. Boxes are of the pixels that are seen" + (
            "; of a thing that lies in the image whole, that of the whole thing." if coordinates == "geochat" else ".")

    @override
    def options(self) -> dict[str, object]:
        """What decides the files beside the rows."""
        return {"coordinates": self._name, "regions": self._regions}

    def write(self, plan: Plan, out: Output) -> None:
        """Write images and JSON; `image` is relative to `images/`."""
        write_entries(plan, out, self._entry)

    def _entry(self, row: Row) -> dict[str, Any]:
        told = entry(row) | {"coordinates": self._way.meaning}
        if row.basis == HUMAN:
            return told
        asked = self._asked(ImageLabels.of(row), Draws(self.name, row.id))
        turns = [{"from": speaker, "value": said} for one in asked
                 for speaker, said in (("human", one.text), ("gpt", one.answer))]
        return told | {"conversations": told["conversations"][:2] + turns,
                       "kinds": ["caption", *(one.kind for one in asked)], "basis": LAYOUT_BASIS}

    def _asked(self, labels: ImageLabels, draws: Draws) -> list[Question]:
        found: list[Question] = []
        if labels.complete:
            found += [Question(one.sort, f"{one.text} {BRIEFLY if one.sort == 'count' else 'Answer yes or no.'}",
                               one.answer.capitalize()) for one in questions(labels.said, draws)]
        captions = region_captions(labels.drawn)
        chosen = draws.shuffled(labels.instances)[: self._regions]
        found += [self._region(self._way.said(labels, one), captions[one.number - 1]) for one in chosen]
        said = draws.shuffled(expressions_of(labels, draws, 1))[: self._regions]
        return found + [self._box(labels, one.text, labels.instance(one.number)) for one in said]

    def _region(self, box: str, caption: str) -> Question:
        task = "[identify] " if self._name == "geochat" else ""
        return Question("region", f"{task}What is at {box}?", caption)

    def _box(self, labels: ImageLabels, words: str, one: Instance) -> Question:
        text = f"[refer] Where is <p>{words}</p>?" if self._name == "geochat" else (
            f"Where is {words}? Give its box{self._way.asked}.")
        return Question("grounding", text, self._way.said(labels, one))
