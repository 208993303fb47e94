"""Subcommands of `eval` about copies and references: `memorisation`, `duplicates`, `reference`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from terrasynth.synthesis.cli.options import PATH, cache_option, run_argument, seed_option, split_option
from terrasynth.synthesis.cli.real_data import real_images, real_pairs

_SEED = seed_option("Decides intervals.")
_MEASURES = click.option(
    "--by", "measures", multiple=True, default=("hash", "thumbnail", "detail", "clip-ucm-b"), show_default=True,
    help="How to compare: hash, thumbnail (the layout), detail, registered (laid over each other), or an encoder of "
         "images; repeat it for several.",
)


@click.command()
@run_argument
@click.option("--train", "train", required=True, type=PATH, help="Data that the generator was trained on.")
@click.option("--held-out", required=True, type=PATH, help="Real data that it was not trained on.")
@split_option("train", "Split of the training data.", "--split-train")
@split_option("test", "Split of the other.", "--split-held-out")
@_MEASURES
@click.option("--limit", type=click.IntRange(1), help="Most images of the run. Default: all.")
@_SEED
@cache_option
@click.option("--out", required=True, type=PATH, help="Folder for the figures and the nearest pairs side by side.")
def memorisation(
    run_directory: Path, train: Path, held_out: Path, split_train: str, split_held_out: str,
    measures: Sequence[str], limit: int | None, seed: int, cache: str | None, out: Path,
) -> None:
    """Say how near the images of RUN are to training images, beside real images that were held out."""
    from terrasynth.eval.models.feature_cache import cache_folder
    from terrasynth.synthesis.ledger.pictures import RunPictures
    from terrasynth.synthesis.studies.copies import judge_memorisation, load_measures

    made = RunPictures.read(run_directory, limit)
    known, others = (
        real_images(source, split, None, made.size)
        for source, split in ((train, split_train), (held_out, split_held_out))
    )
    about = {"train_split": split_train, "held_out_split": split_held_out, "size": list(made.size)}
    found = judge_memorisation(made, known, others, load_measures(measures, cache_folder(cache)), seed, out, about)
    for line in found.lines():
        click.echo(line)
    click.echo(f"nearest pairs      {out / 'nearest_train.png'}")


@click.command()
@run_argument
@click.option("--real", type=PATH, help="Real data to compare with.")
@split_option("test", "Split of the real data.")
@_MEASURES
@click.option("--limit", type=click.IntRange(2), help="Most images of the run. Default: all.")
@_SEED
@cache_option
@click.option("--out", type=PATH, help="Also write the figures and the nearest pairs into this folder.")
def duplicates(
    run_directory: Path, real: Path | None, split: str, measures: Sequence[str], limit: int | None,
    seed: int, cache: str | None, out: Path | None,
) -> None:
    """Say how often the images of RUN repeat one another, beside as many real ones."""
    from terrasynth.eval.models.feature_cache import cache_folder
    from terrasynth.synthesis.ledger.pictures import RunPictures
    from terrasynth.synthesis.studies.copies import judge_repetition, load_measures

    made = RunPictures.read(run_directory, limit)
    others = None if real is None else real_images(real, split, None, made.size)
    about = {"split": None if real is None else split, "size": list(made.size)}
    found = judge_repetition(made, others, load_measures(measures, cache_folder(cache)), seed, out, about)
    for line in found.lines():
        click.echo(line)
    if out is not None:
        click.echo(f"nearest pairs      {out / 'nearest_twins.png'}")


@click.command()
@click.argument("data", type=PATH)
@split_option("test", "Split of the data.")
@click.option("--size", required=True, type=click.IntRange(1), help="Side in pixels that the images are brought to.")
@click.option(
    "--encoder", "encoders", multiple=True, default=("scene-ucm", "clip-ucm-b"), show_default=True,
    help="Network of the features; repeat it for several.",
)
@click.option("--name", help="What to call the data. Default: the name of its folder.")
@_SEED
@click.option("--out", required=True, type=PATH, help="Folder of the reference.")
def reference(
    data: Path, split: str, size: int, encoders: Sequence[str], name: str | None, seed: int,
    out: Path,
) -> None:
    """Write the statistics of real images, so that others can compare with them without having them."""
    import numpy as np

    from terrasynth.eval.copies.measures import pixel_hash
    from terrasynth.eval.evaluation.reference import make_reference
    from terrasynth.eval.models.loaders import load_picture_encoder
    from terrasynth.synthesis.core.quiet import quiet
    from terrasynth.synthesis.core.real_pictures import opened, real_pictures

    pairs = real_pairs(data, split)
    with quiet():
        loaded = [load_picture_encoder(one) for one in dict.fromkeys(encoders)]
    hashes = [pixel_hash(np.asarray(opened(pair))) for pair in pairs]
    made = make_reference(
        out.resolve().name, real_pictures(pairs, (size, size)).images,
        [(pair.name, own) for pair, own in zip(pairs, hashes, strict=True)], loaded,
        data=name or data.resolve().stem, split=split, resampling="bicubic", seed=seed,
    )
    for path in made.save(out):
        click.echo(f"{path}   ({path.stat().st_size / 1024:.0f} KiB)")
    for one in made.networks:
        click.echo(
            f"real against real {one.floor.mean:.4f} [{one.floor.low:.4f}, {one.floor.high:.4f}] (n = {one.floor.n} "
            f"against {one.floor.n}, seed {one.floor.seed}); {len(one.statistics.mean)} features of "
            f"{one.network.get('model', one.network['kind'])}"
        )


COMMANDS: tuple[click.Command, ...] = (memorisation, duplicates, reference)
