"""The card of a run: what it says comes from the run, and its end can be written anew."""

from __future__ import annotations

import json
import re
from dataclasses import asdict

import datasets
import pytest
import yaml
from huggingface_hub import DatasetCard

from terrasynth.eval.models.references import content_hash
from terrasynth.synthesis import run
from terrasynth.synthesis.cards.card import TAIL, published, refreshed
from terrasynth.synthesis.cards.evaluation import evaluation_tables
from terrasynth.synthesis.cards.licence_sources import load_licence
from terrasynth.synthesis.cards.licences import Source, Statement, inherit
from terrasynth.synthesis.core.errors import RunError
from terrasynth.synthesis.recipe import Recipe
from tests.synthesis.helpers import resealed, rows

LICENCE = inherit([Source("generator", "tiny", "mit", found="its card")])


@pytest.fixture
def made(tree, tmp_path):
    tree["target"] = {"per_class": 2, "max_attempts": 8}
    tree["filters"] = []
    run(Recipe.parse(tree), tmp_path / "run")
    return tmp_path / "run"


def _evaluation():
    from terrasynth.eval.evaluation.figures import AlignmentFigures, SceneFigures
    from terrasynth.eval.metrics.figure import Figure

    figure = Figure(0.5, 0.25, 0.75, 6)
    network = {"model": "scene-ucm", "content": "28de"}
    scene = SceneFigures(figure, {"beach": (1.0, 2), "forest": (0.25, 4)}, 1 / 3, figure, network)
    alignment = AlignmentFigures(figure, figure, "texts of other classes", None, network)
    return {"n": 6, "seed": 0, "scene": asdict(scene), "alignment": asdict(alignment), "frechet": None}


def test_the_header_is_one_to_the_hub_and_to_datasets(made):
    text = (made / "README.md").read_text()
    data = DatasetCard(text).data
    assert (data.license, data.license_name) == ("other", "not-stated-yet")
    assert data.task_categories == ["text-to-image", "image-to-text", "image-classification"]
    assert {"synthetic", "remote-sensing"} <= set(data.tags)
    builder = datasets.load_dataset_builder(str(made))
    assert builder.info.splits["train"].num_examples == len(rows(made)) == 6
    assert "bytes" not in builder.info.features


def test_a_filter_is_told_with_the_revision_of_its_encoder(recipe, models, tmp_path):
    run(recipe, tmp_path / "run")
    text = (tmp_path / "run" / "README.md").read_text()
    assert f", revision `{content_hash(models.encoder)}` |" in text


def test_the_text_tells_what_made_it(made):
    text = (made / "README.md").read_text()
    identity = json.loads((made / "identity.json").read_text())["identity"]
    assert f"| identity | `{identity}` |" in text
    assert rows(made)[0]["revision"] in text
    assert "| beach | 2 | 2 |" in text
    assert "| generator | `sd` | not stated | nothing says |" in text
    assert "**Not stated yet**" in text
    assert str(made) not in text


def test_it_begins_with_what_makes_it_worth_less_and_its_sums_agree(made):
    text = (made / "README.md").read_text()
    said = "No filter looked at what the images show: accepted does not mean that an image shows its class."
    assert f"\n---\n\n# tiny\n\n> **Warning:** {said}\n\n6 synthetic" in text
    assert f'<p class="warning"><b>Warning:</b> {said}</p>' in (made / "report" / "index.html").read_text()
    assert ("12 attempts were drawn, 6 of them judged, and 6 accepted. The other 6 decide nothing: blocks are drawn "
            "whole, beyond what a class needs.\n") in text
    assert "| accepted | 6 |\n| beyond_target | 6 |\n" in text


def test_a_stated_licence_and_an_evaluation_get_into_the_end(made):
    before = (made / "README.md").read_text()
    (made / "evaluation.json").write_text(json.dumps(_evaluation()))
    after = refreshed(before, made, inherit(LICENCE.sources, Statement("cc-by-4.0", by="somebody")))
    assert after.partition(TAIL)[0].partition("\n---\n")[2] == before.partition(TAIL)[0].partition("\n---\n")[2]
    assert ("| scene accuracy | 0.500 | [0.250, 0.750] | 0.333 (a guess) | 0.500 [0.250, 0.750] (n = 6) |  | n = 6 | "
            "scene-ucm 28de |") in after
    assert "| forest | 0.25 | 4 |" in after
    assert "`cc-by-4.0`, stated by somebody." in after
    header = yaml.safe_load(after.split("---\n")[1])
    assert header["license"] == "cc-by-4.0"
    assert "license_name" not in header
    assert refreshed(after, made, inherit(LICENCE.sources, Statement("cc-by-4.0", by="somebody"))) == after


def test_the_next_run_keeps_what_was_stated(made, tree):
    sources = load_licence(made).sources
    resealed(made / "licence.json", {"stated": asdict(Statement("cc-by-4.0", by="somebody"))})
    (made / "evaluation").mkdir()
    (made / "evaluation" / "report.json").write_text(json.dumps({"figures": _evaluation()}))
    tree["target"]["per_class"] = 3
    run(Recipe.parse(tree), made)
    text = (made / "README.md").read_text()
    assert "stated by somebody" in text
    assert "| beach | 1.00 | 2 |" in text
    assert refreshed(text, made, inherit(sources, Statement("cc-by-4.0", by="somebody"))) == text


def test_an_evaluation_that_cannot_be_read_is_told(tmp_path):
    (tmp_path / "evaluation.json").write_text('{"scene": {}}')
    assert evaluation_tables(tmp_path)[1].startswith("evaluation.json holds no evaluation that this version reads")
    assert evaluation_tables(tmp_path / "nothing") == ("", "")


def test_a_card_of_an_earlier_version_is_refreshed_too(tmp_path):
    old = "---\nlicense: other\nlicense_name: x\npretty_name: a\n---\n\n# a\n\n## Licence\n\nold words\n"
    new = refreshed(old, tmp_path, LICENCE)
    assert "old words" not in new
    assert yaml.safe_load(new.split("---\n")[1]) == {"license": "mit", "pretty_name": "a"}


@pytest.mark.parametrize("text", ["# no header\n", "---\n- a\n---\n", "---\na: [\n---\n"])
def test_a_card_without_a_header_is_told(tmp_path, text):
    with pytest.raises(RunError, match=r"README\.md .*run again"):
        refreshed(text, tmp_path, LICENCE)


def test_on_the_hub_it_has_its_name():
    text = 'load_dataset("PATH", split="train")'
    assert published(text, "user/tiny", "main") == 'load_dataset("user/tiny", split="train")'
    assert published(text, "user/tiny", "v2") == 'load_dataset("user/tiny", revision="v2", split="train")'


def test_names_of_classes_do_nothing_in_a_card(tree, tmp_path):
    labels = ["a|b|c", "<img src=x onerror=alert(1)>", "[x](http://h)", "no`code`"]
    path = tmp_path / "p.jsonl"
    prompts = [{"text": f"a {label}", "label": label.replace("/", "")} for label in labels]
    path.write_text("".join(json.dumps(row) + "\n" for row in prompts))
    tree |= {"prompts": {"expander": "file", "path": str(path)}, "filters": [],
             "target": {"per_class": 1, "max_attempts": 4}}
    run(Recipe.parse(tree), tmp_path / "run")
    text = (tmp_path / "run" / "README.md").read_text()
    assert "<img" not in text
    lines = [line for line in text.splitlines() if line.startswith("| ") and line.endswith(" 100 % |")]
    assert len(lines) == 4
    assert all(len(re.findall(r"(?<!\\)\|", line)) == 6 for line in lines)
    assert "](http" not in text.replace("\\](", "").replace("](report", "")
    report = (tmp_path / "run" / "report" / "index.html").read_text()
    assert "<img src=x" not in report
