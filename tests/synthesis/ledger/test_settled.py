"""Rows of blocks that this process wrote need not be cut down to their texts once more; the data set is the same."""

import pytest

import terrasynth.synthesis.ledger.shards
from terrasynth.synthesis import run
from terrasynth.synthesis.core.drawn_texts import what_holds
from terrasynth.synthesis.core.identity import Identity
from terrasynth.synthesis.ledger.blocks import Blocks
from terrasynth.synthesis.recipe import Recipe
from tests.synthesis.helpers import fingerprint
from tests.worker_cells import cells_installed, tree


@pytest.fixture
def cut(monkeypatch):
    """The rows that were cut once more."""
    found = []

    def counted(row, left_out=None):
        found.append(row["id"])
        return what_holds(row, left_out)

    monkeypatch.setattr(terrasynth.synthesis.ledger.shards, "what_holds", counted)
    return found


def test_only_what_an_earlier_process_wrote_is_cut_again(tmp_path, cut):
    recipe = Recipe.parse(tree() | {"filters": []})
    with cells_installed(tmp_path):
        run(recipe, tmp_path / "run")
        assert cut == []
        fresh = fingerprint(tmp_path / "run" / "data")
        (tmp_path / "run" / "finished.json").unlink()
        for shard in (tmp_path / "run" / "data").glob("*"):
            shard.unlink()
        run(recipe, tmp_path / "run")
    assert len(cut) == 27
    assert fingerprint(tmp_path / "run" / "data") == fresh


def test_a_block_is_settled_where_that_was_noted(tmp_path):
    blocks = Blocks(tmp_path, 4, "png", Identity({}, "0" * 16))
    blocks.note_settled("a", 2)
    blocks.note_settled("a", 0)
    assert [blocks.is_settled("a", index) for index in range(4)] == [True, False, True, False]
    assert not blocks.is_settled("b", 2)
