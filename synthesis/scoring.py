"""What the filters' encoders say about stored pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from synthesis.blocks import Blocks
from synthesis.decisions import NamedJudge
from synthesis.filters import THUMBNAIL, Measurements
from synthesis.identity import digest
from synthesis.images import decode_all
from synthesis.quiet import quiet
from synthesis.recipe import Recipe


class Encoders:
    """The encoders of a recipe's filters, each loaded once.

    Attributes:
        primary: Key of the first, whose measurements are stored inside the blocks; None without filters.
    """

    def __init__(self, recipe: Recipe, device: str) -> None:
        from eval import Encoder, ThumbnailEncoder, load_encoder

        def load(reference: str) -> Encoder:
            return ThumbnailEncoder() if reference == THUMBNAIL else load_encoder(reference, device=device)

        references = [each.encoder for each in recipe.filters]
        with quiet():
            loaded = {reference: load(reference) for reference in dict.fromkeys(references)}
        keys = {reference: digest(encoder.identity()) for reference, encoder in loaded.items()}
        self._recipe = recipe
        self._keys = [keys[reference] for reference in references]
        self._by_key = {keys[reference]: encoder for reference, encoder in loaded.items()}
        self.primary = self._keys[0] if self._keys else None

    def check(self, labels: Sequence[str]) -> None:
        """Check that every filter can judge every class.

        Raises:
            InputError: A filter needs a calibration that its encoder lacks.
        """
        for settings, key in zip(self._recipe.filters, self._keys, strict=True):
            settings.check(labels, self._by_key[key])

    def judges(self, label: str, scratch: Path) -> list[NamedJudge]:
        """Fresh judges for one class, in the recipe's order."""
        return [
            NamedJudge(name, key, settings.judge(label, self._by_key[key], scratch))
            for name, key, settings in zip(self._recipe.filter_names, self._keys, self._recipe.filters, strict=True)
        ]

    def measure(self, key: str, images: Sequence[bytes], texts: Sequence[str]) -> Measurements:
        """Measure stored pictures; what was stored is what is judged, so that judging again gives the same.

        Args:
            key: The encoder's.
            images: N encoded pictures.
            texts: N texts.
        """
        encoder = self._by_key[key]
        seen = encoder.encode_images(decode_all(images))
        if not encoder.reads_text:
            return Measurements(np.full(len(seen), np.nan, np.float32), seen.astype(np.float32))
        read = encoder.encode_texts(list(texts))
        return Measurements((seen * read).sum(axis=1).astype(np.float32), seen.astype(np.float32))

    def of_block(self, blocks: Blocks, label: str, index: int, key: str) -> Measurements:
        """What an encoder says about a block: read where it is known, else measured and kept."""
        known = blocks.measurements(label, index, key)
        if known is None:
            texts = blocks.read(label, index, ["text"]).column("text").to_pylist()
            known = self.measure(key, blocks.pictures(label, index), texts)
            blocks.write_measurements(label, index, key, known)
        return known
