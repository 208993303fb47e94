"""What the command line says when a command ends badly: one line and an exit code, never a traceback.

What is foreseen says what to do. For the rest the traceback goes into a file of the user's, and the line names it.
"""

from __future__ import annotations

import errno
import re
import sys
import traceback
from dataclasses import dataclass

import click

from terrasynth.errors import UserError, shortened
from terrasynth.synthesis.core.errors import FULL_DISK, RunError, StoreError, one_line
from terrasynth.synthesis.core.library_errors import is_shortage

FAILED, WRONG_INPUT = 1, 2
_NOT_THERE = frozenset({
    errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL, errno.EACCES, errno.EPERM,
    errno.EROFS, errno.EEXIST, errno.ENOTEMPTY, errno.ENXIO,
})
_NO_HANDLES = frozenset({errno.EMFILE, errno.ENFILE})


@dataclass(frozen=True)
class Ending:
    """How a command ends.

    Attributes:
        message: The line, without the program's name.
        code: 1 failed, 2 wrong input.
    """

    message: str
    code: int


def ending(error: BaseException, command: str = "") -> Ending:
    """How a command ends that raised an error; writes a file where the error was not foreseen.

    Args:
        command: The command line, for that file.
    """
    found = foreseen(error)
    if found is not None:
        return found
    from terrasynth.synthesis.cli.unexpected import keep_traceback, place_of, without_secrets

    kept = keep_traceback(error, command)
    where = f"its traceback is in {kept}" if kept else "its traceback could be written nowhere"
    said = shortened(without_secrets(one_line(error)), 200)
    return Ending(f"unexpected {type(error).__name__} in {place_of(error)}: {said}; {where}; please report it", FAILED)


def foreseen(error: BaseException) -> Ending | None:
    """How a command ends that raised an error of a kind that is known; None for any other."""
    if isinstance(error, click.exceptions.Abort | KeyboardInterrupt):
        return Ending("interrupted; run the same command again to carry on", FAILED)
    if isinstance(error, click.ClickException):
        return Ending(error.format_message(), WRONG_INPUT)
    if isinstance(error, UserError | RunError):
        return Ending(one_line(error), error.exit_code)
    if isinstance(error, StoreError):
        return Ending(one_line(error), WRONG_INPUT if error.wrong_input else FAILED)
    if isinstance(error, OSError) and error.errno in FULL_DISK:
        return Ending(f"disk full: {one_line(error)}; free some space and run the same command again", FAILED)
    if isinstance(error, OSError) and error.errno in _NO_HANDLES:
        return Ending("too many files are open; raise the limit (`ulimit -n`) and run the same command again", FAILED)
    if isinstance(error, OSError) and error.errno == errno.EIO:
        return Ending(f"a disk or a connection fails: {one_line(error)}; run the same command again", FAILED)
    if is_shortage(error):
        return Ending(f"the machine ran short: {one_line(error, 160)}; free some memory or lower runtime.micro_batch, "
                      "then run the same command again", FAILED)
    if isinstance(error, OSError) and error.errno in _NOT_THERE and error.filename is not None:
        return Ending(f"{str(error.filename)!r}: {(error.strerror or one_line(error)).lower()}; check the path and its "
                      "permissions", WRONG_INPUT)
    if isinstance(error, RuntimeError) and str(error).startswith("Could not determine home directory"):
        return Ending("a path begins with ~ and there is no home folder for it; write the path in full", WRONG_INPUT)
    return _installation(error)


def said_in_a_log(error: BaseException) -> str:
    """The same line for a process whose standard error is kept: a traceback that nobody foresaw goes there."""
    found = foreseen(error)
    if found is not None:
        return found.message
    from terrasynth.synthesis.cli.unexpected import place_of, without_secrets

    print(without_secrets("".join(traceback.format_exception(error))), file=sys.stderr, flush=True)
    told = shortened(without_secrets(one_line(error)), 200)
    return (f"unexpected {type(error).__name__} in {place_of(error)}: {told}; "
            "its traceback is in the job's log; please report it")


def _installation(error: BaseException) -> Ending | None:
    """An installed package that is missing, or does not fit the others."""
    chain = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None and cause not in chain:
        chain.append(cause)
    for text in map(one_line, chain):
        if "torchvision" in text and not re.search(r"not found|not installed|No module named", text):
            return Ending("the installed torchvision is of another torch than the installed one "
                          f"({shortened(text, 120)}); nothing here needs it: uninstall it, or install the one of this "
                          "torch", FAILED)
    if isinstance(error, ImportError):
        return Ending(f"an installed package cannot be imported ({one_line(error, 160)}); install the versions of "
                      "constraints.txt", FAILED)
    return None
