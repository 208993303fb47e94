"""What is installed: one name, every file of the four folders, and it works without the checkout."""

import os
import shutil
import subprocess
import sys
import zipfile
from functools import partial
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("prompts", "eval", "synthesis", "training")
OWN = [path for path in (ROOT / "src" / "terrasynth").iterdir() if path.is_file()]  # beside the links


def _pip(*arguments):
    subprocess.run([sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *map(str, arguments)],
                   check=True)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel that was built from a copy of the tracked files, since a build leaves files behind."""
    work = tmp_path_factory.mktemp("wheel")
    source = work / "source"
    for name in (*PACKAGES, "src"):
        shutil.copytree(ROOT / name, source / name, symlinks=True,
                        ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "LICENSE-weights.md"):
        shutil.copy(ROOT / name, source)
    _pip("wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", work, source)
    return next(work.glob("*.whl"))


@pytest.fixture(scope="module")
def site(wheel):
    _pip("install", "--no-deps", "--no-index", "--target", wheel.parent / "site", wheel)
    return wheel.parent / "site"


@pytest.fixture
def run(python, site, tmp_path):
    """Run Python with what is installed in the folder; gives its stdout."""
    environment = os.environ | {"PYTHONPATH": str(site)}
    return lambda *command: python.run(*command, cwd=tmp_path, env=environment, check=True).stdout


@pytest.fixture
def run_anew(site, tmp_path):
    """The same in a process that imports the libraries as they are asked for."""
    environment = os.environ | {"PYTHONPATH": str(site)}
    return lambda *command: subprocess.run([sys.executable, *command], cwd=tmp_path, env=environment, check=True)


def test_it_has_one_name_and_every_file(wheel):
    with zipfile.ZipFile(wheel) as file:
        found = {name for name in file.namelist() if ".dist-info/" not in name}
    assert {name.split("/")[0] for name in found} == {"terrasynth"}
    wanted = {f"terrasynth/{path.relative_to(ROOT)}" for package in PACKAGES for path in (ROOT / package).rglob("*")
              if path.is_file() and "__pycache__" not in path.parts}
    assert {"__init__.py", "__main__.py", "py.typed"} <= {path.name for path in OWN}
    assert found == wanted | {f"terrasynth/{path.name}" for path in OWN}


def test_every_module_is_imported_from_it(run, site):
    code = ("import importlib, pkgutil, sys, terrasynth\n"
            "def walk(package):\n"
            "    for found in pkgutil.iter_modules(package.__path__, package.__name__ + '.'):\n"
            "        if not found.name.endswith('__main__'):\n"
            "            module = importlib.import_module(found.name)\n"
            "            assert module.__file__.startswith(sys.argv[1]), module.__file__\n"
            "            print(found.name)\n"
            "            if found.ispkg:\n"
            "                walk(module)\n"
            "walk(terrasynth)\n")
    modules = run("-c", code, site).split()
    files = [*OWN, *(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))]
    assert len(modules) == len([path for path in files if path.suffix == ".py" and path.name != "__main__.py"]) - 1


@pytest.mark.parametrize(("model", "way"), [("ldm-ucm", "run_anew"), ("mhn-ucm", "run")])
def test_it_makes_a_data_set(request, tmp_path, model, way):
    terrasynth = partial(request.getfixturevalue(way), "-m", "terrasynth")
    (tmp_path / "recipe.yaml").write_text(
        f"name: small\ngenerator: {{model: {model}, steps: 1}}\nprompts: {{classes: [harbor]}}\nfilters: []\n"
        "target: {per_class: 2, max_attempts: 2}\nruntime: {dtype: float32}\n")
    terrasynth("run", "recipe.yaml", "--out", "run")
    assert (tmp_path / "run" / "data" / "train-00000.parquet").is_file()
    terrasynth("verify", "run")
    terrasynth("export", "run", "--format", "coco", "--out", "out")


def test_a_pipeline_that_was_saved_under_the_old_name_loads(run, tmp_path):
    """`mhn-ucm` names its network `synthesis.hopfield_transformer`, which was the module's name until 0.1."""
    index = (ROOT / "synthesis" / "weights" / "mhn-ucm" / "model_index.json").read_text()
    assert '"synthesis.hopfield_transformer"' in index
    code = ("from terrasynth.synthesis.generators.hopfield.pipeline import Txt2ImgMHNPipeline\n"
            "from terrasynth.synthesis.core.embedded import WEIGHTS\n"
            "import sys\n"
            "pipeline = Txt2ImgMHNPipeline.from_pretrained(WEIGHTS / 'mhn-ucm')\n"
            "pipeline.save_pretrained(sys.argv[1])\n"
            "again = Txt2ImgMHNPipeline.from_pretrained(sys.argv[1])\n"
            "print(type(pipeline.transformer) is type(again.transformer), 'synthesis' in sys.modules)\n")
    assert run("-c", code, tmp_path / "again").split() == ["True", "False"]
    saved = (tmp_path / "again" / "model_index.json").read_text()
    assert '"terrasynth.synthesis.generators.hopfield.transformer"' in saved


def test_the_licence_of_the_weights_is_stated_apart_from_that_of_the_code(wheel):
    from email.parser import Parser

    from terrasynth.eval.models.references import EMBEDDED_ROOT, embedded_models
    from terrasynth.synthesis.core.embedded import WEIGHTS

    with zipfile.ZipFile(wheel) as file:
        info = next(name.split("/")[0] for name in file.namelist() if ".dist-info/" in name)
        about = Parser().parsestr(file.read(f"{info}/METADATA").decode())
        stated = file.read(f"{info}/licenses/LICENSE-weights.md").decode()
    assert about["License-Expression"] == "Apache-2.0 AND LicenseRef-research-captions"
    assert about.get_all("License-File") == ["LICENSE", "LICENSE-weights.md"]
    for name, folder in embedded_models([EMBEDDED_ROOT, WEIGHTS]).items():
        assert f"`{name}`" in stated
        assert "license_name: research-captions" in (folder / "README.md").read_text()
