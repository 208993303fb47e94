"""Tiny real backbones of each architecture that gives features, in the file formats of their libraries."""

from __future__ import annotations

import json

import torch

SIZE = 32
PROCESSOR = {
    "do_resize": True, "size": {"height": SIZE, "width": SIZE}, "resample": 3, "do_center_crop": False,
    "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True,
    "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225],
}
TRANSFORMER = {
    "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48, "mlp_ratio": 2,
    "image_size": SIZE, "patch_size": 8,
}


def _models():
    import transformers as t

    return {
        "dinov2": lambda: t.Dinov2Model(t.Dinov2Config(**TRANSFORMER)),
        "dinov2_with_registers": lambda: t.Dinov2WithRegistersModel(
            t.Dinov2WithRegistersConfig(**TRANSFORMER, num_register_tokens=3)
        ),
        "vit": lambda: t.ViTModel(t.ViTConfig(**TRANSFORMER)),
        "vit classifier": lambda: t.ViTForImageClassification(t.ViTConfig(**TRANSFORMER)),
        "resnet": lambda: t.ResNetModel(t.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1])),
        "resnet classifier": lambda: t.ResNetForImageClassification(
            t.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic")
        ),
        "convnext": lambda: t.ConvNextModel(t.ConvNextConfig(hidden_sizes=[8, 12, 16, 20], depths=[1, 1, 1, 1])),
        "convnextv2": lambda: t.ConvNextV2Model(t.ConvNextV2Config(hidden_sizes=[8, 12, 16, 20], depths=[1, 1, 1, 1])),
        "swin": lambda: t.SwinModel(t.SwinConfig(
            image_size=SIZE, patch_size=4, embed_dim=8, depths=[1, 1], num_heads=[2, 2], window_size=4,
        )),
    }


ARCHITECTURES = tuple(_models())


def write_backbone(name, folder):
    """Write one of `ARCHITECTURES` with its preprocessing; weights and normalisations start at random values."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = _models()[name]()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += 0.05 * torch.randn_like(parameter)
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
    return folder


def write_siglip(folder, second=False, naflex=False):
    """Write a `SiglipModel` with a tokenizer that pads, of SigLIP 2's class where `second`, or a `Siglip2Model`."""
    import transformers as t
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    words = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "a", "plane", "many", "houses", "sea", "water", "on"]
    if second:
        tokenizer = t.Siglip2Tokenizer(vocab={**{word: row for row, word in enumerate(words)}}, merges=[],
                                       model_max_length=16)
    else:
        core = Tokenizer(models.WordLevel({word: row for row, word in enumerate(words)}, unk_token="<unk>"))
        core.normalizer, core.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.Whitespace()
        core.post_processor = processors.TemplateProcessing(single="$A <eos>", special_tokens=[("<eos>", 1)])
        tokenizer = t.PreTrainedTokenizerFast(
            tokenizer_object=core, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>", model_max_length=16,
        )
    tower = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
    text = {**tower, "vocab_size": len(tokenizer), "max_position_embeddings": 16, "projection_size": 24}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if naflex:
            vision = {**tower, "patch_size": 8, "num_patches": 16}
            model = t.Siglip2Model(t.Siglip2Config(text_config=text, vision_config=vision))
        else:
            vision = {**tower, "patch_size": 8, "image_size": SIZE}
            model = t.SiglipModel(t.SiglipConfig(text_config=text, vision_config=vision))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    half = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "image_processor_type": "SiglipImageProcessor"}
    flexible = {"image_processor_type": "Siglip2ImageProcessor", "patch_size": 8, "max_num_patches": 16, "resample": 2}
    (folder / "preprocessor_config.json").write_text(json.dumps(flexible if naflex else PROCESSOR | half))
    return folder
