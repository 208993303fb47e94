from __future__ import annotations

import json

import numpy as np
import pytest
from transformers import CLIPImageProcessorPil, ConvNextImageProcessorPil, Siglip2ImageProcessorPil

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


def _pixels(config, pictures):
    return Preprocessor.from_config(config, "tiny")(pictures)["pixel_values"].numpy()


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
def test_agrees_with_the_processor_of_transformers(config):
    pictures = tiny_pictures(4, 64)[:, :, :50]
    reference = CLIPImageProcessorPil(**config)(images=list(pictures), return_tensors="np")["pixel_values"]
    ours = _pixels(config, pictures)
    assert ours.shape == reference.shape
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, reference, atol=1e-5)


@pytest.mark.parametrize("side", [42, 384])
def test_agrees_with_the_processor_of_resnet_and_convnext(side):
    pictures = tiny_pictures(2, 64)[:, :, :50]
    processor = ConvNextImageProcessorPil(size={"shortest_edge": side}, crop_pct=0.875, resample=3)
    config = {**json.loads(processor.to_json_string()), "image_processor_type": "ConvNextImageProcessor"}
    reference = processor(images=list(pictures), return_tensors="np")["pixel_values"]
    ours = _pixels(config, pictures)
    assert ours.shape == (2, 3, side, side)
    np.testing.assert_allclose(ours, reference, atol=1e-5)
    older = config | {"size": side, "crop_pct": 0.875, "image_processor_type": None,
                      "feature_extractor_type": "ConvNextFeatureExtractor"}
    np.testing.assert_array_equal(_pixels(older, pictures), ours)


def test_a_picture_of_the_right_size_is_only_scaled():
    pictures = tiny_pictures(2, 32)
    pixels = _pixels(CONFIGS["square"], pictures)
    np.testing.assert_allclose(pixels.transpose(0, 2, 3, 1), pictures / 127.5 - 1, atol=1e-6)


def test_the_configuration_of_a_whole_processor_is_found(tmp_path):
    (tmp_path / "processor_config.json").write_text(json.dumps({"image_processor": CONFIGS["square"]}))
    found = Preprocessor.load(str(tmp_path), None, "tiny")(tiny_pictures(1, 64))
    assert found["pixel_values"].shape == (1, 3, 32, 32)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"crop_pct": 0.875}, "crop_pct, which is not supported"),
        ({"crop_pct": 0.875, "image_processor_type": "ConvNextImageProcessor"}, "cannot be followed"),
        ({"include_top": True, "image_processor_type": "EfficientNetImageProcessor"}, "asks for include_top, which is"),
        ({"resample": 9}, r"Unknown resampling filter \(9\)"),
        ({"size": {"longest_edge": 32}}, "cannot be followed .*'shortest_edge'"),
        ({"size": "wide"}, "cannot be followed .*wide"),
        ({"image_mean": [0.5]}, "mean must have 3 elements"),
    ],
)
def test_a_step_that_is_not_built_is_refused(change, words):
    with pytest.raises(InputError, match=words):
        Preprocessor.from_config(CONFIGS["square"] | change, "tiny")


def test_what_a_configuration_leaves_out_is_as_the_class_of_its_processor_has_it():
    pictures = tiny_pictures(2, 64)[:, :, :50]
    older = {"feature_extractor_type": "CLIPFeatureExtractor", "size": 40, "crop_size": 40}
    reference = CLIPImageProcessorPil(size={"shortest_edge": 40}, crop_size={"height": 40, "width": 40})
    expected = reference(images=list(pictures), return_tensors="np")["pixel_values"]
    np.testing.assert_allclose(_pixels(older, pictures), expected, atol=1e-5)


def test_patches_are_those_of_the_processor_of_siglip_2():
    pictures = tiny_pictures(2, 64)[:, :, :50]
    processor = Siglip2ImageProcessorPil(patch_size=8, max_num_patches=16)
    expected = processor(images=list(pictures), return_tensors="np")
    found = Preprocessor.from_config(json.loads(processor.to_json_string()), "tiny")(pictures)
    assert set(found) == set(expected) == {"pixel_values", "pixel_attention_mask", "spatial_shapes"}
    for name, value in found.items():
        np.testing.assert_array_equal(value.numpy(), expected[name])


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
