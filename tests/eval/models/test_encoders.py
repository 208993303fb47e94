from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoTokenizer, CLIPImageProcessorPil

from terrasynth.eval import Calibration, InputError, calibrate, load_encoder
from terrasynth.eval.models.references import content_hash
from tests.tiny import TEXT_LENGTH, tiny_clip, tiny_pictures

TEXTS = ["a plane", "many houses in dense rows with some trees", "sea water on the beach", "zebra", ""]


def test_embeddings_are_unit_length_and_of_the_stated_shape(encoder_folder):
    encoder = load_encoder(encoder_folder)
    for embeddings, n in ((encoder.encode_images(tiny_pictures(5, 48)), 5), (encoder.encode_texts(TEXTS), 5)):
        assert embeddings.shape == (n, encoder.dim)
        assert embeddings.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-6)
    assert encoder.encode_images(tiny_pictures(0)).shape == (0, encoder.dim)
    assert encoder.encode_texts([]).shape == (0, encoder.dim)


def test_agrees_with_the_libraries_own_path(encoder_folder):
    encoder, pictures = load_encoder(encoder_folder), tiny_pictures(3)
    model, tokenizer = AutoModel.from_pretrained(encoder_folder).eval(), AutoTokenizer.from_pretrained(encoder_folder)
    pixels = CLIPImageProcessorPil.from_pretrained(encoder_folder)(images=list(pictures), return_tensors="pt")
    with torch.no_grad():
        output = model(**tokenizer(TEXTS[:3], padding=True, return_tensors="pt"), **pixels)
    cosine = (output.image_embeds @ output.text_embeds.T).numpy()
    np.testing.assert_allclose(encoder.encode_images(pictures) @ encoder.encode_texts(TEXTS[:3]).T, cosine, atol=1e-5)
    np.testing.assert_allclose(encoder.score(pictures, TEXTS[:3]), np.diagonal(cosine), atol=1e-5)


@pytest.mark.parametrize("batch_size", [1, 2, 7])
def test_results_do_not_depend_on_the_batch(encoder_folder, batch_size):
    encoder, pictures = load_encoder(encoder_folder), tiny_pictures(5, 40)
    np.testing.assert_allclose(
        encoder.encode_images(pictures, batch_size), encoder.encode_images(pictures), atol=2e-6
    )
    np.testing.assert_allclose(encoder.encode_texts(TEXTS, batch_size), encoder.encode_texts(TEXTS), atol=2e-6)


def test_a_text_beyond_the_context_is_cut(encoder_folder):
    encoder = load_encoder(encoder_folder)
    long, longer = "a plane " * TEXT_LENGTH, "a plane " * (2 * TEXT_LENGTH)
    np.testing.assert_allclose(*encoder.encode_texts([long, longer]), atol=1e-6)


def test_bfloat16_is_close_and_only_used_when_asked_for(encoder_folder):
    pictures = tiny_pictures(4)
    exact, rounded = (load_encoder(encoder_folder, dtype=d).encode_images(pictures) for d in (None, "bfloat16"))
    assert rounded.dtype == np.float32
    assert 0 < np.abs(exact - rounded).max() < 0.05
    with pytest.raises(InputError, match="dtype 'int8' is not supported; use one of float32, bfloat16, float16"):
        load_encoder(encoder_folder, dtype="int8")


def test_half_precision_files_are_computed_in_float32(clip_folder, tmp_path):
    folder = shutil.copytree(clip_folder, tmp_path / "half")
    state = load_file(folder / "model.safetensors")
    state = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    pictures = tiny_pictures(3)
    half, full = (load_encoder(f).encode_images(pictures) for f in (folder, clip_folder))
    np.testing.assert_allclose(half, full, atol=5e-3)


def test_the_identity_is_that_of_the_files(clip_folder, tmp_path):
    encoder = load_encoder(clip_folder)
    assert encoder.identity() == {"kind": "clip", "model": "local", "content": content_hash(clip_folder)}
    assert load_encoder(tiny_clip(tmp_path / "other", seed=1)).identity() != encoder.identity()
    json.dumps(encoder.identity())


def test_an_embedded_model_is_found_by_name_and_brings_its_calibration(dual_folder, tmp_path):
    folder = shutil.copytree(dual_folder, tmp_path / "clip-tiny")
    encoder = load_encoder("clip-tiny", roots=[tmp_path])
    assert encoder.calibration is None
    made = calibrate(encoder, tiny_pictures(2), [["a plane"], ["sea"]], ["a", "b"], "val")
    made.save(folder / "calibration.json")
    loaded = load_encoder("clip-tiny", roots=[tmp_path])
    assert loaded.calibration == made == Calibration.load(folder / "calibration.json")
    assert loaded.identity() == encoder.identity() == dict(made.encoder)


def test_wrong_arguments_are_named(clip_folder):
    encoder = load_encoder(clip_folder)
    with pytest.raises(TypeError, match="one string"):
        encoder.encode_texts("a plane")
    with pytest.raises(ValueError, match="2 images and 1 texts"):
        encoder.score(tiny_pictures(2), ["a plane"])
    with pytest.raises(TypeError, match="uint8"):
        encoder.encode_images(np.zeros((1, 8, 8, 3), np.float32))


def test_a_model_of_another_kind_is_refused(scene_folder):
    with pytest.raises(InputError, match="'resnet' model is no dual encoder"):
        load_encoder(scene_folder)


def _lose_a_tensor(folder):
    state = load_file(folder / "model.safetensors")
    del state["visual_projection.weight"]
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


def _pickle(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def _truncate(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])


def _break_config(folder):
    (folder / "config.json").write_text("{")


def _lose_tokenizer(folder):
    for path in folder.glob("tokenizer*"):
        path.unlink()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (_lose_a_tensor, "lack 'visual_projection.weight'"),
        (_pickle, "pickled"),
        (_truncate, "cannot be loaded"),
        (_break_config, "cannot be loaded"),
        (_lose_tokenizer, "tokenizer"),
    ],
)
def test_a_damaged_folder_is_one_clear_line(clip_folder, tmp_path, damage, words):
    folder = shutil.copytree(clip_folder, tmp_path / "damaged")
    damage(folder)
    with pytest.raises(InputError, match=words) as caught:
        load_encoder(folder)
    assert "\n" not in str(caught.value)
