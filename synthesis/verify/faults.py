"""What can be wrong with a file of a run or an export, and how files are read to find it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from terrasynth.synthesis.core.errors import RefusedError, one_line, refusal
from terrasynth.synthesis.core.files import readable
from terrasynth.synthesis.ledger.block_files import UNREADABLE

DAMAGED = "damaged"


class Remedy(Enum):
    """What mends a fault; the value is how a line says it."""

    DRAW = "--repair draws its attempts again exactly as they were"
    MEASURE = "--repair measures its images again"
    WRITE = "--repair writes it again from the blocks"
    REMOVE = "--repair, or the same `terrasynth run`, removes it"
    MOVE = "--repair moves it away"
    RUN = "the same `terrasynth run` goes on"
    USER = ""


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong.

    Attributes:
        file: The file, relative to the run directory.
        advice: What the user has to do; only where the remedy is his.
    """

    file: str
    what: str
    remedy: Remedy
    advice: str = ""

    @property
    def line(self) -> str:
        """File, fault and remedy."""
        return f"{self.file}: {self.what}; {self.advice or self.remedy.value}"

    def to_json(self) -> dict[str, str]:
        """Plain data; `remedy` in lower case, "user" where nothing of ours mends it."""
        return {"file": self.file, "what": self.what, "remedy": self.remedy.name.lower(),
                "advice": self.advice or self.remedy.value}


def refused(file: str, error: BaseException) -> Fault:
    """The fault of a file that the system did not let be read: it may be whole, so nothing moves it."""
    what, _, help_ = one_line(error).rpartition("cannot be read: ")[2].partition("; ")
    return Fault(file, f"cannot be read now, and may be whole: {what}", Remedy.USER, help_)


class DamagedError(ValueError):
    """The content of a file is not what was written; the message says in what."""


def parquet(path: Path) -> pa.Table:
    """All of a Parquet file, its page checksums verified.

    Raises:
        DamagedError: Its content cannot be read.
        RefusedError: It may be whole and cannot be read.
    """
    try:
        with pq.ParquetFile(readable(path), page_checksum_verification=True) as file:
            return file.read()
    except UNREADABLE as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: BaseException) -> RefusedError | DamagedError:
    """What to raise where a file could not be read: the system's refusal, or the damage."""
    if isinstance(error, RefusedError | DamagedError):
        return error
    if why := refusal(error, path.stat().st_size if path.is_file() else 0):
        return RefusedError(why)
    return DamagedError(f"cannot be read ({one_line(error, 120)})")


def unreadable_content(path: Path, error: BaseException) -> DamagedError:
    """What is wrong with a file of which a part could not be made sense of.

    Raises:
        RefusedError: Nothing is; the system was short of something.
    """
    found = unreadable(path, error)
    if isinstance(found, RefusedError):
        raise found from error
    return found
