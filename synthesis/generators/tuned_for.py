"""What a tuned generator was tuned for, and is not asked for: another size, other weights under a LoRA.

Both draw without an error. A network draws any size, and a LoRA fits every base of the shapes of its own.
"""

from __future__ import annotations

from pathlib import Path

from terrasynth.eval.models.references import content_hash
from terrasynth.synthesis.generators.base import GeneratorSource
from terrasynth.synthesis.generators.conditions.caption import read_tuned

DENOISERS = ("unet", "transformer")


def tuned_otherwise(source: GeneratorSource) -> tuple[str, ...]:
    """In what a generator is used otherwise than it was tuned, a sentence each.

    Args:
        source: Its files and settings, found.
    """
    return tuple(line for line in (_size(source), _base(source)) if line)


def _size(source: GeneratorSource) -> str:
    if source.plugin:
        return ""
    lora = source.lora
    side = (read_tuned(source.folder) if lora is None else lora.tuned).size
    drawn = (source.height or side, source.width or side)
    if side is None or drawn == (side, side):
        return ""
    return (f"{_called(source)} was tuned on images of {side} x {side} px, and draws {drawn[1]} x {drawn[0]} px; leave "
            f"generator.height and width out to draw as it was tuned, or tune it with model.size")


def _base(source: GeneratorSource) -> str:
    """Whether a LoRA lies on other weights than those that it was trained on."""
    lora, model = source.lora, source.name.partition("+")[0]
    if lora is None or not lora.base:
        return ""
    tuned = lora.tuned
    if (lora.base, tuned.base_revision) == (model, source.revision.partition("+")[0]):
        return ""
    network = next((part for part in DENOISERS if (source.folder / part).is_dir()), None)
    if not tuned.base_network or network is None:  # it says a name at most
        if _last(lora.base) == _last(model):
            return ""
        return (f"LoRA {lora.name} says that it was trained on {lora.base}, and is added to {model}; where these are "
                "not the same weights, take that one as generator.model")
    if content_hash(source.folder / network) == tuned.base_network:
        return ""
    return (f"LoRA {lora.name} was trained on another {network} than that of {model}, though of the same shapes: on "
            f"that of {lora.base} ({tuned.base_revision}); take that one as generator.model, or train a LoRA on this "
            "one")


def _called(source: GeneratorSource) -> str:
    return f"generator {source.name}" if source.lora is None else f"LoRA {source.lora.name}"


def _last(name: str) -> str:
    """What a model is called by its folder, wherever that lies."""
    return Path(name).name.lower()
