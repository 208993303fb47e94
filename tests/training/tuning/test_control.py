"""A ControlNet or a T2I-Adapter learns to show a pipeline layouts: real classes of diffusers, tiny."""

import json
import shutil

import numpy as np
import pytest
import torch
import yaml
from diffusers import ControlNetModel, DiffusionPipeline, T2IAdapter
from diffusers.schedulers.scheduling_utils import SchedulerOutput
from PIL import Image

from terrasynth import load_generator
from terrasynth.prompts.layouts.catalog import load_catalog
from terrasynth.prompts.layouts.masks import layout_of, read_classes, read_mask
from terrasynth.prompts.layouts.palettes import color_map
from terrasynth.training.data import read_pairs
from terrasynth.training.data.maps import masks_of
from terrasynth.training.data.views import TURNS, View, read_split
from terrasynth.training.errors import InputError
from terrasynth.training.running.place import Place
from terrasynth.training.train import run_preset
from terrasynth.training.tuning.control import ControlSettings, ControlTask
from terrasynth.training.tuning.families import open_base
from terrasynth.training.tuning.validation import Validation
from tests import tiny_pipelines as tiny
from tests.training.finetuning import CPU, LOOP, stir, write_pictures

CLASSES = {0: "grass", 1: "building", 2: "road", 3: "car"}
SIDE = 24


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    root = tmp_path_factory.mktemp("control")
    tiny.sd(root / "sd")
    tiny.sdxl(root / "sdxl")
    tiny.sd_for_adapter(root / "attends-first")
    tiny.pixart(root / "pixart")
    data = write_pictures(root / "data", size=SIDE)
    random = np.random.default_rng(0)
    for row in map(json.loads, (data / "pairs.jsonl").read_text().splitlines()):
        mask = np.repeat(np.repeat(random.integers(0, 4, (6, 6), dtype=np.uint8), 4, 0), 4, 1)
        path = (root / "masks" / row["file"]).with_suffix(".png")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).save(path)
    (root / "masks" / "classes.yaml").write_text(yaml.safe_dump({"gsd": 1.0, "label": "beach", "classes": CLASSES}))
    return root


def task_of(places, base, cache, **settings):
    values = {"masks": str(places / "masks"),
              "validation": {"choose": "loss", "encoder": None, "steps": 2, "guidance": 2.0, "pictures": 2}}
    chosen = ControlSettings.model_validate(values | settings)
    pairs = read_pairs(places / "data")
    train, val = (read_split(pairs.split(name), name, pairs.skipped) for name in ("train", "val"))
    torch.manual_seed(0)
    return ControlTask(open_base(str(places / base)), train, val, chosen, Place(CPU, "no", 0, cache),
                       Validation(chosen.validation, val, CPU, 0))


@pytest.mark.parametrize("palette", ["six", "ade20k", {"other": (9, 9, 9), "building": (200, 0, 0)}])
@pytest.mark.parametrize("turn", range(TURNS))
def test_the_map_of_a_turned_mask_is_that_of_its_layout(places, palette, turn):
    """As a model is shown it when it draws."""
    pairs = read_pairs(places / "data").split("val")
    masks, view = masks_of(pairs, places / "masks"), View(turn)
    catalog = load_catalog()
    turned = view.of_mask(np.vectorize({k: catalog.value(name) for k, name in CLASSES.items()}.get)(
        np.asarray(Image.open(masks.files[1]))).astype(np.uint8), SIDE)
    assert (masks.values(1, view, SIDE) == turned).all()
    layout = layout_of(turned, "beach", 1.0, 1, masks.classes.kinds)
    assert (masks.map(1, view, SIDE, palette) == color_map(layout, palette, SIDE)).all()


def test_a_mask_turns_as_its_image(places):
    mask = np.arange(SIDE * SIDE, dtype=np.uint32).reshape(SIDE, SIDE).astype(np.uint8)
    for turn in range(TURNS):
        image = View(turn).of(Image.fromarray(np.repeat(mask[..., None], 3, 2)), SIDE)
        assert (View(turn).of_mask(mask, SIDE) == image[..., 0]).all()


@pytest.mark.parametrize(("base", "kind"), [("sd", "controlnet"), ("sdxl", "controlnet"), ("sd", "t2i-adapter"),
                                            ("sdxl", "t2i-adapter"), ("attends-first", "t2i-adapter")])
def test_the_loss_is_that_of_what_the_pipeline_predicts(places, tmp_path, base, kind):
    """What diffusers' own pipeline asks of its networks in one step without guidance, taken at the noisy latents."""
    task = task_of(places, base, tmp_path, kind=kind, layout_dropout=0.0, snr_gamma=None)
    stir(task, 0.5)
    batch = task.batch(torch.arange(4), torch.Generator().manual_seed(3))
    found = task.sample_losses(batch)

    pipeline, side = task._drawer(slice(0, 1)).func, task.size
    seen = []
    pipeline.unet.register_forward_hook(lambda *given: seen.append(given[-1][0].detach()))
    for row in range(4):
        latents, noise, step, shown = (batch[name][row:row + 1] for name in ("latents", "noise", "timesteps", "map"))
        noisy, text = task.loss.noising.add_noise(latents, noise, step), batch["texts"][row]
        with torch.no_grad(), pytest.MonkeyPatch.context() as patch:
            _ask_once(patch, pipeline, step, noisy)
            pipeline(image=shown, guidance_scale=1.0, num_inference_steps=1, output_type="latent", height=side,
                     width=side, **(task.null if text is None else task.conditions([text])))
        assert float((seen.pop() - noise).square().mean()) == pytest.approx(found[row].item(), rel=1e-4)


def _ask_once(patch, pipeline, step, noisy):
    """Make the one step of a pipeline this one, at these latents."""
    scheduler = pipeline.scheduler
    whole = scheduler.set_timesteps

    def one(count, device=None, **more):
        whole(count, device=device, **more)
        scheduler.timesteps = step

    patch.setattr(scheduler, "set_timesteps", one)
    patch.setattr(scheduler, "scale_model_input", lambda sample, *_: sample)
    patch.setattr(scheduler, "step",
                  lambda *_, return_dict=True, **__: SchedulerOutput(noisy) if return_dict else (noisy,))
    patch.setattr(type(pipeline), "prepare_latents", lambda *_, **__: noisy)


def test_a_new_controlnet_adds_nothing(places, tmp_path):
    task = task_of(places, "sd", tmp_path)
    batch = task.batch(torch.arange(4), torch.Generator().manual_seed(3))
    assert (task.sample_losses(batch) == task.sample_losses(batch | {"map": 1 - batch["map"]})).all()
    stir(task, 0.5)
    assert (task.sample_losses(batch) != task.sample_losses(batch | {"map": 1 - batch["map"]})).all()


def test_some_maps_are_left_black(places, tmp_path):
    task = task_of(places, "sd", tmp_path, layout_dropout=0.5)
    shown = torch.cat([task.batch(torch.arange(12), torch.Generator().manual_seed(seed))["map"] for seed in range(8)])
    black = (shown == 0).flatten(1).all(1)
    assert 0.3 < black.float().mean() < 0.7


WAYS = [("sd", "controlnet", "frozen"), ("sdxl", "controlnet", "lora"), ("sd", "controlnet", "full"),
        ("attends-first", "t2i-adapter", "lora"), ("sdxl", "t2i-adapter", "frozen")]


@pytest.mark.parametrize(("base", "kind", "method"), WAYS)
def test_what_was_trained_draws_layouts(places, tmp_path, base, kind, method):
    """The pipeline of the training and ours, loaded from the files that it left, draw the same images."""
    done = run_preset("control", places / "data", tmp_path / "out", base=str(places / base), masks=places / "masks",
                      overrides={**LOOP, "loop.max_steps": 2, "model.kind": kind, "model.method": method,
                                 "model.palette": {"other": [0, 0, 0], "building": [255, 0, 0], "car": [0, 0, 255]}})
    out, control = tmp_path / "out", tmp_path / "out" / "control"
    network = (ControlNetModel if kind == "controlnet" else T2IAdapter).from_pretrained(control)
    assert all(torch.isfinite(value).all() for value in network.state_dict().values())
    assert (out / "model_index.json").is_file() == (method == "full")
    modes = {path.stat().st_mode for path in out.rglob("*") if path.is_file() and ".training" not in path.parts}
    assert len(modes) == 1
    lines = done.lines()
    assert any(line.startswith("recipe") and str(control) in line for line in lines)
    assert f"recipe     prompts: {{expander: layout, masks: {places / 'masks'}}}" in lines
    card = (out / "README.md").read_text()
    assert f"control = {type(network).__name__}.from_pretrained" in card
    assert "masks of the images in `masks`" in card
    assert str(places) not in card

    model = str(out if method == "full" else places / base)
    classes = read_classes(places / "masks")
    layouts = [layout_of(read_mask(path, classes), "beach", 1.0, 1).to_json()
               for path in sorted((places / "masks").rglob("*.png"))[:2]]
    generator = load_generator(model, lora=str(out) if method == "lora" else None, control=str(control), steps=2,
                               guidance=2.0, device="cpu", dtype="float32", exact=True)
    texts = ["a river and a bridge"] * 2
    drawn = generator.generate(texts, [5, 5], layouts)
    assert (drawn[0] != drawn[1]).any()
    plain = _plain(model, kind, network, out if method == "lora" else None)
    from terrasynth.prompts.layouts.layout import Layout

    maps = [Image.fromarray(color_map(Layout.from_json(text), {"other": (0, 0, 0), "building": (255, 0, 0),
                                                               "car": (0, 0, 255)}, tiny.SIZE)) for text in layouts]
    for row in range(2):
        expected = plain(texts[row], image=maps[row], num_inference_steps=2, guidance_scale=2.0, output_type="np",
                         height=tiny.SIZE, width=tiny.SIZE, generator=torch.Generator().manual_seed(5)).images[0]
        assert np.abs(drawn[row].astype(int) - np.rint(expected * 255).astype(int)).max() <= 1


def _plain(model, kind, network, lora):
    """The pipeline as somebody puts it together with diffusers alone."""
    from terrasynth.synthesis.generators.control import PIPELINES

    base = DiffusionPipeline.from_pretrained(model, torch_dtype=torch.float32)
    name, argument = PIPELINES[type(base).__name__, type(network).__name__]
    import diffusers

    if lora is not None:
        base.load_lora_weights(lora)
    pipeline = getattr(diffusers, name).from_pipe(base, torch_dtype=torch.float32, **{argument: network.float()})
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def test_a_training_goes_on_where_it_was_and_not_with_other_masks(places, tmp_path):
    def trained(out, masks, **loop):
        run_preset("control", places / "data", out, base=str(places / "sd"), masks=masks, overrides={
            **LOOP, "model.method": "lora", **{f"loop.{name}": value for name, value in loop.items()}})
        return {path.name: path.read_bytes() for path in out.rglob("*.safetensors") if ".training" not in path.parts}

    whole = trained(tmp_path / "whole", places / "masks", max_steps=2)
    trained(tmp_path / "parts", places / "masks", max_steps=1)
    shutil.copytree(places / "masks", tmp_path / "moved")
    assert set(whole) == {"pytorch_lora_weights.safetensors", "diffusion_pytorch_model.safetensors"}
    trained(tmp_path / "parts", tmp_path / "moved", max_steps=2)  # the same masks at another place
    first = next((tmp_path / "moved").rglob("*.png"))
    Image.fromarray(np.zeros((SIDE, SIDE), np.uint8)).save(first)
    with pytest.raises(InputError, match=r"holds another training: model\.masks: was masks, now moved;"):
        trained(tmp_path / "parts", tmp_path / "moved", max_steps=3)


@pytest.mark.parametrize(("base", "change", "message"), [
    ("pixart", {}, r"'pixart' is a PixArtSigmaPipeline, beside which diffusers puts no ControlNetModel; give a Stable"),
    ("sd", {"model.augment": "latents"}, r"augment latents turns images without their masks"),
    ("sd", {"model.palette": "ade20"}, r"palette 'ade20' is unknown .did you mean 'ade20k'"),
    ("sd", {"model.text_encoder": True}, r"text_encoder has no meaning with method frozen"),
])
def test_what_cannot_be_trained_is_named(places, tmp_path, base, change, message):
    with pytest.raises(InputError, match=message):
        run_preset("control", places / "data", tmp_path, base=str(places / base), masks=places / "masks",
                   overrides={**LOOP, **change})


def test_masks_are_asked_for_and_not_taken_elsewhere(places, tmp_path):
    with pytest.raises(InputError, match=r"preset 'control' needs --masks: a folder of PNG masks"):
        run_preset("control", places / "data", tmp_path, base=str(places / "sd"))
    with pytest.raises(InputError, match=r"preset 'lora' learns from no masks; leave --masks out"):
        run_preset("lora", places / "data", tmp_path, base=str(places / "sd"), masks=places / "masks")


def test_an_image_without_a_mask_of_its_own_is_named(places, tmp_path):
    pairs = read_pairs(places / "data").split("val")
    shutil.copytree(places / "masks", tmp_path / "masks")
    (tmp_path / "masks" / "beach" / "6.png").unlink()
    with pytest.raises(InputError, match=r"beach/6.png has no mask in .*it has to be called 6.png"):
        masks_of(pairs, tmp_path / "masks")
    Image.fromarray(np.zeros((SIDE, SIDE + 4), np.uint8)).save(tmp_path / "masks" / "beach" / "6.png")
    with pytest.raises(InputError, match=r"mask beach/6.png is 28 x 24 pixels, and beach/6.png 24 x 24"):
        masks_of(pairs, tmp_path / "masks")
    shutil.rmtree(tmp_path / "masks" / "beach")
    shutil.move(tmp_path / "masks" / "dense_forest", tmp_path / "forest")
    for name in ("6.png", "7.png"):
        shutil.copy(tmp_path / "forest" / name, tmp_path / "masks" / name)
    with pytest.raises(InputError, match=r"6.png would be the mask of beach/6.png and of dense_forest/6.png"):
        masks_of(pairs, tmp_path / "masks")
