"""Real image-caption data for the commands; `training` alone can read it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from terrasynth.synthesis.core.errors import InputError

if TYPE_CHECKING:
    from terrasynth.synthesis.core.real_pictures import RealPictures
    from terrasynth.training.data import Pair, PairSet

ALL = "all"
"""Stands for every split."""


class RealData:
    """Real data of which several splits are asked for: read once, so that how it was read is said once.

    Args:
        source: Folder, file, Hub id or data YAML.

    Raises:
        InputError: The data cannot be read.
    """

    def __init__(self, source: Path) -> None:
        from terrasynth.training.data import read_pairs

        self.source, self._found = source, read_pairs(source)

    def images(self, split: str, limit: int | None, size: tuple[int, int]) -> RealPictures:
        """See `real_images`.

        Raises:
            InputError: There is no such split.
        """
        from terrasynth.synthesis.core.real_pictures import real_pictures
        from terrasynth.training.data import report_skipped

        pairs = _of_split(self._found, self.source, split)
        report_skipped(self._found)
        return real_pictures(pairs[:limit], size)


def real_pairs(source: Path, split: str, captionless: bool = False) -> Sequence[Pair]:
    """The pairs of a split, at least one; what was left out goes to standard error.

    Args:
        captionless: Keep images without a caption.

    Raises:
        InputError: The data cannot be read, or has no such split.
    """
    from terrasynth.training.data import read_pairs, report_skipped

    found = read_pairs(source, captionless=captionless)
    pairs = _of_split(found, source, split)
    report_skipped(found)
    return pairs


def real_images(source: Path, split: str, limit: int | None, size: tuple[int, int]) -> RealPictures:
    """The first images of a split, at one (width, height), with a caption and, where all have one, the class."""
    return RealData(source).images(split, limit, size)


def real_captions(source: Path, split: str) -> list[tuple[str, str]]:
    """Class and caption of the pairs of a split.

    Raises:
        InputError: The data cannot be read, or has no such split.
    """
    from terrasynth.training.data import read_pairs

    return [(pair.label, caption) for pair in _of_split(read_pairs(source), source, split) for caption in pair.captions]


def _of_split(found: PairSet, source: Path, split: str) -> Sequence[Pair]:
    pairs = found.pairs if split == ALL else found.split(split)
    if not pairs:
        raise InputError(f"{str(source)!r} has no pairs in split {split!r}; it has {len(found.pairs)} in all")
    return pairs
