"""A finished run as its readers see it: one object, and one sentence where a folder holds none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from terrasynth.synthesis.core import layout
from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.ledger.blocks import Blocks
from terrasynth.synthesis.ledger.finished import without_images
from terrasynth.synthesis.ledger.frozen import Frozen, frozen_of

if TYPE_CHECKING:
    from terrasynth.eval.evaluation.figures import Network
    from terrasynth.synthesis.ledger.attempts import Attempts
    from terrasynth.synthesis.ledger.pictures import RunPictures
    from terrasynth.synthesis.recipe import Recipe

SHOWN = 12
"""Images that a notebook shows."""


@dataclass(frozen=True)
class RunDirectory:
    """A run directory that is read, not written. Each part is read when it is first asked for.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> from terrasynth import Recipe, RunDirectory, run
        >>> small = ["prompts.classes=[forest]", "target.per_class=1", "generator.steps=1", "filters=[]"]
        >>> recipe = Recipe.load("demo", small)
        >>> with TemporaryDirectory() as folder:
        ...     made = RunDirectory(run(recipe, folder).root)
        ...     made.recipe.name, made.pictures(limit=8).images.shape
        ('terrasynth-demo', (1, 128, 128, 3))
    """

    root: Path

    @classmethod
    def open(cls, root: Path) -> RunDirectory:
        """A folder that is a run, whether finished or not.

        Raises:
            InputError: It has no recipe or no identity.
            RunError: The record of its identity cannot be believed.
        """
        found = cls(root)
        _ = found.recipe, found.frozen
        return found

    @cached_property
    def recipe(self) -> Recipe:
        """The recipe, resolved: with the label of every class and the size of a block.

        Raises:
            InputError: There is none, or it cannot be read.
        """
        from terrasynth.synthesis.recipe import Recipe

        if not (self.root / layout.RECIPE).is_file():
            raise InputError(f"{str(self.root)!r} has no {layout.RECIPE}, so it is no run; give the folder of one")
        return Recipe.load(self.root / layout.RECIPE)

    @cached_property
    def frozen(self) -> Frozen:
        """What is fixed for the life of the run.

        Raises:
            InputError: It is no run.
            RunError: The record cannot be believed.
        """
        return frozen_of(self.root)

    @property
    def identity(self) -> str:
        """Hash of what decides the images, 16 hexadecimal digits."""
        return self.frozen.identity.hash

    @property
    def parts(self) -> Mapping[str, Any]:
        """What was hashed: seed, generator with the hash of its files, prompts."""
        return self.frozen.identity.parts

    @property
    def guidance(self) -> float:
        """Guidance scale of the images."""
        return float(self.parts["generator"]["guidance"])

    @property
    def blocks(self) -> Blocks:
        """The blocks, for reading."""
        return Blocks(self.root, self.frozen.block_size, self.frozen.image_format, self.frozen.identity)

    def attempts(self, limit: int = 2**62) -> Attempts:
        """The attempts of all blocks, or of the first blocks of each class where there are more than `limit`."""
        from terrasynth.synthesis.ledger.attempts import Attempts

        return Attempts.of(self.blocks, limit)

    def attempt_size(self) -> tuple[int, int]:
        """Width and height in pixels of the images.

        Raises:
            InputError: None was drawn.
        """
        from terrasynth.synthesis.ledger.attempts import attempt_size

        return attempt_size(self.root)

    def pictures(self, limit: int | None = None) -> RunPictures:
        """The first accepted images, which spread evenly over the classes, as `uint8` arrays; None for all.

        Raises:
            InputError: There is no data set, or no row in it.
            RunError: A shard is damaged.
        """
        from terrasynth.synthesis.ledger.pictures import RunPictures

        return RunPictures.read(self.root, limit)

    def _repr_html_(self) -> str:
        from terrasynth.eval.images import images_html

        shown = self.pictures(SHOWN)
        texts = [f"{label}: {text}" for label, text in zip(shown.labels, shown.texts, strict=True)]
        return f"<p>{escape(str(self.root))}, identity {self.identity}</p>{images_html(shown.images, texts)}"

    def shards(self) -> list[Path]:
        """The shards of the data set, in order.

        Raises:
            InputError: There are none.
        """
        found = layout.shard_files(self.root)
        if not found:
            raise InputError(f"{str(self.root)!r} has no {layout.DATA}: {without_images(self.root)}")
        return found

    def filter_networks(self) -> tuple[Network, ...]:
        """Identities of the networks that its filters ask; one that is no longer there is left out."""
        from terrasynth.eval.errors import InputError as Unknown
        from terrasynth.eval.models.references import EMBEDDED_ROOT, resolve
        from terrasynth.synthesis.filters.base import THUMBNAIL

        found: list[Network] = []
        for each in self.recipe.filters:
            if each.source.reference not in ("", THUMBNAIL):
                try:
                    found.append(resolve(each.source.reference, (EMBEDDED_ROOT,)).identity())
                except Unknown:
                    continue
        return tuple(found)
