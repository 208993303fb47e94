import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from terrasynth.training.data.latent_cache import TensorCache
from terrasynth.training.data.pictures import dihedral
from terrasynth.training.data.views import View
from terrasynth.training.tuning.settings import FinetuneSettings
from tests.synthesis.helpers import exchange
from tests.tiny_pipelines import SIZE, sd
from tests.training.finetuning import make_task, write_pictures


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return sd(tmp_path_factory.mktemp("base"))


def _shards(cache):
    return {path.relative_to(cache): path.stat().st_mtime_ns for path in cache.rglob("*.safetensors")}


def test_latents_are_those_of_the_turned_pictures(base, tmp_path):
    data = write_pictures(tmp_path / "data")
    task = make_task(base, data, tmp_path / "cache")
    with torch.no_grad():
        for view in (0, 3, 6):
            pixels = np.asarray(task.train.pairs[5].open().resize((SIZE, SIZE), Image.Resampling.LANCZOS))
            turned = dihedral(torch.from_numpy(pixels.copy()).permute(2, 0, 1), view).float() / 127.5 - 1
            expected = task.pipeline.vae.encode(turned[None]).latent_dist
            found = task.latents.read([5], [view])
            assert torch.allclose(found["mean"], expected.mean * 0.5, atol=2e-3)
            assert torch.allclose(found["std"], expected.std * 0.5, atol=2e-3)


def test_what_is_cached_is_read_and_what_changed_is_made_anew(base, tmp_path):
    data, cache = write_pictures(tmp_path / "data"), tmp_path / "cache"
    first = make_task(base, data, cache)
    made = _shards(cache)
    assert len(made) == 3  # latents of train and of val, texts
    second = make_task(base, data, cache)
    assert _shards(cache) == made
    rows = torch.arange(4)
    batches = [task.batch(rows, torch.Generator().manual_seed(0)) for task in (first, second)]
    assert torch.equal(batches[0]["latents"], batches[1]["latents"])
    make_task(base, data, cache, conditioning={"template": "{caption} of {label}"})
    assert len(_shards(cache)) == 4  # other texts, the same pictures
    picture = np.array(Image.open(data / "beach" / "0.png"))
    picture[0, 0, 0] ^= 1
    Image.fromarray(picture).save(data / "beach" / "0.png")
    make_task(base, data, cache)
    assert len(_shards(cache)) == 5
    make_task(sd(tmp_path / "other", seed=1), data, cache)
    assert len(_shards(cache)) == 8  # other weights: everything
    assert made.items() <= _shards(cache).items()


def test_a_shard_that_is_missing_is_made_and_the_others_are_left(tmp_path):
    def encode(rows):
        asked.append(rows)
        return {"x": torch.tensor(list(rows)).float()}

    asked: list = []
    cache = TensorCache(tmp_path / "c", 10, 4)
    cache.make(encode)
    assert asked == [range(4), range(4, 8), range(8, 10)]
    (tmp_path / "c" / "00001.safetensors").unlink()
    TensorCache(tmp_path / "c", 10, 4).make(encode)
    assert asked[3:] == [range(4, 8)]
    assert [TensorCache(tmp_path / "c", 10, 4).read(row)["x"].item() for row in range(10)] == list(range(10))


def test_a_shard_that_is_damaged_or_of_another_place_is_made_again(tmp_path, caplog):
    def encode(rows):
        asked.append(rows)
        return {"x": torch.tensor(list(rows)).float()}

    asked: list = []
    cache = TensorCache(tmp_path / "c", 12, 4)
    cache.make(encode)
    exchange(tmp_path / "c" / "00000.safetensors", tmp_path / "c" / "00001.safetensors")
    TensorCache(tmp_path / "c", 12, 4).make(encode)
    assert asked[3:] == [range(4), range(4, 8)]
    assert "00000.safetensors holds other rows than its place" in caplog.text
    path = tmp_path / "c" / "00002.safetensors"
    path.write_bytes(path.read_bytes()[:-3])
    TensorCache(tmp_path / "c", 12, 4).make(encode)
    assert asked[5:] == [range(8, 12)]
    save_file({"x": torch.zeros(3)}, path)  # without a place, as earlier versions wrote it, and too short
    cache = TensorCache(tmp_path / "c", 12, 4)
    cache.make(encode)
    assert asked[6:] == [range(8, 12)]
    assert [cache.read(row)["x"].item() for row in range(12)] == list(range(12))


def test_cached_texts_are_what_the_encoder_says(base, tmp_path):
    task = make_task(base, write_pictures(tmp_path / "data"), tmp_path / "cache")
    texts = ["a river and a bridge", "green grass on the beach"]
    cached = task.conditions(texts)["prompt_embeds"]
    assert torch.allclose(cached, task._encoded(texts)["prompt_embeds"], atol=2e-3)


def test_views_are_true_views_from_above():
    settings = FinetuneSettings(method="lora", min_scale=0.5, views=64)
    views = settings.views_of(3, seed=0)
    assert views[0] == View()
    assert views == settings.views_of(3, seed=0)
    assert views != settings.views_of(4, seed=0)
    assert all(0.5 <= view.scale <= 1 and 0 <= view.left <= 1 and 0 <= view.top <= 1 for view in views)
    assert {view.turn for view in views} == set(range(8))
    assert {view.turn for view in settings.model_copy(update={"augment": "none"}).views_of(3, 0)} == {0}


def test_a_view_keeps_shapes_and_colours():
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[10:30, 20:40] = (200, 10, 60)  # a square in the middle
    whole = View().of(Image.fromarray(pixels), 20)
    near = View(turn=5, scale=0.5).of(Image.fromarray(pixels), 20)
    assert (whole[8:12, 8:12] == (200, 10, 60)).all()
    assert (near == (200, 10, 60)).all()
    red = (whole[..., 0] > 100).sum(0), (whole[..., 0] > 100).sum(1)
    assert np.array_equal(*red)  # as wide as high


def test_a_nearer_view_says_a_smaller_distance(base, tmp_path):
    task = make_task(base, write_pictures(tmp_path / "data"), tmp_path / "cache", min_scale=0.5, views=4,
                     conditioning={"template": "{caption} gsd {gsd} m", "gsd": 0.6})
    views = task.settings.views_of(2, 0)
    assert task.rendered[2][0][0] == "a river and a bridge gsd 0.6 m"
    for view, texts in zip(views, task.rendered[2], strict=True):
        assert float(texts[0].split()[-2]) == pytest.approx(0.6 * view.scale, rel=0.05)
    assert json.loads(task.settings.conditioning.model_dump_json())["gsd"] == 0.6
