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
    said = list(captions_of(captioner, map(described.open, range(len(texts))), style, beams))
    likelier = None
    if isinstance(captioner, GridCaptioner) and len(set(described.labels)) > 1:
        chosen = [str(random.choice(own)) for own in texts]
        other = _of_other_classes(described.labels, random)
        likelier = (_likelihoods(captioner, described, range(len(texts)), chosen, style)
                    > _likelihoods(captioner, described, other, chosen, style))
    scores = score_captions(said, texts)
    order = random.permutation(len(said))
    swapped = np.empty_like(order)
    swapped[order] = np.roll(order, 1)
    chance = score_captions([said[row] for row in swapped], texts)
    return CaptionFigures(
        captioner.identity(), style or (captioner.styles[0] if captioner.styles else ""), tuple(said), scores.bleu,
        bootstrap_mean(scores.rouge_l, seed), bootstrap_mean(scores.cider, seed), bootstrap_mean(chance.cider, seed),
        _people(texts, random, seed), None if likelier is None else bootstrap_mean(likelier, seed),
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


def _of_other_classes(labels: Sequence[str], random: np.random.Generator) -> list[int]:
    """For each image the number of one of another class."""
    known = np.array(labels)
    return [int(random.choice(np.flatnonzero(known != label))) for label in labels]


def _likelihoods(captioner: GridCaptioner, described: Described, rows: Iterable[int], texts: Sequence[str],
                 style: str | None) -> NDArray[np.float32]:
    """Log-likelihood of each text of the image of its row, (N,)."""
    found: list[NDArray[np.float32]] = []
    done = 0
    for part in _parts(map(described.open, rows)):
        for alike in _alike(part):
            found.append(captioner.log_likelihood(alike, texts[done : done + len(alike)], style))
            done += len(alike)
    return np.concatenate(found)


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
