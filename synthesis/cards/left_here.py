"""Models and files of one's own that a recipe names: they are not published with a run, so it is said how they came."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from terrasynth.synthesis.core import layout
from terrasynth.synthesis.filters import FILTERS

KEYS = frozenset({"model", "lora", "vae", "control", "path", "masks", "reference"}).union(
    *(kind.places for kind in FILTERS.values()))
"""Settings of a recipe that name a model or a file."""

JUDGE, TRAINING, TUNED = "judge.json", (".training/training.json", "training.json"), "terrasynth.json"
TUNING, CONTROL = "finetune", "control"
CHANGED = "which has changed since the run drew with it; what is there now is another"


@dataclass(frozen=True)
class LeftHere:
    """Something of this machine that a recipe names.

    Attributes:
        key: The setting, such as "generator.lora".
        name: What it is called, without the folders of this machine.
        made: How it was made, as far as its files say; "" where they say nothing.
    """

    key: str
    name: str
    made: str

    @property
    def text(self) -> str:
        """The three in words."""
        return f"{self.key} {self.name}" + (f", {self.made}" if self.made else "")


def left_here(tree: Mapping[str, Any], identity: Mapping[str, Any] | None = None) -> list[LeftHere]:
    """What a recipe names that lies on this machine; an ontology is not among it, since it goes along.

    Of a model that the run recorded with another content than is there now, nothing is said that its files say now.

    Args:
        tree: The recipe as plain data.
        identity: The parts of the run's identity; None where what is there is what the run is made with right now.
    """
    found: dict[str, LeftHere] = {}
    drawn_with = {} if identity is None else _drawn_with(identity)
    for key, reference in _named(tree, ""):
        path = Path(reference).expanduser()
        if reference and path.exists() and not _embedded(reference):
            name = path.name if PurePath(reference).is_absolute() or reference.startswith("~") else reference
            made = _made(path)
            if made and key in drawn_with and _content(key, reference) != drawn_with[key]:
                made = CHANGED
            found.setdefault(reference, LeftHere(key, name, made))
    return list(found.values())


def ontology_option(tree: Mapping[str, Any]) -> str:
    """What a command adds so that the recipe finds its ontology beside it; "" where it has none of its own."""
    return f" --set prompts.ontology={layout.ONTOLOGY}" if tree.get("prompts", {}).get("ontology") else ""


def _named(node: object, place: str) -> Iterator[tuple[str, str]]:
    if isinstance(node, Mapping):
        for key, value in node.items():
            inside = f"{place}.{key}" if place else str(key)
            if isinstance(value, str) and key in KEYS:
                yield inside, value
            yield from _named(value, inside)
    elif isinstance(node, list):
        for each in node:
            kind = each.get("kind", "") if isinstance(each, Mapping) else ""
            yield from _named(each, f"{place} {kind}".strip())


def _embedded(reference: str) -> bool:
    from terrasynth.eval.models.references import EMBEDDED_ROOT
    from terrasynth.synthesis.core.embedded import WEIGHTS

    return any(reference == folder.name for root in (EMBEDDED_ROOT, WEIGHTS) for folder in root.iterdir())


def _drawn_with(identity: Mapping[str, Any]) -> dict[str, str]:
    """The content that the run recorded of each part of its generator, by setting."""
    base, *added = str(identity.get("generator", {}).get("revision", "")).split("+")
    found = {"generator.model": base}
    for each in added:
        part, colon, content = each.partition(":")
        key, value = (part, content) if colon else ("lora", each.rpartition("*")[0])
        found[f"generator.{key}"] = value
    return found


def _content(key: str, reference: str) -> str:
    """The content of a part of the generator as it is there now; "" where it can no longer be read."""
    from terrasynth.eval.models.references import content_hash
    from terrasynth.synthesis.generators.autoencoders import find_autoencoder
    from terrasynth.synthesis.generators.control import find_control
    from terrasynth.synthesis.generators.lora import find_lora

    with suppress(ValueError, OSError):
        if key == "generator.lora":
            return find_lora(reference).revision
        if key == "generator.vae":
            return find_autoencoder(reference).revision
        if key == "generator.control":
            return find_control(reference).revision
        return content_hash(Path(reference).expanduser())
    return ""


def _made(path: Path) -> str:
    """How a model was made, by the records that our trainings leave beside it."""
    if (judge := _read(path / JUDGE)) is not None:
        classes, network = len(judge.get("labels", ())), judge.get("network", {}).get("model", "")
        return f"made by terrasynth train judge of {classes} classes, on the network {PurePath(str(network)).name}"
    folders = (path, path.parent) if path.name == CONTROL else (path,)  # beside the LoRA that it was trained with
    records = (_read(folder / name) for folder in folders for name in TRAINING)
    record = next((found for found in records if found is not None), None)
    if record is None:
        return ""
    tuned = _read(path / TUNED) or {}
    preset, base = record.get("preset", {}), str(record.get("base", {}).get("name") or tuned.get("base") or "")
    data, images = ", ".join(record.get("data", ())), record.get("pictures", {}).get("train")
    family = preset.get("family", "")
    trained = preset.get("model", {}).get("method", family) if family == TUNING else family
    parts = [f"made by terrasynth train {trained}"]
    parts += [f"from {Path(base).name if Path(base).is_dir() else base}"] * bool(base)
    parts += [f"on {images} images of {data}"] * bool(images and data)
    if steps := record.get("steps"):
        kept = record.get("best_step", steps)  # a training may have gone on without gain
        parts.append(f"in {steps} steps" if kept == steps else f"in {kept} steps, the best of {steps}")
    return " ".join(parts)


def _read(path: Path) -> dict[str, Any] | None:
    with suppress(OSError, ValueError):
        found = json.loads(path.read_text("utf-8"))
        return found if isinstance(found, dict) else None
    return None
