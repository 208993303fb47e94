"""Rows of numbers on disk by key: many processes may read and add at once, and a damaged file costs its own rows only.

A store is a folder of `safetensors` files that are written once, under a temporary name, and moved into place; the name
of a file is the hash of its keys. Nothing is locked: two processes that compute the same rows write the same file.
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from terrasynth.errors import one_line
from terrasynth.eval.errors import InputError

KEY_BYTES = 16
FORMAT = 1
"""Of the files; a change starts a new folder beside the old one."""


class FeatureStore:
    """Rows `float32` (D,) of one network by key of `KEY_BYTES` bytes."""

    def __init__(self, root: Path, network: Mapping[str, object]) -> None:
        """Open the network's folder, or make it.

        Args:
            root: Folder of all stores.
            network: Everything that decides a row; JSON-able.

        Raises:
            InputError: The folder cannot be written.
        """
        described = json.dumps({**network, "format": FORMAT}, sort_keys=True, indent=2)
        self._folder = root / hashlib.blake2b(described.encode(), digest_size=12).hexdigest()
        self._places: dict[bytes, tuple[str, int]] = {}
        self._seen: set[str] = set()
        self._last: tuple[str, NDArray[np.float32]] | None = None
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._move_in(described.encode(), "network.json")
        except OSError as error:
            raise InputError(f"feature cache {str(root)!r} cannot be written: {one_line(error)}; name another folder, "
                             "or none") from error

    def get(self, keys: Sequence[bytes]) -> dict[bytes, NDArray[np.float32]]:
        """The rows that are there, of any process's making; a file that turns out damaged is removed with a warning."""
        self._look_around()
        by_file: dict[str, list[bytes]] = {}
        for key in dict.fromkeys(keys):
            if key in self._places:
                by_file.setdefault(self._places[key][0], []).append(key)
        found: dict[bytes, NDArray[np.float32]] = {}
        for name, wanted in by_file.items():
            rows = self._rows(name)
            if rows is not None:
                found |= {key: rows[self._places[key][1]] for key in wanted}
        return found

    def put(self, keys: Sequence[bytes], rows: NDArray[np.float32]) -> None:
        """Add rows.

        Args:
            keys: N different keys.
            rows: `float32` (N, D).
        """
        from safetensors.numpy import save

        table = np.frombuffer(b"".join(keys), np.uint8).reshape(len(keys), KEY_BYTES)
        rows = np.ascontiguousarray(rows, np.float32)
        name = f"{hashlib.blake2b(table.tobytes(), digest_size=16).hexdigest()}.safetensors"
        self._move_in(save({"keys": table, "rows": rows}, {"checksum": _checksum(table, rows)}), name)
        self._seen.add(name)
        self._places |= {key: (name, number) for number, key in enumerate(keys)}

    def _look_around(self) -> None:
        from safetensors import SafetensorError, safe_open

        for path in sorted(self._folder.glob("*.safetensors")):
            if path.name in self._seen:
                continue
            try:
                with safe_open(path, "numpy") as file:
                    table: NDArray[np.uint8] = file.get_tensor("keys")
            except FileNotFoundError:
                continue  # another process found it damaged
            except (OSError, SafetensorError) as error:
                self._remove(path, one_line(error))
                continue
            self._seen.add(path.name)
            self._places |= {bytes(key): (path.name, number) for number, key in enumerate(table)}

    def _rows(self, name: str) -> NDArray[np.float32] | None:
        from safetensors import SafetensorError, safe_open

        if self._last is not None and self._last[0] == name:
            return self._last[1]
        path = self._folder / name
        reason = "its checksum does not match"
        try:
            with safe_open(path, "numpy") as file:
                checksum = (file.metadata() or {}).get("checksum")
                table, rows = file.get_tensor("keys"), file.get_tensor("rows")
            if checksum == _checksum(table, rows):
                self._last = (name, rows)
                found: NDArray[np.float32] = rows
                return found
        except FileNotFoundError:
            self._forget(name)
            return None
        except (OSError, SafetensorError) as error:
            reason = one_line(error)
        self._remove(path, reason)
        return None

    def _remove(self, path: Path, reason: str) -> None:
        warnings.warn(f"feature cache: {path} is damaged ({reason}); it is removed and made anew", stacklevel=2)
        path.unlink(missing_ok=True)
        self._forget(path.name)

    def _forget(self, name: str) -> None:
        self._seen.discard(name)
        self._places = {key: place for key, place in self._places.items() if place[0] != name}

    def _move_in(self, content: bytes, name: str) -> None:
        # Not synced: a file that a power cut tears is recognized by its checksum.
        draft = self._folder / f".{name}.{os.getpid()}-{os.urandom(4).hex()}"
        try:
            draft.write_bytes(content)
            os.replace(draft, self._folder / name)
        except OSError:
            draft.unlink(missing_ok=True)
            raise


def _checksum(table: NDArray[np.uint8], rows: NDArray[np.float32]) -> str:
    digest = hashlib.blake2b(np.ascontiguousarray(table).data, digest_size=16)
    digest.update(np.ascontiguousarray(rows).data)
    return digest.hexdigest()
