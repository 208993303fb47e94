"""A small but real learner, the nearest mean colour, stands where a network would: its trainings take no time."""

import json
import re

import numpy as np
import pytest

from terrasynth.synthesis.core.errors import InputError, RunError
from terrasynth.synthesis.studies.downstream.arms import (
    ARMS,
    BOTH,
    DUPLICATED,
    RANDOM,
    REAL,
    SYNTHETIC,
    UNFILTERED,
    Design,
    cells,
    duplicated,
    held_out,
    random_keep,
    subset,
    unfiltered,
)
from terrasynth.synthesis.studies.downstream.cells import RealSplits, measure_downstream
from terrasynth.synthesis.studies.downstream.exposure import ExposureByShare, GeneratorExposure, write_subsets
from terrasynth.synthesis.studies.downstream.figures import (
    HELPS,
    HURTS,
    SAME,
    UNJUDGED,
    Interval,
    crossed_mean,
    differences,
    sentence,
    verdict_of,
)
from terrasynth.synthesis.studies.downstream.pools import Pool
from terrasynth.synthesis.studies.downstream.report import Report, chart, verdicts
from terrasynth.synthesis.studies.trainings import Budget, Trained

COLOURS = {"desert": (190, 160, 110), "forest": (90, 120, 80), "river": (80, 110, 170), "snow": (200, 200, 210)}
BUDGET = {"scene": Budget(10, 4, 8)}


def _pool(per_class, seed, colours=COLOURS, spread=70):
    generator = np.random.default_rng(seed)
    labels = [name for name in colours for _ in range(per_class)]
    ground = np.array([colours[name] for name in labels])[:, None, None]
    tint = generator.normal(0, spread, (len(labels), 1, 1, 3))
    images = np.clip(ground + tint + generator.normal(0, 5, (len(labels), 8, 8, 3)), 0, 255).astype(np.uint8)
    return Pool.of(images, labels, [(name,) for name in labels])


class Attempts:
    """As `RunAttempts`, in memory."""

    def __init__(self, pool, accepted):
        self.drawn, self.labels, self.accepted = pool, pool.labels, np.array(accepted, np.bool_)

    def pool(self, rows):
        wanted = sorted(set(rows))
        return self.drawn.take(wanted), {row: place for place, row in enumerate(wanted)}


class NearestMean:
    """Names the class whose pictures have the nearest mean colour; counts its trainings and can be cut short."""

    def __init__(self, cut_at=None):
        self.cells, self.cut_at = [], cut_at

    def __call__(self, task, train, val, test, budget, seed, name):
        if len(self.cells) == self.cut_at:
            raise KeyboardInterrupt
        self.cells.append((name, len(train), len(val), budget))
        names = np.array(sorted(set(train.labels)))
        colours, labels = train.images.mean((1, 2)), np.array(train.labels)
        means = np.stack([colours[labels == each].mean(0) for each in names])
        distances = np.square(test.images.mean((1, 2))[:, None] - means).sum(2)
        hits = names[distances.argmin(1)] == np.array(test.labels)
        return Trained({"accuracy": hits.astype(float).tolist()}, {"accuracy": 1 / len(names)}, 1, "nearest mean")


@pytest.fixture(scope="module")
def real():
    return RealSplits(_pool(40, 0), _pool(4, 1), _pool(60, 2))


def _useful():
    """Every second attempt is accepted; the others are of another world."""
    good, bad = _pool(60, 3), _pool(60, 4, dict(zip(COLOURS, reversed(COLOURS.values()), strict=True)))
    images = np.stack([good.images, bad.images], 1).reshape(-1, 8, 8, 3)
    labels = [label for label in good.labels for _ in range(2)]
    return Attempts(Pool.of(images, labels, [(label,) for label in labels]), [True, False] * len(good))


def _measure(real, attempts, learner, out, percents=(5,), seeds=3, **changes):
    design = Design({"scene": percents}, seeds, **changes)
    return measure_downstream(real, attempts, design, BUDGET, learner, out, say=lambda line: None)[0]


def test_subsets_are_stratified_nested_and_decided_by_the_seed():
    labels = ["a"] * 80 + ["b"] * 37 + ["c"] * 3
    small, middle, whole = (subset(labels, percent, 0) for percent in (5, 25, 100))
    counts = [[labels[row] for row in rows].count(name) for rows in (small, middle) for name in "abc"]
    assert counts == [4, 2, 1, 20, 9, 1]
    assert set(small) < set(middle) < set(whole)
    assert whole == tuple(range(120))
    assert subset(labels, 25, 0) == middle
    assert subset(labels, 25, 1) != middle


def test_a_class_keeps_its_subset_when_another_class_grows():
    few = subset(["a"] * 40 + ["b"] * 10, 25, 0)
    many = subset(["a"] * 40 + ["b"] * 90, 25, 0)
    assert [row for row in few if row < 40] == [row for row in many if row < 40]


def test_duplicates_are_whole_copies_and_an_even_rest():
    labels = ["a"] * 6 + ["b"] * 4
    rows = (0, 1, 2, 6, 7)
    found = duplicated(labels, rows, 12, 0)
    assert len(found) == 12
    assert all(found.count(row) in (2, 3) for row in rows)
    assert sorted(labels[row] for row in found[10:]) == ["a", "b"]
    assert duplicated(labels, rows, 5, 0) == rows


def test_controls_have_as_many_attempts_of_each_class():
    labels = ["a"] * 8 + ["b"] * 8
    accepted = np.array([0, 0, 1, 0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0], np.bool_)
    assert unfiltered(labels, accepted) == (0, 1, 2, 8)
    keeps = [random_keep(labels, accepted, seed) for seed in range(20)]
    assert all([labels[row] for row in keep] == ["a", "a", "a", "b"] for keep in keeps)
    assert len(set(keeps)) > 5
    assert {row for keep in keeps for row in keep} > {0, 2, 6, 8, 13}


def test_a_tenth_of_the_synthetic_pictures_is_held_out():
    labels = ["a"] * 20 + ["b"] * 20
    rows = tuple(range(0, 40, 2))
    learned, apart = held_out(labels, rows, 0)
    assert sorted(learned + apart) == list(rows)
    assert [labels[row] for row in apart] == ["a", "b"]


def test_every_arm_has_the_same_budget_validation_and_real_pictures(real, tmp_path):
    learner = NearestMean()
    found = _measure(real, _useful(), learner, tmp_path, (5, 25), 2)
    assert {budget for *_, budget in learner.cells} == {BUDGET["scene"]}
    assert len(learner.cells) == 2 * (2 * 5 + 1)
    sizes = {(arm.arm, arm.amount): (arm.n_real, arm.n_synthetic, arm.n_val) for arm in found.arms}
    assert sizes[REAL, 5] == (8, 0, 4)
    assert sizes[BOTH, 5] == sizes[UNFILTERED, 5] == sizes[RANDOM, 5] == (8, 240, 4)
    assert sizes[DUPLICATED, 5] == (248, 0, 4)
    assert sizes[DUPLICATED, 25] == (280, 0, 4)
    assert sizes[SYNTHETIC, 0] == (0, 216, 24)
    own = list(cells(Design({"scene": (5,)}, 2), real.train.labels, real.val.labels, ["forest"] * 4,
                     np.ones(4, np.bool_)))
    for seed in range(2):
        assert len({(cell.real, cell.val_real) for cell in own if cell.seed == seed
                    and cell.arm in (REAL, BOTH, UNFILTERED, RANDOM)}) == 1
    assert own[0].real != own[6].real  # another subset for the other seed


def test_one_subset_for_all_seeds_on_request(real):
    own = list(cells(Design({"scene": (5,)}, 3, subset_seed=7), real.train.labels, real.val.labels, ["forest"],
                     np.ones(1, np.bool_)))
    assert {cell.real for cell in own if cell.arm == REAL} == {subset(real.train.labels, 5, 7)}


def test_useful_pictures_help_and_their_filter_is_seen_to(real, tmp_path):
    found = _measure(real, _useful(), NearestMean(), tmp_path, seeds=5)
    verdicts = {(each.arm, each.against): each.verdict for each in found.differences}
    assert verdicts[BOTH, REAL] == HELPS
    assert verdicts[BOTH, DUPLICATED] == verdicts[BOTH, UNFILTERED] == verdicts[BOTH, RANDOM] == "better"
    assert verdicts[DUPLICATED, REAL] == SAME
    words = sentence(found.differences, 5)
    assert words.startswith("5 %: helps (+0.")
    assert words.endswith("against real duplicated better, real + unfiltered better, real + random keep better")


def test_harmful_pictures_hurt(real, tmp_path):
    wrong = _pool(60, 4, dict(zip(COLOURS, reversed(COLOURS.values()), strict=True)), spread=5)
    found = _measure(real, Attempts(wrong, [True] * len(wrong)), NearestMean(), tmp_path)
    own = {(each.arm, each.against): each for each in found.differences}
    assert own[BOTH, REAL].verdict == HURTS
    assert own[SYNTHETIC, REAL].verdict == "worse"
    assert own[BOTH, UNFILTERED].difference.value == 0  # all attempts were accepted: the same pictures


@pytest.mark.parametrize("seed", range(5))
def test_random_labels_do_not_help(real, tmp_path, seed):
    good = _pool(60, 3)
    labels = np.random.default_rng(seed).permutation(good.labels).tolist()
    mislabelled = Pool.of(good.images, labels, good.captions)
    found = _measure(real, Attempts(mislabelled, [True] * len(good)), NearestMean(), tmp_path)
    own = {(each.arm, each.against): each.verdict for each in found.differences}
    assert own[BOTH, REAL] in (HURTS, SAME)


def test_an_interrupted_measurement_goes_on_and_trains_nothing_twice(real, tmp_path):
    whole = _measure(real, _useful(), NearestMean(), tmp_path / "whole")
    names = []
    for cut_at in (0, 3, 7, None):
        learner = NearestMean(cut_at)
        if cut_at is None:
            found = _measure(real, _useful(), learner, tmp_path / "cut")
        else:
            with pytest.raises(KeyboardInterrupt):
                _measure(real, _useful(), learner, tmp_path / "cut")
        names += [name for name, *_ in learner.cells]
    assert found == whole
    assert len(names) == len(set(names)) == 18
    again = NearestMean()
    assert _measure(real, _useful(), again, tmp_path / "cut") == whole
    assert again.cells == []


def test_more_seeds_and_shares_add_to_what_is_there(real, tmp_path):
    learner = NearestMean()
    _measure(real, _useful(), learner, tmp_path, (5,), 1)
    _measure(real, _useful(), learner, tmp_path, (5, 25), 2)
    assert len(learner.cells) == 2 * (2 * 5 + 1)


def test_the_same_pictures_under_two_names_are_trained_on_once(real, tmp_path):
    good = _pool(10, 3)
    learner = NearestMean()
    found = _measure(real, Attempts(good, [True] * len(good)), learner, tmp_path, seeds=1)
    assert len(learner.cells) == 4  # nothing was rejected: unfiltered and random keep are the accepted ones
    assert len(found.arms) == len(ARMS)


def test_other_pictures_are_another_training(real, tmp_path):
    learner = NearestMean()
    _measure(real, _useful(), learner, tmp_path, seeds=1)
    changed = RealSplits(real.train, real.val, _pool(60, 9))
    _measure(changed, _useful(), learner, tmp_path, seeds=1)
    assert len(learner.cells) == 12


def test_a_damaged_training_is_named(real, tmp_path):
    _measure(real, _useful(), NearestMean(), tmp_path, seeds=1)
    path = sorted((tmp_path / "cells").glob("*.json"))[0]
    path.write_text("{")
    with pytest.raises(RunError, match=rf"{path.name} cannot be read .*; remove it and run the same command again"):
        _measure(real, _useful(), NearestMean(), tmp_path, seeds=1)


def test_an_interval_holds_for_other_seeds_and_pictures():
    held = 0
    for trial in range(200):
        generator = np.random.default_rng(trial)
        scores = (generator.normal(0, 0.04, (3, 1)) + generator.normal(0, 0.3, (1, 100))
                  + generator.normal(0, 0.3, (3, 100)))
        found = crossed_mean(scores, 0)
        held += found.low < 0 < found.high
    assert held >= 184  # 190 expected


def test_what_one_seed_does_to_single_images_is_not_counted_as_spread_of_images():
    """By the closed form of a two-way table: here all that images differ in is the interaction with the first seed."""
    alone = np.zeros((3, 100))
    alone[0] = np.tile([1.0, -1.0], 50)
    found = crossed_mean(alone, 0)
    assert (found.low, found.high) == pytest.approx((0.0, 0.0), abs=1e-6)
    alike = np.tile([1.0, -1.0], (3, 50))  # and here it is the images themselves
    found = crossed_mean(alike, 0)
    assert (found.low, found.high) == pytest.approx((-0.196, 0.196), abs=0.02)


def test_more_real_pictures_show_whether_anything_can_be_shown(real, tmp_path):
    learned = _measure(real, _useful(), NearestMean(), tmp_path / "learned", (5, 100), 5)
    assert learned.more_real.low > 0
    assert verdicts(learned)[-1].endswith("more real images help, as they should")

    def guess(task, train, val, test, budget, seed, name):
        hits = np.random.default_rng([seed, len(train)]).random(len(test)) < 0.25
        return Trained({"accuracy": hits.astype(float).tolist()}, {"accuracy": 0.25}, 1, "guess")

    guessed = _measure(real, _useful(), guess, tmp_path / "guessed", (5, 100), 5)
    assert "too short or too few" in verdicts(guessed)[-1]
    assert _measure(real, _useful(), guess, tmp_path / "one", (5,), 2).more_real is None


def test_one_seed_gives_no_verdict():
    found = crossed_mean(np.ones((1, 50)), 0)
    assert (found.low, found.high, found.spread) == (None, None, None)
    assert verdict_of(found) == UNJUDGED
    assert found.words(signed=True) == "+1.000 [one seed]"


def test_a_verdict_follows_the_interval():
    assert verdict_of(Interval(0.1, 0.01, 0.2, (0.1, 0.1))) == "better"
    assert verdict_of(Interval(-0.1, -0.2, -0.01, (0.1, 0.1))) == "worse"
    assert verdict_of(Interval(0.1, 0.0, 0.2, (0.1, 0.1))) == SAME
    assert verdict_of(Interval(0.1, 0.1, 0.1, (0.1, 0.1))) == UNJUDGED  # of width 0: no other image could differ
    scores = {(arm, 0.0 if arm == SYNTHETIC else 5.0): np.full((2, 9), 0.5) for arm in ARMS}
    assert {each.verdict for each in differences(scores, [5.0], 0)} == {SAME}


def test_what_the_generator_saw_is_said(tmp_path):
    labels = ["a"] * 20 + ["b"] * 20
    names = [f"{number:02d}.png" for number in range(40)]
    design = Design({"scene": (25.0, 100.0)}, 2, subset_seed=0)
    everything = ExposureByShare.of(GeneratorExposure.parse("all", names), design, names, labels)
    assert everything.words == {25.0: "30 others besides", 100.0: "the same"}
    assert "did not see the same real images wherever the table says so" in everything.warning
    unknown = ExposureByShare.of(GeneratorExposure.parse("unknown", names), design, names, labels)
    assert set(unknown.words.values()) == {"unknown"}
    assert "that is not known" in unknown.warning
    nothing = ExposureByShare.of(GeneratorExposure.parse("none", names), design, names, labels)
    assert (nothing.words[25.0], nothing.warning) == ("none of them", "")
    write_subsets(tmp_path, design, names, labels)
    assert sorted(path.name for path in (tmp_path / "subsets").iterdir()) == [
        "100-percent-seed-0.txt", "25-percent-seed-0.txt"]
    same = GeneratorExposure.parse(str(tmp_path / "subsets" / "25-percent-seed-0.txt"), names)
    found = ExposureByShare.of(same, design, names, labels)
    assert (found.words, found.warning) == ({25.0: "the same", 100.0: "10 of them"}, "")
    other = ExposureByShare.of(same, Design({"scene": (25.0,)}, 2), names, labels)  # another subset for seed 1
    assert other.words[25.0].endswith("others besides")


def test_a_list_of_strangers_is_refused(tmp_path):
    (tmp_path / "saw.txt").write_text("00.png\nnowhere.png\n")
    with pytest.raises(InputError, match=r"image 'nowhere.png' is not in the train split; the first there is '00"):
        GeneratorExposure.parse(str(tmp_path / "saw.txt"), ["00.png"])
    with pytest.raises(InputError, match="'everything' is none of unknown, all, none and cannot be read as a file"):
        GeneratorExposure.parse("everything", ["00.png"])


def test_the_tables_say_what_was_found(real, tmp_path):
    found = _measure(real, _useful(), NearestMean(), tmp_path, (5, 25))
    exposure = ExposureByShare({5: "3 others besides", 25: "the same"})
    report = Report({"run": "planted", "identity": "0123"}, exposure, (found,))
    page = report.save(tmp_path).read_text()
    text = (tmp_path / "downstream.md").read_text()
    assert all(sentence(found.differences, percent) in text for percent in (5, 25))
    for arm in found.arms:
        assert arm.metrics["accuracy"].words() in text
    assert "n = 240 real test images. Chance: accuracy 0.250." in text
    assert "10 steps of 4 images at 8 px; 3 seeds" in text
    assert "| forest (60) |" in text
    assert json.loads((tmp_path / "downstream.json").read_text())["generator_saw"] == {
        "5": "3 others besides", "25": "the same"}
    assert "http" not in page
    assert page.count("<circle") == 2 * 5
    assert all(each.difference.words(signed=True) in page for each in found.differences)
    first = (tmp_path / "downstream.json").read_bytes(), (tmp_path / "index.html").read_bytes()
    report.save(tmp_path)
    assert ((tmp_path / "downstream.json").read_bytes(), (tmp_path / "index.html").read_bytes()) == first


def test_a_chart_stays_in_its_frame(real, tmp_path):
    found = _measure(real, _useful(), NearestMean(), tmp_path, (5, 25), 2)
    numbers = [float(value) for value in re.findall(r' (?:y1|y2|cy)="([0-9.-]+)"', chart(found).svg)]
    assert numbers
    assert all(0 <= value <= 340 for value in numbers)
