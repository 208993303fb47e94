"""Small real captioners: ours with random weights, and three kinds of `transformers`; a call takes milliseconds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from terrasynth.training.running.saving import save_model
from tests.tiny import SIZE, _seeded, _write_preprocessor, tiny_scene, tiny_tokenizer

WORDS = ("a", "boat", "boats", "harbor", "in", "the", "two", "road", "trees", "and")


def tiny_captioner(folder: Path, styles: Sequence[str] = ("rsicd", "ucm"), seed: int = 0) -> Path:
    """Write a captioner of ours over a small scene classifier, which lies beside it; returns `folder`."""
    from terrasynth.eval.models.caption_network import CaptionerConfig, CaptionerModel
    from terrasynth.eval.models.captioners import load_grid_encoder

    below = tiny_scene(folder.with_name(f"{folder.name}-encoder"), ("beach", "forest"))
    encoder = load_grid_encoder(str(below))
    places = encoder.grid(torch.zeros(1, SIZE, SIZE, 3, dtype=torch.uint8).numpy()).shape
    with _seeded(seed):
        model = CaptionerModel(CaptionerConfig(
            str(below), encoder.identity(), features=places[2], places=places[1], width=16, layers=1, heads=2,
            hidden=16, length=8, styles=styles, words=WORDS))
        with torch.no_grad():
            model.bias.normal_(std=0.5)
            model.place.normal_()
    save_model(model, folder)
    return folder


def tiny_blip(folder: Path, seed: int = 0) -> Path:
    """Write a `BlipForConditionalGeneration` with tokenizer and preprocessing; returns `folder`."""
    from transformers import BlipConfig, BlipForConditionalGeneration

    tokenizer = tiny_tokenizer()
    ends = {"bos_token_id": tokenizer.bos_token_id, "sep_token_id": tokenizer.eos_token_id,
            "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.eos_token_id}
    text = {"vocab_size": len(tokenizer), "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
            "num_attention_heads": 2, "encoder_hidden_size": 16, "max_position_embeddings": 64, **ends}
    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
              "image_size": SIZE, "patch_size": 8}
    with _seeded(seed):
        model = BlipForConditionalGeneration(BlipConfig(text_config=text, vision_config=vision, projection_dim=8))
    return _save(model, folder)


def tiny_git(folder: Path, seed: int = 0) -> Path:
    """Write a `GitForCausalLM` with tokenizer and preprocessing; returns `folder`."""
    from transformers import GitConfig, GitForCausalLM

    tokenizer = tiny_tokenizer()
    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
              "image_size": SIZE, "patch_size": 8}
    with _seeded(seed):
        model = GitForCausalLM(GitConfig(
            vision_config=vision, vocab_size=len(tokenizer), hidden_size=16, intermediate_size=16, num_hidden_layers=1,
            num_attention_heads=2, max_position_embeddings=64, bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.eos_token_id))
    return _save(model, folder)


def tiny_vision_encoder_decoder(folder: Path, seed: int = 0) -> Path:
    """Write a `VisionEncoderDecoderModel` of ViT and GPT-2 with tokenizer and preprocessing; returns `folder`."""
    from transformers import GPT2Config, VisionEncoderDecoderConfig, VisionEncoderDecoderModel, ViTConfig

    tokenizer = tiny_tokenizer()
    vision = ViTConfig(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
                       image_size=SIZE, patch_size=8)
    text = GPT2Config(vocab_size=len(tokenizer), n_embd=16, n_layer=1, n_head=2, n_positions=64,
                      add_cross_attention=True, bos_token_id=tokenizer.bos_token_id,
                      eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.eos_token_id)
    config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(vision, text)
    config.decoder_start_token_id, config.pad_token_id = tokenizer.bos_token_id, tokenizer.eos_token_id
    with _seeded(seed):
        model = VisionEncoderDecoderModel(config=config)
    model.generation_config.decoder_start_token_id = tokenizer.bos_token_id
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.eos_token_id
    return _save(model, folder)


def _save(model: torch.nn.Module, folder: Path) -> Path:
    model.save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    _write_preprocessor(folder)
    return folder
