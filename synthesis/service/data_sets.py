"""The data sets of a server: every run directory directly inside its folder, whoever made it."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import TYPE_CHECKING, TypeVar

from terrasynth.errors import UserError, nearest, one_line
from terrasynth.synthesis.core import layout
from terrasynth.synthesis.core.errors import InputError, RunError
from terrasynth.synthesis.core.records import RecordError
from terrasynth.synthesis.events import ClassCount
from terrasynth.synthesis.ledger.finished import Finished
from terrasynth.synthesis.ledger.frozen import Frozen, frozen_of
from terrasynth.synthesis.recipe import Recipe
from terrasynth.synthesis.service.locks import held_by_a_process
from terrasynth.synthesis.service.places import private_folder
from terrasynth.synthesis.service.records import Job
from terrasynth.synthesis.service.row_index import BlockVerdicts, RowIndex
from terrasynth.synthesis.service.specs import EXPORTS
from terrasynth.synthesis.service.states import State

if TYPE_CHECKING:
    from terrasynth.synthesis.service.store import JobStore

AT_ONCE_SECONDS, PATIENCE_SECONDS, BEHIND_SECONDS = 0.25, 10.0, 3600.0
MOST_KEPT = 20_000
Kept = TypeVar("Kept")


class UnknownDataSetError(InputError):
    """There is no data set of that name."""


class BusyError(RunError):
    """Something else is at work there; later it will do."""


@dataclass(frozen=True)
class DataSet:
    """A data set as a list of them shows it.

    Attributes:
        name: Of its folder.
        state: "queued" and "running" speak of a job, "busy" of another process that writes there; "finished",
            "waits_for_review", "missed_target" and "stopped" of its files; "damaged" says that these cannot be read.
        title: Name in its recipe.
        generator: Model in its recipe.
        identity: Hash of what decides its images; None before it is known.
        accepted: Rows of the data set, as far as is known.
        target: Rows that are wanted in all.
        classes: How far each class is; empty while that is not known.
        drawn: Attempts that are stored.
        changed: When it was last written to (UTC).
        job: Id of the job that works on it, or will.
        error: Why its files cannot be read.
    """

    name: str
    state: str
    title: str | None = None
    generator: str | None = None
    identity: str | None = None
    accepted: int = 0
    target: int | None = None
    classes: tuple[ClassCount, ...] = ()
    drawn: int = 0
    changed: datetime | None = None
    job: str | None = None
    error: str | None = None


class DataSets:
    """Reads data sets; for several threads.

    Args:
        runs: The folder that holds them.
    """

    def __init__(self, runs: Path, store: JobStore) -> None:
        self._runs, self._store = runs, store
        self._indexes: dict[str, RowIndex] = {}
        self._behind: set[str] = set()
        self._lock = threading.Lock()
        self._kept: dict[tuple[Path, Callable[[Path], object]], tuple[tuple[int, int, int], object]] = {}
        self._indexer = ThreadPoolExecutor(1, "indexer")

    def close(self) -> None:
        """End what runs behind."""
        self._indexer.shutdown(wait=False, cancel_futures=True)

    def names(self) -> list[str]:
        """The names of all, sorted. A link is none: it may lead anywhere."""
        try:
            with os.scandir(self._runs) as entries:
                return sorted(entry.name for entry in entries if self._is_data_set(entry))
        except FileNotFoundError:
            return []

    def folder(self, name: str) -> Path:
        """The run directory of a data set.

        Raises:
            UnknownDataSetError: There is none of that name.
        """
        names = self.names()
        if name not in names:
            raise UnknownDataSetError(f"data set {name[:96]!r} does not exist{nearest(name[:96], names)}")
        return self._runs / name

    def all(self) -> list[DataSet]:
        """All data sets, the last changed first."""
        found = [self._described(name, jobs) for jobs in [self._working()] for name in self.names()]
        return sorted(found, key=lambda each: each.changed or datetime.min.replace(tzinfo=UTC), reverse=True)

    def one(self, name: str) -> DataSet:
        """A data set by its name.

        Raises:
            UnknownDataSetError: There is none.
        """
        self.folder(name)
        return self._described(name, self._working(name))

    def recipe(self, name: str) -> Recipe:
        """The recipe of a data set.

        Raises:
            UnknownDataSetError: There is none of that name.
            InputError: Its recipe cannot be read.
        """
        return self._read(self.folder(name) / layout.RECIPE, Recipe.load)

    def frozen(self, name: str) -> Frozen:
        """What is fixed for a data set.

        Raises:
            UnknownDataSetError: There is none of that name.
            BusyError: Nothing was drawn yet.
            RunError: Its record cannot be believed.
        """
        path = self.folder(name) / layout.IDENTITY
        if not path.is_file():
            raise BusyError(f"data set {name!r} holds no images yet; wait until its first are drawn")
        return self._read(path, _frozen)

    def index(self, name: str) -> tuple[RowIndex, bool]:
        """The index of a data set's rows, brought up to date, and whether the texts of all rows are in it.

        Raises:
            UnknownDataSetError: There is none of that name.
            BusyError: Nothing was drawn yet, or a large index is still being made.
            RunError: Its files are damaged.
        """
        frozen = self.frozen(name)
        with self._lock:
            index = self._indexes.setdefault(name, RowIndex(self._runs / name, self._index_file(name)))
        # What is read behind holds the index for long: whoever comes meanwhile takes what is there.
        patience = 0 if name in self._behind and index.file.is_file() else PATIENCE_SECONDS
        complete = index.refresh(frozen, AT_ONCE_SECONDS, patience)
        if complete is None and not index.file.is_file():
            raise BusyError(f"the rows of data set {name!r} are being looked through; ask again in some seconds")
        if complete is not None:
            self._take_told(name, index, frozen)
        if complete is False:
            self._go_on_behind(name, index, frozen)
        return index, bool(complete)

    def forget(self, name: str) -> None:
        """Drop the index of a data set that is deleted."""
        with self._lock:
            self._indexes.pop(name, None)
        file = self._index_file(name)
        for path in (file, *(file.with_name(file.name + end) for end in ("-wal", "-shm"))):
            path.unlink(missing_ok=True)

    def working(self, name: str) -> Job | None:
        """The job that works on a data set, or the next that will; None where there is none."""
        return self._working(name).get(name)

    def _is_data_set(self, entry: os.DirEntry[str]) -> bool:
        if entry.name.startswith(".") or entry.name == EXPORTS or not entry.is_dir(follow_symlinks=False):
            return False
        return any(_kind(Path(entry.path, each)) == "file" for each in (layout.RECIPE, layout.IDENTITY))

    def _index_file(self, name: str) -> Path:
        digest = hashlib.sha256(os.fsencode(name)).hexdigest()[:24]
        return private_folder(self._runs) / "index" / f"{digest}.sqlite"

    def _working(self, name: str | None = None) -> dict[str, Job]:
        found: dict[str, Job] = {}
        for state in (State.QUEUED, State.RUNNING):  # the one that runs wins
            for job in self._store.list(state=state, data_set=name, limit=1000):
                if job.data_set is not None:
                    found[job.data_set] = job
        return found

    def _described(self, name: str, jobs: dict[str, Job]) -> DataSet:
        folder, job = self._runs / name, jobs.get(name)
        try:
            recipe = self._read(folder / layout.RECIPE, Recipe.load)
            counts, finished = self._counts(folder, job)
            identity = self._read(path, _frozen).identity.hash if (path := folder / layout.IDENTITY).is_file() else None
            drawn = self._drawn(folder)
        except (UserError, RunError) as error:
            return DataSet(name, "damaged", job=job.id if job else None, error=one_line(error))
        state = _ended(counts) if finished else "stopped"
        if job is not None:
            state = str(job.state)
        elif not finished and held_by_a_process(folder):
            state = "busy"
        target = sum(count.target for count in counts) or _wanted(recipe)
        return DataSet(
            name, state, recipe.name, recipe.generator.model, identity, sum(count.accepted for count in counts), target,
            tuple(counts), drawn, _changed(folder), job.id if job else None,
        )

    def _counts(self, folder: Path, job: Job | None) -> tuple[list[ClassCount], bool]:
        """How far the classes are, and whether the run has ended."""
        path = folder / layout.FINISHED
        if path.is_file():
            return list(self._read(path, _finished)), True
        told = (job.progress or {}).get("classes") if job is not None else None
        return [ClassCount(**each) for each in told] if isinstance(told, list) else [], False

    def _drawn(self, folder: Path) -> int:
        identity = folder / layout.IDENTITY
        if not identity.is_file():
            return 0
        size = self._read(identity, _frozen).block_size
        return size * sum(self._read(each, _entries) for each in layout.block_folders(folder))

    def _read(self, path: Path, read: Callable[[Path], Kept]) -> Kept:
        """What a file says; read again only where it is another file."""
        try:
            stat = path.stat()
        except OSError as error:
            raise InputError(f"{path.name} of data set {path.parent.name!r} cannot be read: {error.strerror}; run it "
                             "again") from error
        stamp = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        if len(self._kept) > MOST_KEPT:
            self._kept.clear()
        known = self._kept.get((path, read))
        if known is None or known[0] != stamp:
            known = (stamp, read(path))
            self._kept[path, read] = known
        return known[1]  # type: ignore[return-value]

    def _take_told(self, name: str, index: RowIndex, frozen: Frozen) -> None:
        """Take in the verdicts that the running job told of, which no file has yet."""
        job = self.working(name)
        if job is None or job.kind != "run" or job.state is not State.RUNNING:
            return
        before, _, number = index.marked().partition(" ")
        last = int(number) if before == job.id else 0
        while found := self._store.events(job.id, last):
            last = found[-1].number
            told = [BlockVerdicts(str(each.data["label"]), int(each.data["index"]), each.data["verdicts"])
                    for each in found if each.type == "block" and each.data.get("verdicts")]
            index.tell(frozen, told, f"{job.id} {last}")

    def _go_on_behind(self, name: str, index: RowIndex, frozen: Frozen) -> None:
        with self._lock:
            if name in self._behind:
                return
            self._behind.add(name)

        def go_on() -> None:
            try:
                index.refresh(frozen, BEHIND_SECONDS, PATIENCE_SECONDS)
            finally:
                self._behind.discard(name)

        self._indexer.submit(go_on)


def _kind(path: Path) -> str:
    """"file" or "folder" for what lies there itself; "" for links and whatever else."""
    try:
        mode = path.lstat().st_mode
    except OSError:
        return ""
    return "file" if S_ISREG(mode) else "folder" if S_ISDIR(mode) else ""


def _frozen(path: Path) -> Frozen:
    return frozen_of(path.parent)


def _finished(path: Path) -> tuple[ClassCount, ...]:
    try:
        return Finished.read(path.parent).counts
    except (RecordError, FileNotFoundError) as error:
        raise RunError(f"{path.name} of data set {path.parent.name!r} cannot be read: {one_line(error)}; run it again"
                       ) from error


def _ended(counts: Iterable[ClassCount]) -> str:
    """What a run is, by how its classes ended."""
    if any(count.short for count in counts):
        return "missed_target"
    return "waits_for_review" if any(count.waiting for count in counts) else "finished"


def _entries(folder: Path) -> int:
    return sum(1 for _ in folder.glob("*.parquet"))


def _wanted(recipe: Recipe) -> int | None:
    names = recipe.class_names
    return None if names is None else sum(recipe.target.wanted(label) for label in names)


def _changed(folder: Path) -> datetime:
    paths = (folder, folder / layout.DECISIONS, folder / layout.FINISHED, *layout.block_folders(folder))
    latest = max(path.stat().st_mtime for path in paths if path.exists())
    return datetime.fromtimestamp(latest, UTC)
