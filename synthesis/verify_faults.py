"""What can be wrong with a run directory, one record a fault, and what a run directory says of itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

import yaml

from synthesis.errors import InputError, RunError, one_line
from synthesis.identity import Identity, digest
from synthesis.recipe import Recipe
from synthesis.runtime import FILE as RUNTIME
from synthesis.runtime import Runtime

RECIPE, FROZEN, DAMAGED = "recipe.yaml", "identity.json", "damaged"


class Remedy(Enum):
    """What mends a fault; the value is how a line says it."""

    DRAW = "--repair draws its attempts again exactly as they were"
    MEASURE = "--repair measures its pictures again"
    WRITE = "--repair writes it again from the blocks"
    REMOVE = "--repair, or the same `terrasynth run`, removes it"
    MOVE = "--repair moves it away"
    RUN = "the same `terrasynth run` goes on"
    USER = ""


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong.

    Attributes:
        file: The file, relative to the run directory.
        what: What is wrong with it.
        remedy: What mends it.
        advice: What the user has to do; only where the remedy is his.
    """

    file: str
    what: str
    remedy: Remedy
    advice: str = ""

    @property
    def line(self) -> str:
        """File, fault and remedy."""
        return f"{self.file}: {self.what}; {self.advice or self.remedy.value}"

    def to_json(self) -> dict[str, str]:
        """Plain data; `remedy` in lower case, "user" where nothing of ours mends it."""
        return {"file": self.file, "what": self.what, "remedy": self.remedy.name.lower(),
                "advice": self.advice or self.remedy.value}


@dataclass
class RunRecord:
    """What a run directory says of itself, read without any model.

    Attributes:
        root: The run directory.
        recipe: None where it cannot be read.
        identity: Of its pictures.
        block_size: Attempts of a block.
        image_format: Of the stored pictures.
        broken: Blocks (label, index) in which a fault was found, or which are missing.
        counts: How much was looked at, by name, for the closing line.
    """

    root: Path
    recipe: Recipe | None
    identity: Identity
    block_size: int
    image_format: str
    broken: set[tuple[str, int]] = field(default_factory=set)
    counts: dict[str, int] = field(default_factory=dict)

    def relative(self, path: Path) -> str:
        """How faults name a file."""
        return path.relative_to(self.root).as_posix()

    def count(self, name: str, amount: int = 1) -> None:
        """Note that something was looked at."""
        self.counts[name] = self.counts.get(name, 0) + amount

    def blocks(self, label: str) -> Iterator[tuple[int, Path]]:
        """Number and file of each block of a class that is there, in order."""
        folder = self.root / "blocks" / label
        numbered = [(int(path.stem), path) for path in folder.glob("*.parquet") if path.stem.isdecimal()]
        yield from sorted(numbered)

    @property
    def labels(self) -> list[str]:
        """The classes of which there are blocks."""
        return sorted(path.name for path in (self.root / "blocks").glob("*") if path.is_dir())


def read_record(root: Path) -> tuple[RunRecord | None, list[Fault]]:
    """Read what a run says of itself; what one of its two files lacks is taken from the other.

    Raises:
        InputError: The folder is no run at all.
    """
    if not (root / RECIPE).is_file() and not (root / FROZEN).is_file():
        raise InputError(f"{str(root)!r} has neither {RECIPE} nor {FROZEN}, so it is no run; give a folder that "
                         "`terrasynth run` or `terrasynth export` wrote")
    faults: list[Fault] = []
    recipe = _read_recipe(root, faults)
    frozen = _read_frozen(root, recipe, faults)
    _read_runtime(root, faults)
    if frozen is None:
        return None, faults
    return RunRecord(root, recipe, *frozen), faults


def _read_recipe(root: Path, faults: list[Fault]) -> Recipe | None:
    advice = "put the recipe of this run back, for instance from version control"
    if not (root / RECIPE).is_file():
        faults.append(Fault(RECIPE, "missing", Remedy.USER, advice))
        return None
    try:
        tree = yaml.safe_load((root / RECIPE).read_text(encoding="utf-8"))
        if not isinstance(tree, dict):
            raise ValueError("it holds no settings")
        recipe = Recipe.parse(tree)
    except (OSError, ValueError, yaml.YAMLError) as error:
        faults.append(Fault(RECIPE, f"cannot be read ({one_line(error)[:160]})", Remedy.USER, advice))
        return None
    if recipe.identity is None:
        faults.append(Fault(RECIPE, "names no identity, so a run did not write it", Remedy.WRITE))
    return recipe


def _read_frozen(root: Path, recipe: Recipe | None, faults: list[Fault]) -> tuple[Identity, int, str] | None:
    """Identity, block size and picture format."""
    path = root / FROZEN
    written = recipe.identity if recipe else None
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
        identity, fixed = Identity(tree["parts"], str(tree["identity"])), (int(tree["block_size"]),
                                                                          str(tree["image_format"]))
        if digest(identity.parts) != identity.hash:
            raise ValueError(f"its parts give the identity {digest(identity.parts)}, not {identity.hash}")
        if written is not None and written != identity.hash:
            raise ValueError(f"it is of identity {identity.hash} and {RECIPE} of {written}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        known = recipe is not None and written is not None
        what = "missing" if not path.is_file() else f"cannot be trusted ({one_line(error)[:160]})"
        faults.append(Fault(FROZEN, what, Remedy.WRITE if known else Remedy.USER, "" if known else "put it back"))
        if recipe is None or written is None:
            return None
        return Identity({}, written), recipe.runtime.block_size, recipe.output.image_format
    return identity, *fixed


def _read_runtime(root: Path, faults: list[Fault]) -> None:
    advice = "put it back: without it precision and micro-batch are chosen anew, and new pictures may round otherwise"
    try:
        if Runtime.load(root) is None:
            faults.append(Fault(RUNTIME, "missing", Remedy.USER, advice))
    except RunError as error:
        reason = one_line(error).removeprefix(f"{root / RUNTIME} ").partition(";")[0]
        faults.append(Fault(RUNTIME, reason, Remedy.USER, advice))
