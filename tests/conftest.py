"""What every test runs under: no network; the command line; and Python processes that start at once."""

from __future__ import annotations

import os
import subprocess
import tempfile
from contextlib import closing, contextmanager
from types import SimpleNamespace

import pytest

from terrasynth.synthesis.core.collector import look_seldom
from tests.browser import chromium  # noqa: F401 - a fixture

look_seldom()  # as each command does
# Before any library reads it: a test that would reach the Hub has to fail at once, not to wait.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="terrasynth-tests-")  # not the user's features and answers


def pytest_xdist_auto_num_workers():
    """For `-n auto`: a process more than cores, as tests wait for processes, disks and sleeps; memory allows four."""
    return min(4, (os.cpu_count() or 1) + 1)


@pytest.fixture(scope="session")
def python():
    """Starts and runs `python ARGUMENTS` without the seconds that importing the libraries takes."""
    from tests.forks import Python

    # strings have other hashes there than here, and so sets another order
    with closing(Python(environment=os.environ | {"PYTHONHASHSEED": "3"})) as running:
        yield running


@pytest.fixture(scope="session")
def started_at_once(python):
    """Makes the modules that a test gives start their processes as forks: a context manager."""

    @contextmanager
    def patched(*modules):
        with pytest.MonkeyPatch.context() as patch:
            for module in modules:
                patch.setattr(module, "subprocess", SimpleNamespace(**vars(subprocess) | {"Popen": python.popen}))
            yield

    return patched


@pytest.fixture
def terrasynth(capsys):
    """Run a command; gives exit code, stdout and the lines of stderr."""

    def call(*arguments):
        from terrasynth.synthesis.cli import main

        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return ended.value.code, captured.out, captured.err.splitlines()

    return call
