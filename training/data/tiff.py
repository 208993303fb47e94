"""What the tags of a TIFF file say of its samples, before anything is decoded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

from PIL.TiffImagePlugin import ImageFileDirectory_v2

from terrasynth.training.errors import ImageError

SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
MOST_PAGES = 64
GRAY, RGB, PALETTE, SEPARATED, YCBCR = (0, 1), 2, 3, 5, 6
REDUCED, MASK = 1, 4  # bits of NewSubfileType
UNSIGNED = 1


@dataclass(frozen=True)
class Tiff:
    """The first image of a TIFF file.

    Attributes:
        width: In pixels.
        height: In pixels.
        bands: Samples of a pixel, alpha included.
        bits: Most bits of a sample.
        unsigned: Whether samples are unsigned integers.
        photometric: How samples are to be taken, as the tag of that name says.
        extra: What each sample beyond those of a color is: 1 and 2 for alpha, 0 for unsaid.
        orientation: 1 to 8, as EXIF counts.
    """

    width: int
    height: int
    bands: int
    bits: int
    unsigned: bool
    photometric: int
    extra: tuple[int, ...]
    orientation: int

    @property
    def is_deep(self) -> bool:
        """Whether it takes a range to make 8 bits of a sample."""
        return self.bits > 8 or not self.unsigned

    @property
    def color_bands(self) -> tuple[int, ...] | None:
        """The bands, from 1, that the file itself says are gray, or red, green and blue; None if it does not say."""
        rest = self.bands - len(self.extra)
        if any(kind not in (1, 2) for kind in self.extra) or len(self.extra) > 1:
            return None
        if self.photometric in GRAY and rest == 1:
            return (1,)
        return (1, 2, 3) if self.photometric == RGB and rest == 3 else None

    @property
    def is_plain(self) -> bool:
        """Whether the file says what color each sample is, in 8 bits or fewer."""
        known = self.color_bands is not None or (self.photometric, self.bands) in (
            (PALETTE, 1), (SEPARATED, 4), (YCBCR, 3))
        return known and not self.is_deep


def read_tags(file: BinaryIO) -> Tiff:
    """The tags of the first image; the file is at its start before and after.

    Raises:
        ImageError: There are several images that are no smaller versions of the first one.
        Exception: Whatever a broken file makes of Pillow's reader.
    """
    head = file.read(8)
    head += file.read(8) if head[2:3] == b"+" or head[3:4] == b"+" else b""
    pages: list[ImageFileDirectory_v2] = []
    seen: set[int] = set()
    directory = ImageFileDirectory_v2(head)
    position = directory.next
    while position and position not in seen and len(pages) < MOST_PAGES:
        seen.add(position)
        file.seek(position)
        directory = ImageFileDirectory_v2(head)
        directory.load(file)
        pages.append(directory)
        position = directory.next
    file.seek(0)
    if not pages:
        raise ImageError("a TIFF file without an image")
    if others := sum(not int(page.get(254, 0)) & (REDUCED | MASK) for page in pages[1:]):
        raise ImageError(f"a TIFF file of {others + 1} images; which is meant is not guessed, so give each its own "
                         "file")
    first = pages[0]
    bands = int(first.get(277, 1))
    bits = first.get(258, (1,))
    formats = first.get(339, (UNSIGNED,))
    return Tiff(int(first[256]), int(first[257]), bands, max(_tuple(bits)),
                all(kind == UNSIGNED for kind in _tuple(formats)), int(first.get(262, 1)),
                tuple(_tuple(first.get(338, ()))), int(first.get(274, 1)))


def _tuple(value: object) -> tuple[int, ...]:
    return tuple(int(one) for one in value) if isinstance(value, tuple) else (int(value),)  # type: ignore[call-overload]
