"""The `layout` expander: draws a scene with places, and says of it what is true; offline."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from terrasynth.errors import nearest
from terrasynth.prompts.errors import InputError
from terrasynth.prompts.layouts.catalog import catalog_hash
from terrasynth.prompts.layouts.changes import DOINGS, Change, Doing, change, draw_edit
from terrasynth.prompts.layouts.drawing import CLASSES, REVISION, draw_layout
from terrasynth.prompts.layouts.labels import labels_of
from terrasynth.prompts.layouts.layout import MOST_PIXELS, Layout
from terrasynth.prompts.layouts.masks import Masks, mask_layout, read_masks
from terrasynth.prompts.layouts.saying import Said, captions, choose, scene_of
from terrasynth.prompts.scenes.draws import Draws
from terrasynth.prompts.scenes.entailment import DrawnPrompt
from terrasynth.prompts.types import Prompt, check_request

Shows = Callable[[Layout, Layout], bool]

CAPTIONS = 5
ALL = "all"
PAIR_REVISION = 1  # raise it when other edits would be drawn, or the image after be described otherwise
MOST_SCENES = 40  # of which one can be edited
APART = 2**40  # attempts from one of these scenes to the next: none is that of another attempt


class LayoutExpander:
    """Endless prompts, each with a layout: what lies where, in meters (docs/layouts.md).

    Layouts are drawn by rules (streets first, houses along them, cars in their lanes), or cut from masks of the user's
    own. Text and captions say numbers, colors, sides and relations that the labels of the layout have.

    With `pairs` each prompt is one of a pair: `Prompt.edit` says what is done to the layout, and `Prompt.text_after`
    what the image after is drawn from, in the same way as the text and with the same view of the scene.

    Attributes:
        classes: The labels that have rules; of masks, the one that their `classes.yaml` names.
    """

    name = "layout"

    def __init__(self, size: int = 256, gsd: float | None = None, min_pixels: int = 12,
                 masks: str | Path | None = None, pairs: str | Sequence[str] | None = None) -> None:
        """Check the options, and read the masks.

        Args:
            size: Of the images, in pixels a side.
            gsd: Meters a pixel; null for what images of each class have. Masks have their own.
            min_pixels: A thing that fills fewer pixels is not labeled and not counted.
            masks: A folder of PNG masks with a `classes.yaml`; layouts are cut from them, turned and recombined.
            pairs: Before-and-after pairs, by what is done: "all", or a list of built, destroyed, flooded, cut and
                season (season and light alone, which is no change), drawn alike often where the scene allows it; null
                for single images.

        Raises:
            InputError: An option is out of range, or the masks are wrong.
        """
        _whole("size", size, 16, MOST_PIXELS)
        _whole("min_pixels", min_pixels, 1, size * size)
        if gsd is not None and not (isinstance(gsd, int | float) and 0.05 <= gsd <= 30):
            raise InputError(f"option gsd {gsd!r} of the layout expander has to be 0.05 to 30 m a pixel")
        if gsd is not None and masks is not None:
            raise InputError(f"option gsd {gsd!r} of the layout expander and masks exclude each other: classes.yaml of "
                             "the masks has it")
        self._size, self._gsd, self._min_pixels = size, gsd, min_pixels
        self._doings = _doings(pairs)
        self._shows: Shows = lambda before, after: True
        self._masks: Masks | None = None if masks is None else read_masks(masks, size)
        self.classes: tuple[str, ...] = CLASSES if self._masks is None else (self._masks.label,)

    def identity(self) -> dict[str, object]:
        """Expander, revision of the rules, hashes of catalog and masks, and the options."""
        own: dict[str, object] = {} if self._masks is None else {"masks": self._masks.hash}
        if self._doings:
            own["pairs"] = {"revision": PAIR_REVISION, "doings": list(self._doings)}
        return {"expander": self.name, "revision": REVISION, "catalog": catalog_hash(), "size": self._size,
                "gsd": self._gsd, "min_pixels": self._min_pixels, **own}

    def expand(self, label: str, seed: int, start: int, count: int) -> list[Prompt]:
        """See `Expander.expand`; `Prompt.layout` is a layout as JSON, `Prompt.scene` what the text says of it.

        Raises:
            InputError: Of pairs: nothing that is asked for can be done to any of `MOST_SCENES` scenes of the class.
        """
        check_request(self, label, start, count)
        return [self._prompt(label, seed, k) for k in range(start, start + count)]

    def layout(self, label: str, seed: int, k: int) -> Layout:
        """The layout of an attempt."""
        if self._masks is not None:
            return mask_layout(self._masks, seed, k, self._size, self._min_pixels)
        return draw_layout(label, seed, k, self._size, self._gsd, self._min_pixels)

    def shown_by(self, shows: Shows) -> None:
        """Give no pair of which something changed and a generator would not be shown it.

        Args:
            shows: Whether the generator is shown two layouts differently.
        """
        self._shows = shows

    def pair(self, label: str, seed: int, k: int) -> Change:
        """The pair of an attempt, of an expander of pairs.

        Where the scene of the attempt allows nothing that is asked for and shown, another one is drawn for it.

        Raises:
            InputError: See `expand`.
        """
        for number in range(MOST_SCENES):
            layout = self.layout(label, seed, k + number * APART)
            draws = Draws("layout pairs", label, seed, k, number)
            for doing in draws.shuffled(self._doings):
                edit = draw_edit(layout, doing, draws)
                if edit is not None:
                    pair = change(layout, edit)
                    if not pair.changed or self._shows(pair.before, pair.after):
                        return pair
        raise InputError(f"in {MOST_SCENES} scenes of class {label!r} there is nothing to be "
                         f"{' or '.join(self._doings)} that the generator would be shown; add season to the option "
                         "pairs of the layout expander, or leave the class out")

    def _prompt(self, label: str, seed: int, k: int) -> Prompt:
        pair = self.pair(label, seed, k) if self._doings else None
        layout = self.layout(label, seed, k) if pair is None else pair.before
        draws = Draws("layout texts", label, seed, k)
        said = choose(labels_of(layout), draws)
        ways = captions(said, draws, CAPTIONS)
        edit, after = ("", "") if pair is None else (pair.edit.to_json(), _after(pair, said, seed, k))
        return DrawnPrompt(ways[0], label, ways, self.name, scene_of(said).to_json(), most=CAPTIONS,
                           layout=layout.to_json(), edit=edit, text_after=after)


def _after(pair: Change, said: Said, seed: int, k: int) -> str:
    """What the image after is drawn from: what is said of its layout in the same words, as far as they hold.

    Season and light of it are said where they differ, since nothing else would show them.
    """
    label, after = pair.before.label, pair.after
    draws = Draws("layout texts", label, seed, k)
    choose(labels_of(pair.before), draws)  # so that the form of the sentence is drawn from where `said` drew it
    if not pair.changed:
        told = replace(said, season=after.season, light=after.light)
    else:
        now = choose(labels_of(after), Draws("layout texts", label, seed, k))
        told = replace(now, season=said.season, light=said.light, view=said.view)
    return captions(told, draws, 1)[0]


def _doings(pairs: object) -> tuple[Doing, ...]:
    """What may be done, in the order of `DOINGS`."""
    if pairs is None:
        return ()
    if pairs == ALL:
        return DOINGS
    if not isinstance(pairs, list | tuple) or not pairs:
        raise InputError(f"option pairs {pairs!r} of the layout expander has to be {ALL}, or a list of "
                         f"{', '.join(DOINGS)}")
    for place, one in enumerate(pairs):
        if one not in DOINGS:
            raise InputError(f"option pairs of the layout expander has {one!r}, which nothing does"
                             f"{nearest(str(one), DOINGS)}; there is {', '.join(DOINGS)}")
        if one in pairs[:place]:
            raise InputError(f"option pairs of the layout expander has {one!r} twice; name it once")
    return tuple(one for one in DOINGS if one in pairs)


def _whole(name: str, value: object, least: int, most: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise InputError(f"option {name} {value!r} of the layout expander has to be a whole number from {least} to "
                         f"{most}")
