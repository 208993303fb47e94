"""How all four packages name content: the first sixteen hexadecimal digits of a SHA-256."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

DIGITS = 16


def text_hash(text: str) -> str:
    """Sixteen hexadecimal digits that name a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]


def files_hash(files: Iterable[tuple[str, Path]]) -> str:
    """Sixteen hexadecimal digits that name the bytes of files, in order, each with the name that it goes by."""
    digest = hashlib.sha256()
    for name, path in files:
        digest.update(f"{name}\0{path.stat().st_size}\0".encode())
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()[:DIGITS]
