"""Is an image another one that was shifted a little, turned a little, or cut out of it and enlarged?

Layout and detail (`terrasynth.eval.models.thumbnail`) compare cell with cell: half a cell's shift is enough for a copy
to pass. Here the few known images whose spectrum is most like an image's are laid over it as well as a shift, a turn
and a zoom can do it, and their detail is correlated where they overlap. The magnitudes of a spectrum hardly change
where an image is moved, so the one it was copied from is among these few; unrelated images find no way to lie that
makes their details agree. All of it is made of layout and detail as they are stored.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from terrasynth.eval.images import LUMA
from terrasynth.eval.models.thumbnail import DETAIL_SIDE, SIDE

REGISTERED = "registered"
CANDIDATES = 4
"""Known images that are laid over each image."""

VIEWS_LAID = 2
KEPT = 10
"""Frequencies of the spectrum in each direction, in waves an image."""

DETAIL_WEIGHT = 0.7  # of the detail beside the layout, each with a variance of 1
FARTHEST = 0.16  # a shift, as a share of the side; a turn, in radians; a zoom, as a share
OVERLAP = 0.6  # of the image that has to be covered
STEPS = ((4, 8), (1, 6), (0, 4))
"""Smoothing of the images (times of `_smooth`) and steps of Gauss and Newton with it, coarse to fine."""

BAND = 4  # smoothing whose result is taken off before details are correlated
TOGETHER = 64  # pairs in memory at a time
CHUNK = 512  # images whose spectra are computed at a time

Float = NDArray[np.float32]


@dataclass(frozen=True)
class Registrations:
    """The known images that lie best over each of M.

    Attributes:
        index: int64 (M, K), rows of the known images, the nearest first.
        correlation: float32 (M, K), of the details where the two overlap, -1 .. 1.
    """

    index: NDArray[np.int64]
    correlation: NDArray[np.float32]


class Registration:
    """Known images to lay over others.

    Args:
        layout: float (N, 768), as `ThumbnailEncoder` gives it, of each image in each of the orientations in which it
            is to be found.
        detail: float (N, 1024), the detail of the same.
    """

    def __init__(self, layout: NDArray[np.floating], detail: NDArray[np.floating]) -> None:
        self._parts = layout, detail
        parts = [slice(start, start + CHUNK) for start in range(0, len(layout), CHUNK)]
        spectra = np.concatenate([_spectra(relief(layout[part], detail[part])) for part in parts])
        self._mean = spectra.mean(0)
        self._spectra = _unit(spectra - self._mean)

    def nearest(
        self, layout: NDArray[np.floating], detail: NDArray[np.floating], candidates: int = CANDIDATES
    ) -> Registrations:
        """Lay the known images that look most alike over others.

        Args:
            layout: float (V, M, 768), of other images in V views; a known image is laid over the two views that it
                looks most alike, for a spectrum does not tell an image from the same upside down.
            detail: float (V, M, 1024), of the same.
            candidates: How many known images for each.
        """
        count, known = layout.shape[1], len(self._spectra)
        few = min(candidates, known)
        index, correlation = np.empty((count, few), np.int64), np.empty((count, few), np.float32)
        step = max(1, TOGETHER // few)
        for start in range(0, count, step):
            part = slice(start, start + step)
            views = np.stack([relief(*each) for each in zip(layout[:, part], detail[:, part], strict=True)])
            alike = np.stack([_unit(_spectra(each) - self._mean) @ self._spectra.T for each in views])
            chosen = np.argpartition(-alike.max(0), few - 1, axis=1)[:, :few]
            rows = np.arange(len(chosen))[:, None]
            likely = np.argsort(-alike[:, rows, chosen], axis=0, kind="stable")[:VIEWS_LAID]
            under = relief(*(each[chosen.reshape(-1)] for each in self._parts))
            found = np.stack([register(views[view, rows].reshape(under.shape), under) for view in likely]).max(0)
            found = found.reshape(-1, few)
            order = np.argsort(-found, axis=1, kind="stable")
            index[part], correlation[part] = (np.take_along_axis(each, order, 1) for each in (chosen, found))
        return Registrations(index, correlation)


def relief(layout: NDArray[np.floating], detail: NDArray[np.floating]) -> Float:
    """Brightness float32 (N, 32, 32), as far as layout and detail hold it: each has a variance of 1, then a weight."""
    colours = layout.astype(np.float32).reshape(-1, SIDE, SIDE, 3)
    times = DETAIL_SIDE // SIDE
    coarse = _smooth((colours @ LUMA.astype(np.float32)).repeat(times, 1).repeat(times, 2), 1)
    fine = detail.astype(np.float32).reshape(-1, DETAIL_SIDE, DETAIL_SIDE)
    return _smooth(_even(coarse) + np.float32(DETAIL_WEIGHT) * _even(fine), 1)


def register(pictures: Float, known: Float) -> Float:
    """Correlation of the details of pairs of images (B, S, S), the second laid over the first.

    A shift is found by the correlation of the whole, then shift, turn and zoom by steps of Gauss and Newton (Lucas and
    Kanade, IJCAI 1981; Baker and Matthews, IJCV 2004), coarse to fine.

    Returns:
        float32 (B,), -1 .. 1; of the pairs as they lie, where that is more.
    """
    way = np.zeros((len(pictures), 4), np.float32)  # zoom and turn (a, b), shift (x, y)
    way[:, 2:] = _shift(pictures, known)
    side = pictures.shape[1]
    limit = np.array([FARTHEST, FARTHEST, FARTHEST * side, FARTHEST * side], np.float32)
    for times, steps in STEPS:
        smooth, under = _smooth(pictures, times), _smooth(known, times)
        for _ in range(steps):
            way = np.clip(way + _step(smooth, under, way), -limit, limit)
    fine, under = pictures - _smooth(pictures, BAND), known - _smooth(known, BAND)
    laid, inside = _laid(under, way)
    moved = np.where(inside.mean((1, 2)) >= OVERLAP, _correlation(fine, laid, inside), -1)
    return np.maximum(moved, _correlation(fine, under, np.ones_like(inside))).astype(np.float32)


def _shift(pictures: Float, known: Float) -> Float:
    """The shift (B, 2) in cells, x and y, after which the known images correlate best; at most 1/8 of a side."""
    side = pictures.shape[1]
    reach, window = side // 8, _window(side)
    spectra = [np.fft.rfft2((each - each.mean((1, 2), keepdims=True)) * window, s=(2 * side, 2 * side))
               for each in (pictures, known)]
    products = np.fft.irfft2(np.conj(spectra[0]) * spectra[1], s=(2 * side, 2 * side))
    around = np.arange(-reach, reach + 1)
    near = products[:, around[:, None], around[None]].reshape(len(pictures), -1).argmax(1)
    return np.stack([around[near % len(around)], around[near // len(around)]], 1).astype(np.float32)


def _step(pictures: Float, known: Float, way: Float) -> Float:
    """One step (B, 4) toward the least squared difference, with mean and contrast of the two made equal."""
    laid, inside = _laid(known, way)
    weight = inside.astype(np.float32)
    apart, under = _less_mean(pictures, weight), _less_mean(laid, weight)
    gain = np.maximum((apart * under).sum((1, 2)) / ((under**2).sum((1, 2)) + 1e-9), 0.1)[:, None, None]
    down, right = np.gradient(laid, axis=(1, 2))
    x, y = _grid(pictures.shape[1])
    slopes = np.stack([right * x + down * y, down * x - right * y, right, down], -1) * (gain * weight)[..., None]
    slopes = slopes.reshape(len(pictures), -1, 4)
    normal = slopes.transpose(0, 2, 1) @ slopes
    normal[:, range(4), range(4)] = normal[:, range(4), range(4)] * 1.01 + 1e-3  # damped, where an image is even
    wanted = slopes.transpose(0, 2, 1) @ (apart - gain * under).reshape(len(pictures), -1, 1)
    step: Float = np.linalg.solve(normal, wanted)[:, :, 0].astype(np.float32)
    return step


def _laid(known: Float, way: Float) -> tuple[Float, NDArray[np.bool_]]:
    """The known images after a shift, turn and zoom, interpolated; and where they cover the other's cells."""
    count, side, _ = known.shape
    x, y = _grid(side)
    zoom, turn, right, down = (way[:, place, None, None] for place in range(4))
    columns = x + zoom * x - turn * y + right + np.float32((side - 1) / 2)
    rows = y + turn * x + zoom * y + down + np.float32((side - 1) / 2)
    inside = (columns >= 0) & (columns <= side - 1) & (rows >= 0) & (rows <= side - 1)
    columns, rows = np.clip(columns, 0, side - 1.001), np.clip(rows, 0, side - 1.001)
    left, top = columns.astype(np.int64), rows.astype(np.int64)
    u, v = columns - left, rows - top
    flat, place = known.reshape(count, -1), (top * side + left).reshape(count, -1)

    def cells(offset: int) -> Float:
        return np.take_along_axis(flat, place + offset, 1).reshape(columns.shape)

    laid = (cells(0) * (1 - u) + cells(1) * u) * (1 - v) + (cells(side) * (1 - u) + cells(side + 1) * u) * v
    return laid.astype(np.float32), inside


def _correlation(one: Float, other: Float, inside: NDArray[np.bool_]) -> Float:
    """Correlation (B,) of two images over the cells inside; 0 where one of them is even there."""
    weight = inside.astype(np.float32)
    apart, under = _less_mean(one, weight), _less_mean(other, weight)
    spread = np.sqrt((apart**2).sum((1, 2)) * (under**2).sum((1, 2)))
    together = (apart * under).sum((1, 2))
    found: Float = np.divide(together, spread, out=np.zeros_like(together), where=spread > 1e-6).astype(np.float32)
    return found


def _less_mean(pictures: Float, weight: Float) -> Float:
    cells = np.maximum(weight.sum((1, 2), keepdims=True), 1)
    apart: Float = (pictures - (pictures * weight).sum((1, 2), keepdims=True) / cells) * weight
    return apart


def _smooth(pictures: Float, times: int) -> Float:
    """Images (N, S, S) averaged with their neighbors, 1 : 2 : 1 along both axes, so many times."""
    for _ in range(times):
        padded = np.pad(pictures, ((0, 0), (1, 1), (1, 1)), "edge")
        rows = (padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]) / 4
        smoothed: Float = ((rows[:, :, :-2] + 2 * rows[:, :, 1:-1] + rows[:, :, 2:]) / 4).astype(np.float32)
        pictures = smoothed
    return pictures


def _spectra(pictures: Float) -> Float:
    """Square roots of the magnitudes of the lowest frequencies (N, 231), of images faded out toward their edges."""
    side = pictures.shape[1]
    faded = (pictures - pictures.mean((1, 2), keepdims=True)) * _window(side)
    found = np.abs(np.fft.fftshift(np.fft.fft2(faded), axes=(1, 2)))
    middle = side // 2
    low = found[:, middle - KEPT : middle + KEPT + 1, middle : middle + KEPT + 1]  # the other half says the same
    return np.sqrt(low).reshape(len(pictures), -1).astype(np.float32)


def _even(pictures: Float) -> Float:
    """Images with a variance of 1; zero where they have none."""
    spread = np.sqrt((pictures**2).mean((1, 2), keepdims=True))
    even: Float = np.divide(pictures, spread, out=np.zeros_like(pictures), where=spread > 1e-6).astype(np.float32)
    return even


def _unit(rows: Float) -> Float:
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: Float = np.divide(rows, length, out=np.zeros_like(rows), where=length > 1e-9).astype(np.float32)
    return unit


@lru_cache(maxsize=4)
def _window(side: int) -> Float:
    fade = np.hanning(side + 2)[1:-1].astype(np.float32)
    window: Float = fade[:, None] * fade[None]
    return window


@lru_cache(maxsize=4)
def _grid(side: int) -> tuple[Float, Float]:
    """Places (S, S) of the cells from the middle, x and y."""
    y, x = np.mgrid[0:side, 0:side].astype(np.float32) - np.float32((side - 1) / 2)
    return x, y
