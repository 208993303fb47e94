"""What the command line prints: no control sequence of somebody else's reaches the terminal, and no secret.

Texts of prompts, names of files and messages of servers come from anywhere. One place looks at all that is printed,
instead of each command at what it prints.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from terrasynth.prompts.addresses import shown

# Control characters but for line ends and tabs, and those that turn the direction of writing round.
_UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


class CleanStream:
    """A text stream that shows control characters as escapes and hides secrets.

    A carriage return stays at the start of what is written at once, where progress bars have it.
    """

    encoding = "utf-8"  # what cannot be encoded is escaped here, so that nobody has to go round this stream

    def __init__(self, raw: TextIO) -> None:
        self._raw = raw

    def write(self, text: str) -> int:
        """Write a text, cleaned."""
        begin = "\r" if isinstance(text, str) and text.startswith("\r") else ""
        self._raw.write(begin + self._encodable(printable(shown(text.removeprefix("\r")))))
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        """Write texts, each cleaned."""
        for line in lines:
            self.write(line)

    def control(self, sequence: str) -> None:
        """Write a control sequence of our own."""
        self._raw.write(sequence)

    def _encodable(self, text: str) -> str:
        encoding = getattr(self._raw, "encoding", None) or "utf-8"
        return text.encode(encoding, "backslashreplace").decode(encoding)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the stream has
        return getattr(self._raw, name)


def printable(text: str) -> str:
    """A text with its control characters shown as escapes; line ends and tabs stay."""
    return _UNSEEN.sub(lambda match: match[0].encode("unicode_escape").decode(), text.replace("\r\n", "\n"))


def on_one_line(text: str) -> str:
    """A text of somebody else's on one line, with what a terminal would obey shown as an escape."""
    line = " ".join(text.split())
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)


def control(stream: TextIO, sequence: str) -> None:
    """Write a control sequence of our own to a stream that may be a `CleanStream`."""
    write = getattr(stream, "control", stream.write)
    write(sequence)


@contextmanager
def clean_output() -> Iterator[None]:
    """Let all that is printed go through `CleanStream`."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (CleanStream(stream) for stream in before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
