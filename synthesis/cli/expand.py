"""The command `expand`: prompts from class names, balanced, with figures that can stand beside those of other sets."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from terrasynth.synthesis.cli.names import EXPANDERS, GENERATORS, RECIPES, NameType, NamingCommand
from terrasynth.synthesis.cli.options import PATH, seed_option, split_option
from terrasynth.synthesis.cli.real_data import real_captions
from terrasynth.words import counted

if TYPE_CHECKING:
    from terrasynth.eval.prompt_sets.comparison import ReportedSet
    from terrasynth.eval.prompt_sets.tally import Tally
    from terrasynth.prompts import Expander, Prompt
    from terrasynth.synthesis.recipe import Recipe

PER_CLASS = 5
MOST_DRAWN = 48  # layouts on a sheet
STANDARD_OUTPUT = Path("-")


@dataclass(frozen=True)
class _Tokens:
    """How a generator counts tokens, how many it reads, and what it reads for a text and its class."""

    count: Callable[[str], int] | None = None
    limit: int | None = None
    read: Callable[[str, str], str] | None = None


@click.command(cls=NamingCommand, short_help="Write the prompts that a recipe would use.")
@click.option("--recipe", type=NameType(RECIPES),
              help="Write the prompts that a run of it draws: its classes, expander, checks and seed.")
@click.option("--classes", "--class", "labels", multiple=True, metavar="A,B,...", help="Labels or names. Default: all.")
@click.option("--n", "-n", "total", type=click.IntRange(1), help="Prompts in all, shared out evenly over the classes.")
@click.option("--per-class", "--count", type=click.IntRange(1), help=f"Or: prompts per class. Default: {PER_CLASS}.")
@click.option("--out", type=click.Path(path_type=Path, allow_dash=True), default="-", help="Default: standard output.")
@click.option("--expander", default="grammar", show_default=True, type=NameType(EXPANDERS),
              help="Who writes the prompts.")
@click.option("--option", "options", multiple=True, metavar="KEY=VALUE", help="An option of the expander.")
@click.option("--check", "checks", multiple=True, metavar="KEY=VALUE", help="A check that a prompt has to pass.")
@click.option("--tokenizer", metavar="MODEL", type=NameType(GENERATORS),
              help="A generator that counts tokens, for checks and figures.")
@seed_option("As in a recipe.")
@click.option("--start", default=0, show_default=True, type=click.IntRange(0), help="First attempt of each class.")
@click.option("--text-only", is_flag=True, help="Write texts alone, one a line.")
@click.option("--sheet", type=PATH, metavar="FILE.png",
              help="Draw the layouts of the first prompts, of an expander that gives any; of pairs both.")
@click.option("--report", type=PATH, help="Folder for a page with figures and plots.")
@click.option("--against", multiple=True, metavar="DATA", type=PATH,
              help="Prompts or real captions to compare with; may be repeated.")
@split_option("train", "Rows of --against that count; all for every row.")
@click.option("--measure", default="text", show_default=True, type=click.Choice(["text", "captions"]),
              help="Measure a prompt's text, or all its captions.")
def expand(
    recipe: str | None, labels: Sequence[str], total: int | None, per_class: int | None, out: Path, expander: str,
    options: Sequence[str], checks: Sequence[str], tokenizer: str | None, seed: int, start: int, text_only: bool,
    sheet: Path | None, report: Path | None, against: Sequence[Path], split: str, measure: str,
) -> None:
    """Write prompts as a recipe would use them, one JSON object a line; the expander `file` reads them.

    With --recipe they are those of its run: the first ones of each class, with its own expander, checks and seed.
    Classes take turns, so that any beginning of the file is balanced.
    """
    from terrasynth.eval.pages.folder import check_report_folder
    from terrasynth.eval.prompt_sets.report import KIND, RECORD
    from terrasynth.prompts.addresses import shown
    from terrasynth.prompts.registry import load_expander_for
    from terrasynth.synthesis.cli.prompt_lines import Lines, in_rounds, quotas, standard_output
    from terrasynth.synthesis.core.errors import InputError
    from terrasynth.synthesis.core.files import replacing
    from terrasynth.synthesis.core.overrides import parse_overrides

    if total is not None and per_class is not None:
        raise InputError(f"--n {total} and --per-class {per_class} exclude each other; give one of them")
    _check_suffix(out, text_only)
    _check_sheet(sheet)
    wanted = _split(labels)
    if recipe is not None:
        written, seed = _of_recipe(recipe)
        expander, tokens, writer = written.prompts.expander, _tokens(tokenizer), _writer(written)
        classes = _classes(wanted, writer, written.class_names)
    else:
        writer = load_expander_for(wanted, expander, **parse_overrides(options))
        classes = _classes(wanted, writer)
        tokens = _tokens(tokenizer)
        writer = _checked(writer, checks, tokens) if checks else writer
    if report is not None:
        check_report_folder(report, RECORD, KIND)
    all_captions = measure == "captions"
    names = _names(expander, against)
    others = [
        _other(name, place, split, all_captions, seed, writer.classes)
        for name, place in zip(names[1:], against, strict=True)
    ]
    tally = _tally(names[0], seed) if report is not None or others else None
    lines = Lines(text_only, tally, all_captions)
    counts = dict.fromkeys(classes, per_class or PER_CLASS) if total is None else quotas(classes, total)
    layouts, pairs = list[str](), False
    with standard_output() if out == STANDARD_OUTPUT else replacing(out) as file:
        for prompts in in_rounds(writer, counts, seed, start):
            file.write(lines.of(prompts))
            if sheet is not None and len(layouts) < MOST_DRAWN:
                layouts += _layouts(prompts)[: MOST_DRAWN - len(layouts)]
                pairs = pairs or any(prompt.edit for prompt in prompts)
    click.echo(f"{counted(lines.written, 'prompt')} of {counted(len(classes), 'class', 'classes')}, "
               f"{lines.distinct:,} distinct", err=True)
    if sheet is not None:
        _draw(sheet, layouts, pairs, expander)
    seen, drops, notes = _judged(writer, counts, seed, start)
    for line in _drop_lines(seen, drops, notes):
        click.echo(line, err=True)
    if tally is not None:
        from terrasynth.eval.prompt_sets.comparison import ReportedSet

        of_recipe = [f"recipe {recipe}"] if recipe else []
        about = [*of_recipe, f"expander {expander}", *map(shown, options), *(f"check {each}" for each in checks),
                 f"seed {seed}"]
        _measure([ReportedSet(tally, ", ".join(about), seen, drops, notes), *others], tokens, seed, report)


def _check_suffix(out: Path, text_only: bool) -> None:
    from terrasynth.synthesis.core.errors import InputError

    if out == STANDARD_OUTPUT:
        return
    if text_only and out.suffix.lower() in (".jsonl", ".csv"):
        raise InputError(f"--out {str(out)!r} would hold no {out.suffix} but bare texts with --text-only; name it .txt")
    if not text_only and out.suffix.lower() != ".jsonl":
        raise InputError(f"--out {str(out)!r} has to end in .jsonl, by which the expander file knows what it reads")


def _check_sheet(sheet: Path | None) -> None:
    from terrasynth.synthesis.core.errors import InputError

    if sheet is not None and sheet.suffix.lower() != ".png":
        raise InputError(f"--sheet {str(sheet)!r} has to end in .png")


def _layouts(prompts: Sequence[Prompt]) -> list[str]:
    """The layouts of prompts, of pairs those after, too."""
    from terrasynth.prompts.layouts.changes import layout_after

    return [layout for prompt in prompts if prompt.layout for layout in (
        prompt.layout, *([layout_after(prompt.layout, prompt.edit)] if prompt.edit else []))]


def _draw(sheet: Path, layouts: Sequence[str], pairs: bool, expander: str) -> None:
    from terrasynth.prompts.layouts.layout import Layout
    from terrasynth.prompts.layouts.sheet import sheet as drawn_sheet
    from terrasynth.synthesis.core.errors import InputError
    from terrasynth.synthesis.core.files import replacing

    if not layouts:
        raise InputError(f"--sheet {str(sheet)!r} has nothing to draw: prompts of {expander} have no layout; "
                         "take --expander layout")
    with replacing(sheet) as file:
        columns = 2 * math.ceil(math.sqrt(len(layouts) / 4)) if pairs else None  # a pair stands side by side
        drawn_sheet([Layout.from_json(one) for one in layouts], columns).save(file, format="PNG")
    click.echo(f"{counted(len(layouts), 'layout')} in {sheet}", err=True)


def _split(labels: Sequence[str]) -> list[str] | None:
    """The names in "a,b" and "c"; None for all classes."""
    names = [name.strip() for each in labels for name in each.split(",")]
    return None if names in ([], ["all"]) else names


def _of_recipe(name: str) -> tuple[Recipe, int]:
    """A recipe and its seed, where no option says otherwise what it says itself."""
    from click.core import ParameterSource

    from terrasynth.synthesis.core.errors import InputError
    from terrasynth.synthesis.recipe import Recipe

    context = click.get_current_context()
    for option in ("expander", "options", "checks", "seed"):
        if context.get_parameter_source(option) is ParameterSource.COMMANDLINE:
            said = option.removesuffix("s") if option != "checks" else "check"
            raise InputError(f"--recipe {name!r} says itself what --{said} says; leave one of them out")
    recipe = Recipe.load(name)
    return recipe, recipe.seed


def _writer(recipe: Recipe) -> Expander:
    """What writes the prompts of a run of a recipe."""
    from terrasynth.prompts.registry import load_expander_for
    from terrasynth.synthesis.execution.prompts import checked
    from terrasynth.synthesis.generators.finding import find_generator

    writer = load_expander_for(recipe.class_names, recipe.prompts.expander, **recipe.prompts.options)
    checks = recipe.prompts.checks
    if checks is None and not writer.identity().get("pairs"):
        return writer
    return checked(writer, checks, find_generator(recipe.generator))


def _classes(wanted: Sequence[str] | None, expander: Expander, others: Sequence[str] | None = None) -> tuple[str, ...]:
    """The labels that are meant, in the order in which they were given, each once.

    Args:
        others: Which are meant where none was given; None for all.
    """
    wanted = others if wanted is None else wanted
    from terrasynth.prompts.scenes.wording import chosen_labels

    return expander.classes if wanted is None else chosen_labels(wanted, expander.classes)


def _tokens(model: str | None) -> _Tokens:
    """The tokenizer of a generator, without its weights."""
    if model is None:
        return _Tokens()
    from terrasynth.synthesis.execution.prompts import written
    from terrasynth.synthesis.generators.finding import find_generator
    from terrasynth.synthesis.generators.token_limits import prompt_tokens
    from terrasynth.synthesis.recipe import GeneratorSettings

    source = find_generator(GeneratorSettings.of(model))
    found = prompt_tokens(source)
    return _Tokens(found.count, found.limit, written(source))


def _checked(expander: Expander, checks: Sequence[str], tokens: _Tokens) -> Expander:
    from terrasynth.prompts.checks.checked import CheckedExpander
    from terrasynth.prompts.checks.settings import CheckSettings
    from terrasynth.synthesis.core.errors import InputError
    from terrasynth.synthesis.core.overrides import parse_overrides

    values = parse_overrides(checks)
    if values.get("max_tokens") is not None and tokens.count is None:
        raise InputError("check max_tokens counts tokens; add --tokenizer MODEL, for instance ldm-ucm")
    if values.get("max_tokens") == "auto":
        values["max_tokens"] = tokens.limit
    return CheckedExpander(expander, CheckSettings.parse(values), tokens.count, tokens.read)


def _tally(name: str, seed: int) -> Tally:
    from terrasynth.eval.prompt_sets.tally import Tally
    from terrasynth.prompts.scenes.ontology import PROFILES, load_ontology

    vocabularies = {profile: load_ontology(profile).words for profile in PROFILES}
    return Tally(name, seed, {profile: words for profile, words in vocabularies.items() if words})


def _names(expander: str, against: Sequence[Path]) -> list[str]:
    """What the sets are called, each by another name."""
    found = [expander]
    for place in against:
        name = place.stem if place.is_file() else place.resolve().name
        same = [one for one in found if one == name or one.startswith(f"{name} (")]
        found.append(f"{name} ({len(same) + 1})" if same else name)
    return found


def _other(
    name: str, place: Path, split: str, all_captions: bool, seed: int, classes: Sequence[str]
) -> ReportedSet:
    """A set to compare with; classes that it calls otherwise ("TennisCourt") are given the names in `classes`."""
    from terrasynth.eval.prompt_sets.comparison import ReportedSet
    from terrasynth.prompts.reading import FORMATS
    from terrasynth.prompts.text_sets import read_texts

    ours = place.suffix.lower() in FORMATS and not place.is_dir()
    texts = read_texts(place, split, all_captions) if ours else real_captions(place, split)
    tally = _tally(name, seed)
    names = {label: _label(label, classes) for label, _ in texts}
    tally.add((names[label], text) for label, text in texts)
    return ReportedSet(tally, f"{place}, split {split}")


def _label(label: str, classes: Sequence[str]) -> str:
    from terrasynth.prompts.scenes.ontology import load_ontology
    from terrasynth.prompts.scenes.wording import find_label

    return label if label in classes or not label else find_label(label, classes, load_ontology("open")) or label


def _judged(
    expander: Expander, counts: dict[str, int], seed: int, start: int
) -> tuple[int | None, dict[str, int], dict[str, int]]:
    """Candidates, those dropped by reason, and notes, over all classes; None and empty where nobody judged."""
    from terrasynth.prompts.checks.checked import CheckedExpander

    drops, notes = Counter[str](), Counter[str]()
    if isinstance(expander, CheckedExpander):
        for label, count in counts.items():
            drops.update(expander.drops(label, seed, start + count))
            notes.update(expander.notes(label, seed, start + count))
        seen = sum(expander.seen(label, seed, start + count) for label, count in counts.items())
        return seen, dict(drops.most_common()), dict(notes)
    own = getattr(expander, "drops", None)
    if callable(own):
        for label in counts:
            drops.update(own(label))
    return None, dict(drops.most_common()), {}


def _drop_lines(seen: int | None, drops: dict[str, int], notes: dict[str, int]) -> list[str]:
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in drops.items())
    of = "" if seen is None else f" of {seen:,} candidates"
    lines = [f"dropped {sum(drops.values()):,}{of}{': ' + reasons if reasons else ''}"] if drops or of else []
    return [*lines, *(f"{note}: {count:,}" for note, count in notes.items())]


def _measure(sets: list[ReportedSet], tokens: _Tokens, seed: int, report: Path | None) -> None:
    from terrasynth.eval.prompt_sets.comparison import measure_sets
    from terrasynth.eval.prompt_sets.report import write_prompt_report
    from terrasynth.eval.prompt_sets.tables import equal_table

    measured = measure_sets(sets, tokens.count, tokens.limit, seed)
    if len(sets) > 1:
        for line in equal_table(measured).columns():
            click.echo(line, err=True)
    if report is not None:
        click.echo(f"report in {write_prompt_report(report, measured)}", err=True)
