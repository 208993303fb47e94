"""OpenCLIP's layout written out once more with torch's own attention, and compared with what the conversion gives."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from eval import InputError, load_encoder, load_picture_encoder
from eval.models import content_hash
from eval.openclip import clip_config, convert_openclip, infer_config
from eval.openclip_files import convert_checkpoint, processor_config
from tests.tiny import TEXTS, tiny_pictures, tiny_tokenizer

SIDE, PATCH, CONTEXT = 32, 8, 24


class _Block(nn.Module):
    def __init__(self, width, heads, quick):
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.mlp = nn.ModuleDict({"c_fc": nn.Linear(width, 4 * width), "c_proj": nn.Linear(4 * width, width)})
        self.quick = quick

    def forward(self, x, mask=None):
        seen = self.ln_1(x)
        x = x + self.attn(seen, seen, seen, attn_mask=mask, need_weights=False)[0]
        inner = self.mlp["c_fc"](self.ln_2(x))
        return x + self.mlp["c_proj"](inner * torch.sigmoid(1.702 * inner) if self.quick else F.gelu(inner))


class _Transformer(nn.Module):
    def __init__(self, width, heads, layers, quick):
        super().__init__()
        self.resblocks = nn.ModuleList(_Block(width, heads, quick) for _ in range(layers))

    def forward(self, x, mask=None):
        for block in self.resblocks:
            x = block(x, mask)
        return x


class _Visual(nn.Module):
    def __init__(self, width, heads, layers, dim, quick):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, PATCH, PATCH, bias=False)
        self.class_embedding = nn.Parameter(torch.randn(width))
        self.positional_embedding = nn.Parameter(torch.randn((SIDE // PATCH) ** 2 + 1, width))
        self.ln_pre, self.ln_post = nn.LayerNorm(width), nn.LayerNorm(width)
        self.transformer = _Transformer(width, heads, layers, quick)
        self.proj = nn.Parameter(torch.randn(width, dim) / width**0.5)

    def forward(self, pixels):
        patches = self.conv1(pixels).flatten(2).mT
        first = self.class_embedding.expand(len(pixels), 1, -1)
        x = self.ln_pre(torch.cat([first, patches], 1) + self.positional_embedding)
        return self.ln_post(self.transformer(x)[:, 0]) @ self.proj


class OpenClip(nn.Module):
    def __init__(self, width, heads, text_width, text_heads, vocabulary, quick):
        super().__init__()
        self.visual = _Visual(width, heads, 2, 40, quick)
        self.transformer = _Transformer(text_width, text_heads, 3, quick)
        self.token_embedding = nn.Embedding(vocabulary, text_width)
        self.positional_embedding = nn.Parameter(torch.randn(CONTEXT, text_width))
        self.ln_final = nn.LayerNorm(text_width)
        self.text_projection = nn.Parameter(torch.randn(text_width, 40) / text_width**0.5)
        self.logit_scale = nn.Parameter(torch.tensor(2.0))
        with torch.no_grad():
            for parameter in self.parameters():
                parameter += 0.05 * torch.randn_like(parameter)

    def encode_text(self, tokens):
        later = torch.full((CONTEXT, CONTEXT), -torch.inf).triu(1)
        x = self.ln_final(self.transformer(self.token_embedding(tokens) + self.positional_embedding, later))
        return x[torch.arange(len(x)), tokens.argmax(1)] @ self.text_projection


def _build(width=48, heads=3, text_width=32, text_heads=2, quick=False, seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return OpenClip(width, heads, text_width, text_heads, len(tiny_tokenizer()), quick).eval()


def _config(width=48, heads=3, text_width=32, text_heads=2, quick=False):
    return {
        "embed_dim": 40, "quick_gelu": quick,
        "vision_cfg": {"image_size": SIDE, "layers": 2, "width": width, "head_width": width // heads,
                       "patch_size": PATCH},
        "text_cfg": {"context_length": CONTEXT, "vocab_size": len(tiny_tokenizer()), "width": text_width,
                     "heads": text_heads, "layers": 3},
    }


def _tokens(texts):
    """As OpenCLIP makes them: zeros behind the end of the text."""
    ids = torch.zeros(len(texts), CONTEXT, dtype=torch.long)
    for row, text in zip(ids, texts, strict=True):
        found = tiny_tokenizer()(text).input_ids
        row[: len(found)] = torch.tensor(found)
    return ids


def _save(folder, model, config, preprocess=None):
    folder.mkdir(exist_ok=True)
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    (folder / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": config, "preprocess_cfg": preprocess or {}})
    )
    tiny_tokenizer(CONTEXT).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("quick", [False, True])
def test_a_folder_of_openclip_is_an_encoder_with_the_same_embeddings(tmp_path, quick):
    model = _build(quick=quick)
    folder = _save(tmp_path, model, _config(quick=quick), {"mean": [0.5] * 3, "std": [0.5] * 3})
    encoder, pictures, texts = load_encoder(folder), tiny_pictures(5, SIDE), list(TEXTS[:4])
    with torch.no_grad():
        pixels = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1
        seen, read = F.normalize(model.visual(pixels)), F.normalize(model.encode_text(_tokens(texts)))
    np.testing.assert_allclose(encoder.encode_images(pictures), seen, atol=1e-5)
    np.testing.assert_allclose(encoder.encode_texts(texts), read, atol=1e-5)
    np.testing.assert_array_equal(load_picture_encoder(folder).features(pictures), encoder.features(pictures))
    assert encoder.identity() == {"kind": "open-clip", "model": "local", "content": content_hash(folder)}


def test_the_two_activations_are_told_apart():
    state, pixels = _build().state_dict(), torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        plain, quick = (
            convert_openclip(state, _config(quick=quick)).get_image_features(pixel_values=pixels).pooler_output
            for quick in (False, True)
        )
    assert (plain - quick).abs().max() > 1e-3


def test_the_text_side_may_stand_under_a_prefix_and_weights_in_half_precision():
    state = _build().state_dict()
    visual = {name: tensor for name, tensor in state.items() if name.startswith("visual.") or name == "logit_scale"}
    moved = visual | {f"text.{name}": tensor for name, tensor in state.items() if name not in visual}
    moved["text.attn_mask"] = torch.zeros(CONTEXT, CONTEXT)
    expected, found = (convert_openclip(each, _config()).state_dict() for each in (state, moved))
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    half = convert_openclip({name: tensor.half() for name, tensor in state.items()}, _config()).state_dict()
    assert {tensor.dtype for tensor in half.values() if tensor.is_floating_point()} == {torch.float32}


def test_a_checkpoint_without_configuration_is_converted_by_its_shapes(tmp_path):
    model = _build(384, 6, 128, 2, quick=True)
    torch.save({"epoch": 3, "state_dict": {f"module.{k}": v for k, v in model.state_dict().items()}}, tmp_path / "a.pt")
    words = tmp_path / "words"
    tiny_tokenizer(CONTEXT).save_pretrained(words)
    out = convert_checkpoint(tmp_path / "a.pt", tmp_path / "out", str(words), activation="quick_gelu")
    encoder, pictures = load_encoder(out), tiny_pictures(3, SIDE)
    expected = load_encoder(_save(tmp_path / "same", model, _config(384, 6, 128, 2, quick=True)))
    np.testing.assert_allclose(encoder.encode_images(pictures), expected.encode_images(pictures), atol=1e-6)
    np.testing.assert_allclose(encoder.encode_texts(TEXTS), expected.encode_texts(TEXTS), atol=1e-6)
    assert encoder.identity()["kind"] == "clip"
    given = convert_checkpoint(tmp_path / "a.pt", tmp_path / "given", str(words),
                               tmp_path / "same" / "open_clip_config.json")
    assert content_hash(given) == content_hash(out)


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
    config = _config()
    for key, value in change.items():
        config[key] = {**config.get(key, {}), **value}
    with pytest.raises(InputError, match=words):
        clip_config(config)


def test_settings_without_effect_are_taken():
    config = _config()
    config["vision_cfg"] |= {"patch_dropout": 0.5, "pool_type": "tok", "ls_init_value": None, "image_size": [32, 32]}
    config["text_cfg"] |= {"pool_type": "argmax", "pad_id": 0}
    assert clip_config(config).to_dict() == clip_config(_config()).to_dict()


def test_weights_of_another_model_are_refused(tmp_path):
    model = _build()
    state = model.state_dict()
    with pytest.raises(InputError, match=r"class_embedding' has shape \(48,\), and this CLIP needs \(96,\)"):
        convert_openclip(state, _config(width=96))
    del state["visual.ln_pre.bias"]
    with pytest.raises(InputError, match=r"1 tensors of this CLIP are missing, such as 'vision_model\.pre_layrnorm"):
        convert_openclip(state, _config())
    with pytest.raises(InputError, match="width 48 is none of OpenCLIP's list, so nothing tells its number of heads"):
        infer_config(state, "gelu")
    with pytest.raises(InputError, match=r"no tensor 'visual\.conv1\.weight'"):
        infer_config({"visual.layer1.0.conv1.weight": torch.zeros(1)}, "gelu")
    with pytest.raises(InputError, match="give one of them"):
        convert_checkpoint(tmp_path / "a.pt", tmp_path / "out", "words")


def test_what_a_folder_lacks_is_one_clear_line(tmp_path):
    folder = _save(tmp_path / "model", _build(), _config())
    (folder / "open_clip_model.safetensors").rename(folder / "open_clip_pytorch_model.bin")
    with pytest.raises(InputError, match=r"none of open_clip_model\.safetensors.*models convert-openclip"):
        load_encoder(folder)
    (folder / "open_clip_config.json").write_text('{"model_cfg": {}}')
    (folder / "open_clip_pytorch_model.bin").rename(folder / "open_clip_model.safetensors")
    with pytest.raises(InputError, match="lacks embed_dim, vision_cfg or text_cfg"):
        load_encoder(folder)
    folder = _save(tmp_path / "other", _build(), _config())
    for path in folder.glob("tokenizer*"):
        path.unlink()
    with pytest.raises(InputError, match="tokenizer"):
        load_encoder(folder)
