"""Write a tuned pipeline: trained components in half precision, the others byte for byte as the base has them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from diffusers import ConfigMixin

from terrasynth.eval.models.references import PICKLED_SUFFIXES, SAMPLING_FILE
from terrasynth.synthesis.core.records import RecordError, read_record, write_record
from terrasynth.training.errors import InputError
from terrasynth.training.running.loop import FIGURES
from terrasynth.training.running.same_training import COMPLETE, changes, noted_loop
from terrasynth.training.running.saving import save_model

IDENTITY, NAMES = "finetune.json", "names"
CHOOSE = "model.validation.choose"
ADDED = frozenset({CHOOSE})  # what records of earlier versions do not say


def save_pipeline(pipeline: Any, base: Path, trained: Sequence[str], folder: Path) -> None:  # noqa: ANN401
    """Write a pipeline folder that any diffusers opens.

    Args:
        pipeline: The pipeline, trained components in float32.
        base: Folder of the pipeline that the training started from.
    """
    index = json.loads((base / "model_index.json").read_text(encoding="utf-8"))
    index.pop("_name_or_path", None)
    for name, value in index.items():
        if not isinstance(value, list) or value[0] is None:
            continue
        if name in trained:
            network = getattr(pipeline, name)
            if isinstance(network, ConfigMixin):
                network.register_to_config(_name_or_path="")  # where it lay on this machine is nobody's business
            save_model(network, folder / name)
        elif not (folder / name).is_dir():
            copying = folder / f".{name}.tmp"
            shutil.rmtree(copying, ignore_errors=True)
            shutil.copytree(base / name, copying, ignore=shutil.ignore_patterns(*(f"*{s}" for s in PICKLED_SUFFIXES)))
            copying.rename(folder / name)
    if (base / SAMPLING_FILE).is_file():
        shutil.copyfile(base / SAMPLING_FILE, folder / SAMPLING_FILE)
    (folder / "model_index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def check_same_training(out: Path, work: Path, identity: dict[str, object], resume: bool,
                        names: Mapping[str, str] | None = None, loop: Mapping[str, Any] | None = None) -> None:
    """Refuse to carry on a training of something else; remember what this one is of.

    A start that failed, or was ended before anything was kept, left nothing to carry on: the next one replaces it.

    Args:
        work: Folder of checkpoint and so on.
        identity: What decides the trained weights besides steps and time, JSON-able.
        resume: False starts anew, so what an earlier training left is taken away.
        names: What people call parts of it that are hashes, by key.
        loop: What the loop will compare with its checkpoint (`made_from`): one refusal names what differs of both.

    Raises:
        InputError: `out` has a training of something else.
    """
    path = work / IDENTITY
    now = json.loads(json.dumps(identity))
    if path.is_file() and resume and _has_kept(work):
        try:
            before = read_record(path)
        except RecordError as error:
            raise InputError(f"{path} cannot be believed ({error}); use --restart to begin anew") from error
        asked = {name: value for name, value in now.items() if name in before or name not in ADDED}
        kept = noted_loop(work / "checkpoint") if loop is not None else {}
        found = changes({**_placed({name: before.get(name) for name in asked}), **kept},
                        {**_placed(asked), **(loop or {} if kept else {})}, dict(before.get(NAMES, {})), names or {})
        if found:
            raise InputError(f"{out} holds another training: {found}; use --restart to drop it, or another --out")
        return
    shutil.rmtree(work / "checkpoint", ignore_errors=True)
    index = out / "model_index.json"
    if index.is_file():  # the components of an earlier base would be taken for this one's
        for name, value in json.loads(index.read_text(encoding="utf-8")).items():
            if isinstance(value, list):
                shutil.rmtree(out / name, ignore_errors=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_record(path, now | {NAMES: dict(names or {})}, indent=1)


def chosen_by(work: Path) -> str | None:
    """What chooses the checkpoint of the training that `work` holds; None where there is none, or it does not say.

    Args:
        work: Folder of checkpoint and so on.
    """
    if not _has_kept(work):
        return None
    with suppress(OSError, RecordError):  # `check_same_training` says what is wrong with it
        found = read_record(work / IDENTITY).get(CHOOSE)
        return None if found is None else str(found)
    return None


def _has_kept(work: Path) -> bool:
    """Whether a training has kept a checkpoint, or weights beside which their figures are written."""
    return (work / "checkpoint" / COMPLETE).is_file() or (work / FIGURES).is_file()


def _placed(identity: Mapping[str, Any]) -> dict[str, Any]:
    """By the keys that a user sets: what is no matter of base and data is a setting below `model`."""
    keys = {"base": "base", "revision": "revision", "seed": "loop.seed", "data": "data"}
    return {keys.get(name, name if "." in name else f"model.{name}"): value for name, value in identity.items()}
