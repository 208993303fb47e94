"""What an expander gives, and what an expander is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from terrasynth.errors import nearest
from terrasynth.prompts.errors import InputError


@dataclass(frozen=True)
class Prompt:
    """One description of one image to be made.

    Attributes:
        captions: Ways to say what the text says, or part of it, at least one; the first is `text`.
        source: Name of the expander that wrote it.
        scene: What the text says is in the image, a JSON object as a string; "{}" where only the text is known.
        choices: Other texts that the expander could have given instead, `text` among them; they may say more, or other
            things, and are for whoever has to draw another text (`prompts.scenes.entailment.redrawn`).
        whole: The scene behind all choices, as `scene` has it.
        layout: What lies where, the JSON of a `prompts.layouts.layout.Layout`; "" where only the text is known. It
            holds more than the text says, for generators that are told it beside the text, and for labels.
        edit: Of a pair of before and after, what is done to the layout: the JSON of a `prompts.layouts.changes.Edit`;
            "" for a single image. An expander gives pairs alone or none, and says so by `pairs` in its identity.
        text_after: What the image after is drawn from, as `text` is what the one before is; "" for a single image.

    Example:
        >>> from terrasynth.prompts import Prompt
        >>> captions = ("A beach beside a calm sea.", "There is a beach.")
        >>> prompt = Prompt(captions[0], label="beach", captions=captions, source="mine")
        >>> prompt.label, len(prompt.captions)
        ('beach', 2)
    """

    text: str
    label: str
    captions: tuple[str, ...]
    source: str
    scene: str = "{}"
    choices: tuple[str, ...] = field(default=(), repr=False, compare=False)
    whole: str = field(default="{}", repr=False, compare=False)
    layout: str = field(default="", repr=False)
    edit: str = field(default="", repr=False)
    text_after: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        if not self.text or not self.captions or self.captions[0] != self.text:
            raise ValueError(f"captions of {self.text!r} must start with that text, and it must not be empty")
        if bool(self.edit) is not bool(self.text_after) or (self.edit and not self.layout):
            raise ValueError(f"a pair needs layout, edit and text_after; prompt {self.text!r} has a part of these")


@runtime_checkable
class Expander(Protocol):
    """An endless, seeded stream of prompts for each class it serves.

    A plug-in is a class of this shape under the entry point group `terrasynth.expanders`; what its constructor takes
    are the options that a recipe may set.

    Example:
        >>> from terrasynth.prompts import Expander, Prompt
        >>> class Counting:
        ...     name, classes = "counting", ("forest",)
        ...     def identity(self):
        ...         return {"version": 1}
        ...     def expand(self, label, seed, start, count):
        ...         texts = [f"A {label} of {k + 1} trees." for k in range(start, start + count)]
        ...         return [Prompt(text, label, (text,), self.name) for text in texts]
        >>> isinstance(Counting(), Expander), Counting().expand("forest", seed=0, start=2, count=1)[0].text
        (True, 'A forest of 3 trees.')
    """

    @property
    def name(self) -> str:
        """What a recipe calls it."""

    @property
    def classes(self) -> tuple[str, ...]:
        """The labels it can serve, in a fixed order."""

    def identity(self) -> dict[str, object]:
        """Everything that decides its prompts, as JSON-able values without paths; equal identities, equal prompts."""

    def expand(self, label: str, seed: int, start: int, count: int) -> list[Prompt]:
        """Prompts of attempts `start` to `start + count - 1` of one class.

        Attempt k depends on (identity, label, seed, k) alone: on no earlier call, and not on where a call starts.

        Args:
            label: One of `classes`.
            start: First attempt, 0 or more; there is no last one.
            count: How many, 0 or more.

        Raises:
            InputError: `label` is not one of `classes`.
            ValueError: `start` or `count` is negative.
        """


def check_request(expander: Expander, label: str, start: int, count: int) -> None:
    """Refuse a class the expander does not serve, and negative attempts (see `Expander.expand`)."""
    if label not in expander.classes:
        raise InputError(
            f"class {label!r} is unknown to the {expander.name} expander{nearest(label, expander.classes)}; "
            f"`terrasynth init` makes a recipe for classes of your own; it has {', '.join(expander.classes)}"
        )
    if start < 0 or count < 0:
        raise ValueError(f"start {start} and count {count} must be 0 or more")
