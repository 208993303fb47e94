"""The commands `eval protocol mhn` and `eval protocol strict`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from terrasynth.synthesis.cli.cache_option import cache_option
from terrasynth.synthesis.cli.evaluate import Readers
from terrasynth.synthesis.core import layout

if TYPE_CHECKING:
    from terrasynth.synthesis.recipe import GeneratorSettings
    from terrasynth.synthesis.studies.protocols.base import ProtocolResult, TrainAndTest

_OPTIONS = (
    click.option("--data", required=True, type=click.Path(path_type=Path), help="Real image-caption data."),
    click.option("--encoder", default="clip-ucm-b", show_default=True, help="Scores pictures against texts."),
    click.option("--classifier", default="scene-ucm", show_default=True, help="Names scenes; gives the features."),
    click.option("--steps", default=600, show_default=True, type=click.IntRange(0),
                 help="Training steps of the classifier that learns from the pictures; 0 to leave it out."),
    click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE",
                 help="Setting of the generator, such as guidance=2."),
    click.option("--device", default="auto", show_default=True, help="Where to draw."),
    click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Decides pictures, intervals."),
    cache_option,
    click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder; the same command goes on."),
)


def protocol_command(train_and_test: TrainAndTest) -> click.Group:
    """The group `protocol`.

    Args:
        train_and_test: Trains a classifier on pictures and tests it on real ones.
    """

    @click.group()
    def protocol() -> None:
        """Draw and judge as a protocol says, so that figures compare."""

    @protocol.command()
    @click.argument("generator")
    @click.option("--split", default="test", show_default=True, help="Split whose texts are drawn.")
    @click.option("--per-text", default=10, show_default=True, type=click.IntRange(1), help="Pictures of each text.")
    @click.option("--limit", type=click.IntRange(2), help="Most texts. Default: all of the split.")
    @_shared
    @click.pass_obj
    def mhn(
        readers: Readers, generator: str, split: str, per_text: int, limit: int | None, data: Path, encoder: str,
        classifier: str, steps: int, overrides: Sequence[str], device: str, seed: int, cache: str | None, out: Path,
    ) -> None:
        """Judge GENERATOR as Txt2Img-MHN was: pictures of the test texts; IS, FID, CLIP score, zero-shot accuracy."""
        from terrasynth.eval.models.feature_cache import cache_folder
        from terrasynth.synthesis.core.progress import Progress
        from terrasynth.synthesis.studies.protocols.mhn import mhn_protocol

        _show(mhn_protocol(
            _settings(generator, overrides), readers.pairs(data, split), out, encoder=encoder, classifier=classifier,
            split=split, per_text=per_text, limit=limit, seed=seed, device=device,
            train_and_test=train_and_test if steps else None, steps=steps, cache=cache_folder(cache),
            on_event=Progress(),
        ), out)

    @protocol.command()
    @click.argument("source", metavar="GENERATOR|RUN")
    @click.option("--prompts", default="train", show_default=True,
                  help="Of a generator: train (captions of the train split), or an expander.")
    @click.option("--limit", type=click.IntRange(4), help="Most pictures. Default: as many as the test split has.")
    @_shared
    @click.pass_obj
    def strict(
        readers: Readers, source: str, prompts: str, limit: int | None, data: Path, encoder: str, classifier: str,
        steps: int, overrides: Sequence[str], device: str, seed: int, cache: str | None, out: Path,
    ) -> None:
        """Judge a generator or a finished run without a word or picture of the test split before the judging."""
        from terrasynth.eval.models.feature_cache import cache_folder
        from terrasynth.synthesis.core.progress import Progress
        from terrasynth.synthesis.studies.protocols.strict import RealSplits, strict_protocol

        is_run = layout.data_folder(Path(source)).is_dir()
        if is_run and overrides:
            raise click.UsageError("--set changes a generator, and a run is finished; leave it out")
        real = RealSplits(*(readers.pairs(data, split) for split in ("train", "val", "test")))
        _show(strict_protocol(
            Path(source) if is_run else _settings(source, overrides), real, out, prompts=prompts, encoder=encoder,
            classifier=classifier, limit=limit, seed=seed, device=device,
            train_and_test=train_and_test if steps else None, steps=steps, cache=cache_folder(cache),
            on_event=Progress(),
        ), out)

    return protocol


def _shared(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of every protocol."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def _settings(generator: str, overrides: Sequence[str]) -> GeneratorSettings:
    from terrasynth.synthesis.core.overrides import parse_overrides
    from terrasynth.synthesis.recipe import Recipe

    return Recipe.parse({"generator": {"model": generator, **parse_overrides(overrides)}}).generator


def _show(result: ProtocolResult, out: Path) -> None:
    for line in result.lines():
        click.echo(line)
    click.echo(f"table and settings: {out / f'{result.protocol}.md'}")
