"""What a captioner says of images against what is said of them: real captions, or the prompts they were drawn from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from terrasynth.eval.metrics.captions import Frequencies, cider, score_captions
from terrasynth.eval.metrics.figure import Figure, bootstrap_mean
from terrasynth.eval.models.caption_words import caption_words
from terrasynth.eval.models.captioners import Captioner, GridCaptioner
from terrasynth.synthesis.core.errors import InputError

Image = NDArray[np.uint8]
BATCH = 32
MOST_TOLD = 2000
"""Images of which features are kept in memory, 0.25 GB at 49 places of 1280."""


@dataclass(frozen=True)
class Described:
    """Images with what is said of them.

    Attributes:
        open: From the number of an image to its pixels, `uint8` (H, W, 3), of whatever size.
        texts: Of each at least one.
        labels: Class of each; "" where none is named.
    """

    open: Callable[[int], Image]
    texts: Sequence[Sequence[str]]
    labels: Sequence[str]


@dataclass(frozen=True)
class CaptionFigures:
    """How near a captioner comes to what is said of images.

    Attributes:
        captioner: Its identity.
        style: Whose captions it was asked to write like; "" where it has no choice.
        said: The N captions.
        bleu: BLEU-1 to BLEU-4 of all.
        rouge_l: Mean.
        cider: Mean of CIDEr-D.
        other: CIDEr-D of the captions of other images: what is agreed by chance.
        people: CIDEr-D of one text of each image against its other ones; None where there are none.
        told: Share of images of which a text of theirs is likelier than of an image of another class, so that how
            likely a text is of anything does not count; None without classes, or for a captioner that gives no
            likelihoods.
        texts: Mean number of texts of an image, and of distinct ones.
        seed: Of resamples, of which other image and text, and of which text of people.
    """

    captioner: Mapping[str, object]
    style: str
    said: tuple[str, ...]
    bleu: tuple[float, float, float, float]
    rouge_l: Figure
    cider: Figure
    other: Figure
    people: Figure | None
    told: Figure | None
    texts: tuple[float, float]
    seed: int

    def lines(self) -> list[str]:
        """The figures, a line each."""
        people = f"; one text of people against their others {self.people}" if self.people else ""
        lines = [f"CIDEr-D   {self.cider}; captions of other images {self.other}{people}",
                 "BLEU-1-4  " + " ".join(f"{value:.3f}" for value in self.bleu), f"ROUGE-L   {self.rouge_l}"]
        if self.told:
            lines.append(f"told      {self.told} of texts are likelier of their own image than of one of another "
                         "class; chance 0.500")
        return [*lines, f"captions  {len(set(self.said))} distinct of {len(self.said)}; texts of an image "
                        f"{self.texts[0]:.1f}, of them distinct {self.texts[1]:.1f}",
                f"captioner {self.captioner.get('model')}{f', style {self.style}' if self.style else ''}, seed "
                f"{self.seed}"]

    def record(self) -> dict[str, object]:
        """JSON-able."""
        shown = {name: vars(value) for name, value in (("rouge_l", self.rouge_l), ("cider_d", self.cider),
                                                       ("cider_d_of_other_images", self.other),
                                                       ("cider_d_of_people", self.people), ("told", self.told))
                 if value is not None}
        return {"captioner": dict(self.captioner), "style": self.style, "n": len(self.said), "bleu": list(self.bleu),
                **shown, "texts": self.texts[0], "distinct_texts": self.texts[1],
                "distinct_captions": len(set(self.said)), "seed": self.seed}


def captions_of(captioner: Captioner, images: Iterable[Image], style: str | None = None, beams: int | None = None
                ) -> Iterator[str]:
    """One caption of the middle square of each image, whatever its size, a batch at a time."""
    for part in _parts(images):
        for alike in _alike(part):
            yield from captioner.caption(alike, style, beams)


def measure_captions(described: Described, captioner: GridCaptioner | Captioner, style: str | None = None,
                     beams: int | None = None, seed: int = 0) -> CaptionFigures:
    """Caption images, and compare that with what is said of them.

    Args:
        style: As `Captioner.caption` takes it.
        beams: As `Captioner.caption` takes it.
        seed: See `CaptionFigures`.

    Raises:
        InputError: There are fewer than two images, or the captioner knows no such style.
    """
    texts, random = [tuple(own) for own in described.texts], np.random.default_rng(seed)
    if len(texts) < 2:
        raise InputError("a caption is compared with that of another image; give two images at least")
    images, likelier = map(described.open, range(len(texts))), np.empty(0, np.bool_)
    if isinstance(captioner, GridCaptioner):
        said, likelier = _said_and_told(captioner, images, texts, described.labels, style, beams, random)
    else:
        said = list(captions_of(captioner, images, style, beams))
    scores = score_captions(said, texts)
    order = random.permutation(len(said))
    swapped = np.empty_like(order)
    swapped[order] = np.roll(order, 1)
    chance = score_captions([said[row] for row in swapped], texts)
    return CaptionFigures(
        captioner.identity(), style or (captioner.styles[0] if captioner.styles else ""), tuple(said), scores.bleu,
        bootstrap_mean(scores.rouge_l, seed), bootstrap_mean(scores.cider, seed), bootstrap_mean(chance.cider, seed),
        _people(texts, random, seed), bootstrap_mean(likelier, seed) if len(likelier) else None,
        (float(np.mean([len(own) for own in texts])), float(np.mean([len(set(own)) for own in texts]))), seed)


def _parts(images: Iterable[Image]) -> Iterator[list[Image]]:
    rest = iter(images)
    while part := list(islice(rest, BATCH)):
        yield part


def _alike(images: Sequence[Image]) -> Iterator[Image]:
    """Arrays (N, S, S, 3) of the middles of images that follow each other and have one size."""
    images, start = [_middle(image) for image in images], 0
    for end in range(1, len(images) + 1):
        if end == len(images) or images[end].shape != images[start].shape:
            yield np.stack(images[start:end])
            start = end


def _middle(image: Image) -> Image:
    """The largest square in the middle, which is what networks here learn from."""
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return image[top : top + side, left : left + side]


def _of_other_classes(rows: Sequence[int], labels: Sequence[str], random: np.random.Generator
                      ) -> list[tuple[int, int]]:
    """Each image with one of another class among `rows`, where there is one; by their numbers."""
    known = np.array([labels[row] for row in rows])
    others = {label: np.flatnonzero(known != label) for label in set(known.tolist())}
    return [(row, rows[int(random.choice(others[labels[row]]))]) for row in rows if len(others[labels[row]])]


def _said_and_told(captioner: GridCaptioner, images: Iterable[Image], texts: Sequence[Sequence[str]],
                   labels: Sequence[str], style: str | None, beams: int | None, random: np.random.Generator
                   ) -> tuple[list[str], NDArray[np.bool_]]:
    """A caption of each image, each looked at once; and of `MOST_TOLD` whether a text is its own's."""
    said: list[str] = []
    grids: dict[int, NDArray[np.float16]] = {}
    wanted = set(np.linspace(0, len(texts) - 1, min(len(texts), MOST_TOLD)).round().astype(int).tolist())
    for part in _parts(images):
        for alike in _alike(part):
            seen, first = captioner.look(alike), len(said)
            grids |= {row: seen[row - first].astype(np.float16) for row in range(first, first + len(seen))
                      if row in wanted}
            said += captioner.say(seen, style, beams)
    rows = sorted(grids)
    pairs = _of_other_classes(rows, labels, random)
    likelier = []
    for start in range(0, len(pairs), BATCH):
        some = pairs[start : start + BATCH]
        chosen = [str(random.choice(texts[row])) for row, _ in some]
        own, theirs = (captioner.weigh(np.stack([grids[pair[which]] for pair in some]), chosen, style)
                       for which in (0, 1))
        likelier.append(own > theirs)
    return said, np.concatenate(likelier) if likelier else np.empty(0, np.bool_)


def _people(texts: Sequence[Sequence[str]], random: np.random.Generator, seed: int) -> Figure | None:
    """CIDEr-D of one text of each image against those that say something else, where there are two."""
    words = [[caption_words(text) for text in own] for own in texts]
    chosen, references = [], []
    for own in words:
        if len(set(own)) > 1:
            one = own[int(random.integers(len(own)))]
            chosen.append(one)
            references.append([text for text in own if text != one])
    if len(chosen) < 2:
        return None
    return bootstrap_mean(cider(chosen, references, Frequencies(words)), seed)
