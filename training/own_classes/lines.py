"""What is printed: what the data hold, what was written, and what to do next."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from terrasynth.errors import how_to_install
from terrasynth.training.data.class_folders import images_of
from terrasynth.training.judges.card import SECOND
from terrasynth.training.own_classes.look import Look, some
from terrasynth.training.own_classes.start import CAPTION, SOME_STEPS, Start

SMALL = 64
"""Pixels of the shorter side below which an image shows little."""

FEW = 20
"""Images below which what is said of a class is mostly chance."""

SHOWN_CLASSES = 12


def found_lines(start: Start, nameless: tuple[str, ...], near: int, apart: int) -> list[str]:
    """What was found, a line for each thing.

    Args:
        nameless: Classes of which nothing says what they show.
        near: Images that are near copies of others.
        apart: Those of them that lie in another split.
    """
    if start.look is None:
        lines = [("classes", f"{some(start.labels, SHOWN_CLASSES)}; there are no images"),
                 ("unjudged", "without images nothing says whether a drawn image shows its class, how real it looks, "
                              "or whether it is a copy of one")]
    else:
        lines = [*_of_images(start, start.look), *_of_classes(start, start.look, near, apart)]
    if nameless:
        lines.append(("nameless", f"nothing says what {some(nameless)} is called; write it into {start.ontology}"))
    return [f"{name:<11}{text}" for name, text in lines]


def next_lines(start: Start) -> list[str]:
    """The commands that follow, in order."""
    recipe, data = shlex.quote(str(start.recipe)), shlex.quote(str(start.data_file))
    steps: list[tuple[str, str]] = []
    if not start.embedded_suffices:
        bare = start.look is not None and start.look.bare
        first = " before you train, since trainings read texts of it" if bare else ""
        steps.append((f"edit {start.ontology.name}{first}, and look at the texts that come of it",
                      f"terrasynth expand --recipe {recipe} --text-only"))
    if start.judged:
        steps.append(("make a judge of your classes, whose filters go into the recipe",
                      f"terrasynth train judge --data {data} --out {start.beside('judge')} --recipe {recipe}"))
    if start.look is not None:
        by = "; the judge chooses its best step" if start.judge_chooses else ""
        by += f"; {SOME_STEPS} steps suit some dozens of images" if start.some_images else ""
        steps.append((f"teach the generator your images by a LoRA, which goes into the recipe{by}",
                      f"terrasynth train lora --base {shlex.quote(start.wishes.model)} --data {data} --out "
                      f"{start.beside('lora')} --recipe {recipe}{start.lora_settings(start.wishes.model)}"))
    steps += [(f"see what would be made, and how long it takes: {start.images_made}", f"terrasynth plan {recipe}"),
              ("make it", f"terrasynth run {recipe} --out {shlex.quote(start.run)}"),
              (f"look through it, on a page that the extra service brings ({how_to_install('service')})",
               f"terrasynth review {shlex.quote(start.run)}"),
              ("let that decide: take the # from `kind: review` in the recipe, and run it again",
               f"terrasynth run {recipe} --out {shlex.quote(start.run)}"),
              *_judging(start, data),
              ("see what publishing would send", f"terrasynth push {shlex.quote(start.run)} --repo USER/NAME --licence "
               f"{shlex.quote(start.licence or 'LICENCE')} --dry-run")]
    return ["next", *(line for number, (why, command) in enumerate(steps, 1)
                      for line in (f"  # {number}. {why}", f"  {command}"))]


def _judging(start: Start, data: str) -> Iterator[tuple[str, str]]:
    """What judges a run: real images, and a judge that had no part in choosing the images."""
    if start.look is None:
        return
    report = f"terrasynth eval {shlex.quote(start.run)} --real {data}"
    if not start.judged:
        yield "judge it by your images", report
        return
    second = start.beside("judge-2")
    yield ("make a second judge, to report what the first one chose, on an encoder that the first does not use: its "
           "training says which", f"terrasynth train judge --data {data} --encoder {SECOND} --out {second}")
    yield "judge it by that one, and by your images", f"{report} --encoder {second} --classifier {second}"


def _of_images(start: Start, look: Look) -> Iterator[tuple[str, str]]:
    layout = look.data.layouts[0]
    yield "found", f"{layout}: {len(look.pairs):,} images of {len(start.labels)} {_classes(len(start.labels))}"
    sizes = Counter(look.sizes).most_common()
    shown = ", ".join(f"{width} x {height} px ({count:,})" for (width, height), count in sizes[:3])
    yield "images", shown + (f" and {len(sizes) - 3} other sizes" if len(sizes) > 3 else "")
    if look.unreadable:
        yield "broken", (f"{len(look.unreadable)} cannot be opened and are left out: "
                         + some([f"{one.name} ({one.reason})" for one in look.unreadable]))
    if look.data.skipped:
        yield "left out", (f"{len(look.data.skipped)} rows: "
                           + some([f"{one.name} ({one.reason})" for one in look.data.skipped]))
    small = [pair.name for pair, size in zip(look.pairs, look.sizes, strict=True) if min(size) < SMALL]
    if small:
        yield "small", f"{len(small):,} have less than {SMALL} px on a side, which shows little: {some(small)}"
    for note in look.data.notes:
        yield "note", note


def _of_classes(start: Start, look: Look, near: int, apart: int) -> Iterator[tuple[str, str]]:
    counts = look.counts
    ordered = [f"{label} {count:,}" for label, count in counts.items()]
    yield "classes", some(ordered, SHOWN_CLASSES) + (
        f" (fewest {min(counts.values())}, most {max(counts.values())})" if len(counts) > SHOWN_CLASSES else "")
    nameless = sum(not pair.label for pair in look.pairs)
    if nameless:
        yield "no class", f"{nameless:,} images name none; they are not drawn"
    for rows in look.twins()[:3]:
        yield "doubtful", f"one image under several classes: {' = '.join(look.pairs[row].name for row in rows)}"
    captioned = [len(pair.captions) for pair in look.pairs if pair.described]
    missing = len(look.pairs) - len(captioned)
    said = f"{sum(captioned):,} for {len(captioned):,} images" if captioned else "none"
    yield "captions", said + (f"; an image without one is called \"{CAPTION}\" ({start.data_file})" if missing
                              else ", and no image is without")
    splits = Counter(start.split_of(pair.name, pair.split) for pair in look.pairs)
    shown = ", ".join(f"{name} {splits[name]:,}" for name in ("train", "val", "test") if splits[name])
    yield "splits", shown + (f"; made with seed {start.wishes.seed} ({start.split_list})" if start.splits is not None
                             else ", as the data say")
    if near:
        yield "near", f"{near:,} images are near copies of others" + (
            f"; {apart:,} of them lie in another split than these" if apart else
            "; these stay on one side" if start.splits is not None else "")
    if len(start.labels) == 1:
        yield "one class", ("a judge cannot be asked which class an image is of; add images of others to tell it from"
                            + _beside(Path(start.source)))
    unjudged = [label for label in start.labels if not start.has(label, "val")]
    if unjudged:
        yield "unjudged", f"no image in val, too few or all alike: {some(unjudged, SHOWN_CLASSES)}"
    few = [label for label, count in counts.items() if count < FEW and label not in unjudged]
    if few:
        yield "few", f"below {FEW} images, what is said of a class is mostly chance: {some(few, SHOWN_CLASSES)}"


def _beside(source: Path) -> str:
    """That a folder lies beside others with images, as that of one class does; "" where it does not."""
    if not source.is_dir():
        return ""
    above = source.parent if source.name else source.resolve().parent
    others = [each.name for each in sorted(above.iterdir()) if each.is_dir() and not each.samefile(source)
              and not each.name.startswith(".") and images_of([file.name for file in each.iterdir()])]
    return f" (beside it are images of {some(others)}: did you mean {str(above)!r}?)" if others else ""


def _classes(count: int) -> str:
    return "class" if count == 1 else "classes"
