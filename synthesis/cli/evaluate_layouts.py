"""`eval layouts`: do the images of a run show what their layouts say?"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from terrasynth.synthesis.cli.options import PATH, run_argument, seed_option, split_option
from terrasynth.synthesis.cli.real_data import real_pairs

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@click.command()
@run_argument
@click.option("--segmenter", required=True, help="Reads the images: a folder of `train segmenter`, or a Hub id.")
@click.option("--real", type=PATH, help="Real images with masks: what the segmenter can see at all.")
@click.option("--masks", type=PATH, help="Their masks, as in `train segmenter`.")
@split_option("test", "Split of the real data.")
@click.option("--limit", type=click.IntRange(2), help="Most images of the run.")
@seed_option("Decides resamples, and with which other layout an image is compared.")
@click.option("--out", type=PATH, help="File for the figures as JSON.")
def layouts(run_directory: Path, segmenter: str, real: Path | None, masks: Path | None, split: str, limit: int | None,
            seed: int, out: Path | None) -> None:
    """Say how far the images of RUN show their layouts: intersection over union, with its null and its ceiling."""
    from terrasynth.eval.models.segmenters import load_segmenter
    from terrasynth.synthesis.core.errors import InputError
    from terrasynth.synthesis.studies.layouts import measure_layouts

    if (real is None) != (masks is None):
        raise InputError("--real and --masks belong together: images, and what lies where in them")
    network = load_segmenter(segmenter)
    truth = None if real is None or masks is None else partial(_real, real, masks, split)
    found = measure_layouts(run_directory, network, truth, limit, seed)
    for line in found.lines():
        click.echo(line)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(found.record(), indent=1) + "\n", encoding="utf-8")


def _real(data: Path, masks: Path, split: str, side: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Real images (N, side, side, 3) and the six classes of their masks (N, side, side)."""
    import numpy as np

    from terrasynth.prompts.layouts.catalog import six_values
    from terrasynth.synthesis.core.real_pictures import opened
    from terrasynth.training.data.maps import masks_of
    from terrasynth.training.data.views import View

    pairs = real_pairs(data, split, captionless=True)
    found, six = masks_of(pairs, masks), six_values()
    return (np.stack([View().of(opened(pair), side) for pair in pairs]),
            np.stack([six[found.values(row, View(), side)] for row in range(len(pairs))]))
