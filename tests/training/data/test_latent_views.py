"""Latents and views on disk, against the autoencoder and the images themselves."""

import numpy as np
import pytest
import torch
from diffusers import AutoencoderTiny
from PIL import Image
from safetensors.torch import load_file, save_file

from terrasynth.synthesis.core.errors import InputError
from terrasynth.training.data import Pair, latent_cache
from terrasynth.training.data.latent_cache import TensorCache
from terrasynth.training.data.latent_views import (
    LatentViews,
    ViewSettings,
    ground_distances,
    load_autoencoder,
    views_in,
)
from terrasynth.training.data.views import Pictures
from tests.tiny import tiny_pictures

CPU = torch.device("cpu")
SETTINGS = ViewSettings(size=32, count=3, min_scale=0.5)


def pair_of(number, size=48):
    pixels = tiny_pictures(1, size=size, seed=number)[0]
    return Pair(f"{number}.png", "beach", "train", ("a beach",), lambda: Image.fromarray(pixels))


@pytest.fixture(scope="module")
def autoencoder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("autoencoder")
    torch.manual_seed(7)
    AutoencoderTiny(encoder_block_out_channels=(8,) * 4, decoder_block_out_channels=(8,) * 4,
                    num_encoder_blocks=(1,) * 4, num_decoder_blocks=(1,) * 4).save_pretrained(folder)
    return folder


def test_all_rows_are_the_rows_one_by_one_and_few_files_stay_open(tmp_path, monkeypatch):
    monkeypatch.setattr(latent_cache, "MOST_OPEN", 2)
    cache = TensorCache(tmp_path / "c", 11, 3)
    values = torch.arange(22).view(11, 2)
    cache.make(lambda rows: {"x": values[rows.start:rows.stop], "y": -values[rows.start:rows.stop]})
    assert torch.equal(cache.all("x"), values)
    assert len(cache._open) == 2
    assert torch.equal(cache.all("y"), torch.stack([cache.read(row)["y"] for row in range(11)]))
    assert len(cache._open) == 2


def test_all_latents_are_those_of_the_views(autoencoder, tmp_path):
    images = Pictures(tuple(pair_of(number) for number in range(3)), "digest")
    views = LatentViews(images, SETTINGS, autoencoder, tmp_path, CPU)
    found, plain = views.all_latents(), AutoencoderTiny.from_pretrained(autoencoder)
    assert (found.shape, found.dtype) == ((3, 3, 4, 4, 4), torch.float16)
    for row, pair in enumerate(images.pairs):
        for number, view in enumerate(views_in(row, 48, SETTINGS)):
            seen = view.of(pair.open(), 32)
            assert np.array_equal(views.pixels(row, number).numpy(), seen)
            floats = torch.from_numpy(seen)[None].permute(0, 3, 1, 2) / 127.5 - 1
            with torch.no_grad():
                expected = plain.encode(floats).latents[0]
            torch.testing.assert_close(found[row, number].float(), expected, rtol=2e-3, atol=2e-3)


def test_a_view_has_the_ground_distance_of_the_part_that_it_shows():
    pairs = [pair_of(0, size=48), pair_of(1, size=64), pair_of(2)]
    found = ground_distances(pairs, SETTINGS, [0.5, 2.0, None])
    assert found.shape == (3, 3)
    assert found[0, 0] == pytest.approx(0.5 * 48 / 32)
    assert found[1, 0] == pytest.approx(2.0 * 64 / 32)
    for row, (side, meters) in enumerate([(48, 0.5), (64, 2.0)]):
        ground = [view.scale * side * meters for view in views_in(row, side, SETTINGS)]
        assert found[row] * 32 == pytest.approx(ground, rel=1e-6)
        assert min(found[row]) >= meters * (1 - 1e-6), "no view is enlarged"
    assert np.isnan(found[2]).all()


def test_an_image_that_cannot_be_read_any_more_is_named():
    def broken():
        raise OSError("gone")

    with pytest.raises(InputError, match=r"real image 'x\.png' cannot be read \(gone\)"):
        ground_distances([Pair("x.png", "", "train", ("a",), broken)], SETTINGS, [1.0])


def test_only_whole_safetensors_are_loaded(tmp_path):
    torch.manual_seed(0)
    own = AutoencoderTiny(encoder_block_out_channels=(8,) * 4, decoder_block_out_channels=(8,) * 4,
                          num_encoder_blocks=(1,) * 4, num_decoder_blocks=(1,) * 4)
    own.save_pretrained(tmp_path / "half", variant="fp16")
    loaded = load_autoencoder(tmp_path / "half", CPU)
    assert all(torch.equal(value, own.state_dict()[name]) for name, value in loaded.state_dict().items())
    own.save_pretrained(tmp_path / "pickled", safe_serialization=False)
    own.save_pretrained(tmp_path / "lacks")
    state = load_file(tmp_path / "lacks" / "diffusion_pytorch_model.safetensors")
    state.popitem()
    save_file(state, tmp_path / "lacks" / "diffusion_pytorch_model.safetensors")
    for name in ("pickled", "lacks"):
        with pytest.raises(InputError, match=f"autoencoder '{name}'") as refused:
            load_autoencoder(tmp_path / name, CPU)
        assert "\n" not in str(refused.value)
