"""Words and classes that the models of a recipe never met in training: said before the first image, and at the end.

A generator draws something for every word, a filter scores something for every class: neither tells that it is at a
loss. What a model met stands in `knowledge.json` beside its weights (`terrasynth.eval.models.knowledge`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.core.knowledge import judge_figures_of, known_by, knows_class, not_among, unread_name
from terrasynth.words import counted

if TYPE_CHECKING:
    from terrasynth.eval.evaluation.judge_figures import JudgeFigures
    from terrasynth.eval.models.knowledge import Knowledge
    from terrasynth.synthesis.generators.base import GeneratorSource
    from terrasynth.synthesis.recipe import Recipe

COIN = 0.5  # the area under a curve that tells nothing
UNSEEN = "No filter looked at what the images show: accepted does not mean that an image shows its class."
SHOWN = 8  # words or classes that a line names

Said: TypeAlias = tuple[str, str]
"""A text, and its scene as JSON ("{}" where there is none)."""


@dataclass(frozen=True)
class Reader:
    """A model that texts or classes are given to.

    Attributes:
        name: What it is called.
        role: "generator", "encoder" or "classifier".
        knowledge: What it met in training; None where nothing says.
        figures: What a judge of one's own classes can do on real images; None for any other model.
        lora: What a LoRA is called that is added to it, and what that met, where nothing says what the model met; None
            where there is none, or it says nothing either.
    """

    name: str
    role: str
    knowledge: Knowledge | None
    figures: JudgeFigures | None = None
    lora: tuple[str, Knowledge] | None = None

    def blind(self, label: str) -> str:
        """Why a filter by this judge says nothing of a class that it knows; "" where it tells it from others."""
        if self.figures is None or (own := self.figures.classes.get(label)) is None:
            return ""
        what, figure = ("images", own.scene) if self.role == "classifier" else ("texts", own.alignment)
        helps = "; more images of it for `terrasynth train judge` help, or another --encoder there"
        if figure is None:
            return (f"{self.role} {self.name}: how well it tells the class {label} from others is not measured, with "
                    f"{own.n} held-out real images{helps}")
        if figure.low > COIN:
            return ""
        return (f"{self.role} {self.name} is useless for the class {label}: on held-out real images it tells its "
                f"{what} from those of other classes no better than a coin toss, {figure}{helps}")


@dataclass
class Unread:
    """What one model never met, among texts and classes.

    Attributes:
        texts: Texts that were looked at.
        words: Words that it never read, with the number of texts that have them; those that its LoRA never read where
            only of that is known what it read.
        classes: Classes that it does not know.
        blind: What is to be said of classes that it knows, and cannot be shown to tell from others.
        nameless: What texts call their class in words of which it never read one, with the number of these texts.
        asked: The classes that were looked at.
    """

    reader: Reader
    texts: int = 0
    words: Counter[str] = field(default_factory=Counter)
    classes: list[str] = field(default_factory=list)
    blind: list[str] = field(default_factory=list)
    nameless: Counter[str] = field(default_factory=Counter)
    asked: list[str] = field(default_factory=list)

    def look(self, texts: Iterable[str]) -> None:
        """Take in further texts."""
        for text in texts:
            self._take(text)

    def look_at(self, label: str, text: str, scene: str) -> None:
        """Take in a further text of a class."""
        if self._take(text) and self.reader.role == "encoder" and self.reader.knowledge is not None and (
                name := unread_name(self.reader.knowledge, label, text, scene)):
            self.nameless[name] += 1

    def _take(self, text: str) -> bool:
        """Take in a text; whether there is a word in it that the model never read."""
        self.texts += 1
        known = self.reader.knowledge or (self.reader.lora[1] if self.reader.lora else None)
        unread = () if known is None else known.unread(text)
        self.words.update(unread)
        return bool(unread)

    @property
    def reads_texts(self) -> bool:
        """Whether texts are given to it, and anything says which words it met."""
        return self.reader.role != "classifier" and (self.reader.knowledge or self.reader.lora) is not None

    @property
    def found(self) -> bool:
        """Whether there is anything that it never met, or cannot tell apart."""
        return self.reader.knowledge is not None and bool(self.words or self.classes or self.blind)

    def lines(self) -> list[str]:
        """What is to be said, a sentence each; nothing where it knows everything."""
        name, role = self.reader.name, self.reader.role
        if self.reader.knowledge is None:
            what = "classes" if role == "classifier" else "words and classes"
            return [f"{role} {name}: which {what} it met in training is not known (no knowledge.json){self._of_lora()}"]
        lines = []
        if self.words:
            named, more = self._words()
            chance = "what it makes of them is chance" if self.reader.figures is None else "it leaves them out"
            lines.append(f"{role} {name} never read: {named}{more}, in so many of {counted(self.texts, 'text')}; "
                         f"{chance}")
        if self.nameless:
            named = ", ".join(f"{name} ({count})" for name, count in self.nameless.most_common(SHOWN))
            lines.append(f"{role} {name} reads no word for the class in {self.nameless.total()} of "
                         f"{counted(self.texts, 'text')}: {named}; what it scores there is not the class"
                         f"{self._reads_more()}")
        if self.classes:
            named = ", ".join(self.classes[:SHOWN])
            more = f" and {len(self.classes) - SHOWN} more" if len(self.classes) > SHOWN else ""
            noun = "class" if len(self.classes) == 1 else "classes"
            lines.append(f"{role} {name} does not know the {noun} {named}{more}{_way_out(role, noun)}")
        return lines + self.blind

    def _words(self) -> tuple[str, str]:
        """The words that it never read, the most frequent ones by name, and how many more there are."""
        named = ", ".join(f"{word} ({count})" for word, count in self.words.most_common(SHOWN))
        return named, f" and {len(self.words) - SHOWN} more" if len(self.words) > SHOWN else ""

    def _of_lora(self) -> str:
        """What its LoRA met, where nothing says it of the model itself."""
        if self.reader.lora is None:
            return ""
        name, known = self.reader.lora
        met = f"; its LoRA {name} met {self._classes_of_lora(known.classes)}{len(known.words or ())} words"
        if not self.words:
            return f"{met}, and so every word of {counted(self.texts, 'text')}" if self.texts else met
        named, further = self._words()
        return f"{met}, and never read: {named}{further}, in so many of {counted(self.texts, 'text')}"

    def _classes_of_lora(self, met: Sequence[str]) -> str:
        """Which classes a LoRA met, and how many of those that are asked for it did not."""
        if not met:
            return ""
        named = ", ".join(met[:SHOWN]) + (f" and {len(met) - SHOWN} more" if len(met) > SHOWN else "")
        other, asked = len(not_among(self.asked, met)), len(self.asked)
        of = f"{other} of the {asked} asked for are" if asked > 1 else "that asked for is"
        missing = f" ({of} not among them)" if other else ""
        return f"{len(met)} class{'es' * (len(met) != 1)}, {named}{missing}, and "

    def _reads_more(self) -> str:
        return "" if self.reader.figures is None else (
            "; it reads these words after `terrasynth train judge` with captions that have them, or with `ontology` in "
            "the data YAML")


def _way_out(role: str, noun: str) -> str:
    """What helps where a filter's model does not know a class; a generator is tuned instead."""
    return "" if role == "generator" else (", so its filter is useless there; `terrasynth train judge` makes one that "
                                           f"knows {'it' if noun == 'class' else 'them'}, from images of yours")


def readers_of(recipe: Recipe, source: GeneratorSource) -> list[Reader]:
    """The models of a recipe that texts or classes are given to, each once, the generator first.

    Args:
        source: The files of its generator.
    """
    found = [generator_reader(recipe.generator.model, source)]
    for each in recipe.filters:
        if each.asks:
            reference = each.source.reference
            found.append(Reader(_called(reference), each.asks, known_by(reference), judge_figures_of(reference)))
    return list({(one.role, one.name): one for one in found}.values())


def generator_reader(model: str, source: GeneratorSource) -> Reader:
    """A generator, with what its LoRA met beside it."""
    from terrasynth.eval.models.knowledge import load_knowledge

    lora = source.lora
    known = load_knowledge(source.folder) if source.plugin else known_by(model, source.folder)
    own = load_knowledge(lora.folder) if lora is not None and not lora.alone else None
    if lora is None or own is None:
        return Reader(_called(model), "generator", known)
    if known is None:
        return Reader(_called(model), "generator", None, lora=(lora.name, own))
    return Reader(f"{_called(model)} with LoRA {lora.name}", "generator", known.joined(own))


def unread_by(readers: Sequence[Reader], said: Mapping[str, Iterable[Said]]) -> list[Unread]:
    """What models never met.

    Args:
        said: Texts with their scenes, by class.
    """
    found = [Unread(reader) for reader in readers]
    for label, own in said.items():
        for one in found:
            if one.reader.role != "classifier":
                one.asked.append(label)
        reading = [one for one in found if one.reads_texts]
        for text, scene in own if reading else ():
            for one in reading:
                one.look_at(label, text, scene)
        for one in found:
            if one.reader.knowledge is not None and not knows_class(one.reader.knowledge, label):
                one.classes.append(label)
            elif blind := one.reader.blind(label):
                one.blind.append(blind)
    return found


def warnings_of(recipe: Recipe, found: Sequence[Unread]) -> list[str]:
    """Why a high share of accepted images may mean nothing, a sentence each; see `Unread.found`."""
    lines = [f"{line}." for one in found if one.found for line in one.lines()]
    if not any(each.on_content for each in recipe.filters):
        lines.append(UNSEEN)
    return lines


def refuse(found: Sequence[Unread]) -> None:
    """Stop where a model never met a word or a class, or a judge cannot tell a class from others.

    Raises:
        InputError: One did not; the message names it.
    """
    lines = [line for one in found if one.found for line in one.lines()]
    if lines:
        raise InputError(f"{'; '.join(lines)}; take other words or models, or set `unknown: warn`")


def _called(reference: str) -> str:
    """A model without the folders of this machine."""
    path = Path(reference)
    return path.name if path.is_dir() else reference
