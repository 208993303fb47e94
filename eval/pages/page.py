"""A page of sections that opens without a server: tables, charts, galleries and notes, rendered by one template."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from terrasynth.eval.pages.charts import Chart
from terrasynth.eval.pages.run_images import RunImages
from terrasynth.eval.table import Table, badge, prose

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Notes:
    """A list of sentences, in which `code` and **strong** are marked up.

    Attributes:
        title: What they are about, or "".
        fold: Whether a reader opens them by their title.
        ordered: Whether they are numbered from 1.
    """

    items: tuple[str, ...]
    title: str = ""
    fold: bool = False
    ordered: bool = False


@dataclass(frozen=True)
class Picture:
    """An image, or several side by side, with what is to be said of them.

    Attributes:
        images: Address, relative or a data URI, and what it says to those who do not see it.
        caption: Lines below, in which `code` and **strong** are marked up.
        dark: Address of the same image for dark pages; "" where one suits both.
    """

    images: tuple[tuple[str, str], ...]
    caption: tuple[str, ...] = ()
    dark: str = ""


@dataclass(frozen=True)
class Gallery:
    """Images in rows, as many a row as the page is wide.

    Attributes:
        pictures: In the order to show.
        title: What they have in common, or "".
        width: Least width of one in pixels.
        fold: Whether a reader opens them by their title.
    """

    pictures: tuple[Picture, ...]
    title: str = ""
    width: int = 150
    fold: bool = False


@dataclass(frozen=True)
class Links:
    """Files beside the page.

    Attributes:
        items: Address and words of each.
        title: What they are, or "".
    """

    items: tuple[tuple[str, str], ...]
    title: str = ""


Part = str | Table | Chart | Notes | Gallery | Links | RunImages | tuple["Part", ...]
"""What a section is made of; a text is a paragraph, and parts in a tuple stand side by side."""


@dataclass(frozen=True)
class Section:
    """One subject of a page.

    Attributes:
        parts: What is said of it.
        verdict: A word that judges it, beside its title; "" for none.
    """

    title: str
    parts: tuple[Part, ...]
    verdict: str = ""


@dataclass(frozen=True)
class Page:
    """A report.

    Attributes:
        title: Of the window.
        heading: What a reader should know first.
        about: What the page is about, above the heading.
        sections: In the order to show, those without parts left out; the first has the place `#section-1`.
        identity: Hash of what decides an image; "" where there is none.
        lead: Sentences below the heading.
        tiles: Figures to see at a glance: the figure, its name, and what stands beside it in small print.
        warning: What makes the figures worth less, paragraphs with an empty line between them, or "".
        script: What runs on the page, or "" for a page without scripts; see `terrasynth.eval.pages.run_images.script`.

    Example:
        >>> from terrasynth.eval.pages.page import Notes, Page, Section
        >>> page = Page("demo", "Is it any good?", "demo", (Section("Why", (Notes(("**Yes**: see `data/`.",)),)),))
        >>> print(page.markdown().splitlines()[-1])
        - **Yes**: see `data/`.
        >>> "<li><b>Yes</b>: see <code>data/</code>.</li>" in page.html()
        True
    """

    title: str
    heading: str
    about: str
    sections: tuple[Section, ...]
    identity: str = ""
    lead: tuple[str, ...] = ()
    tiles: tuple[tuple[str, str, str], ...] = ()
    warning: str = ""
    script: str = ""

    def html(self) -> str:
        """The page in one file; nothing is loaded from elsewhere but the images of its galleries."""
        sections = [each for each in self.sections if each.parts]
        return _environment().get_template("page.html.j2").render(page=self, sections=sections)

    def markdown(self) -> str:
        """The page without its charts and images."""
        parts = [f"# {self.heading}", self.warning, *self.lead]
        for section in filter(lambda each: each.parts, self.sections):
            parts += [f"## {section.title}", *map(part_markdown, section.parts)]
        return "\n\n".join(filter(None, parts)) + "\n"


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined,
                              trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)
    environment.filters |= {"prose": prose, "part": part_html, "badge": badge}
    return environment


def part_html(part: Part) -> str:
    """A part below its title."""
    match part:
        case str():
            return f"<p>{prose(part)}</p>\n"
        case tuple():
            return f'<div class="grid">{"".join(f"<div>{part_html(each)}</div>" for each in part)}</div>\n'
        case Notes():
            tag, title = "ol" if part.ordered else "ul", escape(part.title)
            items = f"<{tag}>{''.join(f'<li>{prose(each)}</li>' for each in part.items)}</{tag}>\n"
            if part.fold:
                return f"<details><summary>{title}</summary>{items}</details>\n"
        case Gallery():
            items = (f'<div class="gallery" style="--width:{part.width}px">'
                     f"{''.join(map(_picture, part.pictures))}</div>\n")
            if part.fold:
                return f"<details><summary>{escape(part.title)}</summary>{items}</details>\n"
        case Links():
            items = f"""<p class="links">{' '.join(f'<a href="{escape(address)}">{escape(words)}</a>'
                                                   for address, words in part.items)}</p>\n"""
        case _:
            items = part.html()
    return (f"<h3>{escape(part.title)}</h3>\n" if part.title else "") + items


def part_markdown(part: Part) -> str:
    """A part below its title; "" where there is nothing but images."""
    match part:
        case str():
            return part
        case tuple():
            return "\n\n".join(filter(None, map(part_markdown, part)))
        case Chart() | Gallery() | RunImages():
            return ""
        case Links():
            text = "\n".join(f"- {words}: `{address}`" for address, words in part.items)
        case Notes():
            text = "\n".join(f"- {each}" for each in part.items)
        case _:
            text = part.markdown()
    return f"### {part.title}\n\n{text}" if part.title else text


def settings_section(settings: Mapping[str, object], title: str = "Settings") -> Section:
    """The last section of most reports: names with their values."""
    return Section(title, (Table.of_settings(settings),))


def image_uri(image: NDArray[np.uint8], side: int | None = None) -> str:
    """An image `uint8` (H, W, 3) as a data URI in PNG, made smaller where it has more than `side` pixels a side."""
    picture = Image.fromarray(image)
    if side is not None:
        picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return png_uri(buffer.getvalue())


def png_uri(png: bytes) -> str:
    """A PNG file as a data URI."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def _picture(one: Picture) -> str:
    images = "".join(f'<img src="{escape(source)}" alt="{escape(words)}">' for source, words in one.images)
    if one.dark:
        images = (f'<picture><source srcset="{escape(one.dark)}" media="(prefers-color-scheme: dark)">'
                  f"{images}</picture>")
    caption = f"<figcaption>{'<br>'.join(map(prose, one.caption))}</figcaption>" if one.caption else ""
    return f'<figure><div class="images">{images}</div>{caption}</figure>'
