"""The command line, and the only place where all rooms meet. Heavy imports stay inside the commands."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from contextlib import suppress

import click

from terrasynth.synthesis.cli.cache import cache
from terrasynth.synthesis.cli.errors import FAILED, ending
from terrasynth.synthesis.cli.evaluate import eval_group
from terrasynth.synthesis.cli.expand import expand
from terrasynth.synthesis.cli.export import export
from terrasynth.synthesis.cli.generate import generate
from terrasynth.synthesis.cli.hub_remarks import say_retries_once
from terrasynth.synthesis.cli.init import init
from terrasynth.synthesis.cli.jobs import jobs
from terrasynth.synthesis.cli.models import models
from terrasynth.synthesis.cli.push import push
from terrasynth.synthesis.cli.recaption import recaption
from terrasynth.synthesis.cli.recipes import plan, run
from terrasynth.synthesis.cli.report import report
from terrasynth.synthesis.cli.review import review
from terrasynth.synthesis.cli.serve import serve, worker
from terrasynth.synthesis.cli.target import target
from terrasynth.synthesis.cli.train import train
from terrasynth.synthesis.cli.verify import verify
from terrasynth.synthesis.cli.work import work
from terrasynth.synthesis.core.collector import look_seldom
from terrasynth.synthesis.core.terminal import clean_output, on_one_line

PROGRAM = "terrasynth"


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="terrasynth")
def cli() -> None:
    """Turn text into remote-sensing images, keep the good ones, and write them as an image-text data set.

    Try `terrasynth run demo --out RUN`.
    """

for command in (init, models, expand, generate, plan, run, export, push, verify, train, eval_group, recaption, report,
                review, target, serve, worker, jobs, cache, work):
    cli.add_command(command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point: exit 0 when done, 1 when it failed, 2 when the input is wrong, with one line on stderr."""
    look_seldom()
    say_retries_once()
    with clean_output():
        _main(sys.argv[1:] if arguments is None else list(arguments))


def _main(given: Sequence[str]) -> None:
    try:
        code = cli.main(args=list(given), prog_name=PROGRAM, standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.NoArgsIsHelpError as error:  # a group by itself, such as `terrasynth` or `terrasynth jobs`
        click.echo(error.ctx.get_help() if error.ctx is not None else "")
        sys.exit(0)
    except BrokenPipeError:  # whoever read the output has enough of it
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(FAILED)
    except (Exception, KeyboardInterrupt) as error:
        found = ending(error, shlex.join([PROGRAM, *given]))
        click.echo(f"{PROGRAM}: error: {on_one_line(found.message)}", err=True)
        sys.exit(found.code)
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
