"""A pushed data set is read by `datasets`, and as the data of a training."""

from __future__ import annotations

import datasets
import numpy as np
import pytest
from huggingface_hub import DatasetCard

from terrasynth.synthesis.core.images import decode
from terrasynth.synthesis.hub.pushing import PushSettings, push
from terrasynth.training.data import read_pairs
from tests.hub_server import published
from tests.synthesis.helpers import rows


@pytest.mark.parametrize("streaming", [False, True])
def test_datasets_loads_it(hub, made, tmp_path, streaming):
    push(made, PushSettings("user/tiny"))
    loaded = datasets.load_dataset("user/tiny", split="train", streaming=streaming, cache_dir=str(tmp_path / "cache"))
    for theirs, mine in zip(loaded, rows(made), strict=True):
        assert np.array_equal(np.asarray(theirs["image"]), decode(mine["image"]["bytes"]))
        assert {key: value for key, value in theirs.items() if key != "image"} == {
            key: value for key, value in mine.items() if key != "image"
        }


def test_its_card_is_one_to_the_hub(hub, made):
    push(made, PushSettings("user/tiny"))
    data = DatasetCard(published(hub)["README.md"].decode()).data
    assert data.license == "mit"
    assert {"synthetic", "remote-sensing"} <= set(data.tags)
    assert data.size_categories == ["n<1K"]
    assert data.dataset_info["splits"][0]["num_examples"] == 24


def test_it_is_data_for_training(hub, made):
    push(made, PushSettings("user/tiny"))
    found = read_pairs("user/tiny")
    stored = rows(made)
    assert [pair.label for pair in found.split("train")] == [row["label"] for row in stored]
    assert [list(pair.captions) for pair in found.pairs] == [row["captions"] for row in stored]
    assert np.array_equal(np.asarray(found.pairs[-1].open()), decode(stored[-1]["image"]["bytes"]))
