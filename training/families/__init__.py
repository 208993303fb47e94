"""One file a kind of model: its network, its losses, its settings."""

__all__ = [
    "autoencoder", "autoencoder_distil_run", "captioner", "captioner_card", "clip", "decoder", "diffusion", "hopfield",
    "latent_vq", "perception", "scene", "segmenter", "vq",
]
