"""How many tokens of a prompt a generator reads, and which parts of it its tokenizers do not know."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.core.library_errors import library_errors
from terrasynth.synthesis.core.quiet import quiet
from terrasynth.synthesis.generators.base import GeneratorSource
from terrasynth.synthesis.generators.conditions.caption import CAPTION_ALONE

UNLIMITED = 1_000_000  # transformers gives an absurdly large number where a tokenizer's files name no limit
SUFFIXES = ("", "_2", "_3", "_4")


@dataclass(frozen=True)
class PromptTokens:
    """The tokens of prompts.

    Attributes:
        limit: Most that the generator reads, begin and end marks included; a longer text is cut.
    """

    limit: int
    count: Callable[[str], int]


def too_long(what: str, tokens: int, source: GeneratorSource, limit: int, text: str, advice: str = "shorten it",
             name: str = "") -> str:
    """What is said of a prompt that a generator would cut.

    Args:
        what: The prompt, as the message begins.
        tokens: How many the text has, begin and end marks included.
        limit: How many the generator reads.
        text: What it reads: the prompt in the template with which the model was tuned.
        name: What the model is called; the source's own name unless given.
    """
    template = source.conditioning.template
    inside = "" if template == CAPTION_ALONE else f", with the model's own template {template!r} around it,"
    called = name or source.name
    return f"{what}{inside} has {tokens} tokens and {called!r} reads {limit}: {text[:60]!r}...; {advice}"


def prompt_tokens(source: GeneratorSource) -> PromptTokens:
    """The token limit of a generator, asked of its tokenizers alone: no weights are loaded.

    Raises:
        InputError: It has no tokenizer, or none with a limit.
    """
    folders = sorted(folder for folder in source.folder.glob("tokenizer*") if folder.is_dir())
    if not folders:
        raise InputError(f"model {source.name!r} has no tokenizer; leave prompts.checks.max_tokens out")
    found = shortest([_load(folder) for folder in folders], source)
    if found is None:
        raise InputError(f"the tokenizer of model {source.name!r} names no limit; set prompts.checks.max_tokens to a "
                         "number, or leave it out")
    return found


def shortest(tokenizers: Sequence[Any], source: GeneratorSource, lengths: Sequence[int | None] = ()
             ) -> PromptTokens | None:
    """The limit of several tokenizers: the smallest, counted by those that have it. None where none has a limit.

    A tokenizer's limit is its `model_max_length`, or less where its network has fewer places. Where the pipeline's call
    takes `max_sequence_length`, the last tokenizer's is at most that: it feeds the large language model to which this
    argument belongs in diffusers.

    Args:
        tokenizers: In the order of the pipeline's names, at least one.
        lengths: Places of the network behind each; None where it has no bound. Empty where no network is loaded.

    Raises:
        InputError: A tokenizer's limit is no number.
    """
    sequence = _max_sequence_length(source)
    limits: list[tuple[Any, float]] = []
    for place, tokenizer in enumerate(tokenizers):
        own = getattr(tokenizer, "model_max_length", None)
        if isinstance(own, bool) or not isinstance(own, int | float | None) or (own is not None and not own > 0):
            raise InputError(f"the tokenizer of model {source.name!r} has a model_max_length of {own!r:.40}, which is "
                             "no number of tokens; mend its tokenizer_config.json")
        bounds = [own, lengths[place] if lengths else None, sequence if place == len(tokenizers) - 1 else None]
        limits.append((tokenizer, min(each for each in (*bounds, float("inf")) if each is not None)))
    smallest = min(limit for _, limit in limits)
    if smallest >= UNLIMITED:
        return None
    counting = [tokenizer for tokenizer, limit in limits if limit == smallest]

    def count(text: str) -> int:
        return max(len(tokenizer(text, truncation=False, verbose=False).input_ids) for tokenizer in counting)

    return PromptTokens(int(smallest), count)


def tokens_of(pipeline: Any, source: GeneratorSource) -> PromptTokens | None:  # noqa: ANN401 - of any class
    """The token limit of a loaded pipeline; None where there is none.

    Raises:
        InputError: A tokenizer is not that of the network which it feeds.
    """
    pairs = list(_fed(pipeline))
    for tokenizer, network in pairs:
        _check_vocabulary(source, tokenizer, network)
        places, own = _places(network), getattr(tokenizer, "model_max_length", None)
        if places is not None and isinstance(own, int | float) and own > places:
            tokenizer.model_max_length = places  # pipelines pad to it, however large it is
    if not pairs:
        return None
    return shortest([tokenizer for tokenizer, _ in pairs], source, [_places(network) for _, network in pairs])


def unknown_parts(pipeline: Any, text: str) -> list[str]:  # noqa: ANN401
    """The parts of a text in whose place a tokenizer puts its mark for what it does not know."""
    found: dict[str, None] = {}
    for tokenizer, _ in _fed(pipeline):
        mark = getattr(tokenizer, "unk_token_id", None)
        if mark is None or not getattr(tokenizer, "is_fast", False):
            continue
        read = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, truncation=False, verbose=False)
        for token, (start, end) in zip(read.input_ids, read.offset_mapping, strict=True):
            if token == mark and text[start:end].strip():
                found[text[start:end]] = None
    return list(found)


def _fed(pipeline: Any) -> Iterator[tuple[Any, Any]]:  # noqa: ANN401
    """Each tokenizer of a pipeline with the network that it feeds; None for an unknown one."""
    for suffix in SUFFIXES:
        tokenizer = getattr(pipeline, f"tokenizer{suffix}", None)
        if tokenizer is None:
            continue
        network = getattr(pipeline, f"text_encoder{suffix}", None)
        if network is None and not suffix:
            network = getattr(pipeline, "transformer", None)  # which reads the tokens itself
        yield tokenizer, network


def _places(network: Any) -> int | None:  # noqa: ANN401
    config = getattr(network, "config", None)
    for name in ("text_length", "max_position_embeddings"):
        found = getattr(config, name, None)
        if isinstance(found, int):
            return found
    return None


def _check_vocabulary(source: GeneratorSource, tokenizer: Any, network: Any) -> None:  # noqa: ANN401
    """Refuse the tokenizer of another network; where its files are missing, transformers makes one without words."""
    config = getattr(network, "config", None)
    needed = getattr(config, "text_vocabulary", getattr(config, "vocab_size", None))
    if isinstance(needed, int) and not needed // 2 <= len(tokenizer) <= needed:
        raise InputError(f"model {source.name!r}: a tokenizer of {len(tokenizer)} tokens for a text encoder of "
                         f"{needed}; save the pipeline again, with its own tokenizer")


def _load(folder: Path) -> Any:  # noqa: ANN401 - a tokenizer of any class
    from transformers import AutoTokenizer

    def explain(reason: str) -> str:
        return f"the tokenizer in {folder.name!r} of the model cannot be loaded: {reason}; save the pipeline again"

    with quiet(), library_errors(explain):
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)


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
