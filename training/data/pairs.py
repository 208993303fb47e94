"""Image-caption pairs, as every reader of real data gives them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from PIL import Image

from terrasynth.synthesis.core.terminal import on_one_line

SHOWN = 20
Opener = Callable[[], Image.Image]


@dataclass(frozen=True)
class Pair:
    """One real image with its captions.

    Attributes:
        name: File name or row number, unique in its `PairSet`; a report of a broken image calls it so.
        label: Scene class, or "" if the data names none.
        split: "train", "val" or "test".
        captions: At least one caption, white space trimmed; none only where `read_pairs` was asked for `captionless`.
        open: Opens the image as an RGB `PIL.Image`, upright, transparent pixels black; raises `OSError` if it is
            broken.
        source: Index of its data set in `PairSet.sources`.
        gsd: Ground sampling distance in meters per pixel; None if the data states none.
        before: For change captions: opens the earlier image of the same place, while `open` gives the later one.
        described: Whether the data themselves have its captions; otherwise a data YAML has, for all of its class.

    Example:
        >>> from PIL import Image
        >>> from terrasynth.training.data import Pair
        >>> pair = Pair("1.png", "beach", "train", ("waves at a beach",), lambda: Image.new("RGB", (64, 48)))
        >>> pair.label, pair.open().size
        ('beach', (64, 48))
    """

    name: str
    label: str
    split: str
    captions: tuple[str, ...]
    open: Opener = field(repr=False, compare=False)
    source: int = 0
    gsd: float | None = None
    before: Opener | None = field(default=None, repr=False, compare=False)
    described: bool = True


@dataclass(frozen=True)
class Skipped:
    """A row that was left out, and why.

    Example:
        >>> from terrasynth.training.data import PairSet, Skipped
        >>> PairSet([], [Skipped("2.png", "no caption")]).news()
        ['left out 2.png: no caption', '1 rows or captions left out, 0 pairs kept']
    """

    name: str
    reason: str


@dataclass
class PairSet:
    """Image-caption pairs together with what had to be left out.

    Attributes:
        pairs: The pairs, data set by data set, in the order of their files.
        skipped: Rows and captions that were left out, each once.
        notes: What a user should know of how the data was read, one sentence each.
        sources: Names of the data sets, without a path of this machine.
        layouts: What each of them was read as, in words.

    Example:
        >>> from PIL import Image
        >>> from terrasynth.training.data import Pair, PairSet
        >>> image = Image.new("RGB", (64, 64))
        >>> pairs = PairSet([Pair("1.png", "beach", "train", ("waves at a beach",), lambda: image),
        ...                  Pair("2.png", "", "val", ("some trees",), lambda: image)], [])
        >>> pairs.labels, len(pairs.split("val")), pairs.with_class().skipped
        (('beach',), 1, [Skipped(name='2.png', reason='names no class')])
    """

    pairs: list[Pair]
    skipped: list[Skipped]
    notes: list[str] = field(default_factory=list)
    sources: tuple[str, ...] = ()
    layouts: tuple[str, ...] = ()
    _said: tuple[int, int] = field(default=(0, 0), repr=False, compare=False)

    def split(self, name: str) -> list[Pair]:
        """The pairs of one split ("train", "val" or "test"), in file order."""
        return [pair for pair in self.pairs if pair.split == name]

    @property
    def labels(self) -> tuple[str, ...]:
        """The distinct scene classes, sorted."""
        return tuple(sorted({pair.label for pair in self.pairs if pair.label}))

    def with_class(self) -> PairSet:
        """The pairs that name a class; the others are listed as left out."""
        pairs = [pair for pair in self.pairs if pair.label]
        rest = [Skipped(pair.name, "names no class") for pair in self.pairs if not pair.label]
        return PairSet(pairs, merged(self.skipped, rest), self.notes, self.sources, self.layouts, self._said)

    def news(self) -> list[str]:
        """Lines on notes and left-out rows that no earlier call gave: the first twenty rows by name, then a count."""
        notes, rows = self.notes[self._said[0] :], self.skipped[self._said[1] :]
        self._said = (len(self.notes), len(self.skipped))
        lines = [f"note: {on_one_line(note)}" for note in notes]
        lines += [f"left out {on_one_line(row.name)}: {on_one_line(row.reason)}" for row in rows[:SHOWN]]
        if rows:
            lines.append(f"{len(self.skipped)} rows or captions left out, {len(self.pairs)} pairs kept")
        return lines


def report_skipped(pairs: PairSet) -> None:
    """Say on standard error, once, how the data was read and what was left out.

    Example:
        >>> from terrasynth.training.data import PairSet, Skipped, report_skipped
        >>> pairs = PairSet([], [Skipped("2.png", "no caption")])
        >>> report_skipped(pairs)
        >>> pairs.news()   # all was said
        []
    """
    for line in pairs.news():
        print(line, file=sys.stderr)


def merged(skipped: Iterable[Skipped], further: Iterable[Skipped]) -> list[Skipped]:
    """Left-out rows without repetition, in order."""
    return list(dict.fromkeys([*skipped, *further]))
