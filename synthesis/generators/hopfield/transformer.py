"""The network of Txt2Img-MHN (Xu et al., IEEE TIP 2023, section III): text and image tokens in, image tokens out.

Blocks of [Hopfield prototype lookup, causal self-attention], each pre-normalized and scaled (LayerScale, Touvron et
al., ICCV 2021), and a lookup before the token head. With a key-value cache, whose shapes never change, one step costs
one token.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, cast

import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import nn
from typing_extensions import override

from terrasynth.synthesis.generators.hopfield.lookup import HopfieldLookup

EMBEDDING_STD = 0.3
WINDOW = 8  # reading the cache is most of a step's time, so what is surely empty is left out
ROTARY_BASE = 100.0  # positions span some tens, not thousands


@dataclass
class KeyValueCache:
    """What attention has to remember of the tokens so far.

    Attributes:
        keys: float (blocks, N, key_value_heads, text_length + side**2 - 1, head_width); positions not yet seen are
            zero.
    """

    keys: torch.Tensor
    values: torch.Tensor

    def select(self, rows: torch.Tensor) -> KeyValueCache:
        """A cache whose sequence i continues sequence `rows[i]` of this one; int64 (M,)."""
        return KeyValueCache(self.keys[:, rows], self.values[:, rows])


class CausalAttention(nn.Module):
    """Multi-head causal self-attention (Vaswani et al., NeurIPS 2017).

    Heads may share keys and values in groups (Ainslie et al., EMNLP 2023; one group: Shazeer, 2019), so that a
    key-value cache is that much smaller and faster to read.

    Args:
        width: D.
        key_value_heads: How many keys and values of their own there are; divides `heads`.
        own_values: Project values of their own; False reads the keys out, as the authors' code of Txt2Img-MHN does.
    """

    def __init__(self, width: int, heads: int, head_width: int, key_value_heads: int, own_values: bool,
                 dropout: float) -> None:
        super().__init__()
        self.head_width, self.dropout = head_width, dropout
        self.parts = [heads, key_value_heads, key_value_heads] if own_values else [heads, key_value_heads]
        self.project = nn.Linear(width, sum(self.parts) * head_width, bias=False)
        self.out = nn.Linear(heads * head_width, width)

    def qkv(self, x: torch.Tensor, rotary: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Of x (N, T, D): queries float (N, heads, T, W), keys and values (N, key_value_heads, T, W)."""
        n, length, _ = x.shape
        every = self.project(x).view(n, length, -1, self.head_width).transpose(1, 2)
        parts = every.split(self.parts, dim=1)
        query, key, value = parts[0], parts[1], parts[-1]
        return (query, key, value) if rotary is None else (rotate(query, rotary), rotate(key, rotary), value)

    def merge(self, found: torch.Tensor) -> torch.Tensor:
        """(N, heads, T, W) -> (N, T, D)."""
        return F.dropout(self.out(found.transpose(1, 2).flatten(2)), self.dropout, self.training)


def causal_attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """softmax(Q K^T / sqrt(W), causal) V, float (N, heads, T, W); keys and values may have fewer heads, shared."""
    heads, length = query.shape[1:3]
    group = heads // key.shape[1]
    if query.device.type != "cpu" or not torch.is_grad_enabled():
        key, value = (each.repeat_interleave(group, 1) if group > 1 else each for each in (key, value))
        return F.scaled_dot_product_attention(query, key, value, is_causal=True)
    # The backward pass of the fused kernel is slower on a CPU than these products.
    future = torch.full((length, length), -torch.inf, dtype=query.dtype, device=query.device).triu(1)
    scaled = (query * query.shape[-1] ** -0.5).unflatten(1, (-1, group)).flatten(2, 3)
    scores = torch.matmul(scaled, key.transpose(-1, -2)).unflatten(2, (group, length)) + future
    found = torch.matmul(scores.softmax(-1).flatten(2, 3), value)
    return torch.unflatten(found, 2, (group, length)).flatten(1, 2)


class Block(nn.Module):
    """x + scale * lookup(norm(x)), then x + scale * attention(norm(x))."""

    def __init__(self, lookup: HopfieldLookup, attention: CausalAttention, width: int, dropout: float) -> None:
        super().__init__()
        self.lookup, self.attention, self.dropout = lookup, attention, dropout
        self.lookup_norm, self.attention_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.lookup_scale = nn.Parameter(torch.full((width,), 0.1))
        self.attention_scale = nn.Parameter(torch.full((width,), 0.1))

    def recall(self, x: torch.Tensor) -> torch.Tensor:
        """The first half: the prototypes that answer are added."""
        found = F.dropout(self.lookup(self.lookup_norm(x)), self.dropout, self.training)
        return x + self.lookup_scale * found

    @override
    def forward(self, x: torch.Tensor, rotary: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """X (N, T, D) -> the same, with keys and values (N, key_value_heads, T, head_width)."""
        x = self.recall(x)
        query, key, value = self.attention.qkv(self.attention_norm(x), rotary)
        found = causal_attention(query, key, value)
        return x + self.attention_scale * self.attention.merge(found), key, value

    def step(self, x: torch.Tensor, rotary: torch.Tensor | None, keys: torch.Tensor, values: torch.Tensor,
             position: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        """One token x (N, 1, D); writes its key and value at `position` of the cache, and attends where `seen` is."""
        x = self.recall(x)
        query, key, value = self.attention.qkv(self.attention_norm(x), rotary)
        keys.index_copy_(2, position, key.to(keys))
        values.index_copy_(2, position, value.to(values))
        window = seen.shape[-1]
        keys, values = keys[:, :, :window].to(query), values[:, :, :window].to(query)
        # The heads that share a key are one product's rows, so that each key is read once.
        grouped = query.view(len(query), keys.shape[1], -1, query.shape[-1])
        found = F.scaled_dot_product_attention(grouped, keys, values, attn_mask=seen).view_as(query)
        return x + self.attention_scale * self.attention.merge(found)


class HopfieldTransformer(ModelMixin, ConfigMixin):
    """Next image token, given a text and the image tokens so far.

    Args:
        text_vocabulary: Number of text tokens.
        codes: K, number of image tokens.
        text_length: Positions of the text, padding included.
        side: Image tokens a row and a column.
        patch: Side in pixels of what one image token stands for.
        width: D.
        key_value_heads: Keys and values of their own, each shared by heads / key_value_heads heads; None for one a
            head, as the paper has it.
        beta: Inverse temperature at the start; None for 1 / sqrt(width).
        learn_beta: Let training move it, for each lookup by itself.
        separate_values: Lookups read values of their own instead of the patterns.
        attention_values: Attention reads values of its own instead of the keys.
        positions: "axial" adds learned row and column embeddings; "rotary" turns queries and keys by row and column
            (Su et al., 2021, in two dimensions).
        dropout: After lookups and attention, in training.
        predict_text: The head knows text tokens too, for a text loss.
    """

    _supports_gradient_checkpointing = False

    @register_to_config
    def __init__(
        self,
        text_vocabulary: int,
        codes: int,
        text_length: int = 40,
        side: int = 16,
        patch: int = 8,
        width: int = 512,
        blocks: int = 10,
        heads: int = 8,
        head_width: int = 48,
        prototypes: int = 1000,
        beta: float | None = None,
        learn_beta: bool = False,
        retrieval_steps: int = 1,
        separate_values: bool = True,
        attention_values: bool = False,
        positions: Literal["axial", "rotary"] = "axial",
        dropout: float = 0.1,
        predict_text: bool = False,
        key_value_heads: int | None = None,
    ) -> None:
        super().__init__()
        shared = heads if key_value_heads is None else key_value_heads
        if shared < 1 or heads % shared:
            raise ValueError(f"key_value_heads={key_value_heads} does not divide heads={heads}")
        if positions not in ("axial", "rotary"):
            raise ValueError(f"positions={positions!r} is unknown; use axial or rotary")
        if positions == "rotary" and head_width % 4:
            raise ValueError(f"head_width={head_width}: rotary positions need a multiple of 4")
        self.text_embedding = nn.Embedding(text_vocabulary, width)
        self.image_embedding = nn.Embedding(codes, width)
        self.text_position = nn.Embedding(text_length, width)
        self.row_position = nn.Embedding(side, width)
        self.column_position = nn.Embedding(side, width)
        for each in (self.text_embedding, self.image_embedding, self.text_position, self.row_position,
                     self.column_position):
            nn.init.normal_(each.weight, std=EMBEDDING_STD)

        def lookup(out_width: int | None, separate: bool) -> HopfieldLookup:
            return HopfieldLookup(width, prototypes, out_width, beta, learn_beta, retrieval_steps, separate)

        self.layers = nn.ModuleList(
            Block(lookup(None, separate_values),
                  CausalAttention(width, heads, head_width, shared, attention_values, dropout), width, dropout)
            for _ in range(blocks)
        )
        tokens = codes + (text_vocabulary if predict_text else 0)
        self.norm = nn.LayerNorm(width)
        self.head = lookup(tokens, True)
        self.head_norm = nn.LayerNorm(tokens)
        self.register_buffer("rotary", rotary_table(text_length, side, head_width), persistent=False)

    rotary: torch.Tensor

    @torch.no_grad()
    def embed_codebook(self, codebook: torch.Tensor, generator: torch.Generator) -> None:
        """Start the image embedding where like codes look alike: random Fourier features (Rahimi & Recht, 2007).

        Args:
            codebook: What the image tokens stand for, float (K, C).
            generator: CPU generator.
        """
        scaled = (codebook - codebook.mean(0)) / codebook.std()
        width = self.config.width
        directions = torch.randn(codebook.shape[1], width, generator=generator)
        phases = 2 * math.pi * torch.rand(width, generator=generator)
        features = 2**0.5 * torch.cos(scaled.cpu() @ directions + phases)
        self.image_embedding.weight.copy_(EMBEDDING_STD * features)

    @property
    def length(self) -> int:
        """Positions that attention sees: the text, and every image token but the last."""
        return int(self.config.text_length + self.config.side**2 - 1)

    def embed_text(self, text: torch.Tensor) -> torch.Tensor:
        """int64 (N, text_length) -> float (N, text_length, D)."""
        embedded: torch.Tensor = self.text_embedding(text) + self.text_position.weight
        return embedded

    def embed_image(self, tokens: torch.Tensor, first: torch.Tensor | int = 0) -> torch.Tensor:
        """int64 (N, n), of which the first is image token number `first` -> float (N, n, D)."""
        where = torch.arange(tokens.shape[1], device=tokens.device) + first
        side = self.config.side
        embedded: torch.Tensor = self.image_embedding(tokens)
        if self.config.positions == "axial":
            embedded = embedded + self.row_position(where // side) + self.column_position(where % side)
        return embedded

    @override
    def forward(self, text: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """Logits of every image token that follows the ones given, without a cache.

        Args:
            text: int64 (N, text_length).
            tokens: int64 (N, n), the first n image tokens, 0 <= n < side**2.

        Returns:
            float (N, n + 1, K): position i scores image token i given the text and the tokens before it.
        """
        return self.image_logits(self.hidden(text, tokens)[:, self.config.text_length - 1 :])

    def hidden(self, text: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """What the head reads: float (N, text_length + n, D) for int64 (N, text_length) and (N, n)."""
        x = torch.cat([self.embed_text(text), self.embed_image(tokens)], dim=1)
        rotary = self._rotary(slice(0, x.shape[1]))
        for block in self._stack():
            x, _, _ = block(x, rotary)
        return x

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Float (..., D) -> (..., K), or (..., K + text_vocabulary) with `predict_text`, image tokens first."""
        scores: torch.Tensor = self.head_norm(self.head(self.norm(hidden)))
        return scores

    def image_logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Float (..., D) -> (..., K)."""
        return self.logits(hidden)[..., : self.config.codes]

    def prefill(self, text: torch.Tensor) -> tuple[torch.Tensor, KeyValueCache]:
        """Read the text once.

        Args:
            text: int64 (N, text_length).

        Returns:
            Logits of the first image token, float (N, K), and the cache to go on from.
        """
        x = self.embed_text(text)
        n, length, _ = x.shape
        rotary = self._rotary(slice(0, length))
        shared = self.config.key_value_heads or self.config.heads
        shape = (len(self.layers), n, shared, self.length, self.config.head_width)
        keys, values = None, None
        for number, block in enumerate(self._stack()):
            x, key, value = block(x, rotary)
            if keys is None or values is None:  # in the precision that attention works in, under autocast too
                keys, values = x.new_zeros(shape, dtype=key.dtype), x.new_zeros(shape, dtype=value.dtype)
            keys[number, :, :, :length], values[number, :, :, :length] = key, value
        if keys is None or values is None:
            raise ValueError("the network has no blocks")
        return self.image_logits(x[:, -1]), KeyValueCache(keys, values)

    def window(self, number: int) -> int:
        """Positions of the cache that the step of image token `number` has to read, in full strides of `WINDOW`."""
        seen = int(self.config.text_length) + number + 1
        return min(self.length, -(-seen // WINDOW) * WINDOW)

    def step(self, token: torch.Tensor, number: torch.Tensor, cache: KeyValueCache,
             window: int | None = None) -> torch.Tensor:
        """Take one more image token in; no shape depends on which but by `window`, so that a compiled step serves many.

        Args:
            token: int64 (N,), image token number `number`.
            number: int64 (1,), 0 .. side**2 - 2.
            cache: Of the tokens before; changed in place.
            window: How many positions of the cache are read, at least text_length + number + 1; None for all.

        Returns:
            Logits of the next image token, float (N, K).
        """
        position = number + self.config.text_length
        x = self.embed_image(token[:, None], number)
        seen = (torch.arange(window or self.length, device=token.device) <= position)[None, None, None]
        rotary = self._rotary(position)
        for block, keys, values in zip(self._stack(), cache.keys.unbind(), cache.values.unbind(), strict=True):
            x = block.step(x, rotary, keys, values, position, seen)
        return self.image_logits(x[:, 0])

    def _stack(self) -> Iterable[Block]:
        return cast("Iterable[Block]", self.layers)

    def _rotary(self, where: slice | torch.Tensor) -> torch.Tensor | None:
        return self.rotary[:, where] if self.config.positions == "rotary" else None


def rotary_table(text_length: int, side: int, head_width: int) -> torch.Tensor:
    """Cosines and sines by position, float (2, text_length + side**2, head_width / 2).

    The first half of the angles follow the row, the second the column. Text token t stands at row and column
    t - text_length, before the image.
    """
    quarter = max(1, head_width // 4)
    frequencies = ROTARY_BASE ** (-torch.arange(quarter) / quarter)
    text = torch.arange(text_length) - text_length
    image = torch.arange(side * side)
    rows, columns = torch.cat([text, image // side]), torch.cat([text, image % side])
    angles = torch.cat([rows[:, None] * frequencies, columns[:, None] * frequencies], dim=1)[:, : head_width // 2]
    return torch.stack([angles.cos(), angles.sin()])


def rotate(x: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
    """Turn pairs (i, i + half) of the last axis: x (N, heads, T, W), table (2, T, W / 2)."""
    cos, sin = table.to(x)
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)


# Pipelines that were saved before `terrasynth` was the one name have this module in their index under its old name, and
# diffusers imports what an index names. It is the same module under both.
sys.modules.setdefault("synthesis.hopfield_transformer", sys.modules[__name__])
