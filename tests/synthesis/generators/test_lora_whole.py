"""A LoRA is added wholly, by exactly what its file says, or it is refused with the name of what does not fit."""

import json

import pytest
import torch
from diffusers import DiffusionPipeline
from safetensors.torch import load_file, save_file

from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.generators.lora import find_lora
from terrasynth.synthesis.generators.lora_folding import fold_in
from tests.synthesis.lora_files import layers, write_lora
from tests.tiny_pipelines import PIPELINES

UNET, TEXT = ("unet",), ("text_encoder",)
BOTH = ("unet", "text_encoder", "text_encoder_2")


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    root = tmp_path_factory.mktemp("bases")
    return {kind: PIPELINES[kind](root / kind) for kind in ("sd", "sdxl")}


def weights(pipeline, added):
    return {(component, name): dict(layers(getattr(pipeline, component)))[name].weight.detach().clone()
            for component, name in added}


@pytest.mark.parametrize(("kind", "components", "form", "alpha"), [
    ("sd", UNET, "diffusers", "none"),
    ("sd", UNET, "kohya", "each"),
    ("sd", TEXT, "diffusers", "none"),
    ("sd", TEXT, "transformers 4", "none"),
    ("sd", TEXT, "linear layer", "none"),
    ("sd", TEXT, "kohya", "each"),
    ("sdxl", BOTH, "transformers 4", "none"),
    ("sdxl", BOTH, "kohya", "one"),
])
@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_each_layer_gets_what_the_file_says(bases, tmp_path, kind, components, form, alpha, scale):
    pipeline = DiffusionPipeline.from_pretrained(bases[kind])
    file = tmp_path / "mine.safetensors"
    added = write_lora(pipeline, file, components, form, alpha)
    before = weights(pipeline, added)
    fold_in(pipeline, find_lora(str(file), scale), "model")
    after = weights(pipeline, added)
    assert len(added) >= 2
    for place, delta in added.items():
        torch.testing.assert_close(after[place] - before[place], delta * scale, atol=1e-6, rtol=1e-4)


def change(file, rename=lambda name, number: name, also=()):
    tensors = load_file(file)
    save_file({rename(name, number): value for number, (name, value) in enumerate(sorted(tensors.items()))}
              | dict(also), str(file))


ODD = {
    "half of the layers are another network's": (
        "kohya", {"rename": lambda name, _: name.replace("_up_", "_up_7")}, "up_7"),
    "the same, as diffusers names them": ("diffusers", {"rename": lambda name, _: name.replace("up_", "up_7")}, "up_7"),
    "no layer of this network": ("diffusers", {"rename": lambda name, _: name.replace("blocks", "stages")}, "stages"),
    "names of no form": ("diffusers", {"rename": lambda name, number: f"x{number}"}, "Invalid LoRA checkpoint"),
    "a tensor more": ("diffusers", {"also": {"unet.foo.lora_A.weight": torch.ones(2, 3)}.items()}, "foo"),
    "an alpha without a layer": ("kohya", {"also": {"lora_unet_foo.alpha": torch.tensor(1.0)}.items()}, "foo"),
    "weights as LyCORIS names them": ("kohya", {"also": {"lora_unet_foo.hada_w1_a": torch.ones(2, 3)}.items()}, "foo"),
    "a part for a network that there is not": (
        "diffusers", {"rename": lambda name, _: name.replace("unet.", "transformer.")}, "transformer"),
}


@pytest.mark.parametrize("odd", ODD)
def test_what_does_not_fit_is_refused_by_name(bases, tmp_path, odd):
    form, changes, named = ODD[odd]
    pipeline = DiffusionPipeline.from_pretrained(bases["sd"])
    file = tmp_path / "mine.safetensors"
    write_lora(pipeline, file, UNET, form, "one" if form == "kohya" else "none")
    change(file, **changes)
    with pytest.raises(InputError, match="LoRA 'mine' does not fit the StableDiffusionPipeline 'model'") as refused:
        fold_in(pipeline, find_lora(str(file)), "model")
    assert named in str(refused.value) or "none of its layers" in str(refused.value)


def save_text_encoder(base, folder, wrapped):
    """A text encoder's LoRA as peft writes it, under the names of transformers 4 or as they are."""
    from peft import LoraConfig, get_peft_model

    pipeline = DiffusionPipeline.from_pretrained(base)
    config = LoraConfig(r=2, lora_alpha=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False,
                        alpha_pattern={"encoder.layers.0.self_attn.q_proj": 6})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        get_peft_model(pipeline.text_encoder, config).save_pretrained(folder)
    if not wrapped:
        return
    change(folder / "adapter_model.safetensors",
           lambda name, _: name.replace("base_model.model.", "base_model.model.text_model."))
    said = json.loads((folder / "adapter_config.json").read_text())
    said["alpha_pattern"] = {f"text_model.{name}": value for name, value in said["alpha_pattern"].items()}
    (folder / "adapter_config.json").write_text(json.dumps(said))


def test_a_text_encoder_that_peft_wrote_beside_transformers_4_gives_the_same(bases, tmp_path):
    from peft import LoraConfig, get_peft_model

    found = {}
    for wrapped in (False, True):
        folder = tmp_path / str(wrapped)
        pipeline = DiffusionPipeline.from_pretrained(bases["sd"])
        config = LoraConfig(r=2, target_modules=["to_q"], init_lora_weights=False)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            get_peft_model(pipeline.unet, config).save_pretrained(folder)
        save_text_encoder(bases["sd"], folder / "text_encoder", wrapped)
        pipeline = DiffusionPipeline.from_pretrained(bases["sd"])
        before = {name: module.weight.detach().clone() for name, module in layers(pipeline.text_encoder)}
        fold_in(pipeline, find_lora(str(folder)), "model")
        found[wrapped] = {name: module.weight.detach() - before[name] for name, module in layers(pipeline.text_encoder)}
    for name, change_ in found[False].items():
        assert torch.equal(found[True][name], change_)
        assert bool(change_.any()) == name.endswith(("q_proj", "v_proj"))


def test_alphas_kept_under_names_that_no_layer_has_are_refused(bases, tmp_path):
    pipeline = DiffusionPipeline.from_pretrained(bases["sd"])
    write_lora(pipeline, tmp_path / "plain.safetensors", TEXT, "diffusers")
    said = {"r": 2, "lora_alpha": 2, "target_modules": ["q_proj", "v_proj", "fc1"],
            "rank_pattern": {name: 4 for name, _ in list(layers(pipeline.text_encoder))[1::2]},
            "alpha_pattern": {"text_model.encoder.layers.0.self_attn.q_proj": 9}}
    said = {f"text_encoder.{key}": value for key, value in said.items()}
    save_file(load_file(tmp_path / "plain.safetensors"), str(tmp_path / "mine.safetensors"),
              {"lora_adapter_metadata": json.dumps(said)})
    with pytest.raises(InputError, match=r"alpha for 'text_model\.encoder.*which is no layer of the text_encoder"):
        fold_in(pipeline, find_lora(str(tmp_path / "mine.safetensors")), "model")


class TestOneFile:
    def test_it_is_named_and_hashed_alone(self, bases, tmp_path):
        pipeline = DiffusionPipeline.from_pretrained(bases["sd"])
        file = tmp_path / "mine.safetensors"
        write_lora(pipeline, file, UNET, "kohya")
        alone = find_lora(str(file))
        assert (alone.name, alone.conditioning, alone.scheduler) == ("mine", None, None)
        (tmp_path / "terrasynth.json").write_text('{"template": "{caption} from above"}')
        (tmp_path / "other.safetensors").write_bytes(b"x")
        assert find_lora(str(file)) == alone

    def test_the_file_of_a_folder_is_the_folder(self, bases, tmp_path):
        pipeline = DiffusionPipeline.from_pretrained(bases["sd"])
        file = tmp_path / "nir" / "pytorch_lora_weights.safetensors"
        write_lora(pipeline, file, UNET, "diffusers")
        (tmp_path / "nir" / "terrasynth.json").write_text('{"template": "{caption} from above"}')
        assert find_lora(str(file)) == find_lora(str(tmp_path / "nir"))

    @pytest.mark.parametrize(("name", "said"), [
        ("mine.pt", "pickled"), ("mine.txt", "another kind"), ("gone/mine.safetensors", "no such folder or file"),
    ])
    def test_other_files_are_refused_and_the_hub_is_not_asked(self, tmp_path, monkeypatch, name, said):
        monkeypatch.chdir(tmp_path)
        if "/" not in name:
            (tmp_path / name).write_bytes(b"x")
        with pytest.raises(InputError, match=said):
            find_lora(name)

    def test_several_in_a_folder_are_told_how_to_choose(self, tmp_path):
        for name in ("a", "b"):
            (tmp_path / f"{name}.safetensors").write_bytes(b"x")
        with pytest.raises(InputError, match=r"give the path of one of them, as .*a\.safetensors"):
            find_lora(str(tmp_path))


@pytest.mark.parametrize("scale", [float("nan"), float("inf")])
def test_a_scale_that_is_no_number_is_refused(tmp_path, scale):
    with pytest.raises(InputError, match="no finite number"):
        find_lora(str(tmp_path), scale)
