"""A stand-in for the Hub that the libraries of this process take for the Hub, and runs to push to it."""

from __future__ import annotations

import shutil
import time

import datasets
import huggingface_hub
import pytest
from huggingface_hub.utils import close_session

from tests.hub_runs import write_run
from tests.hub_server import TOKEN, serving


@pytest.fixture
def hub(tmp_path, monkeypatch):
    with serving() as found:
        constants = huggingface_hub.constants
        monkeypatch.setattr(constants, "ENDPOINT", found.url)
        pattern = "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", found.url + pattern)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf" / "hub"))
        monkeypatch.setattr(datasets.config, "HF_ENDPOINT", found.url)
        pattern = "/datasets/{repo_id}/resolve/{revision}/{path}"
        monkeypatch.setattr(datasets.config, "HUB_DATASETS_URL", found.url + pattern)
        monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf" / "datasets")
        monkeypatch.setattr(datasets.config, "HF_UPDATE_DOWNLOAD_COUNTS", False)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.delenv("HF_HUB_DISABLE_IMPLICIT_TOKEN", raising=False)
        close_session()
        yield found
        close_session()


@pytest.fixture
def naps(monkeypatch):
    """Seconds that were to be waited; nobody waits."""
    taken = []
    monkeypatch.setattr(time, "sleep", taken.append)
    return taken


@pytest.fixture(scope="session")
def kept_run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("kept") / "run", 24, per_shard=6)


@pytest.fixture
def made(kept_run, tmp_path):
    """A run of 24 rows in four shards."""
    shutil.copytree(kept_run, tmp_path / "run")
    return tmp_path / "run"
