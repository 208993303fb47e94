"""What is said first of an evaluation: by fixed rules, and only where images and intervals carry it."""

from dataclasses import replace

import pytest

from terrasynth.eval import load_classifier, load_encoder
from terrasynth.eval.evaluation.confusion import Confusion, confusion
from terrasynth.eval.evaluation.evaluate import measure
from terrasynth.eval.evaluation.findings import KINDS, LEAST, findings, weighed
from terrasynth.eval.evaluation.judged import judge
from terrasynth.eval.metrics.figure import Figure
from tests.eval.conftest import LABELS
from tests.tiny import TEXTS, tiny_pictures

N = 64
FAR, NEAR = Figure(0.2, 0.1, 0.3, N), Figure(0.9, 0.8, 1.0, N)


@pytest.fixture(scope="module")
def judged(dual_folder, scene_folder):
    models = {"encoder": load_encoder(dual_folder), "classifier": load_classifier(scene_folder)}
    return [judge(tiny_pictures(N, seed=seed), [TEXTS[i % 10] for i in range(N)],
                  [LABELS[i % classes] for i in range(N)], **models) for seed, classes in ((0, 3), (1, 2))]


@pytest.fixture(scope="module")
def evaluation(judged):
    return measure(*judged, 5)


def scene(evaluation, own, real):
    return replace(evaluation, scene=replace(evaluation.scene, accuracy=own, ceiling=real))


def texts(found, kind):
    return [each.text for each in found if each.kind == kind]


def test_they_follow_from_the_figures(evaluation):
    far = replace(evaluation.frechet, at_floor=evaluation.frechet.floor.high + 1)
    found = findings(replace(scene(evaluation, FAR, NEAR), frechet=far), filtered_by=(evaluation.alignment.network,))
    worse, caution = texts(found, "worse"), texts(found, "caution")
    assert any(text.startswith("Scene accuracy 0.200") and "below that of real images" in text for text in worse)
    assert any("Scene accuracy 0.200" in text and "not above a guess" in text for text in worse)
    assert any(text.startswith("Frechet distance") and "beyond the range" in text for text in worse)
    assert any("chose these images and gives the CLIP score too" in text for text in caution)
    kinds = [each.kind for each in found]
    assert kinds == sorted(kinds, key=KINDS.index)
    near = findings(replace(evaluation, frechet=replace(far, at_floor=evaluation.frechet.floor.mean)))
    assert any("not beyond the range" in text for text in texts(near, "fine"))
    assert not any("chose these images" in each.text for each in near)


@pytest.mark.parametrize(("own", "real"), [
    (replace(FAR, n=8), NEAR), (FAR, replace(NEAR, n=LEAST - 1)),  # too few on either side
    (Figure(0.2, 0.2, 0.2, N), NEAR), (FAR, Figure(0.9, 0.9, 0.9, N)),  # an interval of width 0 on either side
    (replace(NEAR, n=8), FAR), (replace(FAR, n=8), replace(FAR, n=8)),  # above, and alike
])
def test_what_the_images_do_not_carry_is_left_open(evaluation, own, real):
    found = [each for each in findings(scene(evaluation, own, real)) if "real images" in each.text
             and each.text.startswith("Scene accuracy")]
    assert [each.kind for each in found] == ["open"]
    assert " No verdict: " in found[0].text


def test_a_guess_at_eight_images_is_no_verdict(evaluation):
    found = findings(scene(evaluation, Figure(0.5, 0.2, 0.8, 8), None))
    assert [each.kind for each in found if "not above a guess" in each.text] == ["open"]


def test_thirty_images_and_an_interval_are_enough():
    assert weighed("worse", "It lies below.", LEAST, (0.1, 0.2)).kind == "worse"
    assert weighed("worse", "It lies below.", LEAST - 1, (0.1, 0.2)).text.endswith("n = 29, and it takes 30.")
    assert weighed("fine", "It does not.", LEAST, (0.1, 0.2), (0.3, 0.3)).kind == "open"


def test_equal_distances_of_samples_carry_no_verdict(evaluation):
    floor = replace(evaluation.frechet.floor, low=3.0, high=3.0)
    found = findings(replace(evaluation, frechet=replace(evaluation.frechet, floor=floor, at_floor=9.0)))
    distance = next(each for each in found if "real against real" in each.text)
    assert (distance.kind, "width 0" in distance.text) == ("open", True)


def test_classes_that_are_recognized_less_than_real_ones_are_named(evaluation):
    own = Confusion(("beach", "forest"), LABELS, ((2, 38, 0), (1, 39, 0)), {})
    theirs = Confusion(("beach", "forest"), LABELS, ((39, 1, 0), (0, 40, 0)), {})
    assert [text for text in texts(findings(evaluation, own, theirs), "worse") if "intervals apart" in text] == [
        "Recognized less often than real images of their class, intervals apart: beach 0.05 (real 0.97)."]


def test_a_class_of_eight_images_is_never_called_worse(evaluation):
    own = Confusion(("beach", "forest", "harbor"), LABELS, ((0, 8, 0), (1, 39, 0), (25, 0, 15)), {})
    theirs = Confusion(("beach", "forest", "harbor"), LABELS, ((40, 0, 0), (0, 40, 0), (25, 0, 15)), {})
    found = [each for each in findings(evaluation, own, theirs) if "ecognized" in each.text]
    assert [(each.kind, each.text) for each in found] == [
        ("open", "Recognized less often than real images of their class, intervals apart: beach 0.00 (real 1.00). "
                 "No verdict: n = 8, and it takes 30."),
        ("open", "Perhaps fewer than half are recognized: harbor 0.38 (real 0.38). No verdict: the intervals reach "
                 "half."),
    ]


def test_without_an_interval_less_variety_is_a_reason_for_caution(evaluation):
    diversity = evaluation.diversity[0]
    for within, kind in ((0.1, "caution"), (0.9, "open")):
        one = replace(diversity, distance_within=within, real_distance_within=0.5)
        found = findings(replace(evaluation, diversity=(one,)))
        assert [each.kind for each in found if "different from one another" in each.text] == [kind]


def test_other_classes_than_the_real_ones_are_said(evaluation, judged):
    own, real = map(confusion, judged)
    said = [[each.text for each in findings(evaluation, own, other) if "measure that too" in each.text]
            for other in (real, own)]
    assert said[1] == []
    assert said[0][0].startswith("These images are of 3 classes, the real ones of 2, 2 of them the same")
