from __future__ import annotations

import numpy as np
import pytest

from terrasynth.eval.evaluation.confusion import Confusion, confusion
from terrasynth.eval.evaluation.judged import Judged
from terrasynth.eval.pages.evaluation_page import confusion_svg

KNOWN = ("beach", "forest", "harbor", "river")


def judged(labels, seen):
    n = len(labels)
    probabilities = np.full((n, 4), 0.1, np.float32)
    probabilities[np.arange(n), [KNOWN.index(each) for each in seen]] = 0.7
    nothing = np.zeros((n, 1), np.float32)
    return Judged({}, {"model": "tiny"}, (), KNOWN, nothing, probabilities, nothing, (), None, None, tuple(labels))


def test_counts_are_those_of_a_loop():
    rng = np.random.default_rng(0)
    labels, seen = rng.choice(["beach", "harbor"], 40), rng.choice(KNOWN, 40)
    found = confusion(judged(labels, seen))
    assert found.asked == ("beach", "harbor")  # classes without pictures have no row
    assert found.seen == KNOWN
    assert found.n == 40
    for asked, row in zip(found.asked, found.counts, strict=True):
        for name, count in zip(found.seen, row, strict=True):
            assert count == sum(a == asked and b == name for a, b in zip(labels, seen, strict=True))
            assert found.count(asked, name) == (count, sum(labels == asked))
    assert found.count("forest", "beach") is None
    hits = {label: np.mean(seen[labels == label] == label) for label in ("beach", "harbor")}
    assert {label: each.value for label, each in found.accuracy().items()} == pytest.approx(hits)


def test_mistakes_come_by_number():
    found = Confusion(("beach", "river"), KNOWN, ((5, 0, 2, 0), (3, 1, 0, 6)), {})
    assert [(m.asked, m.seen, m.count, m.n) for m in found.mistakes(2)] == [
        ("river", "beach", 3, 10), ("beach", "harbor", 2, 7)]
    assert len(found.mistakes(9)) == 3


def test_the_chart_says_every_count_and_no_markup_of_names():
    found = Confusion(("beach & <co>",), ("beach & <co>", "river"), ((5, 2),), {})
    svg = confusion_svg(found, "pictures")
    assert "<co>" not in svg
    assert "beach &amp; &lt;co&gt; seen as river: 2 of 7" in svg
    assert 'aria-label="Confusion matrix of 7 pictures' in svg
