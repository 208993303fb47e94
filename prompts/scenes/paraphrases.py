"""Other sentences that say what one sentence says: its class's templates, told only what that one tells."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from terrasynth.prompts.scenes.clauses import frames, parse, sentence
from terrasynth.prompts.scenes.sentences import TAIL, Layout, Template, TemplateVariant

FEWEST = 3  # words: "Farmland." is true, and of no use to anybody
_STATE, _AT = TAIL

_Variants = list[TemplateVariant]


class _Coverage:
    """What a sentence tells of the words of a scene.

    Attributes:
        bits: Slots and conditions that it names.
        states: Slots whose state it says.
        relations: Slots whose relation it says.
    """

    def __init__(self, saying: TemplateVariant, layout: Layout) -> None:
        self.bits, self.states, self.relations = 0, set[int](), set[int]()
        for position in saying.positions:
            slot, part = layout.place_of(position)
            if part == _STATE:
                self.states.add(slot)
            elif part == _AT:
                self.relations.add(slot)
            elif part != "form":
                self.bits |= 1 << slot


class Paraphrases:
    """Ways to say again what one sentence of a class says.

    They are candidates: what a sentence says in its own words ("on each side") is not looked at here.
    """

    def __init__(self, layout: Layout, templates: Sequence[Template], silent: bool) -> None:
        """Prepare the templates of a class.

        Args:
            layout: How the words of a scene lie.
            silent: Sentences stay sentences where a state is left out.
        """
        self._layout, self._templates, self._silent = layout, templates, silent
        self._known: dict[int, tuple[TemplateVariant, tuple[_Variants, _Variants], list[int]]] = {}
        self._states = [position for position in range(layout.size) if layout.place_of(position)[1] == _STATE]

    def ways(self, saying: TemplateVariant, words: tuple[str, ...], text: str, draw: int) -> Iterator[str]:
        """Sentences that say no more of the scene's words than one sentence does, in an order that is drawn.

        Args:
            draw: Any number from 0 to 2**32 - 1.
        """
        if id(saying) not in self._known:
            self._known[id(saying)] = (saying, *self._prepare(saying))
        _, sayings, hushed = self._known[id(saying)]
        if hushed:
            told = list(words)
            for position in hushed:
                told[position] = ""
            words = tuple(told)
        for own in sayings:
            first = draw * len(own) >> 32
            for one in (*own[first:], *own[:first]):
                way = one.of(words)
                if way.count(" ") >= FEWEST - 1:
                    yield way
        parts = parse(text)
        for frame in frames(parts):
            yield sentence(frame, parts.head, parts.clauses)

    def _prepare(self, saying: TemplateVariant) -> tuple[tuple[_Variants, _Variants], list[int]]:
        """The sayings that need nothing else, those that name every object first; and the states that go unsaid."""
        told = _Coverage(saying, self._layout)
        objects = (1 << len(self._layout.slots)) - 1
        found: tuple[dict[object, TemplateVariant], dict[object, TemplateVariant]] = ({}, {})
        for template in self._templates:
            if template.needs & ~told.bits:
                continue
            one = template.saying(told.bits)
            own = _Coverage(one, self._layout)
            if own.relations <= told.relations and (self._silent or own.states <= told.states):
                found[own.bits & objects != told.bits & objects].setdefault((one.text, one.positions), one)
        hushed = [position for position in self._states if self._layout.place_of(position)[0] not in told.states]
        return (list(found[0].values()), list(found[1].values())), hushed
