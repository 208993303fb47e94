from __future__ import annotations

import json

import numpy as np
import pytest

from terrasynth.eval import InputError, ThumbnailEncoder, evaluate, load_classifier, load_encoder
from terrasynth.eval.metrics.coverage import measure_coverage
from terrasynth.eval.metrics.diversity import mean_distance_within, mean_pairwise_distance, vendi_score
from terrasynth.eval.metrics.figure import OTHER_CLASSES, derangement
from terrasynth.eval.metrics.frechet import FeatureStatistics, frechet_distance, frechet_floor, frechet_infinity
from terrasynth.eval.metrics.inception_score import inception_score
from terrasynth.eval.metrics.kernel_distances import cmmd, kid
from terrasynth.eval.metrics.retrieval import measure_retrieval
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

    ours, theirs = features
    assert found.frechet.infinity == frechet_infinity(ours, theirs, 5)
    assert found.kid.found == kid(ours, theirs, 5)
    assert found.coverage.found == measure_coverage(ours, theirs)
    embedded = [encoder.encode_images(p) for p in (pictures, reference["reference_images"])]
    assert (found.cmmd.distance, found.cmmd.unbiased) == (cmmd(*embedded), cmmd(*embedded, biased=False))
    assert found.inception.found == inception_score(classifier.probabilities(pictures), 5)
    distinct = list(dict.fromkeys(TEXT))
    assert found.retrieval.found.image_to_text == measure_retrieval(
        embedded[0], [[text] for text in TEXT], distinct, encoder.encode_texts(distinct), 5).image_to_text
    assert (found.retrieval.n_real, found.retrieval.ceiling.n_texts) == (N, 5)
    assert found.missing == ()

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
    networks = {name: model.identity() | {"called": model.called} for name, model in models.items()}
    assert all(network["called"] for network in networks.values())  # a model in a folder is called by it
    for name, network in (("scene", "classifier"), ("alignment", "encoder"), ("frechet", "classifier")):
        assert content[name]["network"] == networks[network]
    lines = found.lines()
    assert [entry["network"] for entry in content["diversity"]] == list(networks.values())
    names = ("scene accuracy", "CLIP score", "image to text R@1/5", "text to image R@1/5/10", "inception score",
             "Frechet distance", "KID", "precision", "recall", "density", "coverage", "CMMD", "Vendi score",
             "mean distance", "Vendi score", "mean distance", "told apart, 18 measures", "told apart, 72 measures",
             "fine spectrum", "grid peaks at 4/8 px")
    for line, name in zip(lines, names, strict=True):
        assert line.startswith(name + " ")
        assert f"n = {N}" in line
        assert "seed 5" in line
        assert "not measured" not in line
    assert models["encoder"].identity()["content"] in lines[1]
    assert [line.split("; ")[-1].split(", ")[1] for line in lines if line.startswith(("Vendi", "mean distance"))] == [
        "embeddings", "embeddings", "features", "features"]  # which tells them apart where one judge is both


def test_the_table_has_a_row_a_metric_with_its_floor(models, reference):
    found = evaluate(tiny_pictures(N), TEXT, LABEL, **models, **reference, seed=5)
    rows = [line for line in found.table().splitlines() if line.startswith("|")]
    assert len(rows) == 2 + len(found.lines())
    assert {row.count("|") for row in rows} == {9}
    cells = {row.split(" | ")[0].removeprefix("| "): row.strip("| ").split(" | ") for row in rows[2:]}
    f, half = found.frechet, M // 2
    assert cells["Frechet distance"][1:6] == [
        f"{f.distance:.3f}", f"[{f.low:.3f}, {f.high:.3f}]", "",
        f"{f.floor.mean:.3f} [{f.floor.low:.3f}, {f.floor.high:.3f}] (n = {half} against {half})", f"{f.at_floor:.3f}",
    ]
    shares = found.coverage.equal["recall"]
    assert cells["recall"][4:6] == [
        f"{shares.real:.3f} [{shares.low:.3f}, {shares.high:.3f}] (n = {half} against {half})",
        f"{shares.generated:.3f}",
    ]
    assert "so biased upwards" not in found.table()
    assert f"extrapolated to endless samples {f.infinity.distance:.3f}" in found.table()


def test_fewer_pictures_than_features_are_said_to_bias_the_distance(models, reference):
    few = evaluate(tiny_pictures(10), TEXT[:10], LABEL[:10], **models, **reference)
    assert few.frechet.biased
    line = next(line for line in few.lines() if line.startswith("Frechet"))
    assert "16 features, fewer images than features, so biased upwards, extrapolated to endless samples" in line


def test_the_same_pictures_give_the_same_figures_and_their_order_only_moves_what_is_drawn(models, reference):
    pictures, order = tiny_pictures(N), np.random.default_rng(0).permutation(N)
    first, again = (evaluate(pictures, TEXT, LABEL, **models, **reference) for _ in range(2))
    assert first == again
    other = evaluate(
        pictures[order], [TEXT[i] for i in order], [LABEL[i] for i in order], **models, **reference
    )

    def drawn_from_no_generator(e):
        return [
            e.scene.accuracy.value, e.alignment.score.value, e.inception.found.score, e.frechet.distance,
            e.kid.found.distance, e.cmmd.distance, e.cmmd.unbiased, e.coverage.found.precision,
            e.coverage.found.recall, e.coverage.found.density, e.coverage.found.coverage,
            *(each.recall.value for each in e.retrieval.found.image_to_text),
            *(each.recall.value for each in e.retrieval.found.text_to_image),
            *(each for d in e.diversity for each in (d.vendi, d.distance, d.distance_within)),
        ]

    assert drawn_from_no_generator(first) == pytest.approx(drawn_from_no_generator(other), rel=1e-4, abs=1e-6)


def test_further_networks_have_their_own_distances(models, reference):
    thumbnails = ThumbnailEncoder()
    found = evaluate(tiny_pictures(N), TEXT, LABEL, **models, **reference, picture_encoders=[thumbnails])
    (further,) = found.further
    features = [thumbnails.features(p) for p in (tiny_pictures(N), reference["reference_images"])]
    expected = frechet_distance(*(FeatureStatistics.of(f) for f in features))
    assert further.frechet.distance == pytest.approx(expected, rel=1e-6)
    assert further.kid.network == further.coverage.network == thumbnails.identity()
    assert sum("thumbnail" in line for line in found.lines()) == 6


def test_statistics_in_place_of_pictures_give_the_distance_alone(models, reference):
    features = models["classifier"].features(reference["reference_images"])
    statistics, floor = FeatureStatistics.of(features), frechet_floor(features, 0)
    whole = evaluate(tiny_pictures(N), TEXT, LABEL, **models, **reference)
    found = evaluate(tiny_pictures(N), TEXT, LABEL, **models, reference_statistics=statistics, reference_floor=floor)
    assert found.frechet.distance == pytest.approx(whole.frechet.distance, rel=1e-6)
    assert (found.frechet.n_reference, found.frechet.floor) == (M, floor)
    assert (found.kid, found.cmmd, found.coverage) == (None,) * 3
    assert [each.metric for each in found.missing] == ["KID", "precision, recall, density, coverage", "CMMD",
                                                      "told apart"]
    assert all("only statistics" in each.reason for each in found.missing)


def test_recognising_every_picture_leaves_an_interval(models, reference):
    guesses, real_guesses = (
        [LABELS[i] for i in models["classifier"].probabilities(pictures).argmax(1)]
        for pictures in (tiny_pictures(N), reference["reference_images"])
    )
    found = evaluate(tiny_pictures(N), TEXT, guesses, **models,
                     **{**reference, "reference_labels": real_guesses}).scene
    for one, n in ((found.accuracy, N), (found.ceiling, M)):
        assert (one.value, one.high, one.n) == (1, 1, n)
        assert 0.8 < one.low < 0.9


def test_what_cannot_be_measured_is_named_with_the_reason(models, reference):
    found = evaluate(tiny_pictures(1), TEXT[:1], LABEL[:1], **models)
    assert (found.frechet, found.scene.ceiling, found.alignment.ceiling, found.alignment.null) == (None,) * 4
    assert found.diversity == ()
    assert "not measured" in found.lines()[0]
    missing = {line.split("not measured")[0].strip(): line for line in found.lines() if "not measured (n = 1)" in line}
    assert set(missing) == {"Frechet distance", "KID", "CMMD", "precision, recall, density, coverage", "retrieval",
                            "Vendi score", "told apart"}
    assert "no reference images; give real ones" in missing["KID"]
    assert "a single image" in missing["retrieval"]

    few = {name: values[:5] for name, values in reference.items()}
    small = evaluate(tiny_pictures(3), TEXT[:3], LABEL[:3], **models, **few)
    assert {each.metric: each.reason for each in small.missing} == {
        "told apart": "3 images against 5 real ones: telling them apart needs 10 images and 20 real ones at the least",
        "KID": "3 images and 5 real ones: it needs 4 of each",
        "precision, recall, density, coverage": "3 images and 5 real ones: 5 neighbours need 6 of each",
    }
    assert (small.frechet.low, small.frechet.infinity) == (None, None)


def test_without_a_classifier_that_knows_the_classes_the_rest_is_measured(models):
    known = evaluate(tiny_pictures(N), TEXT, LABEL, **models)
    found = evaluate(tiny_pictures(N), TEXT, ["desert", *LABEL[1:]], **models)
    assert (found.scene, found.inception) == (None, None)
    assert (found.alignment.score, found.retrieval) == (known.alignment.score, known.retrieval)
    missing = {each.metric: each.reason for each in found.missing}
    for metric in ("scene accuracy", "inception score"):
        assert missing[metric].startswith("the classifier does not know the class 'desert'; `terrasynth train judge`")
    assert "scene accuracy   not measured" in "\n".join(found.lines())
    with pytest.raises(ValueError, match="nothing is said of recognition"):
        _ = found.recognition


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"texts": TEXT[:3]}, "18 images and 3 texts: give one for each"),
        ({"labels": LABEL[:3]}, "18 images and 3 labels"),
        ({"images": tiny_pictures(0), "texts": [], "labels": []}, "no images"),
        ({"reference_labels": LABEL}, "without reference_images"),
        ({"reference_images": tiny_pictures(4), "reference_statistics": FeatureStatistics(16)}, "give the images"),
        ({"reference_images": tiny_pictures(3)}, "18 images against 3 reference images"),
        ({"reference_images": tiny_pictures(5), "reference_texts": ["a"]}, "5 reference images and 1 texts"),
    ],
)
def test_input_that_does_not_fit_is_named(models, change, words):
    arguments = {"images": tiny_pictures(N), "texts": TEXT, "labels": LABEL, **models, **change}
    with pytest.raises(InputError, match=words):
        evaluate(arguments.pop("images"), arguments.pop("texts"), arguments.pop("labels"), **arguments)
