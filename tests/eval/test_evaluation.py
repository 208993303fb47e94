from __future__ import annotations

import json

import numpy as np
import pytest

from eval import InputError, evaluate, load_classifier, load_encoder
from eval.diversity import mean_distance_within, mean_pairwise_distance, vendi_score
from eval.frechet import FeatureStatistics, frechet_distance
from eval.metrics import OTHER_CLASSES, derangement
from tests.eval.conftest import LABELS
from tests.tiny import TEXTS, tiny_pictures

N, M = 18, 24
TEXT = [TEXTS[i % len(TEXTS)] for i in range(N)]
LABEL = [LABELS[i % 3] for i in range(N)]


@pytest.fixture(scope="module")
def models(dual_folder, scene_folder):
    return {"encoder": load_encoder(dual_folder), "classifier": load_classifier(scene_folder)}


@pytest.fixture(scope="module")
def reference():
    return {
        "reference_images": tiny_pictures(M, seed=1), "reference_texts": [TEXTS[i % 5] for i in range(M)],
        "reference_labels": [LABELS[i % 2] for i in range(M)],
    }


def test_every_figure_is_the_one_its_definition_gives(models, reference):
    pictures = tiny_pictures(N)
    found = evaluate(pictures, TEXT, LABEL, **models, **reference, seed=5)
    encoder, classifier = models["encoder"], models["classifier"]

    guesses = [LABELS[i] for i in classifier.probabilities(pictures).argmax(1)]
    assert found.scene.accuracy.value == pytest.approx(np.mean([a == b for a, b in zip(guesses, LABEL, strict=True)]))
    assert {label: n for label, (_, n) in found.scene.per_class.items()} == dict.fromkeys(LABELS, N // 3)
    assert found.scene.chance == pytest.approx(1 / 3)

    partner, kind = derangement(LABEL, 5)
    shuffled = [TEXT[j] for j in partner]
    assert found.alignment.score.value == pytest.approx(encoder.score(pictures, TEXT).mean(), abs=1e-6)
    assert found.alignment.null.value == pytest.approx(encoder.score(pictures, shuffled).mean(), abs=1e-6)
    assert found.alignment.null_kind == kind == OTHER_CLASSES
    real_score = encoder.score(reference["reference_images"], reference["reference_texts"]).mean()
    assert found.alignment.ceiling.value == pytest.approx(real_score, abs=1e-6)

    features = [classifier.features(p) for p in (pictures, reference["reference_images"])]
    expected = frechet_distance(*(FeatureStatistics.of(f) for f in features))
    assert found.frechet.distance == pytest.approx(expected, rel=1e-6)
    assert (found.frechet.n, found.frechet.n_reference, found.frechet.floor.n) == (N, M, M // 2)

    for diversity, (ours, theirs) in zip(found.diversity, [
        [encoder.encode_images(p) for p in (pictures, reference["reference_images"])], features
    ], strict=True):
        assert diversity.vendi == pytest.approx(vendi_score(ours))
        assert diversity.distance == pytest.approx(mean_pairwise_distance(ours))
        assert diversity.distance_within == pytest.approx(mean_distance_within(ours, LABEL))
        assert (diversity.n, diversity.n_real) == (N, N)  # as many real pictures as there are others
        assert 1 < diversity.real_vendi < vendi_score(theirs) + 0.5
        assert diversity.real_distance == pytest.approx(mean_pairwise_distance(theirs), abs=0.1)


def test_every_figure_names_n_seed_and_network(models, reference):
    found = evaluate(tiny_pictures(N), TEXT, LABEL, **models, **reference, seed=5)
    content = json.loads(json.dumps(found.to_json()))
    assert (content["n"], content["seed"]) == (N, 5)
    for name, network in (("scene", "classifier"), ("alignment", "encoder"), ("frechet", "classifier")):
        assert content[name]["network"] == models[network].identity()
    lines = found.lines()
    assert [entry["network"] for entry in content["diversity"]] == [models[name].identity() for name in models]
    assert len(lines) == 5
    for line in lines:
        assert f"n = {N}" in line
        assert "seed 5" in line
    assert models["encoder"].identity()["content"] in lines[1]


def test_without_reference_pictures_there_is_no_distance_and_no_ceiling(models):
    found = evaluate(tiny_pictures(1), TEXT[:1], LABEL[:1], **models)
    assert (found.frechet, found.scene.ceiling, found.alignment.ceiling, found.alignment.null) == (None,) * 4
    assert found.diversity == ()
    assert "not measured" in found.lines()[0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"texts": TEXT[:3]}, "18 pictures and 3 texts: give one for each"),
        ({"labels": LABEL[:3]}, "18 pictures and 3 labels"),
        ({"labels": ["desert", *LABEL[1:]]}, "class 'desert' is unknown to the classifier; it knows beach, forest"),
        ({"images": tiny_pictures(0), "texts": [], "labels": []}, "no pictures"),
        ({"reference_labels": LABEL}, "without reference_images"),
        ({"reference_images": tiny_pictures(3)}, "18 pictures against 3 reference pictures"),
        ({"reference_images": tiny_pictures(5), "reference_texts": ["a"]}, "5 reference pictures and 1 texts"),
    ],
)
def test_input_that_does_not_fit_is_named(models, change, words):
    arguments = {"images": tiny_pictures(N), "texts": TEXT, "labels": LABEL, **models, **change}
    with pytest.raises(InputError, match=words):
        evaluate(arguments.pop("images"), arguments.pop("texts"), arguments.pop("labels"), **arguments)
