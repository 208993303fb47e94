"""Where everything of the service lies in its folder of data sets; no other module spells such a path."""

from __future__ import annotations

from pathlib import Path

from terrasynth.synthesis.service.specs import EXPORTS

PRIVATE = ".service"


def private_folder(runs: Path) -> Path:
    """The service's own files; made where it is not there, for its user alone."""
    folder = runs / PRIVATE
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def jobs_file(runs: Path) -> Path:
    """The store of jobs, where no other database is named."""
    return private_folder(runs) / "jobs.sqlite"


def token_file(runs: Path) -> Path:
    """What `terrasynth serve --new-token` writes."""
    return private_folder(runs) / "token"


def log_file(runs: Path, job: str) -> Path:
    """What a job's process printed, in all its attempts."""
    return private_folder(runs) / "logs" / f"{job}.log"


def draws_folder(runs: Path, job: str) -> Path:
    """The images of a job that draws."""
    return private_folder(runs) / "draws" / job


def run_folder(runs: Path, data_set: str) -> Path:
    """The run directory of a data set."""
    return runs / data_set


def export_folder(runs: Path, name: str) -> Path:
    """An export."""
    return runs / EXPORTS / name
