"""Words and classes that a model never met are said before the first image, and refused where a recipe says so."""

import json
import re

import pytest
import yaml

from terrasynth.eval.models.knowledge import Knowledge
from terrasynth.prompts import load_expander
from terrasynth.synthesis import Recipe, plan, run
from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.core.knowledge import known_by, knows_class
from terrasynth.synthesis.events import Planned
from terrasynth.synthesis.execution.unread import Reader, Unread, generator_reader
from tests.synthesis.conftest import CLASSES
from tests.synthesis.helpers import find
from tests.tiny import tiny_clip
from tests.tiny_sd import tiny_sd

KNOWN = Knowledge.of([f"a picture of a {label} with trees and boats" for label in ("beach", "river")] * 2,
                     ["beach", "river"])


@pytest.fixture
def knowing(tree, tmp_path):
    """The recipe with a generator and an encoder that met two of its three classes, and few words."""
    generator, encoder = tiny_sd(tmp_path / "own-sd"), tiny_clip(tmp_path / "own-clip")
    for folder in (generator, encoder):
        KNOWN.save(folder)
    tree["generator"]["model"] = str(generator)
    tree["filters"][0]["encoder"] = str(encoder)
    return tree


def prompts(folder, *rows):
    path = folder / "p.jsonl"
    path.write_text("".join(json.dumps({"label": label, "text": text}) + "\n" for label, text in rows))
    return {"expander": "file", "path": str(path)}


@pytest.mark.parametrize(("prompt", "said"), [
    ("a solar farm", "note: generator ldm-ucm never read: solar (1), farm (1), in so many of 1 text; what it makes of "
                     "them is chance"),
    ("Two boats in the harbor, and a road beside it.", ""),
])
def test_generate_says_it_before_it_draws(prompt, said, terrasynth, tmp_path, monkeypatch):
    from terrasynth.synthesis.generators.diffusion import DiffusersGenerator

    def draw(self, texts, seeds):
        raise InputError("drawing begins")

    monkeypatch.setattr(DiffusersGenerator, "draw", draw)
    _, _, err = terrasynth("generate", prompt, "--out", tmp_path / "out")
    assert "drawing begins" in err[-1]
    assert err[:-1] == [said] * bool(said)


def test_a_model_without_the_file_says_that_it_is_not_known(models, terrasynth, tmp_path):
    settings = ("--model", models.generator, "--steps", "1", "--out", tmp_path / "out")
    code, _, err = terrasynth("generate", "a beach", *settings)
    assert code == 0
    assert "note: generator sd: which words and classes it met in training is not known (no knowledge.json)" in err


def test_what_a_lora_met_is_said_where_nothing_says_it_of_its_base(models, tmp_path):
    lora = Knowledge.of(["a solar farm", "a solar panel"] * 2, ["solar farm"])
    said = Unread(Reader("sd", "generator", None, lora=("own", lora)))
    said.look(["a solar farm", "a dam beside a solar farm"])
    (line,) = said.lines()
    assert line == ("generator sd: which words and classes it met in training is not known (no knowledge.json); its "
                    "LoRA own met 1 class, solar farm, and 3 words, and never read: dam (1), beside (1), in so many "
                    "of 2 texts")
    assert not said.found  # nobody knows whether the base read it, so nothing is refused for it
    known = Unread(Reader("sd", "generator", None, lora=("own", lora)))
    known.look(["a solar farm"])
    assert known.lines()[0].endswith("its LoRA own met 1 class, solar farm, and 3 words, and so every word of 1 text")
    for label in ("solarfarm", "dam", "Forest"):
        known.asked.append(label)
    assert "met 1 class, solar farm (2 of the 3 asked for are not among them), and 3 words" in known.lines()[0]


def test_plan_run_report_and_card_say_it(knowing, tmp_path):
    knowing["prompts"] = prompts(tmp_path, ("beach", "A beach with trees."), ("forest", "A forest with a zeppelin."))
    recipe = Recipe.parse(knowing | {"target": {"per_class": 2, "max_attempts": 4}})
    expected = ["generator own-sd never read: forest (2), zeppelin (2), in so many of 4 texts; what it makes of them "
                "is chance", "generator own-sd does not know the class forest"]
    notes = plan(recipe).notes
    assert list(notes[:2]) == expected
    assert ("encoder own-clip does not know the class forest, so its filter is useless there; `terrasynth train judge` "
            "makes one that knows it, from images of yours") in notes
    told = []
    run(recipe, tmp_path / "run", on_event=told.append)
    assert next(event.notes for event in told if isinstance(event, Planned)) == notes
    card = (tmp_path / "run" / "README.md").read_text()
    report = (tmp_path / "run" / "report" / "index.html").read_text()
    for place in (card, report):
        assert re.search(r"own-sd never read: forest \((\d+)\), zeppelin \(\1\), in so many of \d+ texts", place)
        assert "encoder own-clip does not know the class forest" in place
    assert '<p class="warning"><b>Warning:</b> generator own-sd does not know the class forest.</p>' in report
    assert ("never met by own-sd" in report, "No filter looked" in report) == (True, False)
    assert card.index("> **Warning:** generator own-sd does not know the class") < card.index("synthetic remote")


def test_several_classes_are_classes():
    one, more = (Unread(Reader("tiny", role, KNOWN), classes=classes) for role, classes in (
        ("encoder", ["forest"]), ("generator", ["forest", "dam"])))
    assert one.lines() == ["encoder tiny does not know the class forest, so its filter is useless there; `terrasynth "
                           "train judge` makes one that knows it, from images of yours"]
    assert more.lines() == ["generator tiny does not know the classes forest, dam"]


def test_a_recipe_can_refuse_it(knowing, tmp_path, terrasynth):
    knowing["prompts"] = prompts(tmp_path, ("beach", "A beach with trees."), ("beach", "A beach with a zeppelin."))
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(knowing | {"unknown": "refuse"}))
    for command in (("plan", tmp_path / "r.yaml"), ("run", tmp_path / "r.yaml", "--out", tmp_path / "run")):
        code, _, err = terrasynth(*command)
        assert code == 2
        assert re.search(r"generator own-sd never read: zeppelin \(\d+\).*encoder own-clip never read: zeppelin.*"
                         "take other words or models, or set `unknown: warn`", err[-1])
    assert not (tmp_path / "run" / "blocks").exists()
    knowing["prompts"] = prompts(tmp_path, ("beach", "A beach with trees."))
    run(Recipe.parse(knowing | {"unknown": "refuse"}), tmp_path / "run")
    with pytest.raises(InputError, match="unknown 'often' is wrong"):
        Recipe.parse(knowing | {"unknown": "often"})


def test_no_filter_judges_a_class_by_real_pairs_of_others(models, tree):
    KNOWN.save(models.calibrated_encoder)
    try:
        tree["filters"] = [{"kind": "alignment", "encoder": str(models.calibrated_encoder), "pass_real": 0.9}]
        with pytest.raises(InputError, match=r"^filters\.0 \(alignment\): .*encoder '.*' of the alignment filter never "
                                             "met the class 'forest' and cannot read its name"):
            plan(Recipe.parse(tree))
        tree["prompts"]["classes"] = ["beach", "river"]
        assert plan(Recipe.parse(tree)).at_least
        tree["prompts"]["classes"] = CLASSES
        tree["filters"][0] = {"kind": "alignment", "encoder": str(models.calibrated_encoder), "min_score": 0.0}
        assert plan(Recipe.parse(tree)).at_least  # the user's own scale
    finally:
        (models.calibrated_encoder / "knowledge.json").unlink()


@pytest.mark.parametrize(("label", "known"), [
    ("beach", True), ("Beach", True), ("river", True), ("forest", False), ("trees_and_boats", True),
    ("SolarFarm", False),
])
def test_a_class_is_known_by_its_label_or_by_its_words(label, known):
    assert knows_class(KNOWN, label) is known


def test_a_classifier_knows_classes_alone():
    assert knows_class(Knowledge(None, ("beach",)), "beach")
    assert not knows_class(Knowledge(None, ("beach",)), "river")


@pytest.mark.parametrize("name", ["ldm-ucm", "mhn-ucm"])
def test_the_embedded_generators_have_read_all_that_the_grammar_says(name):
    said = Unread(generator_reader(name, find(name)))
    expander = load_expander("grammar")
    for label in expander.classes:
        assert knows_class(known_by(name), label)
        said.look(text for prompt in expander.expand(label, 0, 0, 100) for text in prompt.choices)
    assert (said.lines(), said.texts) == ([], 21 * 100 * 5)


def test_describe_writes_what_the_data_teach(tmp_path, terrasynth):
    folder = tiny_clip(tmp_path / "clip")
    data = tmp_path / "data"
    data.mkdir()
    from tests.synthesis.exports import write_real

    write_real(data / "set", [("beach", "train", 1, ["White sand.", "White waves."]),
                              ("river", "train", 2, ["A sand bank."]),
                              ("forest", "test", 3, ["White trees.", "Some trees."])])
    code, out, _ = terrasynth("models", "describe", folder, "--data", data / "set")
    assert (code, "(2 words, 2 classes)" in out) == (0, True)
    assert known_by(str(folder)) == Knowledge(frozenset({"white", "sand"}), ("beach", "river"))
    for wrong in ((), ("--data", data / "set", "--profile", "ucm")):
        assert terrasynth("models", "describe", folder, *wrong)[0] == 2
    code, _, err = terrasynth("models", "describe", "owner/name", "--profile", "ucm")
    assert (code, "is on the Hub" in err[-1]) == (2, True)
