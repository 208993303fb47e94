"""A run as a state machine: whatever was done to it in whatever order, its data is what its own recipe makes."""

import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import terrasynth.synthesis.execution.block_maker
import terrasynth.synthesis.execution.job
import terrasynth.synthesis.execution.unread
from terrasynth.synthesis import run
from terrasynth.synthesis.core.errors import InputError, RunError
from terrasynth.synthesis.export.exporting import export
from terrasynth.synthesis.export.registry import load_exporter
from terrasynth.synthesis.generators.base import Drawn, GeneratorSource
from terrasynth.synthesis.ledger import noted
from terrasynth.synthesis.recipe import Recipe
from terrasynth.synthesis.verify.repair import set_aside
from terrasynth.synthesis.verify.verifying import verify
from tests.synthesis.helpers import fingerprint

SIZE = 32
CLASSES = ("beach", "forest", "river")
THRESHOLDS = (0.0, 20.0, 45.0)  # of colour: all, most, and about a third of the images pass
DAMAGED = ("blocks/*/*.parquet", "scores/*/*/*.parquet", "data/*.parquet", "decisions.parquet", "finished.json",
           "identity.json", "runtime.json", "README.md", "report/report.json", "decided/*.json")


class Cells:
    """Draws 4 x 4 cells of random colours, more or less gray; stands in for a network, which would take minutes."""

    token_limit = None
    size = (SIZE, SIZE)
    micro_batch, vae_slicing = 4, False

    def __init__(self, folder):
        self.source = GeneratorSource("cells", "1", folder, "Cells", 1, 0.0, "auto", SIZE, SIZE)

    def identity(self):
        return {"generator": "cells"}

    def draw(self, prompts, seeds):
        return Drawn(self.generate(prompts, seeds))

    def generate(self, prompts, seeds):
        images = []
        for seed in seeds:
            random = np.random.default_rng(seed)
            cells = random.integers(0, 256, (4, 4, 3)).astype(float)
            cells = cells.mean(-1, keepdims=True) + random.uniform() * (cells - cells.mean(-1, keepdims=True))
            images.append(cells.round().astype(np.uint8).repeat(SIZE // 4, 0).repeat(SIZE // 4, 1))
        return np.stack(images)


def recipe_of(classes, wanted, threshold, seed=0):
    filters = [{"kind": "quality", "measure": "colour", "min_score": threshold}] if threshold else []
    return Recipe.parse({
        "name": "states", "seed": seed, "generator": {"model": "cells"}, "filters": filters,
        "prompts": {"expander": "grammar", "classes": list(classes)},
        "target": {"per_class": dict(zip(classes, wanted, strict=False)), "max_attempts": 24},
        "output": {"rows_per_shard": 4}, "runtime": {"block_size": 3, "device": "cpu", "dtype": "float32"},
    })


def results(folder):
    return {name: found for name, found in fingerprint(folder).items() if name.startswith("data/")}


class Runs(RuleBasedStateMachine):
    """Actions of people and of accidents on one run directory."""

    classes = st.lists(st.sampled_from(CLASSES), min_size=1, unique=True)
    wanted = st.lists(st.integers(1, 7), min_size=len(CLASSES), max_size=len(CLASSES))
    thresholds = st.sampled_from(THRESHOLDS)

    @initialize()
    def begin(self):
        self.folder = Path(tempfile.mkdtemp(dir=self.room))
        self.out, self.ended, self.checked = self.folder / "run", False, None

    @rule(classes=classes, wanted=wanted, threshold=thresholds, shrink=st.booleans())
    def run_to_its_end(self, classes, wanted, threshold, shrink):
        result = run(recipe_of(classes, wanted, threshold), self.out, shrink=shrink)
        assert not result.stopped
        for count in result.counts:
            assert count.accepted >= count.target or count.attempted >= 24
        self.ended = True

    @rule(classes=classes, wanted=wanted, threshold=thresholds, blocks=st.integers(0, 3))
    def stop_after_some_blocks(self, classes, wanted, threshold, blocks):
        asked = []
        result = run(recipe_of(classes, wanted, threshold), self.out,
                     should_stop=lambda: len(asked) == blocks or bool(asked.append(0)))
        self.ended = not result.stopped

    @precondition(lambda self: (self.out / "recipe.yaml").exists())
    @rule()
    def run_its_own_recipe(self):
        run(Recipe.load(self.out / "recipe.yaml"), self.out)
        self.ended = True

    @precondition(lambda self: any(self.out.glob("blocks/*/*")))
    @rule(classes=classes, wanted=wanted, threshold=thresholds)
    def another_seed_is_refused(self, classes, wanted, threshold):
        before = fingerprint(self.out)
        with pytest.raises(InputError, match="another identity"):
            run(recipe_of(classes, wanted, threshold, seed=1), self.out)
        assert fingerprint(self.out) == before

    @precondition(lambda self: self.ended)
    @rule(kind=st.sampled_from(DAMAGED), which=st.integers(0, 10**6), how=st.sampled_from(["cut", "flip", "gone"]),
          place=st.floats(0, 1, exclude_max=True))
    def damage_and_repair(self, kind, which, how, place):
        files = sorted(self.out.glob(kind))
        if not files:
            return
        path = files[which % len(files)]
        content = bytearray(path.read_bytes())
        if how == "gone":
            path.unlink()
        elif how == "cut":
            path.write_bytes(content[: int(len(content) * place)])
        else:
            content[int(len(content) * place)] ^= 1 << which % 8
            path.write_bytes(content)
        set_aside(self.out, list(verify(self.out)))
        try:
            run(Recipe.load(self.out / "recipe.yaml"), self.out)
        except RunError as error:
            raise AssertionError(f"{how} {path.relative_to(self.out)}: {error}") from error

    @precondition(lambda self: self.out.exists())
    @rule()
    def move(self):
        copy = self.out.with_name(f"{self.out.name}-moved")
        shutil.copytree(self.out, copy)
        shutil.rmtree(self.out)
        self.out = copy

    @precondition(lambda self: self.ended and any(self.out.glob("data/*.parquet")))
    @rule()
    def export_twice(self):
        for _ in range(2):
            export(self.out, load_exporter("imagefolder"), self.folder / "export")
        assert list(verify(self.folder / "export")) == []
        shutil.rmtree(self.folder / "export")

    @invariant()
    def an_ended_run_is_whole_and_what_its_recipe_makes(self):
        if not getattr(self, "ended", False):
            return
        assert list(verify(self.out)) == []
        recipe = (self.out / "recipe.yaml").read_bytes()
        if recipe == self.checked:
            return
        self.checked = recipe
        fresh = self.folder / "fresh"
        run(Recipe.load(self.out / "recipe.yaml"), fresh)
        assert results(fresh) == results(self.out)
        shutil.rmtree(fresh)

    def teardown(self):
        shutil.rmtree(getattr(self, "folder", "nowhere"), ignore_errors=True)


def test_whatever_happens_the_data_is_what_the_recipe_makes(tmp_path, monkeypatch):
    generator = Cells(tmp_path)
    monkeypatch.setattr(terrasynth.synthesis.execution.unread, "known_by", lambda *model: None)
    monkeypatch.setattr(terrasynth.synthesis.execution.job, "find_generator", lambda *settings: generator.source)
    monkeypatch.setattr(terrasynth.synthesis.execution.block_maker, "open_generator", lambda *settings: generator)
    monkeypatch.setattr(noted, "BLOCKS", 2)  # runs as small as these would note nothing
    monkeypatch.setattr(Runs, "room", tmp_path, raising=False)
    run_state_machine_as_test(Runs, settings=settings(
        max_examples=int(os.environ.get("TERRASYNTH_STATES", "8")), stateful_step_count=8, deadline=None,
        phases=[Phase.generate], suppress_health_check=list(HealthCheck)))  # making it shorter would take minutes
