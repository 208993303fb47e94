"""The `cells` generator: colored cells, which neither a network nor a GPU has to draw."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.generators.base import Drawn, GeneratorSource

if TYPE_CHECKING:
    from terrasynth.synthesis.generators.runtime import Runtime
    from terrasynth.synthesis.recipe import GeneratorSettings

SIZE, CELLS = 64, 4
REVISION = "1"  # raise it whenever the same prompt and seed would give another image


class CellsPlugin:
    """`generator: {model: cells}`, or `{model: "cells:8"}` for eight cells a side."""

    def find(self, settings: GeneratorSettings) -> GeneratorSource:
        """Check the settings; nothing is loaded."""
        count = settings.model.partition(":")[2] or str(CELLS)
        if not count.isdecimal() or not int(count) or SIZE % int(count):
            raise InputError(f"generator.model {settings.model!r}: cells a side have to divide {SIZE}; write cells:8")
        if settings.lora or settings.vae or settings.scheduler != "auto" or settings.options:
            raise InputError("generator.model 'cells' has no weights, scheduler or options; leave them out")
        if (settings.height or SIZE, settings.width or SIZE) != (SIZE, SIZE):
            raise InputError(f"generator.model 'cells' draws {SIZE} x {SIZE} px; leave height and width out")
        return GeneratorSource(f"cells:{count}", f"{REVISION}-{count}", Path(__file__).parent, "Cells", 1, 0.0, "auto",
                               None, None)

    def open(self, source: GeneratorSource, runtime: Runtime) -> Cells:
        """There is nothing to load."""
        return Cells(source)


class Cells:
    """Draws cells of random colors, decided by prompt and seed.

    Attributes:
        source: What was found.
        micro_batch: Images drawn at once.
        vae_slicing: False, since nothing is decoded.
    """

    token_limit = None
    size = (SIZE, SIZE)
    micro_batch, vae_slicing = 16, False

    def __init__(self, source: GeneratorSource) -> None:
        self.source = source
        self._cells = int(source.name.partition(":")[2])

    def identity(self) -> dict[str, object]:
        """What decides an image besides prompt and seed."""
        return self.source.identity()

    def count_tokens(self, text: str) -> int:
        """Words, since there is no tokenizer."""
        return len(text.split())

    def draw(self, prompts: Sequence[str], seeds: Sequence[int]) -> Drawn:
        """Images, of which none is withheld."""
        return Drawn(self.generate(prompts, seeds))

    def generate(self, prompts: Sequence[str], seeds: Sequence[int]) -> NDArray[np.uint8]:
        """Images uint8 (N, 64, 64, 3)."""
        side = SIZE // self._cells
        images = []
        for prompt, seed in zip(prompts, seeds, strict=True):
            words = int.from_bytes(hashlib.sha256(prompt.encode()).digest()[:8], "big")
            colors = np.random.default_rng([words, seed]).integers(0, 256, (self._cells, self._cells, 3), np.uint8)
            images.append(colors.repeat(side, 0).repeat(side, 1))
        return np.stack(images)
