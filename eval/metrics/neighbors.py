"""Classes by nearest neighbors: the largest votes of known rows, each as much as it is alike."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

TEMPERATURE = 0.07
"""A vote is exp(cosine / temperature) (Wu et al., CVPR 2018, section 3.4), as DINO's evaluation has it."""


def neighbor_classes(
    similarity: NDArray[np.floating], target: NDArray[np.intp], classes: int, k: int,
    weights: NDArray[np.floating] | None = None,
) -> NDArray[np.intp]:
    """The place of the class with the most votes, (Q,), for each of Q images.

    Args:
        similarity: Cosines (Q, N) with N known images.
        target: (N,), the place of the class of each known image, 0 to `classes` - 1.
        classes: Their number.
        k: How many neighbors vote; all where there are fewer.
        weights: (N,), not below 0, by which votes are multiplied; None for equal ones. The k largest votes count, so a
            row of no weight is as good as absent, and one of little weight takes no other's place.

    Raises:
        ValueError: Shapes that do not match, or k below 1.

    Example:
        >>> import numpy as np
        >>> from terrasynth.eval.metrics.neighbors import neighbor_classes
        >>> similarity = np.array([[0.9, 0.8, 0.8, 0.1]])
        >>> [int(neighbor_classes(similarity, np.array([0, 1, 1, 0]), 2, k)[0]) for k in (1, 3)]
        [0, 0]
        >>> int(neighbor_classes(similarity, np.array([0, 1, 1, 0]), 2, 3, np.array([0.1, 1, 1, 1]))[0])
        1
    """
    if k < 1 or similarity.ndim != 2 or similarity.shape[1] != len(target):
        raise ValueError(f"k {k}, similarities {similarity.shape}, {len(target)} targets: give k from 1 on, and a "
                         "target for each column")
    if weights is None:
        known = similarity.astype(np.float64)
    else:
        with np.errstate(divide="ignore"):
            known = similarity + TEMPERATURE * np.log(np.asarray(weights, np.float64))
    if k < len(target):
        nearest = np.sort(np.argpartition(-known, k - 1, axis=1)[:, :k], axis=1)
    else:
        nearest = np.broadcast_to(np.arange(len(target)), similarity.shape)
    first = np.argsort(-np.take_along_axis(known, nearest, 1), axis=1, kind="stable")
    order = np.take_along_axis(nearest, first, 1)
    found = np.take_along_axis(known, order, 1)
    # Taken relative to the largest, which changes no order of the classes and cannot overflow.
    votes = np.exp((found - found[:, :1]) / TEMPERATURE)
    tally = np.zeros((len(similarity), classes))
    np.add.at(tally, (np.arange(len(similarity))[:, None], target[order]), votes)
    return np.asarray(tally.argmax(1))
