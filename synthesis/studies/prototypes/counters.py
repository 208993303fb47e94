"""Sums over what the prototypes of one lookup answer: entropy, largest answers, and how they are spread over groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from terrasynth.synthesis.generators.hopfield.lookup import HopfieldLookup, association

ALIVE = 2.0  # a living prototype's largest answer, in even shares 1 / P
SHUFFLES = 19  # to beat all of them by chance happens once in twenty
BINS = 400


@dataclass(frozen=True)
class Entropy:
    """Entropy of the answers in nats, over positions.

    Attributes:
        n: Positions.
        mean: 0 .. ln P; exp(mean) prototypes answering alike would have it.
        low: 10 % of the positions are below, to the width of a bin (ln P / `BINS`).
        high: 10 % are above.
    """

    n: int
    mean: float
    low: float
    high: float

    @property
    def effective(self) -> float:
        """Effective number of prototypes that answer, exp(mean)."""
        return float(np.exp(self.mean))


@dataclass(frozen=True)
class Peaks:
    """The largest answers of each prototype.

    Attributes:
        answers: float32 (P, k), falling.
        rows: int64 (P, k): the image, or the number of the word.
        positions: int64 (P, k): the image token that was read, or the place of the word's token in its text.
    """

    answers: NDArray[np.float32]
    rows: NDArray[np.int64]
    positions: NDArray[np.int64]


@dataclass(frozen=True)
class Selectivity:
    """How the answers of each prototype are spread over groups, as if every group had equally many positions.

    Attributes:
        shares: float32 (P, G): the mean answer in a group over the sum of these means; rows sum to 1.
        shuffled: float32 (P, SHUFFLES): each prototype's largest share when the groups' names are dealt out at random.
    """

    names: tuple[str, ...]
    shares: NDArray[np.float32]
    shuffled: NDArray[np.float32]

    @property
    def chance(self) -> float:
        """The share of a group that a prototype does not favor, 1 / G."""
        return 1 / len(self.names)

    @property
    def favourite(self) -> NDArray[np.int64]:
        """Number of the group with the largest share, int64 (P,)."""
        favourite: NDArray[np.int64] = self.shares.argmax(1)
        return favourite

    @property
    def largest(self) -> NDArray[np.float32]:
        """The largest share, float32 (P,)."""
        largest: NDArray[np.float32] = self.shares.max(1)
        return largest

    @property
    def selective(self) -> NDArray[np.bool_]:
        """Whether the largest share beats every shuffle, bool (P,)."""
        beats: NDArray[np.bool_] = self.largest > self.shuffled.max(1)
        return beats


@dataclass(frozen=True)
class LookupFigures:
    """What was found about one lookup of P prototypes.

    Attributes:
        name: "block 1" and so on, or "head".
        beta: Its inverse temperature.
        largest: Largest answer of each prototype to any counted position, float32 (P,).
        wins: Positions at which it gives the strongest answer of all, int64 (P,).
        reach: Images in which it answers an image token with at least `ALIVE` / P, int64 (P,).
        image_entropy: Over image tokens.
        word_entropy: Over words; None for the head, which reads none.
        classes: Over the classes of the images.
        words: Over words; None where none was read often enough.
        image_peaks: One an image at most.
        word_peaks: As `word_entropy`.
    """

    name: str
    beta: float
    largest: NDArray[np.float32]
    wins: NDArray[np.int64]
    reach: NDArray[np.int64]
    image_entropy: Entropy
    word_entropy: Entropy | None
    classes: Selectivity
    words: Selectivity | None
    image_peaks: Peaks
    word_peaks: Peaks | None

    @property
    def alive(self) -> NDArray[np.bool_]:
        """Whether a prototype answers a position with at least `ALIVE` even shares, bool (P,)."""
        answers: NDArray[np.bool_] = self.largest >= ALIVE / len(self.largest)
        return answers


def answers(lookup: HopfieldLookup, state: torch.Tensor) -> torch.Tensor:
    """The weights that a lookup reads its values out with, float32 (..., P), for states float (..., D)."""
    state, patterns, beta = state.float(), lookup.patterns.float(), lookup.beta.float()
    for _ in range(lookup.steps - 1):
        state = association(state, patterns, beta) @ patterns
    return association(state, patterns, beta)


class Groups:
    """Which group each row belongs to, in truth and under shuffles.

    Args:
        names: Of each row's group.
        least: Rows that a group needs; smaller ones are left out.

    Attributes:
        names: Sorted names of the groups with enough rows.
        member: int64 (1 + SHUFFLES, rows); a row of no group has -1 throughout.
        counts: Rows of each group, float32 (G,).
    """

    def __init__(self, names: Sequence[str], least: int, generator: torch.Generator) -> None:
        known, inverse, counts = np.unique(np.asarray(names, dtype=object), return_inverse=True, return_counts=True)
        enough = counts >= least
        number = np.where(enough, enough.cumsum() - 1, -1)
        self.names = tuple(str(name) for name in known[enough])
        truth = torch.from_numpy(number[inverse]).long()
        self.member, self.counts = truth.repeat(1 + SHUFFLES, 1), torch.from_numpy(counts[enough]).float()
        counted = (truth >= 0).nonzero()[:, 0]
        for row in self.member[1:]:
            row[counted] = truth[counted[torch.randperm(len(counted), generator=generator)]]


class LookupCounter:
    """Sums over the answers of one lookup, batch by batch.

    Args:
        lookup: Whose answers are counted.
        image_length: Positions that read image tokens, the last of those the lookup is asked about.
        word_places: Image and text position of each word's token, int64 (words, 2).
        keep: Largest answers to remember of each prototype.

    Attributes:
        first: Number of the first image of the batch that is being read.
    """

    def __init__(self, lookup: HopfieldLookup, image_length: int, classes: Groups, vocabulary: Groups,
                 word_places: torch.Tensor, keep: int) -> None:
        self.lookup, self.image_length = lookup, image_length
        self.groups = {"classes": classes, "words": vocabulary}
        self.first = 0
        size, self.device = lookup.patterns.shape[0], lookup.patterns.device
        self.word_rows, self.word_positions = word_places.T
        self.sums = {key: self._zeros(1 + SHUFFLES, len(each.names), size) for key, each in self.groups.items()}
        self.largest, self.reach = self._zeros(size), self._zeros(size).long()
        self.wins = self._zeros(size).long()
        self.entropies = {key: _EntropyCounter(size, self.device) for key in ("image", "word")}
        self.peaks = {key: _PeakCounter(keep, size, self.device) for key in ("image", "word")}

    def _zeros(self, *shape: int) -> torch.Tensor:
        return torch.zeros(*shape, device=self.device)

    @torch.no_grad()
    def hook(self, module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        """Count the answers to states float (n, T, D), of which the last `image_length` read image tokens."""
        found = answers(self.lookup, inputs[0])
        pictures = torch.arange(self.first, self.first + len(found))
        self._count_pictures(found[:, -self.image_length :], pictures)
        # The head is asked from the last text position on: a mark, not a word.
        of_batch = (self.word_rows >= self.first) & (self.word_rows < self.first + len(found))
        if found.shape[1] > self.image_length + 1 and of_batch.any():
            rows = of_batch.nonzero()[:, 0]
            own = found[self.word_rows[rows] - self.first, self.word_positions[rows]]
            self._count_words(own, rows)

    def _count_pictures(self, found: torch.Tensor, pictures: torch.Tensor) -> None:
        best, where = found.max(1)
        self.reach += (best >= ALIVE / found.shape[-1]).sum(0)
        self.peaks["image"].add(best, pictures, where)
        self._add("classes", found.mean(1), pictures)
        self._count("image", found.flatten(0, 1))

    def _count_words(self, found: torch.Tensor, rows: torch.Tensor) -> None:
        where = self.word_positions[rows].to(self.device)[:, None].expand_as(found)
        self.peaks["word"].add(found, rows, where)
        self._add("words", found, rows)
        self._count("word", found)

    def _count(self, kind: str, found: torch.Tensor) -> None:
        """Answers to positions, float (M, P)."""
        self.largest = torch.maximum(self.largest, found.amax(0))
        self.wins += torch.bincount(found.argmax(1), minlength=found.shape[1])
        self.entropies[kind].add(torch.special.entr(found).sum(1))

    def _add(self, key: str, mean: torch.Tensor, rows: torch.Tensor) -> None:
        for total, member in zip(self.sums[key], self.groups[key].member[:, rows].to(self.device), strict=True):
            total.index_add_(0, member[member >= 0], mean[member >= 0])

    def _selectivity(self, key: str) -> Selectivity:
        means = self.sums[key] / self.groups[key].counts.to(self.device)[:, None]
        shares = (means / means.sum(1, keepdim=True).clamp_min(torch.finfo(means.dtype).tiny)).cpu()
        return Selectivity(self.groups[key].names, shares[0].T.numpy(), shares[1:].amax(1).T.numpy())

    def figures(self, name: str) -> LookupFigures:
        """What was found."""
        words_read = self.entropies["word"].n > 0
        return LookupFigures(
            name=name,
            beta=float(self.lookup.beta.detach()),
            largest=self.largest.cpu().numpy(),
            wins=self.wins.cpu().numpy(),
            reach=self.reach.cpu().numpy(),
            image_entropy=self.entropies["image"].figures(),
            word_entropy=self.entropies["word"].figures() if words_read else None,
            classes=self._selectivity("classes"),
            words=self._selectivity("words") if words_read and self.groups["words"].names else None,
            image_peaks=self.peaks["image"].figures(),
            word_peaks=self.peaks["word"].figures() if words_read else None,
        )


class _EntropyCounter:
    def __init__(self, prototypes: int, device: torch.device) -> None:
        self.n, self.total, self.most = 0, 0.0, float(np.log(prototypes))
        self.bins = torch.zeros(BINS, dtype=torch.int64, device=device)

    def add(self, entropies: torch.Tensor) -> None:
        self.n += len(entropies)
        self.total += float(entropies.double().sum())
        self.bins += torch.histc(entropies.clamp(0, self.most), BINS, 0, self.most).long()

    def figures(self) -> Entropy:
        reached = (self.bins.cumsum(0) / self.n).cpu().numpy()
        low, high = (float((np.searchsorted(reached, share) + 0.5) * self.most / BINS) for share in (0.1, 0.9))
        return Entropy(self.n, self.total / self.n, low, high)


class _PeakCounter:
    def __init__(self, keep: int, prototypes: int, device: torch.device) -> None:
        self.keep = keep
        self.answers = torch.zeros(0, prototypes, device=device)
        self.rows = torch.zeros(0, prototypes, dtype=torch.int64, device=device)
        self.positions = self.rows.clone()

    def add(self, answers: torch.Tensor, rows: torch.Tensor, positions: torch.Tensor) -> None:
        """Answers float (n, P) of rows int64 (n,) at positions int64 (n, P)."""
        rows = rows.to(self.rows.device)[:, None].expand_as(positions)
        everything = torch.cat([self.answers, answers])
        # A stable sort, so that of equal answers the first stays whatever the batch size.
        order = torch.sort(everything, dim=0, descending=True, stable=True).indices[: self.keep]
        self.answers = everything.gather(0, order)
        self.rows = torch.cat([self.rows, rows]).gather(0, order)
        self.positions = torch.cat([self.positions, positions]).gather(0, order)

    def figures(self) -> Peaks:
        return Peaks(*(each.T.cpu().numpy() for each in (self.answers, self.rows, self.positions)))
