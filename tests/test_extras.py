"""What the base install leaves out: it is not imported where it is not needed, and named in one line where it is."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LEFT_OUT = {"near": "datasketch", "plots": "matplotlib", "train": "tensorboard"}
HIDE = ("from importlib.machinery import PathFinder\n"
        "find = PathFinder.find_spec\n"
        "hidden = {'matplotlib', 'scipy', 'tensorboard', 'datasketch', 'fastapi'}\n"
        "PathFinder.find_spec = staticmethod(lambda name, path=None, target=None: (\n"
        "    None if name.partition('.')[0] in hidden else find(name, path, target)))\n"
        "from terrasynth.synthesis.cli import main\n"
        "main()\n")


def _without(*arguments):
    return subprocess.run([sys.executable, "-c", HIDE, *map(str, arguments)], capture_output=True, text=True)


def test_the_base_install_has_none_of_them():
    base = {re.split(r"[^\w-]", each)[0] for each in PROJECT["dependencies"]}
    assert base.isdisjoint({*LEFT_OUT.values(), "scipy"})
    for extra, package in LEFT_OUT.items():
        (asked,) = PROJECT["optional-dependencies"][extra]
        assert asked.startswith(f"{package}>=")
        assert asked in PROJECT["optional-dependencies"]["test"]


def test_the_demo_needs_none_of_them(tmp_path):
    small = ["prompts.classes=[forest]", "target.per_class=1", "generator.steps=1", "filters=[]"]
    sets = [part for each in small for part in ("--set", each)]
    done = _without("run", "demo", "--out", tmp_path / "run", *sets)
    assert done.returncode == 0, done.stderr
    assert "data set" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        (("expand", "--classes", "forest", "--n", "1", "--check", "near=0.9"), "near"),
        (("models", "inspect", "mhn-ucm", "--out", "OUT", "--prompt", "A forest ."), "plots"),
    ],
)
def test_what_needs_one_names_its_extra(tmp_path, arguments, extra):
    done = _without(*(str(tmp_path / "out") if each == "OUT" else each for each in arguments))
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert f"needs {LEFT_OUT[extra]}, which is not installed; in a checkout of TerraSynth: pip install -c " in line
    assert f"'.[{extra}]'" in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("arguments", [("serve", "--runs", "."), ("worker", "--runs", "."), ("review", "run")])
def test_what_serves_pages_names_the_extra_service(arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = _without(*arguments)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "the service needs fastapi, which is not installed; in a checkout of TerraSynth: pip install -c " in line
    assert "'.[service]'" in line
    assert not list(tmp_path.iterdir())
