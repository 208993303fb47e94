"""The README of an export: what it holds, how to load it, what it lost, whose licence it carries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import yaml

from terrasynth.prompts.layouts.catalog import load_catalog
from terrasynth.synthesis.cards.card import content_note
from terrasynth.synthesis.cards.licences import Licence
from terrasynth.synthesis.export.labels import UNCHECKED, LabelExporter
from terrasynth.synthesis.export.licence import licence_text
from terrasynth.synthesis.export.output import Output
from terrasynth.synthesis.export.plan import Plan
from terrasynth.synthesis.ledger.blocks import EDIT
from terrasynth.synthesis.ledger.label_columns import OBJECTS

if TYPE_CHECKING:
    from terrasynth.synthesis.export.registry import Exporter

WITH_OBJECTS = {False: ("parquet", "imagefolder"), True: ("parquet",)}
"""Formats with the columns of labels, without and with real rows."""


def readme(
    plan: Plan, exporter: Exporter, out: Output, shares: Mapping[str, float] | None, notes: Sequence[str],
    licence: Licence,
) -> str:
    """YAML header and text; the same export always has the same.

    Args:
        shares: Of each split, where they were asked for.
        notes: What else is to be said.
    """
    from terrasynth.eval.markdown import Ready, markdown_environment

    made: Counter[str] = Counter()
    for (_, label), count in plan.synthetic.items():
        made[label] += count
    text = markdown_environment("terrasynth.synthesis.export").get_template("export.md.j2").render(
        name=plan.run.name,
        format=exporter.name,
        run=plan.run,
        real=None if plan.real is None else plan.real.names,
        total=plan.total(),
        synthetic=plan.synthetic.total(),
        load=exporter.load.replace("NAME", plan.run.name),
        loses=Ready(exporter.loses),
        splits=plan.splits,
        labels=plan.labels,
        counts=plan.counts,
        made=made,
        totals={split: plan.total(split) for split in plan.splits},
        shares=", ".join(f"{name} {share:g}" for name, share in (shares or {}).items()),
        reasons=dict(sorted(plan.reasons.items())),
        notes=notes,
        labels_note=Ready(f"{exporter.conventions} {UNCHECKED}" if isinstance(exporter, LabelExporter) else ""),
        objects=OBJECTS in plan.schema().names and exporter.name in WITH_OBJECTS[bool(plan.has_source)],
        pairs=EDIT in plan.schema().names,
        classes=load_catalog().classes,
        unchecked=UNCHECKED,
        by_hand=plan.by_hand,
        reviewed=bool(plan.run.captions),
    )
    header = yaml.safe_dump(_header(plan, exporter, out, licence), sort_keys=False, allow_unicode=True)
    return f"---\n{header}---\n\n{text.strip()}\n{licence_text(licence).rstrip()}\n"


def _header(plan: Plan, exporter: Exporter, out: Output, licence: Licence) -> dict[str, Any]:
    header: dict[str, Any] = {
        **licence.header(),
        "pretty_name": plan.run.name,
        "language": ["en"],
        "tags": ["synthetic", "remote-sensing", "terrasynth"],
    }
    if exporter.data_files is not None:
        files = [{"split": split, "path": exporter.data_files.format(split=split)} for split in plan.splits]
        header["configs"] = [{"config_name": "default", "data_files": files}]
        hashes = {name: hashed for one in files for name, hashed in out.hashes_of(one["path"]).items()}
        header["dataset_info"] = {"description": content_note(hashes), "splits": [
            {"name": one["split"], "num_bytes": out.size_of(one["path"]), "num_examples": plan.total(one["split"])}
            for one in files
        ]}
    return header
