"""The command `recaption`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from terrasynth.synthesis.cli.names import CAPTIONERS, NameType, NamingCommand
from terrasynth.synthesis.cli.options import PATH, device_option
from terrasynth.synthesis.cli.real_data import ALL, real_pairs

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from terrasynth.synthesis.ledger.pictures import RunPictures
    from terrasynth.synthesis.studies.recaption import Uncaptioned
    from terrasynth.training.data import Pair


@click.command(cls=NamingCommand, short_help="Caption images, so that they are data to train on.")
@click.argument("data", metavar="RUN|DIR", type=PATH)
@click.option("--captioner", default="cap-rs", show_default=True, type=NameType(CAPTIONERS),
              help="Says what images show: embedded name, folder of `train captioner`; or a folder or Hub id of BLIP, "
                   "GIT or an encoder-decoder.")
@click.option("--style", help="Data set whose captions a captioner of ours writes like.  [default: its first]")
@click.option("--beams", type=click.IntRange(1), help="Captions that are followed at once.  [default: the captioner's]")
@click.option("--keep", is_flag=True, help="Keep the texts that images have, before the new one.")
@click.option("--limit", type=click.IntRange(1), help="Most images.")
@device_option
@click.option("--out", type=PATH, required=True, metavar="FOLDER", help="Where images and captions go.")
def recaption(data: Path, captioner: str, style: str | None, beams: int | None, keep: bool, limit: int | None,
              device: str, out: Path) -> None:
    """Caption the images of a RUN, or of real data in DIR, and write both as data to train on.

    DIR may be a folder of images without any text. The same command goes on where it was cut off.
    """
    from terrasynth.eval.models.captioners import load_captioner
    from terrasynth.synthesis.core.quiet import without_bars
    from terrasynth.synthesis.studies.recaption import recaption as write

    with without_bars():
        model = load_captioner(captioner, device)
    images = _images(data, limit)
    done = write(images, model, out, data.resolve().name, style, beams, keep, _told)
    for line in done.lines():
        click.echo(line)


def _told(done: int, of: int) -> None:
    click.echo(f"captioned {done} of {of}", err=True)


def _images(data: Path, limit: int | None) -> Sequence[Uncaptioned]:
    from terrasynth.synthesis.core import layout
    from terrasynth.synthesis.ledger.pictures import RunPictures
    from terrasynth.synthesis.studies.recaption import Uncaptioned

    if (data / layout.RECIPE).is_file() and layout.shard_files(data):
        run = RunPictures.read(data, limit)
        return [Uncaptioned(name, label, "train", (text,), _of_run(run, row))
                for row, (name, label, text) in enumerate(zip(run.ids, run.labels, run.texts, strict=True))]
    pairs = real_pairs(data, ALL, captionless=True)[:limit]
    return [Uncaptioned(pair.name, pair.label, pair.split, pair.captions, _of_pair(pair)) for pair in pairs]


def _of_run(run: RunPictures, row: int) -> Callable[[], NDArray[np.uint8]]:
    return lambda: run.images[row]


def _of_pair(pair: Pair) -> Callable[[], NDArray[np.uint8]]:
    def pixels() -> NDArray[np.uint8]:
        import numpy as np

        from terrasynth.synthesis.core.real_pictures import opened

        return np.asarray(opened(pair))
    return pixels
