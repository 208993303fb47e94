"""Images of prototypes: patches around image tokens, a sheet of them, and the entropy of every lookup."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import wrap

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from terrasynth.errors import not_installed
from terrasynth.eval.pages.page import png_uri
from terrasynth.eval.pages.sheets import GROUND, INK, MARGIN, SOFT_INK
from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.core.images import encode
from terrasynth.synthesis.studies.prototypes.counters import LookupFigures

THUMB = 80
GAP = 6
TEXT_WIDTH = 196
TITLE_SIZE, SMALL_SIZE = 14, 12
ROW = THUMB + 34
BAR = (47, 111, 179)
TRACK = (236, 238, 240)
TICK = (163, 39, 63)
IMAGE_COLOUR, WORD_COLOUR = "#2f6fb3", "#dd8a3c"


@dataclass(frozen=True)
class Patch:
    """Where a prototype answered strongly.

    Attributes:
        image: uint8 (S, S, 3): the surroundings of the image token that was read, which is framed.
        answer: 0 to 1.
        picture: Its number.
        token: Number of the image token, row by row.
        label: Class of the image.
    """

    image: NDArray[np.uint8]
    answer: float
    picture: int
    token: int
    label: str

    @property
    def uri(self) -> str:
        """The image as a data URI."""
        return png_uri(encode(self.image, "png"))


@dataclass(frozen=True)
class ShownPrototype:
    """One prototype of the page and the figure.

    Attributes:
        lookup: Name of its lookup.
        number: In its lookup, from 0.
        label: The class it favors.
        share: Of that class.
        chance: The share without favor.
        selective: Whether that is beyond the shuffles.
        words: The words it favors, each with its share; empty for the head.
        patches: Of different images, the strongest answer first.
    """

    lookup: str
    number: int
    label: str
    share: float
    chance: float
    selective: bool
    words: tuple[tuple[str, float], ...]
    patches: tuple[Patch, ...]


def token_patch(
    picture: NDArray[np.uint8], token: int, side: int, context: int, thumb: int = THUMB
) -> NDArray[np.uint8]:
    """The surroundings of an image token, with a frame around the token itself.

    Args:
        picture: uint8 (H, H, 3).
        token: 0 .. side**2 - 1, row by row.
        side: Tokens a row.
        context: Tokens a side of what is cut out; at the image's edge the token is not in the middle.
        thumb: Side of the result in pixels.

    Returns:
        uint8 (thumb, thumb, 3).
    """
    context, pixels = min(context, side), picture.shape[0] // side
    row, column = divmod(token, side)
    top, left = (max(0, min(place - context // 2, side - context)) for place in (row, column))
    cut = picture[top * pixels : (top + context) * pixels, left * pixels : (left + context) * pixels]
    # Enlarged pixels stay squares, as in the contact sheets.
    way = Image.Resampling.NEAREST if thumb >= len(cut) else Image.Resampling.LANCZOS
    patch = Image.fromarray(cut).resize((thumb, thumb), way)
    draw, scale = ImageDraw.Draw(patch), thumb / context
    x, y = (column - left) * scale, (row - top) * scale
    for grow, colour in ((1, (0, 0, 0)), (0, (255, 255, 255))):
        draw.rectangle((x - grow, y - grow, x + scale - 1 + grow, y + scale - 1 + grow), outline=colour)
    return np.asarray(patch)


def prototype_sheet(shown: Sequence[ShownPrototype], caption: Sequence[str]) -> NDArray[np.uint8]:
    """A figure of prototypes: lookup and number, favored class and words, patches; in two columns from nine on.

    Args:
        shown: At least one.
        caption: Paragraphs below.

    Returns:
        uint8 (H, W, 3), on a white ground.
    """
    columns = 2 if len(shown) > 8 else 1
    rows = -(-len(shown) // columns)
    patches = max(len(each.patches) for each in shown)
    cell = TEXT_WIDTH + patches * (THUMB + GAP) + 2 * GAP
    width = columns * cell + 2 * MARGIN
    small = ImageFont.load_default(SMALL_SIZE)
    lines = [line for each in caption for line in wrap(each, int((width - 2 * MARGIN) / small.getlength("n")))]
    height = rows * ROW + len(lines) * (SMALL_SIZE + 4) + 2 * MARGIN
    sheet = Image.new("RGB", (width, height), GROUND)
    draw = ImageDraw.Draw(sheet)
    for place, each in enumerate(shown):
        left, top = MARGIN + place // rows * cell, MARGIN + place % rows * ROW
        _describe(draw, each, left, top)
        for number, patch in enumerate(each.patches):
            x = left + TEXT_WIDTH + number * (THUMB + GAP)
            sheet.paste(Image.fromarray(patch.image), (x, top))
            draw.text((x, top + THUMB + 2), f"{patch.answer:.3f}", SOFT_INK, small)
    for number, line in enumerate(lines):
        draw.text((MARGIN, MARGIN + rows * ROW + number * (SMALL_SIZE + 4)), line, SOFT_INK, small)
    return np.asarray(sheet)


def _describe(draw: ImageDraw.ImageDraw, each: ShownPrototype, left: int, top: int) -> None:
    title, small = ImageFont.load_default(TITLE_SIZE), ImageFont.load_default(SMALL_SIZE)
    width = TEXT_WIDTH - 2 * GAP
    draw.text((left, top - 2), f"{each.lookup}, prototype {each.number}", INK, title)
    chance = "" if each.selective else " (chance)"
    for line in wrap(f"{each.label} {each.share:.2f}{chance}", 30)[:1]:
        draw.text((left, top + 18), line, INK, small)
    y = top + 37
    draw.rectangle((left, y, left + width, y + 6), fill=TRACK)
    draw.rectangle((left, y, left + round(width * each.share), y + 6), fill=BAR)
    tick = left + round(width * each.chance)
    draw.line((tick, y - 2, tick, y + 8), fill=TICK, width=2)
    words = ", ".join(f"{word} {share:.2f}" for word, share in each.words)
    for number, line in enumerate(wrap(words, 30)[:3]):
        draw.text((left, top + 49 + number * (SMALL_SIZE + 3)), line, SOFT_INK, small)


def check_plots() -> None:
    """Check that figures can be drawn, before anything else is.

    Raises:
        InputError: The package `matplotlib` is missing.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise InputError(not_installed("the figure of the prototypes' answers", "matplotlib", "plots")) from error


def entropy_figure(lookups: Sequence[LookupFigures]) -> bytes:
    """Mean entropy of every lookup's answers with its 10 to 90 % range, beside that of an even answer; a PNG file."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 3.6), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    places = np.arange(len(lookups))
    most = float(np.log(max(len(each.largest) for each in lookups)))
    for name, colour, shift, found in (
        ("image tokens", IMAGE_COLOUR, -0.06, [each.image_entropy for each in lookups]),
        ("words", WORD_COLOUR, 0.06, [each.word_entropy for each in lookups]),
    ):
        known = [(place + shift, each) for place, each in zip(places, found, strict=True) if each is not None]
        if known:
            x, entropies = zip(*known, strict=True)
            axes.plot(x, [each.mean for each in entropies], "o-", color=colour, label=name)
            axes.vlines(x, [each.low for each in entropies], [each.high for each in entropies], color=colour, lw=3,
                        alpha=0.35)
    axes.axhline(most, color="#5c636d", ls="--", lw=1, label="even answer of all")
    axes.set_xticks(places, [each.name for each in lookups])
    axes.set_ylabel("entropy of the answers (nats)")
    axes.set_ylim(0, most * 1.08)
    effective = axes.secondary_yaxis("right")
    ticks = [count for count in (1, 3, 10, 30, 100, 300, 1000, 3000, 10000) if np.log(count) <= most * 1.08]
    effective.set_yticks([float(np.log(count)) for count in ticks], [str(count) for count in ticks])
    effective.set_ylabel("effective number of prototypes")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(frameon=False, ncols=3, loc="outside upper center")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
