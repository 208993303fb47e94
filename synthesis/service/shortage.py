"""What the machine is short of, before a job is begun."""

from __future__ import annotations

from pathlib import Path

from terrasynth.synthesis.core.files import free_bytes

MIB = 2**20
_MEMORY = Path("/proc/meminfo")
_GROUP = Path("/sys/fs/cgroup")  # version 2: a container's own limit


def shortage(runs: Path, spare_disk: int, spare_memory: int) -> str:
    """What is short, with what helps; "" where nothing is.

    Args:
        runs: The folder of data sets.
        spare_disk: Bytes that have to be free on its disk.
        spare_memory: Bytes of memory that have to be available.
    """
    disk = free_bytes(runs)
    if disk is not None and disk < spare_disk:
        return f"{disk // MIB} MiB are free on the disk of the data sets, fewer than {spare_disk // MIB}; free some"
    memory = available_memory()
    if memory is not None and memory < spare_memory:
        return f"{memory // MIB} MiB of memory are free, fewer than {spare_memory // MIB}; end other programs"
    return ""


def available_memory() -> int | None:
    """Bytes that may be taken before something else has to give way; None where the system does not say."""
    try:
        lines = dict(line.split(":", 1) for line in _MEMORY.read_text().splitlines() if ":" in line)
        found = int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError, IndexError):
        return None
    try:
        most, used = ((_GROUP / name).read_text().strip() for name in ("memory.max", "memory.current"))
        caches = dict(line.split() for line in (_GROUP / "memory.stat").read_text().splitlines())
        return min(found, int(most) - int(used) + int(caches["inactive_file"]))
    except (OSError, KeyError, ValueError):
        return found
