"""Write the data set of a run in a format that other tools load, alone or merged with real data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from terrasynth.eval.table import Table
from terrasynth.synthesis.cards.licence_sources import save_licence
from terrasynth.synthesis.cards.licences import Licence, Statement
from terrasynth.synthesis.core.drawn_texts import RULE
from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.core.files import locked
from terrasynth.synthesis.core.images import decode
from terrasynth.synthesis.export.guard import TestGuard
from terrasynth.synthesis.export.labels import LabelExporter
from terrasynth.synthesis.export.licence import licence_digest, licence_of
from terrasynth.synthesis.export.marker import TEXTS, Marker, check_same, digest_of
from terrasynth.synthesis.export.merging import MergeRule
from terrasynth.synthesis.export.output import README, Output
from terrasynth.synthesis.export.plan import Plan
from terrasynth.synthesis.export.readme import readme
from terrasynth.synthesis.export.real import RealRows, RealSet
from terrasynth.synthesis.export.registry import Exporter
from terrasynth.synthesis.export.rows import UNSPLIT, RunRows, as_json
from terrasynth.synthesis.export.splits import ByPrompt, LeftOut, SplitRule
from terrasynth.synthesis.ledger.pending_review import PendingReview

LEFT_OUT = "left-out.jsonl"


@dataclass(frozen=True)
class Exported:
    """How an export ended.

    Attributes:
        left_out: Synthetic rows that are in no split, by reason.
        changed: False where there was nothing to do.
        licence: What it is under, by its parts or by what was stated.
        notes: What else a user should know.
    """

    folder: Path
    rows: Mapping[str, int]
    left_out: Mapping[str, int]
    changed: bool
    licence: Licence
    notes: Sequence[str] = ()

    def _repr_html_(self) -> str:
        found = {"folder": self.folder, **{f"rows of {split}": f"{count:,}" for split, count in self.rows.items()},
                 **{f"left out, {reason}": f"{count:,}" for reason, count in self.left_out.items()},
                 "licence": self.licence.licence_name or self.licence.licence or f"not stated: {self.licence.missing}",
                 **{f"note {number}": note for number, note in enumerate(self.notes, 1)}}
        return Table.of_settings(found).html()


def export(
    run: Path, exporter: Exporter, folder: Path, *, shares: Mapping[str, float] | None = None, seed: int = 0,
    merge: Sequence[RealSet] = (), ratio: float | None = None, stated: Statement | None = None,
    ignore_review: bool = False,
) -> Exported:
    """Export a run: the same call carries on, does nothing, or takes up what the run has grown by.

    Args:
        run: A run directory with `data/`.
        folder: Where to; empty, or an export of the same run that was made in the same way.
        shares: Share of the rows by split; None for all in "train". Not together with `merge`.
        seed: Decides which rows are in which split.
        merge: Real data that comes first; its rows keep their splits, and synthetic ones join the training split.
        ratio: Synthetic rows for each real training row of a class; None for all.
        stated: The licence that the user states for it; None for what was stated before, or follows from its parts.
        ignore_review: Export although reviewers said what the run has not taken in.

    Raises:
        InputError: The run is none or has not taken in what reviewers said, the folder holds something else, data and
            options do not go together, or the licence leaves out what a part asks for.
        RunError: The disk is full, or the run is damaged or went on meanwhile.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> from terrasynth import Recipe, export, run
        >>> from terrasynth.synthesis.export.registry import load_exporter
        >>> small = ["prompts.classes=[forest]", "target.per_class=1", "generator.steps=1", "filters=[]"]
        >>> recipe = Recipe.load("demo", small)
        >>> with TemporaryDirectory() as folder:
        ...     made = run(recipe, Path(folder, "run"))
        ...     export(made.root, load_exporter("imagefolder"), Path(folder, "images")).rows
        {'train': 1}
    """
    rows, real = RunRows(run), RealRows(merge) if merge else None
    _check_options(run, folder, shares, real, ratio)
    if not ignore_review:
        PendingReview.read(run, rows.recipe).check("exports it as it is")
    if isinstance(exporter, LabelExporter):
        exporter.check(rows, merged=real is not None)
    made_from = _made_from(rows, exporter, shares, seed, real, ratio)
    marker = Marker.load(folder)
    if marker is not None:
        check_same(marker, made_from, folder)
    licence = licence_of(folder, rows, real, stated)
    with locked(folder):
        out = Output(folder, [*exporter.own, LEFT_OUT, README])
        content = {"run": rows.content(), "terrasynth": version("terrasynth"), "licence": licence_digest(licence),
                   TEXTS: RULE}
        if real is not None:
            content["real"] = real.content()
        if rows.captions:
            content["captions"] = rows.captions
        if marker is not None and marker.content == content and _as_written(marker, out):
            return Exported(folder, marker.rows, marker.left_out, False, licence)
        rule = ByPrompt(shares or {UNSPLIT: 1.0}, seed) if real is None else _merge_rule(rows, real, ratio)
        Marker(made_from).save(folder)
        save_licence(folder, licence)
        plan = _plan(rows, rule, out, real)
        notes = _notes(plan, shares, rule)
        exporter.write(plan, out)
        with out.file(README) as file:
            file.write(readme(plan, exporter, out, shares, notes, licence).encode())
        counts = {split: plan.total(split) for split in plan.splits}
        left_out = dict(sorted(plan.reasons.items()))
        extent = out.finish()
        Marker(made_from, content, counts, left_out, extent, digest_of(out.hashes_of())).save(folder)
    return Exported(folder, counts, left_out, True, licence, notes)


def _as_written(marker: Marker, out: Output) -> bool:
    """Whether the files are those that the marker speaks of, by their content."""
    return marker.extent == out.extent() and marker.digest == digest_of(out.hashes_there())


def _check_options(
    run: Path, folder: Path, shares: Mapping[str, float] | None, real: RealRows | None, ratio: float | None
) -> None:
    if run.resolve() == folder.resolve():
        raise InputError(f"--out {str(folder)!r} is the run itself; choose another folder")
    if real is None and ratio is not None:
        raise InputError(f"ratio {ratio:g} counts synthetic rows for each real one, and there is no --merge; name the "
                         "real data, or leave it out")
    if real is not None and shares is not None:
        raise InputError("--splits and --merge do not go together: real rows keep their split, and synthetic ones join "
                         "the training split; leave one out")


def _made_from(
    rows: RunRows, exporter: Exporter, shares: Mapping[str, float] | None, seed: int, real: RealRows | None,
    ratio: float | None,
) -> dict[str, Any]:
    return {
        "exporter": exporter.name,
        "options": exporter.options(),
        "run": {"name": rows.name, "identity": rows.identity},
        "splits": dict(shares or {UNSPLIT: 1.0}),
        "seed": seed if shares is not None else None,
        "merge": None if real is None else {"data": list(real.names), "ratio": ratio},
    }


def _plan(rows: RunRows, rule: SplitRule, out: Output, real: RealRows | None) -> Plan:
    with out.file(LEFT_OUT) as file:

        def left_out(row: Mapping[str, Any], why: LeftOut) -> None:
            described = {name: row[name] for name in ("id", "label", "text")}
            file.write((as_json(described | {"reason": why.reason, "detail": why.detail}) + "\n").encode())

        return Plan.make(rows, rule, left_out, real)


def _merge_rule(rows: RunRows, real: RealRows, ratio: float | None) -> MergeRule:
    pairs = real.pairs
    if not any(pair.split == "test" for pair in pairs):
        real.check()  # the guard opens them all
        return MergeRule(real, ratio, None)
    _, first = next(rows.batches(["image"]))
    height, width, _ = decode(first[0]["image"]["bytes"]).shape
    return MergeRule(real, ratio, TestGuard(pairs, (width, height)))


def _notes(plan: Plan, shares: Mapping[str, float] | None, rule: SplitRule) -> list[str]:
    notes = [f"Split {split} has no rows: there are too few prompts for its share."
             for split in shares or {} if split not in plan.splits]
    if isinstance(rule, MergeRule):
        short = [f"{label} ({plan.synthetic[UNSPLIT, label]} of {wanted})" for label, wanted in rule.wanted().items()
                 if plan.synthetic[UNSPLIT, label] < wanted]
        if short:
            notes.append(f"Fewer synthetic rows than the ratio asks for: {', '.join(short)}.")
        if rule.guard is None:
            notes.append("The real data has no test split, so there was nothing to guard.")
        else:
            notes.append(rule.guard.describe())
    return notes
