"""Told apart by texture, spectra and grids, on images whose faults are known."""

import numpy as np
import pytest
from PIL import Image

from terrasynth.eval.errors import InputError
from terrasynth.eval.metrics.realism import compare_spectra, mean_power, tell_apart, texture_features

SIDE = 64


def natural(n: int, seed: int) -> np.ndarray:
    """Noise with a spectrum that falls with the square of the frequency, as real images have it: uint8 (N, S, S, 3)."""
    random = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(SIDE)[:, None], np.fft.fftfreq(SIDE))
    frequency[0, 0] = 1
    images = []
    for _ in range(n):
        noise = np.fft.ifft2(np.fft.fft2(random.normal(size=(3, SIDE, SIDE))) / frequency).real
        noise = noise.mean(0) + 0.3 * noise
        scaled = 128 + random.uniform(20, 50) * noise / noise.std() + random.uniform(-30, 30)
        images.append(scaled.clip(0, 255).transpose(1, 2, 0))
    return np.stack(images).astype(np.uint8)


def blurred(images: np.ndarray) -> np.ndarray:
    small = [Image.fromarray(image).resize((SIDE // 2, SIDE // 2), Image.Resampling.LANCZOS) for image in images]
    return np.stack([np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BICUBIC)) for image in small])


def with_grid(images: np.ndarray, period: int, height: int = 12) -> np.ndarray:
    grid = np.zeros((SIDE, SIDE, 1))
    grid[::period] += height
    grid[:, ::period] += height
    return (images + grid).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("fine", [False, True])
def test_images_of_one_kind_are_told_apart_no_better_than_by_chance(fine: bool) -> None:
    found = tell_apart(natural(60, 0), natural(60, 1), fine)
    assert 0.35 < found.accuracy < 0.65
    assert found.null_low <= found.null <= found.null_high
    assert 0.35 < found.null < 0.65
    assert found.low <= found.accuracy <= found.high


@pytest.mark.parametrize("fault", [blurred, lambda images: with_grid(images, 8)])
def test_a_blur_and_a_grid_give_images_away(fault: object) -> None:
    found = tell_apart(fault(natural(60, 0)), natural(60, 1))  # type: ignore[operator]
    assert found.accuracy > 0.9 > found.null_high


def test_the_many_measures_see_what_the_few_do_not() -> None:
    """A slightly weaker upper half of the spectrum."""
    images = natural(80, 0).astype(float)
    spectrum = np.fft.fft2(images, axes=(1, 2))
    frequency = np.hypot(np.fft.fftfreq(SIDE)[:, None], np.fft.fftfreq(SIDE))
    spectrum *= np.where(frequency > 0.3, 0.8, 1.0)[None, :, :, None]
    softer = np.fft.ifft2(spectrum, axes=(1, 2)).real.clip(0, 255).astype(np.uint8)
    assert tell_apart(softer, natural(80, 1), fine=True).accuracy > 0.8


def test_a_grid_stands_out_at_its_period_alone() -> None:
    real = natural(40, 1)
    spectrum = compare_spectra(with_grid(natural(40, 0), 4), real)
    assert spectrum.peaks[4] > 6
    none = compare_spectra(natural(40, 0), real)
    assert all(abs(value) < 1 for value in none.peaks.values())
    assert abs(none.fine) < 1


def test_half_the_amplitude_above_a_quarter_cycle_is_six_decibels() -> None:
    images = natural(30, 0).astype(float) / 2 + 64  # no clipping
    spectrum = np.fft.fft2(images, axes=(1, 2))
    frequency = np.hypot(np.fft.fftfreq(SIDE)[:, None], np.fft.fftfreq(SIDE))
    spectrum *= np.where(frequency > 0.25, 0.5, 1.0)[None, :, :, None]
    softer = np.fft.ifft2(spectrum, axes=(1, 2)).real.round().clip(0, 255).astype(np.uint8)
    found = compare_spectra(softer, images.round().astype(np.uint8))
    assert found.fine == pytest.approx(-6.02, abs=0.7)  # the window spreads the step, and rounding adds noise


def test_power_sums_to_the_variance() -> None:
    """Parseval: of white noise the window leaves the mean square alone."""
    images = np.random.default_rng(0).integers(100, 156, (50, SIDE, SIDE, 1)).astype(np.uint8).repeat(3, 3)
    variance = images[..., 0].astype(float).var((1, 2)).mean()
    assert mean_power(images).sum() == pytest.approx(variance, rel=0.02)


def test_features_do_not_depend_on_the_other_images() -> None:
    images = natural(4, 0)
    for fine, width in ((False, 18), (True, 72)):
        rows = texture_features(images, fine)
        assert rows.shape == (4, width)
        np.testing.assert_array_equal(rows[2:3], texture_features(images[2:3], fine))
        assert np.isfinite(texture_features(np.zeros((1, SIDE, SIDE, 3), np.uint8), fine)).all()


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(InputError, match="one size"):
        compare_spectra(natural(2, 0), np.zeros((2, 32, 32, 3), np.uint8))
    with pytest.raises(InputError, match="too small"):
        texture_features(np.zeros((1, 16, 16, 3), np.uint8))
    with pytest.raises(InputError, match="needs 10"):
        tell_apart(natural(9, 0), natural(40, 1))


def test_as_many_of_either_side_are_shown() -> None:
    """Else a classifier that sees nothing names the larger side, and is right more often than not."""
    found = tell_apart(natural(12, 0), natural(90, 1))
    assert (found.n, found.n_halves) == (12, 45)
    assert 0.2 < found.accuracy < 0.8
    assert found.low <= found.accuracy <= found.high
    assert tell_apart(blurred(natural(90, 0)), natural(20, 1)).n == 20
