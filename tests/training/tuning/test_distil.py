from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DiffusionPipeline, LCMScheduler
from safetensors.torch import load_file

from terrasynth.synthesis import load_generator
from terrasynth.synthesis.core.sampling import read_sampling
from terrasynth.training.data import read_pairs
from terrasynth.training.data.views import read_split
from terrasynth.training.errors import InputError
from terrasynth.training.running.loop import train
from terrasynth.training.running.settings import LoopSettings
from terrasynth.training.train import run_preset
from terrasynth.training.tuning.consistency import guidance_embedding
from terrasynth.training.tuning.distil import DistilSettings, DistilTask, student_of
from terrasynth.training.tuning.families import open_base
from terrasynth.training.tuning.task import Place
from terrasynth.training.tuning.validation import Validation
from tests.tiny_pipelines import PIPELINES, SIZE

FIXED = {"guidance_range": None, "guidance": 2.0}
LORA = {"method": "lora", "lora": {"rank": 2}, **FIXED}
WAYS = [("sd", {}), ("sdxl", {"phases": 1}), ("pixart", FIXED), ("sd", LORA), ("sdxl", LORA | {"phases": 1})]


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bases")
    return {name: make(folder / name) for name, make in PIPELINES.items()}


def settings_of(**changes):
    return DistilSettings.model_validate({
        "method": "full", "solver_steps": 20, "augment": "none", "embedding": 32,
        "validation": {"pictures": 2, "steps": 4, "encoder": None, "choose": "loss"}, **changes})


def call_guidance(changes):
    return 1.0 if "guidance" in changes else 3.0


def task_of(base, real, work, **changes):
    settings, pairs = settings_of(**changes), read_pairs(real)
    splits = [read_split(pairs.split(name), name, []) for name in ("train", "val")]
    device = torch.device("cpu")
    torch.manual_seed(0)
    place = Place(device, "no", 0, work)
    return DistilTask(open_base(str(base)), *splits, settings, place,
                      Validation(settings.validation, splits[1], device, 0))


def loop_of(**changes):
    return LoopSettings(**{"max_steps": 4, "batch_size": 4, "learning_rate": 1e-2, "warmup_steps": 0,
                           "mixed_precision": "no", "validate_every": 2, "preview_every": 9, "checkpoint_every": 2,
                           "ema_decay": 0.5, **changes})


@pytest.mark.parametrize("phases", [1, 4])
@pytest.mark.parametrize("name", ["sd", "sdxl"])
def test_the_loss_is_that_of_the_papers_written_out_for_one_sample_after_the_other(bases, real, tmp_path, name, phases):
    task = task_of(bases[name], real, tmp_path, phases=phases)
    torch.nn.init.normal_(task.pipeline.unet.time_embedding.cond_proj.weight, std=0.3)
    batch = task.batch(torch.arange(6), torch.Generator().manual_seed(1))
    batch["timesteps"] = torch.tensor([10, 299, 400, 260, 749, 990])  # 250 to 299 begin the second phase
    found = task.sample_losses(batch)

    base = DiffusionPipeline.from_pretrained(bases[name])
    solver = DDIMScheduler.from_config(base.scheduler.config, timestep_spacing="trailing", clip_sample=False,
                                       set_alpha_to_one=True)
    solver.set_timesteps(20)
    long = DDIMScheduler.from_config(solver.config)
    long.set_timesteps(4)
    lcm = LCMScheduler.from_config(base.scheduler.config, original_inference_steps=20)
    alphas = solver.alphas_cumprod.double()

    def ask(network, noisy, time, text, **more):
        conditions = {key: value[None] for key, value in text.items()}
        call = network if not more else lambda *a, **k: network(*a, **k, **more)
        return task.family.predict(call, noisy, torch.tensor([time]), conditions, SIZE)

    def end(noisy, time, text, scale):
        if time < 0:
            return noisy
        told = guidance_embedding(scale[None], 32)
        predicted = ask(task.pipeline.unet, noisy, time, text, timestep_cond=told)
        if phases == 1:
            signal = float(alphas[time].sqrt())
            clean = (noisy - float((1 - alphas[time]).sqrt()) * predicted) / signal
            skip, out = lcm.get_scalings_for_boundary_condition_discrete(time)
            return skip * noisy + out * clean
        stop = (time // 250) * 250 - 1  # the phases of 1000 timesteps
        if time == stop:
            return noisy
        here, there = alphas[time], alphas[stop] if stop >= 0 else torch.tensor(1.0)
        clean = (noisy - float((1 - here).sqrt()) * predicted) / float(here.sqrt())
        return float(there.sqrt()) * clean + float((1 - there).sqrt()) * predicted

    for row in range(6):
        time = int(batch["timesteps"][row]) // 50 * 50 + 49
        clean, noise = batch["latents"][row:row + 1], batch["noise"][row:row + 1]
        noisy = float(alphas[time].sqrt()) * clean + float((1 - alphas[time]).sqrt()) * noise
        text = {key: value[row] for key, value in task.mixed(batch["texts"]).items()}
        null = {key: value[row] for key, value in task.mixed([None] * 6).items()}
        scale = batch["scale"][row]
        with torch.no_grad():
            given, free = ask(base.unet, noisy, time, text), ask(base.unet, noisy, time, null)
            nearer = solver.step(free + scale * (given - free), time, noisy, eta=0).prev_sample
            target = nearer if phases == 4 and (time + 1) % 250 == 50 else end(nearer, time - 50, text, scale)
            student = end(noisy, time, text, scale)
        expected = ((student - target).square() + 1e-6).sqrt().sub(1e-3).mean()
        torch.testing.assert_close(found[row].detach(), expected.float(), rtol=2e-3, atol=2e-5)


def test_a_student_begins_as_its_teacher_whatever_scale_it_is_told(bases):
    teacher = DiffusionPipeline.from_pretrained(bases["sd"]).unet
    student = student_of(teacher, 32)
    noisy, text = torch.randn(2, 4, 8, 8), torch.randn(2, 24, 16)
    told = guidance_embedding(torch.tensor([1.5, 4.0]), 32)
    expected = teacher(noisy, 500, text).sample
    torch.testing.assert_close(student(noisy, 500, text, timestep_cond=told).sample, expected)


def test_only_the_student_learns_and_its_scale_changes_its_pictures(bases, real, tmp_path):
    task = task_of(bases["sd"], real, tmp_path / "cache")
    before = {name: value.clone() for name, value in task.teacher.state_dict().items()}
    train(task, loop_of(), tmp_path / "out")
    assert all(torch.equal(value, before[name]) for name, value in task.teacher.state_dict().items())
    assert not torch.equal(task.pipeline.unet.conv_in.weight, before["conv_in.weight"])
    low, high = (load_generator(str(tmp_path / "out"), steps=4, guidance=scale) for scale in (1.5, 4.0))
    assert np.abs(low.generate(["a beach"], [0]).astype(int) - high.generate(["a beach"], [0])).max() > 0


@pytest.mark.parametrize(("name", "changes"), WAYS)
def test_from_the_command_to_pictures_by_plain_diffusers(bases, real, tmp_path, name, changes):
    model = {"solver_steps": 20, "augment": "none", "embedding": 32, "phases": 4, **changes,
             "validation": {"pictures": 2, "steps": 4, "encoder": None, "choose": "loss"}}
    loop = {"max_steps": 2, "batch_size": 4, "warmup_steps": 0, "mixed_precision": "no", "validate_every": 2,
            "checkpoint_every": 2, "preview_every": 2}
    overrides = {"model": model} | {f"loop.{key}": value for key, value in loop.items()}
    run_preset("distil", real, tmp_path / "out", overrides=overrides, base=str(bases[name]))
    out, lora = tmp_path / "out", changes.get("method") == "lora"
    pipeline = DiffusionPipeline.from_pretrained(bases[name] if lora else out)
    kind = LCMScheduler if model["phases"] == 1 else DDIMScheduler
    scheduler = kind.from_pretrained(out, subfolder="scheduler")
    if lora:
        plain = pipeline(["a beach"], num_inference_steps=4, guidance_scale=1.0, output_type="np", height=SIZE,
                         width=SIZE, generator=[torch.Generator().manual_seed(3)]).images
        pipeline.load_lora_weights(out)
        pipeline.scheduler = scheduler
    else:
        assert type(pipeline.scheduler) is kind
    assert dict(pipeline.scheduler.config) == dict(scheduler.config)
    call = {"use_resolution_binning": False} if name == "pixart" else {}
    drawn = pipeline(["a beach"], num_inference_steps=4, guidance_scale=call_guidance(changes),
                     output_type="np", height=SIZE, width=SIZE, generator=[torch.Generator().manual_seed(3)],
                     **call).images
    assert drawn.shape == (1, SIZE, SIZE, 3)
    said = read_sampling(out)
    assert said.steps == 4
    assert said.guidance == call_guidance(changes)
    assert np.isfinite(drawn).all()
    ours = load_generator(str(bases[name] if lora else out), steps=4, dtype="float32", guidance=call_guidance(changes),
                          height=SIZE, width=SIZE, lora=str(out) if lora else None).generate(["a beach"], [3])
    np.testing.assert_allclose(ours / 255, drawn, atol=0.03)
    if lora:
        assert np.abs(drawn - plain).max() > 1e-3
    card = (out / "README.md").read_text()
    assert "distilled to few steps" in card
    assert (kind.__name__ in card) == lora
    record = json.loads((out / ".training" / "training.json").read_text())
    assert record["steps"] == 2
    assert record["before"]["loss"] > 0


def test_killed_and_resumed_it_ends_with_the_same_weights(bases, real, tmp_path):
    class Killed(Exception):
        pass

    class Mortal(DistilTask):
        left = 10**6

        def batch(self, rows, generator):
            self.left -= 1
            if self.left < 0:
                raise Killed
            return super().batch(rows, generator)

    def one(life):
        task = task_of(bases["sd"], real, tmp_path / "cache")
        task.__class__ = Mortal
        task.left = life
        return task

    train(one(99), loop_of(), tmp_path / "whole")
    with pytest.raises(Killed):
        train(one(3), loop_of(), tmp_path / "cut")
    train(one(99), loop_of(), tmp_path / "cut")
    files = "unet/diffusion_pytorch_model.safetensors"
    whole, cut = (load_file(tmp_path / name / files) for name in ("whole", "cut"))
    assert all(torch.equal(whole[key], cut[key]) for key in whole)


@pytest.mark.parametrize(("changes", "message"), [
    ({"snr_gamma": 5.0}, "snr_gamma is of no consequence in distillation"),
    ({"method": "lora"}, "guidance_range needs method full"),
    ({"solver_steps": 10}, "solver_steps 10 is no multiple of phases 4"),
    ({"guidance_range": [3, 2]}, "has to rise, from 1 or more"),
])
def test_settings_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        settings_of(**changes)


def test_a_transformer_cannot_be_told_a_scale_and_odd_grids_are_refused(bases, real, tmp_path):
    with pytest.raises(InputError, match=r"no input for the guidance scale; set model\.guidance_range to null"):
        task_of(bases["pixart"], real, tmp_path)
    with pytest.raises(InputError, match="solver_steps 12 does not divide the 1000 timesteps"):
        task_of(bases["sd"], real, tmp_path, solver_steps=12)


def test_without_a_range_pictures_are_drawn_without_guidance():
    assert settings_of(**FIXED).validation.guidance == 1.0
    assert settings_of().validation.guidance == 3.0
