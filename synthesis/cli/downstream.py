"""The command `eval downstream`: trainings from random weights, or probes on frozen features."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import click
from click.core import ParameterSource

from terrasynth.synthesis.cli.options import PATH, cache_option, run_argument, seed_option
from terrasynth.synthesis.cli.real_data import real_pairs

DEFAULT_SHARES, FEWER_SHARES = "5,10,25,100", "25,100"
DEFAULT_COUNTS, ALL = "1,5,10,20,all", "all"
SEEDS, DRAWS = 3, 20
OF_TRAININGS = ("task", "fractions", "retrieval_fractions", "steps", "retrieval_steps", "batch_size", "size")
OF_PROBES = ("per_class", "targeted", "cache")


@click.command()
@run_argument
@click.option("--features", multiple=True, metavar="MODEL",
              help="Probe the frozen features of this encoder, in place of trainings from random weights; may be "
                   "repeated.")
@click.option("--data", required=True, type=PATH, help="Real image-caption data with train, val and test.")
@click.option("--task", type=click.Choice(["scene", "retrieval", "both"]), default="both", show_default=True,
              help="What is learned: classes, or which caption belongs to which image.")
@click.option("--fractions", default=DEFAULT_SHARES, show_default=True,
              help="Shares of the real training images in percent, for the scene task.")
@click.option("--retrieval-fractions", default=FEWER_SHARES, show_default=True, help="The same for retrieval.")
@click.option("--per-class", show_default=DEFAULT_COUNTS,
              help="Real training images of each class, for --features; by default no more than there are.")
@click.option("--targeted", type=click.IntRange(1), metavar="N",
              help="For --features: compare N of the images of RUN by how they are divided among classes, in place of "
                   "all: targeted, uniform, at random; RUN has more of each class.")
@click.option("--seeds", type=click.IntRange(1), show_default=f"{SEEDS}, of --features {DRAWS}",
              help="Trainings, or draws, of each arm.")
@click.option("--steps", default=600, show_default=True, type=click.IntRange(1), help="Steps of each training.")
@click.option("--retrieval-steps", default=600, show_default=True, type=click.IntRange(1), help="Of retrieval.")
@click.option("--batch-size", default=64, show_default=True, type=click.IntRange(2), help="Images a step.")
@click.option("--size", type=click.IntRange(32), help="Side in pixels. Default: that of the run's images.")
@click.option("--subset-seed", type=click.IntRange(0),
              help="The same real subsets for all seeds, of this one. Default: others for each seed.")
@click.option("--generator-saw", default="unknown", show_default=True, metavar="unknown|all|none|FILE",
              help="Which real training images the generator was trained on; FILE holds a name a line.")
@seed_option("Decides the intervals.")
@cache_option
@click.option("--out", required=True, type=PATH, help="Folder; the same command goes on.")
@click.pass_context
def downstream(
    context: click.Context, run_directory: Path, features: tuple[str, ...], data: Path, task: str, fractions: str,
    retrieval_fractions: str, per_class: str | None, targeted: int | None, seeds: int | None, steps: int,
    retrieval_steps: int, batch_size: int, size: int | None, subset_seed: int | None, generator_saw: str, seed: int,
    cache: str | None, out: Path,
) -> None:
    """Does RUN help a model that is trained on it? Real, synthetic and both, with controls, tested on real.

    Every training is kept, so the same command goes on where it ended, and more seeds or shares add to it. With
    --features, a linear probe and k-NN on frozen features are compared instead, which takes a minute or two.
    """
    from terrasynth.eval.models.feature_cache import CachedEncoder, cache_folder
    from terrasynth.eval.models.loaders import load_picture_encoder
    from terrasynth.synthesis.ledger.directory import RunDirectory
    from terrasynth.synthesis.studies.downstream.arms import COUNTS, RETRIEVAL, SCENE, Design
    from terrasynth.synthesis.studies.downstream.cells import RealSplits, measure_downstream
    from terrasynth.synthesis.studies.downstream.exposure import ExposureByShare, GeneratorExposure, write_subsets
    from terrasynth.synthesis.studies.downstream.pools import RunAttempts, real_pool
    from terrasynth.synthesis.studies.downstream.probing import measure_probes
    from terrasynth.synthesis.studies.downstream.report import Report
    from terrasynth.synthesis.studies.downstream.targeted import measure_targeted
    from terrasynth.synthesis.studies.trainings import Budget
    from terrasynth.training.studies.downstream import train_cell

    _check(context, features)
    side = RunDirectory(run_directory).attempt_size()
    percents = {SCENE: parse_percents(fractions, "--fractions"),
                RETRIEVAL: parse_percents(retrieval_fractions, "--retrieval-fractions")}
    shares = {name: found for name, found in percents.items() if task in (name, "both")}
    pairs = {split: real_pairs(data, split) for split in ("train", "val", "test")}
    names, labels = [pair.name for pair in pairs["train"]], [pair.label for pair in pairs["train"]]
    draws = seeds or (DRAWS if features else SEEDS)
    counts = parse_counts(per_class, labels) if features else ()
    design = (Design({SCENE: counts}, draws, subset_seed, COUNTS, whole_val=True) if features
              else Design(shares, draws, subset_seed))
    encoders = {name: CachedEncoder(load_picture_encoder(name), cache_folder(cache)) for name in features}
    saw = GeneratorExposure.parse(generator_saw, names)
    real = RealSplits(**{split: real_pool(own, side, split) for split, own in pairs.items()})
    attempts = RunAttempts.read(run_directory, sorted(set(real.test.labels)))
    pixels = size or side[1]
    budgets = {SCENE: Budget(steps, batch_size, pixels), RETRIEVAL: Budget(retrieval_steps, batch_size, pixels)}
    write_subsets(out, design, names, labels)

    def say(line: str) -> None:
        click.echo(line, err=True)

    found = (measure_targeted(real, attempts, design, encoders, targeted, seed, say) if targeted is not None
             else measure_probes(real, attempts, design, encoders, seed, say) if features
             else measure_downstream(real, attempts, design, budgets, train_cell, out, seed, say))
    about = {
        "run": attempts.recipe, "identity": attempts.identity, "attempts": len(attempts.labels),
        "accepted": int(attempts.accepted.sum()), "real data": data.resolve().stem,
        "train, val, test": ", ".join(str(len(pairs[split])) for split in pairs), "seeds": draws,
        "seed of the intervals": seed, "real subsets": "others for each seed" if subset_seed is None
        else f"of seed {subset_seed} for all seeds", "generator saw": saw.kind,
        **({} if targeted is None else {"images of the run in each arm": targeted}),
    }
    report = Report(about, ExposureByShare.of(saw, design, names, labels), tuple(found))
    page = report.save(out)
    for line in report.lines():
        click.echo(line)
    click.echo(f"table {out / 'downstream.md'}")
    click.echo(f"page  {page}")


def parse_counts(text: str | None, labels: Sequence[str | None]) -> tuple[float, ...]:
    """Numbers of images a class, ascending, each once; "all" is that of the largest class.

    Args:
        text: None for the default numbers that no class is too small for.

    Raises:
        InputError: No whole numbers above 0, or more than any class has.
    """
    from terrasynth.synthesis.core.errors import InputError

    most = max(Counter(labels).values())
    words = [part.strip() for part in (text or DEFAULT_COUNTS).split(",")]
    found = {most if word == ALL else int(word) if word.isdecimal() else 0 for word in words}
    if text is None:
        found = {each for each in found if each <= most}
    if not min(found) or max(found) > most:
        raise InputError(f"--per-class {text!r}: give numbers of images from 1 to {most}, the size of the largest "
                         f"class, or {ALL}, such as {DEFAULT_COUNTS}")
    return tuple(float(each) for each in sorted(found))


def _check(context: click.Context, features: Sequence[str]) -> None:
    """Refuse options that the chosen way does not read.

    Raises:
        InputError: One is given.
    """
    from terrasynth.synthesis.core.errors import InputError

    for name in OF_TRAININGS if features else OF_PROBES:
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            option = f"--{name.replace('_', '-')}"
            raise InputError(f"{option} is of trainings from random weights; leave it out with --features" if features
                             else f"{option} is of probes on frozen features; add --features MODEL, or leave it out")


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
