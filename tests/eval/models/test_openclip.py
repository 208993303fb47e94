from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from terrasynth.eval import InputError, load_encoder, load_picture_encoder
from terrasynth.eval.models.openclip import clip_config, convert_openclip, infer_config
from terrasynth.eval.models.openclip_files import convert_checkpoint, processor_config
from terrasynth.eval.models.references import content_hash
from tests.eval.open_clip import (
    CONTEXT,
    SIDE,
    build_open_clip,
    open_clip_config,
    open_clip_tokens,
    save_open_clip,
)
from tests.tiny import TEXTS, tiny_pictures, tiny_tokenizer


@pytest.mark.parametrize("quick", [False, True])
def test_a_folder_of_openclip_is_an_encoder_with_the_same_embeddings(tmp_path, quick):
    model = build_open_clip(quick=quick)
    folder = save_open_clip(tmp_path, model, open_clip_config(quick=quick), {"mean": [0.5] * 3, "std": [0.5] * 3})
    encoder, pictures, texts = load_encoder(folder), tiny_pictures(5, SIDE), list(TEXTS[:4])
    with torch.no_grad():
        pixels = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1
        seen, read = F.normalize(model.visual(pixels)), F.normalize(model.encode_text(open_clip_tokens(texts)))
    np.testing.assert_allclose(encoder.encode_images(pictures), seen, atol=1e-5)
    np.testing.assert_allclose(encoder.encode_texts(texts), read, atol=1e-5)
    np.testing.assert_array_equal(load_picture_encoder(folder).features(pictures), encoder.features(pictures))
    assert encoder.identity() == {"kind": "open-clip", "model": "local", "content": content_hash(folder)}


def test_the_two_activations_are_told_apart():
    state = build_open_clip().state_dict()
    pixels = torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        plain, quick = (
            convert_openclip(state, open_clip_config(quick=quick)).get_image_features(pixel_values=pixels).pooler_output
            for quick in (False, True)
        )
    assert (plain - quick).abs().max() > 1e-3


def test_the_text_side_may_stand_under_a_prefix_and_weights_in_half_precision():
    state = build_open_clip().state_dict()
    visual = {name: tensor for name, tensor in state.items() if name.startswith("visual.") or name == "logit_scale"}
    moved = visual | {f"text.{name}": tensor for name, tensor in state.items() if name not in visual}
    moved["text.attn_mask"] = torch.zeros(CONTEXT, CONTEXT)
    expected, found = (convert_openclip(each, open_clip_config()).state_dict() for each in (state, moved))
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    half = convert_openclip({name: tensor.half() for name, tensor in state.items()}, open_clip_config()).state_dict()
    assert {tensor.dtype for tensor in half.values() if tensor.is_floating_point()} == {torch.float32}


def test_a_checkpoint_without_configuration_is_converted_by_its_shapes(tmp_path):
    model = build_open_clip(384, 6, 128, 2, quick=True)
    torch.save({"epoch": 3, "state_dict": {f"module.{k}": v for k, v in model.state_dict().items()}}, tmp_path / "a.pt")
    words = tmp_path / "words"
    tiny_tokenizer(CONTEXT).save_pretrained(words)
    out = convert_checkpoint(tmp_path / "a.pt", tmp_path / "out", str(words), activation="quick_gelu")
    encoder, pictures = load_encoder(out), tiny_pictures(3, SIDE)
    expected = load_encoder(save_open_clip(tmp_path / "same", model, open_clip_config(384, 6, 128, 2, quick=True)))
    np.testing.assert_allclose(encoder.encode_images(pictures), expected.encode_images(pictures), atol=1e-6)
    np.testing.assert_allclose(encoder.encode_texts(TEXTS), expected.encode_texts(TEXTS), atol=1e-6)
    assert encoder.identity()["kind"] == "clip"
    given = convert_checkpoint(tmp_path / "a.pt", tmp_path / "given", str(words),
                               tmp_path / "same" / "open_clip_config.json")
    assert content_hash(given) == content_hash(out)


@pytest.mark.parametrize("timm", [False, True], ids=["alone", "beside a configuration of timm"])
def test_a_repository_of_the_hub_is_recognised(tmp_path, monkeypatch, timm):
    commit, repository = "c" * 40, tmp_path / "models--owner--name"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    (repository / "snapshots").mkdir()
    folder = save_open_clip(repository / "snapshots" / commit, build_open_clip(), open_clip_config())
    if timm:
        (folder / "config.json").write_text('{"architecture": "vit_base_patch32_clip_224"}')
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    encoder = load_encoder("owner/name")
    assert encoder.identity() == {"kind": "open-clip", "model": "owner/name", "revision": commit}
    np.testing.assert_array_equal(encoder.encode_texts(TEXTS), load_encoder(folder).encode_texts(TEXTS))
    with pytest.raises(InputError, match="'owner/other' cannot be loaded"):
        load_encoder("owner/other")


@pytest.mark.parametrize(
    ("mode", "size"), [("squash", {"height": SIDE, "width": SIDE}), ("shortest", {"shortest_edge": SIDE})]
)
def test_preprocessing_follows_the_configuration(mode, size):
    made = processor_config({"resize_mode": mode, "interpolation": "bilinear", "mean": [0.1, 0.2, 0.3]}, SIDE)
    assert made["size"] == size
    assert made["do_center_crop"] is (mode == "shortest")
    assert (made["resample"], made["image_mean"]) == (Image.Resampling.BILINEAR, [0.1, 0.2, 0.3])
    with pytest.raises(InputError, match="resize_mode 'longest' is not supported; bicubic or bilinear with shortest"):
        processor_config({"resize_mode": "longest"}, SIDE)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"vision_cfg": {"layers": [3, 4, 6, 3]}}, r"layers \[3, 4, 6, 3\] make a ResNet"),
        ({"vision_cfg": {"timm_drop": 0.0, "timm_model_name": "vit_x"}}, "vision_cfg with timm_model_name 'vit_x'"),
        ({"vision_cfg": {"image_size": [32, 48]}}, r"image_size \[32, 48\] is no square"),
        ({"vision_cfg": {"pool_type": "avg"}}, "pool_type 'avg'"),
        ({"text_cfg": {"hf_model_name": "roberta-base"}}, "text_cfg with hf_model_name 'roberta-base'"),
        ({"text_cfg": {"no_causal_mask": True}}, "no_causal_mask True"),
        ({"multimodal_cfg": {}}, "'multimodal_cfg' is not supported"),
    ],
)
def test_another_architecture_is_refused_by_name(change, words):
    config = open_clip_config()
    for key, value in change.items():
        config[key] = {**config.get(key, {}), **value}
    with pytest.raises(InputError, match=words):
        clip_config(config)


def test_settings_without_effect_are_taken():
    config = open_clip_config()
    config["vision_cfg"] |= {"patch_dropout": 0.5, "pool_type": "tok", "ls_init_value": None, "image_size": [32, 32]}
    config["text_cfg"] |= {"pool_type": "argmax", "pad_id": 0}
    assert clip_config(config).to_dict() == clip_config(open_clip_config()).to_dict()


def test_weights_of_another_model_are_refused(tmp_path):
    model = build_open_clip()
    state = model.state_dict()
    with pytest.raises(InputError, match=r"class_embedding' has shape \(48,\), and this CLIP needs \(96,\)"):
        convert_openclip(state, open_clip_config(width=96))
    del state["visual.ln_pre.bias"]
    with pytest.raises(InputError, match=r"1 tensors of this CLIP are missing, such as 'vision_model\.pre_layrnorm"):
        convert_openclip(state, open_clip_config())
    with pytest.raises(InputError, match="width 48 is none of OpenCLIP's list, so nothing tells its number of heads"):
        infer_config(state, "gelu")
    with pytest.raises(InputError, match=r"no tensor 'visual\.conv1\.weight'"):
        infer_config({"visual.layer1.0.conv1.weight": torch.zeros(1)}, "gelu")
    with pytest.raises(InputError, match="give one of them"):
        convert_checkpoint(tmp_path / "a.pt", tmp_path / "out", "words")


def test_what_a_folder_lacks_is_one_clear_line(tmp_path):
    folder = save_open_clip(tmp_path / "model", build_open_clip(), open_clip_config())
    (folder / "open_clip_model.safetensors").rename(folder / "open_clip_pytorch_model.bin")
    with pytest.raises(InputError, match=r"none of open_clip_model\.safetensors.*models convert-openclip"):
        load_encoder(folder)
    (folder / "open_clip_config.json").write_text('{"model_cfg": {}}')
    (folder / "open_clip_pytorch_model.bin").rename(folder / "open_clip_model.safetensors")
    with pytest.raises(InputError, match="lacks embed_dim, vision_cfg or text_cfg"):
        load_encoder(folder)
    folder = save_open_clip(tmp_path / "other", build_open_clip(), open_clip_config())
    for path in folder.glob("tokenizer*"):
        path.unlink()
    with pytest.raises(InputError, match="tokenizer"):
        load_encoder(folder)
