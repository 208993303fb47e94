"""What every test runs under: no network; and the command line."""

from __future__ import annotations

import os
import tempfile

import pytest

# Before any library reads it: a test that would reach the Hub has to fail at once, not to wait.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="terrasynth-tests-")  # not the user's features and answers


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
