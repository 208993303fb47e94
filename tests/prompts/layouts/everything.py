"""Everything that is promised of one scene, checked at once; run by hand over many:

    python -m tests.prompts.layouts.everything 10000
"""

from __future__ import annotations

import sys
import time
from collections import Counter

import numpy as np

from terrasynth.prompts.expanders.layout import LayoutExpander
from terrasynth.prompts.layouts.changes import DOINGS, change, draw_edit, pair_of
from terrasynth.prompts.layouts.drawing import CLASSES
from terrasynth.prompts.layouts.labels import Labels, labels_at, labels_of
from terrasynth.prompts.layouts.layout import Layout
from terrasynth.prompts.layouts.questions import questions
from terrasynth.prompts.layouts.regions import expressions
from terrasynth.prompts.scenes.draws import Draws
from tests.prompts.layouts.reader import CATALOG, FORMS, NUMBERS, fitting, lies, of, seen, wrong


def answered(question: str, labels: Labels, things: list) -> str:
    """The answer of a second reader."""
    words = question.rstrip("?")
    nouns = sorted(FORMS, key=len, reverse=True)
    if words.startswith("How many "):
        return str(len(of(things, FORMS[words[len("How many "):-len(" are there")]])))
    if words.startswith("Are there any "):
        return "yes" if of(things, FORMS[words[len("Are there any "):]]) else "no"
    if words.startswith("Are there more "):
        one, other = words[len("Are there more "):].split(" than ")
        return "yes" if len(of(things, FORMS[one])) > len(of(things, FORMS[other])) else "no"
    rest = words[len("Is the "):]
    noun = next(noun for noun in nouns if rest.startswith(noun + " "))
    how, other = rest[len(noun) + 1:].rsplit(" the ", 1)
    (a,), (b,) = of(things, FORMS[noun]), of(things, FORMS[other])
    return "yes" if lies(a, how, b, labels.layout.gsd) else "no"


def check_change(pair, tally: Counter) -> list[str]:
    """What contradicts itself in a pair: mask, flag, captions and layouts are compared anew."""
    found = []
    before, after = labels_of(pair.before), labels_of(pair.after)
    differs = before.semantic != after.semantic
    tally["pairs"] += 1
    if pair.changed is not bool(pair.mask.any()) or (differs & ~pair.mask).any() or len(pair.captions) != 5:
        found.append("flag or mask")
    if len(set(pair.captions)) != 5:
        found.append("captions")
    text = pair.captions[0].lower()
    number = next((NUMBERS[word] for word in text.split() if word in NUMBERS), None)
    doing = pair.edit.doing
    if doing == "season":
        if pair.mask.any() or not text.startswith("nothing"):
            found.append("season")
        return found
    if doing == "flooded":
        water = CATALOG.value("water")
        gained = (after.cover == water) & (before.cover != water)
        if not gained.any() or (pair.mask & ~gained).any():
            found.append("flood")
        return found
    delta = len(after.instances) - len(before.instances)
    if number is None or abs(delta) != number or (delta > 0) is not (doing == "built"):
        found.append(f"number {number} {delta}")
    gone = sorted(set(range(len(pair.before.things))) - {
        place for place, one in enumerate(pair.before.things) if one in pair.after.things})
    if doing != "built":
        touched = np.isin(before.mask, [one.number for one in before.instances if one.thing in gone])
        if (pair.mask != touched).any():
            found.append("mask is not what is gone")
        cover = CATALOG.value("rubble" if doing == "destroyed" else "soil")
        if (after.cover[touched] != cover).any():
            found.append("ground")
    return found


def check(expander: LayoutExpander, label: str, seed: int, k: int, tally: Counter) -> list[str]:
    """What is wrong with a scene; empty where nothing is."""
    prompt = expander.expand(label, seed, k, 1)[0]
    layout = Layout.from_json(prompt.layout)
    labels = labels_of(layout)
    things, found = seen(labels), []
    if k % 16 == 0 and (layout != expander.layout(label, seed, k) or (Labels(layout).mask != labels.mask).any()):
        found.append("not the same again")
    # counts = boxes = instances
    for kind, count in labels.counts.items():
        boxes = [one.box for one in labels.of(kind)]
        masks = [number for number, one in enumerate(things, 1) if kind in (one.kind, CATALOG.things[one.kind].like)]
        if not count == len(boxes) == len(masks):
            found.append(f"{count} {kind}, {len(boxes)} boxes, {len(masks)} instances")
    for one, other in zip(things, labels.instances, strict=True):
        if (one.left, one.top, one.right, one.bottom) != other.box or one.pixels < layout.min_pixels:
            found.append(f"box {other.box}")
    for caption in {*prompt.captions, *prompt.choices}:
        found += [f"{caption!r}: {each}" for each in wrong(caption, labels, things)]
    tally["captions"] += len(prompt.captions)
    tally["texts left out"] += len(prompt.choices) - len(prompt.captions)
    for one in expressions(labels, Draws("expressions", label, seed, k), most=3):
        tally["expressions"] += 1
        if (fits := fitting(one.text, labels, things)) != [one.number]:
            found.append(f"{one.text!r} fits {fits}, not {one.number}")
    for one in questions(labels, Draws("questions", label, seed, k)):
        tally[f"question {one.sort} {one.answer}"] += 1
        if answered(one.text, labels, things) != one.answer:
            found.append(f"{one.text} {one.answer}")
    doing = DOINGS[k % len(DOINGS)]
    edit = draw_edit(layout, doing, Draws("edit", label, seed, k))
    if edit is not None:
        pair = change(layout, edit)
        tally[f"pair {doing}"] += 1
        found += [f"{doing} {pair.captions[0]}: {each}" for each in check_change(pair, tally)]
    tally["scenes"] += 1
    tally["things"] += len(things)
    return [f"{label} {k}: {each}" for each in found]


def check_row(expander: LayoutExpander, label: str, seed: int, k: int, tally: Counter) -> list[str]:
    """What is wrong with an attempt of an expander of pairs; empty where nothing is."""
    prompt = expander.expand(label, seed, k, 1)[0]
    pair = pair_of(prompt.layout, prompt.edit)
    tally[f"row {pair.edit.doing}"] += 1
    found = check_change(pair, Counter())
    for text, layout in ((prompt.text, pair.before), (prompt.text_after, pair.after)):
        labels = labels_of(layout)
        found += [f"{text!r}: {each}" for each in wrong(text, labels, seen(labels))]
    for side in (layout.pixels // 3, layout.pixels, layout.pixels * 2):
        mask, (before, after) = pair.mask_at(side), (labels_at(each, side) for each in (pair.before, pair.after))
        if bool(mask.any()) is not pair.changed or (before.semantic != after.semantic)[~mask].any():
            found.append(f"mask of {side} pixels")
    return [f"pair {label} {k}: {each}" for each in found]


def main(count: int) -> None:
    """Check so many scenes, classes in turn, and say what was counted."""
    expander, pairs, tally = LayoutExpander(), LayoutExpander(pairs="all"), Counter[str]()
    failures = []
    started = time.process_time()
    for number in range(count):
        failures += check(expander, CLASSES[number % len(CLASSES)], 0, number // len(CLASSES), tally)
        failures += check_row(pairs, CLASSES[number % len(CLASSES)], 0, number // len(CLASSES), tally)
        if (number + 1) % 500 == 0:
            print(number + 1, len(failures), f"{time.process_time() - started:.0f} s", failures[-3:], flush=True)
    for name, value in sorted(tally.items()):
        print(f"{name:32} {value:,}")
    print(f"{len(failures)} failures", *failures[:40], sep="\n")


if __name__ == "__main__":
    main(int(sys.argv[1]))
