"""How many tokens of a prompt a generator reads, asked of its tokenizers alone: no weights are loaded."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synthesis.errors import InputError, one_line
from synthesis.generators import GeneratorSource
from synthesis.quiet import quiet

UNLIMITED = 1_000_000  # transformers gives an absurdly large number where a tokenizer's files name no limit


@dataclass(frozen=True)
class PromptTokens:
    """The tokens of prompts.

    Attributes:
        limit: Most that the generator reads, begin and end marks included.
        count: Gives those of a text.
    """

    limit: int
    count: Callable[[str], int]


def prompt_tokens(source: GeneratorSource) -> PromptTokens:
    """The token limit of a generator; of several tokenizers, the smallest.

    A tokenizer's limit is its `model_max_length`. Where the pipeline's call takes `max_sequence_length`, the last
    tokenizer's is at most that: it feeds the large language model to which this argument belongs in diffusers.

    Args:
        source: The generator's files and settings.

    Raises:
        InputError: It has no tokenizer, or none with a limit.
    """
    folders = sorted(folder for folder in source.folder.glob("tokenizer*") if folder.is_dir())
    if not folders:
        raise InputError(f"model {source.name!r} has no tokenizer; leave prompts.checks.max_tokens out")
    limits = [(tokenizer, tokenizer.model_max_length) for tokenizer in map(_load, folders)]
    sequence = _max_sequence_length(source)
    if sequence is not None:
        last, limit = limits[-1]
        limits[-1] = last, min(limit, sequence)
    smallest = min(limit for _, limit in limits)
    if smallest >= UNLIMITED:
        raise InputError(f"the tokenizer of model {source.name!r} names no limit; set prompts.checks.max_tokens to a "
                         "number, or leave it out")
    counting = [tokenizer for tokenizer, limit in limits if limit == smallest]

    def count(text: str) -> int:
        return max(len(tokenizer(text, truncation=False, verbose=False).input_ids) for tokenizer in counting)

    return PromptTokens(int(smallest), count)


def _load(folder: Path) -> Any:  # noqa: ANN401 - a tokenizer of any class
    from transformers import AutoTokenizer

    try:
        with quiet():
            return AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"the tokenizer in {folder.name!r} of the model cannot be loaded: {one_line(error)[:160]}; "
                         "save the pipeline again") from error


def _max_sequence_length(source: GeneratorSource) -> int | None:
    """The pipeline's `max_sequence_length`, from the recipe's options or its default; None where it has none."""
    import diffusers

    given = source.options.get("max_sequence_length")
    with quiet():  # imports the pipeline's parts
        pipeline = getattr(diffusers, source.pipeline, None)
    if isinstance(given, int) or pipeline is None:
        return given if isinstance(given, int) else None
    parameter = inspect.signature(pipeline.__call__).parameters.get("max_sequence_length")
    return parameter.default if parameter is not None and isinstance(parameter.default, int) else None
