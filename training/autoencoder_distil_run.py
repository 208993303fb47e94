"""Run the preset that distills an autoencoder: find the teacher, cache its outputs, train, record."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from training.autoencoder_distil import AutoencoderDistilSettings, AutoencoderDistilTask
from training.errors import InputError
from training.finetune_views import read_split
from training.loop import LoopSettings, Outcome, train
from training.presets import Preset, checked
from training.same_training import model_digest

if TYPE_CHECKING:
    from training.data import PairSet

TEACHER, CACHE = "teacher", "cache"
FILES = ["config.json", "diffusion_pytorch_model*.safetensors", "diffusion_pytorch_model*.json"]  # of its own folder
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+(@[\w./-]+)?")


def distil_autoencoder(preset: Preset, loop: LoopSettings, pairs: PairSet, out: Path, resume: bool,
                       initial: Path | None = None) -> Outcome:
    """Train a small autoencoder to give what `preset.needs["teacher"]` gives; `out` gets its weights.

    `out/cache` keeps the teacher's outputs, which are made once; `out/training.json` says what was done.

    Args:
        preset: What is asked for.
        loop: The `loop` of the preset.
        pairs: The data.
        out: Folder for weights, cache and record.
        resume: Go on from a checkpoint in `out`.
        initial: Folder of an autoencoder of the same shape to begin from; None for random weights.

    Raises:
        InputError: Teacher, data or a setting is wrong.
    """
    from training.data import report_skipped

    settings = checked(AutoencoderDistilSettings, preset.model, "model")
    if "load_size" in preset.model_fields_set:
        raise InputError(f"load_size {preset.load_size} has no meaning here; set model.views.size")
    teacher, named = find_teacher(preset.needs[TEACHER])
    splits = {name: read_split(pairs.split(name), name, pairs.skipped) for name in ("train", "val")}
    if loop.batch_size > len(splits["train"]):
        raise InputError(f"loop.batch_size {loop.batch_size} is more than the {len(splits['train'])} training images; "
                         "make it smaller")
    report_skipped(pairs)
    torch.manual_seed(loop.seed)  # the libraries draw their initial weights from the global generator
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    task = AutoencoderDistilTask(splits, settings, device, teacher, out / CACHE, initial)
    digest = model_digest(teacher)
    more = {"family": preset.family, "model": settings.model_dump(mode="json"), "teacher": digest,
            "initial": None if initial is None else model_digest(initial),
            "data": [split.digest for split in splits.values()]}
    outcome = train(task, loop, out, resume, more=more)
    record = {
        "preset": {"description": preset.description, "family": preset.family,
                   "model": settings.model_dump(mode="json"), "loop": loop.model_dump(mode="json")},
        "teacher": {"name": named, "content": digest}, "steps": outcome.steps, "minutes": round(outcome.minutes, 1),
        "best_step": outcome.best_step, "val": outcome.figures,
        "hardware": f"{torch.cuda.get_device_name() if device.type == 'cuda' else 'CPU'}, "
                    f"{torch.get_num_threads()} threads, torch {torch.__version__}",
        "pictures": {name: len(split) for name, split in splits.items()}, "left_out": len(pairs.skipped),
        "data": list(pairs.sources), "parameters": sum(p.numel() for p in task.model.parameters()),
    }
    (out / "training.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return outcome


def find_teacher(reference: str) -> tuple[Path, str]:
    """Folder and name of an autoencoder: a folder, a part of an embedded model, or a Hub id with optional @revision.

    Raises:
        InputError: There is none, or it cannot be fetched.
    """
    from synthesis.generators import WEIGHTS

    folder = Path(reference)
    for place, name in ((folder, folder.resolve().name), (WEIGHTS / reference, reference)):
        if (place / "config.json").is_file():
            _check_kind(place, reference)
            return place, name
    if folder.exists() or not HUB_ID.fullmatch(reference):
        raise InputError(f"--teacher {reference!r} is no autoencoder of diffusers; give a folder with its config.json "
                         "and weights, a part of an embedded model such as ldm-ucm/vae, or a Hub id as owner/name")
    from huggingface_hub import snapshot_download

    name, _, revision = reference.partition("@")
    try:
        found = Path(snapshot_download(name, revision=revision or None, allow_patterns=FILES))
    except (OSError, ValueError) as error:
        from synthesis.errors import one_line

        raise InputError(f"--teacher {reference!r} cannot be fetched: {one_line(error)[:200]}") from error
    if not (found / "config.json").is_file():
        raise InputError(f"--teacher {reference!r} has no config.json, so it is no autoencoder of diffusers")
    _check_kind(found, reference)
    return found, name


def _check_kind(folder: Path, reference: str) -> None:
    """Check that the class of a model in a folder is one of `diffusers` that encodes and decodes."""
    import diffusers

    try:
        named = json.loads((folder / "config.json").read_text(encoding="utf-8"))["_class_name"]
        kind = getattr(diffusers, named, None)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        named = kind = None
    if not all(callable(getattr(kind, name, None)) for name in ("encode", "decode", "from_pretrained")):
        raise InputError(f"--teacher {reference!r} is {'of no class' if named is None else f'{named!r:.60}'}, which is "
                         "no autoencoder of diffusers")
