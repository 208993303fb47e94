"""What real images the generator of a run saw, beside what the networks of `eval downstream` see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from terrasynth.synthesis.core.errors import InputError, one_line
from terrasynth.synthesis.core.files import write_file
from terrasynth.synthesis.studies.downstream.arms import Design

UNKNOWN, ALL, NONE = "unknown", "all", "none"
WARNING = (
    "**The generator and the networks trained here did not see the same real images{why}.** What the generator "
    "learned from other real images reaches the networks through the synthetic ones, and `real only` has to do "
    "without it. So these rows do not say what synthetic images bring to somebody who has this share of real "
    "images and no more; they say what this finished data set brings. The same goes for the models of the run's "
    "filters."
)


@dataclass(frozen=True)
class GeneratorExposure:
    """Which real training images the generator was trained on.

    Attributes:
        kind: "unknown", "all", "none", or "list".
    """

    kind: str
    names: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, text: str, known: Sequence[str]) -> GeneratorExposure:
        """Read the option `--generator-saw`.

        Args:
            text: "unknown", "all", "none", or a file with the name of a real training image on each line.
            known: The names of all real training images.

        Raises:
            InputError: The file cannot be read, or names an image that is not among them.
        """
        if text in (UNKNOWN, ALL, NONE):
            return cls(text)
        try:
            names = [line.strip() for line in Path(text).read_text("utf-8").splitlines() if line.strip()]
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"--generator-saw {text!r} is none of unknown, all, none and cannot be read as a file "
                             f"({one_line(error)}); give a file with an image's name on each line") from error
        if strangers := sorted(set(names) - set(known)):
            raise InputError(f"--generator-saw {text!r}: image {strangers[0]!r} is not in the train split; the first "
                             f"there is {known[0]!r}")
        return cls("list", frozenset(names))

    def words(self, subset_of_seed: Sequence[Sequence[str]], known: Sequence[str]) -> str:
        """What a table says in the row of a share.

        Args:
            subset_of_seed: Names of the real images that the networks see, for each seed.
            known: The names of all real training images.
        """
        if self.kind in (UNKNOWN, NONE):
            return "unknown" if self.kind == UNKNOWN else "none of them"
        names = frozenset(known) if self.kind == ALL else self.names
        others = max(len(names - set(own)) for own in subset_of_seed)
        if others:
            return f"{others:,} others besides"
        return "the same" if all(len(names) == len(own) for own in subset_of_seed) else f"{len(names):,} of them"


@dataclass(frozen=True)
class ExposureByShare:
    """What the generator saw, for each share of the real images.

    Attributes:
        words: Amount of real images -> what the table says.
    """

    words: dict[float, str]

    @classmethod
    def of(cls, saw: GeneratorExposure, design: Design, names: Sequence[str], labels: Sequence[str]) -> ExposureByShare:
        """Compare with the real subsets of a design, given the real training images by name and class."""
        return cls({
            amount: saw.words([[names[row] for row in design.subset(labels, amount, seed)]
                                for seed in range(design.seeds)], names)
            for amounts in design.amounts.values() for amount in amounts
        })

    @property
    def warning(self) -> str:
        """What has to be said before the figures; "" where generator and networks saw the same."""
        if any("others" in words for words in self.words.values()):
            return WARNING.format(why=" wherever the table says so")
        unknown = UNKNOWN in self.words.values()
        return WARNING.format(why=", or at least that is not known (`--generator-saw`)") if unknown else ""


def write_subsets(out: Path, design: Design, names: Sequence[str], labels: Sequence[str]) -> None:
    """Write the names of the real images of each share and seed, to train a generator on the same ones."""
    for amount in sorted({amount for amounts in design.amounts.values() for amount in amounts}):
        for seed in range(design.seeds if design.subset_seed is None else 1):
            chosen = [names[row] for row in design.subset(labels, amount, seed)]
            name = design.scale.file(amount, design.seed_of_subset(seed))
            write_file(out / "subsets" / name, "\n".join(chosen) + "\n")
