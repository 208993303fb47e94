"""What a run tells whoever listens."""

from __future__ import annotations

import dataclasses
from typing import Any, get_args

from reference.docstrings import attributes, read
from reference.markdown import code, page, table
from terrasynth.synthesis import events

RECORDS = (events.ClassCount, events.RunResult)


def event_page() -> str:
    """Every event, in the order in which a run tells them, and the records that they hold."""
    parts = ["# Events", "`terrasynth.run(recipe, out, on_event=listener)` calls the listener with each of these; the "
             "command line draws its progress from them."]
    for event in get_args(events.Event):
        parts += _section(event)
    parts += ["## Records", "What events hold."]
    for record in RECORDS:
        parts += _section(record, "###")
    return page(*parts)


def _section(thing: Any, heading: str = "##") -> list[str]:  # noqa: ANN401 - a dataclass
    words = attributes(thing)
    rows = [(code(field.name), code(field.type), words.get(field.name, "")) for field in dataclasses.fields(thing)]
    more = [(code(name), "property", read(vars(thing)[name].fget).summary) for name in vars(thing)
            if isinstance(vars(thing)[name], property)]
    return [f"{heading} {thing.__name__}", read(thing).text, table(("field", "type", "meaning"), rows + more)]
