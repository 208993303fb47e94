"""Each filter on attempts whose right answer is known; thresholds that look at no later attempt."""

import numpy as np
import pytest
from PIL import Image, ImageFilter

import terrasynth.eval.errors
from terrasynth.eval import load_classifier
from terrasynth.synthesis import plan, run
from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.core.real_pictures import RealPictures
from terrasynth.synthesis.events import BlockDone
from terrasynth.synthesis.execution.job import Job
from terrasynth.synthesis.filters import AlignmentFilter, Measurements, QualityFilter, SceneFilter
from terrasynth.synthesis.filters.base import NamedJudge
from terrasynth.synthesis.filters.measurers import QualityMeasurer
from terrasynth.synthesis.ledger.decisions import UNDECIDED, ClassDecisions
from terrasynth.synthesis.recipe import Recipe
from terrasynth.synthesis.studies.calibration import calibrate_scene
from tests.synthesis.helpers import decisions, fingerprint, times
from tests.tiny import tiny_pictures, tiny_scene


def decide(settings, model, measurements, block=4, label="beach", per_class=1000, max_attempts=1000, tmp_path=None):
    judges = [NamedJudge(settings.kind, "key", settings.judge(label, model, tmp_path))]
    decided = ClassDecisions(label, judges, per_class, max_attempts)
    for start in range(0, len(measurements), block):
        part = measurements.rows(start, start + block)
        decided.decide(len(part), lambda key, part=part: part)
    return decided


def aligned(scores):
    return Measurements("embeddings", np.zeros((len(scores), 1), np.float32), np.float32(scores))


def rowed(rows):
    return Measurements("probabilities", np.float32(rows))


# alignment by quantile


@pytest.mark.parametrize("share", [0.01, 0.07, 0.25, 0.5, 0.9])
@pytest.mark.parametrize("first", [2, 5, 64, 101])
def test_a_quantile_rejects_as_many_of_the_first_attempts_as_a_plan_says(share, first):
    settings = AlignmentFilter(quantile=share, calibrate_on=first)
    scores = np.random.default_rng(0).permutation(np.linspace(-1, 1, first))
    decided = decide(settings, None, aligned(scores), block=first)
    assert sum(not each.accepted for each in decided) == settings.rejects


@pytest.mark.parametrize(("per_class", "first", "expected"), [
    (2, 8, 8),  # all of the first attempts are drawn before one is judged
    (4, 8, 8),
    (5, 8, 12),  # one more than the half of 8; blocks are whole
    (11, 8, 16),  # at the most 4 of the first 8, and 7 others
    (18, 8, 20),  # no more than max_attempts
])
def test_a_plan_counts_what_a_quantile_takes(tree, models, per_class, first, expected):
    tree["filters"] = [{"kind": "alignment", "encoder": str(models.encoder), "quantile": 0.5, "calibrate_on": first}]
    tree["prompts"]["classes"] = ["beach", "river"]
    tree["target"] = {"per_class": per_class, "max_attempts": 20}
    tree["runtime"] = tree.get("runtime", {}) | {"block_size": 4}
    found = plan(Recipe.parse(tree))
    assert (found.at_least, found.rejected) == (2 * expected, 2 * 4)
    assert found.said()["to be drawn"] == (
        f"{2 * expected} images of 2 classes if the filters keep them all, 40 at most (target.max_attempts); of the "
        "first ones 8 are rejected whatever they show, by a `quantile`")




@pytest.mark.parametrize("block", [1, 3, 4, 16])
def test_quantile_threshold_comes_from_the_first_attempts_alone(block):
    scores = np.random.default_rng(0).normal(size=16).round(3)
    settings = AlignmentFilter(quantile=0.25, calibrate_on=8)
    found = decide(settings, None, aligned(scores), block)
    limit = np.quantile(scores[:8], 0.25)
    assert found.thresholds["alignment"] == pytest.approx(limit)
    assert [each.accepted for each in found] == list(np.float32(scores) >= found.thresholds["alignment"])
    other = np.concatenate([scores[:8], -scores[8:]])
    assert [each.accepted for each in decide(settings, None, aligned(other), block)][:8] == [
        each.accepted for each in found
    ][:8]


def test_attempts_wait_for_the_threshold_and_are_named_while_they_do():
    found = decide(AlignmentFilter(quantile=0.5, calibrate_on=8), None, aligned([0.9] * 4))
    assert [each.reason for each in found] == [UNDECIDED] * 4
    assert (found.done, found.count.attempted) == (False, 0)


def test_a_target_met_within_the_first_attempts_ends_there():
    found = decide(AlignmentFilter(quantile=0.5, calibrate_on=8), None, aligned([0.9] * 12), per_class=3)
    assert [each.reason for each in found] == [None] * 3 + ["beyond_target"] * 9


@pytest.fixture
def quantile_tree(tree, models):
    tree["filters"][0] = {
        "kind": "alignment", "encoder": str(models.encoder), "quantile": 0.3, "calibrate_on": 10
    }
    return tree


def test_interrupted_quantile_run_equals_an_uninterrupted_one(quantile_tree, tmp_path):
    recipe = Recipe.parse(quantile_tree)
    run(recipe, tmp_path / "whole")
    for blocks in (1, 2, 3, 100):
        seen = []
        run(recipe, tmp_path / "pieces", seen.append,
            lambda seen=seen, n=blocks: sum(isinstance(each, BlockDone) and each.drawn > 0 for each in seen) >= n)
        reasons = {each["reason"] for each in decisions(tmp_path / "pieces")}
        assert (UNDECIDED in reasons) is (blocks != 100)
    assert fingerprint(tmp_path / "pieces" / "data") == fingerprint(tmp_path / "whole" / "data")
    assert decisions(tmp_path / "pieces") == decisions(tmp_path / "whole")


def test_growing_a_quantile_run_keeps_every_row(quantile_tree, tmp_path):
    small = quantile_tree | {"target": {"per_class": 2, "max_attempts": 12}}
    run(Recipe.parse(small), tmp_path / "run")
    before = [each["id"] for each in decisions(tmp_path / "run") if each["accepted"]]
    run(Recipe.parse(quantile_tree), tmp_path / "run")
    after = [each["id"] for each in decisions(tmp_path / "run") if each["accepted"]]
    assert set(before) < set(after)


def test_a_threshold_that_would_never_be_known_is_refused(quantile_tree, tmp_path):
    quantile_tree["filters"][0]["calibrate_on"] = 99
    with pytest.raises(InputError, match=r"calibrate_on 99 .* more than target\.max_attempts 24"):
        run(Recipe.parse(quantile_tree), tmp_path / "run")
    assert not (tmp_path / "run").exists()


# scene


@pytest.fixture(scope="module")
def classifier(models):
    return load_classifier(models.classifier)


def test_scene_by_probability_and_by_rank(classifier):
    rows = [[0.6, 0.3, 0.1], [0.3, 0.6, 0.1], [0.2, 0.3, 0.5], [0.34, 0.33, 0.33]]
    for settings, expected in (
        (SceneFilter(classifier="c", min_probability=0.3), [True, True, False, True]),
        (SceneFilter(classifier="c", top=1), [True, False, False, True]),
        (SceneFilter(classifier="c", top=2), [True, True, False, True]),
    ):
        found = decide(settings, classifier, rowed(rows))
        assert [each.accepted for each in found] == expected
    scores = [each.scores["scene"] for each in decide(SceneFilter(classifier="c", top=1), classifier, rowed(rows))]
    assert scores == pytest.approx([0.3, -0.3, -0.3, 0.01], abs=1e-6)


def test_scene_calibrated_on_real_pictures(tmp_path):
    folder = tiny_scene(tmp_path / "scene", ["beach", "forest", "river"])
    real = RealPictures(tiny_pictures(150, seed=1), ("x",) * 150, ("beach", "forest", "river") * 50)
    calibrate_scene(str(folder), real, "val").save(folder / "calibration.json")
    loaded = load_classifier(folder)
    settings = SceneFilter(classifier=str(folder), pass_real=0.8)
    settings.check(["beach"], loaded)
    fresh = loaded.probabilities(tiny_pictures(150, seed=2))
    passed = np.mean([each.accepted for each in decide(settings, loaded, rowed(fresh))])
    assert abs(passed - 0.8) < 3 * np.sqrt(0.16 / 50 + 0.16 / 150)
    other = tiny_scene(tmp_path / "other", ["beach", "forest", "river"], seed=9)
    (other / "calibration.json").write_text((folder / "calibration.json").read_text())
    with pytest.raises(InputError, match="was measured with weights"):
        SceneFilter(classifier=str(other), pass_real=0.8).check(["beach"], load_classifier(other))


def test_a_class_that_the_classifier_does_not_know_is_named_before_the_first_picture(tree, tmp_path):
    folder = tiny_scene(tmp_path / "scene", ["beach", "forest"])
    tree["filters"] = [{"kind": "scene", "classifier": str(folder), "top": 1}]
    with pytest.raises(InputError, match="class 'river' is unknown to classifier"):
        run(Recipe.parse(tree), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_scene_runs_decide_again_without_drawing(tree, recipe, models, tmp_path):
    run(recipe, tmp_path / "run")
    before = times(tmp_path / "run" / "blocks")
    scene = {"kind": "scene", "classifier": str(models.classifier), "min_probability": 0.0}
    colour = {"kind": "quality", "measure": "colour", "min_score": 0}
    changed = Recipe.parse(tree | {"filters": [scene, colour, *tree["filters"]]})
    assert run(changed, tmp_path / "run").drawn == 0
    assert times(tmp_path / "run" / "blocks") == before
    judged = [each for each in decisions(tmp_path / "run") if each["accepted"]]
    assert len(judged) == 15
    for each in judged:
        assert 0 <= each["scores"]["scene"] <= 1
        assert each["scores"]["quality"] >= 0
    run(changed, tmp_path / "fresh")
    assert decisions(tmp_path / "fresh") == decisions(tmp_path / "run")


# quality


def measured(images):
    return QualityMeasurer().measure(images, [""] * len(images))


@pytest.mark.parametrize("size", [128, 256])
def test_planted_defects_are_caught_at_the_shipped_thresholds(size):
    noise = np.random.default_rng(0).normal(0, 30, (6, size, size, 3))
    ground = np.array([90, 120, 80]) + 40 * np.sin(np.arange(size) / 9)[:, None, None]
    good = np.clip(ground + noise, 0, 255).astype(np.uint8)
    blurred = np.stack([np.asarray(Image.fromarray(each).filter(ImageFilter.GaussianBlur(3))) for each in good])
    seamed = good.astype(int)
    seamed[:, :, (np.arange(size) // 8) % 2 == 0] += 80
    defects = {
        "sharpness": blurred,
        "flatness": np.full_like(good, 128),
        "colour": good[..., :1].repeat(3, axis=3),
        "seams": seamed.clip(0, 255).astype(np.uint8),
    }
    for measure, bad in defects.items():
        settings = QualityFilter(measure=measure, pass_real=0.99)
        settings.check_size(size, size)
        assert all(each.accepted for each in decide(settings, None, measured(good))), measure
        assert not any(each.accepted for each in decide(settings, None, measured(bad))), measure


def test_a_size_without_calibration_is_refused():
    settings = QualityFilter(measure="seams", pass_real=0.9)
    with pytest.raises(terrasynth.eval.errors.InputError, match="measured at 128, 256 px and these have 64"):
        settings.check_size(64, 64)
    QualityFilter(measure="seams", max_score=1.2).check_size(64, 64)


def test_a_size_without_calibration_is_refused_before_the_first_picture(tree, tmp_path):
    filters = [{"kind": "quality", "measure": "seams", "pass_real": 0.9}]
    with pytest.raises(InputError, match=r"^filters\.0 \(quality\): .*measured at 128, 256 px and these have 32"):
        Job(Recipe.parse(tree | {"filters": filters}), tmp_path / "run")
    assert not (tmp_path / "run").exists()
