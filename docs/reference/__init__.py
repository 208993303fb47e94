"""The reference pages of the site, made from the code: nothing here needs more than TerraSynth itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from reference.api import api_pages
from reference.commands import command_page
from reference.events import event_page
from reference.formats import format_page
from reference.plugins import expander_page
from reference.protocols import protocol_page
from reference.settings import check_page, filter_page, recipe_page
from reference.training import preset_page

PAGES: Mapping[str, Callable[[], str]] = {
    "reference/recipe.md": recipe_page,
    "reference/filters.md": filter_page,
    "reference/expanders.md": expander_page,
    "reference/checks.md": check_page,
    "reference/formats.md": format_page,
    "reference/presets.md": preset_page,
    "reference/events.md": event_page,
    "reference/command-line.md": command_page,
    **api_pages(),
    "reference/python/plug-ins.md": protocol_page,
}
"""Path in the site -> what makes the page's Markdown, in the order of the navigation."""
