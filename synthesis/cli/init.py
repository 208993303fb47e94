"""The command `init`: from a folder of images, or from names of classes, to a recipe."""

from __future__ import annotations

from pathlib import Path

import click

from terrasynth.synthesis.cli.options import PATH, seed_option


@click.command()
@click.argument("data", required=False, metavar="[DIR]")
@click.option("--classes", metavar="A,B,...", help="Begin from names of classes, without images.")
@click.option("--out", type=PATH, metavar="FOLDER|RECIPE.yaml", help="Where to write. Default: a folder beside you, "
              "called by the data.")
@click.option("--model", default="ldm-ucm", show_default=True, help="Who draws: embedded name, folder, or Hub id.")
@click.option("--gsd", type=click.FloatRange(0, min_open=True), metavar="METERS",
              help="Meters a pixel of your images, where the data say nothing.")
@click.option("--licence", default="", metavar="ID", help="What your images are under, where their card says nothing.")
@click.option("--per-class", default=20, show_default=True, type=click.IntRange(1, 10**6), metavar="N",
              help="Accepted images of each class that the recipe asks for.")
@seed_option("Of the splits and the recipe.")
@click.option("--overwrite", is_flag=True, help="Replace files that are there and say something else.")
def init(data: str | None, classes: str | None, out: Path | None, model: str, gsd: float | None, licence: str,
         per_class: int, seed: int, overwrite: bool) -> None:
    """Begin with images or classes of your own: write a recipe.

    It looks at every image, makes splits if there are none, and writes what to do next as comments of the recipe.

    DIR holds images as people have them: a folder for each class, an imagefolder, captions in JSON, COCO, Parquet,
    WebDataset; or name a file, a Hub id or a data YAML. No image is copied or changed.
    """
    from terrasynth.synthesis.core.errors import InputError
    from terrasynth.training.own_classes.project import project_of_data, project_of_names
    from terrasynth.training.own_classes.start import Wishes

    if (data is None) == (classes is None):
        raise InputError("name either DIR, the data to begin with, or --classes \"wind turbine,solar farm\"")
    wishes = Wishes(seed, model, gsd, licence, per_class)
    if data is not None:
        click.echo(f"looking at every image of {data}", err=True)
        project = project_of_data(data, out, wishes)
    else:
        if ";" in (classes or "") and "," not in (classes or ""):
            raise InputError(f"--classes {classes!r:.80}: names are separated by commas, as in "
                             f"--classes {', '.join(part.strip() for part in (classes or '').split(';'))!r:.80}")
        names = [name.strip() for name in (classes or "").split(",")]
        project = project_of_names([name for name in names if name], out, wishes)
    for line in (*project.found, *project.write(overwrite), "", *project.next_steps):
        click.echo(line)
