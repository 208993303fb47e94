"""The house: which room may use which, what is private to a room, one name for every file, and cheap imports."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("prompts", "eval", "synthesis", "training")
HEAVY = ("torch", "diffusers", "transformers", "datasets", "matplotlib")

# From the ground up: a room may use those before it, and no other. A name without a dot is a package's `__init__`.
FLOORS = (
    "prompts.addresses", "prompts.errors", "prompts.settings", "prompts.types", "prompts.reading", "prompts.plugins",
    "prompts.text_sets", "prompts.scenes", "prompts.layouts", "prompts.registry", "prompts.language_models",
    "prompts.checks", "prompts.expanders", "prompts",
    "eval.errors", "eval.images", "eval.markdown", "eval.table", "eval.models", "eval.metrics", "eval.copies",
    "eval.evaluation", "eval.pages", "eval.prompt_sets", "eval",
    "synthesis.events", "synthesis.core", "synthesis.review", "synthesis.filters", "synthesis.recipe",
    "synthesis.generators", "synthesis.ledger", "synthesis.execution", "synthesis.cards", "synthesis.planning",
    "synthesis.parts", "synthesis.pipeline", "synthesis", "synthesis.export", "synthesis.verify", "synthesis.hub",
    "synthesis.targeting", "synthesis.studies", "synthesis.service",
    "training.errors", "training.presets", "training.data", "training.running",
    "training.families", "training.judges", "training.own_classes", "training.tuning", "training.studies",
    "training.release", "training.trained", "training.tasks", "training.train", "training", "synthesis.cli",
)
STANDS_ON = {"prompts": set(), "eval": set(), "synthesis": {"prompts", "eval"},
             "training": {"prompts", "eval", "synthesis"}}


def _module(path: Path) -> str:
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return name.removesuffix(".__init__")


FILES = {_module(path): path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))}


def _imports(path: Path) -> Iterator[tuple[str, str | None]]:
    """Modules of ours that a file imports, anywhere in it, each with the name that it takes from there."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if (name := alias.name.removeprefix("terrasynth.")) in FILES:
                    yield name, None
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            module = node.module.removeprefix("terrasynth.")
            for alias in node.names:
                if f"{module}.{alias.name}" in FILES:
                    yield f"{module}.{alias.name}", None
                elif module in FILES:
                    yield module, alias.name


def _room(module: str) -> str:
    return ".".join(module.split(".")[:2])


@cache
def arrows() -> list[tuple[str, str, str | None]]:
    """Module, module that it uses, name that it takes from there; of all files."""
    return [(module, used, name) for module, path in FILES.items() for used, name in _imports(path) if used != module]


@cache
def of_plugin() -> list[tuple[str, str, str | None]]:
    """The same of a package of a stranger, whose author reads the doors."""
    return [(f"plugin.{path.stem}", used, name) for path in sorted((ROOT / "tests" / "plugin").rglob("*.py"))
            for used, name in _imports(path)]


def test_every_file_is_in_a_room_that_is_listed():
    assert {_room(module) for module in FILES} == set(FLOORS)


def test_no_arrow_upwards():
    upwards = {
        f"{module} uses {used}"
        for module, used, _ in arrows()
        if _room(module) != _room(used) and FLOORS.index(_room(module)) < FLOORS.index(_room(used))
    }
    assert upwards == set()


@pytest.mark.parametrize("name", ["errors.py", "hashing.py", "hub_ids.py", "permissions.py", "words.py"])
def test_what_all_packages_use_uses_none_of_them(name):
    assert set(_imports(ROOT / "src" / "terrasynth" / name)) == set()


def test_packages_stand_on_each_other_one_way():
    crossing = {
        f"{module} uses {used}"
        for module, used, _ in arrows()
        if _room(module) != "synthesis.cli"
        and (there := used.split(".")[0]) != (here := module.split(".")[0]) and there not in STANDS_ON[here]
    }
    assert crossing == set()


def test_no_circle_of_files():
    uses = {module: {used for this, used, _ in arrows() if this == module} for module in FILES}
    ground: set[str] = set()
    while free := {module for module in uses.keys() - ground if uses[module] <= ground}:
        ground |= free
    assert set(FILES) - ground == set()  # what is left uses itself by a detour, or something that does


def _doors(package: str) -> set[str]:
    for node in ast.parse(FILES[package].read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return set(ast.literal_eval(node.value))
    return set()


def test_rooms_are_entered_by_their_doors():
    """What is not in the `__all__` of a room's `__init__` is the room's own business."""
    broken = set()
    assert len(of_plugin()) > 4
    for module, used, _ in arrows() + of_plugin():
        parts = used.split(".")
        if _room(module) == _room(used) or len(parts) < 3 or module.split(".")[-1] == "__main__":
            continue
        for end in range(2, len(parts)):
            if parts[end] not in _doors(".".join(parts[:end])):
                broken.add(f"{module} uses {used}")
    assert broken == set()


def test_every_door_leads_into_the_room_and_is_used():
    pyproject = (ROOT / "pyproject.toml").read_text()  # names plug-ins of ours
    useless = set()
    for package in (name for name, path in FILES.items() if path.name == "__init__.py" and "." in name):
        for inside in (f"{package}.{name}" for name in _doors(package) if f"{package}.{name}" in FILES):
            used = any(to == inside or to.startswith(f"{inside}.") for module, to, _ in arrows() + of_plugin()
                       if _room(module) != _room(inside))
            if not used and f"terrasynth.{inside}" not in pyproject:
                useless.add(inside)
    assert useless == set()


def test_private_names_stay_in_their_file():
    taken = {f"{module} takes {name} of {used}" for module, used, name in arrows() + of_plugin()
             if name and name.startswith("_")}
    assert taken == set()


@pytest.mark.parametrize("module", ["terrasynth", *(f"terrasynth.{package}" for package in PACKAGES),
                                    "terrasynth.synthesis.cli", "terrasynth.synthesis.recipe"])
def test_import_is_cheap(module):
    code = f"import sys, {module}; print(*[name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize("package", PACKAGES)
def test_no_file_is_imported_under_two_names(package):
    """In the checkout the folders lie beside whatever is run there, and would import as packages of their own."""
    done = subprocess.run([sys.executable, "-c", f"import {package}"], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 1
    assert f"ImportError: this folder is a part of terrasynth: `pip install -e .`, then `import terrasynth.{package}`" \
        in done.stderr


def test_packages_of_a_user_are_left_alone(tmp_path):
    """A user's own `prompts` and `eval` beside a script are the user's, and ours work beside them."""
    for name in PACKAGES:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f"MINE = {name!r}\n")
    code = ("import eval, prompts, synthesis, training\n"
            "from terrasynth import Recipe, load_generator, plan, run\n"
            "from terrasynth.prompts import load_expander\n"
            "print(eval.MINE, prompts.MINE, synthesis.MINE, training.MINE, Recipe.__module__)\n")
    (tmp_path / "script.py").write_text(code)
    done = subprocess.run([sys.executable, tmp_path / "script.py"], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["eval", "prompts", "synthesis", "training", "terrasynth.synthesis.recipe"]


def test_no_pickle():
    importing = {str(path) for path in FILES.values() for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
                 if (isinstance(node, ast.Import) and any(alias.name == "pickle" for alias in node.names))
                 or (isinstance(node, ast.ImportFrom) and node.module == "pickle")}
    assert importing == set()
