"""The reference pages say all that can be set, and what each thing means; mkdocs is not needed to make them."""

import dataclasses
import importlib
import inspect
import re
import tomllib
from functools import cache
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

from reference import PAGES
from reference.api import FACES, public
from reference.commands import walk
from reference.docstrings import attributes, escaped, read
from reference.plugins import options, own
from reference.protocols import KINDS
from reference.settings import keys, said
from reference.training import FAMILIES
from terrasynth.prompts.checks.settings import CheckSettings
from terrasynth.prompts.registry import EXPANDERS
from terrasynth.synthesis import events
from terrasynth.synthesis.export.registry import EXPORTERS
from terrasynth.synthesis.filters import BUILT_IN
from terrasynth.synthesis.recipe import Recipe, TargetSettings
from terrasynth.training.data.settings import DataSettings
from terrasynth.training.presets import Preset, checked, load_preset, presets
from terrasynth.training.running.settings import LoopSettings
from terrasynth.training.train import FROM_MASKS

ROOT = Path(__file__).parents[2]
DOCS, PLUGIN = ROOT / "docs", ROOT / "tests" / "plugin"
SETTINGS = {model.__name__: model for model in (Recipe, *BUILT_IN.values(), CheckSettings, DataSettings, Preset,
                                                LoopSettings, *FAMILIES.values())}


@cache
def _page(name):
    return PAGES[f"reference/{name}.md"]()


def _rows(text):
    """The rows of all tables, by their first cell without code marks, with the other cells."""
    rows = {}
    for line in text.splitlines():
        if line.startswith("| "):
            first, *others = re.split(r"(?<!\\) \| ", line.removeprefix("| ").removesuffix(" |"))
            rows[first.strip("`")] = others
    return rows


def _section(text, heading):
    return re.split(r"^#+ ", text.split(f"# {heading}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


def _fields(model, prefix=""):
    """The keys of settings, found without the code of the pages: as the dumped defaults have them."""
    for name, field in model.model_fields.items():
        yield prefix + name
        value = field.get_default(call_default_factory=True, validated_data={})
        inner = field.annotation if inspect.isclass(field.annotation) else type(value)
        if issubclass(inner, BaseModel):
            yield from _fields(inner, f"{prefix}{name}.")


def test_every_recipe_key_has_a_row():
    rows = _rows(_page("recipe")) | {f"prompts.checks.{key}": row for key, row in _rows(_page("checks")).items()}
    assert set(_fields(Recipe)) - rows.keys() == set()
    assert rows["generator.steps"][0] == "whole number (&gt; 0, ≤ 10,000) or null"
    assert rows["generator.model"][1] == "required"
    assert rows["output.image_format"][:2] == ["`png` or `webp` or `jpeg`", "`png`"]
    assert rows["seed"][0] == "whole number (≥ 0, &lt; 2^63)"
    assert {f"target.kept.CLASS.{key}" for key in ("rows", "attempts")} <= rows.keys()


@pytest.mark.parametrize("kind", BUILT_IN)
def test_every_filter_has_a_table(kind):
    assert _rows(_section(_page("filters"), kind)).keys() >= set(BUILT_IN[kind].model_fields) - {"kind"}


@pytest.mark.parametrize("plugins", [EXPANDERS, EXPORTERS], ids=lambda plugins: plugins.kind)
def test_every_expander_and_exporter_has_its_options_said(plugins):
    page = _page("expanders" if plugins is EXPANDERS else "formats")
    ours = own(plugins)
    assert len(ours) >= 5
    for name, thing in ours.items():
        rows = _rows(_section(page, name))
        given = [one for one in inspect.signature(thing).parameters if "__init__" in vars(thing)]
        assert rows.keys() >= set(given)
        assert [option for option, *_, meaning in options(thing) if not meaning] == []


def test_every_exporter_says_what_it_leaves_out():
    rows = _rows(_page("formats"))
    assert {name: rows[name][0] for name in own(EXPORTERS)} == {
        name: escaped(thing.loses) for name, thing in own(EXPORTERS).items()}


@pytest.mark.parametrize("name", SETTINGS)
def test_every_key_has_a_meaning(name):
    assert [key.place for key in keys(SETTINGS[name]) if not key.meaning and key.place != "kind"] == []


@pytest.mark.parametrize("name", SETTINGS)
def test_no_docstring_names_a_key_that_is_not_there(name):
    model = SETTINGS[name]
    assert [key for key in attributes(model) if key not in model.model_fields and not hasattr(model, key)] == []


def test_every_preset_is_there_and_its_settings_are_those_of_its_family():
    rows, page = _rows(_page("presets")), _page("presets")
    for name, description in presets().items():
        preset = load_preset(name)
        assert rows[f"[{name}](#{name})"][1] == description
        assert f"family: {preset.family}" in _section(page, name)
        if preset.family != "chain":
            given = {"masks": "MASKS"} if preset.family in FROM_MASKS else {}
            checked(FAMILIES[preset.family], preset.model | given, "model")  # would refuse the keys of another family
    assert {"loop.seed", "model.views.count", "stages[].preset"} <= rows.keys()


def test_every_event_has_its_fields_said():
    page = _page("events")
    for event in (*get_args(events.Event), events.RunResult, events.ClassCount):
        rows = _rows(_section(page, event.__name__))
        assert all(rows[field.name][1] for field in dataclasses.fields(event))


def test_every_command_has_its_options():
    page = _page("command-line")
    found = dict(walk())
    assert {"terrasynth run", "terrasynth eval downstream", "terrasynth models convert-openclip"} <= found.keys()
    for path, command in found.items():
        section = _section(page, path)
        for parameter in command.params:
            if not getattr(parameter, "hidden", False) and parameter.opts[0].startswith("--"):
                assert parameter.opts[0] in section, (path, parameter.name)


@pytest.mark.parametrize("face", FACES)
def test_every_public_name_is_on_its_page(face):
    page = _page(f"python/{face}")
    assert all(f"\n::: {face}.{name}\n" in f"{page}\n" for name in public(face))


def test_every_kind_of_plug_in_is_there_with_an_example_that_the_package_of_examples_registers():
    page, package = _page("python/plug-ins"), tomllib.loads((PLUGIN / "pyproject.toml").read_text("utf-8"))["project"]
    groups = {re.search(r'Plugins\("(.+?)"', line)[1] for path in (ROOT / "synthesis", ROOT / "prompts")
              for each in path.rglob("*.py") for line in each.read_text("utf-8").splitlines() if " Plugins(" in line}
    assert {kind.group for kind in KINDS} == groups == set(package["entry-points"])
    for kind in KINDS:
        (place,) = package["entry-points"][kind.group].values()
        assert place.partition(":")[0] == f"terrasynth_example.{kind.example}"
        assert f"class {place.partition(':')[2]}" in _section(page, f"An example: {kind.example}")
        for name in kind.protocols:
            module, _, thing = name.rpartition(".")
            assert inspect.getdoc(getattr(importlib.import_module(module), thing))
            assert f"\n::: {name}\n" in page


def test_every_page_of_docs_is_reached_from_the_first():
    named = set(re.findall(r"\]\(([\w/-]+\.md)", (DOCS / "README.md").read_text(encoding="utf-8")))
    there = {str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md")} - {"README.md"}
    assert there - named == set()


def test_pages_that_are_made_are_not_committed():
    assert not [name for name in PAGES if (DOCS / name).exists()]


def test_docstrings_are_read_by_their_sections():
    def thing():
        """One line
        that goes on.

        More, as `<label>.txt` and <b>.

        Args:
            first: What it is,
                on two lines.
            **rest: Others.

        Example:
            >>> 1 + 1
            2
        """
    found = read(thing)
    assert found.summary == "One line that goes on."
    assert found.text.endswith("More, as `<label>.txt` and &lt;b>.")
    assert found.named == {"Args": {"first": "What it is, on two lines.", "rest": "Others."}}
    assert found.example == ">>> 1 + 1\n2"


def test_limits_are_said():
    schema = TargetSettings.model_json_schema()["properties"]["per_class"]
    assert said(schema, {}) == ("whole number (&gt; 0, ≤ 1,000,000,000) or mapping from a name to: "
                                "whole number (&gt; 0, ≤ 1,000,000,000) (not empty, at most 10,000 entries)")
