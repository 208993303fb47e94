"""Figures of prompt sets as tables, a column a set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import permutations

from terrasynth.eval.prompt_sets.comparison import Interval, Measured, Novelty
from terrasynth.eval.prompt_sets.diversity import Figures, Lengths
from terrasynth.eval.table import Cell, Table

NONE = "-"
OUTSIDE_WORDS = 12
Row = tuple[str | Cell, ...]


def equal_table(measured: Measured) -> Table:
    """What is compared at equal number of texts; without rows for one set."""
    if (equal := measured.equal) is None:
        return Table((), ())
    return _table(measured, "at equal number", [
        *_diversity(equal.figures),
        ("mean distance of two texts", *_with_intervals([one.distance for one in equal.figures], equal.distance)),
        ("the same within a class",
         *_with_intervals([one.distance_within for one in equal.figures], equal.distance_within)),
        *(_novelty(measured, other) for other in range(len(measured.figures))),
    ])


def whole_table(measured: Measured) -> Table:
    """What is measured of each set as it is."""
    return _table(measured, "figure", _whole(measured.figures))


def _table(measured: Measured, name: str, rows: Iterable[Row]) -> Table:
    return Table((name, *(one.name for one in measured.figures)), tuple(rows))


def _whole(figures: Sequence[Figures]) -> Iterator[Row]:
    yield "texts", *(f"{one.n:,}" for one in figures)
    yield "classes, their balance", *(f"{len(one.classes)}, {one.balance:.3f}" for one in figures)
    yield from _diversity(figures)
    yield "mean distance of two texts", *(_number(one.distance) for one in figures)
    yield "the same within a class", *(_number(one.distance_within) for one in figures)
    yield "length in words, mean", *(Cell(f"{one.words.mean:.1f}", _spread(one.words)) for one in figures)
    tokens = [one.tokens for one in figures if one.tokens is not None]
    if tokens:
        yield ("length in tokens, mean",
               *(Cell(f"{one.mean:.1f}", f"{_spread(one)}, n = {one.n:,}") for one in tokens))
        if tokens[0].above is not None:
            yield f"longer than {tokens[0].limit} tokens", *(_share(one.above or 0.0) for one in tokens)
    for name in figures[0].outside:
        found = [one.outside[name] for one in figures]
        yield f"has a word outside of profile {name}", *(Cell(_share(one.share), _words(one.words)) for one in found)


def _diversity(figures: Sequence[Figures]) -> Iterator[Row]:
    yield "distinct texts", *(Cell(_share(one.distinct_share), f"{one.distinct:,}") for one in figures)
    yield "the commonest text", *(
        Cell(_share(one.commonest_share), "once" if one.commonest[1] == 1 else f"{one.commonest[1]:,} times")
        for one in figures)
    for n in (1, 2, 3):
        yield f"distinct-{n}", *(_number(getattr(one, f"distinct_{n}")) for one in figures)
    yield "different words", *(f"{one.vocabulary:,}" for one in figures)
    yield "entropy of the words, bits", *(Cell(f"{one.entropy:.2f}", f"{2 ** one.entropy:.0f} effective")
                                         for one in figures)


def _novelty(measured: Measured, other: int) -> Row:
    places = permutations(range(len(measured.figures)), 2)
    found = {place[0]: one for place, one in zip(places, measured.novelty, strict=True) if place[1] == other}
    return (f"equal to no text of {measured.figures[other].name}",
            *(_new(found[place]) if place in found else NONE for place in range(len(measured.figures))))


def _new(found: Novelty) -> Cell:
    nearest = "" if found.distance is None else f"; nearest {found.distance:.3f}{_interval(found.interval)} away"
    return Cell(_share(found.new), f"of {found.n:,}{nearest}")


def _with_intervals(values: Sequence[float | None], intervals: Sequence[Interval | None]) -> Iterator[Cell]:
    return (Cell(_number(value), _interval(one).strip()) for value, one in zip(values, intervals, strict=True))


def _number(value: float | None) -> str:
    return NONE if value is None else f"{value:.4f}"


def _share(value: float) -> str:
    if 0 < value < 0.00005:
        return "< 0.01 %"
    if 0.99995 <= value < 1:
        return "> 99.99 %"
    close = 0 < value < 0.1 or 0.99 < value < 1  # where one decimal would hide the difference to none or all
    return f"{100 * value:.{2 if close else 1}f} %"


def _interval(interval: Interval | None) -> str:
    return "" if interval is None else f" ({interval[0]:.3f} to {interval[1]:.3f})"


def _spread(lengths: Lengths) -> str:
    return f"median {lengths.median}, 95 % up to {lengths.percentile_95}, longest {lengths.longest}"


def _words(words: Sequence[tuple[str, int]]) -> str:
    said = ", ".join(word for word, _ in words[:OUTSIDE_WORDS])
    return f"{said}, … ({len(words):,} words)" if len(words) > OUTSIDE_WORDS else said
