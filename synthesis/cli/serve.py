"""The commands `serve` and `worker`: the service, and its supervisor alone."""

from __future__ import annotations

import os
import secrets
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from terrasynth.synthesis.service.store import JobStore
    from terrasynth.synthesis.service.supervisor import WorkSettings

TOKEN_VARIABLE, TOKEN_BYTES = "TERRASYNTH_TOKEN", 32
_FOLDER = click.Path(path_type=Path)
_MIB = 2**20
EXTRA = ("fastapi", "uvicorn", "sqlalchemy", "prometheus_client", "python_multipart")  # the extra `service`
_Command = TypeVar("_Command", bound=Callable[..., Any])


def _work_options(command: _Command) -> _Command:
    for add in (
        click.option("--deaths", default=3, show_default=True, type=click.IntRange(1),
                     help="Deaths of its process in a row, without a new block, after which a job is set aside."),
        click.option("--lease", default=30.0, show_default=True, type=click.FloatRange(1), metavar="SECONDS",
                     help="How long a job whose worker is silent stays its own."),
        click.option("--spare-disk", default=512, show_default=True, type=click.IntRange(0), metavar="MIB",
                     help="Disk that has to be free before a job is begun."),
        click.option("--spare-memory", default=1024, show_default=True, type=click.IntRange(0), metavar="MIB",
                     help="Memory that has to be free before a job is begun."),
        click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 256),
                     help="Jobs at once; plans and single images have a process of their own beside them."),
        click.option("--endpoint", "endpoints", multiple=True, metavar="URL",
                     help="A language model that recipes over HTTP may name; may be repeated."),
        click.option("--data", type=_FOLDER, help="Folder inside which recipes over HTTP may name data."),
        click.option("--models", type=_FOLDER, help="Folder inside which recipes over HTTP may name models."),
        click.option("--database", metavar="URL",
                     help="postgresql+psycopg://USER@HOST/NAME, for workers on several machines. Default: SQLite."),
        click.option("--runs", type=_FOLDER, default=Path("runs"), show_default=True,
                     help="The folder of data sets, each a run directory."),
    ):
        command = add(command)
    return command


@click.command(short_help="Serve the page and the REST interface.")
@_work_options
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8765, show_default=True, type=click.IntRange(0, 65535), help="0 for any free one.")
@click.option("--token-file", type=_FOLDER, help=f"File with the token that clients show. Default: {TOKEN_VARIABLE}.")
@click.option("--new-token", is_flag=True, help="Make a token, and write it into a file that only you can read.")
@click.option("--no-workers", is_flag=True, help="Only answer; `terrasynth worker` does the jobs.")
def serve(
    runs: Path, host: str, port: int, token_file: Path | None, new_token: bool, no_workers: bool,
    **work: Any,  # noqa: ANN401 - the options above
) -> None:
    """Serve a page and a REST interface that make, watch, review and publish data sets.

    It listens on this machine alone unless --host says otherwise; then it needs a token.
    """
    check_service_extra()
    from terrasynth.synthesis.service.app import create_app
    from terrasynth.synthesis.service.server import serve as serve_app
    from terrasynth.synthesis.service.settings import ServiceSettings

    token = _new_token(runs) if new_token else _token(token_file)
    doing = _settings(runs, work)
    settings = ServiceSettings(runs, host, port, token, doing.places)
    settings.check()
    store = _store(doing, work["database"])
    app = create_app(settings, store)
    with _signals() as (stop, kill):
        serve_app(app, settings, lambda address: click.echo(f"serving    {address}   (data sets of {runs})"),
                  None if no_workers else _working(doing, store, stop, kill))
    store.close()


@click.command(short_help="Do the jobs of a server, here or on another machine.")
@_work_options
def worker(runs: Path, **work: Any) -> None:  # noqa: ANN401 - the options above
    """Do the jobs of a server that runs with --no-workers, or on another machine with the same --database."""
    check_service_extra()
    from terrasynth.synthesis.service.supervisor import Supervisor

    doing = _settings(runs, work)
    store = _store(doing, work["database"])
    with _signals() as (stop, kill):
        click.echo(f"working    {doing.workers} at once   (data sets of {runs})")
        Supervisor(doing, store).run(stop, kill)
    store.close()


def check_service_extra() -> None:
    """Check that the packages of the service are there.

    Raises:
        InputError: One is missing.
    """
    from terrasynth.errors import how_to_install
    from terrasynth.synthesis.core.errors import InputError

    for name in EXTRA:
        if find_spec(name) is None:
            raise InputError(f"the service needs {name}, which is not installed; {how_to_install('service')}")


def _settings(runs: Path, work: dict[str, Any]) -> WorkSettings:
    from terrasynth.synthesis.core.errors import InputError
    from terrasynth.synthesis.service.references import Places
    from terrasynth.synthesis.service.supervisor import WorkSettings

    for name in ("models", "data"):
        if work[name] is not None and not work[name].is_dir():
            raise InputError(f"--{name} {str(work[name])!r} is no folder; name one that is there")
    models, data = (folder and folder.absolute() for folder in (work["models"], work["data"]))
    return WorkSettings(
        runs, work["workers"], work["lease"], spare_disk=work["spare_disk"] * _MIB,
        spare_memory=work["spare_memory"] * _MIB, most_deaths=work["deaths"],
        places=Places(models, data, tuple(work["endpoints"])),
    )


def _store(settings: WorkSettings, database: str | None) -> JobStore:
    from terrasynth.synthesis.core.errors import disk_errors
    from terrasynth.synthesis.service.places import jobs_file
    from terrasynth.synthesis.service.store import JobStore

    with disk_errors(str(settings.runs)):
        return JobStore(database or jobs_file(settings.runs), settings.most_deaths)


def _token(file: Path | None) -> str | None:
    from terrasynth.synthesis.core.errors import InputError, one_line

    if file is None:
        return os.environ.get(TOKEN_VARIABLE) or None
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"token file {str(file)!r} cannot be read: {one_line(error)}; "
                         "--new-token makes one") from error


def _new_token(runs: Path) -> str:
    from terrasynth.synthesis.core.errors import disk_errors
    from terrasynth.synthesis.core.files import open_new
    from terrasynth.synthesis.service.places import token_file

    token, file = secrets.token_urlsafe(TOKEN_BYTES), token_file(runs)
    with disk_errors(str(file)), open_new(file) as opened:
        os.fchmod(opened.fileno(), 0o600)
        opened.write(token.encode() + b"\n")
    click.echo(f"token      {file}   (next time: --token-file {file})")
    return token


@contextmanager
def _signals() -> Iterator[tuple[threading.Event, threading.Event]]:
    """The first signal asks for the end, the second for the end at once."""
    stop, kill = threading.Event(), threading.Event()

    def asked(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            kill.set()
        else:
            stop.set()
            print("ending     after the blocks that are being drawn; once more to end at once", file=sys.stderr)

    numbers: Sequence[signal.Signals] = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, asked) for number in numbers}
    try:
        yield stop, kill
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _working(settings: WorkSettings, store: JobStore, stop: threading.Event, kill: threading.Event) -> Iterator[None]:
    """A supervisor beside the server. Waits for its end."""
    from terrasynth.synthesis.service.supervisor import Supervisor

    thread = threading.Thread(target=Supervisor(settings, store).run, args=(stop, kill), name="supervisor")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
