"""What a run shows of itself: contact sheets of accepted and rejected images, acceptance by class, scores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from terrasynth.synthesis.cards.redraw import redraw_of
from terrasynth.synthesis.cards.run_images import is_near_copy, pages
from terrasynth.synthesis.core import layout
from terrasynth.synthesis.core.drawn_texts import LeftOut
from terrasynth.synthesis.core.errors import disk_errors
from terrasynth.synthesis.core.files import write_file
from terrasynth.synthesis.core.images import contact_sheet, decode, encode
from terrasynth.synthesis.core.round_robin import round_robin
from terrasynth.synthesis.execution.unread import Said, Unread, readers_of, unread_by, warnings_of
from terrasynth.synthesis.filters import AnyFilter
from terrasynth.synthesis.ledger.blocks import TEXT_AFTER
from terrasynth.synthesis.ledger.decision_table import files_read
from terrasynth.synthesis.ledger.decisions import NOT_JUDGED, UNREVIEWED, ClassDecisions, Decision
from terrasynth.synthesis.ledger.judged_rows import REVIEW

if TYPE_CHECKING:
    from terrasynth.eval.pages.charts import ScoreHistogram
    from terrasynth.eval.pages.run_report import ClassRow, RunReport
    from terrasynth.eval.pages.sheets import SheetItem
    from terrasynth.prompts.checks.settings import CheckSettings
    from terrasynth.synthesis.execution.job import Job
    from terrasynth.synthesis.execution.prompts import PromptDrops
    from terrasynth.synthesis.recipe import Recipe

CONTACT_SHEET = "report/one-of-each.png"
FILES = tuple((f"../{name}", words) for name, words in (
    (layout.CARD, "Card of the data set"), (layout.RECIPE, "Recipe"),
    (layout.REPORT, "Figures of this report, as JSON")))
SHOWN, COLUMNS = 42, 7
ITS_FILE = ", its file"


def write_run_report(
    job: Job, classes: Sequence[ClassDecisions], left_out: LeftOut, unread: Sequence[Unread]
) -> None:
    """Write `report/`: the page with all images, its figures, contact sheets, and the card's image of each class."""
    from terrasynth.eval import RunReport, write_report

    recipe = job.recipe
    prompts = prompt_drops(job, classes)
    accepted, rejected = examples(job, classes, max(SHOWN, len(classes)), SHOWN)
    report = RunReport(
        name=recipe.name,
        identity=job.identity.hash,
        generator=f"{job.source.name}, revision {job.source.revision}",
        settings=_settings(job, classes) | _texts(left_out) | _unread(unread),
        classes=tuple(_class_row(each) for each in classes),
        histograms=_histograms(recipe.filter_names, classes),
        accepted=tuple(accepted[:SHOWN]),
        rejected=tuple(rejected),
        prompts_seen=prompts.seen if prompts else 0,
        prompt_drops=prompts.drops if prompts else {},
        prompt_notes=prompts.notes if prompts else {},
        warnings=(*(f"{line}." for line in job.otherwise), *warnings_of(recipe, unread)),
        files=FILES,
        steps=next_steps(recipe),
    )
    images = pages(job.blocks, classes, recipe.filter_names, thresholds_of(report),
                   redraw_of(recipe, job.identity.parts, anywhere=True))
    with disk_errors(str(layout.report_folder(job.root))):
        write_report(layout.report_folder(job.root), report, images)
    one_of_each = [each.image for each in accepted[:len(classes)]]
    if one_of_each:
        write_file(job.root / CONTACT_SHEET, encode(contact_sheet(one_of_each, COLUMNS), "png"))
    else:
        (job.root / CONTACT_SHEET).unlink(missing_ok=True)


def thresholds_of(report: RunReport) -> dict[str, Mapping[str, float]]:
    """Filter -> class -> the score that decides; the class is "" where it is the same for all."""
    return {each.name: each.thresholds for each in report.histograms}


def next_steps(recipe: Recipe) -> dict[str, str]:
    """What can be done with a run -> the command for it."""
    target = recipe.target
    more = ""
    if isinstance(target.per_class, int):
        more = f" --set target.per_class={2 * target.per_class} --set target.max_attempts={2 * target.max_attempts}"
    return {
        "look at the images one by one": "terrasynth review RUN",
        "judge them by models that chose none": "terrasynth eval RUN --report EVALUATION",
        "see what each filter is good for": "terrasynth eval filters RUN",
        "let the run grow" if more else "let the run grow, with larger numbers in target.per_class":
            f"terrasynth run RUN/recipe.yaml --out RUN{more}",
        "send this report": "terrasynth report RUN --out report.html",
        "take it to another format": "terrasynth export RUN --format imagefolder --out EXPORT",
        "publish it": "terrasynth push RUN --repo USER/NAME --dry-run",
    }


def prompt_drops(job: Job, classes: Sequence[ClassDecisions]) -> PromptDrops | None:
    """What the checks of prompts dropped on the way to the attempts that were drawn; None without checks."""
    return job.prompt_drops({each.label: each.blocks * job.blocks.block_size for each in classes})


def _settings(job: Job, classes: Sequence[ClassDecisions]) -> dict[str, object]:
    recipe, runtime = job.recipe, job.runtime
    filters, files = {}, describe_files(classes)
    for name, each in zip(recipe.filter_names, recipe.filters, strict=True):
        filters[f"filter {name}"] = describe_filter(each)
        if name in files:
            filters[f"filter {name}{ITS_FILE}"] = files[name]
    return {
        "seed": recipe.seed,
        "steps": job.source.steps,
        "guidance": job.source.guidance,
        "scheduler": job.source.scheduler,
        **{f"option {name}": value for name, value in job.source.options.items()},
        "prompts": recipe.prompts.expander,
        **describe_checks(recipe.prompts.checks),
        **filters,
        "per class": recipe.target.described,
        "most attempts per class": recipe.target.max_attempts,
        "block size": recipe.runtime.block_size,
        "device": runtime.device,
        "dtype": runtime.dtype,
        "exact": runtime.exact,
        **({} if runtime.exact else {"micro-batch": runtime.micro_batch}),
        "computed on": runtime.described,
    }


def _texts(left_out: LeftOut) -> dict[str, object]:
    if not left_out.rows:
        return {}
    return {"said more than their text": f"{left_out.rows} rows; {left_out.captions} captions left out"}


def _unread(found: Sequence[Unread]) -> dict[str, object]:
    return {f"{_heading(one)} {one.reader.name}": "; ".join(one.lines()) for one in found if one.lines()}


def _heading(one: Unread) -> str:
    if one.reader.knowledge is None:
        return "met in training by"
    return "never met by" if one.words or one.classes else "not told apart by"


def drawn_unread(job: Job, classes: Sequence[ClassDecisions]) -> list[Unread]:
    """What the run's models never met, over the texts of all attempts."""
    said = {each.label: _drawn_texts(job, each.label, each.blocks) for each in classes}
    return unread_by(readers_of(job.recipe, job.source), said)


def _drawn_texts(job: Job, label: str, blocks: int) -> Iterator[Said]:
    for index in range(blocks):
        read = job.blocks.read(label, index, ["scene", "text", *([TEXT_AFTER] if job.blocks.has_pairs else [])])
        scenes, *texts = (column.to_pylist() for column in read.columns)
        for each in texts:
            yield from zip(each, scenes, strict=True)


def _class_row(decided: ClassDecisions) -> ClassRow:
    from terrasynth.eval.pages.run_report import ClassRow

    count = decided.count
    named = {reason: amount for reason, amount in sorted(decided.reasons.items(), key=str)
             if reason is not None and reason not in NOT_JUDGED}
    waiting = named.pop(UNREVIEWED, 0)
    nearest = {name: each for name, each in decided.nearest.items() if name != REVIEW and not count.accepted}
    return ClassRow(count.label, count.accepted, count.attempted, count.target, named, waiting, nearest)


def _histograms(names: Sequence[str], classes: Sequence[ClassDecisions]) -> tuple[ScoreHistogram, ...]:
    from terrasynth.eval.pages.charts import ScoreHistogram

    found = []
    for name in names:
        parts = [each.scores(name) for each in classes]
        accepted, rejected = (np.concatenate([part[side] for part in parts]) for side in (0, 1))
        # a class that was stopped before its first attempts were measured has no threshold yet
        thresholds = {each.label: limit for each in classes if not isnan(limit := each.thresholds[name])}
        if len(set(thresholds.values())) == 1:
            thresholds = {"": next(iter(thresholds.values()))}
        if len(accepted) + len(rejected):
            found.append(ScoreHistogram.of(name, accepted, rejected, thresholds))
    return tuple(found)


def describe_checks(checks: CheckSettings | None) -> dict[str, object]:
    """The checks of prompts that are on; of a reference only the file's name, not the folders of this machine."""
    if checks is None:
        return {}
    values = {key: value for key, value in checks.model_dump(exclude_defaults=True, exclude_none=True).items()}
    values |= {key: True for key in ("view", "keep_class") if getattr(checks, key)}
    if checks.reference is not None:
        values["reference"] = Path(checks.reference).name
    return {f"check {key}": value for key, value in values.items() if value is not False}


def describe_filter(settings: AnyFilter) -> str:
    """A filter's settings on one line, without the folders of this machine."""
    return settings.describe()


def describe_files(classes: Sequence[ClassDecisions]) -> dict[str, str]:
    """What is known of the file that a filter decided by, on one line, by the filter's name."""
    return {name: "; ".join(", ".join(f"{key} {value}" for key, value in file.items()) for file in files)
            for name, files in files_read(classes).items()}


def examples(
    job: Job, classes: Sequence[ClassDecisions], accepted: int, rejected: int
) -> tuple[list[SheetItem], list[SheetItem]]:
    """The first accepted images, and the first that were judged and rejected, in turn over the classes.

    Each block that has one of them is read once.
    """
    from terrasynth.eval.pages.sheets import SheetItem

    chosen = [list(islice(round_robin([_judged(each, kind) for each in classes]), count))
              for kind, count in ((True, accepted), (False, rejected))]
    size = job.blocks.block_size
    wanted: dict[tuple[str, int], dict[int, dict[str, Any]]] = {}
    for label, decision in chain(*chosen):
        wanted.setdefault((label, decision.k // size), {})[decision.k] = {}
    for (label, index), rows in wanted.items():
        table = job.blocks.read(label, index, ["text", "image"]).take([k - index * size for k in rows])
        rows.update(zip(rows, table.to_pylist(), strict=True))
    found = []
    for kind in chosen:
        read = ((label, decision, wanted[label, decision.k // size][decision.k]) for label, decision in kind)
        found.append([
            SheetItem(decode(row["image"]["bytes"]), label, row["text"],
                      {name: score for name, score in decision.scores.items() if score is not None},
                      decision.reason or "") for label, decision, row in read
        ])
    return found[0], found[1]


def _judged(decided: ClassDecisions, accepted: bool) -> Iterator[tuple[str, Decision]]:
    for index in range(decided.blocks):
        for decision in decided.block(index):
            if (decision.accepted is accepted and decision.reason not in (*NOT_JUDGED, UNREVIEWED)
                    and not is_near_copy(decision)):
                yield decided.label, decision
