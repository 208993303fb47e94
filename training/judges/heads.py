"""The two heads of a judge, fitted to frozen features: logistic regression for scenes, contrast for words."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1)
"""Weight decays of the scene head among which cross-validation chooses."""

FOLDS = 5
STEPS = 100  # of L-BFGS

SMALL = 2**28
"""Multiplications of a step below which one thread is quicker: L-BFGS asks for dozens of short sums a step, and threads
that wait for each other at every one take many times as long where other processes want the cores, too."""


@dataclass(frozen=True)
class SceneHead:
    """A linear layer from standardized features to classes.

    Attributes:
        weight: `float32` (F, C), the temperature is in it.
        bias: `float32` (C,).
        loss: Mean negative log-likelihood in nats on images that were left out of the fit, before the temperature.
    """

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    loss: float


def folds_of(labels: NDArray[np.intp], seed: int) -> NDArray[np.intp]:
    """A fold (N,) for each image, each class spread evenly over at most `FOLDS`."""
    generator = np.random.default_rng(seed)
    found = np.empty(len(labels), np.intp)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        found[generator.permutation(rows)] = np.arange(len(rows)) % FOLDS
    return found


def fit_scene(views: NDArray[np.float32], labels: NDArray[np.intp], classes: int, seed: int) -> SceneHead:
    """Fit the scene head, its weight decay and its temperature on training images alone.

    Decay and temperature (Guo et al., ICML 2017) are chosen on images that were left out of a fit, fold by fold.

    Args:
        views: Standardized features (N, V, F) of V views of each image; the first is the image as it is.
        labels: (N,), each 0 to `classes` - 1; at least two images a class.
        seed: Of the folds.
    """
    with _threads_for(views.size * classes):
        return _fit_scene(views, labels, classes, folds_of(labels, seed))


@contextmanager
def _threads_for(multiplications: int) -> Iterator[None]:
    """Compute in one thread what is small."""
    before = torch.get_num_threads()
    torch.set_num_threads(1 if multiplications < SMALL else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _fit_scene(
    views: NDArray[np.float32], labels: NDArray[np.intp], classes: int, fold: NDArray[np.intp]
) -> SceneHead:
    x, y = torch.from_numpy(views).double(), torch.from_numpy(labels)
    best: tuple[float, float, torch.Tensor] | None = None
    for strength in STRENGTHS:
        logits = torch.empty(len(y), classes, dtype=torch.float64)
        for number in range(FOLDS):
            out = torch.from_numpy(fold == number)
            if out.any():
                weight, bias = _regress(x[~out], y[~out], classes, strength)
                logits[out] = x[out, 0] @ weight + bias
        loss = F.cross_entropy(logits, y).item()
        if best is None or loss < best[0]:
            best = loss, strength, logits
    assert best is not None
    loss, strength, logits = best
    weight, bias = _regress(x, y, classes, strength)
    temperature = _temperature(logits, y)
    return SceneHead((weight / temperature).float().numpy(), (bias / temperature).float().numpy(), loss)


def _regress(x: torch.Tensor, y: torch.Tensor, classes: int, strength: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Multinomial logistic regression on all views, classes weighing alike."""
    flat, target = x.flatten(0, 1), y.repeat_interleave(x.shape[1])
    counts = torch.bincount(target, minlength=classes).double()
    share = torch.where(counts > 0, counts.sum() / (counts.clamp(min=1) * classes), 0.0)
    weight = torch.zeros(x.shape[2], classes, dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(classes, dtype=torch.float64, requires_grad=True)
    solver = torch.optim.LBFGS([weight, bias], max_iter=STEPS, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        solver.zero_grad()
        loss = F.cross_entropy(flat @ weight + bias, target, weight=share) + strength * weight.square().sum()
        loss.backward()
        return loss

    solver.step(closure)
    return weight.detach(), bias.detach()


def _temperature(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """The temperature under which these logits are likeliest, between 1/4 and 8."""
    grid = torch.exp(torch.linspace(math.log(0.25), math.log(8), 200, dtype=torch.float64))
    losses = torch.stack([F.cross_entropy(logits / each, labels) for each in grid])
    return float(grid[losses.argmin()])


@dataclass(frozen=True)
class WordHead:
    """Where images and words meet.

    Attributes:
        image: `float32` (F, D).
        words: `float32` (V, D).
    """

    image: NDArray[np.float32]
    words: NDArray[np.float32]


@dataclass(frozen=True)
class ContrastSettings:
    """How the head for words is fitted.

    Attributes:
        dim: Width D of the common space.
        decay: Weight decay (AdamW).
        named: Share of the texts that are the name of the class instead of a caption.
        kin: Weight of the texts of other images of the class as a target, that of the own text being 1.
    """

    dim: int = 64
    steps: int = 600
    batch: int = 256
    rate: float = 3e-3
    decay: float = 3.0
    temperature: float = 0.1
    named: float = 0.3
    kin: float = 0.3


def fit_words(
    views: NDArray[np.float32], labels: NDArray[np.intp], texts: Sequence[Sequence[Sequence[int]]],
    names: Sequence[Sequence[int]], vocabulary: int, seed: int, settings: ContrastSettings,
) -> WordHead:
    """Fit a projection of images and one vector a word so that images lie near their own texts.

    The loss is the symmetric cross-entropy of CLIP (Radford et al., ICML 2021), with the texts of a class as weaker
    targets of all its images: few images do not tell which of a class's captions is whose.

    Args:
        views: Standardized features (N, V, F).
        labels: (N,).
        texts: Of each image its captions, each as the numbers of its words.
        names: Of each class its name in the same form.
        vocabulary: V, how many words there are.
        seed: Of initial weights, order, views and captions.
    """
    with _threads_for(min(settings.batch, len(views)) * (views.shape[2] + vocabulary) * settings.dim):
        return _fit_words(views, labels, texts, names, vocabulary, seed, settings)


def _fit_words(
    views: NDArray[np.float32], labels: NDArray[np.intp], texts: Sequence[Sequence[Sequence[int]]],
    names: Sequence[Sequence[int]], vocabulary: int, seed: int, settings: ContrastSettings,
) -> WordHead:
    draw = np.random.default_rng(seed)
    start = torch.Generator().manual_seed(seed)
    width = views.shape[2]
    image = (torch.randn(width, settings.dim, generator=start) / math.sqrt(width)).requires_grad_()
    words = (torch.randn(vocabulary, settings.dim, generator=start) / math.sqrt(settings.dim)).requires_grad_()
    solver = torch.optim.AdamW([image, words], lr=settings.rate, weight_decay=settings.decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(solver, settings.steps)
    x = torch.from_numpy(views)
    batch = min(settings.batch, len(x))
    for _ in range(settings.steps):
        rows = draw.permutation(len(x))[:batch]
        chosen = [_text(texts[row], names[labels[row]], settings.named, draw) for row in rows]
        seen = F.normalize(x[rows, draw.integers(x.shape[1], size=batch)] @ image, dim=1)
        read = F.normalize(_bags(chosen, vocabulary) @ words, dim=1)
        logits = seen @ read.T / settings.temperature
        wanted = _targets(chosen, labels[rows], settings.kin)
        loss = -(wanted * (logits.log_softmax(1) + logits.log_softmax(0))).sum() / (2 * batch)
        solver.zero_grad()
        loss.backward()
        solver.step()
        schedule.step()
    return WordHead(image.detach().numpy(), words.detach().numpy())


def _text(
    captions: Sequence[Sequence[int]], name: Sequence[int], named: float, draw: np.random.Generator
) -> tuple[int, ...]:
    own = [caption for caption in captions if caption]
    if not own or (name and draw.random() < named):
        return tuple(name)
    return tuple(own[int(draw.integers(len(own)))])


def _bags(texts: Sequence[Sequence[int]], vocabulary: int) -> torch.Tensor:
    bags = torch.zeros(len(texts), vocabulary)
    for row, own in enumerate(texts):
        bags[row, list(own)] = 1.0
    return bags


def _targets(texts: Sequence[tuple[int, ...]], labels: NDArray[np.intp], kin: float) -> torch.Tensor:
    """What the softmax of a row should be (B, B): most for equal texts, less for others of the class."""
    index = {text: number for number, text in enumerate(dict.fromkeys(texts))}
    own = np.array([index[text] for text in texts])
    weight = np.where(own[:, None] == own, 1.0, np.where(labels[:, None] == labels, kin, 0.0))
    return torch.from_numpy(weight / weight.sum(1, keepdims=True)).float()
