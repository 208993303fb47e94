"""What a published run leaves on the machine that made it is named, and its ontology goes along."""

import json
import shutil

import yaml

from terrasynth.eval import content_hash
from terrasynth.synthesis import Recipe, run
from terrasynth.synthesis.cards.left_here import left_here
from terrasynth.synthesis.cards.licence_sources import save_licence
from terrasynth.synthesis.cards.licences import Source, inherit
from terrasynth.synthesis.generators.lora import find_lora
from terrasynth.synthesis.hub.run_folder import RunFolder

ONTOLOGY = """\
# mine
gsd: []
countable: {solar farm: solar farms}
classes:
  SolarFarm:
    name: solar farm
    synonyms: [solar farm]
    objects: {main: {noun: solar farm, count: {a: 1, two: 1}}}
"""


def test_models_are_named_with_how_they_were_made(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own" / "lora" / ".training").mkdir(parents=True)
    (tmp_path / "own" / "lora" / ".training" / "training.json").write_text(json.dumps({
        "base": {"name": "ldm-ucm"}, "data": ["photos"], "pictures": {"train": 66, "val": 12},
        "steps": 800, "best_step": 500,
        "preset": {"family": "finetune", "model": {"method": "lora"}}}))
    (tmp_path / "own" / "judge").mkdir()
    (tmp_path / "own" / "judge" / "judge.json").write_text(json.dumps({
        "labels": ["a", "b", "c"], "network": {"model": "efficientnet-lite0"}}))
    (tmp_path / "own" / "shown" / ".training").mkdir(parents=True)
    (tmp_path / "own" / "shown" / "control").mkdir()
    (tmp_path / "own" / "shown" / ".training" / "training.json").write_text(json.dumps({
        "base": {"name": "ldm-ucm"}, "data": ["maps"], "pictures": {"train": 40}, "steps": 9,
        "preset": {"family": "control", "model": {"method": "lora"}}}))
    (tmp_path / "own" / "segmenter").mkdir()
    (tmp_path / "own" / "segmenter" / "training.json").write_text(json.dumps({
        "data": ["maps"], "pictures": {"train": 40}, "steps": 9, "preset": {"family": "segmenter", "model": {}}}))
    (tmp_path / "captions.jsonl").touch()
    tree = {"name": "own", "generator": {"model": "ldm-ucm", "lora": "own/lora", "vae": "owner/none",
                                           "control": "own/shown/control"},
            "prompts": {"expander": "captions", "path": str(tmp_path / "captions.jsonl"), "ontology": "own"},
            "filters": [{"kind": "alignment", "encoder": "own/judge"}, {"kind": "scene", "classifier": "own/judge"},
                        {"kind": "duplicate", "encoder": "clip-ucm"}, {"kind": "layout", "segmenter": "own/segmenter"}]}
    assert [each.text for each in left_here(tree)] == [
        "generator.lora own/lora, made by terrasynth train lora from ldm-ucm on 66 images of photos in 500 steps, "
        "the best of 800",
        "generator.control own/shown/control, made by terrasynth train control from ldm-ucm on 40 images of maps in 9 "
        "steps",
        "prompts.path captions.jsonl",
        "filters alignment.encoder own/judge, made by terrasynth train judge of 3 classes, on the network "
        "efficientnet-lite0",
        "filters layout.segmenter own/segmenter, made by terrasynth train segmenter on 40 images of maps in 9 steps"]


def test_of_a_model_that_has_changed_since_nothing_is_said_that_its_files_say_now(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("lora", "sd"):
        (tmp_path / name / ".training").mkdir(parents=True)
        (tmp_path / name / ".training" / "training.json").write_text(json.dumps({
            "steps": 103, "preset": {"family": "finetune", "model": {"method": "lora" if name == "lora" else "full"}}}))
    (tmp_path / "lora" / "pytorch_lora_weights.safetensors").write_bytes(b"of step 26")
    (tmp_path / "sd" / "config.json").write_text("{}")
    tree = {"generator": {"model": "sd", "lora": "lora"}}
    drawn = {"generator": {"revision": f"{content_hash(tmp_path / 'sd')}+{find_lora('lora').revision}*0.5"}}
    before = ["generator.model sd, made by terrasynth train full in 103 steps",
              "generator.lora lora, made by terrasynth train lora in 103 steps"]
    assert [each.text for each in left_here(tree, drawn)] == before
    (tmp_path / "lora" / "pytorch_lora_weights.safetensors").write_bytes(b"of step 103")
    changed = "which has changed since the run drew with it; what is there now is another"
    assert [each.text for each in left_here(tree, drawn)] == [before[0], f"generator.lora lora, {changed}"]
    (tmp_path / "sd" / "config.json").unlink()
    assert [each.made for each in left_here(tree, drawn)] == [changed] * 2


def test_the_ontology_goes_along_and_the_card_says_what_does_not(tree, tmp_path, terrasynth, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.yaml").write_text(ONTOLOGY)
    tree |= {"prompts": {"expander": "grammar", "ontology": "own.yaml"}, "filters": [],
             "target": {"per_class": 2, "max_attempts": 4}}
    run(Recipe.parse(tree), "run")
    assert "classes.yaml" in [file.path for file in RunFolder(tmp_path / "run").files()]
    card = (tmp_path / "run" / "README.md").read_text()
    assert "terrasynth run recipe.yaml --out AGAIN --set prompts.ontology=classes.yaml  " in card
    assert "since it lies on the machine that made the data set:\n\n- `generator.model`: `sd`" in card
    save_licence(tmp_path / "run", inherit([Source("generator", "sd", "mit", found="its card")]))
    code, out, err = terrasynth("push", "run", "--repo", "user/own", "--dry-run", "--offline")
    assert code == 0, err
    assert "  classes.yaml\n" in out
    assert "note: not included, and needed to make it again: generator.model sd\n" in out

    # Somebody else has what was published, and the model, and makes the same again.
    (tmp_path / "there").mkdir()
    for name in ("recipe.yaml", "classes.yaml"):
        shutil.copy(tmp_path / "run" / name, tmp_path / "there" / name)
    (tmp_path / "own.yaml").unlink()
    monkeypatch.chdir(tmp_path / "there")
    code, _, err = terrasynth("run", "recipe.yaml", "--out", "AGAIN", "--set", "prompts.ontology=classes.yaml")
    assert code == 0, err
    assert yaml.safe_load((tmp_path / "there" / "AGAIN" / "recipe.yaml").read_text())["identity"] == yaml.safe_load(
        (tmp_path / "run" / "recipe.yaml").read_text())["identity"]
