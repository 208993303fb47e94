"""What a language model is asked for: the words that the expanders `lm` and `openai` share."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import chain

from terrasynth.errors import nearest
from terrasynth.hashing import text_hash
from terrasynth.prompts.errors import InputError
from terrasynth.prompts.language_models.answers import AnswerJudge
from terrasynth.prompts.reading import LABEL_RULE, is_label
from terrasynth.prompts.scenes.draws import Draws
from terrasynth.prompts.scenes.ontology import PROFILES, load_ontology

REVISION = 1  # raise it when this file or `answers.py` beside it would make other prompts of the same answers
WORDS = 20  # a limit that small text encoders read whole; the captions of UCM and RSICD are shorter still

ASPECTS = (
    "how many there are", "the colours", "the sizes", "the shapes", "how things are arranged", "what lies around",
    "what the ground is covered with", "roads and paths", "plants", "how densely things stand",
    "what stands in the middle", "what borders it", "the shadows", "the materials of surfaces",
)
FRAMES = ("An aerial view of {} with", "A satellite image of {} with", "Seen from above, {} with", "{} with",
          "An overhead view of {} surrounded by", "{} next to", "An aerial image of {} where")
SYSTEM = (
    "You write captions for pictures of the ground that were taken from a satellite, an aeroplane or a drone, "
    "looking straight down. A caption is one plain English sentence of at most {words} words. It calls the scene class "
    "by one of the names that you are given. It says only what can be seen from straight above: how many things there "
    "are, their colours, sizes and shapes, how they are arranged, and what lies around them. It has no words about the "
    "camera, the photographer, the quality of the picture, mood, beauty or art, nothing that is seen from the ground, "
    "such as a horizon or a face, and it names no other scene class."
)


class CaptionRequests:
    """The requests for captions of each class, and the judge of the answers.

    Attributes:
        judge: Cleans, checks and repairs answers.
    """

    def __init__(
        self, expander: str, classes: Sequence[str] | None, profile: str, words: int, examples: Sequence[str] | None
    ) -> None:
        """Check the options that both expanders have.

        Args:
            expander: Name of the expander, for errors.
            classes: Labels to serve, of the profile's ontology or any others; None for all of the ontology.
            profile: Ontology that says how classes are called and which words are another class's.
            words: Longest caption.
            examples: Sentences in the style that is wanted.

        Raises:
            InputError: An option's value is refused.
        """
        if profile not in PROFILES:
            raise InputError(
                f"profile {profile!r} is unknown to the {expander} expander{nearest(str(profile), PROFILES)}; "
                f"it has {', '.join(PROFILES)}"
            )
        self.words = int(number(expander, "words", words, 5, 200, whole=True))
        self.examples = _texts(expander, "examples", examples)
        self._ontology = load_ontology(profile)
        self.classes = _labels(expander, classes, tuple(self._ontology.classes))
        self.judge = AnswerJudge(profile, self.words)
        self._things = {
            label: tuple(dict.fromkeys(chain.from_iterable(thing.noun for thing in list(spec.objects.values())[1:])))
            for label, spec in self._ontology.classes.items()
        }

    def identity(self) -> dict[str, object]:
        """What of the requests and of the judge decides prompts; the classes that are served do not."""
        said = {label: [self.judge.called(label), self.judge.with_article(label), things]
                for label, things in self._things.items()}
        content = json.dumps([said, self.judge.identity()], sort_keys=True)
        return {"revision": REVISION, "words": self.words, "examples": list(self.examples),
                "ontology": text_hash(content)}

    def system(self) -> str:
        """What the model is told before any class."""
        text = SYSTEM.format(words=self.words)
        if self.examples:
            text += " Write in the style of these examples:\n" + "\n".join(f"- {one}" for one in self.examples)
        return text

    def one(self, label: str, draws: Draws) -> str:
        """The request for one caption of a class; the draws choose what it shall speak of."""
        return f"{self._scene(label)} Speak of {self._topic(label, draws)}. Answer with the caption alone."

    def several(self, label: str, draws: Sequence[Draws]) -> str:
        """The request for as many captions of a class as there are draws, as JSON."""
        if len(draws) == 1:
            task = "Write one caption. It speaks of:"
        else:
            task = f"Write {len(draws)} captions of different pictures, none like another. In turn they speak of:"
        topics = "\n".join(f"{i}. {self._topic(label, each)}" for i, each in enumerate(draws, 1))
        return f'{self._scene(label)} {task}\n{topics}\nAnswer with JSON: {{"captions": ["...", ...]}}'

    def start(self, label: str, draws: Draws) -> str:
        """The first words of a caption, for a model that continues text and answers no requests."""
        text = draws.pick(FRAMES).format(self.judge.with_article(label))
        return f"{text[0].upper()}{text[1:]}"

    def continued(self, start: str) -> str:
        """A text whose continuation, up to the end of the line, is a caption that starts with `start`."""
        lines = ["Captions of pictures of the ground, taken from straight above:",
                 *(f"- {one}" for one in self.examples), f"- {start}"]
        return "\n".join(lines)

    def _scene(self, label: str) -> str:
        return f"Scene class: {' or '.join(self.judge.called(label))}."

    def _topic(self, label: str, draws: Draws) -> str:
        first, second = draws.shuffled(ASPECTS)[:2]
        things = self._things.get(label)
        seen = f"; in sight: {draws.pick(things)}" if things and draws.chance(0.5) else ""
        return f"{first} and {second}{seen}"


def number(expander: str, option: str, value: object, low: float, high: float, whole: bool = False) -> float:
    """A number within bounds, as it was given.

    Raises:
        InputError: It is none, or out of bounds.
    """
    kinds = int if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high:
        kind = "a whole number" if whole else "a number"
        raise InputError(f"option {option} {value!r} of the {expander} expander must be {kind} from {low} to {high}")
    return value


def _texts(expander: str, option: str, value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list | tuple) or not all(isinstance(one, str) and one.split() for one in value):
        raise InputError(f"option {option} {value!r} of the {expander} expander must be a list of sentences")
    return tuple(" ".join(one.split()) for one in value)


def _labels(expander: str, value: object, known: tuple[str, ...]) -> tuple[str, ...]:
    if value is None or value == "all":
        return known
    if not isinstance(value, list | tuple) or not value or len(set(map(str, value))) < len(value):
        raise InputError(f"option classes {value!r} of the {expander} expander must be a list of labels, each once")
    for label in value:
        if not is_label(label):
            raise InputError(f"label {label!r} in option classes of the {expander} expander {LABEL_RULE}")
    return tuple(value)
