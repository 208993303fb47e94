"""What the prototypes of a Hopfield generator stand for, measured on images that it draws itself.

Every `HopfieldLookup` answers each position of a text and its image with weights over its prototypes. Txt2Img-MHN
(Xu et al., IEEE TIP 2023) holds that prototypes stand for concepts that texts and images share. Here the network
reads the prompts, and the tokens that it drew for them, once more, and what each prototype answers to is counted.

The position that *reads* image token i *predicts* token i + 1, and has seen the text and the tokens up to i. Words are
read before any image token. Start, end and padding marks and the last image token, which nothing is predicted from,
are left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.hooks import RemovableHandle

from terrasynth.synthesis.generators.hopfield.lookup import HopfieldLookup
from terrasynth.synthesis.generators.hopfield.pipeline import Txt2ImgMHNPipeline
from terrasynth.synthesis.generators.hopfield.transformer import HopfieldTransformer
from terrasynth.synthesis.studies.prototypes.counters import Groups, LookupCounter, LookupFigures

LEAST_WORDS = 3  # a word that was read less often has no mean to speak of
WORD_END = "</w>"


@dataclass(frozen=True)
class Word:
    """A token of a text that is part of a word.

    Attributes:
        picture: Number of the first image of this text; a text is counted once.
        position: Of the token in the text.
        word: The word that it is a part of.
    """

    picture: int
    position: int
    piece: str
    word: str


@dataclass(frozen=True)
class Inspection:
    """What the network read, and what its lookups answered.

    Attributes:
        seeds: One an image.
        guidance: Scale that the images were drawn with.
        shuffle_seed: Decides the shuffles.
        tokens: The images, int64 (N, side, side), on the CPU.
        words: In the order of reading.
        lookups: The blocks' in order, then the head's.
    """

    prompts: tuple[str, ...]
    labels: tuple[str, ...]
    seeds: tuple[int, ...]
    guidance: float
    shuffle_seed: int
    tokens: torch.Tensor
    words: tuple[Word, ...]
    lookups: tuple[LookupFigures, ...]


def inspect_prototypes(
    pipeline: Txt2ImgMHNPipeline,
    prompts: Sequence[str],
    labels: Sequence[str],
    seeds: Sequence[int],
    guidance: float = 3.0,
    shuffle_seed: int = 0,
    keep: int = 6,
    batch: int = 32,
) -> Inspection:
    """Draw images, read them once, and count what each prototype answers to.

    Memory grows with the lookups and with the images' tokens, not with the answers.

    Args:
        prompts: N >= 1 texts, one an image.
        seeds: N seeds, one an image.
        guidance: Scale to draw with; the reading is that of the conditional network.
        shuffle_seed: Decides the shuffles that selectivity is compared with.
        keep: Largest answers to remember of each prototype.
        batch: Images at once; changes no figure beyond rounding.

    Raises:
        ValueError: There is no prompt, or the lengths differ.
    """
    if not prompts or not len(prompts) == len(labels) == len(seeds):
        raise ValueError(
            f"{len(prompts)} prompts, {len(labels)} labels and {len(seeds)} seeds: one of each an image is needed"
        )
    tokens = draw_tokens(pipeline, prompts, seeds, guidance, batch)
    text = pipeline.encode_prompt(prompts)
    words = read_words(pipeline, prompts, text)
    shuffling = torch.Generator().manual_seed(shuffle_seed)
    classes, vocabulary = Groups(labels, 1, shuffling), Groups([each.word for each in words], LEAST_WORDS, shuffling)
    places = torch.tensor([(each.picture, each.position) for each in words], dtype=torch.int64).view(-1, 2)
    network = pipeline.transformer
    counters = {
        name: LookupCounter(lookup, network.config.side**2 - 1, classes, vocabulary, places, keep)
        for name, lookup in lookups_of(network).items()
    }
    with torch.no_grad(), _hooks(network, counters):
        for first in range(0, len(prompts), batch):
            for counter in counters.values():
                counter.first = first
            part = slice(first, first + batch)
            network(text[part], tokens[part].flatten(1)[:, :-1].to(text.device))
    return Inspection(
        tuple(prompts), tuple(labels), tuple(seeds), guidance, shuffle_seed, tokens, words,
        tuple(counter.figures(name) for name, counter in counters.items()),
    )


@dataclass(frozen=True)
class Agreement:
    """Whether prototypes stand for one thing in texts and in images.

    Attributes:
        n: Prototypes that are alive and selective for a class.
        share: Mean share of the texts of its favored class that say a prototype's favored word.
        chance: The same with the favored words dealt out over these prototypes at random, in expectation.
    """

    n: int
    share: float
    chance: float


def agreement(inspection: Inspection, lookup: LookupFigures) -> Agreement | None:
    """Compare what prototypes favor among words and among classes; None where there is nothing to compare."""
    chosen = lookup.alive & lookup.classes.selective
    if lookup.words is None or not chosen.any():
        return None
    rows = {name: number for number, name in enumerate(lookup.classes.names)}
    columns = {name: number for number, name in enumerate(lookup.words.names)}
    said = np.zeros((len(rows), len(columns)))
    for row, column in {(each.picture, each.word) for each in inspection.words if each.word in columns}:
        said[rows[inspection.labels[row]], columns[column]] += 1
    first = dict(reversed(list(zip(inspection.prompts, inspection.labels, strict=True))))
    texts = Counter(first.values())
    said /= np.array([max(1, texts[name]) for name in rows])[:, None]
    classes, words = lookup.classes.favourite[chosen], lookup.words.favourite[chosen]
    return Agreement(int(chosen.sum()), float(said[classes, words].mean()), float(said[classes][:, words].mean()))


def draw_tokens(
    pipeline: Txt2ImgMHNPipeline, prompts: Sequence[str], seeds: Sequence[int], guidance: float, batch: int = 32
) -> torch.Tensor:
    """Images as tokens, int64 (N, side, side) on the CPU; image i depends on prompt i and seed i."""
    parts = []
    for first in range(0, len(prompts), batch):
        noise = [torch.Generator().manual_seed(seed) for seed in seeds[first : first + batch]]
        own = list(prompts[first : first + batch])
        parts.append(pipeline(own, guidance_scale=guidance, generator=noise, output_type="latent").images.cpu())
    return torch.cat(parts)


def lookups_of(network: HopfieldTransformer) -> dict[str, HopfieldLookup]:
    """Its lookups by name, in the order of use."""
    found = [module for module in network.modules() if isinstance(module, HopfieldLookup)]
    names = [f"block {number}" for number in range(1, len(found))]
    return dict(zip([*names, "head"], found, strict=True))


def read_words(pipeline: Txt2ImgMHNPipeline, prompts: Sequence[str], text: torch.Tensor) -> tuple[Word, ...]:
    """The words of the texts, each text once; text int64 (N, text_length)."""
    tokenizer, found, seen = pipeline.tokenizer, [], set()
    special = set(tokenizer.all_special_ids)
    for picture, (prompt, ids) in enumerate(zip(prompts, text.tolist(), strict=True)):
        if prompt in seen:
            continue
        seen.add(prompt)
        pieces: list[tuple[int, int]] = []
        for position, token in enumerate(ids):
            if token not in special:
                pieces.append((position, token))
            ended = token in special or tokenizer.convert_ids_to_tokens(token).endswith(WORD_END)
            if pieces and (ended or position == len(ids) - 1):
                word = tokenizer.decode([token for _, token in pieces]).strip()
                found += [Word(picture, at, tokenizer.decode([own]).strip(), word) for at, own in pieces]
                pieces = []
    return tuple(found)


@contextmanager
def _hooks(network: HopfieldTransformer, counters: dict[str, LookupCounter]) -> Iterator[None]:
    handles: list[RemovableHandle] = []
    try:
        for name, lookup in lookups_of(network).items():
            handles.append(lookup.register_forward_pre_hook(counters[name].hook))
        yield
    finally:
        for handle in handles:
            handle.remove()
