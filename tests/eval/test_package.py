from __future__ import annotations

import subprocess
import sys

import pytest

import terrasynth.eval as package


def test_import_is_cheap():
    code = (
        "import sys, terrasynth.eval, terrasynth.eval.models.references, terrasynth.eval.errors; "
        "print([name for name in ('torch', 'transformers', 'matplotlib', 'jinja2') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_is_there():
    for name in package.__all__:
        assert getattr(package, name).__module__.startswith("terrasynth.eval.")
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = package.nothing
