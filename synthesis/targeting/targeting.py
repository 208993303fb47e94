"""From what a model mistakes to a recipe: images by class, and prompts that set confused classes apart."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from terrasynth.eval.table import Table
from terrasynth.prompts.registry import load_expander_for
from terrasynth.synthesis.core import layout
from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.core.files import write_file
from terrasynth.synthesis.core.storage.object_path import place
from terrasynth.synthesis.execution.targets import choose, with_labels
from terrasynth.synthesis.ledger.keeping import decided
from terrasynth.synthesis.recipe import MOST_ROWS, SHIPPED, Recipe
from terrasynth.synthesis.targeting.allocation import FLOOR, PRIOR, allocate, shrunken_errors
from terrasynth.synthesis.targeting.confusions import Confusions
from terrasynth.synthesis.targeting.hard_pairs import HardPairs, hard_pairs
from terrasynth.synthesis.targeting.measuring import refuse_test
from terrasynth.synthesis.targeting.prediction_files import read_predictions
from terrasynth.synthesis.targeting.recipe_text import CHECKS, PROMPTS, SAYS, UNCHECKED, targeted_text
from terrasynth.words import counted

PAIRS = 3
SUFFIX = "-targeted"

Given = str | Path | Confusions | Iterable[tuple[str, str]]


@dataclass(frozen=True)
class ClassTarget:
    """What is known of a class, and what it gets.

    Attributes:
        n: Images that the model was asked about.
        recall: In words, with its interval; "" without an image.
        rivals: What they were most often taken for, in words; "" for nothing.
        error: The share that is missed, drawn towards that of all classes.
        there: Accepted images that the run has already.
        images: Images that are allotted now.
    """

    label: str
    n: int
    recall: str
    rivals: str
    error: float
    there: int
    images: int

    @property
    def wanted(self) -> int:
        """What the recipe asks for."""
        return self.there + self.images

    @property
    def comment(self) -> str:
        """What the recipe says of it."""
        if not self.n:
            return "n = 0: as all classes"
        taken = f", taken for {self.rivals}" if self.rivals else ""
        return f"n = {self.n}, recall {self.recall}{taken}"


@dataclass(frozen=True)
class Targeted:
    """A recipe with more images for the classes that a model misses.

    Attributes:
        recipe: As it is written.
        text: Its YAML, with comments.
        classes: In the order of the recipe.
        pairs: Confused classes that its prompts set apart.
        notes: What else there is to know, a sentence each.
    """

    recipe: Recipe
    text: str
    classes: tuple[ClassTarget, ...]
    pairs: HardPairs
    notes: tuple[str, ...]

    @property
    def allocation(self) -> dict[str, int]:
        """Images that are allotted now, by class."""
        return {each.label: each.images for each in self.classes}

    def table(self) -> Table:
        """Class, n, recall with its 95 % interval, most confused with, images; the largest numbers first."""
        grows = any(each.there for each in self.classes)
        ordered = sorted(self.classes, key=lambda each: (-each.images, each.label))
        return Table(
            ("class", "n", "recall", "most confused with", *(["images there"] if grows else []), "images now allotted"),
            tuple((each.label, str(each.n), each.recall, each.rivals, *([str(each.there)] if grows else []),
                   str(each.images)) for each in ordered))

    def lines(self) -> list[str]:
        """The table, the pairs and the notes for a terminal."""
        total, classes = sum(each.images for each in self.classes), len(self.classes)
        return [*self.table().columns(), f"{counted(total, 'image')} of {counted(classes, 'class', 'classes')}",
                *(f"hard pair  {each.line}" for each in self.pairs.pairs),
                *(f"note       {each}" for each in self.notes)]

    def write(self, out: Path, overwrite: bool = False) -> bool:
        """Write the recipe; whether anything was to be written.

        Raises:
            InputError: Something else lies there.
        """
        if out.is_file() and out.read_text("utf-8") == self.text:
            return False
        if out.exists() and not (overwrite and out.is_file()):
            raise InputError(f"{str(out)!r} is there and says something else; name another file, or say --overwrite")
        write_file(out, self.text)
        return True

    def _repr_html_(self) -> str:
        return self.table().html()


def target(
    predictions: Given, recipe: str | Path = "demo", *, images: int | None = None, floor: float = FLOOR,
    pairs: int | None = None, grow: str | Path | None = None, split: str = "val",
    labels: Sequence[str] | None = None, measured: str = "",
) -> Targeted:
    """A recipe with more images for the classes that a model misses.

    A class gets `floor` of an equal share in any case. The rest is divided in proportion to the share of its images
    that the model misses, drawn towards that of all classes by `PRIOR` images (`allocation`).

    Args:
        predictions: A file of predictions or with a confusion matrix; pairs of the true and the predicted class; or
            `Confusions`.
        recipe: The base: a file, or the name of a shipped recipe. Not with `grow`.
        images: How many images to allot; None for as many as the base asks for.
        floor: Of an equal share, what each class gets in any case, 0 to 1.
        pairs: Most pairs of confused classes that prompts set apart; None for `PAIRS`, and for none with `grow`, as
            a run keeps its prompts.
        grow: A finished run whose images stay: those that are allotted come on top of what it has.
        split: Of a file that names splits, the one that counts. "test" is refused.
        labels: Names of the classes in order, where a file has numbers.
        measured: What was measured, in words, for the comment of the recipe.

    Raises:
        InputError: Nothing can be read or chosen, a class or a number does not fit, or the base cannot be edited.

    Example:
        >>> from terrasynth import target
        >>> seen = [("river", "forest")] * 6 + [("river", "river")] * 4 + [("forest", "forest")] * 10
        >>> made = target(seen, images=210)
        >>> made.allocation["river"], made.allocation["forest"], sum(made.allocation.values())
        (15, 5, 210)
        >>> made.recipe.target.per_class["river"]
        15
    """
    refuse_test(split)
    base, text, has = _base(recipe, grow)
    if grow is not None and pairs:
        raise InputError("a run keeps its prompts, so what grows sets no classes apart; leave --pairs out, or begin "
                         "another run from --recipe")
    names = base.class_names
    expander = load_expander_for(names, base.prompts.expander, **base.prompts.options)
    known = tuple(expander.classes) if names is None else choose(names, expander.classes)
    base = with_labels(base, expander.classes, known)
    given, notes = _confusions(predictions, split, labels)
    confusions, left = given.named(known)
    notes += [f"the recipe does not draw {', '.join(left)}: their images are left out"] if left else []
    total = sum(base.target.wanted(label) for label in known) if images is None else images
    if images is None and grow is not None:
        raise InputError("say how many images the run is to get on top (--images)")
    allotted, errors = _allotted(confusions, known, total, floor)
    most = PAIRS if pairs is None and grow is None else pairs or 0
    apart = hard_pairs(confusions, base, expander, known, most)
    classes = tuple(_class(confusions, label, errors[label], has.get(label, 0), allotted[label]) for label in known)
    notes += [*_about_n(classes), *apart.notes]
    about = _about(base, confusions, measured or f"predictions of split {split}", total, floor, apart, grow is not None)
    return _written(base, text, about, classes, apart, tuple(notes), grow is not None)


def _base(recipe: str | Path, grow: str | Path | None) -> tuple[Recipe, str, dict[str, int]]:
    """The base recipe, its YAML, and what a run has by class."""
    if grow is None:
        path = Path(recipe)
        path = path if path.is_file() else SHIPPED / f"{recipe}.yaml"
        return Recipe.load(recipe), path.read_text("utf-8-sig") if path.is_file() else "", {}
    if str(recipe) != "demo":
        raise InputError("--grow goes on with the recipe of its run; leave --recipe out")
    root = place(grow)
    has = decided(root) if (root / layout.RECIPE).is_file() else None
    if has is None:
        raise InputError(f"{str(grow)!r} holds no run that has decided on its images; run its recipe to the end first")
    found = Recipe.load(root / layout.RECIPE)
    return found, (root / layout.RECIPE).read_text("utf-8"), {label: each.rows for label, each in has.items()}


def _confusions(predictions: Given, split: str, labels: Sequence[str] | None) -> tuple[Confusions, list[str]]:
    if isinstance(predictions, Confusions):
        return predictions, []
    if not isinstance(predictions, str | Path):
        found = Confusions.of(predictions)
        if not found.counts:
            raise InputError("no predictions: give pairs of the true and the predicted class")
        return found, []
    read = read_predictions(Path(predictions), split, labels)
    if read.left_out:
        return read.confusions, [f"{counted(read.left_out, 'row')} of other splits than {split} left out"]
    return read.confusions, [] if read.split_known else [
        f"{Path(predictions).name} does not say of which split it is; figures on images that it holds say nothing new"]


def _allotted(confusions: Confusions, known: Sequence[str], total: int,
              floor: float) -> tuple[dict[str, int], dict[str, float]]:
    if not 0 <= floor <= 1:
        raise InputError(f"--floor {floor}: give a share from 0 to 1")
    if not len(known) <= total <= MOST_ROWS:
        raise InputError(f"--images {total:,} for {counted(len(known), 'class', 'classes')}: give one a class at the "
                         f"least, and {MOST_ROWS:,} at the most")
    errors = shrunken_errors({label: confusions.missed(label) for label in known},
                             {label: confusions.n(label) for label in known})
    return allocate(errors, total, floor), errors


def _class(confusions: Confusions, label: str, error: float, there: int, images: int) -> ClassTarget:
    recall = confusions.recall(label)
    rivals = ", ".join(f"{seen} ({count})" for seen, count in confusions.rivals(label)[:2])
    words = "" if recall is None else f"{recall.value:.3f} [{recall.low:.3f}, {recall.high:.3f}]"
    return ClassTarget(label, confusions.n(label), words, rivals, error, there, images)


def _about_n(classes: Sequence[ClassTarget]) -> list[str]:
    least, most = (pick(each.n for each in classes) for pick in (min, max))
    said = str(least) if least == most else f"{least} to {most}"
    counts = least / (least + PRIOR)
    return [f"n = {said} images a class: of a class with {least}, {counts:.0%} of its error counts, and the error of "
            f"all classes for the rest ({PRIOR} images' worth)"]


def _about(base: Recipe, confusions: Confusions, measured: str, total: int, floor: float, apart: HardPairs,
           grows: bool) -> list[str]:
    """What the recipe says at its beginning."""
    hits = confusions.total - sum(map(confusions.missed, confusions.counts))
    words = [
        f"{base.name}, with more images for the classes that a model misses; written by `terrasynth target`.",
        f"Measured: {measured}; {hits} of {confusions.total} images recognized.",
        f"Allotted: {total:,} images{' on top of what the run has' if grows else ''}. Each class gets {floor:g} of an "
        "equal share; the rest is in proportion to its error,",
        f"(missed + {PRIOR} x the error of all) / (n + {PRIOR}), rounded by largest remainders.",
    ]
    if apart.pairs:
        words += ["Prompts of confused classes say a word that those of the other class cannot (prompts.checks.says)."]
    return [*words, "Below, the base recipe:"]


def _written(base: Recipe, text: str, about: Sequence[str], classes: Sequence[ClassTarget], apart: HardPairs,
             notes: tuple[str, ...], grows: bool) -> Targeted:
    ratio = base.target.max_attempts / base.target.most_wanted
    most = max(each.wanted for each in classes)
    attempts = min(MOST_ROWS, max(base.target.max_attempts, math.ceil(ratio * most)))
    name = None if grows or base.name.endswith(SUFFIX) else (base.name + SUFFIX)[:96]
    says = {label: (lists, "apart from " + ", ".join(each.rival for each in apart.pairs if each.label == label))
            for label, lists in apart.says.items()}
    written = targeted_text(text, about, {each.label: (each.wanted, each.comment) for each in classes}, attempts, says,
                            name)
    tree = base.tree()
    tree["target"] = {"max_attempts": attempts, "per_class": {each.label: each.wanted for each in classes}}
    tree["name"] = name or base.name
    if says:
        tree.pop("identity", None)
        prompts: dict[str, Any] = tree[PROMPTS]
        prompts[CHECKS] = (prompts.get(CHECKS) or {name: False for name in UNCHECKED}) | {SAYS: apart.says}
    return Targeted(parsed_as(written, Recipe.parse(tree)), written, tuple(classes), apart, notes)


def parsed_as(text: str, wanted: Recipe) -> Recipe:
    """The recipe of a text, which has to be the one that is wanted.

    Raises:
        InputError: It is another one: the base is written in a way that cannot be edited.
    """
    import yaml

    if (found := Recipe.parse(yaml.safe_load(text))) != wanted:
        raise InputError("the base recipe is written in a way that cannot be edited; give it with a line for each of "
                         "its parts")
    return found
