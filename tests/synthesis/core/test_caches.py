"""The caches that are kept: found where they are really made, shown, and cleared without anything else."""

import re

import numpy as np
import pytest

from terrasynth.synthesis.core.caches import find_caches


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "terrasynth"


def _fill(home, tmp_path):
    """One cache of each kind, made by what makes it."""
    import torch

    from terrasynth.eval.models.feature_store import FeatureStore
    from terrasynth.prompts.language_models.answer_cache import AnswerCache
    from terrasynth.training.data.latent_cache import TensorCache

    answers = AnswerCache(home / "answers", "chat")
    answers.write({"a": 1}, {"content": "x"})
    with answers.locked({"a": 1}):
        pass
    (home / "fetched" / ("0" * 24) / "data" / "images").mkdir(parents=True)
    (home / "fetched" / ("0" * 24) / "data" / "images" / "x.png").write_bytes(b"1")
    FeatureStore(home / "features", {"n": 1}).put([b"0" * 16], np.zeros((1, 4), np.float32))
    for folder in ("own/.cache", "tuned/.training/cache"):
        TensorCache(tmp_path / "runs" / folder / "views-00ff", 1, 1).make(lambda rows: {"x": torch.zeros(len(rows), 2)})


def test_every_kind_is_found_and_cleared_alone(terrasynth, home, tmp_path):
    _fill(home, tmp_path)
    (home / "answers" / "mine.txt").write_text("mine")
    code, out, _ = terrasynth("cache", tmp_path / "runs")
    assert code == 0
    shown = [line.split() for line in out.splitlines()]
    assert [words[0] for words in shown] == ["answers", "features", "fetched", "latents", "latents"]
    assert all(int(words[3]) > 0 for words in shown)
    code, out, _ = terrasynth("cache", "--clear", "answers", "--dry-run")
    assert code == 0
    assert "would delete" in out
    assert list((home / "answers").glob("chat-*.json"))
    code, out, _ = terrasynth("cache", tmp_path / "runs", "--clear", "answers", "--clear", "latents")
    assert code == 0
    assert len(out.splitlines()) == 3
    left = [path for path in home.rglob("*") if path.is_file() and not {"features", "fetched"} & {*path.parts}]
    assert [path.name for path in left] == ["mine.txt"]
    assert not (tmp_path / "runs" / "own" / ".cache").exists()
    assert find_caches()[1].files  # features stay
    code, out, _ = terrasynth("cache", "--clear", "features")
    assert code == 0
    assert not (home / "features").exists()
    assert terrasynth("cache", "--clear", "fetched")[0] == 0
    assert not (home / "fetched").exists()


def test_no_cache_is_no_error(terrasynth, home):
    code, out, _ = terrasynth("cache")
    assert code == 0
    assert [re.sub(" +", " ", line) for line in out.splitlines()] == [
        f"answers 0.0 MiB 0 files {home / 'answers'}", f"features 0.0 MiB 0 files {home / 'features'}",
        f"fetched 0.0 MiB 0 files {home / 'fetched'}"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--clear", "featuers"), "cache 'featuers' is unknown (did you mean 'features'?); there is answers, features"),
        (("--dry-run",), "--dry-run goes with --clear NAME"),
        (("nowhere",), "'nowhere' is no folder"),
    ],
)
def test_wrong_input_is_one_line(terrasynth, home, arguments, message):
    code, _, lines = terrasynth("cache", *arguments)
    assert (code, len(lines)) == (2, 1)
    assert message in lines[0]


def test_the_index_of_a_service_is_found(finished, tmp_path, home):
    from terrasynth.synthesis.ledger.frozen import frozen_of
    from terrasynth.synthesis.service.data_sets import DataSets
    from terrasynth.synthesis.service.row_index import RowIndex

    runs = finished.parent
    file = DataSets(runs, None)._index_file(finished.name)  # the place of it; no job is asked for
    RowIndex(finished, file).refresh(frozen_of(finished), 60, 60)
    (index,) = [cache for cache in find_caches([runs]) if cache.kind.name == "index"]
    assert index.files


def test_a_plan_says_how_large_they_are(terrasynth, recipe_file, home):
    code, out, _ = terrasynth("plan", recipe_file)
    assert code == 0
    assert f"caches          answers 0.0 MiB in {home / 'answers'}, features" in out


