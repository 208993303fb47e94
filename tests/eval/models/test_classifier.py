from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import AutoModelForImageClassification

from terrasynth.eval import InputError, load_classifier
from tests.eval.conftest import LABELS
from tests.tiny import tiny_pictures


def test_probabilities_are_the_models_own_and_features_feed_its_last_layer(scene_folder):
    classifier, pictures = load_classifier(scene_folder), tiny_pictures(5)
    model = AutoModelForImageClassification.from_pretrained(scene_folder).eval()
    pixels = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        logits = model(pixels).logits
        rebuilt = model.classifier(torch.from_numpy(classifier.features(pictures))[..., None, None])
    assert classifier.labels == LABELS
    np.testing.assert_allclose(classifier.probabilities(pictures), logits.softmax(1), atol=1e-5)
    np.testing.assert_allclose(rebuilt, logits, atol=1e-4)


@pytest.mark.parametrize("batch_size", [1, 2, 7])
def test_results_do_not_depend_on_the_batch(scene_folder, batch_size):
    classifier, pictures = load_classifier(scene_folder), tiny_pictures(5, 40)
    parts, whole = classifier.classify(pictures, batch_size), classifier.classify(pictures)
    np.testing.assert_allclose(parts.probabilities, whole.probabilities, atol=1e-5)
    np.testing.assert_allclose(parts.features, whole.features, atol=1e-4)


def test_wrong_input_is_named(scene_folder, clip_folder):
    classifier = load_classifier(scene_folder)
    with pytest.raises(TypeError, match="float32, where"):
        classifier.classify(np.zeros((1, 8, 8, 3), np.float32))
    with pytest.raises(ValueError, match="none given"):
        classifier.classify(tiny_pictures(0))
    with pytest.raises(InputError, match="'clip' model is no image classifier"):
        load_classifier(clip_folder)
    with pytest.raises(InputError, match="unknown name"):
        load_classifier("scene-nowhere")
