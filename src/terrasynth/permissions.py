"""Who may read what was written: safetensors 0.8 and later leave files to their owner alone, whatever the umask."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

PATTERN = "*.safetensors"


def like_new_files(place: Path) -> None:
    """Give a file, or every safetensors file in a folder and below it, the mode that a new file gets there.

    Where the system or the file's owner does not let it be changed, the mode stays.

    Example:
        >>> import os, tempfile
        >>> from pathlib import Path
        >>> from terrasynth.permissions import like_new_files
        >>> folder = Path(tempfile.mkdtemp())
        >>> for name, mode in (("a.safetensors", 0o600), ("b.safetensors", 0o666)):
        ...     os.close(os.open(folder / name, os.O_CREAT, mode))
        >>> like_new_files(folder)
        >>> (folder / "a.safetensors").stat().st_mode == (folder / "b.safetensors").stat().st_mode
        True
    """
    for path in sorted(place.rglob(PATTERN)) if place.is_dir() else [place]:
        if path.is_symlink():
            continue
        try:
            wanted = _mode_of_new(path)
            if path.stat().st_mode & 0o777 != wanted:
                path.chmod(wanted)
        except PermissionError:
            continue


def _mode_of_new(beside: Path) -> int:
    """Asked of a new file, since the umask can be read in no other way that is safe beside other threads."""
    probe = beside.with_name(f".{secrets.token_hex(8)}.tmp")
    file = os.open(probe, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    try:
        return os.fstat(file).st_mode & 0o777
    finally:
        os.close(file)
        probe.unlink()
