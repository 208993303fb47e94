"""What a training says at its end: each command that it names is run, and each line for a recipe is read."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

from terrasynth.synthesis import Recipe
from terrasynth.training.presets import load_preset
from terrasynth.training.train import run_preset
from terrasynth.training.trained import KINDS, TrainedModel, Training, caption_of

STEPS = ["--set", "loop.max_steps=2", "--set", "loop.batch_size=4", "--set", "loop.warmup_steps=1",
         "--set", "loop.validate_every=1", "--set", "loop.preview_every=2", "--set", "loop.checkpoint_every=2"]
TINY = {stage.preset: stage.model for stage in load_preset("tiny").stages}


def _said(out):
    """The words at the starts of the lines, and the lines that follow from the result."""
    lines = [line.split(maxsplit=1) for line in out.splitlines()]
    assert not [text for word, text in lines if word == "on" and re.search(r"[a-z]_[a-z]", text)]  # words and no keys
    return [word for word, _ in lines], [(word, text) for word, text in lines if word in ("next", "recipe")]


def _train(terrasynth, preset, real, out, *more):
    settings = [part for key, value in TINY.get(preset, {}).items() for part in ("--set", f"model.{key}={value}")]
    code, said, lines = terrasynth("train", preset, "--data", real, "--out", out, *STEPS, *settings, *more)
    assert code == 0, lines
    return _said(said)


@pytest.mark.parametrize(("preset", "key"), [("scene-ucm", "scene"), ("clip-ucm", "alignment")])
def test_a_judge_is_calibrated_and_then_filters(terrasynth, real, tmp_path, preset, key):
    out = tmp_path / "judge"
    words, steps = _train(terrasynth, preset, real, out, "--set", "load_size=40")
    assert words == ["model", "on", "next", "recipe"]
    (_, command), (_, setting) = steps
    code, said, lines = terrasynth(*shlex.split(command)[1:])
    assert code == 0, lines
    assert str(out / "calibration.json") in said
    (found,) = Recipe.load("demo", [f"filters={yaml.safe_load(setting)['filters']}"]).filters
    assert (found.kind, found.pass_real) == (key, 0.95)


def test_an_autoencoder_is_what_the_next_training_begins_with(terrasynth, real, tmp_path):
    out = tmp_path / "autoencoder"
    words, ((word, command),) = _train(terrasynth, "autoencoder-ucm", real, out, "--set", "load_size=40",
                                       "--set", "needs.classifier=scene-ucm")
    assert (words[0], word) == ("model", "next")
    command = shlex.split(command)[1:]
    assert command[:4] == ["train", "ldm-ucm", "--data", str(real)]
    settings = {**TINY["ldm-ucm"], "val_images": 4}
    sets = [part for key, value in settings.items() for part in ("--set", f"model.{key}={value}")]
    code, said, lines = terrasynth(*command, *STEPS, *sets)
    assert code == 0, lines
    _, ((_, draw), (_, setting)) = _said(said)
    code, _, lines = terrasynth(*shlex.split(draw)[1:], "--steps", "2")
    assert code == 0, lines
    assert len(list((tmp_path / "autoencoder-ldm-ucm-images").glob("*.png"))) == 1
    model = yaml.safe_load(setting)["generator"]["model"]
    assert Recipe.load("demo", [f"generator.model={model}"]).generator.model == str(tmp_path / "autoencoder-ldm-ucm")


def test_every_family_says_what_it_made():
    from typing import get_args

    from terrasynth.training.presets import Preset

    families = set(get_args(Preset.model_fields["family"].annotation))
    assert set(KINDS) == families - {"chain", "judge"}  # a chain says what its stages made; a judge has its own lines


@pytest.mark.parametrize(
    ("family", "base", "expected"),
    [
        ("finetune", "owner/base", ["--model owner/base --lora 'my lora'", '{model: owner/base, lora: "my lora"}']),
        ("distil", "owner/base", ["--model owner/base --lora 'my lora'", '{model: owner/base, lora: "my lora"}']),
        ("vq", "", ["train mhn-ucm --data data --set 'needs.tokenizer=my lora'"]),
        ("latent-vq", "", ["train mhn-rs --data data --set 'needs.tokenizer=my lora'"]),
        ("autoencoder-distil", "", ['vae: "my lora"}']),
        ("hopfield", "", ["generate 'a scene from above' --model 'my lora'", '{model: "my lora"}']),
        ("ablations", "", []),
    ],
)
def test_what_comes_next_after_a_family(tmp_path, family, base, expected, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = TrainedModel("p", family, Path("my lora"), 2, 0.1, 2, {}, base)
    steps = Training(Path("my lora"), (model,), ("data",)).next_steps()
    assert len(steps) == len(expected)
    assert all(part in text for part, (_, text) in zip(expected, steps, strict=True))
    for word, text in steps:
        if word == "recipe":
            assert yaml.safe_load(text)["generator"]


@pytest.mark.parametrize(("kind", "expected"), [
    ("VQModel", "train mhn-ucm --data data --set needs.tokenizer=decoder"),
    ("AutoencoderKL", "generator: {model: A-PIPELINE-OF-THE-SAME-LATENTS, vae: decoder}"),
])
def test_a_decoder_serves_who_made_its_latents_or_tokens(tmp_path, monkeypatch, kind, expected):
    monkeypatch.chdir(tmp_path)
    folder = Path("decoder")
    folder.mkdir()
    (folder / "config.json").write_text(f'{{"_class_name": "{kind}"}}')
    model = TrainedModel("p", "decoder", folder, 2, 0.1, 2, {})
    ((_, text),) = Training(folder, (model,), ("data",)).next_steps()
    assert expected in text


def test_a_whole_pipeline_needs_no_base(tmp_path):
    (tmp_path / "model_index.json").write_text("{}")
    model = TrainedModel("full", "finetune", tmp_path, 2, 0.1, 1, {"loss": 0.25}, "owner/base")
    training = Training(tmp_path, (model,), ("data",))
    assert "--lora" not in training.next_steps()[0][1]
    assert training.lines()[0].endswith("(tuned generator; 2 steps, 6 s; that of step 1 is kept)")
    assert "<td" in training._repr_html_()


@pytest.mark.parametrize(("best", "begun_at", "said"), [(10, 20, True), (20, 20, True), (22, 20, False), (10, 0, False),
                                                        (10, 24, False)])
def test_a_training_that_went_on_without_gain_says_so(tmp_path, best, begun_at, said):
    model = TrainedModel("lora", "finetune", tmp_path, 24, 0.1, best, {"loss": 0.25}, "owner/base", begun_at=begun_at)
    lines = [line for line in Training(tmp_path, (model,), ("data",)).lines() if line.startswith("no gain")]
    assert lines == [f"no gain    steps 21 to 24, which this call went on with, were no better on val: the weights of "
                     f"step {best} are kept"] * said


@pytest.mark.parametrize(("before", "after", "said"), [
    ({"score": -0.25}, {"score": -0.3}, True), ({"score": -0.25}, {"score": -0.25}, True),
    ({"score": -0.25}, {"score": -0.2}, False), ({}, {"score": -0.3}, False), ({"loss": 0.2}, {"loss": 0.3}, False)])
def test_a_tuning_that_is_no_better_than_its_base_says_so(tmp_path, before, after, said):
    model = TrainedModel("lora", "finetune", tmp_path, 24, 0.1, 24, after, "owner/base", before=before)
    assert bool(model.no_better) is said
    lines = [line for line in Training(tmp_path, (model,), ("data",)).lines() if line.startswith("no gain")]
    assert lines == ["no gain    by what chooses its checkpoint it is no better on val than owner/base; train longer, "
                     "or with a lower loop.learning_rate"] * said


def test_figures_stand_beside_those_of_before_and_of_real_images(tmp_path):
    figures = {"loss": 0.25, "loss_n": 9, "n": 4, "accuracy": 0.5}
    model = TrainedModel("lora", "finetune", tmp_path, 24, 0.1, 24, figures, "owner/base",
                         before={"loss": 0.5, "accuracy": 0.25}, real={"accuracy": 1.0}, budget=(0.1, 800))
    lines = Training(tmp_path, (model,), ("data",)).lines()
    assert lines[1:4] == ["stopped    by --minutes 0.1 at step 24 of 800; the same command with more minutes goes on, "
                          "and a run that was drawn with it cannot be grown afterwards (train into another --out to "
                          "keep it)",
                          "on val     loss: 0.5 before, 0.25 after (n = 9)",
                          "on val     scene accuracy: 0.25 before, 0.5 after, 1 of real images (n = 4)"]


def test_a_time_budget_that_ended_a_training_is_said(real, tmp_path):
    overrides = {f"model.{key}": value for key, value in TINY["scene-ucm"].items()} | {
        "loop.max_steps": 10**6, "loop.batch_size": 4, "loop.warmup_steps": 1, "load_size": 40}
    done = run_preset("scene-ucm", real, tmp_path / "scene", 0.01, overrides=overrides)
    assert re.fullmatch(rf"stopped    by --minutes 0.01 at step {done.models[0].steps} of 1000000; .* goes on",
                        done.lines()[1])


def test_the_disk_of_a_tuning_is_said_with_what_may_go(tmp_path):
    (tmp_path / "lora" / ".training" / "cache").mkdir(parents=True)
    (tmp_path / "lora" / "weights.safetensors").write_bytes(bytes(3 * 2**20))
    (tmp_path / "lora" / ".training" / "cache" / "0").write_bytes(bytes(2**19))
    model = TrainedModel("lora", "finetune", tmp_path / "lora", 2, 0.1, 2, {}, "owner/base")
    assert (f"disk       3.0 MiB in {tmp_path / 'lora'}, and 0.5 MiB in {tmp_path / 'lora' / '.training'}, which is "
            "needed to train on and may be deleted") in Training(tmp_path / "lora", (model,), ("data",)).lines()


def test_a_caption_that_fits_on_a_line():
    assert caption_of(["x" * 200, "a beach"]) == "a beach"
    assert caption_of(["x" * 200]) == "a scene from above"


def test_python_gets_the_same(real, tmp_path):
    overrides = {"loop.max_steps": 1, "loop.batch_size": 4, "loop.warmup_steps": 1, "load_size": 40} | {
        f"model.{key}": value for key, value in TINY["scene-ucm"].items()}
    training = run_preset("scene-ucm", real, tmp_path / "scene", overrides=overrides)
    assert [model.folder for model in training.models] == [tmp_path / "scene"]
    assert training.models[0].steps == 1
