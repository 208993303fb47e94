"""What an exporter is, and exporters by name, from the entry point group `terrasynth.exporters`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from terrasynth.prompts.plugins import Plugins
from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.export.output import Output
from terrasynth.synthesis.export.plan import Plan

EXPORTERS = Plugins("terrasynth.exporters", "format", InputError)


@runtime_checkable
class Exporter(Protocol):
    """A format.

    A plug-in is a class of this shape under the entry point group `terrasynth.exporters`; what its constructor takes
    are the options of `--option`.
    """

    @property
    def name(self) -> str:
        """What the command line calls it."""

    @property
    def own(self) -> Sequence[str]:
        """Regular expressions of the file names, with slashes, that it writes: no other file is touched."""

    @property
    def data_files(self) -> str | None:
        """Glob of a {split}'s files for `load_dataset`; None where it does not read them."""

    @property
    def load(self) -> str:
        """Python that loads the export from FOLDER, for its README."""

    @property
    def loses(self) -> str:
        """What of the rows the format does not hold, in words."""

    def options(self) -> dict[str, object]:
        """What decides the files beside the rows, JSON-able."""

    def write(self, plan: Plan, out: Output) -> None:
        """Write every row of a plan.

        Equal plans give equal bytes; memory does not grow with the rows, but by a few bytes for each.

        Args:
            plan: The rows, in their order, as often as they are asked for.

        Raises:
            InputError: The rows cannot be held in this format.
            RunError: The disk is full, or the run is damaged.
        """


def exporter_names() -> tuple[str, ...]:
    """The names of all installed exporters, sorted; nothing is imported."""
    return EXPORTERS.names()


def load_exporter(name: str, options: Mapping[str, Any] | None = None) -> Exporter:
    """Make the exporter of this name.

    Args:
        name: Name of an entry point in the group `terrasynth.exporters`.

    Raises:
        InputError: The name or an option is unknown, or an option's value is refused.
    """
    exporter = EXPORTERS.make(name, options or {})
    if not isinstance(exporter, Exporter):
        raise TypeError(f"exporter {name!r} lacks a part of the Exporter protocol (name, own, data_files, load, loses, "
                        "options, write)")
    return exporter


def whole_number(option: str, value: object) -> int:
    """An option's value as a number above 0.

    Raises:
        InputError: It is none.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InputError(f"option {option} {value!r} is no whole number above 0; write {option}=1000")
    return value
