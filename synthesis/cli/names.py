"""What there is to choose from by name: shown by the help of a command, and offered where a shell completes its line.

Nothing here refuses a value: what a name stands for decides on that, since a path or a Hub id may stand in its place.
Names are found without importing what they stand for, so that a completion answers at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem
from typing_extensions import override

from terrasynth.prompts.plugins import Plugins
from terrasynth.synthesis.core.errors import InputError

_PACKAGE = Path(__file__).parents[2]


@dataclass(frozen=True)
class Names:
    """One kind of thing that is chosen by name.

    Attributes:
        title: What the help calls them.
        find: Gives the names, in the order in which they are shown.
        or_file: A file may stand in the place of a name, so that a shell completes paths, too.
        about: Gives a line on each, for the help; it may import what it needs.
    """

    title: str
    find: Callable[[], Sequence[str]]
    or_file: bool = False
    about: Callable[[], dict[str, str]] | None = None


class NameType(click.ParamType[str]):
    """A text, of which a shell completes the names that there are."""

    name = "text"

    def __init__(self, names: Names) -> None:
        self.names = names

    @override
    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        files = [CompletionItem(incomplete, type="file")] if self.names.or_file else []
        return files + [CompletionItem(name) for name in self.names.find() if name.startswith(incomplete)]


class NamingCommand(click.Command):
    """A command whose help ends with the names that its arguments and options take.

    Args:
        also: Further names, which stand in a file that the command reads.
    """

    def __init__(self, *args: Any, also: Sequence[Names] = (), **settings: Any) -> None:  # noqa: ANN401 - click's own
        super().__init__(*args, **settings)
        taken = [each.type.names for each in self.params if isinstance(each.type, NameType)]
        self.named = tuple(dict.fromkeys((*taken, *also)))

    @override
    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_epilog(ctx, formatter)
        for names in self.named:
            if names.about is None:
                with formatter.section(names.title):
                    formatter.write_text(", ".join(names.find()))
            else:
                with formatter.section(names.title):
                    formatter.write_dl(list(names.about().items()))


def _yaml_files(folder: str) -> Callable[[], Sequence[str]]:
    return lambda: sorted(path.stem for path in (_PACKAGE / folder).glob("*.yaml"))


def _models(*folders: str) -> Callable[[], Sequence[str]]:
    def find() -> Sequence[str]:
        from terrasynth.eval.models.references import embedded_models

        return list(embedded_models([_PACKAGE / folder for folder in folders]))

    return find


def _evaluators() -> Sequence[str]:
    return [name for name in _models("eval/weights")() if name not in _captioners()]


def _captioners() -> Sequence[str]:
    from terrasynth.eval.models.references import is_captioner

    root = _PACKAGE / "eval" / "weights"
    return [name for name in _models("eval/weights")() if is_captioner(root / name)]


def _generators() -> Sequence[str]:
    return [name for name in _models("synthesis/weights")()
            if (_PACKAGE / "synthesis" / "weights" / name / "model_index.json").is_file()]


def _filters() -> Sequence[str]:
    from terrasynth.synthesis.filters import FILTERS

    return list(FILTERS)


def _caches() -> dict[str, str]:
    from terrasynth.synthesis.core.caches import KINDS

    return {kind.name: kind.holds for kind in KINDS}


def _presets() -> dict[str, str]:
    from terrasynth.training.presets import presets

    return presets()


CACHES = Names("Caches", lambda: list(_caches()), about=_caches)
RECIPES = Names("Shipped recipes", _yaml_files("synthesis/recipes"), or_file=True)
PRESETS = Names("Presets", _yaml_files("training/presets"), or_file=True, about=_presets)
EXPANDERS = Names("Expanders", Plugins("terrasynth.expanders", "expander", InputError).names)
FORMATS = Names("Formats", Plugins("terrasynth.exporters", "exporter", InputError).names)
FILTERS = Names("Filters", _filters)
GENERATORS = Names("Embedded generators", _generators, or_file=True)
EVALUATORS = Names("Embedded evaluators", _evaluators, or_file=True)
CAPTIONERS = Names("Embedded captioners", _captioners, or_file=True)
MODELS = Names("Embedded models", _models("eval/weights", "synthesis/weights"), or_file=True)
