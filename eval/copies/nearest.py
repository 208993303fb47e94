"""Nearest neighbors by cosine or by differing bits: exact in blocks, by an approximate index where there are many."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terrasynth.errors import how_to_install
from terrasynth.eval.errors import InputError

EXACT_BELOW = 50_000
"""From this many candidates on, the index is asked instead of every pair."""

CHUNK = 2048
_EXPANSION = 128  # candidates that the index looks at for each query


@dataclass(frozen=True)
class Neighbours:
    """The k nearest candidates of each of N queries, nearest first.

    Attributes:
        index: `int64` (N, k), row of the candidate.
        distance: `float32` (N, k): 1 - cosine, 0 to 2, or the number of differing bits.
        exact: False where an approximate index found them: a nearer one may have been missed.
    """

    index: NDArray[np.int64]
    distance: NDArray[np.float32]
    exact: bool


def nearest_by_cosine(
    queries: NDArray[np.float32], candidates: NDArray[np.float32], k: int = 1, *, itself: bool = False,
    approximate: bool | None = None,
) -> Neighbours:
    """Nearest by 1 - cosine.

    Args:
        queries: float (N, D), of any length.
        candidates: float (M, D).
        k: Neighbors of each.
        itself: The candidates are the queries, and a row is no neighbor of its own.
        approximate: Whether to ask an index; None from `EXACT_BELOW` candidates on.

    Raises:
        ValueError: The widths differ, or there are fewer candidates than asked for.
        InputError: The index is wanted and `usearch` is not installed.
    """
    return _nearest(queries.astype(np.float32), candidates.astype(np.float32), k, itself, approximate, "cos", unit)


def nearest_by_bits(
    queries: NDArray[np.uint8], candidates: NDArray[np.uint8], k: int = 1, *, itself: bool = False,
    approximate: bool | None = None,
) -> Neighbours:
    """Nearest by the number of differing bits (Hamming).

    Args:
        queries: `uint8` (N, B): B bytes of 8 bits each.
        candidates: `uint8` (M, B).
        k: Neighbors of each.
        itself: The candidates are the queries, and a row is no neighbor of its own.
        approximate: Whether to ask an index; None from `EXACT_BELOW` candidates on.

    Raises:
        ValueError: The widths differ, or there are fewer candidates than asked for.
        InputError: The index is wanted and `usearch` is not installed.
    """
    found = _nearest(queries, candidates, k, itself, approximate, "hamming", _signs)
    if not found.exact:
        return found
    # Of B bits of which d differ, the signs have the product B - 2 d: exact in float32.
    return Neighbours(found.index, (found.distance - 1 + 8 * queries.shape[1]) / 2, exact=True)


def _nearest(
    queries: NDArray[Any], candidates: NDArray[Any], k: int, itself: bool, approximate: bool | None, metric: str,
    prepared: Callable[[NDArray[Any]], NDArray[np.float32]],
) -> Neighbours:
    """By an index, or from the products of all pairs of prepared rows."""
    _check(queries, candidates, k, itself)
    if len(candidates) >= EXACT_BELOW if approximate is None else approximate:
        return _by_index(queries, candidates, k, itself, metric)
    return _exact(prepared(queries), prepared(candidates), k, itself)


def _exact(
    queries: NDArray[np.float32], candidates: NDArray[np.float32], k: int, itself: bool
) -> Neighbours:
    """By 1 - product; among equals the earlier candidate, so that the block size changes nothing."""
    index = np.zeros((len(queries), k), np.int64)
    distance = np.full((len(queries), k), np.inf, np.float32)
    for start in range(0, len(queries), CHUNK):
        rows = slice(start, start + CHUNK)
        for other in range(0, len(candidates), CHUNK):
            away = 1 - queries[rows] @ candidates[other : other + CHUNK].T
            if itself and other == start:
                np.fill_diagonal(away, np.inf)
            known, places = [distance[rows]], [index[rows]]
            for _ in range(min(k, away.shape[1])):
                best = away.argmin(1, keepdims=True)
                known.append(np.take_along_axis(away, best, 1))
                places.append(best + other)
                np.put_along_axis(away, best, np.inf, 1)
            nearest, where = np.concatenate(known, axis=1), np.concatenate(places, axis=1)
            order = np.argsort(nearest, axis=1, kind="stable")[:, :k]
            distance[rows] = np.take_along_axis(nearest, order, 1)
            index[rows] = np.take_along_axis(where, order, 1)
    return Neighbours(index, distance, exact=True)


def _by_index(
    queries: NDArray[Any], candidates: NDArray[Any], k: int, itself: bool, metric: str
) -> Neighbours:
    try:
        from usearch.index import Index
    except ImportError as error:
        raise InputError(
            f"{len(candidates)} candidates are searched by an index, and the package usearch is not installed; "
            f"compare fewer, or {how_to_install('index')}"
        ) from error
    bits = metric == "hamming"
    index = Index(
        ndim=candidates.shape[1] * (8 if bits else 1), metric=metric, dtype="b1" if bits else "f32",
        connectivity=16, expansion_add=_EXPANSION, expansion_search=_EXPANSION,
    )
    index.add(np.arange(len(candidates), dtype=np.uint64), candidates, threads=1)  # more would change the graph
    found = index.search(queries, k + itself, threads=1)
    keys = np.asarray(found.keys, np.int64).reshape(len(queries), -1)
    distance = np.asarray(found.distances, np.float32).reshape(len(queries), -1)
    if itself:
        own = keys == np.arange(len(queries))[:, None]
        own[~own.any(1), -1] = True  # hidden behind k equal ones: any of them may go
        keys, distance = keys[~own].reshape(-1, k), distance[~own].reshape(-1, k)
    return Neighbours(keys, distance, exact=False)


def _check(queries: NDArray[np.generic], candidates: NDArray[np.generic], k: int, itself: bool) -> None:
    if queries.ndim != 2 or queries.shape[1:] != candidates.shape[1:]:
        raise ValueError(f"queries of shape {queries.shape} and candidates of shape {candidates.shape}: both have to "
                         "be (N, D), of one encoder")
    if not 1 <= k <= len(candidates) - itself:
        raise ValueError(f"{k} neighbours among {len(candidates) - itself} candidates: ask for fewer, at least one")


def closest(rows: NDArray[np.floating], known: NDArray[np.floating], chunk: int = CHUNK) -> NDArray[np.float32]:
    """The largest product of each row (N, D) with any of M known ones (M, D), of which `chunk` are read at a time.

    Returns:
        `float32` (N,); `-inf` where nothing is known.
    """
    best = np.full(len(rows), -np.inf, np.float32)
    for start in range(0, len(known), chunk):
        np.maximum(best, (rows @ known[start : start + chunk].T).max(1), out=best)
    return best


def unit(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows (N, D) divided by their L2 norm; a row of zeros stays one."""
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    rows: NDArray[np.float32] = (features / np.where(lengths > 0, lengths, 1)).astype(np.float32)
    return rows


def _signs(packed: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Bits as -1 and 1."""
    signs: NDArray[np.float32] = np.unpackbits(packed, axis=1).astype(np.float32) * 2 - 1
    return signs
