"""Blocks finished behind the drawing give the bytes of blocks finished before the next is drawn."""

import threading
from pathlib import Path

import pytest

import terrasynth.synthesis.execution.local
from terrasynth.synthesis import run
from terrasynth.synthesis.core.errors import RunError
from terrasynth.synthesis.events import BlockDone, ClassDone
from terrasynth.synthesis.execution.block_maker import BlockMaker
from terrasynth.synthesis.generators.runtime import Runtime
from terrasynth.synthesis.recipe import Recipe
from tests.synthesis.helpers import fingerprint


@pytest.fixture
def behind(monkeypatch):
    """From here on, the CPU counts as a device that leaves the CPU idle."""
    return lambda: monkeypatch.setattr(Runtime, "accelerated", True)


@pytest.fixture
def recipe(tree):
    tree["filters"].append({"kind": "duplicate", "max_similarity": 0.999})  # measured beside the blocks
    tree["generator"]["scheduler"] = "auto"
    return Recipe.parse(tree)


def same_results(one, other):
    for part in ("blocks", "data", "scores", "report"):
        assert fingerprint(one / part) == fingerprint(other / part), part


def test_overlap_equals_no_overlap_byte_for_byte(recipe, tmp_path, behind):
    before, after = [], []
    run(recipe, tmp_path / "one by one", before.append)
    behind()
    run(recipe, tmp_path / "overlapped", after.append)
    same_results(tmp_path / "one by one", tmp_path / "overlapped")
    assert [_plain(each) for each in before] == [_plain(each) for each in after]


def _plain(event):
    if isinstance(event, BlockDone):
        return event.count, event.index, event.drawn
    return event if isinstance(event, ClassDone) else type(event)


def test_blocks_are_stored_while_others_are_drawn(recipe, tmp_path, behind, monkeypatch):
    behind()
    draw, store = BlockMaker.draw, BlockMaker.store
    drawing, stored_by, met = threading.Event(), set(), []

    def slow_store(maker, block):
        stored_by.add(threading.current_thread())
        met.append(drawing.wait(timeout=20))  # until the next block is being drawn
        return store(maker, block)

    def seen_draw(maker, label, index, **others):
        if label != recipe.prompts.classes[0] or index:
            drawing.set()
        return draw(maker, label, index, **others)

    monkeypatch.setattr(BlockMaker, "draw", seen_draw)
    monkeypatch.setattr(BlockMaker, "store", slow_store)
    run(recipe, tmp_path / "run")
    assert len(stored_by) == 1
    assert threading.main_thread() not in stored_by
    assert all(met)


def test_no_more_blocks_are_unfinished_than_said(recipe, tmp_path, behind, monkeypatch):
    behind()
    draw, most = BlockMaker.draw, []

    def counting(maker, label, index, **others):
        drawn = draw(maker, label, index, **others)
        counting.begun += 1
        most.append(counting.begun - sum(1 for _ in (maker.blocks.root / "blocks").glob("*/*.parquet")))
        return drawn

    counting.begun = 0
    monkeypatch.setattr(BlockMaker, "draw", counting)
    run(recipe, tmp_path / "run")
    assert max(most) <= terrasynth.synthesis.execution.local.DEPTH + 1


@pytest.mark.parametrize("blocks", [0, 1, 2])
def test_an_error_behind_surfaces_and_the_run_carries_on(recipe, tmp_path, behind, monkeypatch, blocks):
    run(recipe, tmp_path / "whole")
    behind()
    store, done = BlockMaker.store, []

    def failing(maker, block):
        if len(done) == blocks:
            raise RunError("disk full while writing")
        done.append(store(maker, block))
        return done[-1]

    monkeypatch.setattr(BlockMaker, "store", failing)
    with pytest.raises(RunError, match="disk full while writing"):
        run(recipe, tmp_path / "run")
    assert len(list((tmp_path / "run" / "blocks").glob("*/*.parquet"))) == blocks
    monkeypatch.setattr(BlockMaker, "store", store)
    run(recipe, tmp_path / "run")
    same_results(tmp_path / "run", tmp_path / "whole")


def test_every_write_may_be_the_last_behind_too(recipe, tmp_path, behind, monkeypatch):
    """Cut the process off before its n-th file is moved into place, for every n, without any clean-up of its own."""
    import terrasynth.synthesis.core.files

    run(recipe, tmp_path / "whole")
    behind()
    real, out, cuts = terrasynth.synthesis.core.files.os.replace, tmp_path / "cut", 0

    class Cut(BaseException):
        pass

    for _ in range(len(list((tmp_path / "whole").rglob("*.*")))):
        moved = []

        def replace(source, target, moved=moved):
            if len(moved) > 1:
                Path(target).with_name(Path(target).name + ".left.tmp").write_bytes(Path(source).read_bytes())
                raise Cut
            moved.append(target)
            real(source, target)

        monkeypatch.setattr(terrasynth.synthesis.core.files.os, "replace", replace)
        try:
            run(recipe, out)
            break
        except Cut:
            cuts += 1
    assert cuts >= 4
    same_results(out, tmp_path / "whole")


def test_stopping_keeps_what_was_drawn_and_carries_on(recipe, tmp_path, behind):
    run(recipe, tmp_path / "whole")
    behind()
    for most in (1, 2, 100):
        seen = []
        result = run(recipe, tmp_path / "pieces", seen.append, lambda seen=seen, most=most: len(seen) > most)
        assert result.stopped is (most != 100)
        drawn = sum(event.drawn for event in seen if isinstance(event, BlockDone))
        assert drawn == result.drawn
    same_results(tmp_path / "pieces", tmp_path / "whole")
