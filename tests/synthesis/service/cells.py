"""The example plug-in of `tests/plugin`, put where child processes find it: it draws without a network.

A process that draws with it starts in half the time; what is tested with it is who draws when, not what.
"""

from __future__ import annotations

import os
import shutil
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

PLUGIN = Path(__file__).parents[2] / "plugin"
RECIPE: dict[str, Any] = {
    "name": "cells", "generator": {"model": "cells:8"},
    "prompts": {"expander": "grammar", "classes": ["beach", "forest", "river"]},
    "filters": [{"kind": "duplicate", "max_similarity": 0.9}], "target": {"per_class": 9, "max_attempts": 60},
    "runtime": {"block_size": 2, "device": "cpu", "dtype": "float32"},
}


def install_cells(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the package, and what an installer writes beside it, into a folder of this and of all child processes."""
    about = tomllib.loads((PLUGIN / "pyproject.toml").read_text())["project"]
    shutil.copytree(PLUGIN / "terrasynth_example", folder / "terrasynth_example")
    record = folder / f"terrasynth_example-{about['version']}.dist-info"
    record.mkdir()
    (record / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {about['name']}\nVersion: {about['version']}\n")
    (record / "entry_points.txt").write_text("".join(
        f"[{group}]\n" + "".join(f"{name} = {place}\n" for name, place in points.items())
        for group, points in about["entry-points"].items()
    ))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")])))
    monkeypatch.syspath_prepend(folder)
    assert str(folder) in sys.path
