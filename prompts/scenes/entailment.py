"""What a drawn text leaves true: captions and scenes are cut down to what the text says.

An image is drawn, and judged, from a prompt's text alone. Whatever else is said about the image (other captions, the
scene, answers made from it) has to follow from that text, or the data set teaches what nobody asked the generator for.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property, lru_cache
from itertools import chain, islice

from terrasynth.prompts.scenes.lexicon import Lexicon, Tokens, lexicon_of, noun_forms, phrase_tokens, tokens
from terrasynth.prompts.scenes.scene import Relation, Scene, SceneObject
from terrasynth.prompts.scenes.statements import NounPhrase, Statement, read, read_tokens, says_other
from terrasynth.prompts.scenes.wording import singular, words
from terrasynth.prompts.types import Prompt

REVISION = 1  # raise it when this code would keep other captions or scenes of the same rows
UNKNOWN = "{}"


class DrawnPrompt(Prompt):
    """A prompt whose captions and scene hold of what is drawn from its text; they are read when somebody asks."""

    def __init__(
        self, text: str, label: str, choices: Sequence[str], source: str, scene: str,
        ways: Callable[[], Iterable[str]] = tuple, most: int | None = None, layout: str = "", edit: str = "",
        text_after: str = "",
    ) -> None:
        """Take what the captions and the scene are made of.

        Args:
            choices: All texts that could be drawn, `text` among them.
            ways: Gives further ways to say it, tried before the choices.
            most: Captions to have at most, the text included; None for all that hold.
            layout: See `Prompt`.
            edit: See `Prompt`.
            text_after: See `Prompt`.
        """
        known = {"text": text, "label": label, "choices": tuple(choices), "source": source, "whole": scene,
                 "layout": layout, "edit": edit, "text_after": text_after, "_ways": ways, "_most": most}
        vars(self).update(known)

    @cached_property
    def captions(self) -> tuple[str, ...]:
        """See `Prompt`."""
        return self._read[0]

    @cached_property
    def scene(self) -> str:
        """See `Prompt`."""
        return self._read[1]

    @property
    def settled(self) -> bool:
        """Whether captions and scene stay what they are when they are cut again (`cut`), which most do."""
        return self._read[2]()

    @cached_property
    def _read(self) -> tuple[tuple[str, ...], str, Callable[[], bool]]:
        own, text, label = vars(self), self.text, self.label  # what is returned must not refer to the prompt
        if own["_ways"] is tuple and self.whole == UNKNOWN and len(self.choices) < 2:
            return (text,), UNKNOWN, lambda: True
        known = _scene(self.whole)
        lexicon = lexicon_of(label, known)
        said = read(text, lexicon)
        found = implied(said, text, chain(own["_ways"](), self.choices), lexicon)
        captions = (text, *islice(found, None if own["_most"] is None else own["_most"] - 1))
        left = cut_scene(said, known) if said.sure and known is not None else None
        if left is None or not left.objects:
            scene = _cut(said, text, known, self.whole)
            return captions, scene, lambda: cut(text, label, captions, scene) == (captions, scene)
        # The same words in the same lexicon say the same, so that no caption falls; what is left is the scene.
        return captions, left.to_json(), lambda: left == known or (
            lexicon_of(label, left) is lexicon and cut_scene(said, left) == left)

    def __reduce__(self) -> tuple[type[Prompt], tuple[object, ...]]:
        return Prompt, (self.text, self.label, self.captions, self.source, self.scene, self.choices, self.whole,
                        self.layout, self.edit, self.text_after)


def held(prompt: Prompt) -> Prompt:
    """The prompt of any expander with captions and scene that its text implies."""
    if isinstance(prompt, DrawnPrompt) or (prompt.captions == (prompt.text,) and prompt.scene == UNKNOWN):
        return prompt
    return DrawnPrompt(prompt.text, prompt.label, prompt.captions, prompt.source, prompt.scene, layout=prompt.layout,
                       edit=prompt.edit, text_after=prompt.text_after)


def redrawn(prompt: Prompt, text: str) -> Prompt:
    """The prompt with another of its choices as its text; captions and scene follow."""
    return DrawnPrompt(text, prompt.label, prompt.choices or prompt.captions, prompt.source,
                       prompt.whole if prompt.choices else prompt.scene, layout=prompt.layout, edit=prompt.edit,
                       text_after=prompt.text_after)


def cut(text: str, label: str, captions: Sequence[str], scene: str) -> tuple[tuple[str, ...], str]:
    """Captions and scene, as far as the drawn text implies them; what was cut once stays as it is.

    Args:
        captions: Other ways to say it; `text` may be among them.
        scene: JSON object, a `prompts.scenes.scene.Scene` or another one.

    Returns:
        The captions that hold, `text` first, and the scene that holds: "{}" where nothing is known to.
    """
    if scene == UNKNOWN and not set(captions) - {text}:
        return (text,), scene
    known = _scene(scene)
    lexicon = lexicon_of(label, known)
    said = read(text, lexicon)
    return (text, *implied(said, text, captions, lexicon)), _cut(said, text, known, scene)


def implied(said: Statement, text: str, captions: Iterable[str], lexicon: Lexicon) -> Iterator[str]:
    """The captions beside the text itself that say nothing but what it says, each once, in order."""
    seen, known = {text}, frozenset(tokens(text))
    for caption in captions:
        if caption not in seen:
            seen.add(caption)
            told = tokens(caption)
            if not says_other(told, known, lexicon) and said.implies(read_tokens(told, lexicon)):
                yield caption


def _cut(said: Statement, text: str, known: Scene | None, scene: str) -> str:
    """The JSON of a scene, cut down to what is said."""
    if not said.sure:
        return UNKNOWN
    if known is not None:
        left = cut_scene(said, known)
        return left.to_json() if left.objects else UNKNOWN
    return scene if scene == UNKNOWN or _only_words_of(text, scene) else UNKNOWN


def cut_scene(said: Statement, scene: Scene) -> Scene:
    """The part of a scene that a text states."""
    free = list(said.things)
    kept: list[tuple[SceneObject, str]] = []
    for thing in scene.objects:
        found = _find(thing, free, said, scene)
        if found is not None:
            kept.append(found)
    nouns = {thing.role: noun for thing, noun in kept}
    conditions = {claim[1] for claim in said.claims if claim[0] in ("condition", "view")}
    return Scene(
        scene.label,
        tuple(thing for thing, _ in kept),
        tuple(one for one in scene.relations if _lies(one, nouns, said)),
        season=scene.season if _plain(scene.season) in conditions else "",
        light=scene.light if _plain(scene.light) in conditions else "",
        place=scene.place if _plain(scene.place) in conditions else "",
        sensor=scene.sensor if _plain(scene.sensor) in conditions else "",
        gsd=scene.gsd if scene.gsd is not None and f"{scene.gsd:g} m" in conditions else None,
    )


def _find(thing: SceneObject, free: list[NounPhrase], said: Statement, scene: Scene) -> tuple[SceneObject, str] | None:
    """What the text says of an object, and by which noun; its noun phrase is used up."""
    absent = thing.number == 0
    looks = phrase_tokens(" ".join(thing.attributes))
    count = phrase_tokens("" if absent else thing.count)
    forms = _forms(thing.noun)
    fitting = [(place, phrase, form) for place, phrase in enumerate(free) if phrase.absent is absent
               for form in [next((form for form in forms if phrase.words[-len(form) :] == form), None)] if form]
    if not fitting:
        return None
    twice = sum(other.noun == thing.noun for other in scene.objects) > 1
    for parts in ((*count, *looks), looks, ()):
        for place, phrase, form in fitting:
            plain = phrase.words[:1] in (("a",), ("the",)) and parts[:1] != phrase.words[:1]
            whole = phrase.words[plain:] == (*parts, *form)
            bare = not parts and not twice and phrase.noun == " ".join(form)
            if whole or bare:
                del free[place]
                full = whole and parts == (*count, *looks)
                return _stated(thing, phrase.noun, said, scene, full, whole and len(parts) >= len(looks)), phrase.noun
    return None


@lru_cache(maxsize=4096)
def _forms(noun: str) -> tuple[Tokens, ...]:
    """The tokens of a noun in the singular and the plural."""
    return tuple(phrase_tokens(form) for form in noun_forms(noun))


def _stated(thing: SceneObject, noun: str, said: Statement, scene: Scene, count: bool, looks: bool) -> SceneObject:
    """The object without what the text leaves open."""
    attributes = thing.attributes
    if not looks:
        attributes = tuple(one for one in attributes if ("look", noun, _plain(one)) in said.claims)
    state = _plain(thing.state)
    alone = sum(other.state == thing.state for other in scene.objects) == 1
    stated = state and any(claim[0] == "state" and claim[2] == state and (alone or claim[1] == noun)
                           for claim in said.claims)
    counted = count or thing.number == 0
    return SceneObject(thing.role, thing.noun, thing.count if counted else "", thing.number if counted else None,
                       attributes, thing.state if stated else "", thing.surroundings)


def _lies(one: Relation, nouns: dict[str, str], said: Statement) -> bool:
    if one.subject not in nouns or one.object not in nouns:
        return False
    return ("relation", nouns[one.subject], _plain(one.predicate), nouns[one.object]) in said.claims


def _plain(phrase: str) -> str:
    """A phrase as claims have it."""
    return " ".join(phrase_tokens(phrase))


def _scene(text: str) -> Scene | None:
    try:
        return Scene.from_json(text)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        return None


def _only_words_of(text: str, scene: str) -> bool:
    """Whether a JSON object of another shape has no word and no number that the text has not."""
    try:
        tree = json.loads(scene)
    except (ValueError, RecursionError):
        return False
    known = {singular(word) for word in words(text)}
    fields = {"label", *Scene.__dataclass_fields__, *SceneObject.__dataclass_fields__, *Relation.__dataclass_fields__}
    return all(singular(word) in known for leaf in _leaves(tree, fields) for word in words(leaf))


def _leaves(node: object, fields: set[str]) -> Iterator[str]:
    """Texts, numbers and unknown keys of plain data."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key not in fields:
                yield str(key)
            yield from _leaves(value, fields)
    elif isinstance(node, list):
        for value in node:
            yield from _leaves(value, fields)
    elif node is not None and not isinstance(node, bool):
        yield str(node)
