"""Markdown of cards as HTML: headings, paragraphs, tables, lists, quotes, code, links and images; all else is text."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from urllib.parse import quote

from markupsafe import Markup, escape

_HEADER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_HEADING = re.compile(r"(#{1,6}) (.*)")
_ITEM = re.compile(r"(?:[-*]|\d+\.) (.*)")
_ENDS_A_PARAGRAPH = ("#", "|", ">", "```", "- ", "* ")
_QUOTED = re.compile(r"\A(?:> ?)+")
_RULE = re.compile(r"\|?(?: *:?-{2,}:? *\|)+ *:?-{2,}:? *\|?|\|(?: *:?-+:? *\|)+")
_SPAN = re.compile(r"`([^`]+)`|!\[([^\]]*)\]\(([^)\s]+)\)|\[([^\]]+)\]\(([^)\s]+)\)|\*\*([^*]+)\*\*|\*([^*\s][^*]*)\*")
_PICTURE = re.compile(r"report/[\w.-]+\.png")
DEEPER = 2  # the page has headings of its own above


def card_html(text: str, data_set: str) -> Markup:
    """A card as HTML. Nothing in it is taken for HTML, and only images of its own report are shown.

    Args:
        text: Markdown, with or without a YAML header.
        data_set: Name of the data set, for the addresses of its images.

    Example:
        >>> from terrasynth.synthesis.service.page.markdown import card_html
        >>> str(card_html("Of `beach` <b>only</b>.", "coast"))
        '<p>Of <code>beach</code> &lt;b&gt;only&lt;/b&gt;.</p>'
    """
    lines = _COMMENT.sub("", _HEADER.sub("", text.replace("\r\n", "\n"))).split("\n")
    place = f"/v1/data-sets/{quote(data_set, safe='')}/"
    return Markup("\n").join(_blocks(lines, lambda line: _spans(line, place)))


def _blocks(lines: list[str], spans: Callable[[str], Markup]) -> Iterator[Markup]:
    at = 0
    while at < len(lines):
        line, start = lines[at], at
        at += 1
        if line.startswith("```"):
            while at < len(lines) and not lines[at].startswith("```"):
                at += 1
            yield _code(lines[start + 1 : at])
            at += 1
        elif line.startswith("    "):
            while at < len(lines) and lines[at].startswith("    "):
                at += 1
            yield _code([each[4:] for each in lines[start:at]])
        elif heading := _HEADING.fullmatch(line):
            level = min(6, len(heading[1]) + DEEPER)
            yield Markup("<h{0}>{1}</h{0}>").format(level, spans(heading[2]))
        elif line.startswith("|") and at < len(lines) and _RULE.fullmatch(lines[at].strip()):
            while at < len(lines) and lines[at].startswith("|"):
                at += 1
            yield _table(lines[start:at], spans)
        elif _ITEM.fullmatch(line):
            while at < len(lines) and (_ITEM.fullmatch(lines[at]) or lines[at].startswith("  ")):
                at += 1
            items = _joined(lines[start:at])
            yield Markup("<ul>{}</ul>").format(Markup("").join(Markup("<li>{}</li>").format(spans(each))
                                                               for each in items))
        elif line.startswith(">"):
            while at < len(lines) and lines[at].startswith(">"):
                at += 1
            inside = [_QUOTED.sub("", each) for each in lines[start:at]]  # all at once, however deep
            yield Markup("<blockquote>{}</blockquote>").format(Markup("\n").join(_blocks(inside, spans)))
        elif line.strip():
            while at < len(lines) and lines[at].strip() and not lines[at].startswith(_ENDS_A_PARAGRAPH):
                at += 1
            yield Markup("<p>{}</p>").format(spans(" ".join(lines[start:at])))


def _joined(lines: list[str]) -> list[str]:
    """The items of a list, each on one line."""
    found: list[str] = []
    for line in lines:
        item = _ITEM.fullmatch(line)
        if item:
            found.append(item[1])
        else:
            found[-1] += f" {line.strip()}"
    return found


def _code(lines: list[str]) -> Markup:
    return Markup('<pre tabindex="0"><code>{}</code></pre>').format("\n".join(lines))


def _table(lines: list[str], spans: Callable[[str], Markup]) -> Markup:
    head, _, *rows = ([cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines)
    cells = Markup("").join(Markup('<th scope="col">{}</th>').format(spans(each)) if each else Markup("<td></td>")
                            for each in head)
    body = Markup("").join(
        Markup("<tr>{}</tr>").format(Markup("").join(Markup("<td>{}</td>").format(spans(each)) for each in row))
        for row in rows)
    return Markup('<div class="scroll" tabindex="0" role="region" aria-label="Table"><table><thead><tr>{}</tr></thead>'
                  "<tbody>{}</tbody></table></div>").format(cells, body)


def _spans(text: str, place: str) -> Markup:
    found, end = Markup(""), 0
    for match in _SPAN.finditer(text):
        found += escape(text[end : match.start()]) + _span(match, place)
        end = match.end()
    return found + escape(text[end:])


def _span(match: re.Match[str], place: str) -> Markup:
    code, alt, image, words, address, strong, slanted = match.groups()
    if code is not None:
        return Markup("<code>{}</code>").format(code)
    if image is not None:
        if not _PICTURE.fullmatch(image):
            return escape(alt)
        return Markup('<img src="{}" alt="{}" loading="lazy">').format(place + image, alt)
    if words is not None:
        if address.startswith(("https://", "http://")):
            return Markup('<a href="{}" rel="noreferrer noopener">{}</a>').format(address, words)
        return escape(words)
    return Markup("<b>{}</b>").format(strong) if strong is not None else Markup("<i>{}</i>").format(slanted)
