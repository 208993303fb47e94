"""A PostgreSQL server of the distribution's packages, for the length of a test run; durable as it is by default."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PLACES = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
USER = "postgres"  # the server refuses to run as root


def programs() -> Path | None:
    """The folder of `initdb` and `pg_ctl`; None where PostgreSQL is not installed."""
    found = shutil.which("initdb")
    return Path(found).parent if found else next((place for place in PLACES if (place / "initdb").is_file()), None)


@contextmanager
def postgres_server(programs: Path) -> Iterator[str]:
    """Start a server that listens on a socket of the file system alone; gives the address of its first database."""
    folder = Path(tempfile.mkdtemp(prefix="terrasynth-postgres-"))  # a socket's path has at most 107 bytes
    other = {"user": USER, "group": USER, "extra_groups": []} if os.geteuid() == 0 else {}
    if other:
        shutil.chown(folder, USER, USER)
    data = folder / "data"

    def call(program: str, *arguments: str) -> None:
        done = subprocess.run([programs / program, "-D", data, *arguments], cwd=folder, capture_output=True, text=True,
                              timeout=120, **other)
        assert done.returncode == 0, done.stdout + done.stderr

    try:
        call("initdb", "-U", USER, "--auth=trust", "--encoding=UTF8", "--locale=C")
        call("pg_ctl", "-w", "-l", str(folder / "log"), "-o", f"-c listen_addresses='' -k {folder}", "start")
        yield f"postgresql+psycopg://{USER}@/postgres?host={folder}"
        call("pg_ctl", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder)


def new_database(address: str, name: str) -> str:
    """Make an empty database; gives its address."""
    import sqlalchemy as sa

    engine = sa.create_engine(address, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text(f'CREATE DATABASE "{name}"'))
    engine.dispose()
    return address.replace("/postgres?", f"/{name}?")
