"""What is fixed for the life of a run: `identity.json`, the identity of its images and how they are stored."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import pyarrow.parquet as pq

from terrasynth.synthesis.core import layout
from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.core.files import readable
from terrasynth.synthesis.core.identity import (
    ID_LENGTH,
    OTHER_CONTENT,
    Identity,
    differences,
    digest,
    some_differences,
)
from terrasynth.synthesis.core.records import RecordError, read_record, run_error, write_record
from terrasynth.synthesis.ledger.block_files import AGAIN, UNREADABLE, damaged
from terrasynth.synthesis.recipe import MOST_AT_ONCE, ImageFormat, Recipe

FILES = {"prompts.own_ontology": "ontology", "prompts.prompts": "path", "prompts.captions": "path",
         "prompts.masks": "masks"}  # hashes of an identity -> the option that names the file
_KEYS = {"identity", "parts", "block_size", "image_format"}


@dataclass(frozen=True)
class Frozen:
    """What a run can never change.

    Attributes:
        identity: Of its images, with the parts that it was made from.
    """

    identity: Identity
    block_size: int
    image_format: str

    @property
    def settings(self) -> dict[str, object]:
        """What is fixed beside the identity."""
        return {"block_size": self.block_size, "image_format": self.image_format}

    def save(self, run: Path) -> None:
        """Write it into a run directory."""
        content = {"identity": self.identity.hash, "parts": self.identity.parts, **self.settings}
        write_record(run / layout.IDENTITY, dict(sorted(content.items())))

    @classmethod
    def read(cls, run: Path) -> Frozen:
        """That of a run.

        Raises:
            FileNotFoundError: It has none.
            RecordError: The record cannot be believed.
            RefusedError: It may be whole and cannot be read.
        """
        tree = read_record(run / layout.IDENTITY)
        if tree.keys() != _KEYS:
            raise RecordError(f"it holds {', '.join(sorted(tree)) or 'nothing'}, not {', '.join(sorted(_KEYS))}")
        parts, size, image_format = tree["parts"], tree["block_size"], tree["image_format"]
        if not isinstance(parts, dict) or digest(parts) != tree["identity"]:
            given = _shown(digest(parts)) if isinstance(parts, dict) else "none"
            raise RecordError(f"its parts give the identity {given}, not {_shown(tree['identity'])}")
        if not isinstance(size, int) or isinstance(size, bool) or not 0 < size <= MOST_AT_ONCE:
            raise RecordError(f"block_size {_shown(size)} is impossible")
        if image_format not in get_args(ImageFormat):
            raise RecordError(f"image_format {_shown(image_format)} is impossible")
        return cls(Identity(parts, tree["identity"]), size, image_format)

    def check(self, run: Path, before: Recipe | None = None, now: Recipe | None = None) -> None:
        """Check that a run directory is of this, or that nothing was drawn there yet.

        Args:
            before: The recipe of the run's last call, by which an error calls models and files; None for by hashes.
            now: The recipe of this.

        Raises:
            InputError: It holds images of another identity, or blocks of another size or format.
            RunError: Its record cannot be believed, or a block is damaged.
            RefusedError: A file may be whole and cannot be read.
        """
        try:
            found = Frozen.read(run)
        except FileNotFoundError:
            self._check_blocks(run)
            return
        except RecordError as error:
            advice = "restore it, or `terrasynth verify` says what helps"
            raise run_error(run / layout.IDENTITY, error, advice) from error
        changed = differences(found.identity.parts, self.identity.parts, _called(before), _called(now))
        if changed:
            raise InputError(f"{str(run)!r} holds images of another identity: {some_differences(changed)}; "
                             f"{_what_helps(run, changed, now)}")
        settled = differences(found.settings, self.settings)
        if settled:
            raise InputError(
                f"{some_differences(settled)}: this is fixed for the life of the run {str(run)!r}; "
                "undo the change or choose another --out"
            )

    def _check_blocks(self, run: Path) -> None:
        """Where the record is lost: blocks of another size would be taken for damaged ones."""
        drawn = _rows_of_a_block(run)
        if drawn is not None and drawn != self.block_size:
            raise InputError(f"runtime.block_size {self.block_size} is not that of the blocks in {str(run)!r}, which "
                             f"hold {drawn} attempts; set it to {drawn}")


def _what_helps(run: Path, changed: Sequence[str], now: Recipe | None) -> str:
    """What to do where a run cannot go on: a setting can be taken back, the content of a file seldom."""
    if not any(each.endswith(OTHER_CONTENT) for each in changed):
        before, out = shlex.quote(str(run / layout.RECIPE)), shlex.quote(str(run))
        return f"choose another --out, or go on as before: terrasynth run {before} --out {out}"
    kept = "; train into another --out to keep a LoRA that a run uses" if now and now.generator.lora else ""
    return ("what is there can be exported and pushed as it is, and goes on only with the files of before; choose "
            f"another --out to draw with what is there now{kept}")


def _called(recipe: Recipe | None) -> dict[str, str]:
    """What people call the parts of an identity that are hashes, by their keys."""
    if recipe is None:
        return {}
    made, options = recipe.generator, recipe.prompts.options
    lora = f" with LoRA {made.lora}" + (f" at {made.lora_scale:g}" if made.lora_scale != 1 else "") if made.lora else ""
    more = "".join(f" with {name} {value}" for name, value in (("vae", made.vae), ("control", made.control)) if value)
    files = {key: str(options[name]) for key, name in FILES.items() if options.get(name)}
    return {"generator.revision": f"{made.model}{lora}{more}"} | files


def check_expected(expected: str | None, identity: Identity) -> None:
    """Check that a recipe resolves to the identity that it names; None where it names none.

    Raises:
        InputError: It resolves to another.
    """
    if expected is not None and expected != identity.hash:
        raise InputError(
            f"the recipe was written for identity {expected} and resolves to {identity.hash}: its seed, "
            "prompts or model have changed; take the line `identity:` out (or add --set identity=null) to make other "
            "images in a folder of their own"
        )


def block_size_of(run: Path) -> int | None:
    """Attempts of a block of a run, as recorded or else as drawn; None where nothing was drawn.

    Raises:
        RunError: A block is damaged.
        RefusedError: A file may be whole and cannot be read.
    """
    try:
        return Frozen.read(run).block_size
    except (FileNotFoundError, RecordError):  # which `Frozen.check` names, where it is damaged
        return _rows_of_a_block(run)


def _rows_of_a_block(run: Path) -> int | None:
    path = layout.first_block(run)
    if path is None:
        return None
    try:
        return int(pq.read_metadata(readable(path)).num_rows) or None
    except UNREADABLE as error:
        raise damaged(path, error, AGAIN) from error


def frozen_of(run: Path) -> Frozen:
    """What is fixed for a run that is read, not gone on with.

    Raises:
        InputError: It is no run.
        RunError: The record cannot be believed.
    """
    try:
        return Frozen.read(run)
    except FileNotFoundError as error:
        raise InputError(f"{str(run)!r} has no {layout.IDENTITY}, so it is no run; give the folder of one") from error
    except RecordError as error:
        raise run_error(run / layout.IDENTITY, error, "`terrasynth verify` says what helps") from error


def _shown(value: Any) -> str:  # noqa: ANN401 - whatever a file held
    return repr(value)[: 2 * ID_LENGTH]
