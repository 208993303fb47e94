"""The command `cache`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from terrasynth.synthesis.cli.names import CACHES, NameType, NamingCommand
from terrasynth.synthesis.cli.options import PATH


@click.command(cls=NamingCommand, short_help="Show how large the caches are, and clear them.")
@click.argument("folders", nargs=-1, type=PATH)
@click.option("--clear", "names", multiple=True, metavar="NAME", type=NameType(CACHES),
              help="Delete the caches of this name; may be repeated.")
@click.option("--dry-run", is_flag=True, help="With --clear: only say what would be deleted.")
def cache(folders: Sequence[Path], names: Sequence[str], dry_run: bool) -> None:
    """Show the caches in your cache folder, and those of trainings and services below FOLDERS, with their sizes.

    --clear deletes what a cache holds and nothing else. Do not clear what a run or a training is using.
    """
    from terrasynth.synthesis.core.caches import chosen, clear, find_caches

    if dry_run and not names:
        raise click.UsageError("--dry-run goes with --clear NAME; add it")
    found = find_caches(folders)
    if not names:
        for each in found:
            click.echo(f"{each.kind.name:10}{each.bytes / 2**20:9.1f} MiB  {len(each.files):7,} files  {each.folder}")
        return
    for each in chosen(found, names):
        if not dry_run:
            clear(each)
        said = "would delete" if dry_run else "deleted"
        size = f"{len(each.files):,} files, {each.bytes / 2**20:.1f} MiB"
        click.echo(f"{each.kind.name:10}{said} {size}, in {each.folder}")
