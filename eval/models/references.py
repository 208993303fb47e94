"""Model references: an embedded name, a local folder, or a Hub id, and the hash of what decides a model's outputs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from terrasynth.errors import nearest
from terrasynth.eval.errors import InputError
from terrasynth.hashing import files_hash
from terrasynth.hub_ids import is_hub_id, meant, missing_here

EMBEDDED_ROOT = Path(__file__).parents[1] / "weights"
"""Where the embedded evaluators live; the embedded generators have a root of their own."""

OPEN_CLIP_CONFIG = "open_clip_config.json"
JUDGE_FILE = "judge.json"
CAPTIONER = "grid-captioner"
"""`model_type` of what `terrasynth train captioner` makes."""

MODEL_FILES = ("config.json", "model_index.json", OPEN_CLIP_CONFIG, JUDGE_FILE)
"""What makes a folder a model: a configuration of `transformers` or OpenCLIP, the index of a `diffusers` pipeline, or
what `terrasynth train judge` writes."""

DECIDING_SUFFIXES = frozenset({".json", ".txt", ".model", ".safetensors"})
KNOWLEDGE_FILE = "knowledge.json"
SAMPLING_FILE = "sampling.json"
SCENE_CALIBRATION_FILE = "scene-calibration.json"
FIGURES_FILE = "judge-figures.json"
NOT_DECIDING = frozenset({  # they only speak of the weights
    "calibration.json", SCENE_CALIBRATION_FILE, FIGURES_FILE, KNOWLEDGE_FILE, SAMPLING_FILE})
UNFINISHED = "its training has not finished; run the same `terrasynth train` again"
_OF_A_TRAINING = (".training", ".cache", "checkpoint", "logs")
PICKLED_SUFFIXES = frozenset({".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle"})


@dataclass(frozen=True)
class ResolvedModel:
    """Where a model reference leads.

    Attributes:
        location: A folder path, or a Hub id without its revision: what `from_pretrained` takes.
        revision: The revision of a Hub id, None where none was given or the model is a folder.
        embedded: Shipped with the package.
        local: A folder on this machine (embedded models included); False means the Hub is contacted.
    """

    reference: str
    location: str
    revision: str | None
    embedded: bool
    local: bool

    @property
    def folder(self) -> Path:
        """The model's folder.

        Raises:
            ValueError: The model is on the Hub.
        """
        if not self.local:
            raise ValueError(f"{self.reference!r} is a Hub id and has no folder")
        return Path(self.location)

    @property
    def called(self) -> str:
        """Name of a folder of the user's, which is no part of the identity; "" for any other model."""
        return self.folder.resolve().name if self.local and not self.embedded else ""

    def identity(self, commit: str | None = None) -> dict[str, object]:
        """What decides the model's outputs, JSON-able and without a path of this machine.

        Args:
            commit: For a Hub id: the commit that was loaded. Without it the requested revision stands in.

        Returns:
            Name and content hash of an embedded model, content hash of a local folder, id and commit of a Hub model.
        """
        if self.embedded:
            return {"model": self.reference, "content": content_hash(self.folder)}
        if self.local:
            return {"model": "local", "content": content_hash(self.folder)}
        return {"model": self.location, "revision": commit or self.revision}


def embedded_models(roots: Sequence[Path]) -> dict[str, Path]:
    """The model folders right under the roots, by name and in name order; an earlier root wins."""
    found = {
        folder.name: folder
        for root in reversed(roots)
        if root.is_dir()
        for folder in root.iterdir()
        if is_model(folder)
    }
    return dict(sorted(found.items()))


def is_model(folder: Path) -> bool:
    """Whether a folder holds a `transformers` or OpenCLIP model, or a `diffusers` pipeline."""
    return any((folder / name).is_file() for name in MODEL_FILES)


def is_captioner(folder: Path) -> bool:
    """Whether a folder holds what `terrasynth train captioner` makes."""
    try:
        content = json.loads((folder / "config.json").read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and content.get("model_type") == CAPTIONER


def is_unfinished(folder: Path) -> bool:
    """Whether `terrasynth train` has begun in a folder: its checkpoint, its events or its caches are there."""
    return any((folder / name).is_dir() for name in _OF_A_TRAINING)


def resolve(reference: str | Path, embedded_roots: Sequence[Path]) -> ResolvedModel:
    """Find out what a model reference means, without contacting anything.

    A name of an embedded model wins; then anything that exists as a folder; what is left is a Hub id
    (`owner/name`, or `owner/name@revision`), but for one whose owner is a folder here: that is a path.

    Args:
        embedded_roots: Folders whose sub-folders are the embedded models.

    Raises:
        InputError: An unknown plain name, a path that does not exist, or a folder without a model.

    Example:
        >>> from terrasynth.eval import resolve
        >>> found = resolve("openai/clip-vit-base-patch32@main", embedded_roots=())
        >>> found.location, found.revision, found.local
        ('openai/clip-vit-base-patch32', 'main', False)
    """
    text = str(reference).strip()
    embedded = embedded_models(embedded_roots)
    if text in embedded:
        return ResolvedModel(text, str(embedded[text]), None, embedded=True, local=True)
    folder = Path(text).expanduser()
    if text and folder.is_dir():
        if not is_model(folder):
            if is_unfinished(folder):
                raise InputError(f"model {text!r}: {UNFINISHED}")
            raise InputError(
                f"model {text!r}: the folder has neither {' nor '.join(MODEL_FILES[:2])}; "
                "give the folder that save_pretrained wrote"
            )
        return ResolvedModel(text, str(folder), None, embedded=False, local=True)
    if missing := missing_here(text):
        raise InputError(f"model {text!r} {missing}")
    location, _, revision = text.partition("@")
    if is_hub_id(location):
        return ResolvedModel(text, location, revision or None, embedded=False, local=False)
    if "/" in text or "\\" in text:
        raise InputError(f"model {text!r}: no such folder{meant(text)}, and not a Hub id; check the path, or write "
                         "owner/name")
    raise InputError(
        f"model {text!r}: unknown name{nearest(text, embedded)}; embedded models: {', '.join(embedded) or 'none'}; "
        "or give a folder, or a Hub id as owner/name"
    )


def content_hash(folder: Path) -> str:
    """SHA-256 over the names and bytes of the files that decide a model's outputs; the first 16 hex digits.

    Configuration, vocabulary and weights count. Cards, hidden files, calibrations, `knowledge.json`,
    `sampling.json` and a judge's figures do not, so that a better model card never changes the identity of a run.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> from terrasynth.eval import content_hash
        >>> with TemporaryDirectory() as folder:
        ...     empty = content_hash(Path(folder))
        ...     Path(folder, "README.md").touch()
        ...     content_hash(Path(folder)) == empty
        ...     Path(folder, "config.json").touch()
        ...     content_hash(Path(folder)) == empty
        True
        False
    """
    return files_hash(sorted(deciding_files(folder)))


def check_safetensors(folder: Path, reference: str) -> None:
    """Refuse a model folder whose weights are missing or pickled.

    Raises:
        InputError: No `.safetensors` file lies anywhere in the folder.
    """
    if any(path.suffix == ".safetensors" for _, path in _files(folder)):
        return
    pickled = sorted(name for name, path in _files(folder) if path.suffix in PICKLED_SUFFIXES)
    if pickled:
        raise InputError(
            f"model {reference!r}: its weights are pickled ({pickled[0]}), and loading a pickle runs code; "
            "convert them with save_pretrained(..., safe_serialization=True)"
        )
    raise InputError(f"model {reference!r}: no .safetensors file in the folder; copy the weights beside its config")


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    for path in folder.rglob("*"):
        name = path.relative_to(folder)
        if path.is_file() and not any(part.startswith(".") for part in name.parts):
            yield name.as_posix(), path


def deciding_files(folder: Path) -> Iterator[tuple[str, Path]]:
    """The files that decide a model's outputs, with their names below its folder."""
    for name, path in _files(folder):
        if path.suffix in DECIDING_SUFFIXES and path.name not in NOT_DECIDING:
            yield name, path
