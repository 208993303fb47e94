"""The command `push`."""

from __future__ import annotations

import logging
from pathlib import Path

import click

from terrasynth.synthesis.cli.options import PATH, ignore_review_option, licence_options, statement
from terrasynth.words import counted


@click.command(short_help="Publish a data set on the Hugging Face Hub.")
@click.argument("folder", metavar="RUN_OR_EXPORT", type=PATH)
@click.option("--repo", required=True, metavar="USER/NAME", help="The data set on the Hugging Face Hub.")
@click.option("--private", is_flag=True, help="Make a new data set private.")
@click.option("--dry-run", is_flag=True, help="Only say what would be sent.")
@click.option("--offline", is_flag=True, help="With --dry-run: do not even ask what is there.")
@licence_options
@click.option("--revision", default="main", show_default=True, metavar="BRANCH", help="The branch to push to.")
@click.option("--replace", is_flag=True, help="Overwrite what others, or another run or export, put there.")
@ignore_review_option("Publish")
def push(
    folder: Path, repo: str, private: bool, dry_run: bool, offline: bool, licence: str | None, licence_name: str,
    licence_link: str, licence_reason: str, revision: str, replace: bool, ignore_review: bool,
) -> None:
    """Publish a run, or an export of one, on the Hugging Face Hub.

    Only what changed is sent. Interrupted, the same command carries on; after the run has grown, it adds the new
    files. The token is that of HF_TOKEN or of `hf auth login`; HF_ENDPOINT names another Hub.
    """
    from terrasynth.synthesis.hub.pushing import PushSettings, size_text
    from terrasynth.synthesis.hub.pushing import push as push_folder

    stated = statement(licence, licence_name, licence_link, licence_reason, by="you")
    _be_quiet()
    settings = PushSettings(repo, private, revision, stated, replace, dry_run, offline, ignore_review)
    result = push_folder(folder, settings, lambda line: click.echo(line, err=True))
    plan = result.plan
    if dry_run:
        for mark, files in (("send", plan.send), ("there", plan.keep)):
            for file in files:
                click.echo(f"{mark:8}{size_text(file.size):>12}  {file.path}")
        for path in plan.remove:
            click.echo(f"{'remove':8}{'':12}  {path}")
        for note in plan.notes:
            click.echo(f"note: {note}")
    licence_text = plan.licence.licence_name or plan.licence.licence
    how = "inherited" if not plan.licence.stated_by else "stated; the push writes it into the card" if dry_run \
        else "stated"
    click.echo(f"licence    {licence_text} ({how})")
    if dry_run:
        made = "would be made" if plan.remote is None else "exists"
        click.echo(f"to send    {counted(len(plan.send), 'file')}, {size_text(plan.bytes)}; "
                   f"{counted(plan.rows, 'row')} in all")
        click.echo(f"data set   {result.url}   ({made if result.asked else 'not asked'})")
        return
    if not result.commit:
        click.echo(f"nothing to do: all {len(plan.keep)} files are there")
    else:
        click.echo(f"sent       {counted(len(plan.send), 'file')}, {size_text(plan.bytes)}; {len(plan.keep)} were "
                   f"there, {len(plan.remove)} removed")
        click.echo(f"checked    {result.compared} {result.what}")
    commit = f", commit {result.commit[:8]}" if result.commit else ""
    click.echo(f"data set   {result.url}   ({counted(plan.rows, 'row')}{commit})")


def _be_quiet() -> None:
    """The push itself tells what happens; its client would show bars and addresses of single uploads."""
    from huggingface_hub.utils import logging as hub_logging
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()
    hub_logging.set_verbosity(logging.CRITICAL)
