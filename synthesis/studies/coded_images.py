"""Real images as the autoencoder of a run gives them back: no denoiser can make its decoder do better."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from terrasynth.synthesis.core import layout
from terrasynth.synthesis.core.errors import InputError, RunError, one_line
from terrasynth.synthesis.core.quiet import quiet
from terrasynth.synthesis.generators.autoencoders import NAMES, cached_autoencoder

if TYPE_CHECKING:
    from terrasynth.eval.evaluation.figures import NotMeasured
    from terrasynth.eval.evaluation.realism import CodedImages
    from terrasynth.synthesis.ledger.directory import RunDirectory

AT_ONCE = 4
LIBRARY = "diffusers"


def coded_images(run: Path, images: NDArray[np.uint8]) -> CodedImages | NotMeasured | None:
    """Code and decode real images with the autoencoder that decoded the images of a run.

    It is the generator's own, or the one that the recipe names instead. Nothing is fetched: one that is no longer on
    this machine, or is another by now, is not measured.

    Args:
        images: `uint8` (M, H, W, 3), at the size of the run's images.

    Raises:
        InputError: The recipe of the run is damaged.
        RunError: Its identity is.

    Returns:
        What came back, or why nothing did; None where the folder is no run, so that nobody knows its generator.
    """
    from terrasynth.eval.evaluation.figures import NotMeasured
    from terrasynth.eval.evaluation.realism import CODED, CodedImages
    from terrasynth.synthesis.ledger.directory import RunDirectory

    if not (run / layout.RECIPE).is_file() or not (run / layout.IDENTITY).is_file():
        return None
    nothing: dict[str, object] = {"kind": "autoencoder of the generator"}
    record = RunDirectory.open(run)
    try:
        networks, called, revision = _autoencoder_of(record)
        coded = np.concatenate([_code(networks, images[start:start + AT_ONCE])
                                for start in range(0, len(images), AT_ONCE)])
        if coded.shape != images.shape:
            raise InputError(f"it gives images of {coded.shape[2]} x {coded.shape[1]} px for those of "
                             f"{images.shape[2]} x {images.shape[1]} px")
    except InputError as error:
        return NotMeasured(CODED, one_line(error, 300), nothing)
    except RunError:
        raise
    except (ValueError, KeyError, TypeError, OSError, RuntimeError) as error:  # whose messages may hold paths
        return NotMeasured(CODED, f"the autoencoder of the generator cannot be used ({type(error).__name__})", nothing)
    return CodedImages(coded, {"model": called, "content": revision})


def _autoencoder_of(record: RunDirectory) -> tuple[list[Any], str, str]:
    """What decoded a run's images, loaded, as `_autoencoder` gives it; what it is called, and the hash of its files."""
    generator, recorded = record.recipe.generator, str(record.parts["generator"]["revision"])
    if generator.vae is None:
        folder, name, revision = _generator(generator.model, recorded)
        networks, part = _autoencoder(folder, name)
        return networks, f"{name} ({part})", revision
    import torch

    from terrasynth.synthesis.generators.components import Part, load_network

    found = cached_autoencoder(generator.vae)
    if not recorded.endswith(f"+vae:{found.revision}"):
        raise InputError(f"the files of the autoencoder {found.name!r} have changed since it drew the run")
    network_part, whose = Part("network", LIBRARY, found.kind), f"the autoencoder {found.name!r}: "
    with quiet():
        network = load_network(found.folder, network_part, torch.float32, whose)
    return [network.eval()], f"{found.name} (generator.vae)", found.revision


def _generator(reference: str, revision: str) -> tuple[Path, str, str]:
    """Folder, name and revision of a generator's files, without its LoRA, which changes no autoencoder."""
    from huggingface_hub import try_to_load_from_cache

    from terrasynth.eval.models import references as models
    from terrasynth.synthesis.core.embedded import WEIGHTS

    revision = revision.partition("+")[0]
    try:
        found = models.resolve(reference, [WEIGHTS])
    except ValueError as error:
        raise InputError(f"the generator {Path(reference).name!r} is not on this machine") from error
    if found.local:
        if models.content_hash(found.folder) != revision:
            raise InputError(f"the files of the generator {found.folder.name!r} have changed since it drew the run")
        return found.folder, reference if found.embedded else found.folder.resolve().name, revision
    index = try_to_load_from_cache(found.location, "model_index.json", revision=revision)
    if not isinstance(index, str):
        raise InputError(f"the generator {found.location!r} at {revision[:12]} is not in the cache of this machine")
    return Path(index).parent, found.location, revision


def _autoencoder(folder: Path, name: str) -> tuple[list[Any], str]:
    """The networks that an image passes through, the outer first, and what they are called.

    A generator of tokens may have two: the autoencoder, and the tokenizer of its latents.
    """
    import torch

    from terrasynth.synthesis.generators.base import TOKEN_PIPELINE
    from terrasynth.synthesis.generators.components import load_networks, parts_of
    from terrasynth.synthesis.generators.model_index import read_index

    index = read_index(folder, name)
    found = {part.name: part for part in parts_of(index, name) if part.name in NAMES and part.library == LIBRARY}
    if not found:
        raise InputError(f"the generator {name!r} has no autoencoder of diffusers")
    named = [each for each in NAMES if each in found] if index.get("_class_name") == TOKEN_PIPELINE else [*found][:1]
    with quiet():
        networks = load_networks(folder, [found[each] for each in named], torch.float32, name)
    if missing := [each for each in named if networks.get(each) is None]:
        raise InputError(f"the generator {name!r} has no {missing[0]}")
    return [networks[each].eval() for each in named], " and ".join(named)


def _code(networks: Sequence[Any], images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    import torch

    from terrasynth.synthesis.generators.latents import to_latents, to_pixels

    outer, *inner = networks
    pixels = torch.from_numpy(images.transpose(0, 3, 1, 2).astype(np.float32) / 127.5 - 1)
    with torch.no_grad():
        if inner:
            decoded = to_pixels(outer, inner[0](to_latents(outer, pixels)).sample)
        else:  # scaling and back would round
            answer = outer.encode(pixels)
            latents = answer.latent_dist.mode() if hasattr(answer, "latent_dist") else answer.latents
            decoded = outer.decode(latents).sample
    levels: NDArray[np.uint8] = np.rint((decoded.clamp(-1, 1).numpy() + 1) * 127.5).astype(np.uint8)
    return levels.transpose(0, 2, 3, 1)
