"""Classes by nearest neighbors: votes of the most similar rows, each as much as it is alike."""

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
        weights: (N,), by which votes are multiplied; None for equal ones. They do not decide who votes.

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
    if k < len(target):
        nearest = np.sort(np.argpartition(-similarity, k - 1, axis=1)[:, :k], axis=1)
    else:
        nearest = np.broadcast_to(np.arange(len(target)), similarity.shape)
    first = np.argsort(-np.take_along_axis(similarity, nearest, 1), axis=1, kind="stable")
    order = np.take_along_axis(nearest, first, 1)
    found = np.take_along_axis(similarity, order, 1).astype(np.float64)
    # Taken relative to the nearest, which changes no order of the classes and cannot overflow.
    votes = np.exp((found - found[:, :1]) / TEMPERATURE)
    if weights is not None:
        votes *= np.asarray(weights, np.float64)[order]
    tally = np.zeros((len(similarity), classes))
    np.add.at(tally, (np.arange(len(similarity))[:, None], target[order]), votes)
    return np.asarray(tally.argmax(1))
