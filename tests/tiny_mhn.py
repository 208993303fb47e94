"""A real `Txt2ImgMHNPipeline` folder, small and with random weights: everything but the quality."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diffusers import VQModel

    from terrasynth.synthesis.generators.hopfield.pipeline import Txt2ImgMHNPipeline
    from terrasynth.synthesis.generators.hopfield.transformer import HopfieldTransformer

TEXT_LENGTH = 12
CODES = 64
PATCH = 8


def tiny_vq(size: int = 32, seed: int = 0, lookup: bool = False) -> VQModel:
    """A `VQModel` with a code for each `PATCH` x `PATCH` pixels; with `lookup`, `decode` takes the codes' numbers."""
    import torch
    from diffusers import VQModel

    from tests.tiny import _seeded

    depth = PATCH.bit_length()
    with _seeded(seed):
        model = VQModel(
            block_out_channels=[8] * depth, down_block_types=["DownEncoderBlock2D"] * depth,
            up_block_types=["UpDecoderBlock2D"] * depth, latent_channels=4, vq_embed_dim=4, num_vq_embeddings=CODES,
            norm_num_groups=4, mid_block_add_attention=False, lookup_from_codebook=lookup, scaling_factor=1.0,
            sample_size=size,
        )
        # The library starts codes within 1 / K of zero: every picture would be the same grey.
        torch.nn.init.normal_(model.quantize.embedding.weight)
    return model.eval()


def tiny_latent_vq(size: int = 32, seed: int = 0) -> VQModel:
    """A `VQModel` with a code for each latent of `tiny_vae`."""
    import torch
    from diffusers import VQModel

    from tests.tiny import _seeded

    with _seeded(seed):
        model = VQModel(
            in_channels=4, out_channels=4, latent_channels=4, vq_embed_dim=4, num_vq_embeddings=CODES,
            block_out_channels=[8], down_block_types=["DownEncoderBlock2D"], up_block_types=["UpDecoderBlock2D"],
            norm_num_groups=4, mid_block_add_attention=False, lookup_from_codebook=True, scaling_factor=1.0,
            sample_size=size // PATCH,
        )
        torch.nn.init.normal_(model.quantize.embedding.weight)
    return model.eval()


def tiny_vae(seed: int = 0, kl: bool = False) -> Any:
    """An autoencoder whose latents stand for `PATCH` x `PATCH` pixels: an `AutoencoderTiny`, or an `AutoencoderKL`."""
    from diffusers import AutoencoderKL, AutoencoderTiny

    from tests.tiny import _seeded

    depth = PATCH.bit_length()
    with _seeded(seed):
        if kl:
            return AutoencoderKL(
                block_out_channels=[8] * depth, down_block_types=["DownEncoderBlock2D"] * depth,
                up_block_types=["UpDecoderBlock2D"] * depth, norm_num_groups=4, mid_block_add_attention=False,
                scaling_factor=0.5, shift_factor=0.25).eval()
        return AutoencoderTiny(encoder_block_out_channels=(8,) * depth, decoder_block_out_channels=(8,) * depth,
                               num_encoder_blocks=(1,) * depth, num_decoder_blocks=(1,) * depth).eval()


def tiny_transformer(text_vocabulary: int, size: int = 32, seed: int = 0, **options: Any) -> HopfieldTransformer:
    """Two blocks of width 32; `options` are those of `HopfieldTransformer` and go before the small values here."""
    import torch

    from terrasynth.synthesis.generators.hopfield.transformer import HopfieldTransformer
    from tests.tiny import _seeded

    small = {
        "codes": CODES, "text_length": TEXT_LENGTH, "side": size // PATCH, "patch": PATCH, "width": 32, "blocks": 2,
        "heads": 2, "head_width": 16, "prototypes": 24, "beta": 1.0,
    }
    with _seeded(seed):
        network = HopfieldTransformer(**{"text_vocabulary": text_vocabulary, **small, **options})
    with torch.no_grad():
        for block in network.layers:  # fresh blocks are almost the identity: the text would have no say in the picture
            block.lookup_scale.fill_(0.8)
            block.attention_scale.fill_(1.2)
    return network.eval()


def tiny_mhn(size: int = 32, seed: int = 0, vae: Any = None, **options: Any) -> Txt2ImgMHNPipeline:
    """A pipeline that draws `size` x `size` pictures, through the latents of `vae` where there is one.

    `options` are those of `tiny_transformer`.
    """
    from terrasynth.synthesis.generators.hopfield.pipeline import Txt2ImgMHNPipeline
    from tests.tiny import tiny_tokenizer

    tokenizer = tiny_tokenizer(int(options.get("text_length", TEXT_LENGTH)))
    transformer = tiny_transformer(len(tokenizer), size, seed, **options)
    vqvae = tiny_vq(size, seed) if vae is None else tiny_latent_vq(size, seed)
    pipeline = Txt2ImgMHNPipeline(vqvae, transformer, tokenizer, vae=vae)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def save_tiny_mhn(folder: Path, size: int = 32, seed: int = 0, **options: Any) -> Path:
    """Write `tiny_mhn` in diffusers' format, float32 `safetensors`; returns `folder`."""
    tiny_mhn(size, seed, **options).save_pretrained(folder, safe_serialization=True)
    return folder
