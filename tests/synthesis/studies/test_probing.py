"""Probes on frozen features: the mean color of each quarter of an image is the network, so what is right is known."""

from dataclasses import replace

import numpy as np
import pytest

from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.studies.downstream.arms import (
    BOTH,
    COUNTS,
    DUPLICATED,
    RANDOM,
    REAL,
    SCENE,
    SYNTHETIC,
    UNFILTERED,
    Design,
    subset,
)
from terrasynth.synthesis.studies.downstream.cells import RealSplits
from terrasynth.synthesis.studies.downstream.exposure import ExposureByShare, write_subsets
from terrasynth.synthesis.studies.downstream.figures import HELPS, HURTS, SAME, crossed_mean
from terrasynth.synthesis.studies.downstream.pools import Pool
from terrasynth.synthesis.studies.downstream.probing import WEIGHTS, measure_probes
from terrasynth.synthesis.studies.downstream.report import Report, verdicts
from tests.synthesis.studies.test_downstream import COLOURS, Attempts, _pool


class Quarters:
    """Mean color of each quarter of an image, 12 features."""

    dim, reads_text, precision = 12, False, "float32"

    def __init__(self):
        self.seen = 0

    def identity(self):
        return {"kind": "quarters"}

    def features(self, images, batch_size=64):
        self.seen += len(images)
        side = images.shape[1] // 2
        return images.reshape(len(images), 2, side, 2, side, 3).mean((2, 4), dtype=np.float32).reshape(-1, 12)

    def encode_images(self, images, batch_size=64):
        rows = self.features(images)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def real():
    return RealSplits(_pool(40, 0), _pool(10, 1), _pool(60, 2))


def _attempts(colours=COLOURS, spread=70, per_class=60):
    pool = _pool(per_class, 3, colours, spread)
    return Attempts(pool, [number % 2 == 0 for number in range(len(pool))])


def _measure(real, attempts, amounts=(1.0, 5.0), seeds=10, **changes):
    design = Design({SCENE: amounts}, seeds, scale=COUNTS, whole_val=True, **changes)
    return measure_probes(real, attempts, design, {"quarters": Quarters()}, say=lambda line: None)


def _chosen(found):
    return {(each.arm, each.amount): (each.setting, each.weight) for each in found.swept if each.chosen}


def test_counts_of_images_are_stratified_and_nested():
    labels = ["a"] * 30 + ["b"] * 12
    few, many = (subset(labels, amount, 0, COUNTS) for amount in (5.0, 20.0))
    assert [sum(labels[row] == name for row in few) for name in "ab"] == [5, 5]
    assert [sum(labels[row] == name for row in many) for name in "ab"] == [20, 12]  # no more than there are
    assert set(few) < set(many)
    assert COUNTS.words(5.0) == "5 a class"


def test_useful_images_help_where_real_ones_are_few(real):
    linear, neighbors = _measure(real, _attempts(spread=20))
    assert (linear.task, neighbors.task) == ("quarters, linear probe", "quarters, k-NN")
    for found in (linear, neighbors):
        own = {(each.amount, each.arm, each.against): each for each in found.differences}
        assert own[1.0, BOTH, REAL].verdict == HELPS
        assert own[1.0, BOTH, DUPLICATED].verdict == "better"
        assert own[1.0, BOTH, REAL].difference.value > own[5.0, BOTH, REAL].difference.value
        assert own[1.0, UNFILTERED, REAL].verdict == "better"  # the filter of this run is a coin
        assert found.more_real.low > 0
        assert [line.split(":")[0] for line in verdicts(found)] == ["1 a class", "5 a class",
                                                                   "real only at 5 a class minus at 1 a class"]
    sizes = {(arm.arm, arm.amount): (arm.n_real, arm.n_synthetic, arm.n_val) for arm in linear.arms}
    assert sizes[REAL, 5.0] == (20, 0, 40)
    assert sizes[BOTH, 5.0] == sizes[UNFILTERED, 5.0] == sizes[RANDOM, 5.0] == (20, 120, 40)
    assert sizes[DUPLICATED, 5.0] == (140, 0, 40)
    assert sizes[SYNTHETIC, 0.0] == (0, 108, 12)


def test_harmful_images_are_weighed_down_and_help_nobody(real):
    wrong = _attempts(dict(zip(COLOURS, reversed(COLOURS.values()), strict=True)), spread=20)
    found = _measure(real, wrong, (5.0,))[0]
    assert {weight for (arm, _), (_, weight) in _chosen(found).items() if arm == BOTH} == {min(WEIGHTS)}
    own = {(each.arm, each.against): each for each in found.differences}
    assert own[BOTH, REAL].verdict in (HURTS, SAME)
    assert own[SYNTHETIC, REAL].verdict == "worse"
    swept = {each.weight: each for each in found.swept if each.arm == BOTH}
    assert swept[min(WEIGHTS)].val > swept[max(WEIGHTS)].val + 0.2


@pytest.mark.parametrize("seed", range(3))
def test_random_labels_do_not_help(real, seed):
    pool = _pool(60, 3)
    labels = np.random.default_rng(seed).permutation(pool.labels).tolist()
    shuffled = Attempts(Pool.of(pool.images, labels, pool.captions), [True] * len(pool))
    linear, neighbors = (
        next(each for each in found.differences if (each.arm, each.against) == (BOTH, REAL))
        for found in _measure(real, shuffled, (5.0,))
    )
    assert neighbors.verdict in (HURTS, SAME)
    # A little of any label smooths a linear probe: not nothing, and far from what right labels do (+0.07).
    assert linear.difference.value < 0.04


def test_val_chooses_and_test_does_not(real):
    attempts = _attempts(spread=20)
    first = _measure(real, attempts, (1.0,), 3)
    other = _pool(60, 9, dict(zip(COLOURS, reversed(COLOURS.values()), strict=True)))
    changed = _measure(RealSplits(real.train, real.val, other), attempts, (1.0,), 3)
    for found, again in zip(first, changed, strict=True):
        assert [replace(each, test=0.0) for each in found.swept] == [replace(each, test=0.0) for each in again.swept]
        assert [each.test for each in found.swept] != [each.test for each in again.swept]
        for place in _chosen(found):
            own = [each for each in found.swept if (each.arm, each.amount) == place]
            assert max(each.val for each in own) == next(each.val for each in own if each.chosen)
    reversed_val = RealSplits(real.train, _pool(10, 9, dict(zip(COLOURS, reversed(COLOURS.values()), strict=True))),
                              real.test)
    assert _chosen(_measure(reversed_val, attempts, (1.0,), 3)[0]) != _chosen(first[0])


def test_each_image_is_read_once_and_the_figures_are_repeatable(real):
    encoder, attempts = Quarters(), _attempts()
    design = Design({SCENE: (5.0,)}, 2, scale=COUNTS, whole_val=True)
    once, again = (measure_probes(real, attempts, design, {"quarters": encoder}, say=lambda line: None)
                   for _ in range(2))
    assert once == again
    assert encoder.seen <= 2 * (160 + 40 + 240 + 240)


def test_draws_that_take_all_images_are_alike(real):
    found = _measure(real, _attempts(), (40.0,), 3)[0]
    for arm in (REAL, BOTH, UNFILTERED):
        figure = next(each.metrics["accuracy"] for each in found.arms if each.arm == arm)
        assert len(set(figure.by_seed)) == 1


def test_what_a_probe_cannot_learn_is_refused(real):
    lacking = [row for row, label in enumerate(real.test.labels) if label != "snow"]
    with pytest.raises(InputError, match="class 'snow' has no real test image; there are: desert, forest, river"):
        _measure(RealSplits(real.train, real.val, real.test.take(lacking)), _attempts())
    with pytest.raises(InputError, match="the real test images have one class, 'desert'"):
        _measure(RealSplits(real.train, real.val, real.test.take(range(5))), _attempts())


def test_the_report_shows_the_sweep(real, tmp_path):
    found = _measure(real, _attempts(), seeds=3)
    labels, names = list(real.train.labels), [f"{number}.png" for number in range(len(real.train))]
    design = Design({SCENE: (1.0, 5.0)}, 3, scale=COUNTS, whole_val=True)
    write_subsets(tmp_path, design, names, labels)
    assert len((tmp_path / "subsets" / "5-a-class-seed-2.txt").read_text().split()) == 20
    report = Report({"run": "planted", "identity": "0123"}, ExposureByShare({1.0: "the same", 5.0: "the same"}),
                    tuple(found))
    page = report.save(tmp_path).read_text("utf-8")
    text = (tmp_path / "downstream.md").read_text("utf-8")
    setting, weight = _chosen(found[0])[REAL, 5.0][0], _chosen(found[0])[BOTH, 5.0][1]
    tried = next(each for each in found[0].swept if (each.arm, each.amount, each.weight) == (BOTH, 5.0, weight))
    assert f"{tried.val:.3f} / {tried.test:.3f} \\*" in text
    row = next(line for line in text.splitlines() if line.startswith("| chosen L2 penalty |"))
    assert row.split("|")[3].strip() == f"{setting:g}"
    assert "| 5 a class | real + synthetic | 20 + 120 | 40 |" in text
    assert "frozen features of quarters (12), linear probe; L2 penalty of 1, 0.1, 0.01" in text
    assert "real training images a class" in page
    assert "chooses nothing" in page
    assert "turns, flips, crops, brightness" not in page


@pytest.mark.parametrize("images", [210, 10])
@pytest.mark.parametrize("gain", [-0.3, 0.3])
def test_intervals_hold_a_known_difference_from_both_sides(images, gain):
    """Binary scores of 20 draws by a probit of image, gain by image and draw; the truth is the normal distribution's.

    `tests/benchmarks/probe_intervals.py` has 400 of each, and probes that learn.
    """
    trials, missed = 100, [0, 0]
    truth = _normal(1 + gain, 1.2**2 + 0.4**2 + 0.15**2 + 0.08**2 + 0.25) - _normal(1, 1.2**2 + 0.15**2 + 0.25)
    for trial in range(trials):
        random = np.random.default_rng(trial)
        image = 1 + random.normal(0, 1.2, images) + random.normal(0, 0.15, (20, 1))
        more = random.normal(gain, 0.4, images) + random.normal(0, 0.08, (20, 1))
        one, other = (image + random.normal(0, 0.5, (20, images)) for _ in range(2))
        found = crossed_mean((other + more > 0).astype(float) - (one > 0), trial)
        missed[0] += truth < found.low
        missed[1] += truth > found.high
    assert sum(missed) <= 10  # 5 expected


def _normal(mean, variance):
    from math import erf

    return (1 + erf(mean / (2 * variance) ** 0.5)) / 2
