"""The diffusion model on latent views: its texts, its loss against the equations, and what it leaves behind."""

import json

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, AutoencoderTiny, DDIMScheduler, StableDiffusionPipeline
from PIL import Image
from pydantic import ValidationError
from safetensors.torch import load_file

import terrasynth.synthesis.core.errors
from terrasynth.synthesis import load_generator
from terrasynth.synthesis.core.sampling import Sampling, read_sampling
from terrasynth.synthesis.generators.conditions.caption import Conditioning, read_conditioning
from terrasynth.training.data import Pair, read_pairs
from terrasynth.training.data.latent_views import ViewSettings, view_pixels, views_in
from terrasynth.training.data.view_texts import TextSettings, ViewTexts
from terrasynth.training.data.views import read_split
from terrasynth.training.errors import InputError
from terrasynth.training.families.diffusion import NOISE_SCHEDULE, DiffusionSettings, DiffusionTask, tell_of_cut
from terrasynth.training.running.loop import train
from terrasynth.training.running.settings import LoopSettings
from terrasynth.training.train import run_preset
from tests.tiny import tiny_pictures

CPU = torch.device("cpu")
SMALL = {"views": {"size": 32, "count": 3}, "channels": [16, 16], "groups": 8, "heads": 2, "text_width": 16,
         "text_layers": 1, "vocabulary": 600, "val_images": 4, "preview": 2, "val_steps": 2}
CHANGES = {f"model.{key}": value for key, value in SMALL.items()} | {
    "loop.max_steps": 4, "loop.batch_size": 4, "loop.validate_every": 2, "loop.preview_every": 4,
    "loop.checkpoint_every": 2, "loop.warmup_steps": 0, "loop.mixed_precision": "no"}
CLASSES = ("beach", "dense_residential")


def write_data(folder, classes=CLASSES, gsd=None):
    folder.mkdir()
    with (folder / "pairs.jsonl").open("w") as file:
        for number, pixels in enumerate(tiny_pictures(16, size=48, seed=len(classes))):
            Image.fromarray(pixels).save(folder / f"{number}.png")
            row = {"file": f"{number}.png", "captions": [f"one {number % 3} .", f"two {number % 3} ."],
                   "split": "val" if number >= 12 else "train"}
            row |= {"class": classes[number % len(classes)]} if classes else {}
            file.write(json.dumps(row | ({"gsd": gsd} if gsd and number % 2 else {})) + "\n")
    return folder


def autoencoder_at(folder, seed, kind=AutoencoderTiny, **settings):
    torch.manual_seed(seed)
    if kind is AutoencoderTiny:
        kind(encoder_block_out_channels=(8,) * 4, decoder_block_out_channels=(8,) * 4,
             num_encoder_blocks=(1,) * 4, num_decoder_blocks=(1,) * 4, **settings).save_pretrained(folder)
        return folder
    kind(down_block_types=["DownEncoderBlock2D"] * 4, up_block_types=["UpDecoderBlock2D"] * 4, norm_num_groups=4,
         block_out_channels=[8] * 4, mid_block_add_attention=False, **settings).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    root = tmp_path_factory.mktemp("diffusion")
    write_data(root / "data")
    autoencoder_at(root / "decoder", 1)
    autoencoder_at(root / "encoder", 2, AutoencoderKL, scaling_factor=0.5)
    return root


def images_of(*folders):
    pairs = read_pairs(list(folders))
    return {name: read_split(pairs.split(name), name, []) for name in ("train", "val")}


def task_of(places, work, encoder=None, data=(), **changes):
    images = images_of(*(data or [places / "data"]))
    torch.manual_seed(0)
    return DiffusionTask(images, DiffusionSettings.model_validate(SMALL | changes), CPU, places / "decoder",
                         work / "cache", encoder)


@pytest.fixture(scope="module")
def diffusion(places, tmp_path_factory):
    return task_of(places, tmp_path_factory.mktemp("task"), gsd=[0.3])


# The equations

def test_the_target_is_the_velocity_and_the_sampler_understands_it(diffusion):
    """v = alpha * noise - sigma * x (Salimans & Ho, appendix D); DDIM takes the true v back to x in one step."""
    schedule = diffusion.noise_schedule
    x, noise = torch.randn(2, 3, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    t = torch.tensor([3, 500, 999])
    alpha = schedule.alphas_cumprod[t].sqrt().view(-1, 1, 1, 1)
    sigma = (1 - schedule.alphas_cumprod[t]).sqrt().view(-1, 1, 1, 1)
    v = schedule.get_velocity(x, noise, t)
    assert torch.allclose(v, alpha * noise - sigma * x, atol=1e-6)
    sampler = DDIMScheduler(**NOISE_SCHEDULE, clip_sample=False)
    sampler.set_timesteps(1000)
    noisy = schedule.add_noise(x, noise, t)
    for i in range(3):
        back = sampler.step(v[i:i + 1], int(t[i]), noisy[i:i + 1]).pred_original_sample
        assert torch.allclose(back, x[i:i + 1], atol=1e-4)


@pytest.mark.parametrize("gamma", [5.0, 0.5, None])
def test_min_snr_weight_of_v(diffusion, monkeypatch, gamma):
    """min(SNR, gamma) / (SNR + 1): the loss of a network that says zero is the weighted mean square of v."""
    monkeypatch.setattr(diffusion, "settings", diffusion.settings.model_copy(update={"snr_gamma": gamma}))
    batch = diffusion.batch(torch.arange(8), torch.Generator().manual_seed(1))
    zero = lambda noisy, *_, **__: (torch.zeros_like(noisy),)  # noqa: E731
    monkeypatch.setattr(diffusion.unet, "forward", zero)
    bar = diffusion.noise_schedule.alphas_cumprod[batch["timesteps"]]
    snr = bar / (1 - bar)
    alpha, sigma = bar.sqrt().view(-1, 1, 1, 1), (1 - bar).sqrt().view(-1, 1, 1, 1)
    v = alpha * batch["noise"] - sigma * batch["latents"]
    weight = torch.ones_like(snr) if gamma is None else torch.minimum(snr, torch.tensor(gamma)) / (snr + 1)
    expected = (weight * v.square().mean((1, 2, 3))).mean()
    assert torch.allclose(diffusion.losses("model", batch, 0.0)["v"], expected, rtol=1e-4)


def test_the_figures_on_val_are_errors_at_fixed_levels_and_name_no_best(diffusion, monkeypatch):
    zero = lambda noisy, *_, **__: (torch.zeros_like(noisy),)  # noqa: E731
    monkeypatch.setattr(diffusion.unet, "forward", zero)
    found = diffusion.validate()
    assert found == diffusion.validate()
    noise = torch.randn(diffusion.val_latents.shape, generator=torch.Generator().manual_seed(0))
    for level in (100, 900):
        bar = diffusion.noise_schedule.alphas_cumprod[level]
        v = bar.sqrt() * noise - (1 - bar).sqrt() * diffusion.val_latents
        assert found[f"v_{level}"] == pytest.approx(v.square().mean().item(), rel=1e-4)
    assert found["loss"] == pytest.approx(np.mean([found[f"v_{level}"] for level in (100, 300, 500, 700, 900)]))
    assert found["n"] == 4
    assert "score" not in found


# What is learned

def test_latents_are_those_of_the_published_encoder_and_images_come_from_the_own_decoder(places, tmp_path):
    task = task_of(places, tmp_path, encoder=places / "encoder")
    teacher = AutoencoderKL.from_pretrained(places / "encoder")
    pair = task.splits["train"].pairs[5]
    pixels = torch.from_numpy(view_pixels(pair, 5, task.settings.views)).permute(0, 3, 1, 2) / 127.5 - 1
    with torch.no_grad():
        expected = teacher.encode(pixels).latent_dist.mode() * 0.5
    assert torch.allclose(task.latents[5].float(), expected, atol=5e-3)
    batch = task.batch(torch.full((32,), 5), torch.Generator().manual_seed(0))
    seen = {view for latents in batch["latents"] for view in range(3)
            if torch.equal(latents, task.latents[5, view].float())}
    assert seen == {0, 1, 2}
    pipeline = task.pipeline()
    assert isinstance(pipeline.vae, AutoencoderTiny)
    own = AutoencoderTiny.from_pretrained(places / "decoder").state_dict()
    assert all(torch.equal(tensor, own[name]) for name, tensor in pipeline.vae.state_dict().items())
    assert sorted(path.name[:6] for path in (tmp_path / "cache").iterdir()) == ["views-"]


def test_a_text_says_what_is_known_and_leaves_parts_out_at_their_rates(places):
    images = images_of(places / "data")["train"]
    views = ViewSettings(size=32, count=3)
    texts = ViewTexts(images.pairs, views, TextSettings(gsd=(0.3,), caption_dropout=0.1, part_dropout=0.25))
    assert texts.of(1, 0) == "one 1 . ; dense residential ; 0.45 m"  # 48 pixels of 0.3 m as 32
    assert texts.of(1, 0, 0.99, label=False) == "two 1 . ; 0.45 m"
    assert texts.of(0, 0, distance=False) == "one 0 . ; beach"
    scale = views_in(1, 48, views)[2].scale
    assert texts.of(1, 2).endswith(f" ; {0.45 * scale:.2g} m")
    assert "one 1 . ; dense residential ; 0.45 m" in texts.vocabulary()
    chances = np.random.default_rng(0).uniform(size=(20_000, 4))
    drawn = [texts.drawn(1, 0, chance) for chance in chances.tolist()]
    told = [text for text in drawn if text]
    assert 1 - len(told) / len(drawn) == pytest.approx(0.1, abs=0.01)
    residential, meters = (np.array([part in text for text in told]) for part in (" ; dense residential", " m"))
    assert residential.mean() == pytest.approx(0.75, abs=0.015)
    assert meters.mean() == pytest.approx(0.75, abs=0.015)
    assert (residential & meters).mean() == pytest.approx(0.75**2, abs=0.015)  # independently of each other
    assert np.mean(["one" in text for text in told]) == pytest.approx(0.5, abs=0.015)


def test_the_distance_is_the_row_s_own_or_that_of_its_data_set(tmp_path):
    folders = [write_data(tmp_path / "a", gsd=2.0), write_data(tmp_path / "b", classes=())]
    pairs = images_of(*folders)["train"].pairs
    views = ViewSettings(size=48, count=1)
    found = ViewTexts(pairs, views, TextSettings(gsd=(None, 0.5))).gsd[:, 0]
    assert found[1:12:2] == pytest.approx(2.0)
    assert np.isnan(found[0:12:2]).all()
    assert found[12:] == pytest.approx(0.5)
    texts = ViewTexts(pairs, views, TextSettings(gsd=(None, 0.5)))
    assert texts.of(12, 0) == "one 0 . ; 0.5 m"  # of a data set without classes
    assert np.isnan(ViewTexts(pairs, views, TextSettings()).gsd[12:]).all()
    with pytest.raises(InputError, match=r"model\.gsd has 1 entries; give one for each --data"):
        ViewTexts(pairs, views, TextSettings(gsd=(0.3,)))


def test_a_distance_for_drawing_is_not_told_in_training_in_place_of_one_left_out():
    pair = Pair("x.png", "beach", "train", ("sand",), lambda: Image.new("RGB", (32, 32)))
    conditioning = Conditioning(template="{caption}[ ; {gsd} m]", gsd=0.5)
    texts = ViewTexts([pair], ViewSettings(size=32, count=1), TextSettings(conditioning=conditioning))
    assert texts.of(0, 0) == "sand"


def test_dropped_captions_are_the_empty_text_of_the_tokenizer(diffusion):
    null = torch.tensor(diffusion.tokenizer([""], padding="max_length", truncation=True)["input_ids"][0])
    ids = torch.cat([diffusion.batch(torch.arange(12), torch.Generator().manual_seed(seed))["input_ids"]
                     for seed in range(100)])
    assert (ids == null).all(1).float().mean() == pytest.approx(0.1, abs=0.03)


# From a preset to images

def test_the_preset_trains_goes_on_where_it_was_and_its_model_draws(places, tmp_path):
    needs = {"needs.autoencoder": str(places / "decoder"), "needs.encoder": str(places / "encoder"),
             "model.gsd": [0.3]}
    run_preset("ldm-rs", places / "data", tmp_path / "two", overrides=CHANGES | needs | {"loop.max_steps": 2})
    first = {path: path.stat().st_mtime_ns for path in (tmp_path / "two" / ".cache").rglob("*.safetensors")}
    run_preset("ldm-rs", places / "data", tmp_path / "two", overrides=CHANGES | needs)
    assert first == {path: path.stat().st_mtime_ns for path in first}
    assert len(first) == 1
    for part in ("unet/diffusion_pytorch_model", "text_encoder/model", "vae/diffusion_pytorch_model"):
        assert all(tensor.dtype == torch.float16
                   for tensor in load_file(tmp_path / "two" / f"{part}.safetensors").values())
    record = json.loads((tmp_path / "two" / "training.json").read_text())
    assert (record["steps"], record["best_step"]) == (4, 4)
    assert record["pictures"] == {"train": 12, "val": 4}
    assert len(list((tmp_path / "two" / "previews").glob("*.png"))) == 2
    conditioning = read_conditioning(tmp_path / "two")
    assert conditioning == Conditioning(template="{caption}[ ; {label}][ ; {gsd} m]")
    known = json.loads((tmp_path / "two" / "knowledge.json").read_text())
    assert set(known["classes"]) == set(CLASSES)
    assert read_sampling(tmp_path / "two") == Sampling(steps=20, guidance=3.0)
    pipeline = StableDiffusionPipeline.from_pretrained(tmp_path / "two")
    assert isinstance(pipeline.vae, AutoencoderTiny)
    assert pipeline.scheduler.config.prediction_type == "v_prediction"
    drawn = load_generator(str(tmp_path / "two"), steps=2, device="cpu", gsd=0.3).generate(["one 0 ."], [0])
    assert drawn.shape == (1, 32, 32, 3)
    assert str(tmp_path) not in (tmp_path / "two" / "vae" / "config.json").read_text()


@pytest.mark.parametrize(("change", "said"), [
    ({"model.gsd": [0.3, 0.4]}, r"model\.gsd has 2 entries for 1 data sets; give one for each --data"),
    ({"model.gsd": [-1]}, r"model\.gsd\.0 -1 is wrong: .*greater than 0"),
    ({"model.gsd": 0.3}, r"model\.gsd 0\.3 is wrong: input should be a valid tuple"),
    ({"model.conditioning": {"template": "{caption} {label}"}}, r"put it in square brackets"),
    ({"load_size": 64}, r"load_size 64 has no meaning here; set model\.views\.size"),
    ({"needs.encoder": "nowhere"}, r"needs\.encoder 'nowhere' is no autoencoder of diffusers"),
    ({"needs.encoder": "WIDE"}, r"needs\.encoder makes latents of 8 channels, and needs\.autoencoder reads 4"),
    ({"model.views": {"size": 36}}, r"needs\.autoencoder makes images of (32|40) pixels from the latents of 36 pixels"),
    ({"model.views": {"size": 36}, "needs.autoencoder": "FINE"}, r"model\.views\.size 36 is no multiple of 8.*use 3"),
    ({"loop.batch_size": 64}, r"loop\.batch_size 64 is more than the 12 training images"),
])
def test_what_cannot_be_is_said_before_anything_is_encoded(places, tmp_path, change, said):
    autoencoder_at(tmp_path / "wide", 3, latent_channels=8)
    AutoencoderTiny(encoder_block_out_channels=(8,) * 3, decoder_block_out_channels=(8,) * 3,  # cells of 4 pixels
                    num_encoder_blocks=(1,) * 3, num_decoder_blocks=(1,) * 3).save_pretrained(tmp_path / "fine")
    change = {key: str(tmp_path / value.lower()) if value in ("WIDE", "FINE") else value
              for key, value in change.items()}
    with pytest.raises((InputError, terrasynth.synthesis.core.errors.InputError), match=said):
        run_preset("ldm-rs", places / "data", tmp_path / "out",
                   overrides=CHANGES | {"needs.autoencoder": str(places / "decoder")} | change)
    assert not list((tmp_path / "out").rglob("*.safetensors"))


def test_another_encoder_or_caption_is_another_training(places, tmp_path):
    overrides = CHANGES | {"needs.autoencoder": str(places / "decoder"), "loop.max_steps": 1, "model.preview": 0}
    run_preset("ldm-rs", places / "data", tmp_path / "out", overrides=overrides)
    with pytest.raises(InputError, match=r"is of another training: needs\.encoder: was none, now .*encoder"):
        run_preset("ldm-rs", places / "data", tmp_path / "out",
                   overrides=overrides | {"needs.encoder": str(places / "encoder")})
    other = write_data(tmp_path / "other", gsd=2.0)
    with pytest.raises(InputError, match=r"is of another training: data: was data \(.*\), now other \("):
        run_preset("ldm-rs", other, tmp_path / "out", overrides=overrides)


def test_a_training_that_was_cut_ends_with_the_same_weights(places, tmp_path):
    class Cut(DiffusionTask):
        left = 3

        def batch(self, rows, generator):
            self.left -= 1
            if self.left < 0:
                raise KeyboardInterrupt
            return super().batch(rows, generator)

    loop = LoopSettings(max_steps=4, batch_size=4, learning_rate=1e-3, warmup_steps=0, mixed_precision="no",
                        validate_every=4, preview_every=9, checkpoint_every=2)
    train(task_of(places, tmp_path), loop, tmp_path / "whole")
    torch.manual_seed(0)
    settings = DiffusionSettings.model_validate(SMALL)
    cut = Cut(images_of(places / "data"), settings, CPU, places / "decoder", tmp_path / "cache")
    with pytest.raises(KeyboardInterrupt):
        train(cut, loop, tmp_path / "cut")
    train(task_of(places, tmp_path), loop, tmp_path / "cut")
    for part in ("unet/diffusion_pytorch_model", "text_encoder/model"):
        one, two = (load_file(tmp_path / name / f"{part}.safetensors") for name in ("whole", "cut"))
        assert all(torch.equal(tensor, two[name]) for name, tensor in one.items())


def test_it_learns(places, tmp_path):
    task = task_of(places, tmp_path, preview=0)
    before = task.validate()["loss"]
    loop = LoopSettings(max_steps=60, batch_size=8, learning_rate=3e-3, warmup_steps=0, mixed_precision="no",
                        validate_every=60, preview_every=99, checkpoint_every=60, ema_decay=0.9)
    assert train(task, loop, tmp_path / "out").figures["loss"] < 0.8 * before


def test_equal_weights_are_a_setting_and_nonsense_is_none():
    assert DiffusionSettings(snr_gamma=None).snr_gamma is None
    with pytest.raises(ValidationError, match="greater than 0"):
        DiffusionSettings(snr_gamma=0)


def test_texts_that_lose_their_end_are_said(places, tmp_path, caplog):
    tokenizer = task_of(places, tmp_path).tokenizer
    texts = ["a beach", "a beach " * 60 + "; harbor"]
    assert tell_of_cut(tokenizer, texts, 32) == 1
    assert "1 of 2 texts have more than model.tokens 32 tokens and lose their end, such as 'a beach" in caplog.text
    assert tell_of_cut(tokenizer, texts[:1], 32) == 0
