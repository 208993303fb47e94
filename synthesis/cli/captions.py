"""`eval captions`: what a captioner says of images against what is said of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from terrasynth.synthesis.cli.names import CAPTIONERS, NameType, NamingCommand
from terrasynth.synthesis.cli.options import PATH, device_option, seed_option, split_option
from terrasynth.synthesis.cli.real_data import real_pairs

if TYPE_CHECKING:
    from terrasynth.synthesis.studies.captions import Described


@click.command(cls=NamingCommand)
@click.argument("data", metavar="RUN|DATA", type=PATH)
@click.option("--captioner", default="cap-rs", show_default=True, type=NameType(CAPTIONERS),
              help="Says what images show: embedded name, folder of `train captioner`; or a folder or Hub id of BLIP, "
                   "GIT or an encoder-decoder.")
@click.option("--style", help="Data set whose captions a captioner of ours writes like.  [default: its first]")
@click.option("--beams", type=click.IntRange(1), help="Captions that are followed at once.  [default: the captioner's]")
@split_option("test", "Split of real data.")
@click.option("--limit", type=click.IntRange(2), help="Most images.")
@seed_option("Decides resamples, and with which other text a text is compared.")
@device_option
@click.option("--out", type=PATH, help="File for the figures as JSON.")
@click.option("--captions", "said", type=PATH, help="File for the captions, one a line.")
def captions(data: Path, captioner: str, style: str | None, beams: int | None, split: str, limit: int | None,
             seed: int, device: str, out: Path | None, said: Path | None) -> None:
    """Say how near a captioner comes to the captions of real DATA, or to the prompts of a RUN."""
    from terrasynth.eval.models.captioners import load_captioner
    from terrasynth.synthesis.core.quiet import without_bars
    from terrasynth.synthesis.studies.captions import measure_captions

    with without_bars():
        model = load_captioner(captioner, device)
    found = measure_captions(_described(data, split, limit), model, style, beams, seed)
    for line in found.lines():
        click.echo(line)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(found.record(), indent=1) + "\n", encoding="utf-8")
    if said is not None:
        said.parent.mkdir(parents=True, exist_ok=True)
        said.write_text("".join(f"{text}\n" for text in found.said), encoding="utf-8")


def _described(data: Path, split: str, limit: int | None) -> Described:
    """The accepted images of a run with their prompts, or real ones with their captions."""
    import numpy as np

    from terrasynth.synthesis.core import layout
    from terrasynth.synthesis.core.real_pictures import opened
    from terrasynth.synthesis.ledger.pictures import RunPictures
    from terrasynth.synthesis.studies.captions import Described

    if (data / layout.RECIPE).is_file() and layout.shard_files(data):
        run = RunPictures.read(data, limit)
        return Described(lambda row: run.images[row], [(text,) for text in run.texts], run.labels)
    pairs = real_pairs(data, split)[:limit]
    return Described(lambda row: np.asarray(opened(pairs[row])), [pair.captions for pair in pairs],
                     [pair.label for pair in pairs])
