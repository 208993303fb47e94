"""The commands about models: `models` lists them, `models inspect` shows what the prototypes of one stand for.

`models convert-...` are in `convert.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from terrasynth.synthesis.cli.convert import convert_inception, convert_openclip
from terrasynth.synthesis.cli.names import GENERATORS, MODELS, NameType
from terrasynth.synthesis.cli.options import PATH, device_option, guidance_option, seed_option, split_option
from terrasynth.synthesis.cli.real_data import real_captions

if TYPE_CHECKING:
    from terrasynth.synthesis.studies.prototypes.inspection import Inspection


@click.group(invoke_without_command=True, short_help="List, inspect and convert models.")
@click.pass_context
def models(context: click.Context) -> None:
    """List the models inside the package; inspect one, or convert a published evaluator."""
    from terrasynth.eval.models.references import EMBEDDED_ROOT, embedded_models, is_captioner
    from terrasynth.synthesis.core.embedded import WEIGHTS

    if context.invoked_subcommand is not None:
        return
    kinds = {"evaluator": EMBEDDED_ROOT, "generator": WEIGHTS}
    for kind, root in kinds.items():
        for name, folder in embedded_models([root]).items():
            size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
            alone = kind == "generator" and not (folder / "model_index.json").is_file()
            shown = "autoencoder" if alone else "captioner" if is_captioner(folder) else kind
            click.echo(f"{name:12}{shown:12}{size / 2**20:6.1f} MiB")


models.add_command(convert_openclip)
models.add_command(convert_inception)


@models.command()
@click.argument("model", type=NameType(MODELS))
@click.option("--data", type=PATH, help="The image-caption data that it was trained on.")
@split_option("train", "Rows of --data that it was trained on.")
@click.option("--profile", type=click.Choice(["ucm"]), help="Instead of --data: the words and classes of a profile.")
@click.option("--no-text", is_flag=True, help="The model reads no text: only classes are written.")
def describe(model: str, data: Path | None, split: str, profile: str | None, no_text: bool) -> None:
    """Write knowledge.json beside the weights of MODEL, an embedded name or a folder: the words and classes it met.

    `generate`, `plan` and `run` then say before the first image what it never read. Single words, never sentences.
    """
    from terrasynth.eval.models.knowledge import Knowledge
    from terrasynth.eval.models.references import EMBEDDED_ROOT, resolve
    from terrasynth.prompts.scenes.ontology import load_ontology
    from terrasynth.synthesis.core.embedded import WEIGHTS
    from terrasynth.synthesis.core.errors import InputError

    if (data is None) == (profile is None):
        raise InputError("give either --data, or --profile")
    found = resolve(model, [EMBEDDED_ROOT, WEIGHTS])
    if not found.local:
        raise InputError(f"model {model!r} is on the Hub, and the file belongs beside its weights; give a folder")
    if data is not None:
        rows = real_captions(data, split)
        known = Knowledge.of(None if no_text else [text for _, text in rows], [label for label, _ in rows])
    else:
        ontology = load_ontology(profile or "")
        known = Knowledge(None if no_text else ontology.words, tuple(sorted(ontology.classes)))
    path = known.save(found.folder)
    words = "no" if known.words is None else f"{len(known.words):,}"
    click.echo(f"{path}   ({words} words, {len(known.classes)} classes)")


@models.command()
@click.argument("name", type=NameType(GENERATORS))
@click.option("--out", type=PATH, required=True, help="Folder for the report.")
@click.option("--class", "labels", multiple=True, metavar="LABEL", help="A class; may be repeated. Default: all.")
@click.option("--prompt", "texts", multiple=True, metavar="TEXT", help="Instead of classes; may be repeated.")
@click.option("--per-class", default=4, show_default=True, type=click.IntRange(1), help="Images of each.")
@click.option("--prototypes", default=24, show_default=True, type=click.IntRange(1), help="How many to show.")
@seed_option("Seed of prompts and first image.")
@guidance_option
@device_option
def inspect(
    name: str, out: Path, labels: Sequence[str], texts: Sequence[str], per_class: int, prototypes: int, seed: int,
    guidance: float | None, device: str,
) -> None:
    """Show what the prototypes of generator NAME answer to, on images that it draws itself.

    Writes index.html, prototypes.json, prototypes.png and entropy.png.
    """
    from terrasynth.eval.pages.folder import check_report_folder
    from terrasynth.synthesis.core.errors import InputError
    from terrasynth.synthesis.generators.token_limits import too_long
    from terrasynth.synthesis.studies.prototypes.figures import check_plots
    from terrasynth.synthesis.studies.prototypes.inspection import inspect_prototypes
    from terrasynth.synthesis.studies.prototypes.report import KIND, RECORD, write_prototypes

    check_plots()
    if labels and texts:
        raise InputError("--class and --prompt exclude each other; give one of them")
    prompts = [(text, text) for text in dict.fromkeys(texts)] or _prompts(dict.fromkeys(labels), seed, per_class)
    if texts:
        prompts = [each for each in prompts for _ in range(per_class)]
    generator = _generator(name, guidance, device)
    for text, _ in prompts:
        tokens, limit = generator.count_tokens(text), generator.token_limit
        if limit is not None and tokens > limit:
            raise InputError(too_long("the prompt", tokens, generator.source, limit, text, name=name))
    check_report_folder(out, RECORD, KIND)
    click.echo(f"drawing and reading {len(prompts)} images", err=True)
    inspection = inspect_prototypes(
        generator.pipeline, [text for text, _ in prompts], [label for _, label in prompts],
        range(seed, seed + len(prompts)), generator.source.guidance, seed,
    )
    page = write_prototypes(
        out, inspection, generator.pipeline, generator.source.name, generator.source.revision, prototypes
    )
    for line in _lines(inspection):
        click.echo(line)
    click.echo(f"prototypes in {page}")


def _prompts(labels: Sequence[str] | dict[str, None], seed: int, count: int) -> list[tuple[str, str]]:
    """Prompts of the grammar, each with its class."""
    from terrasynth.prompts import load_expander

    expander = load_expander("grammar")
    return [
        (prompt.text, label)
        for label in labels or expander.classes
        for prompt in expander.expand(label, seed, 0, count)
    ]


def _generator(name: str, guidance: float | None, device: str) -> Any:  # noqa: ANN401 - a generator that has a pipeline
    from terrasynth.synthesis import load_generator
    from terrasynth.synthesis.core.errors import InputError
    from terrasynth.synthesis.generators.finding import find_generator
    from terrasynth.synthesis.recipe import GeneratorSettings

    if not find_generator(GeneratorSettings.of(name)).draws_tokens:
        raise InputError(f"model {name!r} has no prototypes; give a Txt2ImgMHNPipeline, such as mhn-ucm")
    return load_generator(name, guidance=guidance, device=device, dtype="float32")


def _lines(inspection: Inspection) -> list[str]:
    return [
        f"{each.name:10}{each.alive.sum():5d} of {len(each.largest)} alive, "
        f"{each.image_entropy.effective:7.1f} answer an image token, "
        f"{(each.classes.selective & each.alive).sum():5d} selective for a class"
        for each in inspection.lookups
    ]
