"""Another autoencoder in the place of a pipeline's own."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.core.library_errors import library_errors
from terrasynth.synthesis.core.quiet import quiet
from terrasynth.synthesis.generators.autoencoders import NAMES, Autoencoder
from terrasynth.synthesis.generators.components import Part, load_network

if TYPE_CHECKING:
    import torch

CHANNELS = ("latent_channels", "z_dim")  # what configurations call the channels of a latent
MOVES = ("shift_factor", "latents_mean", "latents_std")
"""Settings by which some pipelines bring a latent to the range that an autoencoder decodes; others never read them."""
DRAWS_NOISE = "num_inference_steps"  # an argument of `decode` where it samples, as that of `ConsistencyDecoderVAE`
TELLS_SEED = r"\.decode\([^)]*\bgenerator="


def swap_autoencoder(pipeline: Any, vae: Autoencoder, dtype: torch.dtype, model: str) -> None:  # noqa: ANN401
    """Put an autoencoder in the place of a pipeline's own, as `pipeline.vae = ...` does.

    A pipeline divides its latents by the `scaling_factor` of whatever autoencoder it has, so each decodes what it was
    trained to decode. Whether the images have their size shows when one is drawn.

    Args:
        model: What the user calls the pipeline.

    Raises:
        InputError: The pipeline has none, or this one cannot be loaded, or decodes other latents.
    """
    kind = type(pipeline).__name__
    place = next((name for name in NAMES if getattr(pipeline, name, None) is not None), None)
    if place is None:
        raise InputError(f"autoencoder {vae.name!r} has no place in the {kind} {model!r}, which decodes without; leave "
                         "generator.vae out")
    network = load_autoencoder(vae, dtype)
    own, other = dict(getattr(pipeline, place).config), dict(network.config)
    asked, given = _channels(own), _channels(other)
    if asked is not None and given is not None and asked != given:
        raise InputError(f"autoencoder {vae.name!r} decodes latents of {given} channels, and the {kind} {model!r} "
                         f"draws latents of {asked}; give an autoencoder of the same latent space")
    if own.get("out_channels") != other.get("out_channels", own.get("out_channels")):
        raise InputError(f"autoencoder {vae.name!r} gives images of {other['out_channels']} channels, and that of the "
                         f"{kind} {model!r} images of {own.get('out_channels')}; give another autoencoder")
    source = _source_of(pipeline)
    if DRAWS_NOISE in inspect.signature(network.decode).parameters and not re.search(TELLS_SEED, source):
        raise InputError(f"autoencoder {vae.name!r} draws noise as it decodes, and a {kind} does not tell it the seed, "
                         "so no image would come out again; give an autoencoder that draws none")
    for name in MOVES:
        if _moves(other.get(name)) and name not in source:
            raise InputError(f"autoencoder {vae.name!r} has a {name} in its config.json, which a {kind} does not "
                             "apply, so its images would be wrong; give an autoencoder without")
    setattr(pipeline, place, network)


def load_autoencoder(vae: Autoencoder, dtype: torch.dtype) -> Any:  # noqa: ANN401 - autoencoders share no class
    """Load an autoencoder that was found.

    Raises:
        InputError: Its files cannot be read, or are of another network than its configuration describes.
    """
    def explain(reason: str) -> str:
        return (f"autoencoder {vae.name!r} cannot be loaded: {reason}; it has to be a {vae.kind} of diffusers with "
                "safetensors weights: copy or save it again")

    with quiet(), library_errors(explain):
        part = Part("network", "diffusers", vae.kind)
        return load_network(vae.folder, part, dtype, f"autoencoder {vae.name!r}: ").eval()


def _channels(config: Mapping[str, object]) -> int | None:
    return next((value for name in CHANNELS if isinstance(value := config.get(name), int)), None)


def _moves(value: object) -> bool:
    """Whether a setting says anything: a mean of 0 does not."""
    return any(value) if isinstance(value, list | tuple) else bool(value)


def _source_of(pipeline: Any) -> str:  # noqa: ANN401
    """The code of a pipeline's class, and of the classes that it is one of, with their modules."""
    modules = {kind.__module__ for kind in type(pipeline).__mro__ if kind.__module__.startswith("diffusers.pipelines.")}
    return "\n".join(inspect.getsource(sys.modules[name]) for name in sorted(modules))
