"""What each option of the Hopfield prototype generator is worth: one option changed at a time, at a small size."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from terrasynth.training.families.hopfield import HopfieldSettings, HopfieldTask
from terrasynth.training.running.loop import train

if TYPE_CHECKING:
    from terrasynth.training.data.pictures import PictureSet
    from terrasynth.training.running.settings import LoopSettings
    from terrasynth.training.running.task import Outcome

RESULT = "ablations.json"
BASE = "base"
VARIANTS: Mapping[str, Mapping[str, Any]] = {
    BASE: {},
    "beta fixed": {"learn_beta": False},
    "beta fixed at 1 / sqrt(width)": {"learn_beta": False, "beta": None},
    "two retrieval steps": {"retrieval_steps": 2},
    "three retrieval steps": {"retrieval_steps": 3},
    "patterns as values": {"separate_values": False},
    "attention reads keys as values": {"attention_values": False},
    "rotary positions": {"positions": "rotary"},
    "one key and value for all heads": {"key_value_heads": 1},
    "image embedding not started from the codebook": {"start_from_codebook": False},
    "loss on text tokens too": {"text_weight": 0.1},
}


def ablate(base: HopfieldSettings, loop: LoopSettings, splits: dict[str, PictureSet], device: torch.device,
           needs: Mapping[str, Path], out: Path, resume: bool = True,
           more: Mapping[str, object] | None = None) -> Outcome:
    """Train every variant for the same steps from the same seed; `out/ablations.json` has what each reached on `val`.

    Args:
        base: Settings that the variants change; no images are drawn for `val`.
        loop: Steps, seed and so on, equal for all.
        needs: Folders of the `tokenizer` and of the `classifier`.
        out: Folder of the result; a variant whose training is complete there is not trained again.
        resume: False starts anew.
        more: What decides the weights beside settings and loop, see `train`.

    Returns:
        The outcome of the base.
    """
    outcomes: dict[str, Outcome] = {}
    rows = []
    for name, changed in VARIANTS.items():
        settings = base.model_copy(update={**changed, "val_pictures": 0})
        torch.manual_seed(loop.seed)
        task = HopfieldTask(splits, settings, device, needs["tokenizer"], needs["classifier"],
                            cache=out / "tokens.safetensors", autoencoder=needs.get("autoencoder"))
        decides = {**(more or {}), "model": settings.model_dump(mode="json")}
        outcomes[name] = train(task, loop, out / name.replace(" / ", " over ").replace(" ", "-"), resume, more=decides)
        rows.append({
            "name": name, "changed": dict(changed), "cross_entropy": outcomes[name].figures["cross_entropy"],
            "minutes": outcomes[name].minutes, "steps": outcomes[name].steps,
            "parameters": sum(parameter.numel() for parameter in task.transformer.parameters()),
        })
    result = {"base": base.model_dump(), "loop": loop.model_dump(exclude={"minutes"}), "split": "val",
              "n": len(splits["val"]), "rows": rows}
    (out / RESULT).write_text(json.dumps(result, indent=1) + "\n")
    return outcomes[BASE]
