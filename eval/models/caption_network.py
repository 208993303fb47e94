"""A small network that writes a caption from the grid of features of a frozen image encoder, as a `transformers` model.

One trained projection takes the features to the width of the decoder (Vaswani et al., NeurIPS 2017; normalization
before each part), which looks at all places of the grid and at their mean. Its vocabulary is that of the captions it
was trained on. A *style* is the first token: one for each data set it learned from, whose captions it then writes like.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel
from typing_extensions import override

PAD, END, UNKNOWN = 0, 1, 2
SPECIAL = 3
"""Tokens before those of the styles, which come before the words."""
KeysValues = tuple[torch.Tensor, torch.Tensor]


class CaptionerConfig(PreTrainedConfig):
    """Configuration of a captioner.

    Attributes:
        encoder: Reference of the image encoder, frozen; "encoder" for the copy in the captioner's own folder.
        encoder_identity: What it was when the captioner was trained.
        features: Width of the grid's features.
        places: Most places of a grid.
        width: Of the decoder.
        layers: Of the decoder.
        heads: Of the attention.
        hidden: Width of the layers between.
        length: Most words of a caption.
        dropout: Rate in training.
        styles: Names of the data sets that it learned from; the first is what it writes like unasked.
        words: Its words.
        beams: Captions that are followed at once when it writes.
        length_power: Exponent of the length by which their log-probabilities are divided.
    """

    model_type = "grid-captioner"

    def __init__(self, encoder: str = "efficientnet-lite0", encoder_identity: dict[str, Any] | None = None,
                 features: int = 1280, places: int = 49, width: int = 240, layers: int = 2, heads: int = 6,
                 hidden: int = 480, length: int = 30, dropout: float = 0.2, styles: Sequence[str] = ("captions",),
                 words: Sequence[str] = (), beams: int = 5, length_power: float = 0.7,
                 **settings: Any) -> None:  # noqa: ANN401 - whatever transformers keeps in a configuration
        self.encoder, self.encoder_identity = encoder, dict(encoder_identity or {})
        self.features, self.places, self.width, self.layers = features, places, width, layers
        self.heads, self.hidden, self.length, self.dropout = heads, hidden, length, dropout
        self.styles, self.words, self.beams, self.length_power = list(styles), list(words), beams, length_power
        super().__init__(**settings)

    @property
    def tokens(self) -> int:
        """Size of the vocabulary."""
        return SPECIAL + len(self.styles) + len(self.words)


class _Attention(nn.Module):
    """Attention with several heads, its keys and values apart, so that they can be kept."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.rate = heads, dropout
        self.ask, self.read, self.out = nn.Linear(width, width), nn.Linear(width, 2 * width), nn.Linear(width, width)

    def keys_values(self, x: torch.Tensor) -> KeysValues:
        keys, values = self.read(x).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return keys, values

    @override
    def forward(self, x: torch.Tensor, known: KeysValues, causal: bool = False) -> torch.Tensor:
        asked = self.ask(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        found = F.scaled_dot_product_attention(asked, *known, dropout_p=self.rate if self.training else 0.0,
                                               is_causal=causal)
        mixed: torch.Tensor = self.out(found.transpose(1, 2).flatten(2))
        return mixed


class _Block(nn.Module):
    def __init__(self, config: CaptionerConfig) -> None:
        super().__init__()
        width = config.width
        self.before = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.itself = _Attention(width, config.heads, config.dropout)
        self.image = _Attention(width, config.heads, config.dropout)
        self.wide, self.narrow = nn.Linear(width, config.hidden), nn.Linear(config.hidden, width)
        self.drop = nn.Dropout(config.dropout)

    @override
    def forward(self, x: torch.Tensor, image: KeysValues, past: KeysValues | None = None
                ) -> tuple[torch.Tensor, KeysValues]:
        """One layer on tokens (B, T, W), all of them at once or, with what is known of those before, the next."""
        seen = self.before[0](x)
        known = self.itself.keys_values(seen)
        if past is not None:
            known = torch.cat([past[0], known[0]], 2), torch.cat([past[1], known[1]], 2)
        x = x + self.drop(self.itself(seen, known, causal=past is None))
        x = x + self.drop(self.image(self.before[1](x), image))
        return x + self.drop(self.narrow(self.drop(F.gelu(self.wide(self.before[2](x)))))), known


class CaptionerModel(PreTrainedModel):
    """The trained part of a captioner: projection and decoder."""

    config_class = CaptionerConfig
    base_model_prefix = "captioner"
    main_input_name = "grid"

    def __init__(self, config: CaptionerConfig) -> None:
        super().__init__(config)
        self.config: CaptionerConfig = config
        self.project = nn.Linear(config.features, config.width)
        self.project_norm = nn.LayerNorm(config.width)
        self.place = nn.Parameter(torch.zeros(config.places + 1, config.width))
        self.embed = nn.Embedding(config.tokens, config.width)
        self.position = nn.Embedding(config.length + 1, config.width)
        self.blocks = nn.ModuleList(_Block(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)
        self.bias = nn.Parameter(torch.zeros(config.tokens))
        self.drop = nn.Dropout(config.dropout)
        self.post_init()  # type: ignore[no-untyped-call] # transformers' own

    @override
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=0.05)
        elif isinstance(module, nn.LayerNorm):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)

    def look(self, grid: torch.Tensor) -> list[KeysValues]:
        """What each layer reads of images: keys and values of a grid float (N, P, F) and of its mean."""
        whole = torch.cat([grid.mean(1, keepdim=True), grid], 1)
        seen = self.drop(self.project_norm(self.project(whole)) + self.place[: whole.shape[1]])
        return [block.image.keys_values(seen) for block in self.blocks]  # type: ignore[operator, union-attr]

    @override
    def forward(self, grid: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """Logits of the token after each.

        Args:
            grid: Float (N, P, F).
            tokens: int64 (N * C, T), C texts of each image one after the other, each from its style on.

        Returns:
            Float (N * C, T, V).
        """
        each = len(tokens) // len(grid)
        image = [(keys.repeat_interleave(each, 0), values.repeat_interleave(each, 0)) for keys, values in
                 self.look(grid)]
        return self._decode(tokens, image, None, 0)[0]

    def _decode(self, tokens: torch.Tensor, image: list[KeysValues], past: list[KeysValues] | None, first: int
                ) -> tuple[torch.Tensor, list[KeysValues]]:
        places = torch.arange(first, first + tokens.shape[1], device=tokens.device)
        x, known = self.drop(self.embed(tokens) + self.position(places)), []
        for number, block in enumerate(self.blocks):
            x, kept = block(x, image[number], past[number] if past else None)
            known.append(kept)
        return F.linear(self.norm(x), self.embed.weight, self.bias), known

    @torch.no_grad()
    def write(self, grid: torch.Tensor, style: int = 0, beams: int | None = None, length_power: float | None = None
              ) -> list[list[int]]:
        """The most probable captions that a beam search finds.

        Args:
            grid: Float (N, P, F).
            style: Number of the style.
            beams: In place of the configuration's; 1 takes the most probable word each time.
            length_power: In place of the configuration's.

        Returns:
            Of each image the tokens of its caption, without style and end.
        """
        config, count = self.config, beams or self.config.beams
        power = config.length_power if length_power is None else length_power
        images, device = len(grid), grid.device
        image = [(keys.repeat_interleave(count, 0), values.repeat_interleave(count, 0))
                 for keys, values in self.look(grid)]
        never = torch.zeros(config.tokens, device=device)
        never[[PAD, UNKNOWN, *range(SPECIAL, SPECIAL + len(config.styles))]] = -torch.inf
        stays = torch.full((config.tokens,), -torch.inf, device=device)
        stays[END] = 0.0  # an ended caption stays as it is
        tokens = torch.full((images * count, 1), SPECIAL + style, device=device)
        score = torch.full((images, count), -torch.inf, device=device)
        score[:, 0] = 0.0
        length = torch.zeros((images, count), device=device)
        ended, past = torch.zeros((images * count,), dtype=torch.bool, device=device), None
        for step in range(config.length):
            logits, past = self._decode(tokens[:, -1:], image, past, step) if past else \
                self._decode(tokens, image, None, 0)
            chances = (logits[:, -1].float() + never).log_softmax(-1)
            if step == 0:
                chances[:, END] = -torch.inf  # no caption is empty
            chances = torch.where(ended[:, None], stays, chances).view(images, count, -1)
            score, chosen = (score[..., None] + chances).flatten(1).topk(count)
            beam, token = chosen // config.tokens, chosen % config.tokens
            rows = (beam + torch.arange(images, device=device)[:, None] * count).flatten()
            tokens = torch.cat([tokens[rows], token.view(-1, 1)], 1)
            length = length.gather(1, beam) + (~ended[rows]).view(images, count)
            past = [(keys[rows], values[rows]) for keys, values in past]
            ended = ended[rows] | (token.flatten() == END)
            if bool(ended.all()):
                break
        best = (score / length.clamp(min=1) ** power).argmax(1).tolist()
        found = tokens.view(images, count, -1)
        return [[token for token in found[row, which, 1:].tolist() if token > UNKNOWN]
                for row, which in enumerate(best)]

    @torch.no_grad()
    def log_likelihood(self, grid: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """Mean log-probability of a token of each text, its end included; float (N,).

        Args:
            grid: Float (N, P, F).
            tokens: int64 (N, T) from the style to the end, then `PAD`.
        """
        chances = self(grid, tokens[:, :-1]).float().log_softmax(-1)
        wanted = tokens[:, 1:]
        counts = wanted != PAD
        found = chances.gather(-1, wanted[..., None])[..., 0]
        mean: torch.Tensor = (found * counts).sum(1) / counts.sum(1)
        return mean


AutoConfig.register(CaptionerConfig.model_type, CaptionerConfig)
