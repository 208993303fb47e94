"""Read `Example:` of our docstrings as the section `Examples:`, which griffe shows as code."""

from __future__ import annotations

import re

import griffe


class ExampleSections(griffe.Extension):
    """Renames the section before docstrings are parsed."""

    def on_object(self, *, obj: griffe.Object, **_: object) -> None:
        """See `griffe.Extension`."""
        if obj.docstring is not None:
            obj.docstring.value = re.sub(r"^Example:$", "Examples:", obj.docstring.value, flags=re.MULTILINE)
