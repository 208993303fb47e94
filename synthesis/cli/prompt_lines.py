"""Prompts of several classes in turn, as lines of a file, counted as they pass."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import zip_longest
from json.encoder import encode_basestring, encode_basestring_ascii
from typing import TYPE_CHECKING, BinaryIO

from terrasynth.prompts.scenes.entailment import held

if TYPE_CHECKING:
    from terrasynth.eval.prompt_sets.tally import Tally
    from terrasynth.prompts import Expander, Prompt

FIRST_ROUNDS, MOST_ROUNDS = 8, 256  # a slow expander shows its first prompts soon, a fast one is asked seldom


def quotas(classes: Sequence[str], total: int) -> dict[str, int]:
    """How many prompts of each class make the total; two classes differ by one at most, the first have more."""
    each, more = divmod(total, len(classes))
    return {label: each + (number < more) for number, label in enumerate(classes)}


def in_rounds(expander: Expander, counts: Mapping[str, int], seed: int, start: int = 0) -> Iterator[list[Prompt]]:
    """Prompts of all classes in portions, the classes taking turns, so that any beginning is balanced.

    Args:
        start: First attempt of each class.
    """
    rounds, done = FIRST_ROUNDS, 0
    while left := {label: count - done for label, count in counts.items() if count > done}:
        portions = [expander.expand(label, seed, start + done, min(rounds, count)) for label, count in left.items()]
        yield [prompt for turn in zip_longest(*portions) for prompt in turn if prompt is not None]
        done += rounds
        rounds = min(2 * rounds, MOST_ROUNDS)


def json_line(prompt: Prompt) -> str:
    """A prompt as a line of JSON, `scene` as an object, as the expander `file` reads it.

    Put together from its pieces, since `scene` is JSON already, and a line costs a fraction of making the prompt.
    """
    captions = [_quoted(caption) for caption in prompt.captions]
    layout = f', "layout": {prompt.layout}' if prompt.layout else ""
    if prompt.edit:
        layout += f', "edit": {prompt.edit}, "text_after": {_quoted(prompt.text_after)}'
    return (f'{{"text": {captions[0]}, "label": {_quoted(prompt.label)}, "captions": [{", ".join(captions)}], '
            f'"scene": {_scene(prompt.scene)}, "source": {_quoted(prompt.source)}{layout}}}\n')


def _scene(text: str) -> str:
    return text if text.isprintable() else json.dumps(json.loads(text), separators=(",", ":"))


def _quoted(text: str) -> str:
    # of the two, which agree on such text, this one is twice as fast
    return encode_basestring(text) if text.isprintable() and not text.isascii() else encode_basestring_ascii(text)


def _text_line(text: str) -> str:
    if text.isprintable():
        return f"{text}\n"
    return " ".join("".join(sign for sign in text if sign.isprintable() or sign.isspace()).split()) + "\n"


class Lines:
    """Prompts as lines."""

    def __init__(self, text_only: bool, tally: Tally | None = None, all_captions: bool = False) -> None:
        """Start with none.

        Args:
            text_only: Lines hold the text alone.
            tally: Counts what is measured, if anything is.
            all_captions: What is measured of a prompt is all its captions, not its text.
        """
        from terrasynth.eval.prompt_sets.tally import Sums

        self.written = 0
        self._text_only = text_only
        self._tally = tally
        self._all_captions = all_captions
        self._hashes = Sums()

    @property
    def distinct(self) -> int:
        """Different texts so far, as they are written."""
        return len(self._hashes.keys)

    def of(self, prompts: Sequence[Prompt]) -> bytes:
        """The lines of further prompts, in UTF-8."""
        import numpy as np

        texts = [prompt.text for prompt in prompts]
        self.written += len(texts)
        self._hashes.add(np.fromiter(map(hash, texts), np.int64, len(texts)).astype(np.uint64))
        if self._tally is not None and self._all_captions:
            self._tally.add((prompt.label, caption) for prompt in prompts for caption in prompt.captions)
        elif self._tally is not None:
            self._tally.add((prompt.label, prompt.text) for prompt in prompts)
        lines = map(_text_line, texts) if self._text_only else map(json_line, map(held, prompts))
        return "".join(lines).encode()


@contextmanager
def standard_output() -> Iterator[BinaryIO]:
    """Standard output for bytes; a reader that has seen enough (`| head`) ends the block without an error."""
    sys.stdout.flush()
    try:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        # what is still buffered has to go somewhere when Python closes the file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
