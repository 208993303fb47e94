import numpy as np
import torch
from PIL import Image

from terrasynth.training.data.pictures import dihedral, random_dihedral, random_view, square, to_float
from terrasynth.training.running.sheets import tile
from tests.tiny import tiny_pictures


def test_the_eight_turns_are_distinct_and_keep_every_pixel():
    x = torch.arange(9.0).view(1, 1, 3, 3)
    turned = {tuple(dihedral(x, which).flatten().tolist()) for which in range(8)}
    assert len(turned) == 8
    assert all(sorted(t) == list(range(9)) for t in turned)


def test_random_dihedral_turns_each_sample_by_itself_and_repeats_with_the_seed():
    x = torch.arange(64.0).view(1, 1, 8, 8).expand(32, 1, 8, 8)
    first = random_dihedral(x, torch.Generator().manual_seed(1))
    assert torch.equal(first, random_dihedral(x, torch.Generator().manual_seed(1)))
    assert len({tuple(sample.flatten().tolist()) for sample in first}) == 8


def test_a_full_view_without_jitter_keeps_mean_and_range():
    pixels = torch.from_numpy(tiny_pictures(4, size=64)).permute(0, 3, 1, 2)
    views = random_view(pixels, 64, torch.Generator().manual_seed(0), min_scale=1.0, jitter=0.0)
    assert views.shape == (4, 3, 64, 64)
    assert views.min() >= -1 - 1e-5
    assert views.max() <= 1 + 1e-5
    whole = to_float(pixels).mean((1, 2, 3))
    assert torch.allclose(views.mean((1, 2, 3)), whole, atol=0.15)


def test_views_differ_between_samples_and_repeat_with_the_seed():
    pixels = torch.from_numpy(tiny_pictures(1, size=64)).permute(0, 3, 1, 2).repeat(2, 1, 1, 1)
    one = random_view(pixels, 32, torch.Generator().manual_seed(3))
    assert not torch.allclose(one[0], one[1], atol=0.05)
    assert torch.equal(one, random_view(pixels, 32, torch.Generator().manual_seed(3)))


def test_square_crops_the_middle():
    wide = np.zeros((10, 30, 3), np.uint8)
    wide[:, 10:20] = 200
    assert (square(Image.fromarray(wide), 10) == 200).all()


def test_tile_puts_pictures_row_by_row():
    pictures = torch.stack([torch.full((3, 2, 2), value) for value in (-1.0, 0.0, 1.0)])
    sheet = tile(pictures, columns=2)
    assert sheet.shape == (4, 4, 3)
    assert [int(sheet[0, 0, 0]), int(sheet[0, 2, 0]), int(sheet[2, 0, 0]), int(sheet[2, 2, 0])] == [0, 128, 255, 0]
