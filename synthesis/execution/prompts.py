"""Checks of prompts in a run: the expander that makes them, and what they dropped."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from terrasynth.prompts.expanders.layout import LayoutExpander
from terrasynth.synthesis.core import layout
from terrasynth.synthesis.core.errors import RunError, one_line
from terrasynth.synthesis.core.identity import canonical
from terrasynth.synthesis.core.records import RecordError, read_record, write_record
from terrasynth.synthesis.generators.base import GeneratorSource
from terrasynth.synthesis.generators.conditions.caption import CAPTION_ALONE
from terrasynth.synthesis.generators.token_limits import prompt_tokens

if TYPE_CHECKING:
    from terrasynth.prompts import Expander, Prompt
    from terrasynth.prompts.checks.settings import CheckSettings
    from terrasynth.prompts.layouts.layout import Layout

DROPS = layout.PROMPT_DROPS


@dataclass(frozen=True)
class PromptDrops:
    """What became of the prompts that an expander gave.

    Attributes:
        seen: How many were judged.
        drops: How many of them were dropped, by reason, the commonest first.
        notes: What else is to be said, and of how many (`prompts.checks.CheckedExpander.notes`).
    """

    seen: int
    drops: dict[str, int]
    notes: dict[str, int]


def is_shown(source: GeneratorSource, before: Layout, after: Layout) -> bool:
    """Whether a generator is shown two layouts differently; one that reads texts alone is shown none."""
    return source.layout is not None and source.layout.tells_apart(before, after, source.height or before.pixels)


def prompt_after(prompt: Prompt) -> Prompt:
    """What the image after of a pair is drawn from, as a prompt of its own."""
    from terrasynth.prompts.layouts.changes import layout_after
    from terrasynth.prompts.types import Prompt

    text = prompt.text_after
    return Prompt(text, prompt.label, (text,), prompt.source, layout=layout_after(prompt.layout, prompt.edit))


def written(source: GeneratorSource) -> Callable[[str, str], str] | None:
    """What a generator reads for a text and its class; None where that is the text alone."""
    return None if source.conditioning.template == CAPTION_ALONE else source.conditioning.render


def checked(expander: Expander, settings: CheckSettings | None, source: GeneratorSource) -> Expander:
    """The expander with a recipe's checks round it; of pairs it gives those whose change the generator is shown.

    Args:
        expander: Gives the candidates.
        settings: The checks; None for none.
        source: The generator whose tokens are counted.

    Raises:
        InputError: The reference cannot be read, or the generator has no tokenizer to count with.
    """
    if isinstance(expander, LayoutExpander):
        expander.shown_by(lambda one, other: is_shown(source, one, other))
    if settings is None:
        return expander
    from terrasynth.prompts.checks.checked import CheckedExpander

    if settings.max_tokens is None:
        return CheckedExpander(expander, settings)
    tokens = prompt_tokens(source)
    if settings.max_tokens == "auto":
        settings = settings.model_copy(update={"max_tokens": tokens.limit})
    return CheckedExpander(expander, settings, tokens.count, written(source))


def prompt_drops(
    expander: Expander, settings: CheckSettings | None, seed: int, attempts: Mapping[str, int], run: Path
) -> PromptDrops | None:
    """Why prompts were dropped before the last of the first attempts of each class.

    The counts are kept in the run directory: a run that only judges again should ask no language model for prompts.

    Args:
        expander: The run's, as `checked` made it.
        attempts: How many attempts, by class.

    Returns:
        The counts over all classes, or None where there are no checks.

    Raises:
        RunError: The counts that were kept cannot be read.
    """
    from terrasynth.prompts.checks.checked import CheckedExpander

    if settings is None or not isinstance(expander, CheckedExpander):
        return None
    unset = () if settings.says else ("says",)  # so that counts of earlier versions still are of the same checks
    asked = {"checks": settings.model_dump(exclude={"reference", *unset}), "attempts": dict(attempts)}
    path = run / DROPS
    if path.is_file() and (kept := _read(path, asked)) is not None:
        return kept
    drops, notes, seen = Counter[str](), Counter[str](), 0
    for label, count in attempts.items():
        expander.expand(label, seed, max(0, count - 1), min(1, count))  # so that it has come as far
        drops.update(expander.drops(label, seed, count))
        notes.update(expander.notes(label, seed, count))
        seen += expander.seen(label, seed, count)
    found = PromptDrops(seen, dict(drops.most_common()), dict(notes.most_common()))
    write_record(path, {"asked": asked, **asdict(found)})
    return found


def _read(path: Path, asked: Mapping[str, object]) -> PromptDrops | None:
    """The counts in a file, if they are those of what is asked."""
    try:
        tree = read_record(path)
        seen, drops, notes, noted = (tree[name] for name in ("seen", "drops", "notes", "asked"))
        for count in [seen, *drops.values(), *notes.values()]:
            if not isinstance(count, int) or count < 0:
                raise RecordError(f"a count of {count!r} is impossible")
    except (RecordError, KeyError, TypeError, AttributeError) as error:
        raise RunError(f"{path} cannot be read ({one_line(error)}); remove it and run again: the prompts are counted "
                       "again") from error
    return PromptDrops(seen, drops, notes) if noted == json.loads(canonical(asked)) else None
