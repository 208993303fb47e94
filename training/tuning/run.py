"""Run a preset that tunes a pipeline: find the base, cache, train, write the card."""

from __future__ import annotations

import json
import math
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from terrasynth.training.data.latent_cache import cache_key
from terrasynth.training.data.views import Pictures, read_split
from terrasynth.training.errors import InputError
from terrasynth.training.presets import WORK, Preset, checked
from terrasynth.training.running.knowledge import write_knowledge
from terrasynth.training.running.loop import finished_before, finished_remark, train
from terrasynth.training.running.place import Place, hardware, these_processes, this_device
from terrasynth.training.running.same_training import data_name, made_from, resolved
from terrasynth.training.running.settings import LoopSettings
from terrasynth.training.running.task import Outcome
from terrasynth.training.tuning.families import open_base
from terrasynth.training.tuning.families.base import Base
from terrasynth.training.tuning.files import CHOOSE, check_same_training, chosen_by
from terrasynth.training.tuning.settings import FinetuneSettings
from terrasynth.training.tuning.task import FinetuneTask
from terrasynth.training.tuning.validation import Validation, settled

if TYPE_CHECKING:
    from terrasynth.training.data import PairSet

RECORD = "training.json"
MAY_CHANGE = frozenset({"validation", "cache", "gradient_checkpointing", "base_dtype"})
"""What of the settings may be another on the way: it moves weights by rounding at most, and chooses none of them."""


def finetune(preset: Preset, loop: LoopSettings, pairs: PairSet, out: Path, resume: bool) -> Outcome:
    """Tune `preset.needs["base"]`; `out` gets the LoRA or pipeline and a model card.

    What belongs to the training and not to the model lies in `out/.training`, which the hash of a model's files leaves
    out: checkpoint, caches, events, previews, `figures.json`, `training.json`. Under `accelerate launch` every process
    calls this; the first one writes.

    Raises:
        InputError: Base, data or a setting is wrong, or `out` holds a training of something else.
    """
    from terrasynth.training.data import report_skipped
    from terrasynth.training.tuning.card import write_card

    task_kind, settings_kind = _kind(preset.family)
    settings = checked(settings_kind, preset.model, "model")
    if "load_size" in preset.model_fields_set:
        raise InputError(f"load_size {preset.load_size} has no meaning here; set model.size")
    processes = these_processes()
    device = this_device()
    work = out / WORK
    loop = resolved(loop, device, work / "checkpoint" if resume else None)
    place = Place(device, loop.mixed_precision, loop.seed, Path(settings.cache or work / "cache"))
    _check_precision(settings, place)
    with processes.main_process_first():  # the others find in the Hub's cache and in ours what the first one left
        _say(processes.is_main_process, f"finding {preset.needs['base']}, and reading the images")
        base = open_base(preset.needs["base"])
        splits = {name: read_split(pairs.split(name), name, pairs.skipped) for name in ("train", "val")}
        loop.check_batch(len(splits["train"]))
        judging, said = settled(settings.validation, splits["val"], chosen_by(work) if resume else None)
        settings = settings.model_copy(update={"validation": judging})
        if processes.is_main_process:
            report_skipped(pairs)
            _say(bool(said), said)
            check_same_training(out, work, _identity(base, settings, loop, splits), resume,
                                {"data": data_name(pairs.sources, splits), **_masks_name(settings)},
                                made_from(loop, {}, processes.num_processes))
    done = finished_before(loop, work, {}, processes.num_processes) if resume else None
    if done is not None and (record := _record_of_all(out, work, done)):
        _say(processes.is_main_process, finished_remark(done))
        return replace(done, before=record.get("before", {}), real=record.get("real", {}))
    with processes.main_process_first():
        judges = [name for name in (judging.encoder, judging.classifier) if name is not None and judging.pictures]
        _say(processes.is_main_process, f"loading {' and '.join([*judges, base.name])}")
        validation = Validation(settings.validation, splits["val"], device, loop.seed)
        torch.manual_seed(loop.seed)  # adapters draw their first weights from the global generator
        task = task_kind(base, splits["train"], splits["val"], settings, place, validation)
    _say(processes.is_main_process, f"before the first step: measuring the loss on val{_drawing(task, validation)}")
    if processes.is_main_process and settings.cache is None:
        _say(*_not_read(task))
    began = time.monotonic()
    before = {"before": task.validate(), "real": validation.ceiling(task.size)}
    _say(processes.is_main_process, f"that took {time.monotonic() - began:.0f} s, and is done again "
                                    f"{_how_often(loop)}; {loop.max_steps} steps of "
                                    f"{loop.batch_size * loop.accumulate * processes.num_processes} images"
                                    f"{'; --minutes counts from here' if math.isfinite(loop.minutes) else ''}")
    outcome = train(task, loop, out, resume, work)
    if processes.is_main_process:
        record = {
            "preset": {"description": preset.description, "family": preset.family, "model": settings.shown(),
                       "loop": loop.model_dump(mode="json", exclude={"minutes"})},
            "base": {"name": base.name, "revision": base.revision}, "size": task.size,
            **outcome.record(), **before,
            "hardware": f"{processes.num_processes} x {hardware(device)}", "left_out": len(pairs.skipped),
            "data": list(pairs.sources),
            "pictures": {name: len(pictures) for name, pictures in splits.items()},
            "undescribed": sum(not pair.described for pictures in splits.values() for pair in pictures.pairs),
            "trained_parameters": sum(p.numel() for network in task.networks().values() for p in network.parameters()),
        }
        write_card(out, base, record)
        met = splits["train"].pairs
        write_knowledge(out, (text for pair in met for text in pair.captions), (pair.label for pair in met),
                        base.folder if settings.method == "full" else None)
        (work / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")  # the last: all is there
    return replace(outcome, before=before["before"], real=before["real"])


def _masks_name(settings: FinetuneSettings) -> dict[str, str]:
    """What people call the masks, where a training learns from any: their hash decides whether it goes on."""
    return {f"model.{name}": str(value) for name, value in settings.shown().items() if name == "masks"}


def _record_of_all(out: Path, work: Path, done: Outcome) -> dict[str, Any] | None:
    """The record of a training that has ended, of these very steps; None where that or its weights are not there."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        record: dict[str, Any] = json.loads((work / RECORD).read_text(encoding="utf-8"))
        weights = [path for path in out.rglob("*.safetensors") if WORK not in path.relative_to(out).parts]
        if weights and (out / "README.md").is_file() and record["steps"] == done.steps:
            return record
    return None


def _say(whether: bool, line: str) -> None:
    if whether:
        print(line, file=sys.stderr, flush=True)


def _drawing(task: FinetuneTask, validation: Validation) -> str:
    """What is drawn for `val`, at which size, and how to leave it out."""
    if not validation.count:
        return ""
    own = task.native_size() if task.settings.size else task.size
    other = f", where {task.base.name} draws {own} x {own} px by itself" if own != task.size else ""
    return (f" and drawing {validation.count} images for it, {task.size} x {task.size} px{other}; --set "
            "model.validation.pictures=0 leaves the drawing out")


def _not_read(task: FinetuneTask) -> tuple[bool, str]:
    """Whether there are caches of other settings in the folder of this training, and that they may go."""
    read = set(task.cached)
    others = [path for path in sorted(task.place.cache.glob("*-*")) if path.is_dir() and path not in read]
    size = sum(file.stat().st_size for path in others for file in path.iterdir() if file.is_file())
    return bool(others), (f"{task.place.cache} holds {size / 2**20:.0f} MiB encoded with other settings, which this "
                          f"training does not read; delete {', '.join(path.name for path in others)} if you do not go "
                          "back to them")


def _how_often(loop: LoopSettings) -> str:
    """How often a training is validated between its steps."""
    if math.isfinite(loop.minutes):
        return f"every {loop.validate_every} steps and at the end of {loop.minutes:g} minutes"
    count = -(-loop.max_steps // loop.validate_every)
    return "at the end" if count == 1 else f"{count} times, every {loop.validate_every} steps"


def _kind(family: str) -> tuple[type[FinetuneTask], type[FinetuneSettings]]:
    if family == "distil":
        from terrasynth.training.tuning.distil import DistilSettings, DistilTask

        return DistilTask, DistilSettings
    if family == "control":
        from terrasynth.training.tuning.control import ControlSettings, ControlTask

        return ControlTask, ControlSettings
    return FinetuneTask, FinetuneSettings


def _check_precision(settings: FinetuneSettings, place: Place) -> None:
    if place.precision == "no" and place.base_dtype(settings.base_dtype) != torch.float32:
        raise InputError(f"model.base_dtype {settings.base_dtype} needs mixed precision to meet the trained weights, "
                         "which are float32; set loop.mixed_precision to bf16 or fp16")
    if place.precision == "fp16" and place.device.type == "cpu":
        raise InputError("loop.mixed_precision fp16 needs a CUDA device; use bf16 or no")


def _identity(base: Base, settings: FinetuneSettings, loop: LoopSettings,
              splits: dict[str, Pictures]) -> dict[str, object]:
    kept = {name: value for name, value in settings.identity(splits).items() if name not in MAY_CHANGE}
    captions = [[pair.captions for pair in pictures.pairs] for pictures in splits.values()]
    return {"base": base.name, "revision": base.revision, "seed": loop.seed,
            "data": cache_key(pixels=[pictures.digest for pictures in splits.values()], captions=captions), **kept,
            CHOOSE: settings.validation.choose}
