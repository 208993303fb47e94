"""Every shipped recipe is planned, with tiny stand-ins for models of the Hub; the small ones are run."""

import json
import re
from pathlib import Path

import pytest
import yaml

from terrasynth.prompts.expanders.endpoint import OpenAIExpander
from terrasynth.prompts.scenes.draft_text import ClassData, drafted_file
from terrasynth.synthesis import Recipe, plan, run
from terrasynth.synthesis.recipe import SHIPPED
from tests import tiny_pipelines
from tests.prompts import chat_server
from tests.prompts.asking_server import KEY
from tests.synthesis.generators.test_generators_lora import save_lora
from tests.tiny_pipelines import PIPELINES

FAMILIES = {"sd15-lora": "sd", "openai": "sd", "sdxl": "sdxl", "pixart": "pixart"}
CLASSES = ("beach", "forest")
WORDS = {"beach": "beside a calm sea", "forest": "of green trees"}


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    root = tmp_path_factory.mktemp("bases")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiny_pipelines, "TEXT_LENGTH", 77)  # as that of the models that they stand for
        return {family: PIPELINES[family](root / family) for family in set(FAMILIES.values())}


@pytest.fixture
def stand_ins(bases, models, tmp_path, monkeypatch):
    """Overrides that put tiny models of the same kind in the place of those of the Hub, and make the run short."""
    (tmp_path / "captions.jsonl").write_text("".join(
        json.dumps({"label": label, "captions": [f"There is a {label} {WORDS[label]} .", f"It is a {label} ."]}) + "\n"
        for label in CLASSES))

    def overrides(name, server=None):
        found = {"runtime.device": "cpu", "runtime.dtype": "float32", "runtime.offload": "none",
                 "target": "{per_class: 1, max_attempts: 4}"}
        found |= {"generator.steps": 1} if name not in ("demo", "captions") else {}
        if name in FAMILIES:
            found |= {"generator.model": bases[FAMILIES[name]], "generator.height": "null", "generator.width": "null"}
        if name == "sd15-lora":
            found["generator.lora"] = save_lora(bases["sd"], tmp_path / "lora")
        if name == "captions":
            found["prompts.path"] = tmp_path / "captions.jsonl"
        if name == "own-classes":
            (tmp_path / "classes.yaml").write_text(drafted_file({label: ClassData() for label in CLASSES}).text)
            found |= {"prompts.ontology": tmp_path / "classes.yaml", "generator.model": bases["sd"],
                      "generator.lora": save_lora(bases["sd"], tmp_path / "lora"), "filters.1.pass_real": "null",
                      "filters.0.encoder": models.calibrated_encoder, "filters.1.classifier": models.classifier,
                      "filters.1.min_probability": 0.01}
        if name == "openai":
            found |= {"prompts.base_url": server.url, "prompts.cache": tmp_path / "answers", "prompts.model": "m"}
        if Recipe.load(name).prompts.classes == "all":
            found["prompts.classes"] = json.dumps(CLASSES)
        for place, each in enumerate(Recipe.load(name).filters):
            if getattr(each, "encoder", "").startswith("openai/"):
                found[f"filters.{place}.encoder"] = models.encoder
            if getattr(each, "calibrate_on", None):
                found[f"filters.{place}.calibrate_on"] = 2
        return [f"{key}={value}" for key, value in found.items()]

    return overrides


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("NO_PROXY", "*")
    with chat_server.serving() as running:
        yield running


def test_the_training_of_the_lora_is_that_of_its_page():
    header = (SHIPPED / "sd15-lora.yaml").read_text("utf-8")
    page = (Path(__file__).parents[2] / "docs" / "fine-tuning.md").read_text("utf-8").replace("\\\n", " ")
    [command] = re.findall("^#   (terrasynth train lora .*)$", header, re.M)
    assert command in re.sub(" +", " ", page)


def test_the_lines_for_own_classes_are_settings_of_the_recipe():
    text = (SHIPPED / "sd15-lora.yaml").read_text("utf-8")
    [line] = re.findall("^# (prompts: .*)$", text, re.M)
    assert Recipe.parse(yaml.safe_load(text) | yaml.safe_load(line)).prompts.options == {"ontology": "own/classes.yaml"}


def test_names_say_what_they_are_for():
    assert {path.stem for path in SHIPPED.glob("*.yaml")} == {"demo", "captions", "own-classes", *FAMILIES}
    assert OpenAIExpander.name == "openai"
    assert all(path.read_text("utf-8").startswith("# ") for path in SHIPPED.glob("*.yaml"))


@pytest.mark.parametrize("name", sorted(path.stem for path in SHIPPED.glob("*.yaml")))
def test_a_shipped_recipe_can_be_planned_and_run(name, stand_ins, server, tmp_path):
    recipe = Recipe.load(name, stand_ins(name, server))
    planned = plan(recipe)
    assert set(planned.prompts) == set(recipe.class_names)
    result = run(recipe, tmp_path / "run")
    assert result.drawn > 0
    assert len(result.counts) == len(recipe.class_names)


LEAST = {"demo": 21, "sd15-lora": 40, "sdxl": 62, "pixart": 62}


@pytest.mark.parametrize("name", sorted(path.stem for path in SHIPPED.glob("*.yaml")))
def test_every_class_of_a_shipped_recipe_has_prompts(name, stand_ins, server):
    changed = [each for each in stand_ins(name, server) if not each.startswith("prompts.classes=")]
    planned = plan(Recipe.load(name, changed))
    assert len(planned.prompts) >= LEAST.get(name, len(CLASSES))
    assert all(planned.prompts.values())
