"""The arrows between the rooms point one way, and importing a room is cheap."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("prompts", "eval", "synthesis", "training")
ALLOWED = {
    "prompts": set(),
    "eval": set(),
    "synthesis": {"prompts", "eval"},
    "training": {"synthesis", "eval", "prompts"},
}
COMPOSITION_ROOT = Path("synthesis/cli.py")
HEAVY = ("torch", "diffusers", "transformers", "datasets", "matplotlib")


def _imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("room", ROOMS)
def test_arrows_point_one_way(room):
    files = [path for path in sorted((ROOT / room).rglob("*.py")) if path.relative_to(ROOT) != COMPOSITION_ROOT]
    assert files
    crossing = {
        f"{path.relative_to(ROOT)} imports {name}"
        for path in files
        for name in _imported(path) & set(ROOMS)
        if name != room and name not in ALLOWED[room]
    }
    assert crossing == set()


@pytest.mark.parametrize("module", [*ROOMS, "synthesis.cli", "synthesis.recipe"])
def test_import_is_cheap(module):
    code = f"import sys, {module}; print(*[name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split() == []


def test_no_pickle():
    crossing = {str(path) for room in ROOMS for path in (ROOT / room).rglob("*.py") if "pickle" in _imported(path)}
    assert crossing == set()
