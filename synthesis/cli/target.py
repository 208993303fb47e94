"""The command `target`: more images for the classes that a model misses."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from terrasynth.synthesis.cli.names import EVALUATORS, RECIPES, NameType, NamingCommand
from terrasynth.synthesis.cli.options import PATH, cache_option, split_option
from terrasynth.synthesis.cli.real_data import real_pairs

if TYPE_CHECKING:
    from terrasynth.synthesis.targeting.confusions import Confusions


@click.command(cls=NamingCommand, short_help="Write a recipe with more images for the classes that a model misses.")
@click.option("--predictions", type=PATH, metavar="FILE",
              help="What a model took images for: CSV or JSON Lines with a true and a predicted class in each row, or "
                   "a confusion matrix.")
@click.option("--model", type=NameType(EVALUATORS), metavar="MODEL",
              help="Run this image classifier over --data: embedded name, folder (also of `train judge`), or Hub id.")
@click.option("--features", metavar="MODEL",
              help="Learn a linear probe on the frozen features of this encoder from split train of --data (and from "
                   "the images of --grow), and run that.")
@click.option("--data", type=PATH, help="Labeled real images, for --model and --features.")
@split_option("val", "Split that chooses; test is refused.")
@click.option("--labels", metavar="A,B,...|FILE",
              help="Names of the classes in the order of their numbers, where predictions are numbers; FILE has a name "
                   "a line.")
@click.option("--recipe", default="demo", show_default=True, type=NameType(RECIPES), help="The base.")
@click.option("--grow", type=PATH, metavar="RUN", help="In its place: go on with this run, whose images stay.")
@click.option("--images", type=click.IntRange(1),
              help="Images to allot; with --grow, on top of what the run has.  [default: as many as the base asks for]")
@click.option("--floor", default=0.25, show_default=True, type=click.FloatRange(0, 1),
              help="Of an equal share, what each class gets in any case.")
@click.option("--pairs", type=click.IntRange(0),
              help="Most pairs of confused classes that prompts set apart.  [default: 3; with --grow 0]")
@cache_option
@click.option("--out", required=True, type=PATH, metavar="RECIPE", help="The recipe that is written.")
@click.option("--overwrite", is_flag=True, help="Replace a file that is there and says something else.")
def target(
    predictions: Path | None, model: str | None, features: str | None, data: Path | None, split: str,
    labels: str | None, recipe: str, grow: Path | None, images: int | None, floor: float, pairs: int | None,
    cache: str | None, out: Path, overwrite: bool,
) -> None:
    """Write a recipe with more images for the classes that a model misses.

    The model is yours: name its --predictions, or let it be run (--model, or a probe by --features) over --data. Each
    class gets --floor of an equal share, and the rest goes in proportion to what is missed. Prompts of confused classes
    say what sets them apart. The same command writes the same recipe.
    """
    from terrasynth.synthesis.core.errors import InputError
    from terrasynth.synthesis.targeting.measuring import refuse_test
    from terrasynth.synthesis.targeting.prediction_files import read_labels
    from terrasynth.synthesis.targeting.targeting import target as choose

    refuse_test(split)
    given = [name for name, value in (("--predictions", predictions), ("--model", model), ("--features", features))
             if value is not None]
    if len(given) != 1:
        raise InputError(f"give one of --predictions, --model and --features; {' and '.join(given) or 'none'} is given")
    if (predictions is None) is not (data is not None):
        raise InputError("--data goes with --model or --features, which are run over its images; "
                         + ("add it" if data is None else "leave it out"))
    if labels is not None and predictions is None:
        raise InputError("--labels names the numbers of --predictions; leave it out")
    found: Path | Confusions
    if predictions is not None:
        found, measured = predictions, f"{predictions.name}, split {split}"
    else:
        assert data is not None
        found, measured = _measured(model, features, data, split, grow, cache)
    made = choose(found, recipe, images=images, floor=floor, pairs=pairs, grow=grow, split=split,
                  labels=None if labels is None else read_labels(labels), measured=measured)
    written = made.write(out, overwrite)
    for line in made.lines():
        click.echo(line)
    click.echo(f"recipe     {out}{'' if written else ' (as it was)'}")
    run = f" --out {shlex.quote(str(grow))}" if grow is not None else " --out RUN"
    click.echo(f"next       terrasynth run {shlex.quote(str(out))}{run}")


def _measured(model: str | None, features: str | None, data: Path, split: str, grow: Path | None,
              cache: str | None) -> tuple[Confusions, str]:
    """What a model takes the images of a split for, and how that was measured, in words."""
    from terrasynth.eval.models.feature_cache import CachedEncoder, cache_folder
    from terrasynth.eval.models.loaders import load_classifier, load_picture_encoder
    from terrasynth.synthesis.core.quiet import without_bars
    from terrasynth.synthesis.ledger.pictures import RunPictures
    from terrasynth.synthesis.targeting.measuring import Synthetic, classified, probed

    asked = real_pairs(data, split, captionless=True)
    where = f"split {split} of {data.resolve().name}"
    if model is not None:
        with without_bars():
            classifier = load_classifier(model)
        click.echo(f"running {model} over {len(asked):,} images of {where}", err=True)
        return classified(asked, classifier), f"{model} on {where}"
    assert features is not None
    with without_bars():
        encoder = CachedEncoder(load_picture_encoder(features), cache_folder(cache))
    synthetic = None
    if grow is not None:
        run = RunPictures.read(grow)
        synthetic = Synthetic(run.images, run.labels)
    found = probed(real_pairs(data, "train", captionless=True), asked, encoder, synthetic,
                   lambda line: click.echo(f"{features}: {line}", err=True))
    beside = f" and {found.n_synthetic:,} of the run at weight {found.weight:g}" if found.n_synthetic else ""
    return found.confusions, (f"a linear probe on frozen features of {features} (penalty {found.penalty:g}), learned "
                              f"from {found.n_train:,} real images{beside}, on {where}")
