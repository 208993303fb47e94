"""Targeted allocation against its controls: colors are the network, and which classes are missed is planted."""

import numpy as np
import pytest

from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.studies.downstream.arms import (
    ALLOCATIONS,
    BALANCED,
    BLIND,
    COUNTS,
    COVERING,
    DUPLICATED,
    HARD,
    REAL,
    SCENE,
    TARGETED,
    UNIFORM,
    Design,
)
from terrasynth.synthesis.studies.downstream.cells import RealSplits
from terrasynth.synthesis.studies.downstream.exposure import ExposureByShare
from terrasynth.synthesis.studies.downstream.pools import Pool
from terrasynth.synthesis.studies.downstream.report import Report, verdicts
from terrasynth.synthesis.studies.downstream.targeted import Candidates, measure_targeted
from tests.synthesis.studies.test_downstream import Attempts
from tests.synthesis.studies.test_probing import Quarters

# Two classes that nothing confuses, and two that are confused.
COLORS = {"desert": (230, 190, 60), "forest": (90, 110, 90), "river": (90, 110, 120), "snow": (30, 30, 230)}
SPREAD = {"desert": 5, "forest": 60, "river": 60, "snow": 5}


def _pool(per_class, seed):
    generator = np.random.default_rng(seed)
    labels = [name for name in COLORS for _ in range(per_class)]
    ground = np.array([COLORS[name] for name in labels])[:, None, None]
    spread = np.array([SPREAD[name] for name in labels])[:, None, None, None]
    images = np.clip(ground + generator.normal(0, 1, (len(labels), 8, 8, 3)) * spread
                     + generator.normal(0, 1, (len(labels), 1, 1, 3)) * spread / 2, 0, 255)
    return Pool.of(images.astype(np.uint8), labels, [(name,) for name in labels])


@pytest.fixture(scope="module")
def real():
    return RealSplits(_pool(20, 0), _pool(20, 1), _pool(60, 2))


@pytest.fixture(scope="module")
def attempts():
    pool = _pool(80, 3)
    return Attempts(pool, [number % 4 != 3 for number in range(len(pool))])  # 60 a class


def _measure(real, attempts, images=40, seeds=10):
    design = Design({SCENE: (2.0, 5.0)}, seeds, scale=COUNTS, whole_val=True)
    return measure_targeted(real, attempts, design, {"quarters": Quarters()}, images, say=lambda line: None)


@pytest.fixture(scope="module")
def found(real, attempts):
    return _measure(real, attempts)


def test_all_arms_have_equal_numbers(found):
    for task in found:
        assert task.comparison == ALLOCATIONS
        sizes = {(arm.arm, arm.amount): (arm.n_real, arm.n_synthetic) for arm in task.arms}
        assert {arm for arm, _ in sizes} == set(ALLOCATIONS.arms)
        assert sizes[REAL, 5.0] == (20, 0)
        assert sizes[DUPLICATED, 5.0] == (60, 0)
        assert {sizes[arm, 5.0] for arm in (TARGETED, BALANCED, UNIFORM, BLIND, HARD, COVERING)} == {(20, 40)}


def test_what_is_missed_gets_more(found):
    for task in found:
        for given in task.allotted.values():
            assert sum(given.values()) == pytest.approx(40)
            assert min(given["forest"], given["river"]) > 10 > 5 > max(given["desert"], given["snow"])


def test_targeted_beats_what_is_blind_where_only_two_classes_can_gain(found):
    linear = {(each.amount, each.arm, each.against): each for each in found[0].differences}
    assert linear[2.0, TARGETED, REAL].verdict == "helps"
    assert linear[2.0, TARGETED, DUPLICATED].verdict == "better"
    assert linear[2.0, TARGETED, BLIND].difference.value > 0
    line = verdicts(found[0])[0]
    assert line.startswith("2 a class: helps (")
    assert all(f"{arm} " in line for arm in (UNIFORM, BLIND, DUPLICATED))


def test_val_decides_the_allocation_and_test_does_not(real, attempts, found):
    again = _measure(RealSplits(real.train, real.val, _pool(60, 9)), attempts)
    assert [task.allotted for task in again] == [task.allotted for task in found]
    other = _measure(RealSplits(real.train, _pool(20, 9), real.test), attempts)
    assert [task.allotted for task in other] != [task.allotted for task in found]
    assert _measure(real, attempts) == found


def test_the_same_first_images_are_in_every_allocation(attempts):
    candidates = Candidates(attempts)
    assert candidates.there == dict.fromkeys(COLORS, 60)
    few, many = ({"desert": 2, "forest": 3, "river": 1, "snow": 60}, {"desert": 9, "forest": 3, "river": 4, "snow": 60})
    one, other = (candidates.drawn(allocation, 7) for allocation in (few, many))
    assert set(one) < set(other)
    assert all(attempts.accepted[row] for row in other)
    assert len(other) == 76
    assert candidates.drawn(few, 8) != one
    with pytest.raises(InputError, match="class 'river' is allotted 61 images, and the run has 60; let it have more"):
        candidates.drawn({**few, "river": 61}, 0)


def test_the_order_decides_which_come_first(attempts):
    candidates = Candidates(attempts)
    order = -np.arange(len(candidates.rows), dtype=float)
    chosen = candidates.by_order({"desert": 1, "forest": 0, "river": 2, "snow": 0}, order)
    desert, river = (max(row for row, label in zip(candidates.rows, candidates.labels, strict=True) if label == name)
                     for name in ("desert", "river"))
    assert chosen[0] == desert
    assert chosen[-1] == river
    assert len(chosen) == 3


def test_farthest_first_by_hand():
    from terrasynth.synthesis.studies.downstream.targeted import farthest_first

    angles = np.deg2rad([10, 85, 40, 12])  # beside a real image at 0: the farthest is 85, then 40, 12, 10
    synthetic = np.stack([np.cos(angles), np.sin(angles)], 1)
    assert farthest_first(np.array([[2.0, 0.0]]), synthetic, ["a"], ["a"] * 4, (0,)).tolist() == [3, 0, 1, 2]


def test_balanced_classes_weigh_the_same():
    from terrasynth.synthesis.studies.downstream.probing import Group
    from terrasynth.synthesis.studies.downstream.targeted import evened

    target = np.array([0, 1, 0, 0, 0, 1, 2])
    group = Group((), np.array([[0, 1, 2, 3, 4, 5, 6]]), np.array([[False, False, True, True, True, True, True]]),
                  np.zeros((1, 0), int))
    assert evened(group, target)[0].tolist() == pytest.approx([1, 1, 5 / 9, 5 / 9, 5 / 9, 5 / 3, 5 / 3])


def test_too_few_images_are_refused(real, attempts):
    with pytest.raises(InputError, match="--targeted 3 for 4 classes"):
        _measure(real, attempts, 3)
    with pytest.raises(InputError, match="and the run has 60"):
        _measure(real, attempts, 180)


def test_the_page_shows_the_allocation(found, tmp_path):
    report = Report({"run": "planted", "identity": "0123"}, ExposureByShare({2.0: "the same", 5.0: "the same"}),
                    tuple(found))
    page = report.save(tmp_path).read_text("utf-8")
    text = (tmp_path / "downstream.md").read_text("utf-8")
    given = found[0].allotted
    assert f"| forest | {given[2.0]['forest']:.1f} | {given[5.0]['forest']:.1f} |" in text
    assert "real + targeted minus real + uniform, by class" in text
    assert "Images of each class in real + targeted, mean over draws" in text
    assert "on classes that chance picks" in page
    assert "real + unfiltered" not in text
