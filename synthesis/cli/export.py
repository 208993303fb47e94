"""The command `export`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from terrasynth.synthesis.cli.names import FORMATS, NameType, NamingCommand
from terrasynth.synthesis.cli.options import (
    PATH,
    ignore_review_option,
    licence_options,
    run_argument,
    seed_option,
    statement,
)
from terrasynth.synthesis.cli.real_data import ALL, real_pairs


@click.command(cls=NamingCommand, short_help="Write a data set in another format, or add it to real data.")
@run_argument
@click.option("--format", "name", required=True, type=NameType(FORMATS), help="One of the formats below.")
@click.option("--out", required=True, type=PATH, help="Folder; the same command goes on, or takes up growth.")
@click.option("--splits", help="Shares, as train=0.8,validation=0.1,test=0.1. Default: all in train.")
@seed_option("Decides the splits.")
@click.option("--merge", multiple=True, metavar="DATA", type=PATH,
              help="Real image-caption data to put before the synthetic rows; may be repeated.")
@click.option("--ratio", metavar="synthetic=X",
              help="With --merge: synthetic rows for each real training row of a class. Default: all.")
@click.option("--option", "options", multiple=True, metavar="KEY=VALUE",
              help="Setting of the format: rows_per_shard (parquet, webdataset, messages), gsd (geotiff), "
                   "classes (semantic), per_thing (grounding), coordinates and regions (llava-boxes).")
@licence_options
@ignore_review_option("Export")
def export(
    run_directory: Path, name: str, out: Path, splits: str | None, seed: int, merge: Sequence[Path],
    ratio: str | None, options: Sequence[str], licence: str | None, licence_name: str, licence_link: str,
    licence_reason: str, ignore_review: bool,
) -> None:
    """Write the data set of RUN in another format, or augment real data with it.

    Rows of one text or scene are never in two splits, and a run that grows keeps its rows where they are. With
    --merge no row is taken that repeats a caption of the real test split or is nearly one of its images, and the
    licence of the whole follows from those of the run and of the real data.
    """
    from terrasynth.synthesis.cards.licence_sources import WHOEVER
    from terrasynth.synthesis.core.overrides import parse_overrides
    from terrasynth.synthesis.export.exporting import export as export_run
    from terrasynth.synthesis.export.merging import parse_ratio
    from terrasynth.synthesis.export.real import RealSet
    from terrasynth.synthesis.export.registry import load_exporter
    from terrasynth.synthesis.export.splits import parse_splits

    stated = statement(licence, licence_name, licence_link, licence_reason, by=WHOEVER)
    exporter = load_exporter(name, parse_overrides(options))
    shares, share = None if splits is None else parse_splits(splits), parse_ratio(ratio)
    sets = [RealSet.of(source, real_pairs(source, ALL)) for source in merge]
    done = export_run(run_directory, exporter, out, shares=shares, seed=seed, merge=sets, ratio=share,
                      stated=stated, ignore_review=ignore_review)
    rows = ", ".join(f"{count} {split}" for split, count in done.rows.items()) or "no rows"
    click.echo(f"{name:<12} {out}   ({rows})")
    for reason, count in done.left_out.items():
        click.echo(f"left out     {count} {reason}; listed in {out / 'left-out.jsonl'}")
    for note in done.notes:
        click.echo(f"note         {note}")
    if done.licence.missing:
        click.echo(f"licence      not stated: {done.licence.missing}; whoever passes it on states one that every "
                   "part allows, with --licence ID")
    else:
        how = f"stated by {done.licence.stated_by}" if done.licence.stated_by else "follows from its parts"
        click.echo(f"licence      {done.licence.licence_name or done.licence.licence}   ({how})")
    click.echo(f"card         {out / 'README.md'}   (counts by class, how to load)" if done.changed
               else "nothing to do: the run has not changed since it was exported")
