"""Subcommands of `eval` about filters: `filters`, and what filters are measured against: `features`, `calibrate`."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from pathlib import Path

import click

from terrasynth.synthesis.cli.names import EVALUATORS, NameType
from terrasynth.synthesis.cli.options import PATH, cache_option, judge_options, run_argument, seed_option, split_option
from terrasynth.synthesis.cli.real_data import RealData, real_images, real_pairs


@click.command()
@run_argument
@click.option("--try", "tried", multiple=True, metavar="KIND={...}",
              help="Also judge a filter that is not in the recipe, such as 'scene={top: 1}'; may be repeated.")
@click.option("--real", type=PATH, help="Real image-caption data; adds Frechet distance and coverage.")
@split_option("test", "Split of the real data.")
@judge_options("Judges; should be none that filters.", "Judges; should be none that filters.")
@click.option("--repeats", default=200, show_default=True, type=click.IntRange(1), help="Random keeps a filter.")
@click.option("--limit", default=20000, show_default=True, type=click.IntRange(1), help="Most attempts.")
@seed_option("Decides the random keeps.")
@cache_option
@click.option("--out", type=PATH, help="Folder for a page with images, and the figures as JSON.")
def filters(
    run_directory: Path, tried: Sequence[str], real: Path | None, split: str, encoder: str,
    classifier: str, repeats: int, limit: int, seed: int, cache: str | None, out: Path | None,
) -> None:
    """Show what each filter of RUN removes, and whether it beats a random keep at the same rate."""
    from terrasynth.eval.models.feature_cache import cache_folder
    from terrasynth.synthesis.ledger.directory import RunDirectory
    from terrasynth.synthesis.studies.filters.control import control_filters, parse_tried
    from terrasynth.synthesis.studies.filters.page import write_control

    opened = RunDirectory(run_directory)
    recipe = opened.recipe
    also = parse_tried(recipe, tried)
    pictures = None if real is None else real_images(real, split, limit, opened.attempt_size())
    control = control_filters(
        run_directory, also, encoder=encoder, classifier=classifier, real=pictures,
        real_name="" if real is None else f"{real.resolve().stem}, split {split}", repeats=repeats, seed=seed,
        limit=limit, cache=cache_folder(cache),
    )
    for line in control.lines():
        click.echo(line)
    if out is not None:
        click.echo(f"page {write_control(out, control)}")


@click.command()
@click.argument("data", type=PATH)
@split_option("train", "What the generator was trained on.")
@click.option("--held-out", metavar="SPLIT", help="A split it was not trained on; gives pass_real its scale.")
@click.option("--encoder", default="thumbnail", show_default=True, type=NameType(EVALUATORS),
              help="As in the near_copy filter.")
@click.option("--size", default=128, show_default=True, type=click.IntRange(16), help="Side of the images in pixels.")
@click.option("--turned/--upright", default=True, show_default=True, help="Also all flips and quarter turns.")
@click.option("--out", type=PATH, required=True, help="The file, which ends in .safetensors.")
def features(
    data: Path, split: str, held_out: str | None, encoder: str, size: int, turned: bool, out: Path
) -> None:
    """Embed the training images in DATA, so that the filter near_copy finds copies of them.

    The file is as private as the images: thumbnails can be turned back into small ones.
    """
    from terrasynth.synthesis.core.errors import InputError
    from terrasynth.synthesis.core.quiet import quiet
    from terrasynth.synthesis.filters.base import Source
    from terrasynth.synthesis.filters.measurers import load_measurer
    from terrasynth.synthesis.filters.training_features import TrainingFeatures

    if out.suffix != ".safetensors":
        raise InputError(f"--out {str(out)!r} has to end in .safetensors, which is what it will be")
    with quiet():
        model = load_measurer(Source("embeddings", encoder), "cpu").model
    real = RealData(data)
    pictures = real.images(split, None, (size, size)).images
    others = None if held_out is None else real.images(held_out, None, (size, size)).images
    about = {"data": data.resolve().stem, "split": split, "size": size}
    found = TrainingFeatures.of(model, pictures, turned, about, others, held_out or "")
    found.save(out)
    click.echo(f"{out}   {len(found.pictures):,} features of {len(pictures):,} images")
    if others is not None:
        for share in (0.5, 0.95, 0.99, 1.0):
            click.echo(f"{share:.0%} of {len(others)} held-out images have a similarity of "
                       f"{found.threshold(share):.3f} or less to the nearest training image")


def most_of_real(images: int) -> str:
    """Up to which `pass_real` a number of images reaches, in words: at the next step not one of them is left out."""
    most = math.floor(100 * (1 - 1 / images)) / 100
    return f"up to {most:g}, which {images} images can tell" if most > 0 else f"{images} image tells none"


def _goes_to(file: Path, model: str) -> str:
    """What to do with a calibration, so that filters find it beside the weights."""
    from terrasynth.eval.models.references import EMBEDDED_ROOT, resolve

    found = resolve(model, [EMBEDDED_ROOT])
    if not found.local:
        return (f"{model} is named by its Hub id, and filters take a calibration from a model's folder alone: "
                f"hf download {shlex.quote(model.partition('@')[0])} --local-dir FOLDER, run this again with FOLDER in "
                "its place and as --out, and name FOLDER in the recipe")
    if found.embedded:
        return f"{model} is embedded and has a calibration of its own; this one belongs into a copy of its folder"
    if file.parent.resolve() == found.folder.resolve():
        return f"a filter with {model} takes pass_real now"
    return f"cp {shlex.quote(str(file))} {shlex.quote(str(found.folder))}/   # beside the weights, where filters look"


@click.command()
@click.argument("data", type=PATH)
@split_option("val", "Images that no model was trained on.")
@click.option("--size", "sizes", multiple=True, type=click.IntRange(32), default=(128, 256), show_default=True,
              help="Side in pixels; may be repeated.")
@click.option("--classifier", metavar="MODEL", type=NameType(EVALUATORS),
              help="Also calibrate this scene classifier, at the first size.")
@click.option("--encoder", metavar="MODEL", type=NameType(EVALUATORS),
              help="Or this dual encoder, with all captions of each image.")
@click.option("--out", type=PATH, required=True, help="Folder for quality.json, and calibration.json of a model.")
def calibrate(
    data: Path, split: str, sizes: Sequence[int], classifier: str | None, encoder: str | None,
    out: Path,
) -> None:
    """Measure real images, so that filters can say `pass_real`.

    The filter quality takes quality.json as its `calibration`; calibration.json belongs into the model's folder.
    """
    if classifier is not None and encoder is not None:
        raise click.UsageError("--classifier and --encoder both write calibration.json; give one at a time")
    from terrasynth.eval import calibrate as calibrate_encoder
    from terrasynth.eval import load_encoder
    from terrasynth.eval.metrics.quality_calibration import QualityCalibration
    from terrasynth.eval.models.loaders import judge_folder
    from terrasynth.eval.models.references import SCENE_CALIBRATION_FILE
    from terrasynth.synthesis.core.quiet import quiet
    from terrasynth.synthesis.core.real_pictures import real_pictures
    from terrasynth.synthesis.studies.calibration import calibrate_scene

    pairs = real_pairs(data, split)
    pictures = {size: real_pictures(pairs, (size, size)) for size in sizes}
    out.mkdir(parents=True, exist_ok=True)
    measured = QualityCalibration.of({size: each.images for size, each in pictures.items()}, data.resolve().stem, split)
    measured.save(out / "quality.json")
    click.echo(f"{out / 'quality.json'}   {len(pairs)} images at {', '.join(map(str, measured.sizes))} px")
    if classifier is not None:
        found = calibrate_scene(classifier, pictures[sizes[0]], split)
    elif encoder is not None:
        with quiet():
            model = load_encoder(encoder)
        captions, labels = [pair.captions for pair in pairs], [pair.label for pair in pairs]
        found = calibrate_encoder(model, pictures[sizes[0]].images, captions, labels, split)
    else:
        return
    # A judge is both, and has a file for each.
    name = SCENE_CALIBRATION_FILE if classifier is not None and judge_folder(classifier) else "calibration.json"
    found.save(out / name)
    click.echo(f"{out / name}   {found.overall.n} pairs of {found.pictures} images at {sizes[0]} px")
    click.echo(f"pass_real  {most_of_real(found.pictures)}")
    click.echo(f"next       {_goes_to(out / name, classifier or encoder or '')}")
    bare = [pair for pair in pairs if not pair.described]
    if bare and encoder is not None:
        click.echo(f"note       {len(bare)} of {len(pairs)} images have no caption of their own, so the scores are "
                   f"those of texts like {bare[0].captions[0]!r}; prompts that say more may score otherwise")


COMMANDS: tuple[click.Command, ...] = (filters, features, calibrate)
