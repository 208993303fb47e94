"""Packages are read once, and again where another one was installed since."""

from importlib.metadata import entry_points

import pytest

from terrasynth.prompts import plugins
from terrasynth.prompts.plugins import Plugins
from tests.worker_cells import install

FOUND = Plugins("terrasynth.tries", "try", ValueError)


@pytest.fixture
def reads(monkeypatch):
    """One entry for each time that all packages are read."""
    taken = []
    monkeypatch.setattr(plugins, "entry_points", lambda group: taken.append(group) or entry_points(group=group))
    return taken


def test_what_was_read_is_kept(reads, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)  # a path that nothing was read from
    expanders = Plugins("terrasynth.expanders", "expander", ValueError)
    for _ in range(2):
        assert FOUND.names() == ()
        assert "grammar" in expanders.names()
    assert reads == ["terrasynth.tries", "terrasynth.expanders"]


def test_a_package_that_comes_later_is_found(reads, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    assert FOUND.names() == ()
    install(tmp_path, "tries", "first", "json:dumps")  # into a folder that was read
    assert FOUND.names() == ("first",)
    assert FOUND.load("first")([1]) == "[1]"
    monkeypatch.syspath_prepend(install(tmp_path / "more", "tries", "second", "json:loads"))  # into another one
    assert FOUND.names() == ("first", "second")
    assert len(reads) == 3
    (tmp_path / "first-1.0.dist-info" / "entry_points.txt").unlink()
    (tmp_path / "first-1.0.dist-info").rename(tmp_path / "gone")
    assert FOUND.names() == ("second",)
