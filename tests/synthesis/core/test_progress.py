"""The live line of a run: from the first second, and never longer than the terminal is wide."""

import io

import pytest

from terrasynth.synthesis.core.progress import ERASED, Progress, fitted
from terrasynth.synthesis.events import BlockDone, ClassCount, ClassDone, Drawing, Planned


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("columns", [20, 80])
def test_live_lines_fit(monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    screen = Terminal()
    progress = Progress(screen)
    progress.begin("checking the recipe and loading a model with a name that is long " * 2)
    count = ClassCount("a class with a long name", 4, 3, 20)
    progress(BlockDone(count, 0, 4, 1.0))
    progress(Drawing(count.label, 1, 16, 3, 12, 20, worker=1))
    progress.clear()
    shown = screen.getvalue().split(ERASED)
    assert shown[0] == ""
    assert shown[-1] == ""
    assert [len(line) for line in shown if len(line) >= columns] == []
    assert shown[1].endswith("...")


def test_a_log_has_whole_lines_and_no_first_one():
    log = io.StringIO()
    progress = Progress(log)
    progress.begin("loading")
    progress.clear()
    assert log.getvalue() == ""
    progress(Planned("0" * 16, (ClassCount("x" * 200, 0, 0, 1),), 1, False, ("y" * 300,)))
    assert "y" * 300 in log.getvalue()


def test_a_slow_block_is_seen_on_a_terminal_and_not_in_a_log(monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    count, screen, log = ClassCount("river", 0, 0, 20), Terminal(), io.StringIO()
    for stream in (screen, log):
        progress = Progress(stream)
        progress(Planned("0" * 16, (count,), 40, False))
        before = stream.getvalue()
        progress(Drawing("river", 0, 16, 3, 0, 20))
        progress(Drawing("river", 0, 16, 3, 12, 20))
        if stream is log:
            assert log.getvalue() == before
    assert screen.getvalue().split(ERASED)[-2:] == [
        "river 3 of 16 images of a block | all 0/20", "river 3 of 16 images of a block, step 12 of 20 | all 0/20"]


def test_a_class_whose_images_wait_for_review_has_missed_nothing():
    log = io.StringIO()
    progress = Progress(log)
    progress(ClassDone(ClassCount("river", 4, 1, 4, 3)))
    progress(ClassDone(ClassCount("beach", 8, 1, 4, 2)))
    assert log.getvalue().splitlines() == [
        "missed its target: beach 1/4 accepted of 8 attempts (12%), 2 wait for review"]


def test_a_short_text_stays(monkeypatch):
    monkeypatch.setenv("COLUMNS", "10")
    assert fitted("123456789") == "123456789"
    assert fitted("1234567890") == "123456..."
