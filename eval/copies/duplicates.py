"""How close is each image to one that came before it?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from terrasynth.eval.copies.nearest import closest

CHUNK = 4096


def max_similarity_before(
    embeddings: NDArray[np.float32], before: NDArray[np.float32] | None = None, chunk: int = CHUNK
) -> NDArray[np.float32]:
    """Highest cosine of each row to any earlier one: all of `before`, and the rows above it.

    Looking only backwards makes the answer for a row the same however many rows follow.

    Args:
        embeddings: L2-normalized (N, D), in order.
        before: L2-normalized (M, D), all of them earlier; None for none.
        chunk: Rows compared at a time; memory is about `chunk` squared floats.

    Returns:
        `float32` (N,), -1 to 1; `-inf` where nothing came before.

    Raises:
        ValueError: The widths differ.

    Example:
        >>> import numpy as np
        >>> from terrasynth.eval import max_similarity_before
        >>> max_similarity_before(np.array([[1, 0], [0, 1], [1, 0]], dtype=np.float32)).tolist()
        [-inf, 0.0, 1.0]
    """
    earlier = np.empty((0, embeddings.shape[1]), np.float32) if before is None else before
    if earlier.shape[1:] != embeddings.shape[1:]:
        raise ValueError(f"embeddings of width {embeddings.shape[1]} and {earlier.shape[1]}: use one encoder for both")
    parts = [np.empty(0, np.float32)]
    for start in range(0, len(embeddings), chunk):
        rows = embeddings[start : start + chunk]
        above = np.where(np.tri(len(rows), k=-1, dtype=bool), rows @ rows.T, -np.inf).max(1).astype(np.float32)
        before_them = (closest(rows, known, chunk) for known in (earlier, embeddings[:start]))
        parts.append(np.maximum.reduce([above, *before_them]))
    return np.concatenate(parts)
