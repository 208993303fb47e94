"""What mkdocs calls while it builds the site: pages made from the code, files outside of docs/, links, navigation."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

from reference import PAGES

ROOT = Path(__file__).parents[1]
START = "docs/README.md"
# Pages outside of docs/ -> their place in the site. A link to another file of the repository becomes its path.
OUTSIDE: Mapping[str, str] = {
    "README.md": "repository/overview.md", "ARCHITECTURE.md": "repository/architecture.md",
    "CONTRIBUTING.md": "repository/contributing.md", "CHANGELOG.md": "repository/changelog.md",
    **{str(path.relative_to(ROOT)): f"models/{path.parent.name}.md"
       for package in ("synthesis/weights", "eval/weights", "eval/references")
       for path in sorted((ROOT / package).glob("**/README.md"))},
}
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^(```+|~~~+)")
_NO_CI = re.compile(r"^```bash no-ci$", re.MULTILINE)
_PAGE = re.compile(r"\]\(([\w/-]+\.md)[)#]")
_TITLE = re.compile(r"^# (.+)$", re.MULTILINE)
_RESOURCE = re.compile(r"<(?:link|script|img|iframe|source)\b[^>]*?\b(?:href|src)=[\"']?(?:https?:)?//[^>]*>", re.I)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """The navigation: pages in the order in which docs/README.md names them, then the reference."""
    text = (ROOT / START).read_text(encoding="utf-8")
    named = list(dict.fromkeys(_PAGE.findall(text)))
    guides = [name for name in named if not name.startswith("notes/")]
    made: list[Any] = [name for name in PAGES if "/python/" not in name]
    python = [{_title(PAGES[name]()): name} for name in PAGES if "/python/" in name]
    config.nav = [
        {"Start": "README.md"}, {"Guides": guides}, {"Reference": [*made, {"Python": python}]},
        {"Notes": [name for name in named if name.startswith("notes/")]},
        {"Models": [place for place in OUTSIDE.values() if place.startswith("models/")]},
        {"Repository": [place for place in OUTSIDE.values() if place.startswith("repository/")]},
    ]
    return config


def _title(text: str) -> str:
    found = _TITLE.search(text)
    return found[1] if found else ""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what is made from the code, the pages outside of docs/ and the images that they show."""
    for place, make in PAGES.items():
        files.append(File.generated(config, place, content=make()))
    for source, place in OUTSIDE.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, place, content=text))
        for picture, _, target in _LINK.findall(text):
            path = ROOT / posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
            if picture and path.is_file() and not path.is_relative_to(ROOT / "docs"):
                there = f"{posixpath.dirname(place)}/{posixpath.basename(place)[:-3]}-{path.name}"
                files.append(File.generated(config, there, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: object) -> str:  # noqa: ANN401 - mkdocs' own
    """Links as the site has them; blocks that CI leaves out look like others."""
    place = page.file.src_uri
    source = next((own for own, there in OUTSIDE.items() if there == place), f"docs/{place}")
    return relinked(_NO_CI.sub("```bash", markdown), source, place)


def relinked(text: str, source: str, place: str) -> str:
    """Markdown of a file of the repository, its links turned to where their targets are in the site.

    Args:
        text: The Markdown.
        source: Path of the file in the repository.
        place: Path of its page in the site's sources.
    """
    def turned(match: re.Match[str]) -> str:
        picture, words, target = match.groups()
        path, mark, anchor = target.partition("#")
        if not path or "://" in target or target.startswith("mailto:"):
            return match[0]
        inside = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        if picture and source in OUTSIDE and not inside.startswith("docs/"):
            return f"![{words}]({posixpath.basename(place)[:-3]}-{posixpath.basename(path)})"
        there = OUTSIDE.get(inside, inside.removeprefix("docs/") if inside.startswith("docs/") else "")
        if not there or (inside.startswith("docs/") and not (ROOT / inside).is_file() and inside[5:] not in PAGES):
            if not (ROOT / inside).exists():
                return match[0]  # mkdocs says that it leads nowhere
            return words if f"`{inside}`" in words else f"{words} (`{inside}`)"
        if words == posixpath.basename(path) and (ROOT / inside).is_file():
            words = _title((ROOT / inside).read_text(encoding="utf-8")) or words
        return f"{picture}[{words}]({posixpath.relpath(there, posixpath.dirname(place) or '.')}{mark}{anchor})"

    lines, fence = [], ""
    for line in text.split("\n"):
        if match := _FENCE.match(line.lstrip()):
            fence = "" if fence else match[1]
        lines.append(line if fence else _LINK.sub(turned, line))
    return "\n".join(lines)


def on_post_page(output: str, page: Any, **_: object) -> str:  # noqa: ANN401 - mkdocs' own
    """Refuse a page that would fetch something from elsewhere.

    Raises:
        PluginError: It would.
    """
    if found := _RESOURCE.search(output):
        raise PluginError(f"{page.file.src_uri} fetches {found[0]:.200}; the site has to hold all that it shows")
    return output
