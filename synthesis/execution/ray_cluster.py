"""The executor of a Ray cluster: an actor each on as many machines as there are; extra `ray`.

Decisions stay in the process of the run. An actor gets the run directory, which every machine of the cluster sees under
the same path, and then class and number of each block.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import sys
import time
from threading import Lock
from types import TracebackType
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from terrasynth.errors import shortened
from terrasynth.synthesis.core.errors import InputError, RunError
from terrasynth.synthesis.core.terminal import on_one_line
from terrasynth.synthesis.execution.base import ExecutorSetup
from terrasynth.synthesis.execution.pool import PoolExecutor
from terrasynth.synthesis.execution.processes import cores
from terrasynth.synthesis.execution.ray_worker import RayWorker

if TYPE_CHECKING:
    from terrasynth.synthesis.generators.runtime import Runtime
    from terrasynth.synthesis.recipe import RuntimeSettings

OBJECTS = 100 * 2**20  # bytes of a cluster of our own for objects: only orders and answers travel
ANSWER = 10.0  # seconds
CHECKED = 5.0  # seconds between two looks at the node of this process
SHOWN = 200  # characters of what Ray says
log = logging.getLogger("terrasynth")


class RayExecutor(PoolExecutor):
    """Makes blocks by actors of a Ray cluster."""

    def __init__(self, setup: ExecutorSetup) -> None:
        """Connect to the cluster, or start one on this machine; actors are started when there is something to do.

        Args:
            setup: Where and of what blocks are made.

        Raises:
            InputError: Ray is not installed, the cluster does not answer, or it has no room for one worker.
        """
        settings, runtime = setup.maker.recipe.runtime, setup.maker.runtime
        self._cpus, self._gpus = worker_resources(settings, runtime)
        self._cluster = Cluster(settings, self._cpus)
        super().__init__(setup, self._cluster.worker_count(settings, self._cpus, self._gpus))

    @override
    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        try:
            super().__exit__(kind, error, _)
        finally:
            self._cluster.close()

    @override
    def _open(self, number: int) -> RayWorker:
        variables = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(max(1, int(self._cpus))))}
        if self._cluster.own:  # on this machine: the modules that this process finds are found there, too
            variables["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
        return RayWorker(number, self._setup.root, {
            "num_cpus": self._cpus, "num_gpus": self._gpus, "scheduling_strategy": "SPREAD",
            "runtime_env": {"env_vars": variables},
        }, self._cluster.check)


class Cluster:
    """A connection to a cluster.

    Attributes:
        own: Whether it was started for this run alone.
    """

    def __init__(self, settings: RuntimeSettings, cpus: float) -> None:
        """Connect, unless this process is connected already.

        Args:
            settings: With `address`: "auto" is the cluster that the variable `RAY_ADDRESS` names, else one of our own;
                "local" is one of our own.
            cpus: That a worker takes; a cluster of our own has them for as many workers as are asked for.

        Raises:
            InputError: Ray is not installed, the cluster does not answer, or this process is connected to another.
        """
        address = os.environ.get("RAY_ADDRESS", "local") if settings.address == "auto" else settings.address
        if address == "local":
            _ask_for_a_token()
        try:
            import ray
        except ImportError as error:
            raise InputError("runtime.executor ray needs Ray: pip install 'terrasynth[ray]'") from error
        self._ray: Any = ray  # typed in part
        self._checking, self._next_check = Lock(), 0.0
        self._connected = not ray.is_initialized()
        self.own = self._connected and address == "local"
        if not self._connected:
            there = ray.get_runtime_context().gcs_address
            if settings.address not in ("auto", there):
                raise InputError(f"this process is connected to the Ray cluster at {there}, and runtime.address is "
                                 f"{settings.address!r}; call ray.shutdown() first, or leave the address out")
            return
        known: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": False}
        if address != "local":
            try:
                _knock(address)
                ray.init(address=address, **known)
            except (OSError, RuntimeError, ray.exceptions.RayError) as error:
                raise InputError(f"no Ray cluster can be had at {address} "
                                 f"({shortened(on_one_line(str(error)), SHOWN)}); see runtime.address") from error
            return
        wanted = 1 if settings.workers == "auto" else settings.workers
        ray.init(address="local", num_cpus=max(cores(), int(-(-cpus * wanted // 1))), include_dashboard=False,
                 object_store_memory=OBJECTS, **known)

    def worker_count(self, settings: RuntimeSettings, cpus: float, gpus: float) -> int:
        """How many workers: as many as the recipe says, else as many as the cluster has room for now.

        Raises:
            InputError: It has no room for one.
        """
        if settings.workers != "auto":
            return settings.workers
        found = self._ray.cluster_resources()
        room = [int(found.get(name, 0) // each) for name, each in (("CPU", cpus), ("GPU", gpus)) if each]
        if not room or not min(room):
            self.close()
            raise InputError(f"the Ray cluster has {found.get('CPU', 0):g} CPUs and {found.get('GPU', 0):g} GPUs, and "
                             f"a worker takes {cpus:g} and {gpus:g} (runtime.worker_cpus, runtime.worker_gpus); set "
                             "runtime.workers where the cluster grows when it is asked to")
        return min(room)

    def check(self) -> None:
        """See now and then, from any thread, that the cluster still knows the node of this process.

        Where its raylet has died, Ray neither ends this process nor what it waits for.

        Raises:
            RunError: It does not.
        """
        with self._checking:
            if time.monotonic() < self._next_check:
                return
            self._next_check = time.monotonic() + CHECKED
            own = self._ray.get_runtime_context().get_node_id()
            if not any(node["NodeID"] == own and node["Alive"] for node in self._ray.nodes()):
                raise RunError("the node of the Ray cluster that this run is connected to is gone; what is on disk "
                               "stays, and the same command goes on in a new cluster")

    def close(self) -> None:
        """Leave the cluster, unless the connection was there before; one of our own ends."""
        if self._connected:
            self._ray.shutdown()


def worker_resources(settings: RuntimeSettings, runtime: Runtime) -> tuple[float, float]:
    """CPUs and GPUs that a worker takes: what the recipe says, else a CPU for each thread, or one and a GPU."""
    cpus = settings.worker_cpus if settings.worker_cpus != "auto" else float(runtime.threads if runtime.on_cpu else 1)
    gpus = settings.worker_gpus if settings.worker_gpus != "auto" else float(runtime.device.startswith("cuda"))
    return cpus, gpus


def _knock(address: str) -> None:
    """Find out at once that nobody is there, for which Ray takes minutes.

    Raises:
        OSError: Nothing listens at `HOST:PORT`.
    """
    host, _, port = address.rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER).close()


def _ask_for_a_token() -> None:
    """Let nobody else on this machine give orders to a cluster of our own, unless the user has said how it is kept."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if "RAY_AUTH_MODE" in os.environ:
        return
    if sys.modules.get("ray"):  # which has read its mode
        log.warning("Ray was imported before the run, so that the cluster of the run asks for no token; set "
                    "RAY_AUTH_MODE=token before Python starts")
        return
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
