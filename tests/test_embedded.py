"""The models inside the package: within their limits, with their cards, and able to do what they are there for."""

import re

import numpy as np
import pytest
import torch

from terrasynth.eval import load_captioner, load_classifier, load_encoder
from terrasynth.eval.metrics.realism import compare_spectra
from terrasynth.eval.models.references import EMBEDDED_ROOT
from terrasynth.prompts import load_expander
from terrasynth.synthesis import load_generator
from terrasynth.synthesis.core.embedded import WEIGHTS
from terrasynth.synthesis.generators.autoencoders import find_autoencoder
from terrasynth.training.data.latent_views import load_autoencoder, to_latents, to_pixels

FOLDERS = {path.name: path for root in (EMBEDDED_ROOT, WEIGHTS) for path in sorted(root.iterdir()) if path.is_dir()}
MIB = 2**20
GENERATORS = ("ldm-ucm", "mhn-ucm")


def test_what_is_embedded_stays_within_its_limits():
    files = [file for folder in FOLDERS.values() for file in folder.rglob("*") if file.is_file()]
    assert set(FOLDERS) == {"cap-rs", "clip-ucm", "clip-ucm-b", "ldm-ucm", "mhn-ucm", "scene-ucm", "vae-rs"}
    assert sum(file.stat().st_size for file in files) < 80 * MIB
    assert max(file.stat().st_size for file in files) < 25 * MIB
    texts = [file.read_text(encoding="utf-8") for file in files if file.suffix in {".json", ".md"}]
    assert not [text for text in texts if '"_name_or_path": "/' in text]
    assert not {file.suffix for file in files} & {".bin", ".pt", ".pth", ".ckpt", ".pkl"}


@pytest.mark.parametrize("name", FOLDERS)
def test_every_card_names_data_hardware_time_seed_and_figures_on_test(name):
    card = (FOLDERS[name] / "README.md").read_text(encoding="utf-8")
    for needed in (r"1680 train", r"hardware \|", r"\d+ minutes", r"seed \| \d", r"## Figures", r"## Terms"):
        assert re.search(needed, card), needed
    assert re.search(r"\| test \||real test|against 210 real|UC Merced test", card)


@pytest.mark.parametrize("name", ["clip-ucm", "clip-ucm-b"])
def test_encoders_bring_the_calibration_of_their_own_weights(name):
    encoder = load_encoder(name)
    assert encoder.calibration.encoder["content"] == encoder.identity()["content"]
    assert encoder.calibration.split == "val"
    assert len(encoder.calibration.classes) == 21
    for label in encoder.calibration.classes:
        assert encoder.calibration.threshold(label, 0.95) < encoder.calibration.threshold(label, 0.5)


@pytest.fixture(scope="module", params=GENERATORS)
def drawn(request):
    """A picture of every second class; the commands of the README draw them all."""
    expander = load_expander("grammar")
    prompts = [prompt for label in expander.classes[::2] for prompt in expander.expand(label, 1, 0, 1)]
    images = load_generator(request.param, device="cpu").generate([p.text for p in prompts], range(len(prompts)))
    return images, prompts


def test_the_captioner_finds_a_prompt_likelier_of_its_own_image_than_of_others(drawn):
    images, prompts = drawn
    captioner, texts = load_captioner("cap-rs"), [prompt.text for prompt in prompts]
    own = captioner.log_likelihood(images, texts, "ucm")
    others = np.stack([captioner.log_likelihood(np.roll(images, by, 0), texts, "ucm")
                       for by in range(1, len(texts))])
    assert (own > others).mean() > 0.6  # chance is 0.5, and mhn-ucm draws some of its objects as nobody knows them


def test_the_captioner_and_its_words_stay_within_their_limit():
    folder = FOLDERS["cap-rs"]
    assert sum(file.stat().st_size for file in folder.iterdir()) < 4 * MIB
    assert {file.name for file in folder.iterdir()} == {"README.md", "config.json", "model.safetensors"}


def test_the_generator_draws_what_is_asked_more_often_than_not(drawn):
    images, prompts = drawn
    assert images.shape == (11, 128, 128, 3)
    classifier = load_classifier("scene-ucm")
    found = [classifier.labels[i] for i in classifier.probabilities(images).argmax(1)]
    hits = np.mean([label == prompt.label for label, prompt in zip(found, prompts, strict=True)])
    assert hits >= 0.5  # chance is 1 in 21


def test_both_encoders_prefer_the_text_that_a_picture_was_drawn_from(drawn):
    images, prompts = drawn
    texts = [prompt.text for prompt in prompts]
    for name in ("clip-ucm", "clip-ucm-b"):
        encoder = load_encoder(name)
        assert encoder.score(images, texts).mean() > encoder.score(images, texts[1:] + texts[:1]).mean() + 0.2


@pytest.mark.parametrize("name", GENERATORS)
def test_the_text_changes_the_picture_and_the_seed_does_too(name):
    generator = load_generator(name, steps=4, device="cpu", dtype="float32")
    texts = ["A large forest with very many dark trees .", "One grey runway with many white lines ."]
    forest, runway, other = generator.generate([texts[0], texts[1], texts[0]], [5, 5, 6]).astype(float)
    assert np.abs(forest - runway).mean() > 5
    assert np.abs(forest - other).mean() > 1


def test_the_card_of_the_hopfield_generator_says_what_was_measured():
    card = (WEIGHTS / "mhn-ucm" / "README.md").read_text(encoding="utf-8")
    for section in ("Beside the latent diffusion model", "Guidance", "Speed", "Ablations"):
        assert f"## {section}\n" in card
    assert re.findall(r"^\| (1|1\.5|2|3|5) \|", card, re.MULTILINE) == ["1", "1.5", "2", "3", "5"]
    assert (WEIGHTS / "mhn-ucm" / "guidance.png").is_file()
    used, codes = re.search(r"perplexity of the codebook: ([\d.]+) of (\d+)", card).groups()
    assert float(used) > 0.4 * int(codes)


def test_the_embedded_network_is_what_its_configuration_says():
    generator = load_generator("mhn-ucm", device="cpu", dtype="float32")
    network = generator.pipeline.transformer
    assert network.config.side * generator.pipeline.vae_scale_factor == generator.size[0] == 128
    assert all(block.lookup.patterns.shape[0] == network.config.prototypes for block in network.layers)
    assert all(torch.isfinite(parameter).all() for parameter in network.parameters())


def test_the_autoencoder_gives_images_back_without_a_grid():
    """Smooth noise with the spectrum of natural images: what comes back is near it, and no lattice is added."""
    random = np.random.default_rng(0)
    distance = np.hypot(*np.meshgrid(np.fft.fftfreq(128), np.fft.fftfreq(128)))
    planes = random.normal(size=(40, 128, 128, 1)) + 0.2 * random.normal(size=(40, 128, 128, 3))
    fall = 1 / np.maximum(distance, 1 / 128)[None, :, :, None] ** 1.2
    images = np.fft.ifft2(np.fft.fft2(planes, axes=(1, 2)) * fall, axes=(1, 2)).real
    images = np.clip(128 + 45 * images / images.std((1, 2, 3), keepdims=True), 0, 255).astype(np.uint8)
    autoencoder = load_autoencoder(find_autoencoder("vae-rs").folder, torch.device("cpu"))
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2) / 127.5 - 1
    latents = to_latents(autoencoder, pixels)
    assert latents.shape == (40, 4, 16, 16)
    back = ((to_pixels(autoencoder, latents).clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    error = np.square(back.astype(float) - images).mean()
    assert 10 * np.log10(255**2 / error) > 20
    assert all(abs(peak) < 2 for peak in compare_spectra(back, images).peaks.values())
