"""Prompts that were kept in Try: a file as the expander `file` reads it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from terrasynth.synthesis.core.errors import InputError, disk_errors
from terrasynth.synthesis.service.files import read_file
from terrasynth.synthesis.service.places import private_folder
from terrasynth.synthesis.service.settings import ServiceSettings

NAME, MOST_BYTES = "kept-prompts.jsonl", 4 * 2**20


def kept_file(settings: ServiceSettings) -> Path:
    """Where they are: inside the server's data, so that a recipe can name the file; else among its own files."""
    return (settings.places.data or private_folder(settings.runs)) / NAME


def kept_prompts(settings: ServiceSettings) -> list[dict[str, Any]]:
    """All that were kept, the last first.

    Raises:
        InputError: The file was changed and cannot be read.
    """
    content = read_file(kept_file(settings), MOST_BYTES) or b""
    try:
        return [json.loads(line) for line in reversed(content.decode().splitlines()) if line.strip()]
    except ValueError as error:
        raise InputError(f"{NAME} has a line that is no JSON; correct it, or remove the file") from error


def keep_prompt(settings: ServiceSettings, row: Mapping[str, str]) -> None:
    """Keep a prompt; it is on the disk when this returns.

    Args:
        settings: Of the server.
        row: "text" and "label".

    Raises:
        InputError: A part is missing, or the file is full.
        RunError: The disk is full.
    """
    if not row["text"].strip() or not row["label"].strip():
        raise InputError("a prompt is kept with its text and its class; give both")
    path = kept_file(settings)
    line = json.dumps({key: value.strip() for key, value in row.items()}, ensure_ascii=False) + "\n"
    if path.is_file() and path.stat().st_size + len(line) > MOST_BYTES:
        raise InputError(f"{NAME} has {MOST_BYTES // 2**20} MiB, which is the most; move it away to begin another")
    with disk_errors(NAME):
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "a", encoding="utf-8") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
