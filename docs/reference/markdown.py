"""Tables and code as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table, or nothing where there is no row; bars in cells are escaped."""
    lines = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    return "" if not lines else "\n".join(f"| {' | '.join(row)} |" for row in [list(head), ["---"] * len(head), *lines])


def code(text: object) -> str:
    """Text as code within a line."""
    return f"`{text}`" if "`" not in str(text) else f"`` {text} ``"


def block(text: str, language: str = "") -> str:
    """Text as a block of code."""
    return f"```{language}\n{text.rstrip()}\n```"


def page(*parts: str) -> str:
    """Parts with a line between them; those that are empty are left out."""
    return "\n\n".join(part for part in parts if part) + "\n"
