"""What people said of images in words, in place of what was asked of the generator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from terrasynth.prompts.scenes.claims import known_scene
from terrasynth.prompts.scenes.entailment import UNKNOWN, cut
from terrasynth.prompts.scenes.scene import Scene, SceneObject
from terrasynth.prompts.scenes.wording import singular
from terrasynth.synthesis.review.entries import CaptionReview

BASIS, DRAWN_TEXT = "basis", "drawn_text"
HUMAN, PROMPT, CAPTION = "human", "prompt", "caption"


def as_drawn(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of which nobody said anything, with the columns that tell it from one of which somebody did."""
    return {**row, BASIS: PROMPT, DRAWN_TEXT: row["text"]}


def as_reviewed(row: Mapping[str, Any], said: CaptionReview) -> dict[str, Any]:
    """A row with a person's captions, and a scene of what these say and which things were marked.

    Args:
        row: Plain data with `text`, `label`, `captions` and `scene`.
        said: What the person said.
    """
    return {**row, "text": said.captions[0], "captions": list(said.captions), "scene": reviewed_scene(row, said),
            BASIS: HUMAN, DRAWN_TEXT: row["text"]}


def reviewed_scene(row: Mapping[str, Any], said: CaptionReview) -> str:
    """What the captions leave of the drawn scene, without things that are not there, and with those that are."""
    _, left = cut(" ".join(said.captions), row["label"], (), row["scene"])
    absent, present = ({_key(noun): noun for noun in nouns} for nouns in (said.absent, said.present))
    if not absent and not present:
        return left
    known = known_scene(left) or Scene(row["label"], ())
    kept = tuple(thing for thing in known.objects
                 if _key(thing.noun) not in absent and not (_key(thing.noun) in present and thing.number == 0))
    there = {_key(thing.noun) for thing in kept}
    marked = [SceneObject(f"marked {noun}", noun) for key, noun in present.items() if key not in there]
    marked += [SceneObject(f"marked {noun}", noun, "no", 0) for noun in absent.values()]
    roles = {thing.role for thing in kept}
    relations = tuple(one for one in known.relations if {one.subject, one.object} <= roles)
    objects = (*kept, *marked)
    return replace(known, objects=objects, relations=relations).to_json() if objects else UNKNOWN


def _key(noun: str) -> str:
    """A thing by whichever form of its noun it is marked."""
    return singular(noun.casefold())
