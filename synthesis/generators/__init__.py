"""From a model reference to images: find it, hash it, load it, place it on a device, draw."""

__all__ = [
    "autoencoder_swap", "autoencoders", "base", "components", "conditions", "control", "finding", "hopfield", "latents",
    "lora", "model_index", "runtime", "steps", "token_limits", "tuned_for",
]
