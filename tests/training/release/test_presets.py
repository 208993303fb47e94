import json

import pytest
import torch
import yaml
from pydantic import ValidationError

from terrasynth.synthesis.core.errors import InputError as SynthesisInputError
from terrasynth.training.errors import InputError
from terrasynth.training.families.clip import ClipSettings
from terrasynth.training.families.diffusion import DiffusionSettings
from terrasynth.training.families.hopfield import HopfieldSettings
from terrasynth.training.families.latent_vq import LatentVQSettings
from terrasynth.training.families.scene import SceneSettings
from terrasynth.training.presets import checked, load_preset, presets
from terrasynth.training.running.settings import LoopSettings
from terrasynth.training.tasks import make_task
from terrasynth.training.train import run_preset


def test_every_preset_says_what_it_makes():
    assert set(presets()) >= {"scene-ucm", "clip-ucm", "clip-ucm-b", "autoencoder-ucm", "ldm-ucm", "vqgan-ucm",
                              "vqvae-ucm", "mhn-ucm", "mhn-ablations", "paper", "release", "tiny", "scene-rs",
                              "clip-rs", "clip-rs-b", "ldm-rs", "latent-vq-rs", "mhn-rs"}
    assert all(len(line) > 20 for line in presets().values())


@pytest.mark.parametrize(("name", "kind"), [
    ("scene-rs", SceneSettings), ("clip-rs", ClipSettings), ("clip-rs-b", ClipSettings), ("ldm-rs", DiffusionSettings),
    ("ldm-ucm", DiffusionSettings), ("latent-vq-rs", LatentVQSettings), ("mhn-rs", HopfieldSettings)])
def test_what_a_preset_sets_is_known_to_its_family(name, kind):
    preset = load_preset(name)
    assert checked(LoopSettings, preset.loop, "loop").max_steps > 1000
    settings = checked(kind, preset.model, "model")
    assert (settings.views.size if hasattr(settings, "views") else settings.size) == 128


def test_the_judges_that_filter_and_that_report_share_nothing():
    own, other = (load_preset(name) for name in ("clip-rs", "clip-rs-b"))
    assert own.model["published"] == "lite1"
    assert "published" not in other.model
    assert own.loop["seed"] != other.loop["seed"]


@pytest.mark.parametrize(
    ("name", "overrides", "message"),
    [
        ("relase", None, r"preset 'relase' does not exist \(did you mean 'release'\?\); there are:"),
        ("scene-ucm", {"familie": "x"}, r"preset 'scene-ucm': unknown key 'familie' \(did you mean 'family'\?\)"),
        ("scene-ucm", {"family.x": 1}, r"--set family.x: 'family' is a plain value and has no keys below it"),
        ("release", {"stages.0.minuts": 1}, r"unknown key 'stages\.0\.minuts' \(did you mean 'minutes'\?\)"),
    ],
)
def test_wrong_presets_are_named(name, overrides, message):
    with pytest.raises((InputError, SynthesisInputError), match=message):
        load_preset(name, overrides)


def test_wrong_settings_are_named(real, tmp_path):
    with pytest.raises(InputError, match=r"loop\.max_steps 0 is wrong: .*greater than 0"):
        run_preset("scene-ucm", real, tmp_path, overrides={"loop.max_steps": 0})
    with pytest.raises(InputError, match=r"loop\.batch_size 64 is more than the 48 training images"):
        run_preset("scene-ucm", real, tmp_path)
    with pytest.raises(InputError, match=r"needs: 'nothing' is neither embedded nor a model folder"):
        run_preset("autoencoder-ucm", real, tmp_path, overrides={"needs.classifier": "nothing"})


def test_a_bare_no_of_yaml_is_the_precision_of_that_name():
    loop = load_preset("lora", {"loop.mixed_precision": yaml.safe_load("no")}).loop
    assert LoopSettings.model_validate(loop).mixed_precision == "no"
    with pytest.raises(ValidationError, match="'no', 'fp16' or 'bf16'"):
        LoopSettings.model_validate(loop | {"mixed_precision": True})


def test_two_dual_encoders_differ_in_architecture(real):
    from terrasynth.training.data import read_pairs
    from terrasynth.training.data.pictures import load_splits

    splits = load_splits(read_pairs(real), 40)
    towers = []
    for name in ("clip-ucm", "clip-ucm-b"):
        task = make_task(load_preset(name), splits, torch.device("cpu"), {}, None)
        towers.append({key: tuple(value.shape) for key, value in task.model.vision_model.state_dict().items()})
    assert towers[0] != towers[1]


@pytest.mark.slow
def test_the_tiny_chain_from_the_command_line_to_models_that_the_libraries_open(python, real, tmp_path):
    python.run("-m", "terrasynth", "train", "tiny", "--data", real, "--out", tmp_path / "o", check=True)
    from diffusers import StableDiffusionPipeline
    from transformers import AutoModelForImageClassification

    from terrasynth.eval import load_encoder

    embedded = tmp_path / "o" / "embedded"
    pipeline = StableDiffusionPipeline.from_pretrained(embedded / "ldm-ucm", torch_dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    picture = pipeline("A beach with sand .", num_inference_steps=2, output_type="np").images[0]
    assert picture.shape == (32, 32, 3)
    assert AutoModelForImageClassification.from_pretrained(embedded / "scene-ucm").config.id2label[0] == "beach"
    for name in ("clip-ucm", "clip-ucm-b"):
        calibration = load_encoder(embedded / name).calibration
        assert set(calibration.classes) == {"beach", "forest", "river"}
        assert calibration.split == "val"
    figures = json.loads((tmp_path / "o" / "figures.json").read_text())
    assert figures["scene-ucm"]["test"]["n"] == 12
    card = (embedded / "ldm-ucm" / "README.md").read_text()
    assert "Frechet distance" in card
    assert "48 train, 12 val images" in card
    assert "8 steps, the last is kept" in card
    assert "the choice of the autoencoder's checkpoint used a scene classifier" in card
    from terrasynth.synthesis import load_generator
    from terrasynth.training.release.ablations import VARIANTS

    drawn = load_generator(str(embedded / "mhn-ucm"), device="cpu").generate(["A beach with sand ."], [0])
    assert drawn.shape == (1, 32, 32, 3)
    card = (embedded / "mhn-ucm" / "README.md").read_text()
    assert [row["scale"] for row in figures["guidance"]] == [1.0, 3.0]
    assert [row["name"] for row in figures["ablations"]["rows"]] == list(VARIANTS)
    assert all(f"| {name} |" in card for name in VARIANTS)
    assert set(figures["zero_shot"]) == {"ldm-ucm", "mhn-ucm", "real train pictures"}
    assert "zero-shot accuracy" in card
    assert "## Speed" not in card  # nobody has measured it
    names = {path.name for path in embedded.rglob("*")}
    assert "guidance.png" in names
    assert not names & {"cache", ".cache", "checkpoint", "logs", "training.json", "ablations.json",
                        "tokens.safetensors"}
    assert not [path for path in embedded.rglob("*") if path.suffix in {".pt", ".pkl", ".bin"}]
