"""The findings of `eval downstream`: lines for a terminal, a page, the same page as Markdown, and JSON.

The same findings always give the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from terrasynth.eval.pages.charts import Axis, Chart, Plot
from terrasynth.eval.pages.page import Notes, Page, Section, settings_section
from terrasynth.eval.table import Table
from terrasynth.synthesis.core.files import write_file
from terrasynth.synthesis.studies.downstream.arms import ARMS, BOTH, DUPLICATED, HELD_OUT, REAL, SYNTHETIC, UNFILTERED
from terrasynth.synthesis.studies.downstream.arms import RANDOM as RANDOM_KEEP
from terrasynth.synthesis.studies.downstream.cells import TaskFindings
from terrasynth.synthesis.studies.downstream.exposure import ExposureByShare
from terrasynth.synthesis.studies.downstream.figures import COMPARED, ClassDifference, Difference, sentence

TITLES = {"scene": "Scene classification", "retrieval": "Image-text retrieval"}
METRICS = {
    "scene": "Accuracy is the share of the test images whose class is named.",
    "retrieval": "R@k is the mean of two shares: images that find one of their captions among the first k, and "
                 "captions, averaged by image, that find their image. Mean recall is the mean of R@1 and R@5.",
}
SHOWN = "more real images help, as they should"
NOT_SHOWN = ("not even more real images are shown to help: these trainings are too short or too few to say what any "
             "images bring")
MARK = "`*`: the 95 % interval of this class leaves out 0; with so many classes some do by chance."
COLORS = ("ink", "blue", "gray", "orange", "purple", "green")
"""Of the arms."""

APART = 0.075
"""Between the marks of two arms at one share, of the way to the next share, so that no interval hides another."""

NOTES = (
    f"`{REAL}`: a share of the real training images, drawn class by class; smaller shares lie within larger ones.",
    f"`{BOTH}`: those and all accepted images of the run.",
    f"`{DUPLICATED}`: the real ones repeated until there are as many as in `{BOTH}`. With the same number of steps "
    f"that hardly differs from `{REAL}` but in the order of the images, so its difference shows what chance does.",
    f"`{UNFILTERED}`: in place of the accepted images the first attempts of each class, as many of each class: the "
    "run as it would be without filters.",
    f"`{RANDOM_KEEP}`: in their place attempts drawn at random, as many of each class, others for each seed.",
    f"`{SYNTHETIC}`: accepted images alone; one in {HELD_OUT} of them chooses the checkpoint.",
    "The same budget: every training of a task takes the same number of steps of the same number of images at the "
    "same size, with the same schedule, whatever it is trained on. More images do not mean more steps.",
    "Every training has random turns, flips, crops, brightness and contrast, as the preset has.",
    f"All arms but `{SYNTHETIC}` choose their checkpoint on the same share of the real `val` split, one image a "
    "class at the least; never on `test`.",
    "Intervals are 95 %, for other test images (resampled, paired) and other seeds (Student's t over the seeds).",
)


@dataclass(frozen=True)
class Report:
    """All that was found.

    Attributes:
        settings: What decides the figures.
        exposure: What the generator saw.
    """

    settings: Mapping[str, object]
    exposure: ExposureByShare
    tasks: tuple[TaskFindings, ...]

    def lines(self) -> list[str]:
        """Verdicts for a terminal."""
        found = [f"{TITLES[each.task]}: {line}" for each in self.tasks for line in verdicts(each)]
        return [*([self.exposure.warning.replace("**", "")] if self.exposure.warning else []), *found]

    def page(self) -> Page:
        """Verdicts, charts and tables of each task, and what they rest on."""
        tasks = (Section(TITLES[each.task], (
            Notes(tuple(verdicts(each))), chance_note(each), chart(each), arm_table(each, self.exposure),
            METRICS[each.task], pair_table(each), by_chance(each), class_table(each), MARK,
        )) for each in self.tasks)
        run = self.settings["run"]
        return Page(
            f"{run}: does it help a model that is trained on it?",
            "Does the data set help a model that is trained on it?", str(run),
            (*tasks, Section("How", (Notes(NOTES),)), settings_section(self.settings)),
            identity=str(self.settings["identity"]), warning=self.exposure.warning,
        )

    def to_json(self) -> dict[str, object]:
        """Nested plain data."""
        return {"settings": dict(self.settings), "generator_saw": self.exposure.words,
                "warning": self.exposure.warning, "tasks": [asdict(each) for each in self.tasks]}

    def save(self, out: Path) -> Path:
        """Write `downstream.json`, `downstream.md` and, last, `index.html`; returns the page.

        Raises:
            InputError: The folder cannot be written to.
            RunError: The disk is full.
        """
        page = self.page()
        write_file(out / "downstream.json", json.dumps(self.to_json(), indent=1, ensure_ascii=False) + "\n")
        write_file(out / "downstream.md", page.markdown())
        write_file(out / "index.html", page.html())
        return out / "index.html"


def verdicts(findings: TaskFindings) -> list[str]:
    """One sentence a share, and whether the trainings could have shown anything."""
    found = [sentence(findings.differences, percent) for percent in findings.percents]
    more = findings.more_real
    if more is not None:
        first, last = findings.percents[0], findings.percents[-1]
        words = f"{REAL} at {last:g} % minus at {first:g} %: {more.words(signed=True)}"
        if more.low is not None:
            words += f" - {SHOWN if more.low > 0 else NOT_SHOWN}"
        found.append(words)
    return found


def chance_note(findings: TaskFindings) -> str:
    """What the figures rest on."""
    seeds = len(findings.arms[0].metrics[findings.metrics[0]].by_seed)
    n = sum(each.n for each in findings.classes if each.percent == findings.percents[0])
    chance = ", ".join(f"{name} {value:.3f}" for name, value in findings.chance.items()) or "not measured"
    return (f"{findings.network}, {findings.budget}; {seeds} seed{'s' if seeds > 1 else ''}; n = {n} real test "
            f"images. Chance: {chance}.")


def by_chance(findings: TaskFindings) -> str:
    """How many differences to expect of nothing, and how large they are where next to nothing differs."""
    pairs = len(findings.differences)
    same = [each.difference.value for each in findings.differences if (each.arm, each.against) == (DUPLICATED, REAL)]
    return (f"{pairs} pairs of arms are compared at 95 % each: where nothing differs, up to about {pairs * 0.05:.1f} "
            f"of them would still be called different. `{DUPLICATED}` minus `{REAL}`, which hardly differ, lies "
            f"between {min(same):+.3f} and {max(same):+.3f}.")


def arm_table(findings: TaskFindings, exposure: ExposureByShare) -> Table:
    """How each arm does."""
    first, *others = findings.metrics
    against = {(each.percent, each.arm): each for each in findings.differences if each.against == REAL}
    rows = []
    for each in findings.arms:
        figure = each.metrics[first]
        difference = against.get((each.percent, each.arm))
        rows.append((
            f"{each.percent:g} %" if each.percent else "none", each.arm, f"{each.n_real:,} + {each.n_synthetic:,}",
            f"{each.n_val:,}", figure.words(), "" if figure.spread is None else f"{figure.spread:.3f}",
            *(f"{each.metrics[name].value:.3f}" for name in others),
            "" if difference is None else difference.difference.words(signed=True),
            exposure.words[each.percent] if each.n_synthetic and each.percent else "",
        ))
    return Table(("real images", "arm", "real + synthetic", "val", first, "sd over seeds", *others, "minus real only",
                  "generator saw"), tuple(rows))


def pair_table(findings: TaskFindings) -> Table:
    """Every pair of arms at every share."""
    found = {(each.arm, each.against, each.percent): each for each in findings.differences}
    return Table(_by_share("compared", findings), tuple(
        (f"{arm} minus {against}", *(_pair_words(found[arm, against, percent]) for percent in findings.percents))
        for arm, against in COMPARED
    ), "Arm against arm")


def class_table(findings: TaskFindings) -> Table:
    """`real + synthetic` minus `real only` by class, what the interval sets apart marked."""
    by_class: dict[str, list[ClassDifference]] = {}
    for each in findings.classes:
        by_class.setdefault(each.label, []).append(each)
    return Table(_by_share("class (test images)", findings), tuple(
        (f"{label} ({own[0].n})", *(_class_words(each) for each in own)) for label, own in by_class.items()
    ), "real + synthetic minus real only, by class")


def chart(findings: TaskFindings) -> Chart:
    """The metric that is judged against the share of the real images: a line an arm, with its intervals.

    `synthetic only` has no share and is a level line, as is chance. The marks of two arms at one share stand apart.
    """
    metric, percents = findings.metrics[0], findings.percents
    figures = {(each.arm, each.percent): each.metrics[metric] for each in findings.arms}
    ends = [end for each in figures.values() for end in (each.low, each.high, each.value) if end is not None]
    chance = findings.chance.get(metric)
    ends += [] if chance is None else [chance]
    plot = Plot(
        Axis("share of the real training images", -0.5, len(percents) - 0.5,
             marks={float(place): f"{percent:g} %" for place, percent in enumerate(percents)}),
        Axis(metric, max(0.0, min(ends) - 0.02), max(ends) + 0.02),
        f"{metric} by share of the real training images; the table has the same figures", (760, 340))
    if chance is not None:
        plot.level(chance, "mean", "chance")
    for number, (arm, color) in enumerate(zip(ARMS, COLORS, strict=True)):
        if arm == SYNTHETIC:
            plot.level(figures[arm, 0.0].value, color, arm)
            continue
        places = [place + (number - (len(ARMS) - 2) / 2) * APART for place in range(len(percents))]
        own = [figures[arm, percent] for percent in percents]
        plot.curve(((place, each.value) for place, each in zip(places, own, strict=True)),
                   color if arm in (REAL, BOTH) else f"{color} thin")
        for place, each, percent in zip(places, own, percents, strict=True):
            plot.dot(place, each.value, each.low, each.high, color, f"{arm}, {percent:g} %: {each.words()}")
    return Chart(plot.svg(), "", dict(zip(COLORS, ARMS, strict=True)))


def _by_share(first: str, findings: TaskFindings) -> tuple[str, ...]:
    return first, *(f"{percent:g} %" for percent in findings.percents)


def _pair_words(found: Difference) -> str:
    return f"{found.difference.words(signed=True)} {found.verdict}"


def _class_words(found: ClassDifference) -> str:
    low, high = found.difference.low, found.difference.high
    apart = low is not None and high is not None and not low <= 0 <= high
    return f"{found.difference.value:+.2f}{' *' if apart else ''} (real only {found.real:.2f})"
