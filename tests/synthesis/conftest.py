"""A tiny generator, two tiny encoders, and a recipe of three classes that uses them."""

from __future__ import annotations

import copy
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from terrasynth.synthesis.recipe import Recipe
from tests import tiny_pipelines
from tests.object_store import s3, store_server  # noqa: F401 - fixtures
from tests.tiny import tiny_clip, tiny_pictures, tiny_scene, tiny_segmenter
from tests.tiny_mhn import save_tiny_mhn
from tests.tiny_sd import tiny_sd
from tests.worker_cells import accidents, place, whole  # noqa: F401 - fixtures

CLASSES = ["beach", "forest", "river"]


@dataclass(frozen=True)
class Models:
    generator: Path
    token_generator: Path
    encoder: Path
    other_encoder: Path
    calibrated_encoder: Path
    classifier: Path


@pytest.fixture(scope="session")
def models(tmp_path_factory) -> Models:
    root = tmp_path_factory.mktemp("models")
    calibrated = tiny_clip(root / "calibrated", seed=2)
    _calibrate(calibrated)
    return Models(
        tiny_sd(root / "sd"),
        save_tiny_mhn(root / "mhn", text_length=77),
        tiny_clip(root / "clip"),
        tiny_clip(root / "other", seed=1),
        calibrated,
        tiny_scene(root / "scene", CLASSES),
    )


def _calibrate(folder: Path) -> None:
    from terrasynth.eval import calibrate, load_encoder

    encoder = load_encoder(folder)
    captions = [[f"a picture of a {label}"] for label in CLASSES for _ in range(20)]
    labels = [label for label in CLASSES for _ in range(20)]
    calibrate(encoder, tiny_pictures(60), captions, labels, "val").save(folder / "calibration.json")


@pytest.fixture
def tree(models):
    """The recipe as plain data; a test changes its own copy."""
    return _tree(models)


def _tree(models: Models) -> dict:
    return copy.deepcopy(
        {
            "name": "tiny",
            "generator": {"model": str(models.generator), "steps": 2, "guidance": 3.0},
            "prompts": {"expander": "grammar", "classes": CLASSES},
            "filters": [
                {"kind": "alignment", "encoder": str(models.encoder), "min_score": 0.0},
                {"kind": "duplicate", "encoder": str(models.encoder), "max_similarity": 0.995},
            ],
            "target": {"per_class": 5, "max_attempts": 24},
            "runtime": {"block_size": 4, "device": "cpu", "dtype": "float32"},
        }
    )


@pytest.fixture
def recipe(tree) -> Recipe:
    return Recipe.parse(tree)


@pytest.fixture(scope="session")
def run_once(models, tmp_path_factory) -> Path:
    """What the recipe makes, to be read and copied alone."""
    from terrasynth.synthesis import run

    folder = tmp_path_factory.mktemp("once") / "run"
    run(Recipe.parse(_tree(models)), folder)
    return folder


@pytest.fixture
def finished(run_once, tmp_path) -> Path:
    """A finished run of the recipe in `tmp_path / "run"`, to do anything with."""
    return Path(shutil.copytree(run_once, tmp_path / "run"))


@pytest.fixture
def recipe_file(tree, tmp_path) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(tree))
    return path


@pytest.fixture(scope="session")
def pair_models(tmp_path_factory) -> Path:
    """A tiny model that is shown layouts, and a segmenter."""
    root = tmp_path_factory.mktemp("pair-models")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiny_pipelines, "TEXT_LENGTH", 77)
        tiny_pipelines.sd(root / "sd")
    tiny_pipelines.controlnet(root / "sd", root / "control")
    tiny_segmenter(root / "segmenter")
    return root


@pytest.fixture(scope="session")
def pair_tree(pair_models):
    """A recipe of four pairs, two a block."""
    return {
        "seed": 8, "name": "pairs",
        "generator": {"model": str(pair_models / "sd"), "control": str(pair_models / "control"), "steps": 1,
                      "guidance": 3.0, "conditioning": {"layout": "six"}},
        "prompts": {"expander": "layout", "classes": ["mediumresidential"], "size": 64, "pairs": "all",
                    "checks": {"max_tokens": "auto"}},
        "filters": [{"kind": "layout", "segmenter": str(pair_models / "segmenter"), "min_iou": 0.0},
                    {"kind": "duplicate", "encoder": "thumbnail", "max_similarity": 1.0}],
        "target": {"per_class": 4, "max_attempts": 8},
        "runtime": {"device": "cpu", "dtype": "float32", "block_size": 2},
    }


@pytest.fixture(scope="session")
def pair_run(pair_tree, tmp_path_factory):
    """What the recipe of pairs makes, to be read and copied alone."""
    from terrasynth.synthesis import run

    folder = tmp_path_factory.mktemp("pairs") / "run"
    assert run(Recipe.parse(pair_tree), folder).accepted == 4
    return folder
