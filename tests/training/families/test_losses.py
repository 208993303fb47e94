"""The losses against their equations and a second implementation."""

import pytest
import torch
import torch.nn.functional as F

from terrasynth.training.data import read_pairs
from terrasynth.training.data.pictures import load_splits
from terrasynth.training.families.autoencoder import AutoencoderSettings, AutoencoderTask
from terrasynth.training.families.clip import contrastive_loss
from terrasynth.training.families.perception import ScenePerception
from tests.tiny import tiny_scene

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    tiny_scene(folder / "scene", ("beach", "forest", "river"))
    return folder


def test_contrastive_loss_is_clips_when_only_the_diagonal_is_right():
    logits = torch.randn(6, 6, generator=torch.Generator().manual_seed(0))
    target = torch.arange(6)
    expected = (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
    assert torch.allclose(contrastive_loss(logits, torch.eye(6, dtype=torch.bool)), expected)


def test_contrastive_loss_asks_for_evenly_spread_positives():
    positive = torch.tensor([[1, 1, 0], [1, 1, 0], [0, 0, 1]]).bool()
    even = torch.where(positive, 10.0, -10.0)
    expected = (2 * torch.log(torch.tensor(2.0))) / 3  # two of three rows split between two
    assert torch.allclose(contrastive_loss(even, positive), expected, atol=1e-4)
    assert contrastive_loss(even, torch.eye(3, dtype=torch.bool)) == pytest.approx(expected.item(), abs=1e-4)
    lopsided = even.clone()
    lopsided[0, 0] += 5
    assert contrastive_loss(lopsided, positive) > contrastive_loss(even, positive)


def test_the_perceptual_distance_is_zero_for_equal_pictures_only(models):
    perception = ScenePerception(models / "scene")
    a, b = torch.rand(2, 2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert perception(a, a).item() == pytest.approx(0, abs=1e-10)
    assert perception(a, b).item() > 1e-4


def test_the_discriminator_enters_late_and_the_kl_is_the_closed_form(real, models):
    torch.manual_seed(0)
    settings = AutoencoderSettings(size=32, crop=32, channels=(8, 8, 8, 8), groups=4, shrink_share=0.0, kl_weight=1.0)
    task = AutoencoderTask(load_splits(read_pairs(real), 40), settings, CPU, ScenePerception(models / "scene"))
    batch = task.batch(torch.arange(4), torch.Generator().manual_seed(0))
    early = task.losses("autoencoder", batch, 0.0)
    assert set(early) == {"l1", "kl", "perceptual"}
    assert task.losses("discriminator", batch, 0.0) == {}
    late = task.losses("autoencoder", batch, 0.9)
    assert set(late) == {"l1", "kl", "perceptual", "adversarial"}
    assert set(task.losses("discriminator", batch, 0.9)) == {"hinge"}
    with torch.no_grad():
        posterior = task.model.encode(batch["pixels"]).latent_dist
    unit = torch.distributions.Normal(torch.zeros_like(posterior.mean), 1.0)
    expected = torch.distributions.kl_divergence(torch.distributions.Normal(posterior.mean, posterior.std), unit).mean()
    assert torch.allclose(early["kl"], expected, rtol=1e-4)
