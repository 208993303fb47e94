"""What is made of a language model's answer: cleaned, checked, repaired where only the class is missing, or refused."""

from __future__ import annotations

import re
from typing import NamedTuple

from terrasynth.prompts.scenes.clauses import parse
from terrasynth.prompts.scenes.ontology import load_ontology
from terrasynth.prompts.scenes.wording import Phrases, ground_view_words, load_class_words, words

FEWEST_WORDS = 3
LONGEST = 4000  # signs of an answer that are looked at, thoughts aside: a caption is a sentence
_THOUGHTS = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL)
_TYPOGRAPHY = str.maketrans({"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u2013": "-", "\u2014": "-",
                             "\u2011": "-", "\u00a0": " "})
_MARKER = re.compile(r"(?:[#>]+|[-+\u2022]|\*(?!\*)|\(?\d{1,3}[.):])\s+")
_EAGER = re.compile(r"(?:sure|certainly|of course|okay|ok|absolutely)(?: thing)?[,!.:]+\s*", re.IGNORECASE)
_PREAMBLE = re.compile(
    r"(?:(?:here (?:is|are)|here's|this is)\b[^:.]*\b(?:captions?|sentences?|descriptions?|prompts?|examples?)\b[^:.]*"
    r"|(?:captions?|sentence|description|answer|output|prompt)\s*\d*)\s*:\s*",
    re.IGNORECASE,
)
_SENTENCE = re.compile(r".+?[.!?]+[\"')]*(?=\s|$)")
_VIEW = re.compile(
    r"(?:(?:this|here|it) is )?(?:an?|the) (?:[\w'-]+ ){0,2}(?:view|image|photo|photograph|picture) (?:of|showing) ",
    re.IGNORECASE,
)
_UNTEXT = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ufffd\ud800-\udfff<>{}\\|]|https?:")


class Verdict(NamedTuple):
    """A caption, or why there is none; one of the two is empty."""

    text: str
    reason: str


def clean(answer: str) -> str:
    """The first caption of an answer, on one line.

    Thoughts of a reasoning model, code fences, a leading "Here is a caption:", list markers, emphasis and quotes around
    it go; broken lines are joined as far as the sentence goes on.
    """
    answer = _THOUGHTS.sub("", answer)[:LONGEST].translate(_TYPOGRAPHY)
    text = ""
    for raw in answer.splitlines():
        line = raw.strip()
        if text and (not line or _MARKER.match(line) or text.rstrip("\"'*_`")[-1:] in ".!?"):
            break
        if not line.startswith("```"):
            text = f"{text} {_unwrapped(line)}".strip()
    return " ".join(text.split())


def _unwrapped(line: str) -> str:
    before = None
    while line != before:
        before = line
        line = re.sub(r"\*\*|__|`", "", line).strip()
        for prefix in (_MARKER, _EAGER, _PREAMBLE):
            line = prefix.sub("", line, count=1) if prefix.match(line) else line
        for mark in ('"', "'", "*", "_"):
            if len(line) > 1 and line[0] == mark == line[-1]:
                line = line[1:-1]
    return line


class AnswerJudge:
    """Makes a caption of an answer, or says why it cannot.

    A class that the ontology does not know is called by the words of its label, and nothing counts as another class.
    """

    def __init__(self, profile: str, limit: int) -> None:
        """Look up how classes are called.

        Args:
            profile: Ontology whose class names count.
            limit: Words of the longest caption.
        """
        self._ontology = load_ontology(profile)
        self._classes = load_class_words(profile)
        self._limit = limit

    def identity(self) -> object:
        """What decides verdicts, beside this code."""
        return [self._limit, self._classes.hash()]

    def called(self, label: str) -> tuple[str, ...]:
        """The names of a class, the usual one first."""
        if label in self._ontology.classes:
            return tuple(dict.fromkeys([self._classes.name(label), *self._ontology.classes[label].synonyms]))
        return (" ".join(words(re.sub(r"(?<=[a-z])(?=[A-Z])", " ", label))) or label.lower(),)

    def with_article(self, label: str) -> str:
        """The usual name as it stands in a sentence: "a harbor", "storage tanks", "farmland"."""
        name = self.called(label)[0]
        ontology = self._ontology
        plural = name in ontology.plural_only or name in ontology.countable.values()
        if plural or name.rpartition(" ")[2] in ontology.mass:
            return name
        if name not in ontology.countable and re.search(r"(?<!s)s$", name):
            return name
        return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"

    def __call__(self, label: str, answer: str, ended: bool = True) -> Verdict:
        """AnswerJudge an answer.

        Args:
            label: The class it was asked for.
            ended: Whether the model stopped by itself; else the last sentence is half of one.

        Returns:
            The caption: one line, first letter large, full stop, within the limit of words, naming its class. Or a
            reason: "empty", "no text", "cut off", "too short", "too long", "ground-level view", "another class" or
            "class missing".
        """
        text = clean(answer)
        if not text:
            return Verdict("", "empty")
        if _UNTEXT.search(text) or 2 * sum(map(str.isalpha, text)) < len(text):
            return Verdict("", "no text")
        sentences, rest = _sentences(text)
        if rest and ended:
            sentences.append(rest)
        if not sentences:
            return Verdict("", "cut off")
        fitting = self._fitting(sentences)
        if not fitting:
            return Verdict("", "too long")
        if len(fitting.split()) < FEWEST_WORDS:
            return Verdict("", "too short")
        if ground_view_words(fitting):
            return Verdict("", "ground-level view")
        if self._others(label, fitting):
            return Verdict("", "another class")
        if not self.names(label, fitting):
            fitting = self._naming(label, fitting)
            if len(fitting.split()) > self._limit or self._others(label, fitting) or not self.names(label, fitting):
                return Verdict("", "class missing")
        return Verdict(fitting, "")

    def names(self, label: str, text: str) -> bool:
        """Whether a text names the class."""
        if self._classes.knows(label):
            return self._classes.names(label, text)
        return any(True for _ in Phrases(self.called(label)).find(words(text)))

    def _others(self, label: str, text: str) -> tuple[str, ...]:
        return self._classes.others(label, text) if self._classes.knows(label) else ()

    def _fitting(self, sentences: list[str]) -> str:
        """As many whole sentences as the limit of words allows."""
        text = ""
        for sentence in sentences:
            longer = f"{text} {sentence}".strip()
            if len(longer.split()) > self._limit:
                break
            text = longer
        return _closed(text) if text else ""

    def _naming(self, label: str, text: str) -> str:
        """The caption in a frame that names the class."""
        view = _VIEW.match(text)
        rest = text[view.end():] if view else text
        try:
            parts = parse(rest)
        except ValueError:  # nothing but "There is"
            return text
        if parts.phrase:
            opening = view[0] if view else ""
            return _closed(f"{opening}{self.with_article(label)} with {' '.join([parts.head, *parts.clauses])}")
        return _closed(f"{self.called(label)[0]}: {rest[0].lower()}{rest[1:]}")


def _sentences(text: str) -> tuple[list[str], str]:
    """The whole sentences, and what follows the last of them."""
    found = list(_SENTENCE.finditer(text))
    return [match[0].strip() for match in found], text[found[-1].end() if found else 0 :].strip()


def _closed(text: str) -> str:
    text = re.sub(r"[\s,;:!?.-]+$", "", text)
    return f"{text[:1].upper()}{text[1:]}."
