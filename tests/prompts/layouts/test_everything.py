"""One scene of every class: what is said, labeled, asked and changed agrees, by a second reader (`everything`)."""

from collections import Counter

import pytest

from terrasynth.prompts.expanders.layout import LayoutExpander
from terrasynth.prompts.layouts.drawing import CLASSES
from terrasynth.prompts.layouts.labels import labels_of
from terrasynth.prompts.layouts.layout import Layout, Thing
from terrasynth.prompts.layouts.questions import questions
from terrasynth.prompts.scenes.draws import Draws
from tests.prompts.layouts.everything import check, check_row
from tests.prompts.layouts.reader import seen, wrong

EXPANDER, PAIRS = LayoutExpander(), LayoutExpander(pairs="all")


@pytest.mark.parametrize("place", range(len(CLASSES)))
def test_everything_agrees(place):
    tally = Counter()
    assert check(EXPANDER, CLASSES[place], 7, place, tally) == []
    assert tally["captions"] >= 1


@pytest.mark.parametrize("label", CLASSES)
def test_a_pair_and_its_texts_agree(label):
    assert check_row(PAIRS, label, 7, 0, Counter()) == []


@pytest.mark.parametrize(("caption", "said"), [
    ("An airplane scene with three white airplanes.", "three airplane, but 2"),
    ("Two red airplanes.", "red airplane"),
    ("Two airplanes in the left half.", "airplane in the left half"),
    ("Two airplanes on a road.", "airplane on road"),
    ("Two airplanes and no cars.", "no car, but 1"),
    ("Two airplanes below the car.", "airplane below car"),
    ("Many airplanes.", "many airplane, but 2"),
])
def test_the_second_reader_finds_what_is_not_so(caption, said):
    things = (Thing("airplane", 30, 60, 0, 30, 30, "white"), Thing("airplane", 100, 60, 0, 30, 30, "white"),
              Thing("car", 64, 120, 0, 5, 2, "red"))
    labels = labels_of(Layout("airplane", 128.0, 0.5, "apron", things=things))
    assert said in wrong(caption, labels, seen(labels))
    assert wrong("Two white airplanes in the upper half on an apron and one red car.", labels, seen(labels)) in (
        [], ["airplane in the upper half"])


def test_answers_are_balanced():
    """Of what is answered by yes or no, about half is yes; of 240 fair answers, 150 are alike once in 10,000 runs."""
    answers = Counter()
    for label in ("denseresidential", "intersection", "tenniscourt", "lake"):
        for k in range(6):
            layout = EXPANDER.layout(label, 0, k)
            for number in range(10):
                for one in questions(labels_of(layout), Draws("balance", label, k, number)):
                    answers[one.sort, one.answer] += 1
    for sort in ("presence", "comparison"):
        yes, no = answers[sort, "yes"], answers[sort, "no"]
        assert yes + no >= 100
        assert 0.37 < yes / (yes + no) < 0.63
    counts = {answer: n for (sort, answer), n in answers.items() if sort == "count"}
    assert max(counts.values()) / sum(counts.values()) < 0.35
