"""What chooses the checkpoint: agreement only where the encoder met what it judges."""

import json
from types import SimpleNamespace

import pytest

from terrasynth.eval.models.knowledge import Knowledge
from terrasynth.training.errors import InputError
from terrasynth.training.train import run_preset
from terrasynth.training.tuning.settings import ValidationSettings
from terrasynth.training.tuning.validation import settled
from tests.tiny import tiny_clip
from tests.tiny_pipelines import sd
from tests.training.finetuning import LOOP, write_pictures


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """One that met beaches and rivers alone."""
    folder = tiny_clip(tmp_path_factory.mktemp("encoder") / "clip")
    Knowledge.of(["a beach by a river"] * 2, ["beach"]).save(folder)
    return str(folder)


def val(*pairs):
    """Images of `val` by class and caption; none is opened."""
    found = [SimpleNamespace(label=label, captions=(caption,)) for label, caption in pairs]

    class Split(list):
        pairs = found

    return Split(found)


BEACH, WOODS = ("beach", "a beach"), ("dense_forest", "a wood")


def test_an_encoder_that_met_all_chooses_and_nothing_is_said(encoder):
    settings, said = settled(ValidationSettings(encoder=encoder), val(BEACH, BEACH))
    assert (settings.choose, settings.encoder, said) == ("clip_score", encoder, "")


def test_one_that_met_less_than_half_is_not_asked(encoder):
    settings, said = settled(ValidationSettings(encoder=encoder), val(WOODS, BEACH, WOODS))
    assert (settings.choose, settings.encoder) == ("loss", None)
    assert said == (
        "model.validation.encoder clip never met dense_forest, in 2 of the 3 images of val that are drawn: it is not "
        "asked, and the loss on val chooses the checkpoint; set model.validation.encoder to one that knows them to "
        "have drawn images judged")


def test_one_that_met_half_chooses_and_what_it_never_met_is_said(encoder):
    settings, said = settled(ValidationSettings(encoder=encoder), val(WOODS, BEACH))
    assert (settings.choose, settings.encoder) == ("clip_score", encoder)
    assert said.endswith("in 1 of the 2 images of val that are drawn, where its agreement means little; set "
                         "model.validation.choose=loss, or model.validation.encoder to one that knows them")


def test_who_asks_for_agreement_gets_it_and_is_told(encoder):
    settings, said = settled(ValidationSettings(encoder=encoder, choose="clip_score"), val(WOODS))
    assert (settings.choose, settings.encoder) == ("clip_score", encoder)
    assert "never met dense_forest, in 1 of the 1 images" in said


def test_without_classes_captions_count(encoder):
    found = settled(ValidationSettings(encoder=encoder), val(("", "a river"), ("", "a blue beach"), ("", "red roofs")))
    assert found[0].choose == "loss"
    assert "never met blue, red, roofs, in 2 of the 3 images" in found[1]


def test_of_an_encoder_that_says_nothing_nothing_is_said(tmp_path):
    folder = str(tiny_clip(tmp_path / "clip"))
    settings, said = settled(ValidationSettings(encoder=folder), val(WOODS))
    assert (settings.choose, said) == ("clip_score", "")


@pytest.mark.parametrize("given", [{"encoder": None}, {"pictures": 0}])
def test_where_nothing_is_judged_the_loss_chooses(encoder, given):
    settings, said = settled(ValidationSettings(**{"encoder": encoder} | given), val(WOODS))
    assert (settings.choose, said) == ("loss", "")


@pytest.mark.parametrize(("given", "before", "chosen"), [
    ({}, "loss", "loss"), ({"pictures": 0}, "loss", "loss"), ({}, "clip_score", "clip_score"),
    ({"choose": "clip_score"}, "loss", "clip_score"), ({"choose": "loss"}, "clip_score", "loss")])
def test_what_has_chosen_goes_on_choosing_where_nothing_else_is_asked(encoder, given, before, chosen):
    settings, said = settled(ValidationSettings(**{"encoder": encoder} | given), val(BEACH), before)
    assert (settings.choose, settings.encoder, said) == (chosen, encoder, "")


@pytest.mark.parametrize("given", [{"encoder": None}, {"pictures": 0}])
def test_a_training_that_images_have_chosen_for_needs_them(encoder, given):
    with pytest.raises(InputError, match="drawn images have chosen the checkpoints of this training so far: leave "):
        settled(ValidationSettings(**{"encoder": encoder} | given), val(BEACH), "clip_score")


def test_a_training_says_what_chooses(encoder, tmp_path, capsys):
    base, data = sd(tmp_path / "sd"), write_pictures(tmp_path / "data")
    for label, word in (("beach", "hangar"), ("dense_forest", "quarry")):
        lines = (data / "pairs.jsonl").read_text()
        (data / "pairs.jsonl").write_text(lines.replace(f'"class": "{label}"', f'"class": "{word}"'))
    overrides = {key: value for key, value in LOOP.items() if not key.startswith("model.validation")}
    overrides |= {"model.validation.encoder": encoder, "model.validation.steps": 1, "loop.max_steps": 1}
    run_preset("lora", data, tmp_path / "out", base=str(base), overrides=overrides)
    assert "encoder clip never met hangar, quarry, in 4 of the 4 images of val" in capsys.readouterr().err
    record = json.loads((tmp_path / "out" / ".training" / "training.json").read_text())
    assert record["preset"]["model"]["validation"]["choose"] == "loss"
    assert "is the best by loss |" in (tmp_path / "out" / "README.md").read_text()
    assert "clip_score" not in record["val"]
    with pytest.raises(ValueError, match=r'model\.validation\.choose: was "loss", now "clip_score"'):
        run_preset("lora", data, tmp_path / "out", base=str(base),
                   overrides=overrides | {"model.validation.choose": "clip_score"})
