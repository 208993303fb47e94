"""A ControlNet or a T2I-Adapter from files of its own, found, hashed, and put beside a pipeline."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from terrasynth.hub_ids import is_hub_id
from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.core.library_errors import library_errors
from terrasynth.synthesis.core.quiet import quiet
from terrasynth.synthesis.generators.components import Part, load_network
from terrasynth.synthesis.generators.network_files import CONFIG, found_or_fetched, weights_revision

if TYPE_CHECKING:
    import torch

PIPELINES = {
    ("StableDiffusionPipeline", "ControlNetModel"): ("StableDiffusionControlNetPipeline", "controlnet"),
    ("StableDiffusionXLPipeline", "ControlNetModel"): ("StableDiffusionXLControlNetPipeline", "controlnet"),
    ("StableDiffusionPipeline", "T2IAdapter"): ("StableDiffusionAdapterPipeline", "adapter"),
    ("StableDiffusionXLPipeline", "T2IAdapter"): ("StableDiffusionXLAdapterPipeline", "adapter"),
}
"""By pipeline and network: the pipeline that has both, and what it calls the network."""

KINDS = ("ControlNetModel", "T2IAdapter")


@dataclass(frozen=True)
class Control:
    """The files of a network that shows a pipeline a layout, found.

    Attributes:
        name: Hub id, or the name of a local folder.
        revision: Hash of its configuration and of the weights that are loaded.
        kind: Name of its class in diffusers, one of `KINDS`.
    """

    name: str
    revision: str
    folder: Path
    kind: str

    def pipeline(self, base: str, model: str) -> str:
        """The class of the pipeline that has both this network and those of a pipeline of class `base`.

        Args:
            model: What the user calls the pipeline.

        Raises:
            InputError: Diffusers has none.
        """
        found = PIPELINES.get((base, self.kind))
        if found is None:
            fitting = sorted({name for name, kind in PIPELINES if kind == self.kind})
            raise InputError(f"generator.control {self.name!r} is a {self.kind}, which has no place in the {base} "
                             f"{model!r}; give a {' or a '.join(fitting)} as generator.model, or leave it out")
        return found[0]


def local_control(reference: str) -> tuple[Path | None, str]:
    """Folder of such a network on this machine, and what it is called; None where it has to be one on the Hub."""
    folder = Path(os.path.expanduser(reference))
    if not os.path.isdir(folder):
        return None, reference if is_hub_id(reference.partition("@")[0]) else folder.name
    return folder, folder.resolve().name


def find_control(reference: str) -> Control:
    """Find the files of a ControlNet or a T2I-Adapter without loading them; those of the Hub are fetched, if need be.

    Args:
        reference: Folder with `config.json` and safetensors weights, or Hub id with optional @revision.

    Raises:
        InputError: There is none, it is of another kind, or its weights are missing or pickled.
    """
    what = f"generator.control {reference!r}"
    folder, name = found_or_fetched(
        reference, local_control(reference), what, "control", f"is no ControlNet or T2I-Adapter; give a folder with "
        f"its {CONFIG} and weights, or a Hub id as owner/name")
    kind = _kind_of(folder, what)
    return Control(name, weights_revision(folder, what), folder, kind)


def add_control(pipeline: Any, control: Control, dtype: torch.dtype, model: str) -> Any:  # noqa: ANN401
    """The pipeline that has the networks of `pipeline` and this one.

    Args:
        model: What the user calls the pipeline.

    Raises:
        InputError: They do not go together, or the network cannot be loaded.
    """
    import diffusers

    base = type(pipeline).__name__
    kind = getattr(diffusers, control.pipeline(base, model))
    place = PIPELINES[base, control.kind][1]

    def explain(reason: str) -> str:
        return (f"generator.control {control.name!r} cannot be loaded: {reason}; it has to be a {control.kind} of "
                "diffusers with safetensors weights: copy or save it again")

    with quiet(), library_errors(explain):
        network = load_network(control.folder, Part("network", "diffusers", control.kind), dtype,
                               f"generator.control {control.name!r}: ").eval()
        _check_fit(pipeline, network, control, model)
        return kind.from_pipe(pipeline, torch_dtype=dtype, **{place: network})


def _check_fit(pipeline: Any, network: Any, control: Control, model: str) -> None:  # noqa: ANN401
    """A ControlNet adds to what a U-Net computes at each resolution, so its widths and the text's have to be the same.

    Raises:
        InputError: They are others.
    """
    if control.kind != "ControlNetModel":
        return
    own, other = pipeline.unet.config, network.config
    for name in ("cross_attention_dim", "block_out_channels", "layers_per_block"):
        if _plain(own.get(name)) != _plain(other.get(name)):
            raise InputError(f"generator.control {control.name!r} was made for another model than {model!r}: its "
                             f"{name} is {_plain(other.get(name))}, and that of the model {_plain(own.get(name))}")


def _plain(value: Any) -> Any:  # noqa: ANN401 - of a configuration
    return list(value) if isinstance(value, list | tuple) else value


def _kind_of(folder: Path, what: str) -> str:
    try:
        kind = json.loads((folder / CONFIG).read_text(encoding="utf-8")).get("_class_name")
    except (OSError, ValueError, AttributeError, RecursionError):
        kind = None
    if not (folder / CONFIG).is_file():
        raise InputError(f"{what} has no {CONFIG}; give the folder or the Hub id of a {' or a '.join(KINDS)} of "
                         "diffusers")
    if kind not in KINDS:
        said = "says no class" if kind is None else f"says {str(kind)[:60]!r}"
        raise InputError(f"{what}: its {CONFIG} {said}; give the folder or the Hub id of a {' or a '.join(KINDS)} of "
                         "diffusers")
    return str(kind)
