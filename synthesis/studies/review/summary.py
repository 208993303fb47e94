"""How far people agree with each other and with each filter, and how many of the accepted images are good."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from terrasynth.eval.metrics.agreement import MISSING, agreement_table, cohen_kappa, mean_kappa
from terrasynth.eval.metrics.figure import Figure, share
from terrasynth.synthesis.filters import ReviewFilter
from terrasynth.synthesis.ledger.judged_rows import REVIEW, JudgedRows
from terrasynth.synthesis.ledger.pending_review import PendingReview
from terrasynth.synthesis.review.sampling import random_sample, sample_gap
from terrasynth.synthesis.review.standing import Rule, Standing, passes
from terrasynth.synthesis.studies.review.looking import Review


@dataclass(frozen=True)
class Agreement:
    """How far two say the same of the images that both judged.

    Attributes:
        one: A reviewer, or "people" for what the reviewers say together.
        other: Another reviewer, or a filter.
        images: That both judged.
        same: On which they agree.
        kappa: Cohen's kappa with its 95 % interval; None where one of the two always says the same.
    """

    one: str
    other: str
    images: int
    same: int
    kappa: Figure | None


@dataclass(frozen=True)
class Reviewer:
    """How much one person has done.

    Attributes:
        name: The name.
        verdicts: Images with a verdict.
        accepted: Of them, those that may stay.
        blind: Of the verdicts, those that were given without seeing what the filters said.
    """

    name: str
    verdicts: int
    accepted: int
    blind: int


@dataclass(frozen=True)
class ReviewSummary:
    """What a review says so far.

    Attributes:
        reviewers: Those who gave verdicts, by name.
        looked_at: Images that anybody looked at, of all that the run judged.
        rejected: Of them, those that the reviewers together do not let stay.
        reasons: Why reviewers rejected images, with how many verdicts, the commonest first.
        together: Agreement of all reviewers: the mean of Cohen's kappa over all pairs; None where there is none.
        pairs: Of every two reviewers who judged an image both.
        filters: Of the filters with what the reviewers say together.
        accepted: Images that every filter but the review lets pass.
        good: Of a random sample of them, the share that the reviewers let stay, with its 95 % interval (Wilson); None
            where nobody looked at the first image of the sample.
        unseen: Images that the sample waits for: nobody looked at them, and they come in the random order before others
            that somebody did look at.
        waiting: Images that somebody looked at, and that count in the sample once those are looked at.
        seed: Of the sample.
        captions: Images that a person described.
        pending: Images whose verdicts the run's decisions do not know yet; 0 where its recipe has no review.
        in_recipe: Whether the recipe has the filter `review`.
        to_do: What of it the data set does not follow yet, and the command that takes it in; "" where it follows all.
    """

    reviewers: tuple[Reviewer, ...]
    looked_at: int
    rejected: int
    reasons: Mapping[str, int]
    together: Figure | None
    pairs: tuple[Agreement, ...]
    filters: tuple[Agreement, ...]
    accepted: int
    good: Figure | None
    unseen: int
    waiting: int
    seed: int
    captions: int
    pending: int
    in_recipe: bool
    to_do: str

    @property
    def gap(self) -> str:
        """What the random sample waits for, in words; "" where it waits for nothing."""
        if not self.unseen:
            return ""
        images = "image" if self.unseen == 1 else "images"
        return (f"the sample waits for {self.unseen} {images} that nobody has looked at; {self.waiting} more "
                f"{'counts' if self.waiting == 1 else 'count'} after that")


def summarize(root: Path, seed: int = 0) -> ReviewSummary:
    """What the review of a run says.

    Args:
        seed: Of the random sample.

    Raises:
        InputError: It is no run, or has decided on nothing yet.
        RunError: A file is damaged.
    """
    review = Review(root)
    rows, standing = review.rows, review.standing
    recipe = review.run.recipe
    rule: Rule = next((each.reviewers for each in recipe.filters if isinstance(each, ReviewFilter)), "majority")
    names = standing.reviewers
    ratings = _ratings(rows, standing, names)
    people = np.array([MISSING if (score := standing.score(row)) is None else passes(score, rule) for row in rows.ids],
                      np.int64)
    asked = [name for name in recipe.filter_names if name != REVIEW]
    in_recipe = REVIEW in recipe.filter_names
    pending = PendingReview.read(root, recipe)
    good, gap, accepted = _good(rows, people, seed)
    return ReviewSummary(
        reviewers=tuple(_reviewer(standing, name) for name in names),
        reasons=_reasons(standing),
        together=mean_kappa(ratings) if len(names) > 1 else None,
        pairs=tuple(found for a, b in combinations(range(len(names)), 2)
                    if (found := _agreement(names[a], names[b], ratings[:, a], ratings[:, b])).images),
        filters=tuple(found for name in asked
                      if (found := _agreement("people", name, people, rows.filter_says(name, recipe.filter_names))
                          ).images),
        accepted=accepted, good=good, unseen=gap[0], waiting=gap[1], seed=seed, captions=len(standing.captions),
        looked_at=int((people != MISSING).sum()), rejected=int((people == 0).sum()),
        pending=pending.images if in_recipe else 0, in_recipe=in_recipe, to_do=pending.line,
    )


def _ratings(rows: JudgedRows, standing: Standing, names: Sequence[str]) -> NDArray[np.int64]:
    """(N, R): 1 for accepted, 0 for rejected."""
    found = np.full((len(rows.ids), len(names)), MISSING, np.int64)
    for row, each in standing.verdicts.items():
        if row in rows.places:
            for name, verdict in each.items():
                found[rows.places[row], names.index(name)] = verdict.verdict == "accept"
    return found


def _agreement(one: str, other: str, first: NDArray[np.int64], second: NDArray[np.int64]) -> Agreement:
    table = agreement_table(first, second)
    images = int(table.sum())
    return Agreement(one, other, images, int(np.trace(table)), cohen_kappa(table) if images else None)


def _good(rows: JudgedRows, people: NDArray[np.int64], seed: int) -> tuple[Figure | None, tuple[int, int], int]:
    places = np.flatnonzero(rows.passed & rows.shown).tolist()
    ids = [rows.ids[place] for place in places]
    looked_at = {row for row, place in zip(ids, places, strict=True) if people[place] != MISSING}
    sample = random_sample(ids, seed, looked_at)
    good = sum(int(people[places[place]]) for place in sample)
    return (share(good, len(sample)) if sample else None), sample_gap(ids, seed, looked_at), len(ids)


def _reviewer(standing: Standing, name: str) -> Reviewer:
    own = [each[name] for each in standing.verdicts.values() if name in each]
    return Reviewer(name, len(own), sum(one.verdict == "accept" for one in own), sum(one.blind for one in own))


def _reasons(standing: Standing) -> dict[str, int]:
    found: dict[str, int] = {}
    for each in standing.verdicts.values():
        for one in each.values():
            if one.verdict == "reject":
                found[one.reason] = found.get(one.reason, 0) + 1
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))
