import numpy as np
import pytest

from terrasynth.eval.copies.measures import FeatureMeasure, HashMeasure
from terrasynth.eval.copies.perceptual_hash import turned
from terrasynth.eval.copies.repetition import ANY_MIX, SAME_MIX, repetition
from terrasynth.eval.errors import InputError
from terrasynth.eval.models.thumbnail import ThumbnailEncoder
from tests.tiny import tiny_pictures

PICTURES = tiny_pictures(400, 32)
OURS, REAL = PICTURES[:200], PICTURES[200:]
MEASURES = (HashMeasure(), FeatureMeasure("thumbnail", ThumbnailEncoder()))


def test_planted_duplicates_are_found_turned_or_not():
    planted = np.concatenate([OURS[:180], OURS[:5], turned(OURS[5:10], 6), OURS[190:]])
    found = repetition(planted, MEASURES, real=REAL)
    assert (found.identical, found.real_identical) == (10, 0)
    for one in found.measures:
        pairs = [pair for pair in found.pairs if pair.measure == one.measure][:10]
        assert {(min(p.row, p.other), max(p.row, p.other)) for p in pairs} == {(n, 180 + n) for n in range(10)}
        assert one.share.value >= 0.1
        assert one.share.low > one.null


def test_a_set_like_the_real_one_repeats_itself_as_little():
    found = repetition(OURS, MEASURES, real=REAL)
    for one in found.measures:
        assert one.null <= 0.01
        assert one.share.low <= 0.01 <= one.share.high
    assert found.identical == 0


def test_both_are_compared_at_equal_numbers_of_each_class():
    labels, real_labels = ["a"] * 150 + ["b"] * 50, ["a"] * 100 + ["b"] * 60 + ["c"] * 40
    found = repetition(OURS, MEASURES[1:], labels=labels, real=REAL, real_labels=real_labels)
    assert (found.n_real, found.mix) == (150, SAME_MIX)
    assert {name: n for name, (_, n) in found.measures[0].per_class.items()} == {"a": 100, "b": 50}
    found = repetition(OURS[:90], MEASURES[1:], real=REAL, real_labels=real_labels)
    assert (found.n_real, found.measures[0].share.n, found.mix) == (90, 90, ANY_MIX)


def test_without_real_pictures_only_distances_are_given():
    found = repetition(np.concatenate([OURS[:20], OURS[:1]]), MEASURES)
    assert found.measures == ()
    assert found.identical == 2
    assert [one.smallest for one in found.distances] == pytest.approx([0, 0], abs=1e-6)
    assert found.lines()[1].endswith("by perceptual hash; no real images to compare with")


def test_the_same_call_gives_the_same_figures():
    one, other = (repetition(OURS[:90], MEASURES, real=REAL, seed=4) for _ in range(2))
    assert one == other


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(InputError, match="1 images: a duplicate needs two"):
        repetition(OURS[:1], MEASURES)
    with pytest.raises(InputError, match="200 real images and 3 labels"):
        repetition(OURS, MEASURES, real=REAL, real_labels=["a"] * 3)
    with pytest.raises(InputError, match="px do not compare"):
        repetition(OURS, MEASURES, real=REAL[:, :16])
