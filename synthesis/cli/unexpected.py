"""A traceback for whoever mends the fault: in a file that only the user can read, without the user's secrets."""

from __future__ import annotations

import os
import platform
import re
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from terrasynth.prompts.addresses import HIDDEN, shown

KEPT = 20
"""Files that stay; older ones make room."""

PACKAGES = ("terrasynth", "torch", "diffusers", "transformers", "peft", "datasets", "huggingface_hub", "pyarrow")
ROOMS = ("prompts", "eval", "synthesis", "training")
_SECRET_NAME = re.compile(r"TOKEN|KEY|SECRET|PASSWORD|PASSWD|CREDENTIAL|AUTH|COOKIE", re.IGNORECASE)
_SHORTEST = 6  # a shorter value would strike out words that have nothing to do with it
_SECRETS = (
    re.compile(r"(?<=[?&])([\w.-]+)=[^&\s'\"]+"),  # what an address asks for
    re.compile(r"\b(?:hf|sk|pk|ghp|gho|xox[abp])[_-][\w-]{8,}"),
    re.compile(r"(?i)\b(?:bearer|basic)\s+[\w.~+/=-]{6,}"),
    re.compile(r"(?i)\b(?:authorization|api[_-]?key|token|password|passwd|secret)\b['\"]?\s*[:=]\s*['\"]?[^\s'\",;]+"),
)

def keep_traceback(error: BaseException, command: str) -> Path | None:
    """Write a traceback, with versions and the command, into a file of mode 600.

    Returns:
        The file; None where neither the user's state folder nor the folder of temporary files can be written.
    """
    lines = [f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}", command, f"{platform.platform()}, Python "
             f"{platform.python_version()}", ", ".join(_versions()), "", *traceback.format_exception(error)]
    text = without_secrets("\n".join(lines))
    for folder in (state_folder(), Path(tempfile.gettempdir())):
        if folder is None:
            continue
        with suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle, name = tempfile.mkstemp(".txt", f"terrasynth-error-{datetime.now(UTC):%Y%m%d-%H%M%S}-", folder)
            with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:  # made with mode 600
                file.write(text)
            _make_room(folder)
            return Path(name)
    return None


def state_folder() -> Path | None:
    """`$XDG_STATE_HOME/terrasynth`, where that is not set under `~/.local/state`; None without a home folder."""
    stated = os.environ.get("XDG_STATE_HOME")
    if stated and os.path.isabs(stated):
        return Path(stated) / "terrasynth"
    home = os.path.expanduser("~")
    return Path(home) / ".local" / "state" / "terrasynth" if os.path.isabs(home) else None


def without_secrets(text: str) -> str:
    """A text as it may be shown, and besides without values of variables and fields that only may be secret."""
    text = shown(text)
    for value in sorted(_known_secrets(), key=len, reverse=True):
        text = text.replace(value, HIDDEN)
    for pattern in _SECRETS:
        text = pattern.sub(HIDDEN, text)
    return text


def place_of(error: BaseException) -> str:
    """File and line of ours where an error was raised, or passed through on its way out of a library."""
    root = Path(__file__).parents[2]
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if path.is_relative_to(root) and path.relative_to(root).parts[0] in ROOMS:
            return f"{path.relative_to(root)}:{frame.lineno}"
    return "a library"


def _known_secrets() -> Iterator[str]:
    for name, value in os.environ.items():
        if _SECRET_NAME.search(name) and len(value) >= _SHORTEST:
            yield value
    with suppress(Exception):  # of a library that reads files: a damaged one must not hide the fault
        from huggingface_hub import get_token

        token = get_token()
        if token and len(token) >= _SHORTEST:
            yield token


def _versions() -> Iterator[str]:
    for name in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            yield f"{name} {metadata.version(name)}"


def _make_room(folder: Path) -> None:
    ours = sorted(folder.glob("terrasynth-error-*.txt"))
    for old in ours[:-KEPT]:
        with suppress(OSError):
            old.unlink()
