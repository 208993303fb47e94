"""Trainings that go on from a model: what is kept, and what is refused."""

import pytest
import torch
from diffusers import UNet2DConditionModel

from terrasynth.training.data import read_pairs
from terrasynth.training.data.pictures import load_splits
from terrasynth.training.data.views import read_split
from terrasynth.training.errors import InputError
from terrasynth.training.families.autoencoder import AutoencoderSettings, AutoencoderTask
from terrasynth.training.families.diffusion import DiffusionSettings, DiffusionTask
from terrasynth.training.families.perception import ScenePerception
from terrasynth.training.running.settings import LoopSettings
from tests.tiny import tiny_scene

CPU = torch.device("cpu")
SHAPE = {"size": 32, "crop": 32, "channels": (8, 8, 8), "groups": 4}
SMALL = {"views": {"size": 32, "count": 2}, "channels": (16, 16), "groups": 8, "heads": 2, "text_width": 16,
         "text_layers": 1, "vocabulary": 600, "val_images": 4}


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return tiny_scene(tmp_path_factory.mktemp("scene"), ("beach", "forest", "river"))


@pytest.fixture(scope="module")
def splits(real):
    return load_splits(read_pairs(real), 32)


@pytest.fixture
def autoencoder(splits, scene):
    def build(initial=None, **settings):
        torch.manual_seed(0)
        return AutoencoderTask(splits, AutoencoderSettings(**{**SHAPE, **settings}), CPU, ScenePerception(scene),
                               initial)

    return build


@pytest.fixture
def diffusion(real, tmp_path, autoencoder):
    autoencoder().save(tmp_path / "vae")
    pairs = read_pairs(real)
    images = {name: read_split(pairs.split(name), name, []) for name in ("train", "val")}

    def build(initial=None, **settings):
        torch.manual_seed(1)
        return DiffusionTask(images, DiffusionSettings(**{**SMALL, **settings}), CPU, tmp_path / "vae",
                             tmp_path / "cache", initial=initial)

    return build


def _loop(**settings):
    return LoopSettings(**{"max_steps": 3, "batch_size": 4, "learning_rate": 1e-2, "warmup_steps": 0,
                           "mixed_precision": "no", "ema_decay": 0.0, "validate_every": 3, "preview_every": 3,
                           "checkpoint_every": 3} | settings)


@pytest.mark.parametrize(("weight", "terms", "hinge"), [(0.0, {"l1", "kl", "perceptual"}, set()),
                                                        (0.1, {"l1", "kl", "perceptual", "adversarial"}, {"hinge"})])
def test_a_discriminator_that_counts_for_nothing_is_not_trained(autoencoder, tmp_path, weight, terms, hinge):
    autoencoder().save(tmp_path / "vae")
    task = autoencoder(tmp_path / "vae", adversarial_weight=weight, shrink_share=0.0)
    batch = task.batch(torch.arange(4), torch.Generator().manual_seed(0))
    assert set(task.losses("autoencoder", batch, 0.9)) == terms
    assert set(task.losses("discriminator", batch, 0.9)) == hinge


def test_an_autoencoder_of_another_shape_is_refused(autoencoder, tmp_path):
    autoencoder().save(tmp_path)
    with pytest.raises(InputError, match=r"needs\.initial has block_out_channels \[8, 8, 8\]; the preset says "
                                         r"\[8, 16, 16\]"):
        autoencoder(tmp_path, channels=(8, 16, 16))


def test_a_diffusion_model_goes_on_from_the_weights_and_words_of_a_pipeline(diffusion, tmp_path):
    first = diffusion()
    first.save(tmp_path / "first")
    task = diffusion(tmp_path / "first", caption_dropout=0.0)
    stored = UNet2DConditionModel.from_pretrained(tmp_path / "first" / "unet", torch_dtype=torch.float32)
    assert all(torch.equal(tensor, stored.state_dict()[name]) for name, tensor in task.unet.state_dict().items())
    assert task.tokenizer.get_vocab() == first.tokenizer.get_vocab()
    first.settings = task.settings
    rows = torch.arange(4)
    with torch.no_grad():
        a, b = (each.losses("model", each.batch(rows, torch.Generator().manual_seed(2)), 0.0)["v"]
                for each in (first, task))
    assert torch.allclose(a, b, rtol=1e-3)  # saved in half precision
    with torch.no_grad():
        anew = diffusion(caption_dropout=0.0)
        torch.manual_seed(5)
        anew.unet.conv_in.reset_parameters()
        c = anew.losses("model", anew.batch(rows, torch.Generator().manual_seed(2)), 0.0)["v"]
    assert not torch.allclose(a, c, rtol=1e-3)


@pytest.mark.parametrize(("setting", "message"), [
    ({"channels": (16, 24)}, r"needs\.initial has block_out_channels \[16, 16\]; the preset says \[16, 24\]"),
    ({"text_layers": 2}, r"needs\.initial has num_hidden_layers 1; the preset says 2"),
])
def test_a_diffusion_model_of_another_shape_is_named(diffusion, tmp_path, setting, message):
    diffusion().save(tmp_path / "first")
    with pytest.raises(InputError, match=message):
        diffusion(tmp_path / "first", **setting)
