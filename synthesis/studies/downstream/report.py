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
from terrasynth.synthesis.studies.downstream.arms import (
    ALLOCATIONS,
    BALANCED,
    BLIND,
    BOTH,
    COVERING,
    DUPLICATED,
    HARD,
    HELD_OUT,
    REAL,
    SYNTHETIC,
    TARGETED,
    UNFILTERED,
    UNIFORM,
)
from terrasynth.synthesis.studies.downstream.arms import RANDOM as RANDOM_KEEP
from terrasynth.synthesis.studies.downstream.cells import TaskFindings
from terrasynth.synthesis.studies.downstream.exposure import ExposureByShare
from terrasynth.synthesis.studies.downstream.figures import ClassDifference, Difference, sentence
from terrasynth.synthesis.studies.trainings import Probing, Swept
from terrasynth.synthesis.targeting.allocation import FLOOR, PRIOR

TITLES: Mapping[str, str] = {"scene": "Scene classification", "retrieval": "Image-text retrieval"}
METRICS = {
    "scene": "Accuracy is the share of the test images whose class is named.",
    "retrieval": "R@k is the mean of two shares: images that find one of their captions among the first k, and "
                 "captions, averaged by image, that find their image. Mean recall is the mean of R@1 and R@5.",
}
SHOWN = "more real images help, as they should"
NOT_SHOWN = ("not even more real images are shown to help: these trainings are too short or too few to say what any "
             "images bring")
NOT_SHOWN_BY_PROBES = ("not even more real images are shown to help: with these features, or so few test images, it "
                       "cannot be said what any images bring")
MARK = "`*`: the 95 % interval of this class leaves out 0; with so many classes some do by chance."
COLORS = ("ink", "blue", "gray", "orange", "purple", "green", "rose", "beyond")
"""Of the arms."""

APART = 0.075
"""Between the marks of two arms at one amount, of the way to the next, so that no interval hides another."""

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


PROBE_NOTES = (
    f"`{REAL}`: so many images of each class, drawn anew for each seed; fewer lie within more.",
    *NOTES[1:6],
    "The features are frozen, so a probe sees every image as it is: no turns, flips or crops.",
    "The linear probe is a multinomial logistic regression on features that are standardized by the images it learns "
    "from. It minimizes the mean cross-entropy, weighted, plus half the penalty times the squared weights. k-NN lets "
    "the k largest votes decide: exp(cosine / 0.07) times the image's weight.",
    "The penalty, or k, is chosen for `real only` at each amount and holds for all arms. The weight of a synthetic "
    "image, a real one having 1, is chosen for each arm that has both. Both are chosen by the accuracy on all of the "
    "real `val` split. `test` chooses nothing.",
    f"`{SYNTHETIC}` chooses its own penalty, or k, on the images that it holds out.",
    NOTES[-1],
    "The same data set in all draws: the intervals say nothing of another run of the same recipe.",
)
TARGET_NOTES = (
    PROBE_NOTES[0],
    f"`{TARGETED}`: those and images of the run, more of the classes that the probe of `{REAL}` misses on `val`. Each "
    f"class gets {FLOOR:g} of an equal share; the rest is in proportion to (missed + {PRIOR} x the error of all "
    f"classes) / (n + {PRIOR}), rounded by largest remainders. Each draw has its own.",
    f"`{UNIFORM}`: as many images in all, as many of each class.",
    f"`{BLIND}`: the numbers of `{TARGETED}` on classes that chance picks: as uneven, and blind.",
    f"`{DUPLICATED}`: as many images in all, the real ones repeated.",
    f"`{BALANCED}`: the images of `{TARGETED}`, weighted so that those of each class weigh as much together. "
    "Without that an uneven allocation also tells the probe that some classes are frequent.",
    f"`{HARD}`: as many of each class as `{UNIFORM}`, those that the probe of `{REAL}` is least sure of, of all that "
    "the filters of the run let pass.",
    f"`{COVERING}`: as many of each class, each the farthest from the real ones and from those before it (greedy "
    "k-center on the features, by cosine).",
    "Which images of a class the arms that are targeted, uniform or random have is drawn anew for each seed; they "
    "share the first ones.",
    *PROBE_NOTES[6:9], NOTES[-1],
    "The same run in all draws: the intervals say nothing of another run of the same recipe.",
)
SWEPT = "`*`: what `val` chose. Accuracy on `val`, and behind it on `test`, over the draws that choose."


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
        found = [f"{title(each)}: {line}" for each in self.tasks for line in verdicts(each)]
        return [*([self.exposure.warning.replace("**", "")] if self.exposure.warning else []), *found]

    def page(self) -> Page:
        """Verdicts, charts and tables of each task, and what they rest on."""
        tasks = (Section(title(each), (
            Notes(tuple(verdicts(each))), chance_note(each), chart(each), arm_table(each, self.exposure),
            METRICS.get(each.task, METRICS["scene"]), pair_table(each), by_chance(each),
            *((sweep_table(each), SWEPT) if each.swept else ()), class_table(each), MARK,
            *((allotted_table(each),) if each.allotted else ()),
        )) for each in self.tasks)
        run = self.settings["run"]
        targeted, probes = (any(each.comparison == ALLOCATIONS for each in self.tasks),
                            any(each.swept for each in self.tasks))
        notes: tuple[str, ...] = TARGET_NOTES if targeted else PROBE_NOTES if probes else NOTES
        return Page(
            f"{run}: does it help a model that is trained on it?",
            "Does the data set help a model that is trained on it?", str(run),
            (*tasks, Section("How", (Notes(notes),)), settings_section(self.settings)),
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


def title(findings: TaskFindings) -> str:
    """Of a section."""
    return TITLES.get(findings.task, findings.task)


def verdicts(findings: TaskFindings) -> list[str]:
    """One sentence an amount, and whether the trainings could have shown anything."""
    found = [sentence(findings.differences, amount, findings.scale, findings.comparison) for amount in findings.amounts]
    more = findings.more_real
    if more is not None:
        first, last, words = findings.amounts[0], findings.amounts[-1], findings.scale.words
        said = f"{REAL} at {words(last)} minus at {words(first)}: {more.words(signed=True)}"
        if more.low is not None:
            said += f" - {SHOWN if more.low > 0 else NOT_SHOWN_BY_PROBES if findings.swept else NOT_SHOWN}"
        found.append(said)
    return found


def chance_note(findings: TaskFindings) -> str:
    """What the figures rest on."""
    seeds = len(findings.arms[0].metrics[findings.metrics[0]].by_seed)
    n = sum(each.n for each in findings.classes if each.amount == findings.amounts[0])
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
    words = findings.scale.words
    first, *others = findings.metrics
    against = {(each.amount, each.arm): each for each in findings.differences if each.against == REAL}
    rows = []
    for each in findings.arms:
        figure = each.metrics[first]
        difference = against.get((each.amount, each.arm))
        rows.append((
            words(each.amount) if each.amount else "none", each.arm, f"{each.n_real:,} + {each.n_synthetic:,}",
            f"{each.n_val:,}", figure.words(), "" if figure.spread is None else f"{figure.spread:.3f}",
            *(f"{each.metrics[name].value:.3f}" for name in others),
            "" if difference is None else difference.difference.words(signed=True),
            exposure.words[each.amount] if each.n_synthetic and each.amount else "",
        ))
    return Table(("real images", "arm", "real + synthetic", "val", first, "sd over seeds", *others, "minus real only",
                  "generator saw"), tuple(rows))


def pair_table(findings: TaskFindings) -> Table:
    """Every pair of arms at every amount."""
    found = {(each.arm, each.against, each.amount): each for each in findings.differences}
    return Table(_by_amount("compared", findings), tuple(
        (f"{arm} minus {against}", *(_pair_words(found[arm, against, amount]) for amount in findings.amounts))
        for arm, against in findings.comparison.pairs
    ), "Arm against arm")


def sweep_table(findings: TaskFindings) -> Table:
    """What was tried to weight a synthetic image in the arm that is judged; the first row is `real only`."""
    chosen = {each.amount: each for each in findings.swept if each.arm == REAL and each.chosen}
    tried = {(each.weight, each.amount): each for each in findings.swept if each.arm == findings.comparison.main}
    weights = sorted({weight for weight, _ in tried})
    setting = findings.budget.setting if isinstance(findings.budget, Probing) else ""
    rows = [
        (f"chosen {setting}", *(f"{chosen[amount].setting:g}" for amount in findings.amounts)),
        (f"{REAL}", *(_swept_words(chosen[amount]) for amount in findings.amounts)),
        *((f"weight {weight:g}", *(_swept_words(tried[weight, amount]) + " *" * tried[weight, amount].chosen
                                   for amount in findings.amounts)) for weight in weights),
    ]
    return Table(_by_amount("synthetic image", findings), tuple(rows),
                 f"{findings.comparison.main}, by the weight of a synthetic image")


def class_table(findings: TaskFindings) -> Table:
    """One arm minus another by class, what the interval sets apart marked."""
    arm, against = findings.comparison.by_class
    by_class: dict[str, list[ClassDifference]] = {}
    for each in findings.classes:
        by_class.setdefault(each.label, []).append(each)
    return Table(_by_amount("class (test images)", findings), tuple(
        (f"{label} ({own[0].n})", *(_class_words(each, against) for each in own)) for label, own in by_class.items()
    ), f"{arm} minus {against}, by class")


def allotted_table(findings: TaskFindings) -> Table:
    """How many images `real + targeted` gave each class, the mean over seeds."""
    labels = next(iter(findings.allotted.values()))
    return Table(_by_amount("class", findings), tuple(
        (label, *(f"{findings.allotted[amount][label]:.1f}" for amount in findings.amounts)) for label in labels
    ), f"Images of each class in {TARGETED}, mean over draws")


def chart(findings: TaskFindings) -> Chart:
    """The metric that is judged against the amount of real images: a line an arm, with its intervals.

    `synthetic only` has no amount and is a level line, as is chance. The marks of two arms at one amount stand apart.
    """
    arms = findings.comparison.arms
    metric, amounts, words = findings.metrics[0], findings.amounts, findings.scale.words
    figures = {(each.arm, each.amount): each.metrics[metric] for each in findings.arms}
    ends = [end for each in figures.values() for end in (each.low, each.high, each.value) if end is not None]
    chance = findings.chance.get(metric)
    ends += [] if chance is None else [chance]
    plot = Plot(
        Axis(findings.scale.title, -0.5, len(amounts) - 0.5,
             marks={float(place): words(amount) for place, amount in enumerate(amounts)}),
        Axis(metric, max(0.0, min(ends) - 0.02), max(ends) + 0.02),
        f"{metric} by {findings.scale.title}; the table has the same figures", (760, 340))
    if chance is not None:
        plot.level(chance, "mean", "chance")
    for number, (arm, color) in enumerate(zip(arms, COLORS, strict=False)):
        if arm == SYNTHETIC:
            plot.level(figures[arm, 0.0].value, color, arm)
            continue
        places = [place + (number - (len(set(arms) - {SYNTHETIC}) - 1) / 2) * APART for place in range(len(amounts))]
        own = [figures[arm, amount] for amount in amounts]
        plot.curve(((place, each.value) for place, each in zip(places, own, strict=True)),
                   color if arm in (REAL, findings.comparison.main) else f"{color} thin")
        for place, each, amount in zip(places, own, amounts, strict=True):
            plot.dot(place, each.value, each.low, each.high, color, f"{arm}, {words(amount)}: {each.words()}")
    return Chart(plot.svg(), "", dict(zip(COLORS, arms, strict=False)))


def _by_amount(first: str, findings: TaskFindings) -> tuple[str, ...]:
    return first, *map(findings.scale.words, findings.amounts)


def _pair_words(found: Difference) -> str:
    return f"{found.difference.words(signed=True)} {found.verdict}"


def _class_words(found: ClassDifference, against: str) -> str:
    low, high = found.difference.low, found.difference.high
    apart = low is not None and high is not None and not low <= 0 <= high
    return f"{found.difference.value:+.2f}{' *' if apart else ''} ({against} {found.real:.2f})"


def _swept_words(tried: Swept) -> str:
    return f"{tried.val:.3f} / {tried.test:.3f}"
