"""The commands `eval protocol mhn` and `eval protocol strict`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from terrasynth.synthesis.cli.names import GENERATORS, NameType
from terrasynth.synthesis.cli.options import PATH, cache_option, judge_options, seed_option, split_option
from terrasynth.synthesis.cli.real_data import real_pairs
from terrasynth.synthesis.core import layout

if TYPE_CHECKING:
    from terrasynth.synthesis.recipe import GeneratorSettings
    from terrasynth.synthesis.studies.protocols.base import ProtocolResult

_OPTIONS = (
    click.option("--data", required=True, type=PATH, help="Real image-caption data."),
    judge_options("Scores images against texts.", "Names scenes; gives the features."),
    click.option("--steps", default=600, show_default=True, type=click.IntRange(0),
                 help="Training steps of the classifier that learns from the images; 0 to leave it out."),
    click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE",
                 help="Setting of the generator, such as guidance=2."),
    click.option("--device", default="auto", show_default=True, help="Where to draw."),
    seed_option("Decides images, intervals."),
    cache_option,
    click.option("--out", required=True, type=PATH, help="Folder; the same command goes on."),
)


def _shared(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of every protocol."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@click.group()
def protocol() -> None:
    """Draw and judge as a protocol says, so that figures compare."""


@protocol.command()
@click.argument("generator", type=NameType(GENERATORS))
@split_option("test", "Split whose texts are drawn.")
@click.option("--per-text", default=10, show_default=True, type=click.IntRange(1), help="Images of each text.")
@click.option("--limit", type=click.IntRange(2), help="Most texts. Default: all of the split.")
@_shared
def mhn(
    generator: str, split: str, per_text: int, limit: int | None, data: Path, encoder: str,
    classifier: str, steps: int, overrides: Sequence[str], device: str, seed: int, cache: str | None, out: Path,
) -> None:
    """Judge GENERATOR as Txt2Img-MHN was: images of the test texts; IS, FID, CLIP score, zero-shot accuracy."""
    from terrasynth.eval.models.feature_cache import cache_folder
    from terrasynth.synthesis.core.progress import Progress
    from terrasynth.synthesis.studies.protocols.mhn import mhn_protocol
    from terrasynth.training.studies.zero_shot import train_and_test

    _show(mhn_protocol(
        _settings(generator, overrides), real_pairs(data, split), out, encoder=encoder, classifier=classifier,
        split=split, per_text=per_text, limit=limit, seed=seed, device=device,
        train_and_test=train_and_test if steps else None, steps=steps, cache=cache_folder(cache),
        on_event=Progress(),
    ), out)


@protocol.command()
@click.argument("source", metavar="GENERATOR|RUN")
@click.option("--prompts", default="train", show_default=True,
              help="Of a generator: train (captions of the train split), or an expander.")
@click.option("--limit", type=click.IntRange(4), help="Most images. Default: as many as the test split has.")
@_shared
def strict(
    source: str, prompts: str, limit: int | None, data: Path, encoder: str, classifier: str, steps: int,
    overrides: Sequence[str], device: str, seed: int, cache: str | None, out: Path,
) -> None:
    """Judge a generator or a finished run without a word or image of the test split before the judging."""
    from terrasynth.eval.models.feature_cache import cache_folder
    from terrasynth.synthesis.core.progress import Progress
    from terrasynth.synthesis.studies.protocols.strict import RealSplits, strict_protocol
    from terrasynth.training.studies.zero_shot import train_and_test

    is_run = layout.data_folder(Path(source)).is_dir()
    if is_run and overrides:
        raise click.UsageError("--set changes a generator, and a run is finished; leave it out")
    real = RealSplits(*(real_pairs(data, split) for split in ("train", "val", "test")))
    _show(strict_protocol(
        Path(source) if is_run else _settings(source, overrides), real, out, prompts=prompts, encoder=encoder,
        classifier=classifier, limit=limit, seed=seed, device=device,
        train_and_test=train_and_test if steps else None, steps=steps, cache=cache_folder(cache),
        on_event=Progress(),
    ), out)


def _settings(generator: str, overrides: Sequence[str]) -> GeneratorSettings:
    from terrasynth.synthesis.core.overrides import parse_overrides
    from terrasynth.synthesis.recipe import Recipe

    return Recipe.parse({"generator": {"model": generator, **parse_overrides(overrides)}}).generator


def _show(result: ProtocolResult, out: Path) -> None:
    for line in result.lines():
        click.echo(line)
    click.echo(f"table and settings: {out / f'{result.protocol}.md'}")
