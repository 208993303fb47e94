"""The executor of several processes on this machine, each on one GPU where there are several."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from typing_extensions import override

from terrasynth.synthesis.execution.base import ExecutorSetup
from terrasynth.synthesis.execution.pool import PoolExecutor
from terrasynth.synthesis.execution.worker_process import WorkerProcess

if TYPE_CHECKING:
    from terrasynth.synthesis.generators.runtime import Runtime
    from terrasynth.synthesis.recipe import RuntimeSettings


class ProcessesExecutor(PoolExecutor):
    """Makes blocks in several processes."""

    def __init__(self, setup: ExecutorSetup) -> None:
        """Prepare; processes are started when there is something for them to do.

        Args:
            setup: Where and of what blocks are made.
        """
        super().__init__(setup, worker_count(setup.maker.recipe.runtime, setup.maker.runtime))

    @override
    def _open(self, number: int) -> WorkerProcess:
        return WorkerProcess(number, self._setup.root, environment(self._maker.runtime, number, self._count))


def worker_count(settings: RuntimeSettings, runtime: Runtime) -> int:
    """How many processes: as many as the recipe says, else one a GPU, or one a core on a CPU.

    Args:
        runtime: As it was resolved. Where several threads compute one image, they share the cores.
    """
    if settings.workers != "auto":
        return settings.workers
    if runtime.on_cpu:
        return max(1, cores() // runtime.threads)
    return max(1, len(_visible_gpus(runtime)))


def environment(runtime: Runtime, number: int, count: int) -> dict[str, str]:
    """Variables by which a process takes its share of threads and GPUs.

    Args:
        runtime: As it was resolved.
        number: Of the process, from 0.
        count: How many processes there are.
    """
    found = {}
    if "OMP_NUM_THREADS" not in os.environ:
        found["OMP_NUM_THREADS"] = str(max(1, cores() // count))
    devices = _visible_gpus(runtime)
    if len(devices) > 1:  # its only one then has the name that the record has
        found["CUDA_VISIBLE_DEVICES"] = devices[number % len(devices)]
    return found


def _visible_gpus(runtime: Runtime) -> list[str]:
    """The GPUs that processes may share out among each other; none where the recipe names one."""
    if runtime.device != "cuda":
        return []
    import torch

    count = torch.cuda.device_count()
    named = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return (named or [str(number) for number in range(count)])[:count]


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
