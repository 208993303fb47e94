"""Small real models and pictures: the libraries' own classes and file formats, random weights, milliseconds a call.

They behave like the embedded models in everything but the quality of what they say. Nothing here touches the global
random state or the network, and the same seed writes the same weights.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from transformers import CLIPTextConfig, CLIPTokenizer

SIZE = 32
TEXT_LENGTH = 24
TEXTS = (
    "a plane near the runway of an airport", "many houses in dense rows with some trees", "several boats in the harbor",
    "this is an aerial view of farmland", "two white tanks on grey ground", "there are red cars in the parking lot",
    "green grass around a diamond field of sand", "a river and a bridge", "sea water on the beach", "sparse forest",
)


def tiny_clip(folder: Path, seed: int = 0) -> Path:
    """Write a `CLIPModel` (two vision transformer layers, 32 px) with tokenizer and preprocessing; returns `folder`."""
    from transformers import CLIPConfig, CLIPModel, CLIPVisionConfig

    tokenizer = tiny_tokenizer()
    vision = CLIPVisionConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, image_size=SIZE,
        patch_size=8, projection_dim=16,
    )
    config = CLIPConfig(
        text_config=_text_config(tokenizer).to_dict(), vision_config=vision.to_dict(), projection_dim=16
    )
    with _seeded(seed):
        model = CLIPModel(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    _write_preprocessor(folder)
    return folder


def tiny_dual_encoder(folder: Path, seed: int = 0) -> Path:
    """Write a `VisionTextDualEncoderModel` with a convolutional tower, tokenizer and preprocessing."""
    from transformers import VisionTextDualEncoderConfig, VisionTextDualEncoderModel

    from terrasynth.eval.models.residual_tower import PooledResNetConfig

    tokenizer = tiny_tokenizer()
    vision = PooledResNetConfig(embedding_size=8, hidden_sizes=[8, 24], depths=[1, 1], layer_type="basic")
    config = VisionTextDualEncoderConfig.from_vision_text_configs(vision, _text_config(tokenizer), projection_dim=16)
    with _seeded(seed):
        model = VisionTextDualEncoderModel(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    _write_preprocessor(folder)
    return folder


def tiny_scene(folder: Path, labels: Sequence[str], seed: int = 0) -> Path:
    """Write a `ResNetForImageClassification` over `labels` with preprocessing; returns `folder`."""
    from transformers import ResNetConfig, ResNetForImageClassification

    config = ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic",
        id2label=dict(enumerate(labels)), label2id={label: number for number, label in enumerate(labels)},
    )
    with _seeded(seed):
        model = ResNetForImageClassification(config)
    model.save_pretrained(folder)
    _write_preprocessor(folder)
    return folder


def tiny_vit_classifier(folder: Path, labels: Sequence[str], seed: int = 0) -> Path:
    """Write a `ViTForImageClassification` over `labels`, whose backbone pools nothing, with preprocessing."""
    from transformers import ViTConfig, ViTForImageClassification

    config = ViTConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, image_size=SIZE,
        patch_size=8, id2label=dict(enumerate(labels)), label2id={label: number for number, label in enumerate(labels)},
    )
    with _seeded(seed):
        model = ViTForImageClassification(config)
    model.save_pretrained(folder)
    _write_preprocessor(folder)
    return folder


def tiny_segmenter(folder: Path, seed: int = 0) -> Path:
    """Write a `SegformerForSemanticSegmentation` of the six classes of a land-cover map, with preprocessing."""
    from terrasynth.training.families.segmenter import SegmenterSettings, network

    with _seeded(seed):
        model = network(SegmenterSettings(masks="", widths=(8, 8, 8, 8), depths=(1, 1, 1, 1), decoder=8))
    model.save_pretrained(folder)
    _write_preprocessor(folder)
    return folder


def tiny_tokenizer(length: int = TEXT_LENGTH) -> CLIPTokenizer:
    """CLIP's byte-level BPE with the words of `TEXTS` as tokens; any other word falls back to pieces and bytes."""
    from tokenizers.pre_tokenizers import ByteLevel
    from tokenizers.trainers import BpeTrainer
    from transformers import CLIPTokenizer

    symbols = sorted(ByteLevel.alphabet())
    pipeline = CLIPTokenizer().backend_tokenizer
    ends = [symbol + "</w>" for symbol in symbols]
    pipeline.train_from_iterator(
        TEXTS, BpeTrainer(vocab_size=2000, end_of_word_suffix="</w>", initial_alphabet=symbols, special_tokens=ends,
                          show_progress=False)
    )
    model = json.loads(pipeline.to_str())["model"]
    learned = sorted(model["vocab"], key=model["vocab"].__getitem__)
    tokens = dict.fromkeys([*symbols, *ends, *learned])
    specials = ("<|startoftext|>", "<|endoftext|>")  # last: CLIP's pooling looks for the highest id
    ordered = [*(token for token in tokens if token not in specials), *specials]
    vocab = {token: number for number, token in enumerate(ordered)}
    return CLIPTokenizer(
        vocab=vocab, merges=[tuple(merge) for merge in model["merges"]], model_max_length=length
    )


def tiny_pictures(n: int, size: int = SIZE, seed: int = 0) -> np.ndarray:
    """`n` different pictures `uint8` (n, size, size, 3): coloured grounds, stripes and blobs of many scales, noise."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[0:size, 0:size] / size
    pictures = np.empty((n, size, size, 3), np.uint8)
    for picture in pictures:
        ground, paint = generator.uniform(20, 235, (2, 3))
        angle, waves, phase = generator.uniform(0, [np.pi, 6, 2 * np.pi])
        stripes = 0.5 + 0.5 * np.sin(2 * np.pi * waves * (x * np.cos(angle) + y * np.sin(angle)) + phase)
        coarse = generator.integers(0, 256, (int(generator.integers(2, 9)),) * 2, dtype=np.uint8)
        blobs = np.asarray(Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC)) / 255
        share = generator.uniform()
        mask = (share * stripes + (1 - share) * blobs)[..., None]
        noise = generator.normal(0, generator.uniform(1, 12), (size, size, 3))
        picture[...] = np.clip(ground * (1 - mask) + paint * mask + noise, 0, 255)
    return pictures


def labeled(folder: Path, classes: Sequence[str]) -> Path:
    """A data set of 60 pictures, 40 px wide, with classes in turn: 20 each of `train`, `val` and `test`."""
    folder.mkdir()
    with (folder / "pairs.jsonl").open("w") as file:
        for number, picture in enumerate(tiny_pictures(60, size=40)):
            Image.fromarray(picture).save(folder / f"{number}.png")
            row = {"file": f"{number}.png", "class": classes[number % len(classes)], "captions": ["a place"],
                   "split": ("train", "val", "test")[number // 20]}
            file.write(json.dumps(row) + "\n")
    return folder


def _text_config(tokenizer: CLIPTokenizer) -> CLIPTextConfig:
    from transformers import CLIPTextConfig

    return CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=tokenizer.model_max_length, projection_dim=16,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )


def _write_preprocessor(folder: Path) -> None:
    content = {
        "image_processor_type": "CLIPImageProcessor",
        "do_resize": True, "size": {"height": SIZE, "width": SIZE}, "resample": 3,
        "do_center_crop": False, "do_convert_rgb": True,
        "do_rescale": True, "rescale_factor": 1 / 255,
        "do_normalize": True, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5],
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(content, indent=2) + "\n")


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Initialise weights from `seed` without leaving a trace in the global random state."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
