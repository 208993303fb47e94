"""Sampling from a causal language model so that a row's text depends on its own key, not on its neighbors.

Greedy decoding of logits + Gumbel noise draws from softmax(logits) (Gumbel 1954; Maddison et al., NeurIPS 2014,
arXiv 1411.0030, section 2). Each row has a noise stream of its own, and padding on the left is masked, so what else
is in the batch matters only for rounding.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)
from typing_extensions import override

SMALLEST = float(np.finfo(np.float64).tiny)


class Drawn(NamedTuple):
    """Tokens that a row was continued with, without the end mark, and whether there was one."""

    tokens: list[int]
    ended: bool


class GumbelNoise(LogitsProcessor):
    """Adds standard Gumbel noise to logits, row by row from streams of their own."""

    def __init__(self, keys: Sequence[int]) -> None:
        """Start the streams.

        Args:
            keys: One a row, 0 to 2**128 - 1; the Philox generator takes the whole of it.
        """
        self._streams = [np.random.Generator(np.random.Philox(key=key)) for key in keys]

    @override
    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        """The next step's scores with noise; -inf stays.

        Args:
            input_ids: Not looked at.
            scores: Log-probabilities up to a constant a row, (rows, vocabulary).
        """
        uniform = np.stack([stream.random(scores.shape[-1]) for stream in self._streams])
        noise = -np.log(-np.log(np.maximum(uniform, SMALLEST)))
        return scores + torch.from_numpy(noise).to(scores.dtype).to(scores.device)  # type: ignore[return-value]


def processors(keys: Sequence[int], temperature: float, top_k: int, top_p: float) -> LogitsProcessorList:
    """What turns greedy decoding into sampling, in the order in which `generate` samples.

    Args:
        keys: One a row; see `GumbelNoise`.
        temperature: Divides the logits, > 0.
        top_k: Only so many most likely tokens; 0 for all.
        top_p: Only the most likely tokens that together have this probability; 1 for all.
    """
    chain = LogitsProcessorList()
    if temperature != 1:
        chain.append(TemperatureLogitsWarper(float(temperature)))
    if top_k:
        chain.append(TopKLogitsWarper(top_k))
    if top_p < 1:
        chain.append(TopPLogitsWarper(float(top_p)))
    chain.append(GumbelNoise(keys))
    return chain


def draw(
    model: Any,  # noqa: ANN401 - transformers has no public type of a model that generates
    prompts: Sequence[Sequence[int]],
    chain: LogitsProcessorList,
    max_new_tokens: int,
    ends: Collection[int],
) -> list[Drawn]:
    """Continue every row until its end mark.

    Args:
        model: A causal model of transformers.
        prompts: Token numbers, one row each, none empty.
        max_new_tokens: Where a row ends that has no end mark.
        ends: Tokens that end a row.
    """
    width = max(map(len, prompts))
    padding = min(ends, default=0)
    ids = torch.tensor([[padding] * (width - len(row)) + list(row) for row in prompts])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in prompts])
    config = GenerationConfig(
        do_sample=False, num_beams=1, max_new_tokens=max_new_tokens, pad_token_id=padding,
        eos_token_id=sorted(ends) or None,
    )
    with torch.no_grad():
        out = model.generate(ids.to(model.device), attention_mask=mask.to(model.device), generation_config=config,
                             logits_processor=chain)
    return [_until_end(row[width:], ends) for row in out.tolist()]


def _until_end(tokens: list[int], ends: Collection[int]) -> Drawn:
    for place, token in enumerate(tokens):
        if token in ends:
            return Drawn(tokens[:place], True)
    return Drawn(tokens, False)
