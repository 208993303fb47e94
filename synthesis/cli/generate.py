"""The command `generate`: images of given prompts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import click

from terrasynth.synthesis.cli.names import GENERATORS, NameType, NamingCommand
from terrasynth.synthesis.cli.options import PATH, device_option, guidance_option, seed_option
from terrasynth.words import counted


@click.command(cls=NamingCommand, short_help="Draw images of prompts, without judging them.")
@click.argument("prompts", nargs=-1, required=True)
@click.option("--out", type=PATH, required=True, help="Folder for the images.")
@click.option("--model", default="ldm-ucm", show_default=True, type=NameType(GENERATORS),
              help="Embedded name, folder, or Hub id.")
@click.option("--lora", help="Folder, or Hub id, of a LoRA for the model.")
@click.option("--lora-scale", default=1.0, show_default=True, help="Factor of what the LoRA adds.")
@click.option("--vae", help="Folder, or Hub id, of an autoencoder that decodes instead of the model's own.")
@click.option("--control", help="Folder, or Hub id, of a ControlNet or T2I-Adapter that shows the model a layout.")
@click.option("--layout", type=PATH, help="JSON file of a layout (docs/layouts.md), for a model that is shown one.")
@click.option("--palette", help="In which colors the model is shown it: ade20k, six.")
@click.option("--class", "label", default="", metavar="LABEL", help="Scene class, for a model tuned with classes.")
@click.option("--gsd", type=click.FloatRange(0, min_open=True), help="Meters a pixel, for a model tuned with them.")
@click.option("--count", default=1, show_default=True, type=click.IntRange(1), help="Images per prompt.")
@seed_option("Seed of the first image.")
@click.option("--steps", type=click.IntRange(1), help="Denoising steps; without it the model's own number.")
@guidance_option
@click.option("--option", "options", multiple=True, metavar="KEY=VALUE", help="An option of the model, as top_k=100.")
@device_option
def generate(
    prompts: Sequence[str], out: Path, model: str, lora: str | None, lora_scale: float, vae: str | None,
    control: str | None, layout: Path | None, palette: str | None, label: str, gsd: float | None, count: int, seed: int,
    steps: int | None, guidance: float | None, options: Sequence[str], device: str,
) -> None:
    """Draw images of PROMPTS: one PNG each, and a metadata.jsonl that `load_dataset("imagefolder")` reads."""
    from terrasynth.synthesis import load_generator
    from terrasynth.synthesis.core.errors import InputError, RunError
    from terrasynth.synthesis.core.files import write_file
    from terrasynth.synthesis.core.images import encode
    from terrasynth.synthesis.core.overrides import parse_overrides
    from terrasynth.synthesis.execution.unread import Unread, generator_reader
    from terrasynth.synthesis.generators.base import LayoutGenerator
    from terrasynth.synthesis.generators.token_limits import too_long
    from terrasynth.synthesis.generators.tuned_for import tuned_otherwise

    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{str(out)!r} exists and is no empty folder; choose another --out, nothing is overwritten")
    generator = load_generator(
        model, steps=steps, guidance=guidance, device=device, options=parse_overrides(options), lora=lora,
        lora_scale=lora_scale, gsd=gsd, vae=vae, control=control, layout=palette,
    )
    conditioning = generator.source.conditioning
    texts = [prompt for prompt in prompts for _ in range(count)]
    read = {text: conditioning.render(text, label) for text in texts}
    for text in read.values():
        tokens, limit = generator.count_tokens(text), generator.token_limit
        if limit is not None and tokens > limit:
            raise InputError(too_long("the prompt", tokens, generator.source, limit, text, name=model))
    said = Unread(generator_reader(model, generator.source))
    said.look(prompts)
    for line in (*tuned_otherwise(generator.source), *said.lines()):
        click.echo(f"note: {line}", err=True)
    seeds = list(range(seed, seed + len(texts)))
    rows = []
    if layout is None:
        drawn = generator.draw([read[text] for text in texts], seeds)
    else:
        shown = _layout(layout)
        drawn = cast(LayoutGenerator, generator).draw([read[text] for text in texts], seeds, [shown] * len(texts))
    for number, (text, its_seed, picture) in enumerate(zip(texts, seeds, drawn.pictures, strict=True)):
        if number in drawn.withheld:
            continue
        name = f"{number:05d}.png"
        write_file(out / name, encode(picture, "png"))
        rows.append(
            {
                "file_name": name,
                "text": text,
                "seed": its_seed,
                "generator": generator.source.name,
                **generator.identity(),
            }
        )
    if rows:
        write_file(out / "metadata.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    click.echo(f"{counted(len(rows), 'image')} in {out}")
    if drawn.withheld:
        raise RunError(f"the safety checker of {generator.source.name} withheld {len(drawn.withheld)} of {len(texts)} "
                       f"images, as that of {texts[drawn.withheld[0]][:60]!r}; give other prompts or another --seed")


def _layout(path: Path) -> str:
    """The layout of a file, as JSON.

    Raises:
        InputError: It cannot be read, or holds none.
    """
    from terrasynth.prompts.layouts.layout import Layout
    from terrasynth.synthesis.core.errors import InputError, one_line

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise InputError(f"--layout {str(path)!r} cannot be read: {one_line(error, 120)}") from error
    return Layout.from_json(text).to_json()
