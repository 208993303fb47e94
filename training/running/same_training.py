"""What a checkpoint is of: a training goes on only from its own, and says what it found where it is another's."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence, Sized
from pathlib import Path
from typing import TYPE_CHECKING, Any

from terrasynth.synthesis.core.files import sha256
from terrasynth.synthesis.core.identity import differences, some_differences
from terrasynth.synthesis.core.machine import computes_bfloat16
from terrasynth.synthesis.core.records import RecordError, read_record, write_record
from terrasynth.training.errors import InputError

if TYPE_CHECKING:
    import torch

    from terrasynth.training.data.pictures import PictureSet
    from terrasynth.training.data.views import Pictures
    from terrasynth.training.running.settings import LoopSettings

FILE, COMPLETE = "made-from.json", "complete"
# How long a training takes and how often it looks at itself: all else of the loop decides the weights.
MAY_CHANGE = frozenset({"minutes", "max_steps", "validate_every", "preview_every", "checkpoint_every"})
MODEL_FILES = frozenset({".safetensors", ".json", ".txt"})
OF_A_TRAINING = frozenset({"cache", ".cache", "checkpoint", "logs", "previews", ".training", "training.json",
                           "figures.json", "calibration.json"})
log = logging.getLogger("terrasynth")


def made_from(settings: LoopSettings, more: Mapping[str, object], processes: int) -> dict[str, Any]:
    """What decides the weights of a training beside its steps and its time, as plain data.

    Args:
        settings: Of the loop, the precision resolved.
        more: What the loop does not know: data, model settings, what it starts from.
    """
    loop = settings.model_dump(mode="json", exclude=set(MAY_CHANGE))
    return dict(json.loads(json.dumps({**more, "loop": loop, "processes": processes})))


def data_digest(splits: Mapping[str, PictureSet]) -> str:
    """16 hexadecimal digits of what a training learns from and chooses on: pixels, classes and captions, in order."""
    found = hashlib.sha256()
    for name in ("train", "val"):
        split = splits[name]
        told = [name, list(split.pixels.shape), split.labels.tolist(), split.captions, split.label_names]
        found.update(json.dumps(told, ensure_ascii=False).encode("utf-8", "surrogatepass"))
        found.update(split.pixels.numpy().tobytes())
    return found.hexdigest()[:16]


def pairs_digest(splits: Mapping[str, Pictures]) -> str:
    """The same for images that are read from disk, with the ground distances that their rows name."""
    told = [[name, splits[name].digest, [[pair.captions, pair.label, pair.source, pair.gsd]
                                         for pair in splits[name].pairs]] for name in ("train", "val")]
    return hashlib.sha256(json.dumps(told, ensure_ascii=False).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def data_name(sources: Sequence[str], splits: Mapping[str, Sized]) -> str:
    """What people call the data of a digest: the names of the data sets, and how many images.

    Args:
        sources: Names of the data sets (`PairSet.sources`).
        splits: The images of `train` and `val`.
    """
    return f"{', '.join(sources)} ({len(splits['train'])} train and {len(splits['val'])} val images)"


def model_digest(folder: Path) -> str:
    """16 hexadecimal digits of the files of a model that a training starts from; what its own training left is none."""
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_file() and path.suffix in MODEL_FILES and not OF_A_TRAINING & {*name.parts}:
            found.update(f"{name.as_posix()}\0{sha256(path)}\0".encode())
    return found.hexdigest()[:16]


def note_complete(checkpoint: Path, made: Mapping[str, Any], names: Mapping[str, str] | None = None,
                  reached: Mapping[str, Any] | None = None) -> None:
    """Note that a checkpoint is whole, what it is of, and a hash of each of its files.

    Args:
        names: What people call parts of `made` that are hashes, by their dotted keys, such as the data.
        reached: Steps, minutes and figures so far, JSON-able.
    """
    files = {path.relative_to(checkpoint).as_posix(): sha256(path) for path in _files(checkpoint)}
    write_record(checkpoint / FILE, {"made from": dict(made), "files": files, "names": dict(names or {}),
                                     "reached": dict(reached or {})})
    (checkpoint / COMPLETE).touch()


def check_resumable(checkpoint: Path, made: Mapping[str, Any],
                    names: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Check that a whole checkpoint is one of this very training, and what was written.

    Args:
        names: As `note_complete` takes them.

    Returns:
        What `note_complete` was told that it had reached; empty in a checkpoint of an earlier version.

    Raises:
        InputError: It is not; the message says in what.
    """
    try:
        record = read_record(checkpoint / FILE)
        before, files = dict(record["made from"]), dict(record["files"])
        called, reached = dict(record.get("names", {})), dict(record.get("reached", {}))
    except FileNotFoundError as error:
        raise InputError(f"{checkpoint} is of an earlier version, which did not say what it was made from and kept "
                         "another optimizer; use --restart to begin anew, or another --out") from error
    except (RecordError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{checkpoint / FILE} cannot be believed ({error}); use --restart to begin anew") from error
    if found := changes(before, made, called, names or {}):
        raise InputError(f"{checkpoint} is of another training: {found}; use --restart to drop it, or another --out")
    for name, hashed in files.items():
        path = checkpoint / name
        if not path.is_file() or sha256(path) != hashed:
            raise InputError(f"{path} is {'not what was written' if path.is_file() else 'missing'}; use --restart to "
                             "begin anew")
    return reached


def noted_loop(checkpoint: Path) -> dict[str, Any]:
    """What a whole checkpoint says that the loop decided, as `made_from` has it; empty where it says nothing."""
    if not (checkpoint / COMPLETE).is_file():
        return {}
    try:
        return dict(read_record(checkpoint / FILE)["made from"])
    except (FileNotFoundError, RecordError, KeyError, TypeError, ValueError):
        return {}  # `check_resumable` says so


def changes(before: Mapping[str, Any], now: Mapping[str, Any], called: Mapping[str, str],
            names: Mapping[str, str]) -> str:
    """In what two trainings differ, on one line; "" where they are the same.

    Args:
        before: What decided the weights of the first, a tree; a setting that is None counts as one that is not there.
        now: Of the second.
        called: What people call parts of `before` that are hashes, by their dotted keys.
        names: Of `now`.
    """
    return some_differences(differences(_stated(before), _stated(now), called, names))


def resolved(settings: LoopSettings, device: torch.device, checkpoint: Path | None = None) -> LoopSettings:
    """The settings with a precision for "auto": that of the checkpoint, else what the processor or GPU computes well.

    Args:
        checkpoint: Folder that the training goes on from; None where it begins.
    """
    if settings.mixed_precision != "auto":
        return settings
    before = None if checkpoint is None else _precision_of(checkpoint)
    return settings.model_copy(update={"mixed_precision": before or _precision(device)})


def _precision(device: torch.device) -> str:
    import torch

    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    return "bf16" if device.type == "cpu" and computes_bfloat16() else "no"


def _precision_of(checkpoint: Path) -> str | None:
    try:
        return str(noted_loop(checkpoint)["loop"]["mixed_precision"])
    except (KeyError, TypeError):
        return None


def _files(checkpoint: Path) -> list[Path]:
    own = {FILE, COMPLETE, f"{FILE}.tmp"}
    return sorted(path for path in checkpoint.rglob("*") if path.is_file() and path.name not in own)


def _stated(tree: Mapping[str, Any]) -> dict[str, Any]:
    """A tree without what is None: a setting that came later and does nothing."""
    return {key: _stated(value) if isinstance(value, Mapping) else value for key, value in tree.items()
            if value is not None}
