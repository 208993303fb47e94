"""Blocks of a run are found and counted without a list of all."""

import pytest

from terrasynth.synthesis.core import layout


@pytest.fixture
def run(tmp_path):
    for name in ("b/00001", "b/00000", "a b/00012", "a/00002"):
        path = tmp_path / "blocks" / f"{name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "blocks" / "a" / "00000.parquet.tmp").touch()  # of a process that was killed
    (tmp_path / "blocks" / "note.txt").touch()
    (tmp_path / "blocks" / "0").mkdir()
    return tmp_path


def test_the_first_block_is_that_of_the_list(run):
    assert layout.first_block(run) == layout.block_files(run)[0] == layout.block_file(run, "a", 2)
    assert layout.count_blocks(run) == len(layout.block_files(run)) == 4


def test_a_run_without_blocks_has_none(tmp_path):
    assert layout.first_block(tmp_path) is None
    assert layout.count_blocks(tmp_path) == 0
    assert layout.report_sheets(tmp_path) == []


def test_sheets_are_named_in_order(run):
    (run / "report").mkdir()
    for name in ("images-b-00000.jpg", "images-a-00001-labels.png", "accepted.png", "images-2.html"):
        (run / "report" / name).touch()
    assert layout.report_sheets(run) == ["images-a-00001-labels.png", "images-b-00000.jpg"]
