"""The command `train`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from terrasynth.synthesis.cli.names import GENERATORS, PRESETS, NameType, NamingCommand
from terrasynth.synthesis.cli.options import PATH

if TYPE_CHECKING:
    from terrasynth.training.judges.card import TrainedJudge
    from terrasynth.training.trained import Training


@click.command(cls=NamingCommand, short_help="Train a model, or tune one of yours.")
@click.argument("preset", type=NameType(PRESETS))
@click.option("--data", required=True, multiple=True,
              help="Image-caption data: folder, file, Hub id, or data YAML; may be repeated.")
@click.option("--out", type=PATH, required=True, help="Where models and checkpoints go.")
@click.option("--base", type=NameType(GENERATORS),
              help="What lora, full and control start from: embedded name, folder, or Hub id of a diffusers pipeline.")
@click.option("--masks", metavar="DIR",
              help="What lies where in the images of control: PNG masks with their names, beside a classes.yaml.")
@click.option("--teacher", help="What autoencoder-distil learns from: folder or Hub id of an autoencoder of diffusers.")
@click.option("--encoder", help="What gives judge its features: embedded name, folder, or Hub id.  [default: the best "
                                "of our own]")
@click.option("--recipe", type=PATH, metavar="FILE.yaml",
              help="A recipe of yours that takes what judge or lora makes; its comments stay.")
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True),
              help="Time budget of the steps; reading and encoding images before the first one does not count.")
@click.option("--resume/--restart", default=True, show_default=True, help="Carry on from the last checkpoint.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a setting of the preset.")
def train(preset: str, data: Sequence[str], out: Path, base: str | None, masks: str | None, teacher: str | None,
          encoder: str | None, recipe: Path | None, minutes: float | None, resume: bool,
          overrides: Sequence[str]) -> None:
    """Train a model; PRESET `lora` tunes one of yours, `judge` makes a judge of your classes in minutes."""
    from terrasynth.synthesis.core.overrides import parse_overrides
    from terrasynth.training import run_preset
    from terrasynth.training.running.place import these_processes

    if recipe is not None:
        from terrasynth.training.own_classes.into_recipe import check_recipe
        from terrasynth.training.presets import load_preset

        check_recipe(recipe, preset, load_preset(preset, parse_overrides(overrides)), out, base)
    done = run_preset(preset, data, out, minutes, resume, parse_overrides(overrides), base, teacher, encoder,
                      masks)
    if these_processes().is_main_process:
        for line in done.lines():
            click.echo(line)
        if recipe is not None:
            click.echo(_put(recipe, done))


def _put(recipe: Path, done: Training | TrainedJudge) -> str:
    """Put what was trained into a recipe, unless it is no better than its base; what is said of it, on one line."""
    from terrasynth.training.own_classes.into_recipe import put_judge, put_lora
    from terrasynth.training.trained import Training

    if not isinstance(done, Training):
        return f"written    {put_judge(recipe, done)}"
    model = done.models[0]
    if model.no_better:
        return (f"not put    {recipe} stays as it is, for the LoRA is no better than {model.base}; the line above puts "
                "it in all the same")
    return f"written    {put_lora(recipe, model.base, model.folder)}"
