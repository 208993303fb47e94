"""The `grammar` expander: draws a scene of a class from the ontology and says it in several ways; offline."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache, partial
from itertools import chain, compress
from math import gcd
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from terrasynth.errors import nearest
from terrasynth.prompts.errors import InputError
from terrasynth.prompts.scenes.drawer import Phrases, SceneDrawer, Scenes, blank, view_of
from terrasynth.prompts.scenes.draws import below, random_words
from terrasynth.prompts.scenes.entailment import DrawnPrompt
from terrasynth.prompts.scenes.ontology import PROFILES, Ontology, content_hash, load_ontology, load_sentences
from terrasynth.prompts.scenes.own_ontology import BASE, read_ontology
from terrasynth.prompts.scenes.paraphrases import Paraphrases
from terrasynth.prompts.scenes.scene import as_json
from terrasynth.prompts.scenes.sentences import Layout, Template, TemplateVariant, capital
from terrasynth.prompts.types import Prompt, check_request

CAPTIONS = 5
SHORT, DENSE = "short", "dense"
SHORT_CAPTIONS = 2  # where sentences come in two lengths
AT_ONCE = 2048  # attempts whose scenes are drawn together: as fast as more, and little memory
AHEAD, MOST_AHEAD = 128, 2560  # prompts of a class, and of all, that are drawn before they are asked for
CONDITIONS_JSON = '%s],"relations":[%s],"season":%s,"light":%s,"place":%s,"sensor":%s,"gsd":%s}'
REVISION = 2  # raise it when this code would give other texts from the same YAML: it is part of the identity


class GrammarExpander:
    """Endless prompts for the classes of an ontology.

    Each attempt is a scene (objects with counts, attributes and relations; in the profile `open` season, light, place,
    sensor and ground sampling distance too) and five different sentences that say it, the short ones less completely
    than the long ones. One of them is the text. Captions and scene are cut down to what that text says.

    Attributes:
        classes: The ontology's labels.
    """

    name = "grammar"

    def __init__(self, profile: str | None = None, ontology: str | Path | None = None) -> None:
        """Load the ontology of a profile, or a user's own.

        Args:
            profile: Whose vocabulary is spoken; `ucm` for models trained on UCM-Captions, `open` for models that know
                any word; None for `ucm`, or `open` where there is an ontology.
            ontology: A YAML file with classes of the user's own (docs/own-classes.md); its words and sentences are
                those of the profile `open`.

        Raises:
            InputError: The profile is unknown, or the file is wrong.
        """
        if profile is None:
            profile = "ucm" if ontology is None else BASE
        if profile not in PROFILES:
            raise InputError(
                f"profile {profile!r} is unknown to the grammar expander{nearest(str(profile), PROFILES)}; "
                f"it has {', '.join(PROFILES)}"
            )
        if ontology is not None and profile != BASE:
            raise InputError(f"profile {profile!r} has sentences for its own classes alone; with an ontology of yours "
                             f"leave the profile out, or set it to {BASE}")
        self.profile = profile
        own = None if ontology is None else read_ontology(ontology)
        self._own_hash = None if own is None else own.hash
        self._ontology = load_ontology(profile) if own is None else own.ontology
        self.classes = tuple(self._ontology.classes)
        self._grammars: dict[str, ClassGrammar] = {}
        self._next: dict[tuple[str, int], tuple[int, list[Prompt]]] = {}
        if own is not None:
            self._check(str(ontology))

    def identity(self) -> dict[str, object]:
        """Expander, revision of the code, profile and hash of its YAML, and of the user's ontology if there is one."""
        own = {} if self._own_hash is None else {"own_ontology": self._own_hash}
        return {"expander": self.name, "revision": REVISION, "profile": self.profile,
                "ontology": content_hash(self.profile), **own}

    def expand(self, label: str, seed: int, start: int, count: int) -> list[Prompt]:
        """See `Expander.expand`; `Prompt.scene` is a `prompts.scenes.scene.Scene` as JSON."""
        check_request(self, label, start, count)
        grammar, key = self._grammar(label), (self.name, self.profile, label, seed)
        first, prompts = self._next.pop((label, seed), (start, []))
        if first != start:
            prompts = []
        few = max(1, min(AHEAD, MOST_AHEAD // (1 + len(self._next))))
        while len(prompts) < count:
            missing = count - len(prompts)
            prompts += grammar.prompts(key, start + len(prompts), min(AT_ONCE, max(missing, few)))
        if len(prompts) > count:
            self._next[label, seed] = start + count, prompts[count:]
        return prompts[:count]

    def _grammar(self, label: str) -> ClassGrammar:
        if label not in self._grammars:
            sentences = load_sentences(self.profile)
            shared = {length: sentences[length] for length in (SHORT, DENSE) if length in sentences}
            self._grammars[label] = ClassGrammar(label, self._ontology, shared or {DENSE: sentences[label]})
        return self._grammars[label]

    def _check(self, file: str) -> None:
        for label in self.classes:
            try:
                self._grammar(label)
            except ValueError as error:  # a resolution that no sensor has
                raise InputError(f"{Path(file).name}: {label}: {error}") from error


class _Group(NamedTuple):
    """Templates of one length as they are said, the orders in which to try them, and how many sentences they give."""

    sayings: list[TemplateVariant]
    orders: list[tuple[int, ...]]
    quota: int


class ClassGrammar:
    """Scenes and sentences of one class."""

    def __init__(self, label: str, ontology: Ontology, sentences: dict[str, list[str]]) -> None:
        """Prepare the choices of a class.

        Args:
            sentences: Its templates by length; the class's own where all are `DENSE`, else such as serve every class.

        Raises:
            ValueError: A template is wrong, or fewer than five can be said whatever the scene.
        """
        self.label, self._text_words = label, ontology.text_words
        self._drawer = SceneDrawer(label, ontology, shared_sentences=SHORT in sentences)
        texts = [text for each in sentences.values() for text in each]
        self._layout = Layout(self._drawer.slots, self._drawer.said_conditions, texts)
        self._templates = [[Template(text, self._layout) for text in own] for own in sentences.values()]
        self._quotas = [SHORT_CAPTIONS, CAPTIONS - SHORT_CAPTIONS] if len(self._templates) > 1 else [CAPTIONS]
        objects = ontology.classes[label].objects
        always = sum(self._layout.bit(slot) for slot in self._drawer.slots
                     if slot == self._drawer.slots[0] or (slot in objects and objects[slot].chance == 1))
        always |= self._layout.bit("view") if self._drawer.said_conditions else 0
        for own, quota in zip(self._templates, self._quotas, strict=True):
            if sum(template.needs & ~always == 0 for template in own) < quota:
                raise ValueError(f"class {label!r} needs {quota} templates that can be said whatever the scene")
        self._ready: dict[int, list[_Group]] = {}
        self._again = Paraphrases(self._layout, [each for own in self._templates for each in own], SHORT in sentences)
        self._absent = Phrases(lambda number: (self._layout.absent[0], ""))
        self._phrases = [kind.phrases(self._layout) for kind in self._drawer.kinds]
        self._head = f'{{"label":{as_json(label)},"objects":['
        # What a condition's index says, and its place in the scene's JSON; index -1, the last item, is nothing.
        said = [[*items, ""] for items in self._drawer.conditions]
        self._condition_words = [[blank(item) for item in items]
                                 for items in (*said[:-1], [view_of(sensor) for sensor in said[-1]])]
        self._openings = [capital(view_of(sensor)) for sensor in said[-1]]
        self._condition_json = [[as_json(item) for item in items] for items in said]
        self._gsd_words = [f" {metres:g} m" for metres in self._drawer.gsd] or [""]
        self._gsd_json = [as_json(metres) for metres in self._drawer.gsd] or ["null"]

    def prompts(self, key: tuple[object, ...], start: int, count: int) -> list[Prompt]:
        """The prompts of attempts `start` to `start + count - 1` of the stream of `key`."""
        width = self._drawer.width
        words = random_words(key, start, count, width + len(self._templates) + 1)
        scenes = self._drawer.draw(words[:, :width])
        draws = words[:, width : width + len(self._templates)].tolist()
        leads = below(words[:, -1], CAPTIONS).tolist()
        return [
            self._prompt(present, said, draw, lead, scene)
            for present, said, draw, lead, scene in zip(scenes.bits.tolist(), self._words(scenes), draws, leads,
                                                        self._scenes(scenes), strict=True)
        ]

    def _words(self, scenes: Scenes) -> Iterator[tuple[str, ...]]:
        """The words of each scene, as the layout has them; column by column, which is fast."""
        kinds = self._drawer.kinds
        phrases = [*self._phrases, self._absent]
        tail_words = [*(kind.tails for kind in kinds), [self._layout.absent[1]]]
        columns: list[Iterable[tuple[str, ...]]] = []
        rows = np.arange(len(scenes.slots))
        for slot in scenes.slots.T:
            own = np.maximum(slot, 0)
            relations = np.array([kind.relations for kind in kinds])[own]
            tails = scenes.states[rows, own] * relations + scenes.relations[rows, own]
            of = slot.tolist()
            columns += [
                [phrases[kind][phrase][0] for kind, phrase in zip(of, scenes.phrases[rows, own].tolist(), strict=True)],
                [tail_words[kind][tail] for kind, tail in zip(of, np.where(slot < 0, 0, tails).tolist(), strict=True)],
            ]
        if self._layout.conditions:
            said = [_read(own, index) for own, index in zip(self._condition_words, scenes.conditions.T, strict=True)]
            opening = _read(self._openings, scenes.conditions[:, -1])
            columns.append(zip(*said, _read(self._gsd_words, scenes.gsd), opening, strict=True))
        return map(tuple, map(chain.from_iterable, zip(*columns, strict=True)))

    def _scenes(self, scenes: Scenes) -> Iterator[str]:
        """Each scene as JSON, as `prompts.scenes.scene.Scene.to_json` has it."""
        objects, relations, related = [], [], []
        for number, kind in enumerate(self._drawer.kinds):
            phrases, states = scenes.phrases[:, number].tolist(), _read(kind.state_json, scenes.states[:, number])
            known = self._phrases[number]
            there = scenes.present[:, number].tolist()
            objects.append([known[phrase][1] + state if is_there else ""
                            for phrase, state, is_there in zip(phrases, states, there, strict=True)])
            if any(kind.relation_json):
                relations.append(_read(kind.relation_json, scenes.relations[:, number]))
                related.append(there)
        conditions = [_read(own, index) for own, index in zip(self._condition_json, scenes.conditions.T, strict=True)]
        things = (",".join(filter(None, row)) for row in zip(*objects, strict=True))
        if relations:
            how = [",".join(filter(None, compress(row, there)))
                   for row, there in zip(zip(*relations, strict=True), zip(*related, strict=True), strict=True)]
        else:
            how = [""] * len(scenes.gsd)
        form = self._head.replace("%", "%%") + CONDITIONS_JSON
        return map(form.__mod__, zip(things, how, *conditions, _read(self._gsd_json, scenes.gsd), strict=True))

    def _prompt(self, present: int, words: tuple[str, ...], draws: list[int], lead: int, scene: str) -> Prompt:
        """What is drawn is one of five ways to say the scene; what is said beside it says nothing that it does not."""
        ways = self._ways(present, words, draws)
        for place in range(lead - len(ways), lead):  # from any of them on, round the circle
            if ways[place][0].count(" ") < self._text_words:
                break
        else:
            place = ways.index(min(ways, key=lambda way: len(way[0])))
        chosen, saying = ways.pop(place)
        choices = (chosen, *(text for text, _ in ways))
        again = partial(self._again.ways, saying, words, chosen, draws[0])
        return DrawnPrompt(chosen, self.label, choices, GrammarExpander.name, scene, again, CAPTIONS)

    def _ways(self, present: int, words: tuple[str, ...], draws: list[int]) -> list[tuple[str, TemplateVariant]]:
        """Five different sentences with how they are said, the short ones first."""
        ways: dict[str, TemplateVariant] = {}
        for group, draw in zip(self._ready.get(present) or self._prepare(present), draws, strict=True):
            orders = group.orders
            wanted = len(ways) + group.quota
            for place in orders[draw * len(orders) >> 32]:
                saying = group.sayings[place]
                if ways.setdefault(saying.of(words), saying) is saying and len(ways) == wanted:
                    break
        return list(ways.items())

    def _prepare(self, present: int) -> list[_Group]:
        """For scenes that fill these slots, the templates of each length that need no other."""
        said = [[template.saying(present) for template in own if not template.needs & ~present]
                for own in self._templates]
        ready = [_Group(own, _orders(len(own)), quota) for own, quota in zip(said, self._quotas, strict=True)]
        self._ready[present] = ready
        return ready


def _read(items: Sequence[str], indices: NDArray[np.int64]) -> list[str]:
    return list(map(items.__getitem__, indices.tolist()))


@lru_cache
def _orders(n: int) -> list[tuple[int, ...]]:
    """Every order of n things that starts at any of them and goes on by a fixed step round the circle."""
    return [tuple((first + step * i) % n for i in range(n)) for first in range(n) for step in range(1, n + 1)
            if gcd(step, n) == 1]
