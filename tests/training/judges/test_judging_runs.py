"""Own classes that no other model knows: a run that a judge filters, an evaluation by it, and one by others."""

import json
import re

import numpy as np
import pytest
import yaml

from terrasynth.synthesis import Recipe, plan
from terrasynth.synthesis.core.errors import InputError
from terrasynth.training import run_preset
from tests.tiny import tiny_clip, tiny_scene
from tests.tiny_sd import tiny_sd
from tests.training.judges.conftest import CLASSES, FAST, SIDE, class_folders


@pytest.fixture(scope="session")
def others(tmp_path_factory):
    """A generator, and judges of other classes."""
    folder = tmp_path_factory.mktemp("models")
    return tiny_sd(folder / "sd"), tiny_clip(folder / "clip"), tiny_scene(folder / "scene", ["beach", "river"])


def recipe_of(folder, generator, encoder, classifier, **more):
    """A recipe for own classes, with both filters."""
    path = folder / "prompts.jsonl"
    path.write_text("".join(json.dumps({"label": label, "text": f"An aerial image of a {label.replace('_', ' ')}."}) +
                            "\n" for label in CLASSES))
    filters = [{"kind": "alignment", "encoder": str(encoder), "min_score": -1.0}]
    if classifier is not None:
        filters.append({"kind": "scene", "classifier": str(classifier), "min_probability": 0.0})
    return {"name": "own", "generator": {"model": str(generator), "steps": 1}, "filters": filters,
            "prompts": {"expander": "file", "path": str(path)}, "target": {"per_class": 2, "max_attempts": 4}, **more}


def test_a_run_of_own_classes_is_filtered_and_judged(judge, others, tmp_path, terrasynth):
    generator, clip, scene = others
    recipe = tmp_path / "own.yaml"
    recipe.write_text(yaml.safe_dump(recipe_of(tmp_path, generator, judge.out, judge.out)))
    notes = plan(Recipe.load(str(recipe))).notes
    assert not any("encoder J" in note or "classifier J" in note for note in notes)
    code, _, err = terrasynth("run", recipe, "--out", tmp_path / "run")
    assert code == 0, err
    code, out, err = terrasynth("eval", tmp_path / "run", "--encoder", judge.out, "--classifier", judge.out,
                                "--cache", "none", "--report", tmp_path / "page")
    assert (code, out.startswith("scene accuracy")) == (0, True), err
    assert "gives the CLIP score too" in (tmp_path / "page" / "index.html").read_text()  # it chose them itself
    code, out, err = terrasynth("eval", tmp_path / "run", "--encoder", clip, "--classifier", scene, "--cache", "none",
                                "--out", tmp_path / "figures.json", "--report", tmp_path / "other")
    assert code == 0, err
    said = "does not know the class 'flooded_village' and 2 more of the 3"
    lines = [line for line in out.splitlines() if said in line]
    assert [line.split(" not measured")[0].strip() for line in lines] == ["scene accuracy", "inception score"]
    assert all("terrasynth train judge" in line for line in lines)
    assert "CLIP score" in out
    assert json.loads((tmp_path / "figures.json").read_text())["scene"] is None
    assert "the classifier does not know the class" in (tmp_path / "other" / "index.html").read_text()


def test_a_filter_that_cannot_tell_is_named_before_anything_is_drawn(others, tmp_path, terrasynth):
    generator, clip, _ = others
    alike = class_folders(tmp_path / "alike", 24, noise=0.0)
    draw = np.random.default_rng(0)
    from PIL import Image

    for path in sorted(alike.rglob("*.png")):  # nothing of the class is left
        Image.fromarray(draw.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)).save(path)
    blind = run_preset("judge", alike, tmp_path / "blind", overrides=FAST, encoder="thumbnail")
    few = run_preset("judge", class_folders(tmp_path / "few", 4), tmp_path / "few-judge", overrides=FAST,
                     encoder="thumbnail")
    assert any("tell no more than a coin toss of" in line for line in blind.lines())
    for encoder, said in (
        (blind.out, "encoder blind is useless for the class solar_farm: on held-out real images it tells its texts "
                    "from those of other classes no better than a coin toss, 0."),
        (few.out, "encoder few-judge: how well it tells the class solar_farm from others is not measured, with 1 "
                  "held-out real images; more images"),
        (clip, "encoder clip: which words and classes it met in training is not known"),
    ):
        tree = recipe_of(tmp_path, generator, encoder, None)
        notes = plan(Recipe.parse(tree)).notes
        found = [note for note in notes if note.startswith(said)]
        assert len(found) == 1
        assert encoder == clip or "(n = 6)" in found[0] or "with 1 held-out" in found[0]
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(recipe_of(tmp_path, generator, blind.out, None, unknown="refuse")))
    for command in (("plan", tmp_path / "r.yaml"), ("run", tmp_path / "r.yaml", "--out", tmp_path / "run")):
        code, _, err = terrasynth(*command)
        assert code == 2
        assert "encoder blind is useless for the class solar_farm" in err[-1]
    assert not (tmp_path / "run" / "blocks").exists()


def test_prompts_whose_class_a_judge_cannot_read_are_counted(judge, others, data, tmp_path):
    """A judge of class names alone reads no synonym; one that was trained on texts of the ontology does."""
    generator, _, _ = others
    ontology = tmp_path / "classes.yaml"
    ontology.write_text("gsd: []\n"
                        "countable: {solar farm: solar farms, photovoltaic plant: photovoltaic plants}\nclasses:\n"
                        "  solar_farm:\n    name: solar farm\n    synonyms: [solar farm]\n    objects:\n"
                        "      main: {noun: {solar farm: 1, photovoltaic plant: 1}, count: {a: 1}}\n")
    (tmp_path / "data.yaml").write_text(f"data: {data}\nontology: classes.yaml\n")
    taught = run_preset("judge", tmp_path / "data.yaml", tmp_path / "taught", overrides=FAST, encoder="thumbnail")
    notes = {}
    for encoder in (judge.out, taught.out):
        tree = recipe_of(tmp_path, generator, encoder, None, target={"per_class": 20, "max_attempts": 20})
        tree["prompts"] = {"expander": "grammar", "ontology": str(ontology), "classes": ["solar_farm"]}
        notes[encoder.name] = "\n".join(plan(Recipe.parse(tree)).notes)
    said, = re.findall(r"encoder J reads no word for the class in (\d+) of 20 texts: photovoltaic plant \((\d+)\); "
                       r"what it scores there is not the class; it reads these words after `terrasynth train judge`",
                       notes["J"])
    assert said[0] == said[1]
    assert 4 < int(said[0]) < 16
    assert "encoder taught reads no word" not in notes["taught"]
    assert not re.search("encoder taught never read.*photovoltaic", notes["taught"])
    card = (taught.out / "README.md").read_text()
    for words in ("of 72 images drafted from the names of their classes, and of 24 of them drawn from an ontology, too",
                  "say what a class can show, and not what an image shows"):
        assert words in card
    assert "hold no other word" not in card


def test_other_models_are_refused_with_the_way_out(others, tmp_path):
    generator, clip, scene = others
    with pytest.raises(InputError, match=r"class 'flooded_village' is unknown to classifier .*terrasynth train judge"):
        plan(Recipe.parse(recipe_of(tmp_path, generator, clip, scene)))
