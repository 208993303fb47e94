from __future__ import annotations

import json

import numpy as np
import pytest
from transformers import CLIPImageProcessorPil, ConvNextImageProcessorPil

from terrasynth.eval.errors import InputError
from terrasynth.eval.images import check_images
from terrasynth.eval.models.preprocess import Preprocessor
from tests.tiny import tiny_pictures

HALF = [0.5, 0.5, 0.5]
CONFIGS = {
    "square": {"size": {"height": 32, "width": 32}, "resample": 3, "do_center_crop": False,
               "image_mean": HALF, "image_std": HALF},
    "openai": {"size": {"shortest_edge": 40}, "resample": 3, "do_center_crop": True,
               "crop_size": {"height": 40, "width": 40},
               "image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711]},
    "bilinear": {"size": {"height": 24, "width": 48}, "resample": 2, "do_center_crop": False,
                 "image_mean": HALF, "image_std": HALF},
    "crop with borders": {"size": {"shortest_edge": 20}, "resample": 3, "do_center_crop": True,
                          "crop_size": {"height": 31, "width": 26}, "image_mean": HALF, "image_std": HALF},
    "scale only": {"do_resize": False, "do_center_crop": False, "do_normalize": False},
}


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
def test_agrees_with_the_processor_of_transformers(config):
    pictures = tiny_pictures(4, 64)[:, :, :50]
    reference = CLIPImageProcessorPil(**config)(images=list(pictures), return_tensors="np")["pixel_values"]
    ours = Preprocessor.from_config(config, "tiny")(pictures).numpy()
    assert ours.shape == reference.shape
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, reference, atol=1e-5)


@pytest.mark.parametrize("side", [42, 384])
def test_agrees_with_the_processor_of_resnet_and_convnext(side):
    pictures = tiny_pictures(2, 64)[:, :, :50]
    processor = ConvNextImageProcessorPil(size={"shortest_edge": side}, crop_pct=0.875, resample=3)
    config = {**json.loads(processor.to_json_string()), "image_processor_type": "ConvNextImageProcessor"}
    reference = processor(images=list(pictures), return_tensors="np")["pixel_values"]
    ours = Preprocessor.from_config(config, "tiny")(pictures).numpy()
    assert ours.shape == (2, 3, side, side)
    np.testing.assert_allclose(ours, reference, atol=1e-5)
    older = config | {"size": side, "crop_pct": 0.875, "image_processor_type": None,
                      "feature_extractor_type": "ConvNextFeatureExtractor"}
    np.testing.assert_array_equal(Preprocessor.from_config(older, "tiny")(pictures).numpy(), ours)


def test_a_picture_of_the_right_size_is_only_scaled():
    pictures = tiny_pictures(2, 32)
    pixels = Preprocessor.from_config(CONFIGS["square"], "tiny")(pictures)
    np.testing.assert_allclose(pixels.permute(0, 2, 3, 1).numpy(), pictures / 127.5 - 1, atol=1e-6)


def test_the_configuration_of_a_whole_processor_is_found(tmp_path):
    (tmp_path / "processor_config.json").write_text(json.dumps({"image_processor": CONFIGS["square"]}))
    assert Preprocessor.load(str(tmp_path), None, "tiny").size == (32, 32)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"crop_pct": 0.875}, "crop_pct, which is not supported"),
        ({"crop_pct": 0.875, "image_processor_type": "ConvNextImageProcessor"}, "crop_pct needs a size with shortest_"),
        ({"resample": 9}, r"resample 9 is no filter of PIL; use one of 0 \(nearest\), 1 \(lanczos\), 2 \(bilinear\)"),
        ({"size": {"longest_edge": 32}}, "size .* is not supported"),
        ({"image_mean": [0.5]}, "need three numbers"),
    ],
)
def test_a_step_that_is_not_built_is_refused(change, words):
    with pytest.raises(InputError, match=words):
        Preprocessor.from_config(CONFIGS["square"] | change, "tiny")


def test_a_missing_configuration_is_named(tmp_path):
    with pytest.raises(InputError, match=r"'mine': no preprocessor_config\.json"):
        Preprocessor.load(str(tmp_path), None, "mine")


def test_only_batches_of_byte_pictures_are_taken():
    with pytest.raises(TypeError, match="float64, where a numpy uint8 array"):
        check_images(np.zeros((1, 4, 4, 3)))
    with pytest.raises(TypeError, match="list, where"):
        check_images([1, 2])
    with pytest.raises(ValueError, match=r"shape \(4, 4, 3\), where \(N, H, W, 3\)"):
        check_images(np.zeros((4, 4, 3), np.uint8))
