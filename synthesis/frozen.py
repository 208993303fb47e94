"""What is fixed for the life of a run: `identity.json`, the identity of its pictures and how they are stored."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from synthesis.blocks import Blocks
from synthesis.errors import InputError
from synthesis.identity import ID_LENGTH, Identity, digest
from synthesis.recipe import MOST_AT_ONCE, ImageFormat
from synthesis.records import RecordError, read_record, run_error, write_record

FILE = "identity.json"
_KEYS = {"identity", "parts", "block_size", "image_format"}


@dataclass(frozen=True)
class Frozen:
    """What a run can never change.

    Attributes:
        identity: Of its pictures, with the parts that it was made from.
        block_size: Attempts of a block.
        image_format: Of the stored pictures.
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
        write_record(run / FILE, dict(sorted(content.items())))

    @classmethod
    def read(cls, run: Path) -> Frozen:
        """That of a run.

        Raises:
            FileNotFoundError: It has none.
            RecordError: The record cannot be believed.
            RefusedError: It may be whole and cannot be read.
        """
        tree = read_record(run / FILE)
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


def frozen_of(run: Path) -> Frozen:
    """What is fixed for a run that is read, not gone on with.

    Raises:
        InputError: It is no run.
        RunError: The record cannot be believed.
    """
    try:
        return Frozen.read(run)
    except FileNotFoundError as error:
        raise InputError(f"{str(run)!r} has no {FILE}, so it is no run; give the folder of one") from error
    except RecordError as error:
        raise run_error(run / FILE, error, "`terrasynth verify` says what helps") from error


def blocks_of(run: Path) -> Blocks:
    """The ledger of a run that is read, not gone on with; raises as `frozen_of` does."""
    frozen = frozen_of(run)
    return Blocks(run, frozen.block_size, frozen.image_format, frozen.identity)


def _shown(value: Any) -> str:  # noqa: ANN401 - whatever a file held
    return repr(value)[: 2 * ID_LENGTH]
