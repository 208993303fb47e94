"""A run that is held for writing, as the ledger sees it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from terrasynth.synthesis.recipe import KeptRows, Recipe

if TYPE_CHECKING:
    from terrasynth.synthesis.core.identity import Identity
    from terrasynth.synthesis.ledger.blocks import Blocks
    from terrasynth.synthesis.ledger.measuring import Encoders


class Drawer(Protocol):
    """What rows say of the model that drew them."""

    @property
    def name(self) -> str:
        """The model's reference, without folders of this machine."""

    @property
    def revision(self) -> str:
        """Commit or content hash of its files."""

    @property
    def guidance(self) -> float:
        """Guidance scale."""

    @property
    def steps(self) -> int:
        """Denoising steps."""


class OpenRun(Protocol):
    """What shards and the note of a finished run need of `execution.job.Job`, which models they do not load.

    Attributes:
        identity: Hash of what decides the images.
        classes: Labels in the order of the data set.
    """

    root: Path
    recipe: Recipe
    identity: Identity
    classes: tuple[str, ...]
    blocks: Blocks

    @property
    def source(self) -> Drawer:
        """The generator."""

    @property
    def encoders(self) -> Encoders:
        """What measured the blocks."""

    def target_of(self, label: str) -> tuple[int, int, KeptRows | None]:
        """Rows wanted of a class, the most attempts, and what is kept beyond them."""
