"""Presets of `terrasynth train`, and what may be set in each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from reference.docstrings import read
from reference.markdown import block, code, page, table
from reference.settings import HEAD, keys
from terrasynth.training.families.autoencoder import AutoencoderSettings
from terrasynth.training.families.autoencoder_distil import AutoencoderDistilSettings
from terrasynth.training.families.captioner import CaptionerSettings
from terrasynth.training.families.clip import ClipSettings
from terrasynth.training.families.decoder import DecoderSettings
from terrasynth.training.families.diffusion import DiffusionSettings
from terrasynth.training.families.hopfield import HopfieldSettings
from terrasynth.training.families.latent_vq import LatentVQSettings
from terrasynth.training.families.scene import SceneSettings
from terrasynth.training.families.segmenter import SegmenterSettings
from terrasynth.training.families.vq import VQSettings
from terrasynth.training.judges.settings import JudgeLoop, JudgeSettings
from terrasynth.training.presets import FOLDER, Preset, load_preset, presets
from terrasynth.training.running.settings import LoopSettings
from terrasynth.training.tuning.control import ControlSettings
from terrasynth.training.tuning.distil import WITHOUT_MEANING, DistilSettings
from terrasynth.training.tuning.settings import FinetuneSettings

FAMILIES: Mapping[str, type[BaseModel]] = {
    "finetune": FinetuneSettings, "distil": DistilSettings, "control": ControlSettings,
    "scene": SceneSettings, "segmenter": SegmenterSettings, "captioner": CaptionerSettings, "clip": ClipSettings,
    "autoencoder": AutoencoderSettings, "autoencoder-distil": AutoencoderDistilSettings, "decoder": DecoderSettings,
    "diffusion": DiffusionSettings, "vq": VQSettings, "latent-vq": LatentVQSettings, "hopfield": HopfieldSettings,
    "ablations": HopfieldSettings, "judge": JudgeSettings,
}
"""Family -> what a preset of it may set under `model`; a chain sets nothing of its own there."""


def preset_page() -> str:
    """Every preset, the settings of the loop, and those of each family."""
    loaded = {name: load_preset(name) for name in presets()}
    rows = ((f"[{name}](#{name})", f"[{each.family}](#model-of-{each.family})" if each.family in FAMILIES
             else each.family, each.description) for name, each in loaded.items())
    parts = [
        "# Training presets", "`terrasynth train PRESET --data DATA --out FOLDER` trains one; `--set loop.seed=1` sets "
        "a key. PRESET may be a YAML file of your own with these keys. What to train when is on [the page on "
        "fine-tuning](../fine-tuning.md).", table(("preset", "family", "what it trains"), rows),
        "## Keys of a preset", read(Preset).text, _table(Preset, ""),
        "## loop", read(LoopSettings).text, _table(LoopSettings, "loop."),
        "## loop of judge", read(JudgeLoop).text, _table(JudgeLoop, "loop."),
    ]
    seen: dict[Any, str] = {}
    for family, model in FAMILIES.items():
        parts.append(f"## model of {family}")
        if model in seen:
            parts.append(f"As of [{seen[model]}](#model-of-{seen[model]}).")
        else:
            parts += [read(model).text, _table(model, "model.")]
        seen.setdefault(model, family)
    parts.append("## Presets as they are")
    for name in loaded:
        parts += [f"### {name}", block((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"), "yaml")]
    return page(*parts)


def _table(model: type[BaseModel], prefix: str) -> str:
    refused = {prefix + name for name in WITHOUT_MEANING} if model is DistilSettings else set()
    return table(HEAD, ((code(key.place), *key[1:]) for key in keys(model, prefix) if key.place not in refused))
