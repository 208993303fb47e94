import importlib.util
import re
from pathlib import Path

import pytest

from terrasynth.eval import content_hash
from terrasynth.synthesis.core.errors import InputError as SynthesisInputError
from terrasynth.synthesis.generators.conditions.caption import Conditioning, Tuned, read_conditioning, read_tuned
from terrasynth.training.errors import InputError
from terrasynth.training.running.same_training import MAY_CHANGE as OF_THE_LOOP
from terrasynth.training.train import run_preset
from terrasynth.training.tuning.families import open_base
from terrasynth.training.tuning.files import check_same_training
from terrasynth.training.tuning.run import MAY_CHANGE as OF_THE_MODEL
from tests.tiny_pipelines import sd
from tests.training.finetuning import LOOP, make_task, write_pictures


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return sd(tmp_path_factory.mktemp("base") / "sd")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_pictures(tmp_path_factory.mktemp("pictures") / "data")


def test_what_cannot_be_tuned_is_refused_with_what_can():
    with pytest.raises(InputError, match=r"'mhn-ucm' is a Txt2ImgMHNPipeline, which cannot be tuned here; there are: "
                                         r"PixArtSigmaPipeline, StableDiffusionPipeline, StableDiffusionXLPipeline"):
        open_base("mhn-ucm")


@pytest.mark.parametrize(
    ("preset", "base_given", "overrides", "message"),
    [
        ("lora", False, {}, r"preset 'lora' needs --base: an embedded name such as ldm-ucm, a folder, or a Hub id"),
        ("scene-ucm", True, {}, r"preset 'scene-ucm' does not start from a model; leave --base out"),
        ("lora", True, {"model.lora.targets": ["to_w"]}, r"model.lora.targets: 'to_w' is no layer of the unet.*to_q"),
        ("lora", True, {"model.size": 18}, r"model.size 18 is not a multiple of 8, which --base 'sd' needs; use 16"),
        ("lora", True, {"loop.batch_size": 64}, r"loop.batch_size 64 is more than the 12 training images"),
        ("lora", True, {"model.validation.choose": "clip_score"}, r"choose is clip_score, which needs .*encoder"),
        ("lora", True, {"model.base_dtype": "float16"}, r"base_dtype float16 needs mixed precision"),
        ("lora", True, {"load_size": 64}, r"load_size 64 has no meaning here; set model.size"),
        ("lora", True, {"model.rank": 3}, r"unknown key 'model.rank'; known keys here: "),
        ("lora", True, {"model.conditioning.template": "{caption} {season}"}, r"field \{season\} is unknown"),
        ("lora", True, {"model.conditioning.template": "{caption} {gsd}"}, r"conditioning.gsd is not set"),
    ],
)
def test_wrong_input_is_named(base, data, tmp_path, preset, base_given, overrides, message):
    with pytest.raises((InputError, SynthesisInputError), match=message):
        run_preset(preset, data, tmp_path, base=str(base) if base_given else None, overrides={**LOOP, **overrides}
                   if preset == "lora" else overrides)


def test_a_training_of_something_else_is_not_carried_on(base, data, tmp_path):
    run_preset("lora", data, tmp_path / "o", base=str(base), overrides=LOOP)
    with pytest.raises(InputError, match=r"holds another training: model\.lora\.rank: was 16, now 2; use --restart"):
        run_preset("lora", data, tmp_path / "o", base=str(base), overrides={**LOOP, "model.lora.rank": 2})
    run_preset("lora", data, tmp_path / "o", base=str(base), overrides={**LOOP, "model.lora.rank": 2}, resume=False)


def test_a_start_that_failed_does_not_block_the_corrected_command(base, data, tmp_path):
    wrong = {"loop.max_steps": 1, "model.size": 18}
    for _ in range(2):  # the second one is told what is wrong, too
        with pytest.raises(InputError, match=r"model.size 18 is not a multiple of 8"):
            run_preset("lora", data, tmp_path / "o", base=str(base), overrides={**LOOP, **wrong})
    right = {**LOOP, "loop.max_steps": 1, "model.size": 16}
    done = run_preset("lora", data, tmp_path / "o", base=str(base), overrides=right)
    assert done.models[0].steps == 1
    with pytest.raises(InputError, match=r"holds another training: model\.size: was 16, now 20;"):
        run_preset("lora", data, tmp_path / "o", base=str(base), overrides={**right, "model.size": 20})


def test_what_may_change_on_the_way_is_what_the_page_says(base, data, tmp_path):
    page = (Path(__file__).parents[3] / "docs" / "fine-tuning.md").read_text()
    [paragraph] = [each for each in page.split("\n\n") if each.startswith("**Going on.**")]
    named = set(re.findall(r"`(?:--|loop\.|model\.)(\w+)`", paragraph))
    assert named - {"restart"} == OF_THE_LOOP | OF_THE_MODEL

    def trained(**changes):
        return run_preset("lora", data, tmp_path / "o", base=str(base), overrides=LOOP | changes).models[0].steps

    assert trained() == 4
    longer = {"loop.max_steps": 6, "loop.validate_every": 3, "loop.preview_every": 3, "loop.checkpoint_every": 3}
    assert trained(**longer, **{"model.gradient_checkpointing": True, "model.base_dtype": "float32",
                                "model.cache": str(tmp_path / "cache"), "model.validation.batch": 1}) == 6
    with pytest.raises(InputError, match=r"another training: loop\.learning_rate: was 0\.05, now 0\.01;"):
        trained(**longer, **{"loop.learning_rate": 0.01})
    with pytest.raises(InputError, match=r"another training: loop\.learning_rate: was 0\.05, now 0\.01; loop\.seed: "
                                         r"was 0, now 1; model\.lora\.rank: was 16, now 2; use"):
        trained(**longer, **{"loop.learning_rate": 0.01, "model.lora.rank": 2, "loop.seed": 1})


@pytest.mark.parametrize("kept", ["figures.json", "checkpoint/complete"])
def test_weights_and_checkpoints_of_a_training_that_was_ended_are_kept(tmp_path, kept):
    work = tmp_path / "o" / ".training"
    check_same_training(tmp_path / "o", work, {"size": 18}, True)
    check_same_training(tmp_path / "o", work, {"size": 16}, True)
    (work / kept).parent.mkdir(exist_ok=True)
    (work / kept).touch()
    with pytest.raises(InputError, match=r"holds another training: model\.size: was 16, now 18;"):
        check_same_training(tmp_path / "o", work, {"size": 18}, True)
    assert (work / kept).is_file()


@pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is not None, reason="bitsandbytes is installed")
def test_eight_bits_name_their_extra(base, data, tmp_path):
    with pytest.raises(InputError, match=r"loop.optimiser adamw8bit needs bitsandbytes; use adamw, or .*'\.\[8bit\]'"):
        run_preset("lora", data, tmp_path, base=str(base), overrides={**LOOP, "loop.optimiser": "adamw8bit"})


def test_a_template_is_written_read_and_rendered_alike(base, data, tmp_path):
    wanted = Conditioning(template="{caption} gsd {gsd} m, {label}", gsd=0.25)
    task = make_task(base, data, tmp_path / "cache", conditioning=wanted)
    task.save(tmp_path / "lora")
    found = read_conditioning(tmp_path / "lora")
    assert found == wanted.model_copy(update={"base": "sd"})
    assert read_tuned(tmp_path / "lora") == Tuned(
        **found.model_dump(), size=16, base_revision=content_hash(base), base_network=content_hash(base / "unet"))
    pair = task.train.pairs[-1]
    assert found.render(pair.captions[0], pair.label) == task.rendered[-1][0][0] == (
        "a river and a bridge gsd 0.25 m, dense forest")
    assert found.render("x", "y", gsd=0.1234) == "x gsd 0.12 m, y"
    assert found.render("x", "y", gsd=150) == "x gsd 150 m, y"
    assert read_conditioning(tmp_path).render("x") == "x"


@pytest.mark.parametrize(
    ("content", "message"),
    [("{", "cannot be read as JSON"), ('{"template": "a"}', r"field \{caption\} is missing"),
     ('{"template": "{caption"}', "write a brace"), ('{"template": "{caption:>9}"}', "fields take no format"),
     ('{"gsd": 0}', "greater than 0"), ('{"gds": 1}', r"unknown key 'gds' \(did you mean 'gsd'\?\)")],
)
def test_a_wrong_file_is_named(tmp_path, content, message):
    (tmp_path / "terrasynth.json").write_text(content)
    with pytest.raises(SynthesisInputError, match=message):
        read_conditioning(tmp_path)


def test_a_class_that_is_asked_for_has_to_be_there():
    with pytest.raises(SynthesisInputError, match=r"the caption 'x' has no class, and the template .* asks for one"):
        Conditioning(template="{caption}, {label}").render("x")


@pytest.mark.parametrize(("label", "gsd", "text"), [
    ("storage_tanks", 0.3, "x ; storage tanks ; 0.3 m"), ("", 0.3, "x ; 0.3 m"), ("river", None, "x ; river"),
    ("", None, "x"),
])
def test_a_part_in_brackets_is_left_out_where_its_field_is_not_known(label, gsd, text):
    conditioning = Conditioning(template="{caption}[ ; {label}][ ; {gsd} m]")
    assert conditioning.render("x", label, gsd) == text
    assert conditioning.asks("label")
    assert not conditioning.needs("label")


def test_braces_that_belong_to_the_text_make_no_part_optional():
    template = "{caption} [{{1}}]"
    assert Conditioning(template=template).render("x") == "x [{1}]"
    assert Conditioning(template=template).identity() == {"template": template, "gsd": None}
    assert Conditioning(template="{caption}[ ; {gsd} m]").identity()["optional_parts"] == 1


def test_brackets_around_no_field_are_text_and_a_caption_cannot_be_left_out():
    assert Conditioning(template="[sat] {caption}").render("x") == "[sat] x"
    with pytest.raises(ValueError, match=r"field \{caption\} is missing"):
        Conditioning(template="a picture[ of {caption}]")
