"""The networks of a diffusers pipeline, loaded one by one, so that what a library says about their weights is heard.

A pipeline's own `from_pretrained` loads its networks and drops what they report: layers without weights keep random
numbers, and weights without a layer are left out, both with a remark in the log.
"""

from __future__ import annotations

import importlib
import logging
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from terrasynth.synthesis.core.errors import InputError

if TYPE_CHECKING:
    import torch

# Where the network of Txt2Img-MHN is, and its name in pipelines that were saved before `terrasynth` was the one name.
OWN_LIBRARIES = ("terrasynth.synthesis.generators.hopfield.transformer", "synthesis.hopfield_transformer")
LEFT_OUT = ("safety_checker", "feature_extractor", "image_encoder")
"""Components that pipelines draw without, so that a folder may lack them although its index names them."""

PREFERRED = ("fp32", "bf16", "fp16")
_WEIGHTS = re.compile(r"(?:diffusion_pytorch_)?model(?:\.safetensors\.index)?"
                      r"(?:\.(?P<variant>[^./-]+))?(?:-\d{5}-of-\d{5})?\.(?:safetensors|json)")
log = logging.getLogger("terrasynth")


@dataclass(frozen=True)
class Part:
    """A component of a pipeline, as its index names it.

    Attributes:
        name: Its name in the pipeline, which is that of its folder.
        library: Package, or module of diffusers' pipelines, that has its class.
    """

    name: str
    library: str
    kind: str


def parts_of(index: Mapping[str, object], reference: str) -> list[Part]:
    """The components that an index names; those that are null are left out.

    Raises:
        InputError: A component is of a library that no pipeline of diffusers is made of: loading it would import
            whatever has that name.
    """
    from diffusers import pipelines

    found = []
    for name, value in index.items():
        if not isinstance(value, list) or len(value) != 2 or not all(isinstance(each, str) for each in value):
            continue
        library, kind = value
        if library not in ("diffusers", "transformers", *OWN_LIBRARIES) and not hasattr(pipelines, library):
            raise InputError(f"model {reference!r}: model_index.json takes {name} from {library!r}, which is neither "
                             "diffusers nor transformers; only their components are loaded")
        found.append(Part(name, library, kind))
    return found


def load_networks(folder: Path, parts: Iterable[Part], dtype: torch.dtype, reference: str) -> dict[str, Any]:
    """Load the networks of a pipeline; what has no weights is left to the pipeline.

    Args:
        reference: What the user calls the model.

    Returns:
        By component name; None for one of `LEFT_OUT` of which there is nothing.

    Raises:
        InputError: A component is missing, or a network's weights are of another network, in part or wholly.
    """
    from diffusers import ModelMixin
    from transformers import PreTrainedModel

    loaded: dict[str, Any] = {}
    for part in parts:
        place = folder / part.name
        if part.name in LEFT_OUT and not place.is_dir():
            log.warning("model %s comes without the %s that its index names; it draws without", reference, part.name)
            loaded[part.name] = None
            continue
        if not place.is_dir():
            raise InputError(missing_part(part, f"model {reference!r}"))
        kind = _class_of(part)
        if kind is None or not issubclass(kind, ModelMixin | PreTrainedModel):
            continue
        loaded[part.name] = load_network(place, part, dtype, f"model {reference!r}: ")
    return loaded


def missing_part(part: Part, whose: str) -> str:
    """What is said of a pipeline without a component that its index names."""
    return (f"{whose} has no folder {part.name}, though its model_index.json names one (a {part.kind}); copy the model "
            "whole, or save it again with save_pretrained()")


def load_network(place: Path, part: Part, dtype: torch.dtype, whose: str) -> Any:  # noqa: ANN401 - of any library
    """Load one network whole.

    Args:
        part: Its class, and what messages call it.
        whose: Begins the messages.

    Raises:
        InputError: The weights are of another network, in part or wholly.
    """
    from diffusers import ModelMixin
    from transformers import PreTrainedModel

    kind = _class_of(part)
    variant = variant_of([path.name for path in place.iterdir()], f"{whose}{part.name}")
    if variant is not None:
        log.info("%s%s has weights of the variant %s alone", whose, part.name, variant)
    network, info = kind.from_pretrained(
        str(place), use_safetensors=True, variant=variant, local_files_only=True, output_loading_info=True,
        **{"dtype" if issubclass(kind, PreTrainedModel) else "torch_dtype": dtype},
    )
    _check_whole(part, info, issubclass(kind, ModelMixin), whose)
    return network


def variant_of(names: Collection[str], what: str) -> str | None:
    """The variant of the weights to load: None where there are weights of no variant, which go before all others.

    Args:
        names: Of the files of one component.
        what: The component, as an error calls it.

    Raises:
        InputError: There are several variants, and none is a precision.
    """
    found = {match["variant"] for name in names if (match := _WEIGHTS.fullmatch(name))
             and (name.endswith(".safetensors") or ".index." in name)}
    if None in found or not found:
        return None
    chosen = next((each for each in PREFERRED if each in found), None)
    if chosen is None and len(found) > 1:
        raise InputError(f"{what} has weights of the variants {', '.join(sorted(map(str, found)))}, and none without; "
                         "keep one of them, without its name in the file's")
    return chosen or next(iter(found))


def weight_files(names: Collection[str], variant: str | None) -> list[str]:
    """Of the files of one component, those with its weights of one variant, and the index of such files."""
    return sorted(name for name in names if (match := _WEIGHTS.fullmatch(name)) and match["variant"] == variant
                  and (name.endswith(".safetensors") or ".index." in name))


def _class_of(part: Part) -> Any:  # noqa: ANN401 - a class of any library
    from diffusers import pipelines

    library = OWN_LIBRARIES[0] if part.library in OWN_LIBRARIES else part.library
    module = getattr(pipelines, library, None) or importlib.import_module(library)
    found = getattr(module, part.kind, None)
    return found if isinstance(found, type) else None


def _check_whole(part: Part, info: Mapping[str, Any], strict: bool, whose: str) -> None:
    """Refuse a network with layers that have no weights, or (`strict`) with weights that no layer takes.

    transformers reads one network out of the weights of a larger one, so there what is left over says nothing.
    """
    lacking = sorted(info["missing_keys"])
    left = sorted(info["unexpected_keys"]) if strict else []
    for keys, fault in ((lacking, "lack {}, which would get random numbers"), (left, "hold {}, which no layer takes")):
        if keys:
            named = repr(keys[0]) + (f" and {len(keys) - 1} more" if len(keys) > 1 else "")
            raise InputError(f"{whose}the weights of its {part.name} {fault.format(named)}; they are of "
                             "another network than its config.json describes: save it again")
