"""The page Thresholds: what another threshold of a filter would take away, before it is written into the recipe."""

from __future__ import annotations

import sqlite3
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Query, Request
from starlette.responses import Response

from terrasynth.errors import one_line
from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.service.context import ServiceOf
from terrasynth.synthesis.service.page import recipe_form
from terrasynth.synthesis.service.page.pages import page_router, see_other
from terrasynth.synthesis.service.page.passing import Bound, bounds, changed, threshold_of, thresholds
from terrasynth.synthesis.service.page.rendering import render
from terrasynth.synthesis.service.page.scored import Scored, scores
from terrasynth.synthesis.service.page.typed import TypedForm, first, key_of
from terrasynth.synthesis.service.references import named
from terrasynth.synthesis.service.routes.parameters import DataSetName
from terrasynth.synthesis.service.row_queries import Row, RowQuery, counts, page
from terrasynth.synthesis.service.row_tables import Verdict
from terrasynth.synthesis.service.specs import RunSpec

SHOWN, BARS, STEPS, MOST_JOINING = 24, 48, 500, 5000
router = page_router()


@dataclass(frozen=True)
class Move:
    """What a threshold changes in one class.

    Attributes:
        accepted: Images that it has.
        leaves: Of them, those that would go.
        joins: Images that this filter rejected and would not reject.
    """

    label: str
    accepted: int
    leaves: int
    joins: int


@dataclass(frozen=True)
class Bar:
    """One bar of a histogram.

    Attributes:
        accepted: Accepted images, as a share of the highest bar.
        rejected: Rejected ones on top of them, likewise.
    """

    accepted: float
    rejected: float


def moves(scored: Sequence[Scored], rejected_here: Counter[str], bound: Bound, threshold: float
          ) -> list[Move]:
    """What a threshold changes, class by class.

    Args:
        scored: Class, verdict and score of each image that the filter was asked about.
        rejected_here: By class, the images that only this filter is known to reject and that would pass.
        threshold: Another threshold of it.

    Example:
        >>> from collections import Counter
        >>> from terrasynth.synthesis.service.page.passing import Bound
        >>> from terrasynth.synthesis.service.page.threshold_page import moves
        >>> from terrasynth.synthesis.service.page.scored import Scored
        >>> from terrasynth.synthesis.service.row_tables import Verdict
        >>> scored = [Scored("beach", Verdict.ACCEPTED, 0.3), Scored("beach", Verdict.ACCEPTED, 0.5)]
        >>> moves(scored, Counter(), Bound("alignment", 0, "min_score", True), 0.4)
        [Move(label='beach', accepted=2, leaves=1, joins=0)]
    """
    accepted, leaves = Counter[str](), Counter[str]()
    for label, verdict, score in scored:
        if verdict is Verdict.ACCEPTED:
            accepted[label] += 1
            leaves[label] += not bound.passes(score, threshold)
    labels = sorted({label for label, _, _ in scored})
    return [Move(label, accepted[label], leaves[label], rejected_here[label]) for label in labels]


def bars(scored: Sequence[Scored], least: float, most: float, count: int = BARS) -> list[Bar]:
    """A histogram of scores, accepted below rejected.

    Args:
        scored: As for `moves`.
        least: Lower end of the first bar.
        most: Upper end of the last.
    """
    good, bad = [0] * count, [0] * count
    for _, verdict, score in scored:
        place = min(count - 1, max(0, int((score - least) / (most - least) * count)))
        (good if verdict is Verdict.ACCEPTED else bad)[place] += 1
    highest = max(1, *(a + b for a, b in zip(good, bad, strict=True)))
    return [Bar(a / highest, b / highest) for a, b in zip(good, bad, strict=True)]


@router.get("/data-sets/{name}/thresholds")
def show(
    request: Request, service: ServiceOf, name: DataSetName,
    filter_: Annotated[str, Query(alias="filter", max_length=96)] = "",
    at: Annotated[float | None, Query(ge=-1e9, le=1e9, allow_inf_nan=False)] = None,
) -> Response:
    """The scores of a filter, and what leaves and joins at a threshold."""
    about, recipe = service.data_sets.one(name), service.data_sets.recipe(name)
    can = bounds(recipe)
    unable = [each for each in recipe.filter_names if each not in {bound.filter for bound in can}]
    if not about.drawn or not can:
        return render(request, "thresholds.html.j2", data_set=about, bound=None, can=can, unable=unable)
    bound = _bound(can, filter_)
    index, _ = service.data_sets.index(name)
    known = thresholds(index.run)
    with index.reading() as connection:
        scored = scores(connection, bound.filter)
        if not scored:  # nothing was judged by it yet
            return render(request, "thresholds.html.j2", data_set=about, bound=None, can=can, unable=unable)
        now = _now(known, bound, [label for label, _, _ in scored])
        least, most = scored[0][2], scored[-1][2]
        room = (most - least or 1) * 0.02
        least, most = least - room, most + room
        value = at if at is not None else now if now is not None else (least + most) / 2
        leaving, joining = _leaving(connection, scored, bound, value), _joining(connection, bound, value)
    lines = moves(scored, Counter(row.label for row in joining), bound, value)
    return render(
        request, "thresholds.html.j2", data_set=about, bound=bound, can=can, unable=unable, value=value, now=now,
        least=least, most=most, step=(most - least) / STEPS, lines=lines, leaving=leaving, joining=joining[:SHOWN],
        leaves=sum(line.leaves for line in lines), joins=len(joining), bars=bars(scored, least, most),
        written=recipe.filters[bound.place].describe(), target=recipe.target,
        by_class=len(set(known.get(bound.filter, {}).values())) > 1,
    )


@router.post("/data-sets/{name}/thresholds")
def write(service: ServiceOf, name: DataSetName, form: TypedForm) -> Response:
    """Write a threshold into the recipe and run it: images are judged again, and drawn until the target is met."""
    recipe = service.data_sets.recipe(name)
    bound = _bound(bounds(recipe), first(form, "filter"))
    try:
        threshold = round(float(first(form, "at")), 6)
    except ValueError as error:
        raise InputError(f"threshold {first(form, 'at')[:40]!r} is no number; drag the slider or type one") from error
    tree = with_threshold(named(recipe.tree(), service.places), bound, threshold)
    if first(form, "act") == "run":
        spec = RunSpec(kind="run", data_set=name, recipe=tree, shrink="shrink" in form)
        job, _ = service.create(spec, key=key_of(form))
        return see_other(f"/jobs/{job.id}")
    return Response(recipe_form.as_yaml(tree), media_type="application/yaml",
                    headers={"Content-Disposition": 'attachment; filename="recipe.yaml"'})


def with_threshold(tree: dict[str, Any], bound: Bound, threshold: float) -> dict[str, Any]:
    """A recipe with another threshold of one filter.

    Raises:
        InputError: The filter does not take it.
    """
    try:
        settings = changed(tree["filters"][bound.place], bound.setting, threshold)
    except ValueError as error:
        raise InputError(f"{bound.filter}: {bound.setting} {threshold:g} is not possible: {one_line(error)}") from error
    return tree | {"filters": [settings if place == bound.place else each
                               for place, each in enumerate(tree["filters"])]}


def _bound(can: Sequence[Bound], name: str) -> Bound:
    found = next((bound for bound in can if not name or bound.filter == name), None)
    if found is None:
        known = ", ".join(bound.filter for bound in can) or "none"
        raise InputError(f"filter {name[:40]!r} has no threshold here; there is {known}")
    return found


def _now(known: dict[str, Any], bound: Bound, labels: Sequence[str]) -> float | None:
    """The threshold that decided, where it is one for all classes; else the mean over the classes."""
    found = [value for label in sorted(set(labels)) if (value := threshold_of(known, bound.filter, label)) is not None]
    return sum(found) / len(found) if found else None


def _leaving(connection: sqlite3.Connection, scored: Sequence[Scored], bound: Bound,
             threshold: float) -> Sequence[Row]:
    """The accepted images that would go and are nearest to the threshold."""
    values = [score for _, verdict, score in scored if verdict is Verdict.ACCEPTED]
    gone = values[: bisect_left(values, threshold)] if bound.lowest else values[bisect_right(values, threshold):]
    if not gone:
        return ()
    nearest = gone[-SHOWN:] if bound.lowest else gone[:SHOWN]
    query = RowQuery(verdict=Verdict.ACCEPTED, filter=bound.filter, least=nearest[0], most=nearest[-1], order="score",
                     limit=SHOWN)
    found = page(connection, query).rows
    return found[::-1] if bound.lowest else found


def _joining(connection: sqlite3.Connection, bound: Bound, threshold: float) -> Sequence[Row]:
    """The images that this filter rejected and would not reject, nearest to passing first; `MOST_JOINING` at most."""
    if bound.filter not in {each.reason for each in counts(connection)}:
        return ()
    query = RowQuery(verdict=Verdict.REJECTED, reason=bound.filter, filter=bound.filter, order="score",
                     least=threshold if bound.lowest else None, most=None if bound.lowest else threshold,
                     limit=MOST_JOINING)
    found = page(connection, query).rows
    return found[::-1] if bound.lowest else found
