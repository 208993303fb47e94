"""How many images each class gets, by a plain rule, and the controls that it has to beat.

The rule: a class that is missed more gets more. Each class first gets the floor, a share of what it would get if all
got the same. The rest is divided in proportion to the share of its images that a model misses. With few images that
share says little, so it is drawn towards that of all classes, as if each class had `PRIOR` images more that are missed
as often as all are. Fractions are rounded by largest remainders. Nothing is random, and the same numbers give the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

import numpy as np

from terrasynth.synthesis.core.identity import digest

PRIOR = 5
"""Images that each class is given beside its own, missed as often as all are: of ten, two thirds of what is seen
counts, of a hundred 95 %."""

FLOOR = 0.25
"""Of an equal share, what each class gets in any case."""


def shrunken_errors(missed: Mapping[str, int], n: Mapping[str, int], prior: float = PRIOR) -> dict[str, float]:
    """The share of each class that is missed, drawn towards that of all: (missed + prior x all) / (n + prior).

    That is the mean of a beta distribution whose prior has the weight of `prior` images. A class without an image has
    that of all.

    Args:
        missed: Images by class that were taken for another.
        n: Images by class.
        prior: Weight of what is known of all classes, in images, above 0.

    Raises:
        ValueError: More are missed than there are, no image at all, or other classes in one than in the other.

    Example:
        >>> from terrasynth.synthesis.targeting.allocation import shrunken_errors
        >>> shrunken_errors({"river": 5, "road": 0}, {"river": 10, "road": 10}, prior=10)
        {'river': 0.375, 'road': 0.125}
    """
    if missed.keys() != n.keys() or not sum(n.values()) or any(not 0 <= missed[label] <= n[label] for label in n):
        raise ValueError(f"{dict(missed)} missed of {dict(n)}: give both for the same classes, and no more than there "
                         "are")
    every = sum(missed.values()) / sum(n.values())
    return {label: (missed[label] + prior * every) / (n[label] + prior) for label in n}


def allocate(errors: Mapping[str, float], images: int, floor: float = FLOOR) -> dict[str, int]:
    """Divide images among classes in proportion to their errors, above a floor.

    Of two classes the one with the larger error never gets fewer.

    Args:
        errors: Class -> what its share is in proportion to, 0 or more; all get the same where all are 0.
        images: How many in all.
        floor: Of an equal share, what each class gets in any case, 0 to 1: rounded down, and one image at the least.

    Returns:
        Class -> images, in the order of `errors`; they sum to `images`.

    Raises:
        ValueError: No class, fewer images than classes, a floor or an error out of range.

    Example:
        >>> from terrasynth.synthesis.targeting.allocation import allocate
        >>> allocate({"beach": 0.1, "river": 0.6, "road": 0.3}, images=36, floor=0.25)
        {'beach': 6, 'river': 19, 'road': 11}
    """
    if not errors or images < len(errors) or not 0 <= floor <= 1 or any(each < 0 for each in errors.values()):
        raise ValueError(f"{images} images for {len(errors)} classes with a floor of {floor}: give one image a class "
                         "at the least, a floor from 0 to 1 and errors of 0 or more")
    least = max(1, int(Fraction(floor).limit_denominator(10**6) * images / len(errors)))
    more = divided(errors, images - least * len(errors))
    return {label: least + more[label] for label in errors}


def divided(weights: Mapping[str, float], images: int) -> dict[str, int]:
    """Divide images in proportion to weights, rounded by largest remainders (Hamilton's method).

    Of equal remainders the class with the larger weight has the first, then the one that is named first.

    Args:
        weights: 0 or more; equal where all are 0.
        images: 0 or more.

    Example:
        >>> from terrasynth.synthesis.targeting.allocation import divided
        >>> divided({"beach": 1, "river": 1, "road": 1}, 10)
        {'beach': 4, 'river': 3, 'road': 3}
    """
    exact = {label: Fraction(weight) for label, weight in weights.items()}  # no rounding but the one that is stated
    total = sum(exact.values())
    if not total:
        exact, total = dict.fromkeys(exact, Fraction(1)), Fraction(len(exact))
    quotas = {label: weight * images / total for label, weight in exact.items()}
    found = {label: int(quota) for label, quota in quotas.items()}
    first = sorted(quotas, key=lambda label: (found[label] - quotas[label], -exact[label]))  # sorted() is stable
    for label in first[:images - sum(found.values())]:
        found[label] += 1
    return found


def uniform(labels: Sequence[str], images: int) -> dict[str, int]:
    """The control that gives every class the same; what is left over goes to the first."""
    return divided(dict.fromkeys(labels, 1), images)


def shuffled(allocation: Mapping[str, int], seed: int) -> dict[str, int]:
    """The control of the same numbers on classes that chance picks: as uneven, and blind.

    Example:
        >>> from terrasynth.synthesis.targeting.allocation import shuffled
        >>> found = shuffled({"beach": 2, "river": 16, "road": 12}, seed=0)
        >>> list(found), sorted(found.values())
        (['beach', 'river', 'road'], [2, 12, 16])
    """
    order = np.random.default_rng(int(digest([seed, "random allocation"]), 16)).permutation(len(allocation))
    numbers = list(allocation.values())
    return {label: numbers[place] for label, place in zip(allocation, order.tolist(), strict=True)}
