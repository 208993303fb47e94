"""Generators: what draws a picture from a prompt and a seed, and how a model reference becomes one."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from eval.models import SAMPLING_FILE
from prompts.addresses import shown
from prompts.plugins import Plugins
from synthesis.autoencoders import Autoencoder, find_autoencoder
from synthesis.conditioning import CAPTION_ALONE, Conditioning, read_conditioning
from synthesis.conditioning import FILE as CONDITIONING_FILE
from synthesis.errors import InputError, one_line
from synthesis.lora import Lora, find_lora
from synthesis.sampling import read_sampling

if TYPE_CHECKING:
    from synthesis.recipe import GeneratorSettings
    from synthesis.runtime import Runtime

WEIGHTS = Path(__file__).parent / "weights"
TOKEN_PIPELINE = "Txt2ImgMHNPipeline"  # of ours, so diffusers cannot find it by name; draws tokens, not by steps
Option = bool | int | float | str
PLUGINS = Plugins("terrasynth.generators", "generator", InputError)
log = logging.getLogger("terrasynth")


@dataclass(frozen=True)
class Drawn:
    """Pictures, and which of them the model's own safety checker withheld.

    Attributes:
        pictures: uint8 (N, H, W, 3); a withheld one is black.
        withheld: Rows that were withheld, ascending.
    """

    pictures: NDArray[np.uint8]
    withheld: tuple[int, ...] = ()


class Generator(Protocol):
    """What the pipeline asks of anything that draws.

    Attributes:
        source: Its files and settings.
        micro_batch: Images drawn at once; falls when memory runs out.
        vae_slicing: Whether latents are decoded one by one; becomes true when memory runs out.
    """

    source: GeneratorSource
    micro_batch: int
    vae_slicing: bool

    def identity(self) -> dict[str, object]:
        """JSON-able: everything that decides a picture besides prompt and seed; no paths."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of a picture in pixels."""

    @property
    def token_limit(self) -> int | None:
        """Most tokens of a prompt, or None when there is no limit."""

    def count_tokens(self, text: str) -> int:
        """Tokens of a prompt, begin and end marks included."""

    def draw(self, prompts: Sequence[str], seeds: Sequence[int]) -> Drawn:
        """Pictures; picture i depends on prompt i and seed i."""

    def generate(self, prompts: Sequence[str], seeds: Sequence[int]) -> NDArray[np.uint8]:
        """The pictures of `draw` alone, uint8 (N, H, W, 3); a withheld one is black and named in the log."""


@dataclass(frozen=True)
class GeneratorSource:
    """A generator's files, found, with the settings that decide its pictures.

    Attributes:
        name: What data set rows call it: embedded name, Hub id, or the name of a local folder; "base+lora" with a LoRA,
            and "+vae:name" at the end with another autoencoder.
        revision: Commit on the Hub, or content hash of the files; with a LoRA, "base+lora*scale", and "+vae:content" at
            the end with another autoencoder.
        folder: Where the files are.
        pipeline: Class of the pipeline.
        steps: Times the network is asked for one picture: denoising steps, or tokens.
        options: Further arguments of the pipeline's call.
        lora: Adapters that are added to the weights; None for none.
        conditioning: How a caption becomes the text that the model reads.
        latent_side: Side of the latent picture that the network was made for; None where the files do not say.
        plugin: Name of the plug-in that draws; "" for a pipeline of diffusers.
        vae: Autoencoder that takes the place of the pipeline's own; None for its own.
    """

    name: str
    revision: str
    folder: Path
    pipeline: str
    steps: int
    guidance: float
    scheduler: str
    height: int | None
    width: int | None
    options: Mapping[str, Option] = field(default_factory=dict)
    lora: Lora | None = None
    conditioning: Conditioning = field(default_factory=Conditioning)
    latent_side: int | None = None
    vae: Autoencoder | None = None
    plugin: str = ""

    @property
    def draws_tokens(self) -> bool:
        """Whether a picture is drawn token by token, so that steps, scheduler and size are the model's own."""
        return self.pipeline == TOKEN_PIPELINE

    def identity(self) -> dict[str, object]:
        """JSON-able: everything that decides a picture besides prompt and seed; no paths."""
        optional: dict[str, object] = {"options": dict(self.options)} if self.options else {}
        if self.conditioning.template != CAPTION_ALONE:
            optional["conditioning"] = self.conditioning.identity()
        return {
            "revision": self.revision,
            "steps": self.steps,
            "guidance": self.guidance,
            "scheduler": self.scheduler,
            "height": self.height,
            "width": self.width,
        } | optional


class GeneratorPlugin(Protocol):
    """A kind of generator from another package, under the entry-point group `terrasynth.generators`.

    `generator.model` is then the name of the entry point, or that name, a colon, and what the plug-in makes of it.
    """

    def find(self, settings: GeneratorSettings) -> GeneratorSource:
        """Find what draws, without loading it.

        Returns:
            Its source: `name` and `revision` go into every row and, with the settings, into the identity of a run, so
            what would draw another image has another revision; `folder` may hold a card with a licence.

        Raises:
            InputError: There is no such model, or a setting means nothing to it.
        """

    def open(self, source: GeneratorSource, runtime: Runtime) -> Generator:
        """Load it; image i of a call is decided by prompt i and seed i alone."""


def find_generator(settings: GeneratorSettings) -> GeneratorSource:
    """Find a generator's files without loading them. A Hub model that is not cached yet is fetched.

    Args:
        settings: Model and how it is asked; where steps or guidance are None, the model's own (`synthesis.sampling`).

    Raises:
        InputError: No such model, or no pipeline in it (`eval.errors.InputError` for an unknown plain name), no such
            LoRA or autoencoder, or a setting that this kind of generator does not have.
    """
    from eval import models

    reference = settings.model
    kind = reference.partition(":")[0]
    if kind in PLUGINS.names():
        if (WEIGHTS / kind).is_dir():
            raise InputError(f"a package under {PLUGINS.group} calls its generator {kind!r}, as an embedded model is "
                             "called; it needs another name")
        return replace(_plugin(kind).find(settings), plugin=kind)
    found = models.resolve(reference, [WEIGHTS])
    if found.embedded or found.local:
        folder = Path(found.location)
        name, revision = (reference if found.embedded else folder.resolve().name), models.content_hash(folder)
    else:
        folder = _fetch(found.location, found.revision)
        name, revision = found.location, folder.name
    pipeline = _pipeline_class(folder, reference)
    if pipeline == TOKEN_PIPELINE:
        if (settings.scheduler, settings.height, settings.width) != ("auto", None, None):
            raise InputError(f"model {reference!r} draws tokens: it has no scheduler and one picture size; "
                             "leave generator.scheduler, height and width out")
        if settings.lora is not None:
            raise InputError(f"model {reference!r} draws tokens, and a LoRA is for a diffusion model; "
                             "leave generator.lora out")
        if settings.vae is not None:
            raise InputError(f"model {reference!r} draws tokens, which only its own tokenizer of images decodes; "
                             "leave generator.vae out")
    added = None if settings.lora is None else find_lora(settings.lora, settings.lora_scale)
    if added is not None:
        name, revision = f"{name}+{added.name}", f"{revision}+{added.revision}*{added.scale:g}"
    other = None if settings.vae is None else find_autoencoder(settings.vae)
    if other is not None:
        name, revision = f"{name}+vae:{other.name}", f"{revision}+vae:{other.revision}"
    own = read_sampling(*([] if added is None or added.alone else [added.folder]), folder)
    steps = own.steps if settings.steps is None else settings.steps
    if pipeline == TOKEN_PIPELINE:
        steps = _number_of_tokens(folder, reference)
    return GeneratorSource(
        name, revision, folder, pipeline, steps, own.guidance if settings.guidance is None else settings.guidance,
        settings.scheduler, settings.height, settings.width, dict(settings.options), added,
        _conditioning(folder, added, settings.conditioning.gsd), _latent_side(folder), other,
    )


def _conditioning(folder: Path, lora: Lora | None, gsd: float | None) -> Conditioning:
    """What the LoRA asks for, else what the pipeline does, with the distance that a recipe names."""
    found = (lora and lora.conditioning) or read_conditioning(folder)
    if gsd is None:
        return found
    if not found.asks("gsd"):
        raise InputError(f"generator.conditioning.gsd {gsd:g} would change nothing: the model was tuned with captions "
                         f"of the form {found.template!r}; leave it out")
    return found.model_copy(update={"gsd": gsd})


def _latent_side(folder: Path) -> int | None:
    for part in ("unet", "transformer"):
        path = folder / part / "config.json"
        side = _read(path, folder.name).get("sample_size") if path.is_file() else None
        if isinstance(side, int):
            return side
    return None


def read_index(folder: Path, reference: str) -> dict[str, object]:
    """The index of a pipeline's components.

    Raises:
        InputError: There is none, or it cannot be read.
    """
    index = folder / "model_index.json"
    if not index.is_file():
        raise InputError(
            f"model {reference!r} has no model_index.json, so it is no text-to-image pipeline; "
            "give a folder saved with save_pretrained() of a diffusers pipeline"
        )
    return _read(index, reference)


def _pipeline_class(folder: Path, reference: str) -> str:
    return str(read_index(folder, reference).get("_class_name", ""))


def _number_of_tokens(folder: Path, reference: str) -> int:
    side = _read(folder / "transformer" / "config.json", reference).get("side")
    if not isinstance(side, int):
        raise InputError(f"model {reference!r}: transformer/config.json does not say 'side'; save the pipeline again")
    return side * side


def _read(path: Path, reference: str) -> dict[str, object]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"model {reference!r}: {path.name} cannot be read ({one_line(error)[:100]})") from error
    if not isinstance(content, dict):
        raise InputError(f"model {reference!r}: {path.name} is no JSON object")
    return content


def load_generator(
    reference: str,
    *,
    device: str = "auto",
    dtype: str = "auto",
    micro_batch: int | Literal["auto"] = "auto",
    exact: bool | Literal["auto"] = "auto",
    **settings: Any,  # noqa: ANN401 - those of `GeneratorSettings`
) -> Generator:
    """Load a text-to-image generator.

    Args:
        reference: Embedded name, folder, or Hub id with optional @revision.
        device: "auto" or a torch device.
        dtype: "auto", "float32", "bfloat16" or "float16".
        micro_batch: Images drawn at once; halved when memory runs out.
        exact: Draw each image in a call of its own on one thread, so that portions move no pixel; "auto" on a CPU.
        **settings: What a recipe may say under `generator` (`GeneratorSettings`): `steps`, `guidance`, `scheduler`,
            `height`, `width`, `options`, `lora`, `lora_scale`, `vae`; and `gsd`, meters a pixel that the model is told.

    Raises:
        InputError: The model, the LoRA, the autoencoder, the scheduler, the device, the dtype or an option does not
            exist, or a setting is unknown or out of range.
    """
    from synthesis.recipe import GeneratorSettings, RuntimeSettings
    from synthesis.runtime import DTYPES, Runtime

    if dtype not in ("auto", *DTYPES):
        raise InputError(f"dtype {dtype!r} is unknown; use auto, {', '.join(DTYPES)}")
    source = find_generator(GeneratorSettings.of(reference, **settings))
    runtime = RuntimeSettings.model_validate(
        {"device": device, "dtype": dtype, "micro_batch": micro_batch, "exact": exact}
    )
    return open_generator(source, Runtime.resolve(runtime, None, source.draws_tokens, source.latent_side))


def open_generator(source: GeneratorSource, runtime: Runtime) -> Generator:
    """Load the weights of a generator that was found.

    Args:
        source: Its files and settings.
        runtime: Device, precision and portions.

    Raises:
        InputError: The files are no text-to-image pipeline with safetensors weights, the LoRA or the
            autoencoder does not fit it, or the runtime cannot be had.
    """
    from synthesis.diffusers_generator import DiffusersGenerator

    if source.plugin:
        return _plugin(source.plugin).open(source, runtime)
    return DiffusersGenerator(source, runtime)


def _plugin(name: str) -> GeneratorPlugin:
    plugin: GeneratorPlugin = PLUGINS.make(name, {})
    if not all(callable(getattr(plugin, method, None)) for method in ("find", "open")):
        raise InputError(f"generator {name!r} lacks a part of the GeneratorPlugin protocol (find, open)")
    return plugin


def _fetch(identifier: str, revision: str | None) -> Path:
    from diffusers import DiffusionPipeline
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    log.warning("model %s: asking %s", identifier, shown(constants.ENDPOINT))
    try:
        index = Path(hf_hub_download(identifier, "model_index.json", revision=revision))
        if _pipeline_class(index.parent, identifier) == TOKEN_PIPELINE:
            from synthesis.mhn_pipeline import Txt2ImgMHNPipeline

            return Path(Txt2ImgMHNPipeline.download(identifier, revision=revision))
        folder = Path(DiffusionPipeline.download(identifier, revision=revision, use_safetensors=True))
        for name in (SAMPLING_FILE, CONDITIONING_FILE):  # which are ours, so that the pipeline's list lacks them
            with suppress(EntryNotFoundError):
                hf_hub_download(identifier, name, revision=folder.name)
        return folder
    except (OSError, ValueError) as error:
        raise InputError(
            f"model {identifier!r} is not embedded, not a folder, and cannot be fetched from the Hub "
            f"({one_line(error)[:160]}); run `terrasynth models` for the embedded ones"
        ) from error
