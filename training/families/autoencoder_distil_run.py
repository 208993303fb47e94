"""Run the preset that distills an autoencoder: find the teacher, cache its outputs, train, record."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from terrasynth.synthesis.generators.autoencoders import autoencoder_folder
from terrasynth.training.data.views import read_split
from terrasynth.training.errors import InputError
from terrasynth.training.families.autoencoder_distil import AutoencoderDistilSettings, AutoencoderDistilTask
from terrasynth.training.presets import Preset, checked
from terrasynth.training.running.loop import train
from terrasynth.training.running.place import hardware
from terrasynth.training.running.same_training import data_name, model_digest
from terrasynth.training.running.settings import LoopSettings
from terrasynth.training.running.task import Outcome

if TYPE_CHECKING:
    from terrasynth.training.data import PairSet

TEACHER, CACHE = "teacher", ".cache"  # hidden, so that it is no part of the model


def distil_autoencoder(preset: Preset, loop: LoopSettings, pairs: PairSet, out: Path, resume: bool,
                       initial: Path | None = None) -> Outcome:
    """Train a small autoencoder to give what `preset.needs["teacher"]` gives; `out` gets its weights.

    `out/.cache` keeps the teacher's outputs, which are made once; `out/training.json` says what was done.

    Args:
        loop: The `loop` of the preset.
        out: Folder for weights, cache and record.
        resume: Go on from a checkpoint in `out`.
        initial: Folder of an autoencoder of the same shape to begin from; None for random weights.

    Raises:
        InputError: Teacher, data or a setting is wrong.
    """
    from terrasynth.training.data import report_skipped

    settings = checked(AutoencoderDistilSettings, preset.model, "model")
    if "load_size" in preset.model_fields_set:
        raise InputError(f"load_size {preset.load_size} has no meaning here; set model.views.size")
    teacher, named = autoencoder_folder(preset.needs[TEACHER], f"--teacher {preset.needs[TEACHER]!r}")
    splits = {name: read_split(pairs.split(name), name, pairs.skipped) for name in ("train", "val")}
    loop.check_batch(len(splits["train"]))
    report_skipped(pairs)
    torch.manual_seed(loop.seed)  # the libraries draw their initial weights from the global generator
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    task = AutoencoderDistilTask(splits, settings, device, teacher, out / CACHE, initial)
    digest = model_digest(teacher)
    more = {"family": preset.family, "model": settings.model_dump(mode="json"), "teacher": digest,
            "initial": None if initial is None else model_digest(initial),
            "data": [split.digest for split in splits.values()]}
    outcome = train(task, loop, out, resume, more=more,
                    names={"data": data_name(pairs.sources, splits), "teacher": named})
    record = {
        "preset": {"description": preset.description, "family": preset.family,
                   "model": settings.model_dump(mode="json"), "loop": loop.model_dump(mode="json")},
        "teacher": {"name": named, "content": digest}, **outcome.record(),
        "hardware": hardware(device),
        "pictures": {name: len(split) for name, split in splits.items()}, "left_out": len(pairs.skipped),
        "data": list(pairs.sources), "parameters": sum(p.numel() for p in task.model.parameters()),
    }
    (out / "training.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return outcome
