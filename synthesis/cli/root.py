"""The command line, and the only place where all rooms meet. Heavy imports stay inside the commands."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from terrasynth.synthesis.cli import evaluate_copies as cli_eval_protocols
from terrasynth.synthesis.cli import evaluate_filters as cli_eval_filters
from terrasynth.synthesis.cli.downstream import downstream_command
from terrasynth.synthesis.cli.errors import FAILED, ending
from terrasynth.synthesis.cli.evaluate import Readers, eval_group
from terrasynth.synthesis.cli.expand import expand
from terrasynth.synthesis.cli.export import export_command
from terrasynth.synthesis.cli.generate import generate
from terrasynth.synthesis.cli.models import models
from terrasynth.synthesis.cli.protocols import protocol_command
from terrasynth.synthesis.cli.push import push
from terrasynth.synthesis.cli.recipes import plan, run
from terrasynth.synthesis.cli.verify import verify
from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.core.terminal import clean_output, on_one_line

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from terrasynth.synthesis.core.real_pictures import RealPair
    from terrasynth.synthesis.studies.downstream.pools import Pool
    from terrasynth.synthesis.studies.trainings import Budget, Trained, TrainedAccuracy
    from terrasynth.training.data import Pair, PairSet

PROGRAM = "terrasynth"


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="terrasynth")
@click.pass_context
def cli(context: click.Context) -> None:
    """Turn text into remote-sensing pictures, keep the good ones, and write them as an image-text data set.

    Try `terrasynth run demo --out RUN`.
    """
    context.obj = _real_captions


def _real_pairs(source: Path, split: str) -> Sequence[RealPair]:
    """Real pairs, for the commands that may not reach into `training` themselves."""
    from terrasynth.training.data import read_pairs, report_skipped

    found = read_pairs(source)
    pairs = _of_split(found, source, split)
    report_skipped(found)
    return pairs


def _all_pairs(source: Path) -> Sequence[Pair]:
    """Real pairs of every split."""
    from terrasynth.training.data import read_pairs, report_skipped

    found = read_pairs(source)
    report_skipped(found)
    return found.pairs


def _real_captions(source: Path, split: str) -> list[tuple[str, str]]:
    """Class and caption of real pairs."""
    from terrasynth.training.data import read_pairs

    return [(pair.label, caption) for pair in _of_split(read_pairs(source), source, split) for caption in pair.captions]


def _of_split(found: PairSet, source: Path, split: str) -> list[Pair]:
    pairs = found.pairs if split == "all" else found.split(split)
    if not pairs:
        raise InputError(f"{str(source)!r} has no pairs in split {split!r}; it has {len(found.pairs)} in all")
    return pairs


def _train_and_test(
    images: NDArray[np.uint8], labels: Sequence[str], real: NDArray[np.uint8], real_labels: Sequence[str], steps: int,
    seed: int,
) -> TrainedAccuracy:
    """Train a classifier on pictures and test it on real ones."""
    from terrasynth.training.studies.zero_shot import train_and_test

    return train_and_test(images, labels, real, real_labels, steps, seed)


def _train_cell(
    task: str, train: Pool, val: Pool, test: Pool, budget: Budget, seed: int, name: str
) -> Trained:
    """One training of `eval downstream`."""
    from terrasynth.training.studies.downstream import train_cell

    return train_cell(task, train, val, test, budget, seed, name)


EVAL_COMMANDS = (*cli_eval_filters.COMMANDS, *cli_eval_protocols.COMMANDS, protocol_command(_train_and_test),
                 downstream_command(_train_cell))
for command in (models, expand, generate, plan, run, export_command(_all_pairs), push, verify,
                eval_group(Readers(_real_pairs), EVAL_COMMANDS)):
    cli.add_command(command)


@cli.command()
@click.argument("preset")
@click.option("--data", required=True, multiple=True,
              help="Image-caption data: folder, file, Hub id, or data YAML; may be repeated.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Where models and checkpoints go.")
@click.option("--base", help="What lora and full start from: embedded name, folder, or Hub id of a diffusers pipeline.")
@click.option("--teacher", help="What autoencoder-distil learns from: folder or Hub id of an autoencoder of diffusers.")
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True), help="Time budget.")
@click.option("--resume/--restart", default=True, show_default=True, help="Carry on from the last checkpoint.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a setting of the preset.")
def train(preset: str, data: Sequence[str], out: Path, base: str | None, teacher: str | None, minutes: float | None,
          resume: bool, overrides: Sequence[str]) -> None:
    """Train a model; PRESET `lora` tunes one of yours, `release` makes all the embedded ones again."""
    from terrasynth.synthesis.core.overrides import parse_overrides
    from terrasynth.training import run_preset

    run_preset(preset, data, out, minutes, resume, parse_overrides(overrides), base, teacher)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point: exit 0 when done, 1 when it failed, 2 when the input is wrong, with one line on stderr."""
    with clean_output():
        _main(sys.argv[1:] if arguments is None else list(arguments))


def _main(given: Sequence[str]) -> None:
    try:
        code = cli.main(args=list(given), prog_name=PROGRAM, standalone_mode=False)
        sys.stdout.flush()
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
