"""The `grammar` expander: draws a scene of a class from the ontology and says it in several ways; offline."""

from __future__ import annotations

from prompts.draws import Choice, Draws
from prompts.errors import InputError, nearest
from prompts.ontology import PROFILES, ObjectSpec, Ontology, content_hash, load_ontology, load_sentences
from prompts.scene import NUMBERS, Relation, Scene, SceneObject
from prompts.sentences import Template, say
from prompts.types import Prompt, check_request

CAPTIONS = 5
TEXT_WORDS = 16  # what the generator is given is this short where the scene allows: small text encoders lose the rest
REVISION = 1  # raise it when this code would give other prompts from the same YAML: it is part of the identity


class GrammarExpander:
    """Endless prompts for the classes of an ontology.

    Each attempt is a scene (objects with counts, attributes and relations) and five different sentences that say it,
    the short ones less completely than the long ones.

    Attributes:
        name: "grammar".
        classes: The ontology's labels.
    """

    name = "grammar"

    def __init__(self, profile: str = "ucm") -> None:
        """Load the ontology of a profile.

        Args:
            profile: Whose vocabulary is spoken; `ucm` for models trained on UCM-Captions.

        Raises:
            InputError: The profile is unknown.
        """
        if profile not in PROFILES:
            raise InputError(
                f"profile {profile!r} is unknown to the grammar expander{nearest(str(profile), PROFILES)}; "
                f"it has {', '.join(PROFILES)}"
            )
        self.profile = profile
        ontology, sentences = load_ontology(profile), load_sentences(profile)
        self.classes = tuple(ontology.classes)
        self._grammars = {label: ClassGrammar(label, ontology, sentences[label]) for label in self.classes}

    def identity(self) -> dict[str, object]:
        """Expander, revision of the code, profile and hash of its YAML."""
        return {"expander": self.name, "revision": REVISION, "profile": self.profile,
                "ontology": content_hash(self.profile)}

    def expand(self, label: str, seed: int, start: int, count: int) -> list[Prompt]:
        """See `Expander.expand`; `Prompt.scene` is a `prompts.scene.Scene` as JSON."""
        check_request(self, label, start, count)
        grammar = self._grammars[label]
        return [grammar.prompt(Draws(self.name, self.profile, label, seed, k)) for k in range(start, start + count)]


class ClassGrammar:
    """Scenes and sentences of one class."""

    def __init__(self, label: str, ontology: Ontology, templates: list[str]) -> None:
        """Prepare the choices of a class.

        Args:
            label: The class.
            ontology: Where its objects stand.
            templates: Its sentences.

        Raises:
            ValueError: A template is wrong, or fewer than five can be said whatever the scene.
        """
        objects = ontology.classes[label].objects
        self.label = label
        self._ontology = ontology
        self._objects = [_ObjectChoice(role, spec) for role, spec in objects.items()]
        self._templates = [Template(text, objects) for text in templates]
        always = {role for role, spec in objects.items() if spec.chance == 1.0}
        if sum(template.needs <= always for template in self._templates) < CAPTIONS:
            raise ValueError(f"class {label!r} needs {CAPTIONS} templates that can be said whatever the scene")

    def scene(self, draws: Draws) -> Scene:
        """A scene of the class."""
        things, relations = [], []
        for choice in self._objects:
            if choice.chance < 1.0 and not draws.chance(choice.chance):
                continue
            things.append(choice.draw(draws))
            if predicate := choice.relation.draw(draws):
                relations.append(Relation(choice.role, predicate, self._objects[0].role))
        return Scene(self.label, tuple(things), tuple(relations))

    def prompt(self, draws: Draws) -> Prompt:
        """A scene of the class, said in five ways in random order; the text is the first of them that is short."""
        scene = self.scene(draws)
        said = say(scene, self._ontology)
        captions: list[str] = []
        for template in draws.shuffled(self._templates):
            if template.needs <= said.keys() and (sentence := template.render(said)) not in captions:
                captions.append(sentence)
                if len(captions) == CAPTIONS:
                    break
        brief = next((one for one in captions if one.count(" ") < TEXT_WORDS), min(captions, key=len))
        captions.sort(key=lambda one: one != brief)
        return Prompt(brief, self.label, tuple(captions), GrammarExpander.name, scene.to_json())


class _ObjectChoice:
    """The weighted choices that make one object of a scene."""

    def __init__(self, role: str, spec: ObjectSpec) -> None:
        self.role = role
        self.chance = spec.chance
        self.relation = _choice(spec.relation)
        self._surroundings = spec.surroundings
        self._noun, self._count, self._state = _choice(spec.noun), _choice(spec.count), _choice(spec.state)
        self._attributes = [_choice(one) for one in spec.attributes]

    def draw(self, draws: Draws) -> SceneObject:
        """An object for a scene."""
        noun, count = self._noun.draw(draws), self._count.draw(draws)
        attributes = tuple(words for one in self._attributes if (words := one.draw(draws)))
        return SceneObject(self.role, noun, count, NUMBERS.get(count), attributes, self._state.draw(draws),
                           self._surroundings)


def _choice(weights: dict[str, int]) -> Choice[str]:
    return Choice(tuple(weights), tuple(weights.values()))
