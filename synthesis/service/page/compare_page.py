"""The page Compare: two runs side by side, where they had the same prompts, and what differs in their recipes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import Query, Request
from starlette.responses import Response

from terrasynth.synthesis.service.attempts import with_texts
from terrasynth.synthesis.service.context import Service, ServiceOf
from terrasynth.synthesis.service.data_sets import DataSet
from terrasynth.synthesis.service.page.pages import page_router
from terrasynth.synthesis.service.page.rendering import render
from terrasynth.synthesis.service.row_queries import Row, RowPage, RowQuery, page

SHOWN = 12
Name = Annotated[str, Query(max_length=255)]
router = page_router()


@dataclass(frozen=True)
class Pair:
    """The same prompt in two runs.

    Attributes:
        left: Its row in the first.
        right: In the second.
    """

    left: Row
    right: Row


@router.get("/compare")
def compare(
    request: Request, service: ServiceOf, a: Name = "", b: Name = "", label: Name = "", after_a: Name = "",
    after_b: Name = "",
) -> Response:
    """Two runs: figures, differences, and images of the same prompts."""
    names = service.data_sets.names()
    chosen = [name for name in (a, b) if name]
    if len(chosen) < 2:
        return render(request, "compare.html.j2", names=names, a=a, b=b, both=None)
    both = [service.data_sets.one(name) for name in chosen]
    recipes = [service.data_sets.recipe(name).tree() for name in chosen]
    left, right = ({each.label: each for each in about.classes} for about in both)
    labels = [name for name in left if name in right]
    shown = label if label in labels else labels[0] if labels else ""
    empty = RowPage((), None)
    pages = [_rows(service, about, shown, after) if shown else empty
             for about, after in zip(both, (after_a, after_b), strict=True)]
    pairs = list(_pairs(service, both, pages))
    more = {"a": a, "b": b, "label": shown, "after_a": pages[0].next or "", "after_b": pages[1].next or ""}
    return render(
        request, "compare.html.j2", names=names, a=a, b=b, both=both, labels=labels, label=shown, pairs=pairs,
        more=urlencode(more) if all(each.next for each in pages) else "",
        classes=[(left[name], right[name]) for name in labels],
        differences=list(differences(recipes[0], recipes[1])),
    )


def differences(left: Any, right: Any, place: str = "") -> Iterator[tuple[str, str, str]]:  # noqa: ANN401
    """Where two recipes differ: the place, and what each has there.

    Args:
        left: Plain data of the first.
        right: Of the second.
        place: Where these stand in the recipe.

    Example:
        >>> from terrasynth.synthesis.service.page.compare_page import differences
        >>> list(differences({"seed": 0, "generator": {"steps": 4}}, {"seed": 0, "generator": {"steps": 8}}))
        [('generator.steps', '4', '8')]
    """
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        for key in dict.fromkeys((*left, *right)):
            yield from differences(left.get(key), right.get(key), f"{place}.{key}" if place else str(key))
    elif isinstance(left, list) and isinstance(right, list) and all(isinstance(each, Mapping) for each in left + right):
        for number in range(max(len(left), len(right))):
            one, other = (each[number] if number < len(each) else None for each in (left, right))
            yield from differences(one, other, f"{place}.{number}")
    elif left != right:
        yield place, _written(left), _written(right)


def _written(value: object) -> str:
    return "nothing" if value is None else ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _pairs(service: Service, both: Sequence[DataSet], pages: Sequence[RowPage]) -> Iterator[Pair]:
    """Attempts with the same text in both: attempt k of one is beside attempt k of the other."""
    found = [{row.k: row for row in with_texts(service.data_sets, about.name, rows.rows)}
             for about, rows in zip(both, pages, strict=True)]
    for k in sorted(found[0].keys() & found[1].keys()):
        if found[0][k].text == found[1][k].text:
            yield Pair(found[0][k], found[1][k])


def _rows(service: Service, about: DataSet, label: str, after: str) -> RowPage:
    if not about.drawn:
        return RowPage((), None)
    index, _ = service.data_sets.index(about.name)
    with index.reading() as connection:
        return page(connection, RowQuery(label, after=after or None, limit=SHOWN))
