"""The `grammar` expander: draws a scene of a class from the ontology and says it in several ways; offline."""

from __future__ import annotations

from itertools import chain
from math import gcd

from prompts.draws import below, random_words
from prompts.errors import InputError, nearest
from prompts.ontology import PROFILES, Ontology, content_hash, load_ontology, load_sentences
from prompts.scene import as_json
from prompts.scenery import SceneDrawer, Scenes, view_of
from prompts.sentences import Layout, Template
from prompts.types import Prompt, check_request

CAPTIONS = 5
SHORT, DENSE = "short", "dense"
SHORT_CAPTIONS = 2  # where sentences come in two lengths
AT_ONCE = 1024  # attempts whose scenes are drawn together: as fast as more, and little memory
REVISION = 2  # raise it when this code would give other prompts from the same YAML: it is part of the identity


class GrammarExpander:
    """Endless prompts for the classes of an ontology.

    Each attempt is a scene (objects with counts, attributes and relations; in the profile `open` season, light, place,
    sensor and ground sampling distance too) and five different sentences that say it, the short ones less completely
    than the long ones.

    Attributes:
        name: "grammar".
        classes: The ontology's labels.
    """

    name = "grammar"

    def __init__(self, profile: str = "ucm") -> None:
        """Load the ontology of a profile.

        Args:
            profile: Whose vocabulary is spoken; `ucm` for models trained on UCM-Captions, `open` for models that know
                any word.

        Raises:
            InputError: The profile is unknown.
        """
        if profile not in PROFILES:
            raise InputError(
                f"profile {profile!r} is unknown to the grammar expander{nearest(str(profile), PROFILES)}; "
                f"it has {', '.join(PROFILES)}"
            )
        self.profile = profile
        self._ontology = load_ontology(profile)
        self.classes = tuple(self._ontology.classes)
        self._grammars: dict[str, ClassGrammar] = {}

    def identity(self) -> dict[str, object]:
        """Expander, revision of the code, profile and hash of its YAML."""
        return {"expander": self.name, "revision": REVISION, "profile": self.profile,
                "ontology": content_hash(self.profile)}

    def expand(self, label: str, seed: int, start: int, count: int) -> list[Prompt]:
        """See `Expander.expand`; `Prompt.scene` is a `prompts.scene.Scene` as JSON."""
        check_request(self, label, start, count)
        if label not in self._grammars:
            sentences = load_sentences(self.profile)
            shared = {length: sentences[length] for length in (SHORT, DENSE) if length in sentences}
            self._grammars[label] = ClassGrammar(label, self._ontology, shared or {DENSE: sentences[label]})
        grammar, key, prompts = self._grammars[label], (self.name, self.profile, label, seed), []
        for first in range(start, start + count, AT_ONCE):
            prompts += grammar.prompts(key, first, min(AT_ONCE, start + count - first))
        return prompts


class ClassGrammar:
    """Scenes and sentences of one class."""

    def __init__(self, label: str, ontology: Ontology, sentences: dict[str, list[str]]) -> None:
        """Prepare the choices of a class.

        Args:
            label: The class.
            ontology: Where its objects stand.
            sentences: Its templates by length; the class's own where all are `DENSE`, else such as serve every class.

        Raises:
            ValueError: A template is wrong, or fewer than five can be said whatever the scene.
        """
        self.label, self._text_words = label, ontology.text_words
        self._drawer = SceneDrawer(label, ontology, shared_sentences=SHORT in sentences)
        texts = [text for each in sentences.values() for text in each]
        self._layout = Layout(self._drawer.slots, self._drawer.said_conditions, texts)
        self._groups = [[Template(text, self._layout) for text in own] for own in sentences.values()]
        self._quotas = [SHORT_CAPTIONS, CAPTIONS - SHORT_CAPTIONS] if len(self._groups) > 1 else [CAPTIONS]
        self._orders = [_orders(own) for own in self._groups]
        objects = ontology.classes[label].objects
        always = sum(self._layout.bit(slot) for slot in self._drawer.slots
                     if slot == self._drawer.slots[0] or (slot in objects and objects[slot].chance == 1))
        always |= self._layout.bit("view") if self._drawer.said_conditions else 0
        for own, quota in zip(self._groups, self._quotas, strict=True):
            if sum(template.needs & ~always == 0 for template in own) < quota:
                raise ValueError(f"class {label!r} needs {quota} templates that can be said whatever the scene")
        self._head = f'{{"label":{as_json(label)},"objects":['
        # What a condition's index says, and its place in the scene's JSON; index -1, the last item, is nothing.
        said = [[*items, ""] for items in self._drawer.conditions]
        self._condition_words = [*said[:-1], [view_of(sensor) for sensor in said[-1]]]
        self._condition_json = [[as_json(item) for item in items] for items in said]
        self._gsd_words = [f"{metres:g} m" for metres in self._drawer.gsd] or [""]
        self._gsd_json = [as_json(metres) for metres in self._drawer.gsd] or ["null"]

    def prompts(self, key: tuple[object, ...], start: int, count: int) -> list[Prompt]:
        """The prompts of attempts `start` to `start + count - 1` of the stream of `key`."""
        width = self._drawer.width
        words = random_words(key, start, count, width + len(self._groups) + 1)
        scenes = self._drawer.draw(words[:, :width])
        orders = [below(words[:, width + number], len(own)).tolist() for number, own in enumerate(self._orders)]
        leads = below(words[:, -1], CAPTIONS).tolist()
        return [self._prompt(scenes, number, [own[number] for own in orders], leads[number]) for number in range(count)]

    def _prompt(self, scenes: Scenes, number: int, orders: list[int], lead: int) -> Prompt:
        kinds, phrases = self._drawer.kinds, scenes.phrases[number]
        states, relations, conditions = scenes.states[number], scenes.relations[number], scenes.conditions[number]
        layout = self._layout
        words: list[tuple[str, ...]] = []
        for slot in scenes.slots[number]:
            if slot < 0:
                words.append(layout.absent)
            else:
                kind = kinds[slot]
                words += (kind.phrase(phrases[slot], layout).words, kind.tails[states[slot]][relations[slot]])
        gsd = scenes.gsd[number]
        if layout.conditions:
            words.append((*(own[index] for own, index in zip(self._condition_words, conditions, strict=True)),
                          self._gsd_words[gsd]))
        captions = self._captions(scenes.bits[number], tuple(chain.from_iterable(words)), orders)
        captions = captions[lead:] + captions[:lead]
        brief = next((one for one in captions if one.count(" ") < self._text_words), None) or min(captions, key=len)
        if captions[0] != brief:
            captions.remove(brief)
            captions.insert(0, brief)
        objects, relation = [], []
        present = scenes.present[number]
        for kind, there, phrase, state, at in zip(kinds, present, phrases, states, relations, strict=True):
            if there:
                objects.append(kind.phrase(phrase, layout).json + kind.state_json[state])
                if kind.relation_json[at]:
                    relation.append(kind.relation_json[at])
        season, light, place, sensor = (own[index] for own, index
                                        in zip(self._condition_json, conditions, strict=True))
        scene = (f'{self._head}{",".join(objects)}],"relations":[{",".join(relation)}],"season":{season},'
                 f'"light":{light},"place":{place},"sensor":{sensor},"gsd":{self._gsd_json[gsd]}}}')
        return Prompt(captions[0], self.label, tuple(captions), GrammarExpander.name, scene)

    def _captions(self, present: int, words: tuple[str, ...], orders: list[int]) -> list[str]:
        """Five different sentences, the short ones first."""
        captions: list[str] = []
        for own, all_orders, quota, order in zip(self._groups, self._orders, self._quotas, orders, strict=True):
            wanted = len(captions) + quota
            for place in all_orders[order]:
                template = own[place]
                if not template.needs & ~present:
                    sentence = template.render(present, words)
                    if sentence not in captions:
                        captions.append(sentence)
                        if len(captions) == wanted:
                            break
        return captions


def _orders(templates: list[Template]) -> list[tuple[int, ...]]:
    """Every order that starts at any template and goes on by a fixed step round the circle."""
    n = len(templates)
    return [tuple((first + step * i) % n for i in range(n)) for first in range(n) for step in range(1, n + 1)
            if gcd(step, n) == 1]


