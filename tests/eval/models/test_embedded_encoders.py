"""What the embedded evaluators say is what plain `transformers` says of them: their calibrations stay valid."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from transformers import AutoModel, AutoModelForImageClassification, AutoTokenizer, CLIPImageProcessorPil

import terrasynth.eval.models.residual_tower  # noqa: F401 - registers the pooled residual tower
from terrasynth.eval import CachedEncoder, load_classifier, load_encoder, load_picture_encoder
from terrasynth.eval.models.references import EMBEDDED_ROOT
from tests.tiny import TEXTS, tiny_pictures


def _pixels(name, pictures):
    return CLIPImageProcessorPil.from_pretrained(EMBEDDED_ROOT / name)(images=list(pictures), return_tensors="pt")


@pytest.mark.parametrize("name", ["clip-ucm", "clip-ucm-b"])
def test_embeddings_and_identity_are_those_that_the_calibration_was_made_with(name, tmp_path):
    encoder, pictures = load_encoder(name), tiny_pictures(4, 150)
    assert dict(encoder.calibration.encoder) == encoder.identity()
    model = AutoModel.from_pretrained(EMBEDDED_ROOT / name, dtype=torch.float32).eval()
    tokens = AutoTokenizer.from_pretrained(EMBEDDED_ROOT / name)(list(TEXTS), padding=True, return_tensors="pt")
    with torch.inference_mode():
        seen = F.normalize(model.get_image_features(**_pixels(name, pictures)).pooler_output)
        read = F.normalize(model.get_text_features(tokens.input_ids, tokens.attention_mask).pooler_output)
    np.testing.assert_allclose(encoder.encode_images(pictures), seen, atol=1e-5)
    np.testing.assert_allclose(encoder.encode_texts(TEXTS), read, atol=1e-5)
    cache = CachedEncoder(encoder, tmp_path)
    assert cache.calibration is encoder.calibration
    for _ in range(2):
        np.testing.assert_array_equal(cache.encode_images(pictures), encoder.encode_images(pictures))


def test_the_scene_classifier_is_a_picture_encoder_with_the_same_features():
    pictures = tiny_pictures(4, 150)
    encoder, classifier = load_picture_encoder("scene-ucm"), load_classifier("scene-ucm")
    model = AutoModelForImageClassification.from_pretrained(EMBEDDED_ROOT / "scene-ucm", dtype=torch.float32).eval()
    with torch.inference_mode():
        expected = model.base_model(**_pixels("scene-ucm", pictures)).pooler_output.flatten(1)
    np.testing.assert_allclose(encoder.features(pictures), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(encoder.features(pictures), classifier.features(pictures))
    assert encoder.identity() == classifier.identity()
