"""Where the files of a data set may lie: inside its folder, whatever its rows and links say."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

from terrasynth.synthesis.core.errors import RunError, one_line
from terrasynth.training.data.rows import folder_split
from terrasynth.training.errors import ImageError, InputError, is_shortage

IMAGE_FOLDERS = ("images", "imgs", "img", "pictures", "data", "RSICD_images", "NWPU_images", "Sydney_images")
"""Folders that formats of the field keep their images in."""
REMEDY = "copy it there, or name its folder under `folders` of a data YAML (docs/data.md)"


class Root:
    """The folder of a data set.

    A row or a link that leads out of it is refused: a data set from elsewhere could otherwise name any image of this
    machine, and an export would publish it. Two links are a user's own doing, and are followed: that of a whole split
    (`train`, `val`, ...) or of the usual folder of images, and those of a snapshot in the Hugging Face cache, whose
    files are links into the cache.

    Attributes:
        folder: The folder as the user named it.
        links: Links of whole splits or of the folder of images that were followed, and where they lead.
        closed: Folders below it that may not be looked into.
    """

    def __init__(self, folder: Path, also: Sequence[Path] = ()) -> None:
        """Resolve the folder.

        Args:
            folder: The folder; it exists.
            also: Further folders that its images may lie in, as the user stated.
        """
        self.folder = folder
        self._real = Path(os.path.realpath(folder))
        self._allowed = [self._real, *(Path(os.path.realpath(place)) for place in also)]
        blobs = self._real.parents[1] / "blobs" if len(self._real.parents) > 1 else self._real
        if self._real.parent.name == "snapshots" and blobs.is_dir():
            self._allowed.append(blobs)
        self._folders: dict[tuple[str, ...], Path | None] = {(): self._real}
        self.links: dict[str, Path] = {}
        self.closed: list[str] = []

    @cached_property
    def name(self) -> str:
        """What the data set is called: the name of its folder."""
        return self._real.name or "data"

    def find(self, name: str, where: str, base: str = "") -> Path | None:
        """The real path of a file that a row names; None if there is no such file.

        Args:
            name: Relative to `base`; with backslashes too, as lists that were made under Windows have them.
            where: File and line of the row.
            base: Folder relative to this one, with slashes.

        Raises:
            InputError: The name, or a link on its way, leads out of the data set.
        """
        found = self._find(name, where, base)
        return self._find(name.replace("\\", "/"), where, base) if found is None and "\\" in name else found

    def absolute(self, name: str, where: str) -> Path | None:
        """The real path of a file by its absolute path; None if there is no such file.

        Raises:
            InputError: It lies out of the data set.
        """
        path = Path(os.path.realpath(name))
        if not self._contains(path):
            raise InputError(f"{where}: {name!r:.80} lies outside of the data folder; {REMEDY}")
        return path if path.is_file() else None

    def relative(self, name: str, base: str = "") -> str:
        """The place of a name relative to this folder, with slashes."""
        return os.path.normpath(os.path.join(base, name))

    def inside(self, path: Path, where: str) -> Path:
        """The real path of a file below this folder that was listed.

        Raises:
            InputError: It is a link that leads out of the data set.
        """
        found = self.find(path.relative_to(self.folder).as_posix(), where)
        if found is None:
            raise InputError(f"{where} is no regular file, or a link to nothing; take it away or give the file itself")
        return found

    def walk(self) -> Iterator[str]:
        """The files in this folder and below, sorted, relative and with slashes; links of whole splits are followed.

        Hidden files are passed over, and what macOS puts into archives.
        """
        yield from self._walk((), ())

    def _walk(self, parts: tuple[str, ...], above: tuple[Path, ...]) -> Iterator[str]:
        folder = self._folder(parts)
        if folder is None or folder in above:
            return
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            if is_shortage(error) or not parts:
                raise _unreadable("/".join(parts) or self.name, error) from error
            self.closed.append("/".join(parts))
            return
        for entry in entries:
            below = (*parts, entry.name)
            if entry.name.startswith(".") or entry.name == "__MACOSX":
                continue
            if entry.is_symlink():
                # `entry.is_dir` would raise at a link without an end
                is_folder = os.path.isdir(entry.path)
                if is_folder and self._follow(Path(entry.path), below) is None:
                    continue
            else:
                is_folder = entry.is_dir()
            if is_folder:
                yield from self._walk(below, (*above, folder))
            else:
                yield "/".join(below)

    def _find(self, name: str, where: str, base: str) -> Path | None:
        if "\0" in name:
            return None
        relative = os.path.normpath(os.path.join(base, name))
        if os.path.isabs(relative) or relative.split("/")[0] == "..":
            raise InputError(f"{where}: {name!r:.80} lies outside of the data folder; {REMEDY}")
        parts = tuple(relative.split("/"))
        try:
            folder = self._folder(parts[:-1])
            if folder is None:
                return None
            path = folder / parts[-1]
            mode = os.lstat(path).st_mode
            if stat.S_ISLNK(mode):
                path = Path(os.path.realpath(path))
                if not self._contains(path):
                    raise _Leads(parts)
                mode = os.lstat(path).st_mode
            return path if stat.S_ISREG(mode) else None
        except _Leads as error:
            raise InputError(f"{where}: {'/'.join(error.parts)!r:.80} is a link that leads out of the data folder; "
                             f"{REMEDY}") from None
        except OSError as error:  # a name that is too long, a folder that may not be searched
            if is_shortage(error):
                raise _unreadable(name, error) from error
            return None

    def _folder(self, parts: tuple[str, ...]) -> Path | None:
        """The real path of a folder; None if there is none."""
        if parts not in self._folders:
            above = self._folder(parts[:-1])
            path = None if above is None else above / parts[-1]
            if path is not None and path.is_symlink():
                target = self._follow(path, parts)
                if target is None:
                    raise _Leads(parts)
                path = target
            self._folders[parts] = path if path is not None and path.is_dir() else None
        return self._folders[parts]

    def _follow(self, link: Path, parts: tuple[str, ...]) -> Path | None:
        """The folder that a link leads to, if it may be followed."""
        target = Path(os.path.realpath(link))
        if self._contains(target):
            return target
        whole = folder_split(parts[-1:]) or (len(parts) == 1 and parts[-1] in IMAGE_FOLDERS)
        if not whole or not target.is_dir() or self._real.is_relative_to(target):
            return None
        self._allowed.append(target)
        self.links["/".join(parts)] = target
        return target

    def _contains(self, path: Path) -> bool:
        return any(path.is_relative_to(place) for place in self._allowed)


def open_file(path: Path) -> BinaryIO:
    """Open a regular file that was found before; a link that took its place meanwhile is refused.

    Raises:
        ImageError: It is gone, a link, or something else than a file.
        RunError: There is no file handle left.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | getattr(os, "O_CLOEXEC", 0))
    except OSError as error:
        if is_shortage(error):
            raise _unreadable(path.name, error) from error
        raise ImageError(f"cannot be opened ({error.strerror})") from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise ImageError("is no regular file")
    return os.fdopen(handle, "rb")


class _Leads(Exception):
    """A link leads out of the data set.

    Attributes:
        parts: The link, relative to the data set.
    """

    def __init__(self, parts: tuple[str, ...]) -> None:
        super().__init__(parts)
        self.parts = parts


def _unreadable(name: str, error: OSError) -> Exception:
    if is_shortage(error):
        return RunError(f"{name} cannot be opened: {one_line(error)}; free some and run the same command again")
    return InputError(f"{name} cannot be read: {one_line(error)}")
