"""A captioner: one projection and a small decoder, trained on the frozen features of an image encoder.

Show, attend and tell (Xu et al., ICML 2015) with a transformer for its decoder, as Cornia et al. (CVPR 2020) have it,
without region features.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import nn
from typing_extensions import override

from terrasynth.eval.metrics.captions import score_captions
from terrasynth.eval.models.caption_network import PAD, SPECIAL, UNKNOWN, CaptionerConfig, CaptionerModel
from terrasynth.eval.models.caption_words import caption_words, encode_words, word_places
from terrasynth.eval.models.captioners import keep_encoder, load_grid_encoder
from terrasynth.synthesis.core.machine import computes_bfloat16
from terrasynth.synthesis.core.real_pictures import opened
from terrasynth.training.data.how_far import HowFar
from terrasynth.training.data.latent_cache import TensorCache, cache_key
from terrasynth.training.data.latent_views import ViewSettings, views_in
from terrasynth.training.data.pictures import random_dihedral
from terrasynth.training.data.views import Pictures
from terrasynth.training.errors import InputError
from terrasynth.training.running.saving import save_model
from terrasynth.training.running.task import Losses, Task

if TYPE_CHECKING:
    from terrasynth.eval.models.captioners import GridEncoder

SHARD = 64
GRID = "grid"


class CaptionerSettings(BaseModel):
    """What the preset `captioner` may set.

    Attributes:
        encoder: What gives the features: "efficientnet-lite0", an embedded name, a folder, or a Hub id of a backbone.
        views: How images are seen in training.
        width: Of the decoder.
        layers: Of the decoder.
        heads: Of its attention; `width` is a multiple.
        hidden: Width of the layers between.
        length: Most words of a caption.
        dropout: Rate at which numbers in the decoder are left out.
        word_dropout: Rate at which the decoder is not told a word that it wrote before.
        smoothing: Share of the probability that is spread over all words.
        captions: Captions of an image in a step, drawn from its own.
        min_count: A word is known if so many captions of `train` have it.
        beams: Captions that are followed at once when it writes.
        length_power: Exponent of the length by which their log-probabilities are divided.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    encoder: str = "efficientnet-lite0"
    views: ViewSettings = ViewSettings(size=224, count=2, min_scale=0.8)
    width: int = Field(default=240, gt=0)
    layers: int = Field(default=2, gt=0)
    heads: int = Field(default=6, gt=0)
    hidden: int = Field(default=480, gt=0)
    length: int = Field(default=30, gt=1)
    dropout: float = Field(default=0.2, ge=0, lt=1)
    word_dropout: float = Field(default=0.05, ge=0, lt=1)
    smoothing: float = Field(default=0.1, ge=0, lt=1)
    captions: int = Field(default=3, gt=0)
    min_count: int = Field(default=5, gt=0)
    beams: int = Field(default=5, gt=0)
    length_power: float = Field(default=0.7, ge=0)


class CaptionerTask(Task):
    """Cross-entropy of the next word; the highest CIDEr on `val` is kept, of captions that one beam writes.

    Args:
        splits: Images of "train" and "val".
        sources: Names of the data sets, by `Pair.source`.
        cache: Folder for features.
    """

    def __init__(self, splits: dict[str, Pictures], settings: CaptionerSettings, device: torch.device,
                 sources: Sequence[str], cache: Path) -> None:
        if settings.width % settings.heads:
            raise InputError(f"model.width {settings.width} is no multiple of its {settings.heads} heads")
        self.splits, self.settings, self.device, self.size = splits, settings, device, settings.views.size
        precision = "bfloat16" if device.type == "cpu" and computes_bfloat16() else "float32"
        self._encoder = encoder = load_grid_encoder(settings.encoder, str(device), precision)
        self._grids = {name: GridCache(pictures, encoder, settings.views, name != "train", cache, precision)
                       for name, pictures in splits.items()}
        captions = [[caption_words(text) for text in own] for own in splits["train"].captions]
        grid = self._grids["val"].read(0, 0)
        config = CaptionerConfig(
            settings.encoder, encoder.identity(), grid.shape[1], grid.shape[0], settings.width, settings.layers,
            settings.heads, settings.hidden, settings.length, settings.dropout, _styles(sources),
            vocabulary((words for own in captions for words in own), settings.min_count), settings.beams,
            settings.length_power)
        model: Any = CaptionerModel(config)  # transformers' own wrapper types only a device object
        self.model = model.to(device)
        self._places = word_places(config)
        self._texts = [[self._tokens(words, pair.source) for words in own]
                       for own, pair in zip(captions, splits["train"].pairs, strict=True)]

    def _tokens(self, words: Sequence[str], source: int) -> torch.Tensor:
        return torch.tensor(encode_words(words, self._places, source, self.settings.length))

    @override
    def networks(self) -> dict[str, nn.Module]:
        return {"captioner": self.model}

    @override
    def batch(self, rows: torch.Tensor, generator: torch.Generator) -> dict[str, torch.Tensor]:
        views = torch.randint(self.settings.views.count, (len(rows),), generator=generator).tolist()
        grids = torch.stack([self._grids["train"].read(row, view) for row, view in zip(rows.tolist(), views,
                                                                                      strict=True)])
        grids = turned(grids, generator)
        texts = [self._texts[row][number] for row in rows.tolist()
                 for number in _some(len(self._texts[row]), self.settings.captions, generator)]
        tokens = nn.utils.rnn.pad_sequence(texts, batch_first=True, padding_value=PAD)
        told = tokens[:, :-1].clone()
        hidden = torch.rand(told.shape, generator=generator) < self.settings.word_dropout
        told[hidden & (told >= SPECIAL + len(self.model.config.styles))] = UNKNOWN
        return {name: value.to(self.device) for name, value in
                (("grid", grids.float()), ("told", told), ("wanted", tokens[:, 1:]))}

    @override
    def losses(self, player: str, batch: dict[str, torch.Tensor], progress: float) -> Losses:
        self.model.train()
        logits = self.model(batch["grid"], batch["told"]).float()
        return {"cross_entropy": F.cross_entropy(logits.flatten(0, 1), batch["wanted"].flatten(), ignore_index=PAD,
                                                 label_smoothing=self.settings.smoothing)}

    @torch.no_grad()
    @override
    def validate(self) -> dict[str, float]:
        """CIDEr and BLEU-4 on `val`, of each data set by itself; the score is the mean of CIDEr over all images."""
        self.model.eval()
        pairs, names = self.splits["val"].pairs, self.model.config.styles
        found: dict[str, float] = {}
        total = 0.0
        for source, name in enumerate(names):
            rows = [row for row, pair in enumerate(pairs) if pair.source == source]
            if not rows:
                continue
            said = [self._said(row) for start in range(0, len(rows), SHARD)
                    for row in self._write(rows[start : start + SHARD], source)]
            scores = score_captions(said, [pairs[row].captions for row in rows])
            total += float(scores.cider.sum())
            found |= {f"cider_{name}": float(scores.cider.mean()), f"bleu4_{name}": scores.bleu[3]}
        return {"score": total / len(pairs), "cider": total / len(pairs), **found, "n": float(len(pairs))}

    def _write(self, rows: Sequence[int], source: int) -> list[list[int]]:
        grids = torch.stack([self._grids["val"].read(row, 0) for row in rows])
        written: list[list[int]] = self.model.write(grids.float().to(self.device), source, beams=1)
        return written

    def _said(self, tokens: Sequence[int]) -> str:
        first = SPECIAL + len(self.model.config.styles)
        return " ".join(self.model.config.words[token - first] for token in tokens)

    @override
    def save(self, folder: Path) -> None:
        self.model.config.encoder = keep_encoder(self.settings.encoder, self._encoder, folder)
        save_model(self.model, folder)


class GridCache:
    """Features of the places of every view of N images, made once and kept on disk, float16.

    Args:
        pictures: The images of one split.
        upright: Only the whole image, as it is judged.
        folder: Where features are kept; a folder of its own is made in it for each combination of what decides them.
        precision: Of the encoder's products.
    """

    def __init__(self, pictures: Pictures, encoder: GridEncoder, views: ViewSettings, upright: bool, folder: Path,
                 precision: str) -> None:
        seen = views.model_copy(update={"count": 1}) if upright else views
        self._pictures, self._encoder, self._views = pictures, encoder, seen
        key = cache_key(pixels=pictures.digest, views=seen.model_dump(), encoder=encoder.identity(),
                        precision=precision)
        self._cache = TensorCache(folder / f"grids-{key}", len(pictures), SHARD)
        self._far = HowFar("looking at {} images, " + f"{seen.count} view{'s' * (seen.count > 1)} each", "looked at")
        self._cache.make(self._encode, self._far)

    def _encode(self, rows: range) -> dict[str, torch.Tensor]:
        grids = []
        for row in rows:
            image = opened(self._pictures.pairs[row])
            views = views_in(row, min(image.size), self._views)
            pixels = np.stack([view.of(image, self._views.size) for view in views])
            grids.append(torch.from_numpy(self._encoder.grid(pixels)).half())
            self._far.add(1)
        return {GRID: torch.stack(grids)}

    def read(self, row: int, view: int) -> torch.Tensor:
        """One view's features, float16 (P, F)."""
        return self._cache.read(row, view)[GRID]


def turned(grids: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """A random flip or quarter turn of each grid (N, P, F) of a square of places; any other is as it was.

    What a network sees of a turned image is nearly what it saw of the image, turned.
    """
    side = math.isqrt(grids.shape[1])
    if side * side != grids.shape[1]:
        return grids
    square = grids.transpose(1, 2).unflatten(2, (side, side))
    return random_dihedral(square, generator).flatten(2).transpose(1, 2)


def vocabulary(captions: Iterable[Sequence[str]], min_count: int) -> list[str]:
    """The words that so many captions have, those of most captions first.

    Raises:
        InputError: There is none.
    """
    counts = Counter(word for words in captions for word in set(words))
    known = sorted((-count, word) for word, count in counts.items() if count >= min_count)
    if not known:
        raise InputError(f"no word is in {min_count} captions of train; give more data, or a smaller model.min_count")
    return [word for _, word in known]


def _styles(sources: Sequence[str]) -> list[str]:
    """Names of data sets, told apart where two have the same."""
    names: list[str] = []
    for source in sources:
        name, number = source, 2
        while name in names:
            name, number = f"{source}-{number}", number + 1
        names.append(name)
    return names


def _some(count: int, wanted: int, generator: torch.Generator) -> list[int]:
    """`wanted` of `count` numbers, each as often as it can be avoided to repeat it."""
    picked: list[int] = []
    while len(picked) < wanted:
        picked += torch.randperm(count, generator=generator).tolist()
    return picked[:wanted]
