import json
import re
import shlex
import shutil

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline
from peft import PeftModel
from safetensors.torch import load_file

from terrasynth.eval.models.knowledge import Knowledge, load_knowledge
from terrasynth.synthesis.generators.conditions.caption import read_conditioning
from terrasynth.training.running.loop import train
from terrasynth.training.running.settings import LoopSettings
from terrasynth.training.train import run_preset
from terrasynth.training.tuning.task import FinetuneTask
from tests.tiny import tiny_clip
from tests.tiny_pipelines import PIPELINES, SIZE, sdxl
from tests.training.finetuning import LOOP, make_task, stir, write_pictures
from tests.training.launching import launch

TEXTS = ["a river and a bridge", "sparse forest"]
ENCODERS = {"sd": ["text_encoder"], "sdxl": ["text_encoder", "text_encoder_2"], "pixart": ["text_encoder"]}


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    root = tmp_path_factory.mktemp("bases")
    return {name: make(root / name) for name, make in PIPELINES.items()}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_pictures(tmp_path_factory.mktemp("pictures") / "data")


def _plain(folder):
    pipeline = DiffusionPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _draw(pipeline, seeds=(3, 4)):
    binning = {"use_resolution_binning": False} if type(pipeline).__name__.startswith("PixArt") else {}
    noise = [torch.Generator().manual_seed(seed) for seed in seeds]
    drawn = pipeline(TEXTS, generator=noise, num_inference_steps=2, guidance_scale=2.0, height=SIZE, width=SIZE,
                     output_type="np", **binning).images
    return np.rint(drawn * 255)


def _same(found, expected, base):
    """Equal but for the last digit, and not what the base draws."""
    assert np.abs(base - expected).mean() > 3
    assert np.abs(found - expected).max() <= 1


@pytest.mark.parametrize("name", PIPELINES)
@pytest.mark.parametrize("text_encoder", [False, True])
def test_a_lora_does_in_plain_diffusers_what_it_did_in_training(bases, data, tmp_path, name, text_encoder):
    task = make_task(bases[name], data, tmp_path / "cache", text_encoder=text_encoder, lora={"rank": 4, "alpha": 8})
    before = task._encoded(TEXTS)
    stir(task)
    changed = not torch.equal(before["prompt_embeds"], task._encoded(TEXTS)["prompt_embeds"])
    assert changed == text_encoder
    if task.texts is not None:
        task.texts = None  # these texts are none of the data's
    expected = task.draw(TEXTS, [3, 4])
    task.save(tmp_path / "lora")
    pipeline = _plain(bases[name])
    base = _draw(pipeline)
    if name == "pixart":
        pipeline.transformer = PeftModel.from_pretrained(pipeline.transformer, tmp_path / "lora")
        if text_encoder:
            pipeline.text_encoder = PeftModel.from_pretrained(pipeline.text_encoder, tmp_path / "lora" / "text_encoder")
    else:
        pipeline.load_lora_weights(tmp_path / "lora")
        with_adapters = {part for part, found in pipeline.get_list_adapters().items() if found}
        assert with_adapters == {"unet", *(ENCODERS[name] if text_encoder else ())}
    _same(_draw(pipeline), expected, base)
    assert all(value.dtype == torch.float16 for path in (tmp_path / "lora").rglob("*.safetensors")
               for value in load_file(path).values())


@pytest.mark.parametrize("name", PIPELINES)
def test_all_weights_are_saved_as_a_pipeline_and_the_rest_byte_for_byte(bases, data, tmp_path, name):
    task = make_task(bases[name], data, tmp_path / "cache", method="full")
    stir(task, 1.0)
    task.texts = None
    expected = task.draw(TEXTS, [3, 4])
    task.save(tmp_path / "out")
    _same(_draw(_plain(tmp_path / "out")), expected, _draw(_plain(bases[name])))
    for path in bases[name].rglob("*"):
        if path.is_file() and path.parent.name not in (task.family.denoiser, bases[name].name):
            assert (tmp_path / "out" / path.relative_to(bases[name])).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("name", PIPELINES)
def test_the_unconditional_branch_is_the_one_of_sampling(bases, data, tmp_path, name):
    task = make_task(bases[name], data, tmp_path / "cache")
    own = {"sd": lambda p: p.encode_prompt(TEXTS[:1], "cpu", 1, True)[1],
           "sdxl": lambda p: p.encode_prompt(TEXTS[:1], device="cpu")[1],
           "pixart": lambda p: p.encode_prompt(TEXTS[:1])[2]}[name](task.pipeline)
    length = task.null["prompt_embeds"].shape[1]
    assert torch.equal(task.null["prompt_embeds"], own[:, :length])
    if name == "pixart":
        assert length == 1  # the mark of the end, without the padding
    assert task.null["prompt_embeds"].abs().sum().item() == pytest.approx(0.0) or name != "sdxl"
    mixed = task.mixed([task.val_texts[0], None])
    assert torch.equal(mixed["prompt_embeds"][1, :length], task.null["prompt_embeds"][0])


def test_sdxl_without_forced_zeros_has_the_empty_text(data, tmp_path):
    task = make_task(sdxl(tmp_path / "base", force_zeros=False), data, tmp_path / "cache")
    assert task.null["pooled_prompt_embeds"].abs().sum() > 0
    assert torch.equal(task.null["prompt_embeds"], task._encoded([""])["prompt_embeds"])


class _Cut(FinetuneTask):
    """Stops as if the process had been killed."""

    left = 10**9

    def batch(self, rows, generator):
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        return super().batch(rows, generator)


@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_tuning_that_was_cut_ends_with_the_same_weights(bases, data, tmp_path, method):
    loop = LoopSettings(max_steps=4, batch_size=4, learning_rate=0.05, warmup_steps=1, validate_every=2,
                        preview_every=4, checkpoint_every=2, mixed_precision="no")

    def task():
        return make_task(bases["sd"], data, tmp_path / "cache", _Cut, method=method, lora={"rank": 4, "dropout": 0.2},
                         noise_offset=0.1, min_scale=0.5)

    whole = train(task(), loop, tmp_path / "whole", work=tmp_path / "whole" / ".work")
    cut = task()
    cut.left = 3
    with pytest.raises(KeyboardInterrupt):
        train(cut, loop, tmp_path / "cut", work=tmp_path / "cut" / ".work")
    ended = train(task(), loop, tmp_path / "cut", work=tmp_path / "cut" / ".work")
    assert (whole.best_step, whole.figures) == (ended.best_step, ended.figures)
    found = [{str(path.relative_to(tmp_path / name)): load_file(path)
              for path in (tmp_path / name).rglob("*.safetensors")} for name in ("whole", "cut")]
    assert found[0].keys() == found[1].keys()
    for name, tensors in found[0].items():
        assert all(torch.equal(value, found[1][name][key]) for key, value in tensors.items()), name


@pytest.mark.parametrize("checkpointing", [False, True])
def test_every_trained_part_moves_and_nothing_else_does(bases, data, tmp_path, checkpointing):
    task = make_task(bases["sdxl"], data, tmp_path / "cache", text_encoder=True, gradient_checkpointing=checkpointing)
    before = {name: value.clone() for name, value in task.pipeline.unet.state_dict().items()}
    loop = LoopSettings(max_steps=2, batch_size=4, learning_rate=0.05, warmup_steps=0, validate_every=2,
                        preview_every=4, checkpoint_every=2, mixed_precision="no")
    train(task, loop, tmp_path / "out")
    moved = {name for name, value in task.pipeline.unet.state_dict().items() if not torch.equal(value, before[name])}
    assert moved
    assert all(".lora_" in name for name in moved)
    for adapter in task.adapters.values():
        parts = {name: value.abs().sum().item() for name, value in adapter.parameters() if "lora_B" in name}
        assert sum(value > 0 for value in parts.values()) >= len(parts) / 2


def test_the_command_writes_a_lora_its_card_and_no_path_of_this_machine(bases, data, tmp_path, capsys):
    (bases["sd"] / "README.md").write_text("---\nlicense: creativeml-openrail-m\n---\nA base.\n")
    clip = tiny_clip(tmp_path / "clip")
    out = tmp_path / "out"
    overrides = LOOP | {"model.validation.encoder": str(clip), "model.validation.choose": "clip_score",
                        "model.validation.pictures": 3, "model.validation.steps": 2,
                        "model.conditioning": {"template": "{caption}, {label}, gsd {gsd} m", "gsd": 0.6}}
    lines = run_preset("lora", data, out, base=str(bases["sd"]), overrides=overrides).lines()
    said = capsys.readouterr().err
    assert re.search(r"^out: step 4 .* left, loss [\d.e-]+$", said, re.M)
    for line in ("encoding 12 images, 8 views each", "encoded 12 of 12", "encoding 4 images, 1 view each",
                 f"finding {bases['sd']}, and reading the images", f"loading {clip} and sd",
                 f"before the first step: measuring the loss on val and drawing 3 images for it, {SIZE} x {SIZE} px; "
                 "--set model.validation.pictures=0 leaves the drawing out"):
        assert f"{line}\n" in said
    assert re.search(r"^that took \d+ s, and is done again 2 times, every 2 steps; 4 steps of 4 images$", said, re.M)
    assert "Loading" not in said  # the bar of a library
    assert read_conditioning(out).render("a river", "dense_forest") == "a river, dense forest, gsd 0.6 m"
    card = (out / "README.md").read_text()
    assert card.startswith("---\nlicense: creativeml-openrail-m\n")
    assert "12 train and 4 val images" in card
    record = json.loads((out / ".training" / "training.json").read_text())
    assert f"| agreement with the caption (mean cosine) | {record['before']['clip_score']:.3f} |" in card
    score = [f"{of['clip_score']:.4g}" for of in (record["before"], record["val"], record["real"])]
    assert ("on val     agreement with the caption, mean cosine: {} before, {} after, {} of real images (n = 3)"
            .format(*score)) in lines
    assert {path.name for path in out.iterdir()} == {"pytorch_lora_weights.safetensors", "terrasynth.json", "README.md",
                                                      "knowledge.json", ".training"}
    texts = [path for path in out.rglob("*") if path.suffix in {".json", ".md"}]
    assert len(texts) >= 4
    assert not [path for path in texts if str(tmp_path.parent) in path.read_text()]
    again = (out / "pytorch_lora_weights.safetensors").read_bytes()
    capsys.readouterr()
    done = run_preset("lora", data, out, base=str(bases["sd"]), overrides=overrides)  # there is nothing left to do
    said = capsys.readouterr().err
    assert "this training is finished: 4 steps, and nothing is left to do" in said
    assert "measuring" not in said
    assert (done.models[0].steps, done.models[0].figures) == (record["steps"], record["val"])
    assert [line for line in done.lines() if line.startswith("on val")] == [
        line for line in lines if line.startswith("on val")]
    assert (out / "pytorch_lora_weights.safetensors").read_bytes() == again
    assert f"| data | `{data.name}`: 12 train and 4 val images;" in card
    (out / "pytorch_lora_weights.safetensors").unlink()  # then it is not there, whatever the record says
    run_preset("lora", data, out, base=str(bases["sd"]), overrides=overrides)
    assert "measuring" in capsys.readouterr().err


def test_a_card_of_an_embedded_base_shows_what_works(data, tmp_path, terrasynth):
    """What stands under "Use" is run as it stands, with the folder in its place."""
    out = tmp_path / "lora"
    run_preset("lora", data, out, base="ldm-ucm", overrides=LOOP | {
        "loop.max_steps": 1, "model.size": 32, "model.augment": "none"})
    use = (out / "README.md").read_text().partition("## Use")[2].partition("## Figures")[0].replace(
        "THIS FOLDER", str(out))
    python, = re.findall(r"^```python\n(.*?)^```", use, re.M | re.S)
    found = {}
    exec(compile(python, "card", "exec"), found)
    assert found["pipeline"].get_list_adapters()["unet"]
    command, = re.findall(r"^terrasynth (.*)$", use, re.M)
    code, _, err = terrasynth(*shlex.split(command.replace("--out images", f"--out {tmp_path}/images --steps 1")))
    assert code == 0, err
    assert list((tmp_path / "images").glob("*.png"))


def test_images_without_captions_are_tuned_on_texts_of_an_ontology(bases, data, tmp_path):
    folder = tmp_path / "bare"
    shutil.copytree(data, folder, ignore=shutil.ignore_patterns("pairs.jsonl"))
    names = [str(path.relative_to(folder)) for path in sorted(folder.rglob("*.png"))]
    (tmp_path / "splits.csv").write_text("name,split\n" + "".join(
        f"{name},{'val' if name.endswith(('6.png', '7.png')) else 'train'}\n" for name in names))
    (tmp_path / "data.yaml").write_text("data: bare\ncaption: an image of {label}\nontology: open\n"
                                        "split_list: splits.csv\n")
    Knowledge.of([], []).save(bases["sd"])
    run_preset("lora", tmp_path / "data.yaml", tmp_path / "out", base=str(bases["sd"]),
               overrides=LOOP | {"loop.max_steps": 1})
    known = load_knowledge(tmp_path / "out")
    assert "sandy" in known.words  # which no template says
    assert "| captions | 16 of 16 images have none: their texts say what their class is and can show" in (
        tmp_path / "out" / "README.md").read_text()


@pytest.mark.slow
def test_two_processes_tune_like_one_with_the_double_batch(python, bases, data, tmp_path):
    for processes, name, batch in ((1, "one", 8), (2, "two", 4)):
        module = "tests.training.tuning.two_processes_lora"
        launch(python, processes, module, bases["sd"], data, tmp_path / name, batch)
    assert (tmp_path / "two" / "checkpoint" / "random_states_1.pkl").is_file()  # there really was a second process
    one, two = (load_file(tmp_path / name / "pytorch_lora_weights.safetensors") for name in ("one", "two"))
    assert all(torch.allclose(one[key].float(), two[key].float(), atol=2e-4) for key in one)
    assert any(value.abs().max() > 1e-3 for key, value in one.items() if "lora_B" in key)
