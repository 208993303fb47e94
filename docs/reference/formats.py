"""Formats of data: which are read, and which are written with what they leave out."""

from __future__ import annotations

from types import ModuleType

from reference.docstrings import attributes, read
from reference.markdown import block, code, page, table
from reference.plugins import options_table, own
from reference.settings import HEAD, keys
from terrasynth.synthesis.export.registry import EXPORTERS
from terrasynth.training.data import Pair, layouts
from terrasynth.training.data.settings import DataSettings

READERS = tuple(each for each in vars(layouts).values() if isinstance(each, ModuleType)
                and each.__name__.startswith("terrasynth.training.data."))  # one file a format


def format_page() -> str:
    """What is read and what is written."""
    read_ = (f"- {read(module).summary}" for module in READERS)
    pair = ((code(name), words) for name, words in attributes(Pair).items())
    parts = [
        "# Data formats", "Formats that are read by `train`, `eval` and `export --merge`, and written by `export`.",
        "## Formats that are read", f"A folder is read as the first of these that it holds: {layouts.KNOWN}. What each "
        "holds, and what is refused, is on [the page on real data](../data.md).", "\n".join(read_),
        "### What a reader gives", read(Pair).text, table(("attribute", "meaning"), pair),
        "### A data YAML", "What is named as data may be a YAML file that says where the data is and what no file of "
        "it says.", table(HEAD, ((code(key.place), *key[1:]) for key in keys(DataSettings))),
        "## Formats that are written", "`terrasynth export RUN --format FORMAT --out FOLDER`; which to take is on [the "
        "page on exports](../export.md). Other packages may add formats (entry-point group `terrasynth.exporters`).",
    ]
    exporters = own(EXPORTERS)
    parts.append(table(("format", "what it leaves out", "`load_dataset` reads it"), (
        (code(name), thing.loses or "nothing", "no" if thing.data_files is None else "yes")
        for name, thing in exporters.items())))
    for name, thing in exporters.items():
        parts += [f"### {name}", read(thing).text, f"It leaves out: {thing.loses or 'nothing'}.",
                  getattr(thing, "conventions", ""), options_table(thing), block(thing.load, "python")]
    return page(*parts)
