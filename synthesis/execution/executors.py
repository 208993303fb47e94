"""Executors by name: those of this package, and those of plug-ins (entry-point group `terrasynth.executors`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from terrasynth.errors import nearest
from terrasynth.prompts.plugins import Plugins
from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.execution.base import Executor, ExecutorSetup
from terrasynth.synthesis.execution.local import LocalExecutor
from terrasynth.synthesis.execution.processes import ProcessesExecutor
from terrasynth.synthesis.execution.ray_cluster import RayExecutor
from terrasynth.synthesis.recipe import RuntimeSettings

BUILT_IN: Mapping[str, Callable[[ExecutorSetup], Executor]] = {
    "local": LocalExecutor, "processes": ProcessesExecutor, "ray": RayExecutor,
}
PLUGINS = Plugins("terrasynth.executors", "executor", InputError)
PARTS = ("submit", "__enter__", "__exit__")


def check_executor(settings: RuntimeSettings) -> None:
    """Check that there is an executor, and that it has the workers that are asked for.

    Raises:
        InputError: There is none of that name, it cannot be loaded, or it has no workers.
    """
    name = settings.executor
    if name not in BUILT_IN and name not in PLUGINS.names():
        known = [*BUILT_IN, *PLUGINS.names()]
        raise InputError(f"runtime.executor {name!r} is unknown{nearest(name, known)}; there is {', '.join(known)}")
    if name in BUILT_IN and name in PLUGINS.names():
        raise InputError(f"a package under {PLUGINS.group} calls its executor {name!r}, as one of TerraSynth's own is "
                         "called; it needs another name")
    if name == "local" and settings.workers not in ("auto", 1):
        raise InputError(f"runtime.workers {settings.workers} means nothing to executor 'local', which is this "
                         "process; set runtime.executor to processes, or leave workers out")
    if name not in BUILT_IN:
        PLUGINS.load(name)


def open_executor(setup: ExecutorSetup) -> Executor:
    """Make the executor that a recipe names.

    Args:
        setup: What it is made from.

    Raises:
        InputError: It is no executor.
    """
    name = setup.maker.recipe.runtime.executor
    make: Callable[[ExecutorSetup], Executor] = BUILT_IN[name] if name in BUILT_IN else PLUGINS.load(name)
    executor = make(setup)
    if not all(callable(getattr(executor, part, None)) for part in PARTS) or not (
            hasattr(executor, "ahead") and hasattr(executor, "depth")):
        raise InputError(f"executor {name!r} lacks a part of the Executor protocol (submit, depth, ahead, and a "
                         "context manager)")
    return executor
