"""What a run directory says of itself, read without any model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from terrasynth.synthesis.core import layout
from terrasynth.synthesis.core.errors import InputError, RefusedError, one_line, refusal
from terrasynth.synthesis.core.files import sha256
from terrasynth.synthesis.core.identity import Identity
from terrasynth.synthesis.core.plain_yaml import YamlError, read_yaml
from terrasynth.synthesis.core.records import RecordError
from terrasynth.synthesis.generators.runtime import Runtime
from terrasynth.synthesis.ledger.block_files import drawn_by
from terrasynth.synthesis.ledger.frozen import Frozen
from terrasynth.synthesis.recipe import Recipe
from terrasynth.synthesis.verify.faults import Fault, Remedy, refused


@dataclass
class CheckedRun:
    """What a run directory says of itself, read without any model.

    Attributes:
        recipe: None where it cannot be read.
        runtime: None where it cannot be believed.
        broken: Blocks (label, index) in which a fault was found, or which are missing.
        counts: How much was looked at, by name, for the closing line.
        unlike: Blocks that say of how they were drawn what the runtime does not, by name, and in what.
        later: Faults that were met while something else was looked at.
        notes: What is no fault and has to be known, a sentence each.
    """

    root: Path
    recipe: Recipe | None
    identity: Identity
    block_size: int
    image_format: str
    runtime: Runtime | None = None
    broken: set[tuple[str, int]] = field(default_factory=set)
    counts: dict[str, int] = field(default_factory=dict)
    unlike: dict[str, str] = field(default_factory=dict)
    later: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    _hashes: dict[Path, str] = field(default_factory=dict)

    def relative(self, path: Path) -> str:
        """How faults name a file."""
        return path.relative_to(self.root).as_posix()

    def count(self, name: str, amount: int = 1) -> None:
        """Note that something was looked at."""
        self.counts[name] = self.counts.get(name, 0) + amount

    def hash_of(self, path: Path) -> str:
        """SHA-256 of a file, read once.

        Raises:
            RefusedError: It may be whole and cannot be read.
        """
        if path not in self._hashes:
            try:
                self._hashes[path] = sha256(path)
            except OSError as error:
                raise RefusedError(refusal(error) or one_line(error)) from error
        return self._hashes[path]

    def blocks(self, label: str) -> Iterator[tuple[int, Path]]:
        """Number and file of each block of a class that is there, in order."""
        folder = layout.block_folder(self.root, label)
        numbered = [(int(path.stem), path) for path in folder.glob("*.parquet") if path.stem.isdecimal()]
        yield from sorted(numbered)

    @property
    def labels(self) -> list[str]:
        """The classes of which there are blocks."""
        return [path.name for path in layout.block_folders(self.root)]


def read_record(root: Path) -> tuple[CheckedRun | None, list[Fault]]:
    """Read what a run says of itself; what one of its two files lacks is taken from the other.

    Raises:
        InputError: The folder is no run at all.
    """
    if not (root / layout.RECIPE).is_file() and not (root / layout.IDENTITY).is_file():
        raise InputError(f"{str(root)!r} has neither {layout.RECIPE} nor {layout.IDENTITY}, so it is no run; give a "
                         "folder that `terrasynth run` or `terrasynth export` wrote")
    faults: list[Fault] = []
    recipe = _read_recipe(root, faults)
    frozen = _read_frozen(root, recipe, faults)
    if frozen is None:
        return None, faults
    runtime = _read_runtime(root, frozen.identity, faults)
    return CheckedRun(root, recipe, frozen.identity, frozen.block_size, frozen.image_format, runtime), faults


def _read_recipe(root: Path, faults: list[Fault]) -> Recipe | None:
    advice = "put the recipe of this run back, for instance from version control"
    try:
        tree = read_yaml(root / layout.RECIPE)
        if not isinstance(tree, dict):
            raise YamlError("it holds no settings")
        recipe = Recipe.parse(tree)
    except FileNotFoundError:
        faults.append(Fault(layout.RECIPE, "missing", Remedy.USER, advice))
        return None
    except RefusedError as error:
        faults.append(refused(layout.RECIPE, error))
        return None
    except (InputError, YamlError) as error:
        faults.append(Fault(layout.RECIPE, f"cannot be read ({one_line(error, 160)})", Remedy.USER, advice))
        return None
    if recipe.identity is None:
        faults.append(Fault(layout.RECIPE, "names no identity, so a run did not write it", Remedy.WRITE))
    return recipe


def _read_frozen(root: Path, recipe: Recipe | None, faults: list[Fault]) -> Frozen | None:
    """Identity, block size and image format."""
    written = recipe.identity if recipe else None
    try:
        found = Frozen.read(root)
        if written is not None and written != found.identity.hash:
            raise RecordError(f"it is of identity {found.identity.hash} and {layout.RECIPE} of {written}")
    except RefusedError as error:
        faults.append(refused(layout.IDENTITY, error))
    except (FileNotFoundError, RecordError) as error:
        known = recipe is not None and written is not None
        what = "missing" if isinstance(error, FileNotFoundError) else f"cannot be trusted ({one_line(error, 160)})"
        remedy, advice = (Remedy.WRITE, "") if known else (Remedy.USER, "put it back")
        faults.append(Fault(layout.IDENTITY, what, remedy, advice))
    else:
        return found
    if recipe is None or written is None or recipe.runtime.block_size == "auto":
        return None
    return Frozen(Identity({}, written), recipe.runtime.block_size, recipe.output.image_format)


def _read_runtime(root: Path, identity: Identity, faults: list[Fault]) -> Runtime | None:
    try:
        return Runtime.read(root, identity.hash)
    except RefusedError as error:
        faults.append(refused(layout.RUNTIME, error))
    except FileNotFoundError:
        faults.append(lost_runtime(root, "missing"))
    except RecordError as error:
        faults.append(lost_runtime(root, f"cannot be believed ({one_line(error, 160)})"))
    return None


def lost_runtime(root: Path, what: str) -> Fault:
    """The fault of a runtime that is missing or wrong; blocks say how they were drawn, but for old ones."""
    if any(Runtime.of_block(drawn) is not None for drawn in drawn_by(root)):
        return Fault(layout.RUNTIME, what, Remedy.WRITE)
    return Fault(layout.RUNTIME, what, Remedy.USER, "put it back: without it precision and micro-batch are chosen "
                                                    "anew, and new images may round otherwise")
