"""A small autoencoder that learns a published one's latent space, on a tiny teacher."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, AutoencoderTiny
from PIL import Image

from terrasynth.training.data import read_pairs
from terrasynth.training.data.latent_views import (
    ViewSettings,
    load_autoencoder,
    to_latents,
    to_pixels,
    view_pixels,
    views_in,
)
from terrasynth.training.data.views import read_split
from terrasynth.training.families.autoencoder_distil import (
    AutoencoderDistilSettings,
    AutoencoderDistilTask,
    LatentDiscriminator,
    disturbed,
)
from terrasynth.training.running.loop import train
from terrasynth.training.running.settings import LoopSettings
from terrasynth.training.train import run_preset
from tests.tiny import tiny_pictures

SMALL = {"views": {"size": 32, "count": 2}, "crop": 24, "margin": 8, "channels": 8, "encoder_blocks": [1, 1, 1, 1],
         "decoder_blocks": [1, 1, 1, 1], "val_images": 4}
CHANGES = {f"model.{key}": value for key, value in SMALL.items()} | {
    "loop.max_steps": 6, "loop.batch_size": 4, "loop.validate_every": 3, "loop.preview_every": 3,
    "loop.checkpoint_every": 3, "loop.warmup_steps": 0, "loop.mixed_precision": "no"}
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    torch.manual_seed(7)  # not that of a student
    folder = tmp_path_factory.mktemp("teacher") / "tiny"
    AutoencoderTiny(encoder_block_out_channels=(8,) * 4, decoder_block_out_channels=(8,) * 4,
                    num_encoder_blocks=(1,) * 4, num_decoder_blocks=(1,) * 4).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    with (folder / "pairs.jsonl").open("w") as file:
        for number, pixels in enumerate(tiny_pictures(20, size=40)):
            Image.fromarray(pixels).save(folder / f"{number}.png")
            row = {"file": f"{number}.png", "class": "beach", "captions": ["a beach"],
                   "split": "val" if number >= 16 else "train"}
            file.write(json.dumps(row) + "\n")
    return folder


def task_of(data, teacher, work, **changes):
    pairs = read_pairs(data)
    splits = {name: read_split(pairs.split(name), name, []) for name in ("train", "val")}
    torch.manual_seed(0)
    return AutoencoderDistilTask(splits, AutoencoderDistilSettings.model_validate(SMALL | changes), CPU, teacher, work)


def loop_of(**changes):
    return LoopSettings(**{"max_steps": 6, "batch_size": 4, "learning_rate": 3e-3, "warmup_steps": 0,
                           "mixed_precision": "no", "validate_every": 6, "preview_every": 9, "checkpoint_every": 3,
                           "ema_decay": 0.5, **changes})


def test_it_comes_nearer_to_the_teacher(data, teacher, tmp_path):
    task = task_of(data, teacher, tmp_path / "cache", adversarial_weight=0.0)
    before = task.validate()
    train(task, loop_of(max_steps=60, validate_every=60), tmp_path / "out")
    after = task.validate()
    assert after["psnr_teacher"] > before["psnr_teacher"] + 1
    assert after["latents_mse"] < 0.8 * before["latents_mse"]
    assert after["score"] == after["psnr_teacher"]


def test_its_latents_are_read_and_written_as_diffusers_does(teacher):
    pixels = torch.from_numpy(tiny_pictures(2, size=32)).permute(0, 3, 1, 2) / 127.5 - 1
    plain = AutoencoderTiny.from_pretrained(teacher)
    with torch.no_grad():
        expected = plain.encode(pixels).latents
    loaded = load_autoencoder(teacher, CPU)
    torch.testing.assert_close(to_latents(loaded, pixels), expected)
    torch.testing.assert_close(to_pixels(loaded, expected), plain.decode(expected).sample.detach())
    kl = AutoencoderKL(block_out_channels=(8,), norm_num_groups=8, scaling_factor=0.5, shift_factor=0.25).eval()
    with torch.no_grad():
        mean = kl.encode(pixels).latent_dist.mean
        torch.testing.assert_close(to_latents(kl, pixels), (mean - 0.25) * 0.5)
        torch.testing.assert_close(to_pixels(kl, (mean - 0.25) * 0.5), kl.decode(mean).sample)


def test_the_adversary_joins_when_it_is_told_to(data, teacher, tmp_path):
    task = task_of(data, teacher, tmp_path / "cache", adversarial_start=0.5)
    batch = task.batch(torch.arange(4), torch.Generator().manual_seed(0))
    assert "adversarial" not in task.losses("autoencoder", batch, 0.4)
    assert task.losses("discriminator", batch, 0.4) == {}
    drawn = task.losses("autoencoder", batch, 0.5)
    verdict = task.losses("discriminator", batch, 0.5)
    assert set(verdict) == {"hinge_patch", "hinge_texture"}
    inner = looked_at(task.model.decode(batch["latents"]).sample, batch["drawn_at"], 8)
    patch, texture = task.discriminator(inner, looked_at(batch["latents"], batch["drawn_at"], 1))
    torch.testing.assert_close(drawn["adversarial"], -0.05 * (patch.mean() + texture.mean()), rtol=1e-3, atol=1e-5)
    for parameter in task.discriminator.parameters():
        parameter.grad = None
    sum(verdict.values()).backward()
    assert all(parameter.grad is not None for parameter in task.discriminator.parameters())


def looked_at(crops, at, cell):
    """A window of one cell in each crop."""
    return torch.stack([crop[:, cell * top:cell * (top + 1), cell * left:cell * (left + 1)]
                        for crop, (top, left) in zip(crops, at.tolist(), strict=True)])


def test_the_losses_are_those_of_the_crops_without_their_margin(data, teacher, tmp_path):
    task = task_of(data, teacher, tmp_path / "cache", adversarial_weight=0.0)
    batch = task.batch(torch.arange(4), torch.Generator().manual_seed(3))
    assert batch["latents"].shape == (4, 4, 3, 3)
    assert batch["target"].shape == (4, 3, 24, 24)
    found = task.losses("autoencoder", batch, 0.0)
    drawn, target = (looked_at(crops, batch["drawn_at"], 8)
                     for crops in (task.model.decode(batch["latents"]).sample, batch["target"]))
    torch.testing.assert_close(found["l1"], 4 * F.l1_loss(drawn, target))
    torch.testing.assert_close(found["mean"], 2 * F.l1_loss(F.avg_pool2d(drawn, 4), F.avg_pool2d(target, 4)))
    code = task.model.encode(batch["pixels"]).latents
    torch.testing.assert_close(found["latents"], F.mse_loss(
        *(looked_at(each, batch["seen_at"], 1) for each in (code, batch["code"]))))


@pytest.mark.parametrize(("size", "windows"), [(48, {0: {0}, 1: {1}, 2: {1}, 3: {2}}), (24, {0: {0, 2}})])
def test_the_losses_look_as_far_as_the_images_own_edge(data, teacher, tmp_path, size, windows):
    """Elsewhere the teacher saw beyond the crop; at the edge of the image a decoder has nothing beyond it, either."""
    task = task_of(data, teacher, tmp_path / "cache")
    task.size = size
    generator = torch.Generator().manual_seed(0)
    found = {place: {task._windows([place], generator)[0] for _ in range(20)} for place in windows}
    assert found == windows


def test_every_pixel_of_an_image_is_looked_at(data, teacher, tmp_path):
    task = task_of(data, teacher, tmp_path / "cache", mixed_share=0.0)
    kept, seen = task.targets.read(3)["latents"].float(), torch.zeros(4, 4)
    for seed in range(60):
        batch = task.batch(torch.tensor([3]), torch.Generator().manual_seed(seed))
        ((top, left),) = [(top, left) for top in range(2) for left in range(2)
                          if torch.equal(kept[:, top:top + 3, left:left + 3], batch["latents"][0])]
        down, right = batch["drawn_at"][0].tolist()
        seen[top + down, left + right] = 1
    assert seen[[0, 0, 3, 3], [0, 3, 0, 3]].all()


def test_crops_are_of_the_same_place_in_latents_and_images(data, teacher, tmp_path):
    task = task_of(data, teacher, tmp_path / "cache", mixed_share=0.0)
    whole = to_pixels(load_autoencoder(teacher, CPU), task.targets.read(3)["latents"].float()[None])
    batch = task.batch(torch.tensor([3]), torch.Generator().manual_seed(1))
    kept = task.targets.read(3)["latents"].float()
    places = [(top, left) for top in range(2) for left in range(2)
              if torch.equal(kept[:, top:top + 3, left:left + 3], batch["latents"][0])]
    assert len(places) == 1
    top, left = (8 * place for place in places[0])
    shown = whole[0, :, top:top + 24, left:left + 24].clamp(-1, 1)
    assert (shown - batch["target"][0]).abs().max() < 2 / 255 + 0.02  # levels, and half precision


def test_the_teacher_is_asked_once(data, teacher, tmp_path, monkeypatch):
    import terrasynth.training.data.latent_views

    task = task_of(data, teacher, tmp_path / "cache")
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.safetensors")}
    assert len(files) == 2
    monkeypatch.setattr(terrasynth.training.data.latent_views.LatentViews, "_encode", None)
    monkeypatch.setattr(AutoencoderDistilTask, "_decode", None)
    again = task_of(data, teacher, tmp_path / "cache")
    assert files == {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.safetensors")}
    assert again.views.key == task.views.key


def test_some_latents_are_disturbed_and_the_rest_are_real(data, teacher, tmp_path):
    task = task_of(data, teacher, tmp_path / "cache", mixed_share=0.5)
    real = [{task.views.cache.read(row, view)["latents"].float().numpy().tobytes() for view in range(2)}
            for row in range(16)]
    found = [disturbed(task.views.cache, row, task.settings) for row in range(16)]
    kept = [latents.numpy().tobytes() in real[row] for row, latents in enumerate(found)]
    assert 2 <= sum(kept) <= 14
    assert all(torch.equal(found[row], disturbed(task.views.cache, row, task.settings)) for row in range(16))


def test_views_enlarge_nothing_and_the_first_is_the_middle():
    settings = ViewSettings(size=32, count=8, min_scale=0.1)
    found = views_in(5, 40, settings)
    assert found == views_in(5, 40, settings)
    assert min(view.scale for view in found) >= 32 / 40
    assert found != views_in(6, 40, settings)
    pair = type("Pair", (), {"open": staticmethod(lambda: Image.fromarray(tiny_pictures(1, size=32)[0]))})
    assert np.array_equal(view_pixels(pair, 0, settings)[0], tiny_pictures(1, size=32)[0])


def test_the_discriminator_sees_the_latents():
    torch.manual_seed(0)
    network = LatentDiscriminator(4, 8).eval()
    pixels, one, other = torch.randn(2, 3, 32, 32), torch.randn(2, 4, 4, 4), torch.randn(2, 4, 4, 4)
    patch, texture = network(pixels, one)
    assert (patch.shape, texture.shape) == ((2, 1, 4, 4), (2, 1, 32, 32))
    assert not torch.allclose(patch, network(pixels, other)[0])
    assert torch.equal(texture, network(pixels, other)[1])


def test_the_preset_trains_and_goes_on_where_it_was(data, teacher, tmp_path):
    run_preset("autoencoder-distil", data, tmp_path / "one", overrides=CHANGES, teacher=str(teacher))
    halves = CHANGES | {"loop.max_steps": 3}
    run_preset("autoencoder-distil", data, tmp_path / "two", overrides=halves, teacher=str(teacher))
    run_preset("autoencoder-distil", data, tmp_path / "two", overrides=CHANGES, teacher=str(teacher))
    record = json.loads((tmp_path / "two" / "training.json").read_text())
    assert (record["steps"], record["teacher"]["name"]) == (6, "tiny")
    assert str(tmp_path) not in json.dumps(record)
    own = AutoencoderTiny.from_pretrained(tmp_path / "one")
    assert own.config.latent_channels == 4
    assert record["parameters"] == sum(parameter.numel() for parameter in own.parameters())


def test_another_teacher_is_another_training(data, teacher, tmp_path, terrasynth):
    options = [part for key, value in CHANGES.items() for part in ("--set", f"{key}={json.dumps(value)}")]
    command = ["train", "autoencoder-distil", "--data", data, "--out", tmp_path / "out", *options]
    assert terrasynth(*command, "--teacher", teacher)[0] == 0
    other = tmp_path / "other"
    torch.manual_seed(1)
    AutoencoderTiny(encoder_block_out_channels=(8,) * 4, decoder_block_out_channels=(8,) * 4,
                    num_encoder_blocks=(1,) * 4, num_decoder_blocks=(1,) * 4).save_pretrained(other)
    code, _, lines = terrasynth(*command, "--teacher", other)
    assert code == 2
    assert "is of another training: teacher: " in lines[-1]


@pytest.mark.parametrize(("preset", "options", "said"), [
    ("autoencoder-distil", [], "needs --teacher"),
    ("autoencoder-distil", ["--teacher", "nowhere"], "is no autoencoder of diffusers"),
    ("autoencoder-distil", ["--teacher", "TEACHER", "--set", "model.crop=16"], "more than twice model.margin"),
    ("autoencoder-distil", ["--teacher", "TEACHER", "--set", "model.adversarial_start=1"], "model.adversarial_start"),
    ("autoencoder-distil", ["--teacher", "UNET"], "is 'UNet2DModel', which is no autoencoder"),
    ("autoencoder-distil", ["--teacher", "TEACHER", "--set", "load_size=64"], "set model.views.size"),
    ("autoencoder-distil", ["--teacher", "TEACHER", "--set", "needs.initial=nowhere"], "'nowhere' is neither embedded"),
    ("autoencoder-distil", ["--teacher", "KL"], "one that is 8 times smaller is needed"),
    ("scene-ucm", ["--teacher", "TEACHER"], "learns from no other model"),
])
def test_what_cannot_be_is_one_line(data, teacher, tmp_path, terrasynth, preset, options, said):
    AutoencoderKL(block_out_channels=(8,), norm_num_groups=8).save_pretrained(tmp_path / "kl")
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "config.json").write_text('{"_class_name": "UNet2DModel"}')
    places = {"TEACHER": teacher, "KL": tmp_path / "kl", "UNET": tmp_path / "unet"}
    small = [] if preset != "autoencoder-distil" else [
        part for key, value in CHANGES.items() for part in ("--set", f"{key}={json.dumps(value)}")]
    given = [*small, *(places.get(option, option) for option in options)]
    code, _, lines = terrasynth("train", preset, "--data", data, "--out", tmp_path / "out", *given)
    assert code == 2
    assert said in lines[-1]
    assert not list((tmp_path / "out").rglob("*.safetensors")), "nothing is cached before it is known to fit"
