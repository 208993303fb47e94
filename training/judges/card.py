"""What is said of a judge: lines at the end of its training, and its card."""

from __future__ import annotations

import json
import math
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from terrasynth.eval.evaluation.judge_figures import COIN, LEAST, JudgeFigures
from terrasynth.eval.markdown import code
from terrasynth.eval.metrics.figure import Figure
from terrasynth.eval.models.references import EMBEDDED_ROOT, JUDGE_FILE, resolve
from terrasynth.eval.table import Table
from terrasynth.synthesis.cards.licence_sources import licence_fields
from terrasynth.synthesis.core.progress import duration
from terrasynth.training.judges.features import EMBEDDED, PACKAGES
from terrasynth.training.judges.reading import Described
from terrasynth.words import counted

SHOWN = 5
_PLAIN = re.compile(r"[\w/.][\w/.-]*")  # a path that stands inside braces of YAML as it is
LIKELY = 0.95
COLUMNS = ("class", "held out", "recognized", "scene", "texts")

TEXT = """
# {name}

Judge of {classes} classes: two heads on the frozen network `{network}`, one that names scenes and one that reads words.
Made by `terrasynth train judge`.

| | |
|---|---|
| classes | {labels} |
| data | {data}: {train} images to fit to, {held} held out: {split} |
| texts | {texts} |
| words that it reads | {words} |
| images | {side} px a side, seen in flips and quarter turns and at half their side |
| seed | {seed} |

## Use

```yaml
{recipe}
```

## Figures

On the {held} held-out images, which the heads were not fitted to; 95 % intervals over images.

{figures}

By class; a coin toss is {coin}. *Scene*: how often the probability of the class is higher for an image of it than for
one of another class. *Texts*: how often an image of the class scores higher with its own text than one of another class
with a text of this class.

{table}

{mistakes}

## Limits

{limits}

## Terms

{licence}
"""


@dataclass(frozen=True)
class TrainedJudge:
    """A judge that was trained.

    Attributes:
        network: What gives its features.
        data: The data that it learned from, as it was given.
        train: Images that it was fitted to.
        described: Who said what the images show.
        minutes: That it took; None for one that was there already.
    """

    out: Path
    network: str
    data: tuple[str, ...]
    train: int
    described: Described
    figures: JudgeFigures
    minutes: float | None

    def lines(self) -> list[str]:
        """Where it is, what it can do and cannot, and what to do with it; a line each."""
        f = self.figures
        took = "there already" if self.minutes is None else duration(60 * self.minutes)
        lines = [
            f"judge      {self.out}   (scenes and texts of {len(f.classes)} classes, on {self.network}; {took})",
            f"held out   {f.accuracy.n} images ({f.split}); fitted to {self.train}",
            *(f"{word:<10} {text}" for word, text in _overall(f)),
            *(f"confused   {one.asked} taken for {one.seen}: {one.count} of {one.n}" for one in f.mistakes[:SHOWN]),
            *(f"limit      {text}" for text in [*_weak(f), _no_none(f)]),
            f"card       {self.out / 'README.md'}",
            f"recipe     filters: [{', '.join(filters_of(self.out, f.accuracy.n))}]",
        ]
        return lines + [f"next       {command}" for command in self._next()]

    def _repr_html_(self) -> str:
        rows = tuple((label, str(one.n), *(_figure(each) for each in (one.recognized, one.scene, one.alignment)))
                     for label, one in self.figures.classes.items())
        overall = Table((), (("judge", str(self.out)), ("network", self.network), *_overall(self.figures)))
        return overall.html() + Table(COLUMNS, rows).html()

    def _next(self) -> list[str]:
        real = ["--real", *self.data] if len(self.data) == 1 else []  # `eval` takes one source
        first = self.out.with_name(self.out.name.removesuffix("-2"))
        if first != self.out and (first / JUDGE_FILE).is_file():  # this one is the second
            return [_report(self.out, real) + f"   # reports on what {first} chose"]
        second = self.out.with_name(f"{self.out.name}-2")
        other = next(name for name in EMBEDDED if name != self.network)
        data = [part for each in self.data for part in ("--data", each)]
        train = shlex.join(["terrasynth", "train", "judge", *data, "--encoder", other, "--out", str(second)])
        return [f"{train}   # a second judge, to report: what this one chose looks better to it", _report(second, real)]


def _report(judge: Path, real: Sequence[str]) -> str:
    """The command that looks at a run with a judge that did not choose its images."""
    named = ["--encoder", str(judge), "--classifier", str(judge)]
    return shlex.join(["terrasynth", "eval", "RUN", *real, *named])


SECOND = EMBEDDED[-1]
"""What a second judge is made on, that reports, where nobody knows yet which network the first one takes."""


def filters_of(out: Path, scale: int) -> list[str]:
    """The filters of a recipe that this judge serves."""
    folder, share = str(out), pass_real(scale)
    if not _PLAIN.fullmatch(folder):
        folder = json.dumps(folder, ensure_ascii=False)
    texts, scenes = ("min_score: 0.3", "top: 1") if share is None else (f"pass_real: {share:g}",) * 2
    return [f"{{kind: alignment, encoder: {folder}, {texts}}}", f"{{kind: scene, classifier: {folder}, {scenes}}}"]


def pass_real(images: int) -> float | None:
    """The share of real images that a threshold may let pass with so many of them; None where none can be known."""
    share = min(LIKELY, math.floor(100 * (1 - 1 / images)) / 100)
    return share if share > 0 else None


def write_card(judge: TrainedJudge, sources: Sequence[str], words: int, seed: int) -> None:
    """Write `README.md` beside the heads; nothing in it depends on when or how fast it was made."""
    f = judge.figures
    header, licence = _licence(judge.network)
    rows = [(code(label), str(one.n), *(_figure(each) for each in (one.recognized, one.scene, one.alignment)))
            for label, one in f.classes.items()]
    mistakes = [f"- {code(each.asked)} is taken for {code(each.seen)}: {each.count} of {each.n}" for each in f.mistakes]
    text = TEXT.format(
        name=judge.out.name, classes=len(f.classes), network=_shown(judge.network),
        labels=", ".join(map(code, f.classes)), data=", ".join(map(code, sources)), train=judge.train,
        held=f.accuracy.n, split=f.split, words=words, side=f.side, seed=seed, coin=COIN,
        texts=_texts(judge.described),
        recipe="\n".join(["filters:", *(f"  - {each}" for each in filters_of(Path(judge.out.name), f.accuracy.n))]),
        figures="\n".join(f"- {word}: {line}" for word, line in _overall(f)),
        table=Table(COLUMNS, tuple(rows)).markdown(),
        mistakes="\n".join(["Most frequent mistakes:", "", *mistakes[:SHOWN]]) if mistakes else
        "No held-out image was taken for one of another class.",
        limits="\n".join(f"- {line}." for line in [*_weak(f), *_limits(judge)]), licence=licence,
    )
    head = "".join(f"{key}: {value}\n" for key, value in header.items())
    (judge.out / "README.md").write_text(f"---\n{head}tags: [remote-sensing, terrasynth]\n---\n{text}", "utf-8")


def _texts(described: Described) -> str:
    """Where the texts come from."""
    captioned = described.images - described.named
    parts = [f"captions of {captioned} images" if described.named else "captions of the data"] if captioned else []
    if described.named:
        parts.append(f"of {described.named} images drafted from the names of their classes" + (
            f", and of {described.drawn} of them drawn from an ontology, too" if described.drawn else ""))
    return "; ".join(parts)


def _overall(f: JudgeFigures) -> Iterator[tuple[str, str]]:
    yield "accuracy", (f"{f.accuracy} at {f.side} px, {f.halved} at {f.side // 2} px; a guess is {f.chance:.3f}")
    yield "certainty", f"{f.loss:.3f} nats an image; a guess has {f.guess_loss:.3f}"
    for word, figure, what in (("scene", f.scene, "images of other classes"),
                               ("texts", f.alignment, "texts and images of other classes")):
        yield word, "not measured" if figure is None else (
            f"{figure} area under the curve against {what}; a coin toss is {COIN}")


def _no_none(f: JudgeFigures) -> str:
    """That no judge of so many classes says that an image shows none of them, and what helps."""
    classes = counted(len(f.classes), "class", "classes")
    return (f"of {classes} it cannot say \"none\": an image that shows nothing at all is given to one of them, often "
            "with a high score; the filter `quality` rejects what is blurrier than a threshold that you choose, and "
            "only people see the rest (the filter `review`)")


def _weak(f: JudgeFigures) -> Iterator[str]:
    """What is not measured, and what is no better than chance."""
    if few := [f"{label} ({one.n})" for label, one in f.classes.items() if one.recognized is None]:
        yield (f"nothing is said of {', '.join(few)}: fewer than {LEAST} images were held out, so neither recognition "
               "nor texts are measured by class")
    for word, name in (("scene", "scenes"), ("alignment", "texts")):
        blind = [f"{label} {figure}" for label, one in f.classes.items()
                 if (figure := getattr(one, word)) is not None and figure.low <= COIN]
        if blind:
            yield f"its {name} tell no more than a coin toss of {', '.join(blind)}"


def _limits(judge: TrainedJudge) -> Iterator[str]:
    images = judge.figures.accuracy.n
    share = pass_real(images)
    yield _no_none(judge.figures)
    yield ("A text is the sum of its words. It tells classes apart, and hardly which of two captions of a class is "
           "whose; order, numbers and negation count for nothing, and words that it does not read are left out")
    if judge.described.drawn:
        yield ("Texts that were drawn from an ontology say what a class can show, and not what an image shows: each of "
               "their words stands for the classes that it was said of, and for nothing else that is to be seen")
    elif judge.described.named:
        yield "Texts that were drafted from class names hold no other word, so its texts are its classes"
    yield ("It shares its data with what it judges: of images that were chosen by it, or drawn by a generator that was "
           "tuned on the same images, its own figures flatter. Report with another judge, on another network")
    yield ("Near-duplicates between fitted and held-out images were not looked for, and flatter the figures; "
           "`terrasynth init` makes splits that keep them on one side")
    most = f", so it can be {share:g} at the most" if share is not None and share < LIKELY else ""
    yield f"`pass_real` rests on the same {images} held-out images as the figures{most}"


def _figure(figure: Figure | None) -> str:
    return "not measured" if figure is None else f"{figure.value:.3f} [{figure.low:.3f}, {figure.high:.3f}]"


def _shown(reference: str) -> str:
    return Path(reference).name if Path(reference).is_dir() else reference


def _licence(network: str) -> tuple[dict[str, Any], str]:
    """The licence of the network below the heads, as its card says it, and what that means in words."""
    own = "The images and captions are yours, and what they allow, the heads inherit."
    if network.startswith(PACKAGES):
        return {"license": "apache-2.0"}, (f"`{network}` is licensed under Apache-2.0; its weights were trained on "
                                           f"ImageNet, whose images are released for research. {own}")
    try:
        found = resolve(network, [EMBEDDED_ROOT])
    except ValueError:
        return {}, own
    kept = licence_fields(found.folder / "README.md") if found.local else {}
    said = f"`{_shown(network)}` is licensed under {kept.get('license_name', kept.get('license'))}, as its card says." \
        if kept else f"Nothing here says what licence `{_shown(network)}` has; ask its authors before you publish."
    return kept, f"{said} {own}"
