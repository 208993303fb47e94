from __future__ import annotations

import json
import logging
import shutil
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from transformers import (
    AutoModel,
    AutoModelForImageClassification,
    AutoTokenizer,
    Siglip2ImageProcessorPil,
    SiglipImageProcessorPil,
)

from terrasynth.eval import InputError, ThumbnailEncoder, load_classifier, load_encoder, load_picture_encoder
from terrasynth.eval.models import inference
from terrasynth.eval.models.references import content_hash
from tests.eval.backbones import ARCHITECTURES, PROCESSOR, SIZE, write_backbone, write_siglip
from tests.tiny import tiny_pictures

TEXTS = ["a plane", "MANY houses", "sea water on a plane", ""]


@pytest.fixture(scope="module", params=ARCHITECTURES)
def backbone(request, tmp_path_factory):
    return request.param, write_backbone(request.param, tmp_path_factory.mktemp("backbone"))


@pytest.fixture(params=[False, True], ids=["siglip", "siglip 2"])
def siglip(request, tmp_path):
    return write_siglip(tmp_path, request.param)


def _pixels(pictures):
    mean, std = (torch.tensor(PROCESSOR[name]).view(1, 3, 1, 1) for name in ("image_mean", "image_std"))
    return (torch.from_numpy(pictures).permute(0, 3, 1, 2) / 255 - mean) / std


def _plain_features(name, folder, pictures):
    if "classifier" in name:
        model, seen = AutoModelForImageClassification.from_pretrained(folder).eval(), []
        model.classifier.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
        with torch.no_grad():
            model(pixel_values=_pixels(pictures))
        return seen[0].flatten(1).numpy()
    with torch.no_grad():
        output = AutoModel.from_pretrained(folder).eval()(pixel_values=_pixels(pictures))
    tokens = name in ("dinov2", "dinov2_with_registers", "vit")
    return (output.last_hidden_state[:, 0] if tokens else output.pooler_output.flatten(1)).numpy()


def test_features_are_those_of_plain_transformers(backbone):
    name, folder = backbone
    encoder, pictures = load_picture_encoder(folder), tiny_pictures(5, SIZE)
    features = encoder.features(pictures)
    assert features.dtype == np.float32
    assert features.shape == (5, encoder.dim)
    np.testing.assert_allclose(features, _plain_features(name, folder, pictures), atol=1e-5)
    assert np.abs(features[0] - features[1]).max() > 1e-3
    unit = encoder.encode_images(pictures)
    np.testing.assert_allclose(unit, features / np.linalg.norm(features, axis=1, keepdims=True), atol=1e-6)


def test_features_do_not_depend_on_the_batch(backbone):
    encoder, pictures = load_picture_encoder(backbone[1]), tiny_pictures(5, 40)
    whole = encoder.features(pictures)
    for batch_size in (1, 2, 7):
        np.testing.assert_allclose(encoder.features(pictures, batch_size), whole, atol=1e-5)
    assert encoder.features(tiny_pictures(0)).shape == (0, encoder.dim)


def test_few_large_images_are_looked_at_at_once(backbone, monkeypatch):
    encoder, pictures, seen = load_picture_encoder(backbone[1]), tiny_pictures(5, SIZE), []
    whole = encoder.features(pictures)
    monkeypatch.setattr(inference, "AT_ONCE", 2 * SIZE * SIZE)
    encoder._model.register_forward_pre_hook(lambda _module, _args, given: seen.append(len(given["pixel_values"])),
                                             with_kwargs=True)
    np.testing.assert_allclose(encoder.features(pictures), whole, atol=1e-5)
    assert seen == [2, 2, 1]


def test_a_backbone_reads_no_text_and_says_who_it_is(backbone):
    name, folder = backbone
    encoder = load_picture_encoder(folder)
    identity = {"kind": name.split()[0], "model": "local", "content": content_hash(folder)}
    assert encoder.identity() == identity
    assert encoder.reads_text is False
    with pytest.raises(InputError, match=f"is a '{name.split()[0]}' model and reads no text"):
        encoder.encode_texts(["a plane"])


def test_another_size_shows_the_whole_picture_and_is_part_of_the_identity(tmp_path):
    folder = write_backbone("dinov2", tmp_path)
    config = json.loads((folder / "preprocessor_config.json").read_text())
    config |= {"size": {"shortest_edge": 40}, "do_center_crop": True, "crop_size": {"height": SIZE, "width": SIZE}}
    (folder / "preprocessor_config.json").write_text(json.dumps(config))
    pictures = tiny_pictures(3, SIZE)
    own, whole = load_picture_encoder(folder), load_picture_encoder(folder, size=SIZE)
    np.testing.assert_allclose(whole.features(pictures), _plain_features("dinov2", folder, pictures), atol=1e-5)
    assert np.abs(own.features(pictures) - whole.features(pictures)).max() > 1e-3
    assert whole.identity() == own.identity() | {"size": SIZE}
    with pytest.raises(InputError, match="size 0: an image has at least 1 px"):
        load_picture_encoder(folder, size=0)
    with pytest.raises(InputError, match="size 64: 'thumbnail' has a size of its own"):
        load_picture_encoder("thumbnail", size=64)


def test_precision_is_only_lowered_when_asked_for(tmp_path):
    folder, pictures = write_backbone("vit", tmp_path), tiny_pictures(3, SIZE)
    exact, rounded = (load_picture_encoder(folder, dtype=dtype) for dtype in (None, "bfloat16"))
    assert (exact.precision, rounded.precision) == ("float32 on cpu", "bfloat16 on cpu")
    assert 0 < np.abs(exact.features(pictures) - rounded.features(pictures)).max() < 0.1


def test_one_function_for_all_that_sees_pictures(clip_folder, dual_folder, scene_folder):
    pictures = tiny_pictures(3, SIZE)
    assert isinstance(load_picture_encoder("thumbnail"), ThumbnailEncoder)
    for folder in (clip_folder, dual_folder):
        encoder = load_picture_encoder(folder)
        assert encoder.reads_text
        np.testing.assert_array_equal(encoder.encode_images(pictures), load_encoder(folder).encode_images(pictures))
    scene = load_picture_encoder(scene_folder)
    np.testing.assert_array_equal(scene.features(pictures), load_classifier(scene_folder).features(pictures))


def test_another_architecture_is_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(InputError, match="the features of a 'bert' model are not known here; use one of type resnet"):
        load_picture_encoder(tmp_path)


def test_siglip_agrees_with_the_libraries_own_path(siglip):
    encoder, pictures = load_encoder(siglip), tiny_pictures(4, 48)
    model, tokenizer = AutoModel.from_pretrained(siglip).eval(), AutoTokenizer.from_pretrained(siglip)
    pixels = SiglipImageProcessorPil.from_pretrained(siglip)(images=list(pictures), return_tensors="pt")
    tokens = tokenizer(TEXTS, padding="max_length", max_length=16, return_tensors="pt")
    with torch.no_grad():
        output = model(input_ids=tokens.input_ids, **pixels)
    np.testing.assert_allclose(encoder.encode_images(pictures), output.image_embeds, atol=1e-5)
    np.testing.assert_allclose(encoder.encode_texts(TEXTS), output.text_embeds, atol=1e-5)
    cosine = encoder.score(pictures, TEXTS)
    np.testing.assert_allclose(
        cosine * model.logit_scale.exp().item() + model.logit_bias.item(), output.logits_per_image.diagonal().detach(),
        atol=1e-4,
    )
    assert encoder.identity()["kind"] == "siglip"


def test_a_siglip_text_does_not_depend_on_its_neighbours(siglip):
    encoder = load_encoder(siglip)
    together, alone = encoder.encode_texts(TEXTS), np.concatenate([encoder.encode_texts([text]) for text in TEXTS])
    np.testing.assert_allclose(together, alone, atol=1e-6)
    assert together.shape == (4, encoder.dim)


@pytest.mark.skipif(find_spec("sentencepiece") is not None, reason="the package that this is about is installed")
def test_a_tokenizer_whose_package_is_missing_names_the_extra(tmp_path):
    folder = write_siglip(tmp_path)
    config = json.loads((folder / "tokenizer_config.json").read_text()) | {"tokenizer_class": "SiglipTokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=r"its tokenizer needs a package that is missing: .*'\.\[siglip\]'"):
        load_encoder(folder)


@pytest.mark.parametrize("shape", [(48, 48), (40, 90)])
def test_siglip_of_variable_resolution_agrees_with_the_libraries_own_path(tmp_path, shape):
    folder = write_siglip(tmp_path, second=True, naflex=True)
    encoder, pictures = load_encoder(folder), tiny_pictures(3, 96)[:, : shape[0], : shape[1]]
    model = AutoModel.from_pretrained(folder).eval()
    inputs = Siglip2ImageProcessorPil.from_pretrained(folder)(images=list(pictures), return_tensors="pt")
    with torch.no_grad():
        features = model.get_image_features(**inputs).pooler_output.numpy()
    np.testing.assert_allclose(encoder.features(pictures), features, atol=1e-5)
    np.testing.assert_allclose(encoder.features(pictures, batch_size=1), features, atol=1e-5)
    assert encoder.identity()["kind"] == "siglip2"
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(InputError, match=r"no preprocessor_config\.json"):
        load_encoder(folder)


def test_a_head_that_is_left_out_is_not_reported_and_what_is_lacking_is_refused(scene_folder, tmp_path):
    heard = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: heard.append(record.getMessage())
    logger = logging.getLogger("transformers.modeling_utils")
    logger.addHandler(handler)
    try:
        load_picture_encoder(scene_folder)
        assert heard == []
        AutoModel.from_pretrained(scene_folder)  # which reports the head, here and wherever else it is called
        assert "UNEXPECTED" in heard[0]
        del heard[:]
        config = json.loads((scene_folder / "config.json").read_text())
        shutil.copytree(scene_folder, tmp_path / "wider")
        (tmp_path / "wider" / "config.json").write_text(json.dumps(config | {"hidden_sizes": [
            2 * width for width in config["hidden_sizes"]]}))
        with pytest.raises(InputError, match="cannot be loaded"):
            load_picture_encoder(tmp_path / "wider")
        assert "MISMATCH" in heard[0]  # the error refers to it
    finally:
        logger.removeHandler(handler)
