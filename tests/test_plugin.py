"""The example plug-in package, built, installed and used as that of a stranger."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

PLUGIN = Path(__file__).parent / "plugin"
ROOT = PLUGIN.parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder of installed packages with the plug-in."""
    work = tmp_path_factory.mktemp("plugin")
    shutil.copytree(PLUGIN, work / "source")
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps",
                    "--no-build-isolation", "--no-index", "--target", work / "site", work / "source"], check=True)
    return work / "site"


@pytest.fixture
def terrasynth(python):
    """Run a command where packages are installed in a folder; gives exit code, stdout and stderr."""

    def call(site, *arguments):
        path = os.pathsep.join(map(str, (site, ROOT / "src", ROOT)))
        done = python.run("-m", "terrasynth", *arguments, cwd=site, env=os.environ | {"PYTHONPATH": path})
        return done.returncode, done.stdout, done.stderr

    return call


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    root = tmp_path_factory.mktemp("recipe")
    (root / "recipe.yaml").write_text(yaml.safe_dump({
        "name": "example", "generator": {"model": "cells:8"},
        "prompts": {"expander": "seasons"}, "filters": [{"kind": "brightness", "min_mean": 1, "max_mean": 254}],
        "target": {"per_class": 2, "max_attempts": 8},
        "runtime": {"block_size": 2, "device": "cpu", "dtype": "float32", "executor": "timed"},
    }))
    return root / "recipe.yaml"


def test_each_of_its_kinds_is_used(terrasynth, installed, recipe, tmp_path):
    import pyarrow.parquet as pq

    code, _, said = terrasynth(installed, "run", recipe, "--out", tmp_path / "run")
    assert code == 0, said
    timed = (tmp_path / "run-seconds.txt").read_text().splitlines()
    assert {line.split()[0] for line in timed} == {"beach", "river"}
    assert len(timed) == sum(1 for _ in (tmp_path / "run" / "blocks").glob("*/*.parquet"))
    rows = pq.read_table(tmp_path / "run" / "data" / "train-00000.parquet").to_pylist()
    assert {row["label"] for row in rows} == {"beach", "river"}
    assert {row["generator"] for row in rows} == {"cells:8"}
    assert "revision `1-8`, 1 steps, guidance 0.0 |" in (tmp_path / "run" / "README.md").read_text()
    assert all(row["text"].split()[-1] in ("spring", "summer", "autumn", "winter") for row in rows)
    assert all(1 <= row["scores"]["brightness"] <= 254 for row in rows)
    assert terrasynth(installed, "verify", tmp_path / "run")[0] == 0
    code, _, said = terrasynth(installed, "export", tmp_path / "run", "--format", "captions", "--out", tmp_path / "out")
    assert code == 0, said
    lines = (tmp_path / "out" / "train.txt").read_text().splitlines()
    assert [line.split("\t")[1] for line in lines] == [row["captions"][0] for row in rows]
    assert all((tmp_path / "out" / "images" / line.split("\t")[0]).is_file() for line in lines)


def test_a_filter_that_a_plug_in_brings_is_not_known_without_it(terrasynth, recipe, tmp_path):
    code, _, said = terrasynth(tmp_path, "plan", recipe, "--set", "prompts.expander=grammar",
                               "--set", "generator.model=ldm-ucm", "--set", "runtime.executor=local")
    assert code == 2
    assert "filters.0.kind 'brightness' is no filter" in said


@pytest.mark.parametrize(("changes", "said"), [
    ("generator.model=cells:7", "cells a side have to divide 64"), ("generator.vae=ldm-ucm/vae", "has no weights"),
    ("generator.height=32", "draws 64 x 64 px"), ("filters.0.min_men=2", "unknown key 'filters.0.min_men'"),
])
def test_what_it_refuses_is_one_line(terrasynth, installed, recipe, changes, said):
    code, _, lines = terrasynth(installed, "plan", recipe, "--set", changes)
    assert (code, said in lines, lines.count("\n")) == (2, True, 1), lines


@pytest.mark.parametrize(("group", "name", "value", "said"), [
    ("filters", "brightness", "nowhere:Filter", "filter 'brightness' cannot be loaded from nowhere:Filter (No module"),
    ("filters", "brightness", "json:dumps", "filter 'brightness' is no FilterSettings with the field kind"),
    ("filters", "scene", "json:dumps", "calls its filter 'scene', as one of TerraSynth's own"),
    ("generators", "cells", "nowhere:Cells", "generator 'cells' cannot be loaded from nowhere:Cells"),
    ("generators", "cells", "json:JSONDecoder", "generator 'cells' lacks a part of the GeneratorPlugin protocol"),
    ("generators", "ldm-ucm", "json:JSONDecoder", "calls its generator 'ldm-ucm', as an embedded model is called"),
    ("filters", "brightness", "tests.two_names:TwoNames", "filter 'brightness' is no FilterSettings with the field"),
    ("executors", "processes", "json:dumps", "calls its executor 'processes', as one of TerraSynth's own"),
    ("expanders", "seasons", "nowhere:Expander", "expander 'seasons' cannot be loaded from nowhere:Expander"),
    ("expanders", "grammar", "json:dumps", "expander 'grammar' is offered by broken and terrasynth; remove one"),
])
def test_a_broken_plug_in_is_one_line_where_it_is_asked_for(terrasynth, recipe, tmp_path, group, name, value, said):
    info = tmp_path / "broken-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[terrasynth.{group}]\n{name} = {value}\n")
    tree = yaml.safe_load(recipe.read_text())
    if group == "generators":
        tree["generator"]["model"] = name
    else:
        tree["generator"]["model"] = "ldm-ucm"
    tree["runtime"]["executor"] = name if group == "executors" else "local"
    tree |= {"prompts": {"expander": name if group == "expanders" else "grammar"},
             "filters": [{"kind": name}] if name == "brightness" else []}
    (tmp_path / "recipe.yaml").write_text(json.dumps(tree))
    code, _, lines = terrasynth(tmp_path, "plan", tmp_path / "recipe.yaml")
    assert said in lines
    assert "Traceback" not in lines
    assert code == (0 if name == "scene" else 2)
