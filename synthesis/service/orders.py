"""What a supervisor tells the process that does a job, as one line of JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from terrasynth.synthesis.core.errors import InputError, one_line
from terrasynth.synthesis.service.records import Lease
from terrasynth.synthesis.service.references import Places
from terrasynth.synthesis.service.store import JobStore


@dataclass(frozen=True)
class Order:
    """A job for a process.

    Attributes:
        token: Of its lease.
        database: Address of the store.
        lease_seconds: How long a lease holds unless it is renewed.
        most_deaths: Deaths in a row after which a job is set aside.
        runs: The folder of data sets.
        places: What requests may name.
        last: Whether its process ends when it is done, without waiting for its supervisor to see that it is.
    """

    job: str
    token: str
    database: str
    lease_seconds: float
    most_deaths: int
    runs: Path
    places: Places
    last: bool

    def store(self) -> JobStore:
        """The store, opened."""
        return JobStore(self.database, self.most_deaths)

    def lease(self, store: JobStore) -> Lease:
        """The right to work on the job."""
        return Lease(store.get(self.job), self.token)

    def line(self) -> str:
        """The order as JSON."""
        return json.dumps(asdict(self), default=str)

    @classmethod
    def read(cls, line: str) -> Order:
        """An order from `line`.

        Raises:
            InputError: It is none.
        """
        try:
            tree: dict[str, Any] = json.loads(line)
            models, data = (None if folder is None else Path(folder)
                            for folder in (tree["places"]["models"], tree["places"]["data"]))
            places = Places(models, data, tuple(tree["places"]["endpoints"]))
            return cls(**tree | {"runs": Path(tree["runs"]), "places": places})
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"a line of standard input is no order ({type(error).__name__}: {one_line(error, 100)}); "
                             "`terrasynth worker` starts this process and writes its orders") from error
