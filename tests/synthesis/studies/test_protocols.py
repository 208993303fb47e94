import json
from collections import Counter
from dataclasses import dataclass

import numpy as np
import pytest
from PIL import Image

from terrasynth.eval.errors import InputError as EvalInputError
from terrasynth.eval.metrics.figure import bootstrap_mean
from terrasynth.synthesis import run
from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.ledger.pictures import RunPictures
from terrasynth.synthesis.recipe import GeneratorSettings, Recipe
from terrasynth.synthesis.studies.protocols.base import PromptRequest, by_rank_of_class
from terrasynth.synthesis.studies.protocols.mhn import mhn_protocol
from terrasynth.synthesis.studies.protocols.strict import RealSplits, equal_numbers, strict_protocol
from terrasynth.synthesis.studies.trainings import TrainedAccuracy
from tests.synthesis.conftest import CLASSES
from tests.tiny import tiny_pictures


@dataclass(frozen=True)
class _Pair:
    name: str
    label: str
    captions: tuple[str, ...]
    picture: np.ndarray

    def open(self):
        return Image.fromarray(self.picture)


def _pairs(split, counts, seed):
    pictures = iter(tiny_pictures(sum(counts.values()), 40, seed))
    return [
        _Pair(f"{split}/{label}{n}.png", label, (f"the {split} {label} number {n}", f"{label} again"), next(pictures))
        for label, count in counts.items() for n in range(count)
    ]


TEST = _pairs("test", {"beach": 4, "forest": 2, "river": 3}, 0)
REAL = RealSplits(_pairs("train", dict.fromkeys(CLASSES, 6), 1), _pairs("val", dict.fromkeys(CLASSES, 4), 2), TEST)


def _learn(images, labels, reference, reference_labels, steps, seed):
    """The class whose mean colour is nearest."""
    names = sorted(set(labels))
    means = np.stack([images[np.array(labels) == name].mean((0, 1, 2)) for name in names])
    away = np.linalg.norm(reference.mean((1, 2))[:, None] - means[None], axis=2)
    hits = np.array(names)[away.argmin(1)] == np.array(reference_labels)
    return TrainedAccuracy(bootstrap_mean(hits, seed), 1 / 3, len(images), 0, steps, "nearest mean colour")


@pytest.fixture
def generator(models):
    return GeneratorSettings(model=str(models.generator), steps=2)


@pytest.fixture
def judges(models):
    return {"encoder": str(models.other_encoder), "classifier": str(models.classifier), "device": "cpu"}


def test_mhn_draws_so_many_pictures_of_each_first_caption(generator, judges, tmp_path):
    found = mhn_protocol(generator, TEST, tmp_path, per_text=2, train_and_test=_learn, steps=7, **judges)
    made = RunPictures.read(tmp_path / "pictures")
    assert Counter(made.texts) == {pair.captions[0]: 2 for pair in TEST}
    figures = json.loads((tmp_path / "mhn.json").read_text())["figures"]
    assert (figures["n"], figures["n_real"], figures["clip"]["n"]) == (18, 9, 9)
    assert figures["zero_shot"]["n_train"] == 18
    assert figures["zero_shot"]["accuracy"]["n"] == 9
    assert (tmp_path / "mhn.md").read_text() == found.markdown()
    names = [row.name for row in found.rows]
    assert names == ["inception score", "FID", "CLIP score, not normalised, / 100", "CLIP score, cosine",
                     "zero-shot overall accuracy"]


def test_mhn_gives_the_figures_of_its_formulas(generator, judges, tmp_path):
    import torch
    from transformers import AutoTokenizer, CLIPModel

    from terrasynth.eval import FeatureStatistics, frechet_distance, load_classifier, load_encoder
    from terrasynth.synthesis.core.real_pictures import real_pictures

    figures = mhn_protocol(generator, TEST, tmp_path, per_text=1, **judges).figures
    made = RunPictures.read(tmp_path / "pictures", len(TEST))
    scenes, clip = load_classifier(judges["classifier"]), load_encoder(judges["encoder"])
    real = real_pictures(TEST, made.size)
    p = scenes.probabilities(made.images).astype(np.float64)
    score = np.exp((p * np.log(p / p.mean(0))).sum(1).mean())
    assert figures["inception_score"]["score"] == pytest.approx(score, rel=1e-5)
    distance = frechet_distance(*(FeatureStatistics.of(scenes.features(part)) for part in (made.images, real.images)))
    assert figures["frechet"] == pytest.approx(distance)
    assert figures["clip"].value == pytest.approx(clip.score(made.images, list(made.texts)).mean(), rel=1e-5)
    tokens = AutoTokenizer.from_pretrained(judges["encoder"])(list(made.texts), padding=True, return_tensors="pt")
    with torch.inference_mode():
        sentences = CLIPModel.from_pretrained(judges["encoder"]).get_text_features(**tokens).pooler_output.numpy()
    raw = (clip.features(made.images) * sentences).sum(1).mean() / 100
    assert figures["clip_raw"].value == pytest.approx(raw, rel=1e-4)


def test_mhn_goes_on_grows_and_repeats_itself(generator, judges, tmp_path):
    first = mhn_protocol(generator, TEST, tmp_path, per_text=2, limit=3, **judges)
    blocks = {path: path.read_bytes() for path in (tmp_path / "pictures" / "blocks").rglob("*.parquet")}
    classes = {pair.captions[0]: pair.label for pair in TEST}
    assert {classes[text] for text in RunPictures.read(tmp_path / "pictures").texts} == set(CLASSES)
    assert mhn_protocol(generator, TEST, tmp_path, per_text=2, limit=3, **judges) == first
    grown = mhn_protocol(generator, TEST, tmp_path, per_text=2, **judges)
    assert grown.figures["n"] == 18
    assert all(path.read_bytes() == content for path, content in blocks.items())
    with pytest.raises(InputError, match="another identity"):
        mhn_protocol(generator, TEST, tmp_path, per_text=2, seed=1, **judges)


def test_features_that_are_kept_change_no_figure_and_save_the_networks(generator, judges, tmp_path, monkeypatch):
    from terrasynth.eval import ClipEncoder, SceneClassifier

    plain = mhn_protocol(generator, TEST, tmp_path / "out", per_text=2, **judges)
    kept = {"cache": tmp_path / "cache", **judges}
    assert mhn_protocol(generator, TEST, tmp_path / "out", per_text=2, **kept) == plain
    other = strict_protocol(generator, REAL, tmp_path / "strict", **kept)

    def asked(*_):
        raise AssertionError("a picture was embedded again")

    for network, name in ((ClipEncoder, "features"), (ClipEncoder, "encode_texts"), (SceneClassifier, "classify")):
        monkeypatch.setattr(network, name, asked)
    assert mhn_protocol(generator, TEST, tmp_path / "out", per_text=2, **kept) == plain
    assert strict_protocol(generator, REAL, tmp_path / "strict", **kept) == other


def test_mhn_refuses_what_the_classifier_does_not_know(generator, judges, tmp_path):
    strange = [*TEST, _Pair("x.png", "volcano", ("a volcano",), TEST[0].picture)]
    with pytest.raises(InputError, match="class 'volcano' is unknown to classifier"):
        mhn_protocol(generator, strange, tmp_path, **judges)
    nameless = [*TEST, _Pair("x.png", "", ("a thing",), TEST[0].picture)]
    with pytest.raises(InputError, match=r"image 'x.png' of split 'test' has no class"):
        mhn_protocol(generator, nameless, tmp_path, **judges)
    with pytest.raises(InputError, match="3 real images"):
        mhn_protocol(generator, TEST[:3], tmp_path, **judges)


@pytest.mark.parametrize("prompts", ["train", "grammar"])
def test_strict_draws_as_many_of_each_class_as_the_test_split_has(generator, judges, tmp_path, prompts):
    found = strict_protocol(generator, REAL, tmp_path, prompts=prompts, train_and_test=_learn, **judges)
    assert found.settings["classes"] == {"beach": 4, "forest": 2, "river": 3}
    scene, clip = found.figures["frechet"]
    assert (scene["n"], scene["n_reference"], scene["n_floor"]) == (9, 9, 9)
    assert clip["network"].endswith("unit length")
    both = found.figures["accuracy_score"]
    assert both["generated"]["n_train"] == both["real"]["n_train"] == 9
    texts = [json.loads(line)["text"] for line in (tmp_path / "prompts.jsonl").read_text().splitlines()]
    assert len(texts) == 9
    assert not {caption for pair in TEST for caption in pair.captions[:1]} & set(texts)
    again = strict_protocol(generator, REAL, tmp_path, prompts=prompts, train_and_test=_learn, **judges)
    assert again == found


def test_strict_judges_a_run_with_other_networks_than_filtered_it(models, judges, tree, tmp_path):
    run(Recipe.parse(tree), tmp_path / "run")
    out = tmp_path / "strict"
    with pytest.raises(InputError, match="judges and also filtered the run"):
        strict_protocol(tmp_path / "run", REAL, out, **{**judges, "encoder": str(models.encoder)})
    found = strict_protocol(tmp_path / "run", REAL, out, **judges)
    assert [one["kind"] for one in found.settings["filters"]] == ["alignment", "duplicate"]
    assert found.settings["classes"] == {"beach": 4, "forest": 2, "river": 3}
    identity = json.loads((tmp_path / "run" / "identity.json").read_text())["identity"]
    assert found.settings["drawn"]["identity"] == identity


def test_strict_refuses_pictures_of_test_captions(generator, judges, tmp_path):
    mhn_protocol(generator, TEST, tmp_path / "mhn", per_text=1, **judges)
    with pytest.raises(InputError, match="is a caption of the test split and of no train image"):
        strict_protocol(tmp_path / "mhn" / "pictures", REAL, tmp_path / "strict", **judges)


def test_recombined_train_captions_may_come_to_equal_a_test_caption(judges, tree, tmp_path):
    rows = [{"class": name, "captions": [f"the test {name} number 0"], "split": split}
            for name in CLASSES for split in ("train", "test")]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    tree["prompts"] |= {"expander": "captions", "path": str(tmp_path / "pairs.jsonl")}
    tree["filters"] = []
    run(Recipe.parse(tree), tmp_path / "run")
    found = strict_protocol(tmp_path / "run", REAL, tmp_path / "strict", **judges)
    assert found.figures["texts_that_are_test_captions"] == len(RunPictures.read(tmp_path / "run").texts)
    tree["prompts"]["split"] = "test"
    run(Recipe.parse(tree), tmp_path / "leak")
    with pytest.raises(InputError, match="is a caption of the test split"):
        strict_protocol(tmp_path / "leak", REAL, tmp_path / "strict", **judges)


def test_strict_refuses_an_unknown_encoder_before_drawing(generator, judges, tmp_path):
    with pytest.raises(EvalInputError, match="unknown name"):
        strict_protocol(generator, REAL, tmp_path, **{**judges, "encoder": "clip-ucn"})
    assert not (tmp_path / "pictures").exists()


def test_equal_numbers_are_the_first_of_each_class():
    ours, theirs = equal_numbers(["a", "b", "a", "a", "b"], ["b", "a", "a", "c", "b", "b"])
    assert (ours, theirs) == ([0, 1, 2, 4], [0, 1, 2, 4])
    with pytest.raises(InputError, match="class 'd' has no image in the test split; it has a, b"):
        equal_numbers(["d"], ["a", "b"])
    with pytest.raises(InputError, match="2 images"):
        equal_numbers(["a", "a"], ["a", "a"])


def test_texts_go_class_by_class_in_turn():
    asked = [PromptRequest(str(n), label) for n, label in enumerate("aaabbc")]
    assert [one.label for one in by_rank_of_class(asked)] == ["a", "b", "c", "a", "b", "a"]
    assert [one.text for one in by_rank_of_class(asked)] == ["0", "3", "5", "1", "4", "2"]
