"""The data set, read back by the library that its users read it with."""

import datasets
import numpy as np
import pyarrow.parquet as pq
import pytest

import terrasynth.synthesis.ledger.shards
from terrasynth.synthesis import run
from terrasynth.synthesis.recipe import Recipe
from tests.synthesis.helpers import rows


@pytest.fixture
def made(tree, tmp_path):
    tree["output"] = {"rows_per_shard": 6}
    run(Recipe.parse(tree), tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.mark.parametrize("streaming", [False, True])
def test_load_dataset_gives_decoded_rows(made, tmp_path, streaming):
    loaded = datasets.load_dataset(str(made), split="train", streaming=streaming, cache_dir=str(tmp_path / "cache"))
    assert isinstance(loaded.features["image"], datasets.Image)
    assert loaded.features["captions"] == datasets.List(datasets.Value("string"))
    read, stored = list(loaded), rows(made)
    assert [row["id"] for row in read] == [row["id"] for row in stored]
    assert all(np.asarray(row["image"]).shape == (32, 32, 3) for row in read)
    for column in ("text", "captions", "label", "seed", "scores", "synthetic", "scene"):
        assert [row[column] for row in read] == [row[column] for row in stored]


def test_shards_have_the_wanted_rows_and_small_groups(made, tree, tmp_path):
    shards = sorted((made / "data").iterdir())
    assert [pq.read_metadata(shard).num_rows for shard in shards] == [6, 6, 3]
    tree["filters"], tree["target"], tree["runtime"]["block_size"] = [], {"per_class": 40, "max_attempts": 40}, 40
    tree["generator"]["steps"] = 1
    run(Recipe.parse(tree | {"output": {"rows_per_shard": 1000}}), tmp_path / "large")
    metadata = pq.read_metadata(tmp_path / "large" / "data" / "train-00000.parquet")
    assert [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)] == [100, 20]


def test_shards_that_are_no_longer_needed_go(made, tree):
    tree["target"]["per_class"] = 3
    run(Recipe.parse(tree), made, shrink=True)
    assert [pq.read_metadata(shard).num_rows for shard in sorted((made / "data").iterdir())] == [6, 3]


@pytest.mark.parametrize("streaming", [False, True])
def test_a_grown_run_is_not_taken_for_what_it_was(tree, tmp_path, streaming):
    def texts():
        loaded = datasets.load_dataset(str(tmp_path / "run"), split="train", streaming=streaming,
                                       cache_dir=str(tmp_path / "cache"))
        return [row["text"] for row in loaded]

    tree["filters"] = []
    for target in (2, 4):
        tree["target"]["per_class"] = target
        run(Recipe.parse(tree), tmp_path / "run")
        assert texts() == [row["text"] for row in rows(tmp_path / "run")]
        assert len(texts()) == 3 * target


def test_row_groups_are_small_in_bytes(made, tree, tmp_path, monkeypatch):

    size = max(len(row["image"]["bytes"]) for row in rows(made))
    monkeypatch.setattr(terrasynth.synthesis.ledger.shards, "GROUP_BYTES", 2 * size)
    tree["output"] = {"rows_per_shard": 6}
    run(Recipe.parse(tree), tmp_path / "small")
    metadata = pq.read_metadata(tmp_path / "small" / "data" / "train-00000.parquet")
    groups = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
    assert sum(groups) == 6
    assert max(groups) <= 3
    assert len(groups) >= 2
    assert [row["id"] for row in rows(tmp_path / "small")] == [row["id"] for row in rows(made)]
