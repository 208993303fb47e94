from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from terrasynth.eval import load_encoder, load_picture_encoder
from terrasynth.eval.models.inception import FidInceptionConfig, FidInceptionModel
from tests.eval.open_clip import build_open_clip, open_clip_config, save_open_clip
from tests.tiny import TEXTS, tiny_pictures, tiny_tokenizer


def test_a_checkpoint_beside_its_configuration_becomes_an_encoder(terrasynth, tmp_path):
    folder = save_open_clip(tmp_path / "published", build_open_clip(), open_clip_config())
    torch.save(build_open_clip().state_dict(), folder / "model.pt")
    code, out, _ = terrasynth("models", "convert-openclip", folder / "model.pt", "--out", tmp_path / "clip")
    assert (code, out.strip()) == (0, f"model in {tmp_path / 'clip'}")
    found, expected, pictures = load_encoder(tmp_path / "clip"), load_encoder(folder), tiny_pictures(3)
    np.testing.assert_allclose(found.encode_images(pictures), expected.encode_images(pictures), atol=1e-6)
    np.testing.assert_allclose(found.encode_texts(TEXTS), expected.encode_texts(TEXTS), atol=1e-6)


def test_a_bare_checkpoint_needs_an_activation_and_a_tokenizer(terrasynth, tmp_path):
    save_file(build_open_clip(384, 6, 128, 2).state_dict(), tmp_path / "a.safetensors")
    arguments = ["models", "convert-openclip", tmp_path / "a.safetensors", "--out", tmp_path / "clip"]
    code, _, (problem,) = terrasynth(*arguments)
    assert code == 2
    assert "needs its configuration, or its activation (gelu, or quick_gelu" in problem
    code, _, (problem,) = terrasynth(*arguments, "--activation", "gelu")
    assert code == 2
    assert "tokenizer" in problem
    tiny_tokenizer().save_pretrained(tmp_path / "words")
    assert terrasynth(*arguments, "--activation", "gelu", "--tokenizer", tmp_path / "words")[0] == 0
    config = json.loads((tmp_path / "clip" / "config.json").read_text())
    assert config["vision_config"]["num_attention_heads"] == 6
    assert config["vision_config"]["hidden_act"] == config["text_config"]["hidden_act"] == "gelu"


def test_a_pickle_with_more_than_tensors_is_refused(terrasynth, tmp_path):
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": open_clip_config()}))
    torch.save({"state_dict": build_open_clip()}, tmp_path / "model.pt")
    code, _, (problem,) = terrasynth("models", "convert-openclip", tmp_path / "model.pt", "--out", tmp_path / "clip")
    assert code == 2
    assert "holds more than tensors" in problem
    assert not (tmp_path / "clip").exists()


@pytest.fixture
def inception(tmp_path):
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in FidInceptionModel(FidInceptionConfig()).state_dict().items()}
    save_file({name: torch.full(shape, 0.01) for name, shape in shapes.items()}, tmp_path / "fid.safetensors")
    return tmp_path / "fid.safetensors"


def test_inception_weights_become_a_picture_encoder(terrasynth, inception, tmp_path):
    assert terrasynth("models", "convert-inception", inception, "--out", tmp_path / "fid")[0] == 0
    assert load_picture_encoder(tmp_path / "fid").dim == 2048
    code, _, (*_, problem) = terrasynth("models", "convert-inception", tmp_path / "none.pth", "--out",
                                            tmp_path / "other")
    assert code == 2
    assert "none.pth': no such file; give a .safetensors or .pt file" in problem
