"""A real `StableDiffusionPipeline` folder, small and with random weights: everything but the quality."""

from __future__ import annotations

from pathlib import Path

TEXT_LENGTH = 77


def tiny_sd(folder: Path, seed: int = 0, size: int = 32) -> Path:
    """Write a pipeline that draws `size` x `size` pictures (latents a half of that); returns `folder`."""
    import torch
    from diffusers import AutoencoderKL, DPMSolverMultistepScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    from tests.tiny import tiny_tokenizer

    tokenizer = tiny_tokenizer(TEXT_LENGTH)
    before = torch.random.get_rng_state()
    torch.manual_seed(seed)
    text = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=TEXT_LENGTH,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    unet = UNet2DConditionModel(
        sample_size=size // 2,
        in_channels=4,
        out_channels=4,
        block_out_channels=(32, 32),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        mid_block_type=None,
        up_block_types=("UpBlock2D", "UpBlock2D"),
        cross_attention_dim=32,
        attention_head_dim=8,
        norm_num_groups=8,
    )
    vae = AutoencoderKL(
        block_out_channels=(16, 16),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=size,
    )
    torch.random.set_rng_state(before)
    StableDiffusionPipeline(
        vae=vae,
        text_encoder=text,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=DPMSolverMultistepScheduler(beta_schedule="scaled_linear", steps_offset=1),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder, safe_serialization=True)
    return folder


def tiny_autoencoder(folder: Path, seed: int = 0, blocks: int = 2, **settings: object) -> Path:
    """Write an `AutoencoderTiny` for latents of 4 channels and a side of 1 / 2 ** (blocks - 1); returns `folder`."""
    import torch
    from diffusers import AutoencoderTiny

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        AutoencoderTiny(
            encoder_block_out_channels=(8,) * blocks, decoder_block_out_channels=(8,) * blocks,
            num_encoder_blocks=(1,) * blocks, num_decoder_blocks=(1,) * blocks, **settings,
        ).save_pretrained(folder)
    return folder
