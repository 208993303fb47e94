"""A table that renders itself: as lines for a terminal, as Markdown and as HTML."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from html import escape

from terrasynth.eval.markdown import Ready, row

NONE = "\u2013"
"""What a page shows in place of an empty cell."""

_NUMBER = re.compile("[-+<>]? ?\\d[\\d.,]*(e[-+]?\\d+)?( ?%| dB)?( (\u2013|/|of|to) [-+]?[\\d.,]+)?( \\[[^]]*\\])?"
                     "|[\u2013-]?")
_HIDDEN = str.maketrans("`*", "\ue060\ue02a")  # of the private use area
_SHOWN = {hidden: sign for sign, hidden in _HIDDEN.items()}
_CODE, _STRONG = re.compile(r"`([^`]+)`"), re.compile(r"\*\*(.+?)\*\*")


@dataclass(frozen=True)
class Cell:
    """A cell of more than a text.

    Attributes:
        small: In small print below the text; after it where there is one size of print.
        kind: Class of the style sheet; "verdict" frames the text.
        picture: HTML above the text, such as a bar; pages alone have it.
        link: Place on the page that the text leads to.
    """

    text: str
    small: str = ""
    kind: str = ""
    picture: str = ""
    link: str = ""

    def __str__(self) -> str:
        return f"{self.text} {self.small}" if self.small else self.text

    def html(self) -> str:
        """Everything in it, escaped."""
        words = escape(self.text or ("" if self.picture or self.small else NONE))
        if self.kind == "verdict":
            words = badge(self.text)
        if self.link:
            words = f'<a href="#{escape(self.link)}">{words}</a>'
        return self.picture + words + (f"<small>{escape(self.small)}</small>" if self.small else "")


@dataclass(frozen=True)
class Table:
    """Rows of cells below the names of their columns.

    Attributes:
        head: The names of the columns; empty for names with their values.
        rows: As many cells a row as there are columns.
        title: What the table is of; "" where the section says it.
        below: Column -> the column in whose cells a page shows it in small print.
        key: Class of the style sheet -> what is drawn in its color in the cells of a page.

    Example:
        >>> from terrasynth.eval.table import Table
        >>> table = Table(("class", "n"), (("beach", "3"), ("river", "12")))
        >>> print(table.markdown())
        | class | n |
        | --- | --- |
        | beach | 3 |
        | river | 12 |
        >>> table.lines(names=("n",))
        ['beach  n 3', 'river  n 12']
    """

    head: tuple[str, ...]
    rows: tuple[tuple[str | Cell, ...], ...]
    title: str = ""
    below: Mapping[str, str] = field(default_factory=dict)
    key: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of_settings(cls, settings: Mapping[str, object]) -> Table:
        """Names with their values."""
        return cls((), tuple((name, Cell(str(value), kind="setting")) for name, value in settings.items()))

    def lines(self, names: Collection[str] = ()) -> list[str]:
        """A line a row; empty cells are left out.

        Args:
            names: Columns whose name stands before their cells.
        """
        width = max(len(str(cells[0])) for cells in self.rows)
        return [
            f"{first!s:{width}}  " + "; ".join(f"{name} {cell}" if name in names else str(cell)
                                               for name, cell in zip(self.head[1:], rest, strict=True) if str(cell))
            for first, *rest in self.rows
        ]

    def columns(self) -> list[str]:
        """A line for the head and for each row, the columns of one width each."""
        lines = [[str(cell) for cell in cells] for cells in (self.head, *self.rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
                for line in lines]

    def markdown(self) -> str:
        """A table of Markdown, in which cells of plain text mean none of its signs."""
        head = self.head or ("setting", "value")
        return "\n".join([row(head), row([Ready("---")] * len(head)), *map(row, self.rows)])

    def html(self) -> str:
        """A table in a frame that scrolls where the page is narrow; columns of numbers are set flush right."""
        head = self.head or ("", "")
        columns = [place for place, name in enumerate(head) if name not in self.below]
        under = {head.index(above): head.index(name) for name, above in self.below.items()}
        cells = [[each if isinstance(each, Cell) else Cell(each) for each in one] for one in self.rows]
        named = any(each.kind == "wide" for one in cells for each in one)  # whose rows are stacked on a phone
        numbers = {place for place in columns[1:] if self.head and all(map(_is_number, (one[place] for one in cells)))}

        def td(one: list[Cell], place: int) -> str:
            below = under.get(place)
            small = f"<small>{escape(str(one[below]) or f'no {head[below]}')}</small>" if below else ""
            name = f' data-name="{escape(head[place])}"' if named else ""
            return f"<td{_class(one[place].kind, place in numbers)}{name}>{one[place].html()}{small}</td>"

        names = "".join(f'<th scope="col"{_class("", place in numbers)}>{escape(head[place])}</th>'
                        for place in columns)
        body = "".join(f"<tr>{''.join(td(one, place) for place in columns)}</tr>\n" for one in cells)
        label = escape(self.title or "Table")
        return (f'{key_html(self.key)}<div class="scroll" tabindex="0" role="region" aria-label="{label}"><table>\n'
                f"{f'<thead><tr>{names}</tr></thead>' if any(head) else ''}<tbody>\n{body}</tbody></table></div>\n")


def span(low: float | None, high: float | None, form: str) -> str:
    """An interval, both ends in one format; "" without ends."""
    return "" if low is None or high is None else f"{low:{form}} {NONE} {high:{form}}"


def bar(parts: Iterable[tuple[str, float, float]], label: str = "") -> str:
    """A horizontal bar as HTML, for a `Cell`.

    Args:
        parts: Class of the style sheet, first and last place between 0 and 1; a tick or a dot has one place twice.
        label: What the bar says; "" where the row says it.
    """
    inside = "".join(f'<i class="{kind}" style="left:{100 * low:.2f}%;width:{100 * (high - low):.2f}%"></i>'
                     for kind, low, high in parts)
    about = f'role="img" aria-label="{escape(label)}" title="{escape(label)}"' if label else 'aria-hidden="true"'
    return f'<div class="bar" {about}>{inside}</div>'


def key_html(key: Mapping[str, str]) -> str:
    """Colors with what they stand for; "" for none."""
    names = "".join(f'<span><i class="{kind}"></i>{escape(name)}</span>' for kind, name in key.items())
    return f'<p class="key">{names}</p>' if key else ""


def badge(word: str) -> str:
    """A verdict in a frame, as HTML; its first word is its class in the style sheet."""
    return f'<b class="badge {escape(word.split()[0])}">{escape(word)}</b>'


def prose(text: str) -> str:
    """A sentence of ours as HTML: `code` and **strong** are marked up, all else is shown as it is."""
    marked = _STRONG.sub(r"<b>\1</b>", _CODE.sub(r"<code>\1</code>", escape(text, quote=False)))
    return marked.translate(_SHOWN)


def verbatim(text: str) -> str:
    """A text of others for a place in `prose`: its backticks and asterisks mark nothing up."""
    return text.translate(_HIDDEN)


def _is_number(cell: Cell) -> bool:
    return bool(not cell.picture and _NUMBER.fullmatch(cell.text) and _NUMBER.fullmatch(cell.small))


def _class(kind: str, number: bool) -> str:
    names = " ".join(filter(None, (kind, "number" * number)))
    return f' class="{names}"' if names else ""
