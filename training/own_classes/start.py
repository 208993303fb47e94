"""What a start consists of: the files and where they lie, and what is known of the classes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from terrasynth.prompts.scenes.ontology import load_ontology
from terrasynth.prompts.scenes.wording import find_label
from terrasynth.synthesis.core.knowledge import unknown_classes
from terrasynth.synthesis.core.overrides import override_of
from terrasynth.training.own_classes.look import Look

EMBEDDED = "ldm-ucm"
PROFILE = "ucm"  # whose words the embedded models read
RECIPE = "recipe.yaml"
CAPTION = "an aerial image of {label}"
SOME_IMAGES = 200
"""Images of `train` up to which a LoRA is begun with `SOME_STEPS`; docs/fine-tuning.md measured them with a hundred."""
SOME_STEPS = 800
PER_CLASS, ATTEMPTS = 20, 4
"""Images of a class that a recipe asks for, and attempts for each of them after which a class is given up."""
EMBEDDED_RATE = 0.001  # measured there with EMBEDDED alone, so other bases have the preset's
_UNFIT = re.compile(r"[^\w.-]+")


@dataclass(frozen=True)
class Wishes:
    """What the user states.

    Attributes:
        seed: Of the splits and of the recipe.
        model: The generator.
        gsd: Meters a pixel of images whose data say nothing; None for unknown.
        licence: Of the images; "" for what their card says.
        per_class: Accepted images of each class that the recipe asks for.
    """

    seed: int = 0
    model: str = EMBEDDED
    gsd: float | None = None
    licence: str = ""
    per_class: int = PER_CLASS


@dataclass(frozen=True)
class Start:
    """Everything that files and lines are made of.

    Attributes:
        name: What the data set will be called.
        recipe: Where the recipe will lie.
        source: The data as the user named them; "" without images.
        look: What they hold; None without images.
        splits: The split of each image by its name, where splits were made; None where the data have them.
        data_file: Where the data YAML will lie; it is `source` itself if that is one and lacks nothing.
        licence: Of the images, as stated or as their card says; "" for unknown.
    """

    name: str
    recipe: Path
    source: str
    look: Look | None
    labels: tuple[str, ...]
    splits: Mapping[str, str] | None
    data_file: Path
    wishes: Wishes
    licence: str

    @property
    def ontology(self) -> Path:
        """Where the ontology will lie."""
        return self.recipe.with_name("classes.yaml")

    @property
    def split_list(self) -> Path:
        """Where the list of splits will lie."""
        return self.recipe.with_name("splits.csv")

    @property
    def run(self) -> str:
        """The run directory of the commands that are printed."""
        return f"runs/{self.name}"

    @property
    def embedded_knows(self) -> bool:
        """Whether the embedded generator and judges met every class."""
        known = load_ontology(PROFILE).classes
        return all(find_label(label, known, load_ontology("open")) for label in self.labels)

    @property
    def strangers(self) -> list[str]:
        """The classes that the embedded generator does not know, as `plan` says it."""
        return unknown_classes(EMBEDDED, self.labels)

    @property
    def embedded_suffices(self) -> bool:
        """Whether the embedded models draw and judge, in their own words."""
        return self.embedded_knows and self.wishes.model == EMBEDDED

    @property
    def judged(self) -> bool:
        """Whether a judge of the classes can be made: of two classes at least, with images for training and for val."""
        if self.look is None or len(self.labels) < 2:
            return False
        return all(self.has(label, split) for label in self.labels for split in ("train", "val"))

    @property
    def judge_chooses(self) -> bool:
        """Whether the own judge chooses a LoRA's checkpoint, where no embedded one can."""
        return self.judged and not self.embedded_knows

    @property
    def some_images(self) -> bool:
        """Whether so few images are trained on that a LoRA takes `SOME_STEPS` and not the many of its preset."""
        return self.in_splits("train") <= SOME_IMAGES

    def lora_settings(self, base: str) -> str:
        """Settings of the command that tunes a LoRA of a base: its length and rate, and what chooses its checkpoint."""
        found = []
        if self.some_images:
            found.append(f"loop.max_steps={SOME_STEPS}")
            found += [f"loop.learning_rate={EMBEDDED_RATE}"] * (base == EMBEDDED)
        if self.judge_chooses:
            found.append(override_of("model.validation.encoder", str(self.recipe.with_name("judge"))))
        return "".join(f" --set {shlex.quote(one)}" for one in found)

    def in_splits(self, *splits: str) -> int:
        """Images in these splits."""
        return sum(self.split_of(pair.name, pair.split) in splits for pair in (self.look.pairs if self.look else ()))

    def has(self, label: str, split: str) -> bool:
        """Whether a class has an image in a split."""
        return any(pair.label == label and self.split_of(pair.name, pair.split) == split
                   for pair in (self.look.pairs if self.look else ()))

    def split_of(self, name: str, own: str) -> str:
        """The split of an image."""
        return own if self.splits is None else self.splits.get(name, "")

    @property
    def max_attempts(self) -> int:
        """Attempts after which a class is given up."""
        return ATTEMPTS * self.wishes.per_class

    @property
    def images_made(self) -> str:
        """How many images the recipe asks for, in words."""
        each, classes = self.wishes.per_class, len(self.labels)
        return f"{each * classes:,} images" + (f", {each:,} of each of {classes} classes" if classes > 1 else "")

    def beside(self, name: str) -> str:
        """A path beside the recipe, as a shell reads it."""
        return shlex.quote(str(self.recipe.with_name(name)))


def plain(name: str) -> str:
    """A name as a recipe takes it."""
    return _UNFIT.sub("-", name).strip("-.")[:64] or "own"
