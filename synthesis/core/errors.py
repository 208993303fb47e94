"""What can go wrong in synthesis, sorted by who has to act: the user's input, or the run itself."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

from terrasynth.errors import UserError
from terrasynth.errors import one_line as one_line
from terrasynth.prompts.addresses import shown


class InputError(UserError):
    """A recipe, a reference or an option that the user has to correct; one line with value, cause and fix (exit 2)."""

    def __init__(self, message: str = "") -> None:
        super().__init__(shown(message))  # a value may be an address with a password


class RunError(RuntimeError):
    """The input is right and the run failed all the same: disk full, broken block, missed target (exit 1)."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str = "") -> None:
        super().__init__(shown(message))


class RefusedError(RunError):
    """The system did not let a file be read, which may well be whole: nothing of it is damage."""


class StoreError(OSError):
    """An object store that cannot be reached, refuses, or lacks a bucket: nothing of it is damage to a file.

    Attributes:
        wrong_input: Whether the user has to correct an address or credentials; what failed may be tried again if not.
    """

    def __init__(self, message: str, wrong_input: bool = False) -> None:
        super().__init__(shown(message))
        self.wrong_input = wrong_input


FULL_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
# What the system may answer for a file that is whole, and what helps. Nothing of it is damage.
REFUSALS = {
    errno.EMFILE: "this process has no file handle left; raise `ulimit -n` and try again",
    errno.ENFILE: "the system has no file handle left; close other programs and try again",
    errno.ENOMEM: "no memory is left; free some and try again",
    errno.EAGAIN: "the system is short of something; try again",
    errno.EACCES: "you may not read it; correct its owner or mode (`chmod`, `chown`)",
    errno.EPERM: "you may not read it; correct its owner or mode (`chmod`, `chown`)",
    errno.EIO: "its disk reported an error; look at the disk, copy the folder to another one and try again",
    errno.ESTALE: "the network file system has lost it for now; mount it again",
    errno.ETIMEDOUT: "its disk did not answer in time; try again",
    errno.ENOTCONN: "its disk is not connected; mount it again",
    errno.ELOOP: "it is a link, or lies behind a circle of links; put the file itself there",
}
TRANSIENT = frozenset(REFUSALS) - {errno.EACCES, errno.EPERM, errno.ELOOP}  # says nothing about one file
SPARE_BYTES = 64 * 2**20  # what a file may ask for beside its own size before it is the file that is wrong


def refusal(error: BaseException, size: int = 0) -> str:
    """Why a file could not be read although it may well be whole, with what helps; "" where its content is wrong.

    Args:
        size: Bytes of the file. A damaged length may ask for any amount of memory: only where a few times the size
            cannot be had either is memory short.
    """
    if isinstance(error, MemoryError):
        try:
            bytearray(4 * size + SPARE_BYTES)
        except MemoryError:
            return REFUSALS[errno.ENOMEM]
        return ""
    if isinstance(error, StoreError):
        return str(error)
    return REFUSALS.get(error.errno or 0, "") if isinstance(error, OSError) else ""


@contextmanager
def disk_errors(what: str) -> Iterator[None]:
    """Turn the operating system's "no space" into a `RunError` that names what was being written.

    Args:
        what: The file or folder, as the user knows it.

    Raises:
        RunError: The disk, the quota or the file size limit is exhausted.
        InputError: The place cannot be written to.
    """
    try:
        yield
    except StoreError as error:
        raise (InputError if error.wrong_input else RunError)(str(error)) from error
    except OSError as error:
        if error.errno in FULL_DISK:
            raise RunError(
                f"disk full while writing {what}: {_reason(error)}; free some space and run the same command again"
            ) from error
        if error.errno in {errno.EMFILE, errno.ENFILE, errno.ENOMEM}:
            raise RunError(f"cannot write {what}: {REFUSALS[error.errno]}") from error
        if isinstance(error, IsADirectoryError):
            raise InputError(f"cannot write {what}: a folder is in its place; move it away") from error
        if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
            raise InputError(f"cannot write {what}: {_reason(error)}; choose a folder you may write to") from error
        raise


def _reason(error: OSError) -> str:
    return (error.strerror or one_line(error)).lower()
