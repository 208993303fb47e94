"""What a pipeline's text encoders say about a text, computed once."""

from __future__ import annotations

import inspect
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

Rows = tuple["torch.Tensor | None", ...]
# Pipelines whose `encode_prompt` pads every text to one length, with a null text that does not depend on the others.
FIXED_LENGTH = ("StableDiffusionPipeline", "StableDiffusionXLPipeline", "LatentConsistencyModelPipeline",
                "PixArtSigmaPipeline")
LIMIT_BYTES = 256 * 2**20
GUIDED = "do_classifier_free_guidance"


class TextCache:
    """Stands in for the `encode_prompt` of a pipeline.

    Every text is encoded alone, and so is the null text: in a batch its last bits would depend on the other texts, and
    so the images of a run on what was kept when it was resumed.

    Attributes:
        encoded: Texts that were computed so far, the null text included.
    """

    def __init__(self, encode: Callable[..., Rows], limit_bytes: int = LIMIT_BYTES) -> None:
        """Wrap a pipeline's method.

        Args:
            encode: The bound `encode_prompt`, with parameters `prompt` and `do_classifier_free_guidance`.
            limit_bytes: The least recently used texts make room beyond this.
        """
        self.encoded = 0
        self._encode = encode
        self._signature = inspect.signature(encode)
        self._limit = limit_bytes
        self._rows: OrderedDict[tuple[str, ...], Rows] = OrderedDict()
        self._held = 0
        self._one = Lock()  # images that are drawn side by side ask at the same time

    def __call__(self, *args: Any, **kwargs: Any) -> Rows:  # noqa: ANN401 - the wrapped method's own
        """What the wrapped method would give: tensors whose first axis counts texts, or None."""
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        asked = dict(bound.arguments)
        texts = asked.pop("prompt")
        if isinstance(texts, str) or not texts:
            return self._encode(*args, **kwargs)
        asked = {name: _for_one(value, len(texts)) for name, value in asked.items()}
        if not all(map(_plain, asked.values())):
            return self._encode(*args, **kwargs)
        guided = bool(asked.pop(GUIDED))
        with self._one:
            rows = [self._row(text, asked) for text in texts]
            if guided:
                null = self._null(texts[0], asked)
                rows = [tuple(own if empty is None else empty for own, empty in zip(row, null, strict=True))
                        for row in rows]
        return tuple(_stacked(column) for column in zip(*rows, strict=True))

    def _null(self, text: str, asked: Mapping[str, Any]) -> Rows:
        """What guidance adds to the rows of any text."""
        key = ("null", *map(repr, asked.items()))
        if key not in self._rows:
            plain, guided = self._row(text, asked), self._compute(text, asked, guided=True)
            self._keep(key, tuple(all_ if own is None else None for own, all_ in zip(plain, guided, strict=True)))
        return self._rows[key]

    def _row(self, text: str, asked: Mapping[str, Any]) -> Rows:
        key = ("text", text, *map(repr, asked.items()))
        if key in self._rows:
            self._rows.move_to_end(key)
        else:
            self._keep(key, self._compute(text, asked, guided=False))
        return self._rows[key]

    def _compute(self, text: str, asked: Mapping[str, Any], guided: bool) -> Rows:
        self.encoded += 1
        bound = inspect.BoundArguments(self._signature, OrderedDict())
        named = {"prompt": [text], GUIDED: guided, **asked}
        bound.arguments = {name: named[name] for name in self._signature.parameters}  # in the method's order
        return tuple(self._encode(*bound.args, **bound.kwargs))

    def _keep(self, key: tuple[str, ...], rows: Rows) -> None:
        self._rows[key] = rows
        self._held += _bytes(rows)
        while self._held > self._limit and len(self._rows) > 1:
            oldest = next(other for other in self._rows if other != key)
            self._held -= _bytes(self._rows.pop(oldest))


def cache_texts(pipeline: Any) -> bool:  # noqa: ANN401 - a pipeline of any class
    """Let a pipeline compute each text once; says whether it is of a kind that can."""
    if type(pipeline).__name__ not in FIXED_LENGTH:
        return False
    pipeline.encode_prompt = TextCache(pipeline.encode_prompt)
    return True


def _for_one(value: Any, count: int) -> Any:  # noqa: ANN401
    """An argument for one text, of one for all of them: a list that says the same of each becomes a list of one."""
    same = isinstance(value, list) and len(value) == count and all(isinstance(each, str) for each in value)
    return value[:1] if same and len(set(value)) == 1 else value


def _plain(value: Any) -> bool:  # noqa: ANN401
    """Whether an argument is the same for all texts and can be part of a key."""
    import torch

    if isinstance(value, dict):
        return not value
    if isinstance(value, list):
        return len(value) == 1 and isinstance(value[0], str)
    return value is None or isinstance(value, bool | int | float | str | torch.device)


def _stacked(column: Sequence[torch.Tensor | None]) -> torch.Tensor | None:
    import torch

    present = [rows for rows in column if rows is not None]
    return torch.cat(present) if present else None


def _bytes(rows: Rows) -> int:
    return sum(each.numel() * each.element_size() for each in rows if each is not None)
