"""Generators: what draws an image from a prompt and a seed, and how a model reference becomes one."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from terrasynth.eval.models.references import SAMPLING_FILE
from terrasynth.hub_ids import meant
from terrasynth.prompts.addresses import shown
from terrasynth.prompts.layouts.palettes import palettes
from terrasynth.prompts.plugins import Plugins
from terrasynth.synthesis.core.embedded import WEIGHTS
from terrasynth.synthesis.core.errors import InputError, one_line
from terrasynth.synthesis.core.sampling import read_sampling
from terrasynth.synthesis.generators.autoencoders import find_autoencoder
from terrasynth.synthesis.generators.base import TOKEN_PIPELINE, Generator, GeneratorPlugin, GeneratorSource, Option
from terrasynth.synthesis.generators.conditions.caption import FILE as CONDITIONING_FILE
from terrasynth.synthesis.generators.conditions.caption import Conditioning, read_conditioning, read_tuned
from terrasynth.synthesis.generators.conditions.layout import BOXED_SHARE, BOXES, MAPS, USUAL_SHARE, LayoutReading
from terrasynth.synthesis.generators.control import Control, find_control
from terrasynth.synthesis.generators.lora import Lora, find_lora
from terrasynth.synthesis.generators.model_index import read_index, read_json

if TYPE_CHECKING:
    from terrasynth.synthesis.generators.runtime import Runtime
    from terrasynth.synthesis.recipe import GeneratorSettings

PLUGINS = Plugins("terrasynth.generators", "generator", InputError)
log = logging.getLogger("terrasynth")


def find_generator(settings: GeneratorSettings) -> GeneratorSource:
    """Find a generator's files without loading them. A Hub model that is not cached yet is fetched.

    Args:
        settings: Model and how it is asked; where steps or guidance are None, the model's own
            (`terrasynth.synthesis.core.sampling`), and where height or width is, the size that it was tuned at.

    Raises:
        InputError: No such model, or no pipeline in it (`terrasynth.eval.errors.InputError` for an unknown plain name),
            no such LoRA or autoencoder, or a setting that this kind of generator does not have.
    """
    from terrasynth.eval.models import references as models

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
            raise InputError(f"model {reference!r} draws tokens: it has no scheduler and one image size; "
                             "leave generator.scheduler, height and width out")
        if settings.lora is not None:
            raise InputError(f"model {reference!r} draws tokens, and a LoRA is for a diffusion model; "
                             "leave generator.lora out")
        if settings.control is not None:
            raise InputError(f"model {reference!r} draws tokens, and generator.control is for a diffusion model; leave "
                             "it out")
        if settings.vae is not None:
            raise InputError(f"model {reference!r} draws tokens, which only its own tokenizer of images decodes; "
                             "leave generator.vae out")
    added = None if settings.lora is None else find_lora(settings.lora, settings.lora_scale)
    if added is not None:
        name, revision = f"{name}+{added.name}", f"{revision}+{added.revision}*{added.scale:g}"
    other = None if settings.vae is None else find_autoencoder(settings.vae)
    if other is not None:
        name, revision = f"{name}+vae:{other.name}", f"{revision}+vae:{other.revision}"
    control = None if settings.control is None else find_control(settings.control)
    if control is not None:
        pipeline = control.pipeline(pipeline, reference)
        name, revision = f"{name}+control:{control.name}", f"{revision}+control:{control.revision}"
    own = read_sampling(*([] if added is None or added.alone else [added.folder]), folder)
    steps = own.steps if settings.steps is None else settings.steps
    if pipeline == TOKEN_PIPELINE:
        steps = _number_of_tokens(folder, reference)
    side = (read_tuned(folder) if added is None else added.tuned).size  # what was tuned at a size draws that size
    conditioning = _conditioning(folder, added, settings.conditioning.gsd)
    layout = _layout(settings, pipeline, steps, conditioning, control, folder)
    return GeneratorSource(
        name, revision, folder, pipeline, steps, own.guidance if settings.guidance is None else settings.guidance,
        settings.scheduler, side if settings.height is None else settings.height,
        side if settings.width is None else settings.width, dict(settings.options), added,
        conditioning, _latent_side(folder), other, control=control, layout=layout,
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


def _layout(settings: GeneratorSettings, pipeline: str, steps: int, own: Conditioning, control: Control | None,
            folder: Path) -> LayoutReading | None:
    """How a pipeline is shown layouts: as the recipe says, else as the files beside its weights do.

    Raises:
        InputError: It is shown none, or nothing says in which colors.
    """
    reference, asked, options = settings.model, settings.conditioning.layout, settings.options
    if pipeline not in MAPS:
        if asked is not None:
            what = "boxes with words" if pipeline == BOXES else "texts alone"
            raise InputError(f"generator.conditioning.layout would change nothing: model {reference!r} reads {what}; "
                             "leave it out")
        if pipeline == BOXES:
            _check_boxed(steps, options.get(BOXED_SHARE, USUAL_SHARE), reference)
        return LayoutReading(None) if pipeline == BOXES else None
    beside = None if control is None else read_conditioning(control.folder).layout
    colors = asked or beside or own.layout or read_conditioning(folder).layout
    if colors is None:
        raise InputError(f"model {reference!r} is shown a layout as a map, and nothing says in which colors; set "
                         f"generator.conditioning.layout to {', '.join(palettes())}, or to colors by class")
    return LayoutReading(colors)


def _check_boxed(steps: int, share: Option, reference: str) -> None:
    """Refuse so few steps that the pipeline would look at its boxes in none of them."""
    if isinstance(share, int | float) and int(share * steps) < 1:
        raise InputError(f"model {reference!r} looks at boxes in the first {share:g} of {steps} steps, which is none; "
                         f"set generator.steps or generator.options.{BOXED_SHARE} higher")


def _latent_side(folder: Path) -> int | None:
    for part in ("unet", "transformer"):
        path = folder / part / "config.json"
        side = read_json(path, folder.name).get("sample_size") if path.is_file() else None
        if isinstance(side, int):
            return side
    return None


def _pipeline_class(folder: Path, reference: str) -> str:
    return str(read_index(folder, reference).get("_class_name", ""))


def _number_of_tokens(folder: Path, reference: str) -> int:
    side = read_json(folder / "transformer" / "config.json", reference).get("side")
    if not isinstance(side, int):
        raise InputError(f"model {reference!r}: transformer/config.json does not say 'side'; save the pipeline again")
    return side * side


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
            `height`, `width`, `options`, `lora`, `lora_scale`, `vae`, `control`; `gsd`, meters a pixel that the model
            is told; and `layout`, in which colors it is shown a layout.

    Raises:
        InputError: The model, the LoRA, the autoencoder, the scheduler, the device, the dtype or an option does not
            exist, or a setting is unknown or out of range.

    Example:
        >>> from terrasynth import load_generator
        >>> generator = load_generator("ldm-ucm", steps=1)
        >>> images = generator.generate(["A dense forest."], seeds=[0])
        >>> images.shape, images.dtype
        ((1, 128, 128, 3), dtype('uint8'))
    """
    from terrasynth.synthesis.generators.runtime import DTYPES, Runtime
    from terrasynth.synthesis.recipe import GeneratorSettings, Recipe

    if dtype not in ("auto", *DTYPES):
        raise InputError(f"dtype {dtype!r} is unknown; use auto, {', '.join(DTYPES)}")
    source = find_generator(GeneratorSettings.of(reference, **settings))
    asked = {"device": device, "dtype": dtype, "micro_batch": micro_batch, "exact": exact}
    runtime = Recipe.parse({"generator": {"model": reference}, "runtime": asked}).runtime
    return open_generator(source, Runtime.resolve(runtime, None, source.draws_tokens, source.latent_side))


def open_generator(source: GeneratorSource, runtime: Runtime) -> Generator:
    """Load the weights of a generator that was found.

    Raises:
        InputError: The files are no text-to-image pipeline with safetensors weights, the LoRA or the
            autoencoder does not fit it, or the runtime cannot be had.
    """
    if source.plugin:
        return _plugin(source.plugin).open(source, runtime)
    from terrasynth.synthesis.generators.diffusion import DiffusersGenerator

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
            from terrasynth.synthesis.generators.hopfield.pipeline import Txt2ImgMHNPipeline

            return Path(Txt2ImgMHNPipeline.download(identifier, revision=revision))
        folder = Path(DiffusionPipeline.download(identifier, revision=revision, use_safetensors=True))
        for name in (SAMPLING_FILE, CONDITIONING_FILE):  # which are ours, so that the pipeline's list lacks them
            with suppress(EntryNotFoundError):
                hf_hub_download(identifier, name, revision=folder.name)
        return folder
    except (OSError, ValueError) as error:
        raise InputError(
            f"model {identifier!r} is not embedded, not a folder{meant(identifier)}, and cannot be fetched from the "
            f"Hub ({one_line(error, 160)}); name a folder that holds it (of a recipe by --set generator.model=FOLDER), "
            "or run `terrasynth models` for the embedded ones"
        ) from error
