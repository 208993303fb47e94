"""Images to an autoencoder's latents, and back, in the scale that a denoiser reads and writes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def to_latents(autoencoder: Any, pixels: torch.Tensor) -> torch.Tensor:  # noqa: ANN401 - diffusers is untyped
    """Latents (N, C, h, w) of pixels (N, 3, H, W) in [-1, 1]; the mode of a posterior."""
    encoded = autoencoder.encode(pixels)
    latents = encoded.latents if hasattr(encoded, "latents") else encoded.latent_dist.mode()
    config = autoencoder.config
    scaled: torch.Tensor = (latents - (config.get("shift_factor") or 0.0)) * (config.get("scaling_factor") or 1.0)
    return scaled


def to_pixels(autoencoder: Any, latents: torch.Tensor) -> torch.Tensor:  # noqa: ANN401 - diffusers is untyped
    """Pixels (N, 3, H, W), about [-1, 1], of latents (N, C, h, w)."""
    config = autoencoder.config
    latents = latents / (config.get("scaling_factor") or 1.0) + (config.get("shift_factor") or 0.0)
    decoded: torch.Tensor = autoencoder.decode(latents).sample
    return decoded


def pixels_per_latent(autoencoder: Any) -> int:  # noqa: ANN401 - diffusers is untyped
    """Pixels of an image's side for each of a latent's."""
    config = autoencoder.config
    blocks = config.get("decoder_block_out_channels") or config["block_out_channels"]  # of an AutoencoderTiny, others
    return int(2 ** (len(blocks) - 1))
