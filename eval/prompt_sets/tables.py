"""Figures of prompt sets as the rows of a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

from terrasynth.eval.prompt_sets.comparison import Interval, Measured, Novelty
from terrasynth.eval.prompt_sets.diversity import Figures, Lengths

NONE = "-"
OUTSIDE_WORDS = 12


@dataclass(frozen=True)
class Row:
    """A line of the table of figures: what it is, a value for each set, and more on each value in small print."""

    name: str
    values: tuple[str, ...]
    notes: tuple[str, ...] = ()


def equal_rows(measured: Measured) -> list[Row]:
    """What is compared at equal number of texts; empty for one set."""
    equal = measured.equal
    if equal is None:
        return []
    return [
        *_diversity_rows(equal.figures),
        Row("mean distance of two texts", *_with_intervals([one.distance for one in equal.figures], equal.distance)),
        Row("the same within a class",
            *_with_intervals([one.distance_within for one in equal.figures], equal.distance_within)),
        *(_novelty_row(measured, other) for other in range(len(measured.figures))),
    ]


def whole_rows(measured: Measured) -> list[Row]:
    """What is measured of each set as it is."""
    figures = measured.figures
    rows = [
        Row("texts", tuple(f"{one.n:,}" for one in figures)),
        Row("classes, their balance", tuple(f"{len(one.classes)}, {one.balance:.3f}" for one in figures)),
        *_diversity_rows(figures),
        Row("mean distance of two texts", tuple(_number(one.distance) for one in figures)),
        Row("the same within a class", tuple(_number(one.distance_within) for one in figures)),
        Row("length in words, mean", tuple(f"{one.words.mean:.1f}" for one in figures),
            tuple(_spread(one.words) for one in figures)),
    ]
    tokens = [one.tokens for one in figures if one.tokens is not None]
    if tokens:
        rows.append(Row("length in tokens, mean", tuple(f"{one.mean:.1f}" for one in tokens),
                        tuple(f"{_spread(one)}, n = {one.n:,}" for one in tokens)))
        if tokens[0].above is not None:
            rows.append(Row(f"longer than {tokens[0].limit} tokens", tuple(_share(one.above or 0.0) for one in tokens)))
    for name in figures[0].outside:
        found = [one.outside[name] for one in figures]
        rows.append(Row(f"has a word outside of profile {name}", tuple(_share(one.share) for one in found),
                        tuple(_words(one.words) for one in found)))
    return rows


def _diversity_rows(figures: Sequence[Figures]) -> list[Row]:
    return [
        Row("distinct texts", tuple(_share(one.distinct_share) for one in figures),
            tuple(f"{one.distinct:,}" for one in figures)),
        Row("the commonest text", tuple(_share(one.commonest_share) for one in figures),
            tuple("once" if one.commonest[1] == 1 else f"{one.commonest[1]:,} times" for one in figures)),
        *(Row(f"distinct-{n}", tuple(_number(getattr(one, f"distinct_{n}")) for one in figures)) for n in (1, 2, 3)),
        Row("different words", tuple(f"{one.vocabulary:,}" for one in figures)),
        Row("entropy of the words, bits", tuple(f"{one.entropy:.2f}" for one in figures),
            tuple(f"{2 ** one.entropy:.0f} effective" for one in figures)),
    ]


def _novelty_row(measured: Measured, other: int) -> Row:
    places = permutations(range(len(measured.figures)), 2)
    found = {place[0]: one for place, one in zip(places, measured.novelty, strict=True) if place[1] == other}
    cells = [_new(found[place]) if place in found else (NONE, "") for place in range(len(measured.figures))]
    name = measured.figures[other].name
    return Row(f"equal to no text of {name}", tuple(value for value, _ in cells), tuple(note for _, note in cells))


def _new(found: Novelty) -> tuple[str, str]:
    nearest = "" if found.distance is None else f"; nearest {found.distance:.3f}{_interval(found.interval)} away"
    return _share(found.new), f"of {found.n:,}{nearest}"


def _with_intervals(
    values: Sequence[float | None], intervals: Sequence[Interval | None]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return tuple(map(_number, values)), tuple(_interval(one).strip() for one in intervals)


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
