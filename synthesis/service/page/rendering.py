"""From templates to pages: names are escaped, figures are written for people."""

from __future__ import annotations

import hashlib
import math
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from fastapi import Request
from starlette.responses import HTMLResponse

from terrasynth.prompts.scenes.ontology import PROFILES, load_ontology
from terrasynth.synthesis.core.progress import duration

HERE = Path(__file__).parent
STATIC = HERE / "static"
DASH = "\N{EN DASH}"
STATES: Mapping[str, tuple[str, str]] = {
    "queued": ("waiting", "○"), "running": ("running", "◐"), "busy": ("running elsewhere", "◐"),
    "finished": ("finished", "●"), "succeeded": ("succeeded", "●"), "missed_target": ("missed target", "▲"),
    "waits_for_review": ("waits for review", "◇"),
    "stopped": ("stopped", "■"), "canceled": ("canceled", "■"), "failed": ("failed", "✕"),
    "set_aside": ("set aside", "✕"), "damaged": ("damaged", "✕"),
}
"""What a state is called, and a sign, so that color is not the only difference."""


def render(request: Request, template: str, status: int = 200, /, **context: Any) -> HTMLResponse:  # noqa: ANN401
    """A page.

    Args:
        request: What it answers.
        **context: What the template shows.
    """
    page = _environment().get_template(template).render(request=request, path=request.url.path, **context)
    return HTMLResponse(page, status)


@cache
def static_files() -> Mapping[str, tuple[bytes, str]]:
    """The files beside the pages, by name, each with a hash of its content."""
    found = {path.name: path.read_bytes() for path in sorted(STATIC.iterdir()) if path.is_file()}
    return {name: (content, hashlib.sha256(content).hexdigest()[:16]) for name, content in found.items()}


def size(count: float) -> str:
    """Bytes as people say them."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" or count >= 10 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def ago(moment: datetime | None) -> str:
    """How long ago a moment (UTC) is."""
    if moment is None:
        return "never"
    seconds = (datetime.now(UTC) - moment).total_seconds()
    return "just now" if seconds < 5 else f"{duration(seconds)} ago"


def between(least: float, most: float, text: Any) -> str:  # noqa: ANN401 - a function of a number
    """A range, once where both ends read the same."""
    first, last = text(least), text(most)
    return str(first) if first == last else f"{first} to {last}"


@cache
def _names() -> Mapping[str, str]:
    return {label: spec.name for profile in PROFILES for label, spec in load_ontology(profile).classes.items()}


def spoken(label: str) -> str:
    """How people call a class: `mobilehomepark` is "mobile home park"; others as they are written."""
    return _names().get(label, label.replace("_", " "))


def share(part: float, whole: float | None) -> str:
    """A share in percent; a dash where there is no whole."""
    return f"{100 * part / whole:.0f} %" if whole else DASH


def plain(value: float) -> str:
    """A figure with two digits; what rounds to nothing has no sign."""
    return f"{round(value, 2) + 0.0:.2f}"


def score(value: float | None) -> str:
    """A score; a dash where a filter had nothing to compare with."""
    return DASH if value is None or math.isnan(value) else f"{value:.3f}"


def _asset(name: str) -> str:
    """The address of a file beside the pages; another where its content is another.

    Scripts import each other by their plain names, and a module under two addresses would run twice.
    """
    _, digest = static_files()[name]
    return f"/static/{name}" if name.endswith(".js") else f"/static/{name}?{digest}"


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE / "templates"), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )
    environment.filters.update(duration=duration, size=size, ago=ago, score=score, spoken=spoken)
    environment.globals.update(
        asset=_asset, states=STATES, share=share, between=between, plain=plain, duration=duration, size=size,
        fresh_key=lambda: secrets.token_urlsafe(12), count=lambda number: f"{number:,.0f}",
    )
    return environment
