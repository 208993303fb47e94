"""The command `eval downstream`."""

from __future__ import annotations

from pathlib import Path

import click

from terrasynth.synthesis.cli.options import PATH, run_argument, seed_option
from terrasynth.synthesis.cli.real_data import real_pairs

DEFAULT_SHARES, FEWER_SHARES = "5,10,25,100", "25,100"


@click.command()
@run_argument
@click.option("--data", required=True, type=PATH, help="Real image-caption data with train, val and test.")
@click.option("--task", type=click.Choice(["scene", "retrieval", "both"]), default="both", show_default=True,
              help="What is learned: classes, or which caption belongs to which image.")
@click.option("--fractions", default=DEFAULT_SHARES, show_default=True,
              help="Shares of the real training images in percent, for the scene task.")
@click.option("--retrieval-fractions", default=FEWER_SHARES, show_default=True, help="The same for retrieval.")
@click.option("--seeds", default=3, show_default=True, type=click.IntRange(1), help="Trainings of each arm.")
@click.option("--steps", default=600, show_default=True, type=click.IntRange(1), help="Steps of each training.")
@click.option("--retrieval-steps", default=600, show_default=True, type=click.IntRange(1), help="Of retrieval.")
@click.option("--batch-size", default=64, show_default=True, type=click.IntRange(2), help="Images a step.")
@click.option("--size", type=click.IntRange(32), help="Side in pixels. Default: that of the run's images.")
@click.option("--subset-seed", type=click.IntRange(0),
              help="The same real subsets for all seeds, of this one. Default: others for each seed.")
@click.option("--generator-saw", default="unknown", show_default=True, metavar="unknown|all|none|FILE",
              help="Which real training images the generator was trained on; FILE holds a name a line.")
@seed_option("Decides the intervals.")
@click.option("--out", required=True, type=PATH, help="Folder; the same command goes on.")
def downstream(
    run_directory: Path, data: Path, task: str, fractions: str, retrieval_fractions: str,
    seeds: int, steps: int, retrieval_steps: int, batch_size: int, size: int | None, subset_seed: int | None,
    generator_saw: str, seed: int, out: Path,
) -> None:
    """Does RUN help a model that is trained on it? Real, synthetic and both, with controls, tested on real.

    Every training is kept, so the same command goes on where it ended, and more seeds or shares add to it.
    """
    from terrasynth.synthesis.ledger.directory import RunDirectory
    from terrasynth.synthesis.studies.downstream.arms import RETRIEVAL, SCENE, Design
    from terrasynth.synthesis.studies.downstream.cells import RealSplits, measure_downstream
    from terrasynth.synthesis.studies.downstream.exposure import ExposureByShare, GeneratorExposure, write_subsets
    from terrasynth.synthesis.studies.downstream.pools import RunAttempts, real_pool
    from terrasynth.synthesis.studies.downstream.report import Report
    from terrasynth.synthesis.studies.trainings import Budget
    from terrasynth.training.studies.downstream import train_cell

    side = RunDirectory(run_directory).attempt_size()
    percents = {SCENE: parse_percents(fractions, "--fractions"),
                RETRIEVAL: parse_percents(retrieval_fractions, "--retrieval-fractions")}
    design = Design({name: found for name, found in percents.items() if task in (name, "both")}, seeds, subset_seed)
    pairs = {split: real_pairs(data, split) for split in ("train", "val", "test")}
    names, labels = [pair.name for pair in pairs["train"]], [pair.label for pair in pairs["train"]]
    saw = GeneratorExposure.parse(generator_saw, names)
    real = RealSplits(**{split: real_pool(own, side, split) for split, own in pairs.items()})
    attempts = RunAttempts.read(run_directory, sorted(set(real.test.labels)))
    pixels = size or side[1]
    budgets = {SCENE: Budget(steps, batch_size, pixels), RETRIEVAL: Budget(retrieval_steps, batch_size, pixels)}
    write_subsets(out, design, names, labels)
    found = measure_downstream(real, attempts, design, budgets, train_cell, out, seed,
                               lambda line: click.echo(line, err=True))
    about = {
        "run": attempts.recipe, "identity": attempts.identity, "attempts": len(attempts.labels),
        "accepted": int(attempts.accepted.sum()), "real data": data.resolve().stem,
        "train, val, test": ", ".join(str(len(pairs[split])) for split in pairs), "seeds": seeds,
        "seed of the intervals": seed, "real subsets": "others for each seed" if subset_seed is None
        else f"of seed {subset_seed} for all seeds", "generator saw": saw.kind,
    }
    report = Report(about, ExposureByShare.of(saw, design, names, labels), tuple(found))
    page = report.save(out)
    for line in report.lines():
        click.echo(line)
    click.echo(f"table {out / 'downstream.md'}")
    click.echo(f"page  {page}")


def parse_percents(text: str, option: str) -> tuple[float, ...]:
    """Shares in percent, ascending, each once.

    Raises:
        InputError: No numbers above 0 up to 100.
    """
    from terrasynth.synthesis.core.errors import InputError

    try:
        found = {float(part) for part in text.split(",")}
    except ValueError:
        found = set()
    if not found or not all(0 < each <= 100 for each in found):
        raise InputError(f"{option} {text!r}: give shares in percent above 0 up to 100, such as {DEFAULT_SHARES}")
    return tuple(sorted(found))
