"""The commands that turn published checkpoints of evaluators into model folders: `models convert-...`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from terrasynth.synthesis.cli.options import PATH

if TYPE_CHECKING:
    from terrasynth.eval.models.openclip import Activation


@click.command("convert-openclip")
@click.argument("checkpoint", metavar="FILE", type=PATH)
@click.option("--out", type=PATH, required=True, help="Folder for the model.")
@click.option("--config", type=PATH,
              help="Its open_clip_config.json. Default: the one beside FILE, or else what the shapes tell.")
@click.option("--activation", type=click.Choice(["gelu", "quick_gelu"]),
              help="Without a configuration: quick_gelu where training started from OpenAI's weights with OpenCLIP's "
                   "-quickgelu models, gelu for all others.")
@click.option("--tokenizer", help="Folder or Hub id with CLIP's tokenizer. Default: the folder of FILE.")
def convert_openclip(
    checkpoint: Path, out: Path, config: Path | None, activation: Activation | None, tokenizer: str | None
) -> None:
    """Convert a CLIP vision transformer of OpenCLIP, such as RemoteCLIP or GeoRSCLIP.

    FILE is .safetensors, or .pt with tensors and nothing else. Writes a CLIPModel with tokenizer and preprocessing, for
    --encoder of eval and for filters. A folder or Hub repository that has open_clip_config.json and safetensors needs
    no conversion.
    """
    from terrasynth.eval.models.openclip_files import convert_checkpoint
    from terrasynth.eval.models.references import OPEN_CLIP_CONFIG
    from terrasynth.synthesis.core.quiet import quiet

    beside = checkpoint.parent / OPEN_CLIP_CONFIG
    if config is None and activation is None and beside.is_file():
        config = beside
    with quiet():
        convert_checkpoint(checkpoint, out, tokenizer or str(checkpoint.parent), config, activation)
    click.echo(f"model in {out}")


@click.command("convert-inception")
@click.argument("checkpoint", metavar="FILE", type=PATH)
@click.option("--out", type=PATH, required=True, help="Folder for the model.")
def convert_inception(checkpoint: Path, out: Path) -> None:
    """Convert the Inception-v3 of the Frechet inception distance.

    FILE is pt_inception-2015-12-05-6726825d.pth as pytorch-fid and torch-fidelity publish it, or the same tensors as
    .safetensors.
    """
    from terrasynth.eval.models.inception import convert_inception as convert
    from terrasynth.synthesis.core.quiet import quiet

    with quiet():
        convert(checkpoint, out)
    click.echo(f"model in {out}")
