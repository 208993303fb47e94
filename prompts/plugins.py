"""Plug-ins by name, from the entry points of installed packages: expanders, exporters, filters, generators."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from typing import Any

from terrasynth.errors import nearest, one_line


@dataclass(frozen=True)
class Plugins:
    """The installed plug-ins of one kind.

    Attributes:
        group: Entry-point group, such as "terrasynth.expanders".
        kind: Noun for messages, such as "expander".
        error: Exception for a mistake of the user's.
    """

    group: str
    kind: str
    error: type[Exception]

    def names(self) -> tuple[str, ...]:
        """The names of all installed ones, sorted; nothing is imported."""
        return tuple(sorted({point.name for point in _installed(self.group)}))

    def load(self, name: str) -> Any:  # noqa: ANN401 - what the entry point names
        """Import what stands behind a name.

        Raises:
            Exception: `error`, on one line: the name is unknown, two packages offer it, or its package cannot be
                imported.
        """
        point = self._point(name)
        try:
            return point.load()
        except Exception as error:  # whatever the code of a plug-in raises
            said = one_line(error, 200)
            raise self.error(f"{self.kind} {name!r} cannot be loaded from {point.value} ({said}); install "
                             f"{_package(point)} again, or remove it") from error

    def make(self, name: str, options: Mapping[str, Any]) -> Any:  # noqa: ANN401
        """Make an instance: call what stands behind a name with options.

        Args:
            name: See `load`.

        Raises:
            Exception: `error`: see `load`, or an option is unknown or missing.
        """
        factory = self.load(name)
        parameters = inspect.signature(factory).parameters
        open_ended = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters.values())
        for option in options:
            if option not in parameters and not open_ended:
                close = nearest(option, parameters)
                raise self.error(f"option {option!r} is unknown to the {name} {self.kind}{close}; it takes "
                                 f"{', '.join(parameters) or 'none'}")
        for option, parameter in parameters.items():
            named = parameter.kind in (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
            if named and parameter.default is inspect.Parameter.empty and option not in options:
                raise self.error(f"the {name} {self.kind} needs the option {option!r}; add it, as in {option}: VALUE")
        return factory(**options)

    def _point(self, name: str) -> EntryPoint:
        found = [point for point in _installed(self.group) if point.name == name]
        if not found:
            names = self.names()
            raise self.error(f"{self.kind} {name!r} is unknown{nearest(name, names)}; there is "
                             f"{', '.join(names) or 'none'}")
        if len({point.value for point in found}) > 1:
            packages = " and ".join(sorted(map(_package, found)))
            raise self.error(f"{self.kind} {name!r} is offered by {packages}; remove one of them")
        return found[0]


def _installed(group: str) -> EntryPoints:
    """The entry points of a group; read once, and again where another package was installed since."""
    return _read(group, tuple((place, _changed(place or os.curdir)) for place in sys.path))


@lru_cache(maxsize=32)
def _read(group: str, places: tuple[tuple[str, int], ...]) -> EntryPoints:
    return entry_points(group=group)  # reads a file of every package that lies in `places`, which are `sys.path`


def _changed(place: str) -> int:
    try:
        return os.stat(place).st_mtime_ns
    except OSError:
        return 0


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.module
