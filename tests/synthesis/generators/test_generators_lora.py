"""LoRA of a generator: written by the libraries that write them, folded in here, compared with the plain libraries."""

import json
import shutil

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline

from terrasynth.synthesis import Recipe, load_generator, run
from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.generators.conditions.caption import Conditioning
from terrasynth.synthesis.generators.lora import find_lora
from tests.synthesis.helpers import find, rows
from tests.tiny_pipelines import PIPELINES

TEXTS = ["a river and a bridge", "sparse forest"]
SEEDS = [1, 2]


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    root = tmp_path_factory.mktemp("bases")
    return {name: make(root / name) for name, make in PIPELINES.items()}


def adapted(network, seed=0, targets=("to_q", "to_v")):
    """A network with LoRA layers that change something, and their configuration."""
    from peft import LoraConfig, inject_adapter_in_model

    config = LoraConfig(r=2, lora_alpha=4, target_modules=list(targets), init_lora_weights=False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inject_adapter_in_model(config, network)
    return network, config


def save_lora(base, folder, seed=0):
    """A LoRA as diffusers writes it."""
    from diffusers.utils import convert_state_dict_to_diffusers
    from peft import get_peft_model_state_dict

    pipeline = DiffusionPipeline.from_pretrained(base)
    adapted(pipeline.unet, seed)
    layers = convert_state_dict_to_diffusers(get_peft_model_state_dict(pipeline.unet))
    type(pipeline).save_lora_weights(folder, unet_lora_layers=layers)
    return folder


def save_peft(base, folder, part):
    """A LoRA as peft writes it."""
    from peft import LoraConfig, get_peft_model

    pipeline = DiffusionPipeline.from_pretrained(base)
    targets = ["to_q", "to_v"] if part == "transformer" else ["q", "v"]
    config = LoraConfig(r=2, lora_alpha=4, target_modules=targets, init_lora_weights=False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        get_peft_model(getattr(pipeline, part), config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def loras(bases, tmp_path_factory):
    root = tmp_path_factory.mktemp("loras")
    found = {name: save_lora(bases[name], root / f"{name}-nir") for name in ("sd", "sdxl")}
    return found | {"pixart": save_peft(bases["pixart"], root / "pixart-nir", "transformer")}


def load(base, **settings):
    return load_generator(str(base), steps=2, device="cpu", dtype="float32", **settings)


def close(one, other):
    return np.abs(one.astype(int) - other).max() <= 1


@pytest.mark.parametrize("kind", ["sd", "sdxl"])
@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_pictures_are_those_of_plain_diffusers_with_the_lora(bases, loras, kind, scale):
    pipeline = DiffusionPipeline.from_pretrained(bases[kind])
    pipeline.load_lora_weights(loras[kind], adapter_name="nir")
    pipeline.set_adapters(["nir"], adapter_weights=[scale])
    noise = [torch.Generator("cpu").manual_seed(seed) for seed in SEEDS]
    expected = pipeline(TEXTS, num_inference_steps=2, guidance_scale=3.0, generator=noise, output_type="pil").images
    generator = load(bases[kind], lora=str(loras[kind]), lora_scale=scale)
    drawn = generator.generate(TEXTS, SEEDS)
    assert close(drawn, np.stack([np.asarray(each) for each in expected]))
    assert not close(drawn, load(bases[kind]).generate(TEXTS, SEEDS))
    assert not any("lora" in name for name, _ in generator.pipeline.unet.named_modules())


def test_a_lora_of_peft_is_merged(bases, loras, tmp_path):
    """The way for pipelines that diffusers loads no LoRA into, text encoder included."""
    from peft import PeftModel

    folder = shutil.copytree(loras["pixart"], tmp_path / "lora")
    save_peft(bases["pixart"], folder / "text_encoder", "text_encoder")
    pipeline = DiffusionPipeline.from_pretrained(bases["pixart"])
    for part, place in (("transformer", folder), ("text_encoder", folder / "text_encoder")):
        merged = PeftModel.from_pretrained(getattr(pipeline, part), str(place)).merge_and_unload()
        setattr(pipeline, part, merged)
    noise = [torch.Generator("cpu").manual_seed(seed) for seed in SEEDS]
    expected = pipeline(TEXTS, num_inference_steps=2, guidance_scale=3.0, generator=noise, output_type="pil",
                        use_resolution_binning=False).images
    full = load(bases["pixart"], lora=str(folder)).generate(TEXTS, SEEDS)
    assert close(full, np.stack([np.asarray(each) for each in expected]))
    plain = load(bases["pixart"]).generate(TEXTS, SEEDS)
    assert close(load(bases["pixart"], lora=str(folder), lora_scale=0.0).generate(TEXTS, SEEDS), plain)
    assert not close(full, plain)


def test_identity_and_columns_name_base_lora_and_scale(bases, loras):
    plain, once, half = (
        find(str(bases["sd"]), **settings)
        for settings in ({}, {"lora": str(loras["sd"])}, {"lora": str(loras["sd"]), "lora_scale": 0.5})
    )
    content = find_lora(str(loras["sd"])).revision
    assert (once.name, once.revision) == ("sd+sd-nir", f"{plain.revision}+{content}*1")
    assert half.revision == f"{plain.revision}+{content}*0.5"
    assert plain.identity().keys() == once.identity().keys()
    assert len({json.dumps(each.identity(), sort_keys=True) for each in (plain, once, half)}) == 3


@pytest.mark.parametrize("form", ["diffusers", "peft"])
def test_the_scheduler_of_a_student_counts(bases, tmp_path, form):
    """It takes other steps, so that another scheduler draws other images of the same weights."""
    folder = tmp_path / "lora"
    if form == "diffusers":
        save_lora(bases["sd"], folder)
    else:
        save_peft(bases["pixart"], folder, "transformer")
    plain = find_lora(str(folder))
    assert plain.scheduler is None
    (folder / "scheduler").mkdir()
    config = folder / "scheduler" / "scheduler_config.json"
    config.write_text('{"_class_name": "DDIMScheduler", "timestep_spacing": "trailing"}')
    student = find_lora(str(folder))
    config.write_text('{"_class_name": "DDIMScheduler", "timestep_spacing": "leading"}')
    assert student.scheduler == config
    assert len({plain.revision, student.revision, find_lora(str(folder)).revision}) == 3


def test_cards_do_not_count_and_weights_do(bases, tmp_path):
    folder = save_lora(bases["sd"], tmp_path / "lora")
    before = find_lora(str(folder))
    (folder / "README.md").write_text("---\nbase_model: someone/base\n---\nA better card.\n")
    after = find_lora(str(folder))
    assert (after.revision, before.base, after.base) == (before.revision, "", "someone/base")
    assert find_lora(str(save_lora(bases["sd"], tmp_path / "other", seed=1))).revision != before.revision
    Conditioning(template="{caption}, {label}").save(folder)
    assert find_lora(str(folder)).revision != before.revision


@pytest.mark.parametrize(("kind", "of"), [("sdxl", "sd"), ("sd", "sdxl"), ("pixart", "sd"), ("sd", "pixart")])
def test_a_lora_that_does_not_fit_names_the_base_it_wants(bases, loras, kind, of):
    Conditioning(base="someone/base").save(loras[of])
    try:
        wanted = rf"LoRA '{of}-nir' does not fit .* {kind!r}: .*trained on 'someone/base'"
        with pytest.raises(InputError, match=wanted) as told:
            load(bases[kind], lora=str(loras[of]))
        assert "torch.Size" not in str(told.value)
    finally:
        (loras[of] / "terrasynth.json").unlink()


def test_what_is_no_lora_is_named(models, bases, tmp_path):
    (tmp_path / "pickled").mkdir()
    (tmp_path / "pickled" / "pytorch_lora_weights.bin").write_bytes(b"x")
    (tmp_path / "empty").mkdir()
    (tmp_path / "begun" / ".training" / "checkpoint").mkdir(parents=True)
    for reference, message in (
        ("nowhere", "no such folder or file, and not a Hub id"),
        (str(tmp_path / "empty"), "has no pytorch_lora_weights.safetensors"),
        (str(tmp_path / "begun"), "begun': its training has not finished; run the same `terrasynth train` again"),
        (str(tmp_path / "pickeld"), r"pickeld' is no folder here, and .* is \(did you mean '.*/pickled'\?\)$"),
        (str(tmp_path / "not-yet"), "not-yet' is no folder here, and .* is: is its training finished?"),
        (str(tmp_path / "pickled"), "loading a pickle runs code"),
    ):
        with pytest.raises(InputError, match=message):
            load(bases["sd"], lora=reference)
    with pytest.raises(InputError, match="draws tokens, and a LoRA is for a diffusion model"):
        load_generator(str(models.token_generator), lora="nowhere")


def test_the_template_of_a_lora_reaches_the_pipeline_and_not_the_rows(tree, bases, tmp_path):
    folder = save_lora(bases["sd"], tmp_path / "nir")
    Conditioning(template="{caption} {gsd} {label}", gsd=0.3).save(folder)
    # The tiny pipeline reads 24 tokens, and the grammar's captions are longer.
    captions = tmp_path / "captions.jsonl"
    captions.write_text("".join(json.dumps({"text": f"{word} sea", "label": "beach"}) + "\n" for word in "abcdefgh"))
    generator = {"model": str(bases["sd"]), "steps": 2, "lora": str(folder)}
    tree |= {"generator": generator, "prompts": {"expander": "file", "path": str(captions)}, "filters": [],
             "target": {"per_class": 2, "max_attempts": 4}}
    run(Recipe.parse(tree), tmp_path / "run")
    row = rows(tmp_path / "run")[0]
    assert row["generator"] == "sd+nir"
    source = find(str(bases["sd"]), steps=2, lora=str(folder))
    assert (row["revision"], row["text"].split()[1]) == (source.revision, "sea")
    from terrasynth.synthesis.core.images import decode

    stored = decode(row["image"]["bytes"])[None]
    tuned = load(bases["sd"], lora=str(folder))
    assert close(tuned.generate([f"{row['text']} 0.3 beach"], [row["seed"]]), stored)
    assert not close(tuned.generate([row["text"]], [row["seed"]]), stored)
    other = Recipe.parse(tree | {"generator": generator | {"conditioning": {"gsd": 0.5}}})
    with pytest.raises(InputError, match=r"another identity: generator\.conditioning\.gsd: was 0\.3, now 0\.5"):
        run(other, tmp_path / "run")


def test_a_distance_that_the_model_was_not_tuned_with_is_refused(bases, loras):
    with pytest.raises(InputError, match=r"generator\.conditioning\.gsd 0\.5 would change nothing"):
        find(str(bases["sd"]), lora=str(loras["sd"]), gsd=0.5)


def test_generate_writes_what_it_drew_with(terrasynth, bases, loras, tmp_path):
    code, _, lines = terrasynth(
        "generate", "sparse forest", "--model", bases["sd"], "--lora", loras["sd"], "--lora-scale", "0.5",
        "--device", "cpu", "--out", tmp_path / "pictures", "--steps", "2",
    )
    assert code == 0, lines
    row = json.loads((tmp_path / "pictures" / "metadata.jsonl").read_text())
    assert (row["generator"], row["text"]) == ("sd+sd-nir", "sparse forest")
    assert row["revision"].endswith("*0.5")


def test_a_scale_without_a_lora_is_refused():
    with pytest.raises(InputError, match=r"generator: lora_scale 0\.5 has no lora to scale"):
        Recipe.parse({"generator": {"model": "ldm-ucm", "lora_scale": 0.5}})
