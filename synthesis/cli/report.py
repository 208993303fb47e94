"""The command `report`: the report of a run in one file."""

from __future__ import annotations

from pathlib import Path

import click

from terrasynth.synthesis.cli.options import PATH, run_argument

MEGABYTE = 10**6


@click.command(short_help="Write the report of RUN into one file.")
@run_argument
@click.option("--out", type=PATH, required=True, metavar="FILE.html", help="The file; one that is there is replaced.")
@click.option("--images", "most", default=1000, show_default=True, type=click.IntRange(1),
              help="Most images; of each class the same number.")
def report(run_directory: Path, out: Path, most: int) -> None:
    """Write the report of RUN into one file that can be sent, with its images inside.

    RUN/report/index.html has all images without a limit and needs the files beside it.
    """
    from terrasynth.synthesis.cards.one_file import one_file_report
    from terrasynth.synthesis.core.errors import InputError
    from terrasynth.synthesis.core.files import write_file

    if out.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"--out {str(out)!r} is not the name of a page; end it with .html")
    if out.is_dir():
        raise InputError(f"--out {str(out)!r} is a folder; give the name of a file")
    page, shown, left_out = one_file_report(run_directory, most)
    write_file(out, page)
    beside = f", {left_out:,} are not in it: --images {shown + left_out} takes all" if left_out else ""
    click.echo(f"{out}   ({shown:,} images, {len(page.encode()) / MEGABYTE:.1f} MB{beside})")
