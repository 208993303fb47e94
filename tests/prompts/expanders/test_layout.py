"""The expander `layout`: a pure stream, options that are checked, and prompts that keep their layout."""

import json
import pickle
import tomllib
from pathlib import Path

import pytest
from PIL import Image

from terrasynth.prompts import Expander
from terrasynth.prompts.errors import InputError
from terrasynth.prompts.expanders.file import FileExpander
from terrasynth.prompts.expanders.layout import LayoutExpander
from terrasynth.prompts.layouts.layout import Layout
from terrasynth.prompts.scenes.entailment import held, redrawn
from terrasynth.prompts.scenes.scene import Scene
from terrasynth.synthesis.cli.prompt_lines import json_line
from terrasynth.synthesis.execution.worker import _prompt

ROOT = Path(__file__).parents[3]
EXPANDER = LayoutExpander(size=128)


def test_it_is_an_expander_under_its_entry_point():
    points = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["terrasynth.expanders"]
    assert points["layout"] == f"{LayoutExpander.__module__}:{LayoutExpander.__name__}"
    assert isinstance(EXPANDER, Expander)


def test_any_attempt_can_be_had_alone():
    whole = EXPANDER.expand("harbor", 4, 0, 4)
    assert EXPANDER.expand("harbor", 4, 2, 2) == whole[2:]
    assert LayoutExpander(size=128).expand("harbor", 4, 3, 1) == whole[3:]
    assert EXPANDER.expand("harbor", 4, 0, 0) == []


def test_prompts_carry_layout_and_scene():
    for prompt in EXPANDER.expand("airplane", 0, 0, 4):
        layout, scene = Layout.from_json(prompt.layout), Scene.from_json(prompt.scene)
        assert layout.label == scene.label == prompt.label == "airplane"
        planes = [thing for thing in scene.objects if thing.role == "airplane"]
        shown = sum(thing.kind == "airplane" for thing in layout.things)
        assert [thing.number for thing in planes] == [shown]
        assert len(prompt.captions) > 1


def test_a_layout_stays_with_its_prompt(tmp_path):
    prompt = EXPANDER.expand("tenniscourt", 0, 0, 1)[0]
    assert held(prompt).layout == prompt.layout
    assert redrawn(prompt, prompt.choices[1]).layout == prompt.layout
    assert pickle.loads(pickle.dumps(prompt)).layout == prompt.layout
    sent = json.loads(json.dumps([prompt.text, list(prompt.captions), prompt.source, prompt.scene, prompt.layout]))
    assert _prompt(prompt.label, *sent).layout == prompt.layout
    file = tmp_path / "prompts.jsonl"
    file.write_text(json_line(prompt))
    again = FileExpander(file).expand("tenniscourt", 0, 0, 1)[0]
    assert (again.text, again.captions, again.scene, again.layout) == (
        prompt.text, prompt.captions, prompt.scene, prompt.layout)


def test_a_file_without_layouts_has_the_identity_that_it_had(tmp_path):
    plain, placed = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    plain.write_text('{"text": "a ship", "label": "ship"}\n')
    layout = Layout("ship", 64.0, 1.0, "water").to_json()
    placed.write_text(json.dumps({"text": "a ship", "label": "ship", "layout": json.loads(layout)}) + "\n")
    assert FileExpander(plain).identity() == {"expander": "file", "prompts": "31ef9adc2badede8"}
    assert FileExpander(placed).identity() != FileExpander(plain).identity()
    assert FileExpander(placed).expand("ship", 0, 0, 1)[0].layout == layout
    placed.write_text(json.dumps({"text": "a ship", "label": "ship", "layout": {"format": 1}}) + "\n")
    with pytest.raises(InputError, match=r"b.jsonl.*1.*lacks a field"):
        FileExpander(placed)


def test_identity_is_what_decides():
    same = LayoutExpander(size=128).identity()
    assert same == EXPANDER.identity()
    for other in (LayoutExpander(), LayoutExpander(size=128, gsd=0.5), LayoutExpander(size=128, min_pixels=20)):
        assert other.identity() != same
    assert json.loads(json.dumps(same)) == same


def test_gsd_is_that_of_the_images():
    layout = Layout.from_json(LayoutExpander(size=64, gsd=0.5).expand("park", 0, 0, 1)[0].layout)
    assert (layout.gsd, layout.side) == (0.5, 32.0)


def test_masks(tmp_path):
    (tmp_path / "classes.yaml").write_text("gsd: 2.0\nlabel: town\nclasses: {0: grass, 1: building}\n")
    mask = Image.new("L", (64, 64))
    mask.paste(1, (4, 4, 12, 20))
    mask.paste(1, (40, 30, 60, 40))
    mask.save(tmp_path / "a.png")
    expander = LayoutExpander(size=64, masks=tmp_path)
    assert expander.classes == ("town",)
    prompt = expander.expand("town", 0, 0, 1)[0]
    assert "two buildings" in prompt.text.lower()
    assert str(tmp_path) not in json.dumps(expander.identity())
    with pytest.raises(InputError, match="gsd 1 of the layout expander and masks exclude each other"):
        LayoutExpander(size=64, masks=tmp_path, gsd=1)


@pytest.mark.parametrize(("options", "said"), [
    ({"size": 8}, "option size 8 of the layout expander has to be a whole number from 16 to 8192"),
    ({"size": 64.0}, "option size 64.0"),
    ({"gsd": 0}, "option gsd 0 of the layout expander has to be 0.05 to 30 m a pixel"),
    ({"gsd": "fine"}, "option gsd 'fine'"),
    ({"min_pixels": 0}, "option min_pixels 0"),
    ({"masks": "nowhere"}, "folder 'nowhere' has no classes.yaml"),
])
def test_options_are_checked(options, said):
    with pytest.raises(InputError) as error:
        LayoutExpander(**options)
    assert said in str(error.value)


def test_unknown_classes_are_refused():
    with pytest.raises(InputError, match="class 'desert' is unknown to the layout expander"):
        EXPANDER.expand("desert", 0, 0, 1)
