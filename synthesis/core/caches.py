"""The caches that are kept on disk: where they lie, how large they are, and how they are cleared.

Everything in them can be made again, but answers of an endpoint, which cost money again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from terrasynth.errors import nearest
from terrasynth.prompts.language_models import answer_cache
from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.core.fetched import fetched_folder


@dataclass(frozen=True)
class Kind:
    """One kind of cache.

    Attributes:
        name: What the command line calls it.
        holds: What it keeps, and what clearing it costs.
        files: Which files below its folder are of this kind, by their path with slashes.
        below: Names of folders, anywhere below a folder that the user names; "" for one in the user's cache folder.
    """

    name: str
    holds: str
    files: re.Pattern[str]
    below: str = ""


KINDS = (
    Kind("answers", "prompts that an endpoint or a language model wrote; asked for, and paid for, again",
         re.compile(r"(chat|lm)-[0-9a-f]{32}\.(json|sent)|locks/[\w-]+")),
    Kind("features", "what networks see in images; computed again",
         re.compile(r"[0-9a-f]{24}/([0-9a-f]+\.safetensors|network\.json)")),
    Kind("fetched", "real data from addresses of object storage; fetched again",
         re.compile(r"[0-9a-f]{24}/.+")),
    Kind("latents", "images and texts as a training reads them; encoded again",
         re.compile(r"((views|texts|latents|decoded)-[0-9a-f]+)/(\d+\.safetensors|[\w.-]+\.json)"),
         r"\.cache|\.training/cache"),
    Kind("index", "rows of runs as the pages of `terrasynth serve` list them; made again",
         re.compile(r"[0-9a-f]+\.sqlite(-wal|-shm|-journal)?"), r"\.service/index"),
)


@dataclass(frozen=True)
class Cache:
    """A cache that is there.

    Attributes:
        files: Its files, sorted; nothing else in its folder is touched.
        bytes: Their size in all.
    """

    kind: Kind
    folder: Path
    files: tuple[Path, ...]
    bytes: int


def find_caches(folders: Sequence[Path] = ()) -> list[Cache]:
    """The caches in the user's cache folder, and those of trainings and services below further folders.

    Args:
        folders: Folders of trainings and runs.

    Raises:
        InputError: One of the folders does not exist.
    """
    from terrasynth.eval.models import feature_cache

    for folder in folders:
        if not folder.is_dir():
            raise InputError(f"{str(folder)!r} is no folder; name folders of trainings or runs")
    homes = {"answers": answer_cache.default_folder(), "features": feature_cache.default_folder(),
             "fetched": fetched_folder()}
    found = [_cache(kind, homes[kind.name]) for kind in KINDS if not kind.below]
    for kind in KINDS:
        if kind.below:
            places = {place for folder in folders for place in _below(folder, kind.below)}
            found += [cache for place in sorted(places) if (cache := _cache(kind, place)).files]
    return found


def said(caches: Sequence[Cache]) -> str:
    """What there is, on one line."""
    return ", ".join(f"{each.kind.name} {each.bytes / 2**20:.1f} MiB in {each.folder}" for each in caches)


def chosen(caches: Sequence[Cache], names: Sequence[str]) -> list[Cache]:
    """The caches of the kinds that are named.

    Raises:
        InputError: There is no such kind.
    """
    known = [kind.name for kind in KINDS]
    for name in names:
        if name not in known:
            raise InputError(f"cache {name!r} is unknown{nearest(name, known)}; there is {', '.join(known)}")
    return [cache for cache in caches if cache.kind.name in names]


def clear(cache: Cache) -> None:
    """Delete the files of a cache, and folders that are empty then."""
    for path in cache.files:
        path.unlink(missing_ok=True)
    above = {folder for path in cache.files for folder in path.parents if folder.is_relative_to(cache.folder)}
    for folder in sorted(above | {cache.folder}, reverse=True):
        with suppress(OSError):  # something else lies there
            folder.rmdir()


def _cache(kind: Kind, folder: Path) -> Cache:
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()
                   and kind.files.fullmatch(path.relative_to(folder).as_posix())) if folder.is_dir() else []
    return Cache(kind, folder, tuple(paths), sum(path.stat().st_size for path in paths))


def _below(folder: Path, pattern: str) -> Iterator[Path]:
    ends = re.compile(rf"(.*/)?({pattern})")
    for place in (folder, *folder.rglob("*")):
        if place.is_dir() and not place.is_symlink() and ends.fullmatch(place.resolve().as_posix()):
            yield place
