"""Questions about a layout with answers that hold: how many, is there any, are there more, does it lie so.

Answers are balanced by how questions are drawn. What is answered by yes or no is asked only where both answers can be
had; the answer is drawn first, then a question that has it. Where a number is asked for, it is drawn first, too, among
those that occur; zero, which most scenes offer, in one of seven, and none that nobody would count.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import permutations
from typing import Literal

from terrasynth.prompts.layouts.catalog import load_catalog, same_kind
from terrasynth.prompts.layouts.facts import RELATIONS, absent_kinds, holds
from terrasynth.prompts.layouts.labels import Labels
from terrasynth.prompts.scenes.draws import Draws

Sort = Literal["count", "presence", "comparison", "relation"]
SORTS: tuple[Sort, ...] = ("count", "presence", "comparison", "relation")
MOST_COUNTED = 30
ZERO = 7  # one in so many
_OPPOSITE = {"to the left of": "to the right of", "to the right of": "to the left of", "above": "below",
             "below": "above"}


@dataclass(frozen=True)
class Question:
    """A question with its answer.

    Attributes:
        sort: What it asks for.
        text: "Are there more cars than trucks?"
        answer: "yes", "no", or a number in digits.
    """

    sort: Sort
    text: str
    answer: str


def questions(labels: Labels, draws: Draws, each: int = 1) -> list[Question]:
    """Questions of every sort, at most so many of each; fewer where the layout gives no more.

    Presence is asked of kinds that images of the class may have, so that the answer is not to be had from the class.

    Example:
        >>> from terrasynth.prompts.layouts.drawing import draw_layout
        >>> from terrasynth.prompts.layouts.labels import Labels
        >>> from terrasynth.prompts.layouts.questions import questions
        >>> from terrasynth.prompts.scenes.draws import Draws
        >>> asked = questions(Labels(draw_layout("airplane", seed=0, k=0)), Draws("example"))
        >>> {one.sort for one in asked} <= {"count", "presence", "comparison", "relation"}
        True
    """
    found: list[Question] = []
    for sort in SORTS:
        known = _ASKED[sort](labels)
        for _ in range(each):
            one = _drawn(known, draws, yes_or_no=sort != "count")
            if one is not None and one not in found:
                found.append(one)
    return found


def what_is_not_there(labels: Labels) -> tuple[str, ...]:
    """The nouns, in the plural, of what images of the class may have and this one has not.

    Example:
        >>> from terrasynth.prompts.layouts.labels import Labels
        >>> from terrasynth.prompts.layouts.layout import Layout
        >>> from terrasynth.prompts.layouts.questions import what_is_not_there
        >>> what_is_not_there(Labels(Layout("island", 64.0, 1.0, "water", kinds=("boat", "ship"))))
        ('boats', 'ships')
    """
    return tuple(load_catalog().things[kind].plural for kind in absent_kinds(labels))


def _drawn(known: list[Question], draws: Draws, yes_or_no: bool) -> Question | None:
    answers = sorted({one.answer for one in known})
    if yes_or_no and len(answers) < 2:
        return None
    if not yes_or_no and len(answers) > 1 and "0" in answers:
        answers = ["0"] if draws.below(ZERO) == 0 else answers[1:]
    if not answers:
        return None
    answer = draws.pick(answers)
    return draws.pick([one for one in known if one.answer == answer])


def _counts(labels: Labels) -> list[Question]:
    numbers = {kind: number for kind, number in labels.counts.items() if number <= MOST_COUNTED}
    numbers |= dict.fromkeys(absent_kinds(labels), 0)
    return [Question("count", f"How many {_plural(kind)} are there?", str(number)) for kind, number in numbers.items()]


def _presence(labels: Labels) -> list[Question]:
    there = [Question("presence", f"Are there any {_plural(kind)}?", "yes") for kind in labels.counts]
    return there + [Question("presence", f"Are there any {_plural(kind)}?", "no") for kind in absent_kinds(labels)]


def _comparison(labels: Labels) -> list[Question]:
    return [Question("comparison", f"Are there more {_plural(one)} than {_plural(other)}?",
                     "yes" if count > labels.counts[other] else "no")
            for one, count in labels.counts.items() for other in labels.counts
            if count != labels.counts[other] and not same_kind(one, other)]


def _relation(labels: Labels) -> list[Question]:
    """Of things of which there is one of a kind each; a side is denied where the opposite holds."""
    alone = {kind: labels.of(kind)[0] for kind, count in labels.counts.items() if count == 1}
    gsd, found = labels.layout.gsd, []
    for (kind, one), (other, target) in permutations(alone.items(), 2):
        if same_kind(kind, other):
            continue
        for relation in RELATIONS[:4]:
            text = f"Is the {_noun(kind)} {relation} the {_noun(other)}?"
            if holds(one, relation, target, gsd):
                found.append(Question("relation", text, "yes"))
            elif holds(one, _OPPOSITE[relation], target, gsd):
                found.append(Question("relation", text, "no"))
    return found


def _noun(kind: str) -> str:
    return load_catalog().things[kind].noun


def _plural(kind: str) -> str:
    return load_catalog().things[kind].plural


_ASKED: dict[Sort, Callable[[Labels], list[Question]]] = {
    "count": _counts, "presence": _presence, "comparison": _comparison, "relation": _relation,
}
