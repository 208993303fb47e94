"""Draw image tokens one after the other: guidance, temperature, top-k, top-p, one stream of noise an image."""

from __future__ import annotations

from collections.abc import Callable

import torch

from terrasynth.synthesis.generators.hopfield.transformer import HopfieldTransformer


def token_probabilities(logits: torch.Tensor, temperature: float = 1.0, top_k: int = 0,
                        top_p: float = 1.0) -> torch.Tensor:
    """What the next token is drawn from.

    Args:
        logits: float (N, K).
        temperature: > 0; below 1 sharpens.
        top_k: Keep the k most likely tokens, and any as likely as the last of them; 0 keeps all.
        top_p: Keep the fewest most likely tokens that together have at least this probability (Holtzman et al.,
            ICLR 2020); 1 keeps all.

    Returns:
        float32 (N, K), rows sum to 1.
    """
    scaled = logits.float() / temperature
    if 0 < top_k < scaled.shape[-1]:
        least = scaled.topk(top_k, dim=-1).values[:, -1:]
        scaled = scaled.masked_fill(scaled < least, -torch.inf)
    probabilities = scaled.softmax(-1)
    if top_p < 1:
        ordered, order = probabilities.sort(dim=-1, descending=True, stable=True)
        before = ordered.cumsum(-1) - ordered
        kept = ordered.masked_fill(before >= top_p, 0.0)
        probabilities = torch.zeros_like(probabilities).scatter_(-1, order, kept)
        probabilities = probabilities / probabilities.sum(-1, keepdim=True)
    return probabilities


def draw(probabilities: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
    """Inverse transform sampling: float (N, K), float64 uniform (N,) in [0, 1) -> int64 (N,).

    A token of probability 0 is never drawn.
    """
    cumulative = probabilities.double().cumsum(-1)
    target = uniform.to(cumulative)[:, None] * cumulative[:, -1:]
    return torch.searchsorted(cumulative, target, right=True)[:, 0].clamp(max=probabilities.shape[-1] - 1)


@torch.no_grad()
def generate_tokens(
    transformer: HopfieldTransformer,
    text: torch.Tensor,
    which: torch.Tensor,
    uniform: torch.Tensor,
    null_text: torch.Tensor | None = None,
    guidance_scale: float = 1.0,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    use_cache: bool = True,
    on_token: Callable[[], object] = lambda: None,
) -> torch.Tensor:
    """Draw images as tokens.

    Args:
        text: Distinct texts, int64 (U, text_length); each is read once, however many images it has.
        which: Text of each image, int64 (N,).
        uniform: Noise, float64 (N, side**2) in [0, 1).
        null_text: The empty text, int64 (text_length,); needed where `guidance_scale` is above 1.
        guidance_scale: s in null + s (conditional - null), on logits; 1 and below are none.
        use_cache: False computes every token's past anew, as the authors' code does; for measuring.
        on_token: Is called when all images have one token more.

    Returns:
        int64 (N, side**2), on the network's device.

    Raises:
        ValueError: Guidance without `null_text`.
    """
    guided = guidance_scale > 1
    if guided and null_text is None:
        raise ValueError("guidance needs null_text")
    device, n = text.device, len(which)
    rows = torch.cat([text, null_text[None].to(device)]) if guided and null_text is not None else text
    sources = which.to(device)
    if guided:
        sources = torch.cat([sources, sources.new_full((n,), len(text))])
    tokens = torch.zeros(n, transformer.config.side**2, dtype=torch.int64, device=device)

    def choose(logits: torch.Tensor, number: int) -> None:
        if guided:
            conditional, null = logits.float().chunk(2)
            logits = null + guidance_scale * (conditional - null)
        probabilities = token_probabilities(logits, temperature, top_k, top_p)
        tokens[:, number] = draw(probabilities, uniform[:, number])
        on_token()

    twice = 2 if guided else 1
    if not use_cache:
        for number in range(tokens.shape[1]):
            choose(transformer(rows[sources], tokens[:, :number].repeat(twice, 1))[:, -1], number)
        return tokens
    first, prefix = transformer.prefill(rows)
    cache = prefix.select(sources)
    choose(first[sources], 0)
    numbers = torch.arange(tokens.shape[1], device=device)
    for number in range(1, tokens.shape[1]):
        last = tokens[:, number - 1].repeat(twice)
        choose(transformer.step(last, numbers[number - 1 : number], cache, transformer.window(number - 1)), number)
    return tokens
