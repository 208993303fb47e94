"""A tiny run to look at, and people who look at it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from terrasynth.synthesis import run
from terrasynth.synthesis.events import RunResult
from terrasynth.synthesis.recipe import Recipe
from terrasynth.synthesis.studies.review.looking import Review

N = 6


@pytest.fixture(scope="session")
def plain_run(models, tmp_path_factory) -> Path:
    """Two classes of six images, all of them accepted, without a filter."""
    out = tmp_path_factory.mktemp("plain") / "run"
    run(recipe_of(models), out)
    return out


def recipe_of(models: Any, per_class: int = N, filters: Any = (), most: int = 4 * N) -> Recipe:
    return Recipe.parse({
        "name": "tiny", "generator": {"model": str(models.generator), "steps": 1},
        "prompts": {"expander": "grammar", "classes": ["beach", "river"]}, "filters": list(filters),
        "target": {"per_class": per_class, "max_attempts": most},
        "runtime": {"block_size": N // 2, "device": "cpu", "dtype": "float32"},
    })


@pytest.fixture
def out(plain_run, tmp_path) -> Path:
    """A copy of that run."""
    shutil.copytree(plain_run, tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def again(models, out) -> Callable[..., RunResult]:
    """Run the recipe once more in the same place, with the filter `review`."""

    def call(per_class: int = N, most: int = 4 * N, should_stop: Any = None, **options: Any) -> RunResult:
        filters = [{"kind": "review", **options}]
        return run(recipe_of(models, per_class, filters, most), out, should_stop=should_stop)

    return call


@pytest.fixture
def review(out) -> Review:
    return Review(out)
