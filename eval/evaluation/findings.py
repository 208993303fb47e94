"""What a reader of an evaluation should know first: what is worse than real images, and what does not bear weight."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from terrasynth.eval.evaluation.confusion import Confusion
from terrasynth.eval.evaluation.figures import CoverageFigures, Distances, FrechetFigures, Network, network_name
from terrasynth.eval.metrics.figure import Figure

if TYPE_CHECKING:
    from terrasynth.eval.copies.memorisation import Memorisation
    from terrasynth.eval.evaluation.record import Evaluation
    from terrasynth.eval.metrics.floors import AtEqualSize

GRID = 3.0
"""Decibels of a grid peak above that of real images from which on it is seen."""

LEAST = 30
"""Images below which no figure carries a verdict, whatever its interval."""

Kind = Literal["worse", "caution", "open", "fine"]
KINDS: tuple[Kind, ...] = ("worse", "caution", "open", "fine")
"""What is to be known first comes first."""


@dataclass(frozen=True)
class Finding:
    """One thing to know.

    Attributes:
        kind: "worse" than real images or than chance allows, a reason for "caution" with a figure, "open" where too
            few images or no interval carry a verdict, or "fine".
        text: In words, with the figures.
    """

    kind: Kind
    text: str


def findings(
    evaluation: Evaluation, generated: Confusion | None = None, real: Confusion | None = None,
    copies: Memorisation | None = None, filtered_by: tuple[Network, ...] = (),
) -> tuple[Finding, ...]:
    """What follows from the figures by fixed rules; what is worse comes first.

    Args:
        generated: Confusion of these images.
        real: Confusion of real images.
        copies: Distances to training images.
        filtered_by: Identities of the networks that chose the images.
    """
    found = [*_recognition(evaluation), *_alignment(evaluation)]
    for each in (Distances(evaluation.frechet, evaluation.kid, evaluation.coverage, ()), *evaluation.further):
        found += _distances(each)
    found += _diversity(evaluation)
    found += _realism(evaluation)
    if generated is not None:
        found += _classes(generated, real)
    if copies is not None:
        found += _copies(copies)
    found += circular(evaluation, filtered_by)
    return tuple(sorted(found, key=lambda each: KINDS.index(each.kind)))


def weighed(kind: Kind, text: str, n: int, *intervals: tuple[float, float]) -> Finding:
    """A verdict, or that it stays open where what it rests on does not carry it.

    Args:
        text: It in words, with the figures.
        n: Images that the figure rests on; of two sets that are compared, of the smaller one.
        *intervals: The intervals that it compares, of which none may be a point.

    Example:
        >>> from terrasynth.eval.evaluation.findings import weighed
        >>> weighed("worse", "It lies below.", 8, (0.1, 0.2))
        Finding(kind='open', text='It lies below. No verdict: n = 8, and it takes 30.')
        >>> weighed("worse", "It lies below.", 80, (0.1, 0.1)).text
        'It lies below. No verdict: an interval of width 0 says nothing of other images.'
        >>> weighed("worse", "It lies below.", 80, (0.1, 0.2)).kind
        'worse'
    """
    if n < LEAST:
        return Finding("open", f"{text} No verdict: n = {n}, and it takes {LEAST}.")
    if any(low == high for low, high in intervals):
        return Finding("open", f"{text} No verdict: an interval of width 0 says nothing of other images.")
    return Finding(kind, text)


def _recognition(evaluation: Evaluation) -> Iterator[Finding]:
    if evaluation.scene is None:
        return
    own, real, chance = evaluation.scene.accuracy, evaluation.scene.ceiling, evaluation.scene.chance
    if own.low <= chance:
        yield weighed("worse", f"Scene accuracy {own} is not above a guess, {chance:.3f}.", own.n, (own.low, own.high))
    if real is not None:
        yield _beside(own, real, "Scene accuracy", "easier to name than real images, which does not make them "
                      "alike")


def _realism(evaluation: Evaluation) -> Iterator[Finding]:
    found, coded = evaluation.realism, evaluation.coded
    if found is None:
        return
    own, beside = found.coarse, ""
    if coded is not None and coded.coarse.low > coded.coarse.null_high:
        beside = (" Real images that its autoencoder coded and decoded are told apart too, "
                  f"{coded.coarse.accuracy:.3f}: no training of the denoiser mends that.")
    text = (f"By texture alone {own.accuracy:.3f} [{own.low:.3f}, {own.high:.3f}] of these and real images are told "
            f"apart, of real ones among themselves {own.null:.3f} (n = {own.n} against {own.n}).")
    yield weighed("worse" if own.low > own.null_high else "fine", text + beside, own.n, (own.low, own.high))
    grid = {period: value for period, value in found.spectrum.peaks.items() if value > GRID}
    if grid:
        peaks = " and ".join(f"{value:+.1f} dB at a period of {period} px" for period, value in grid.items())
        yield weighed("worse", f"The images carry a grid: {peaks} above real images.", own.n)


def _alignment(evaluation: Evaluation) -> Iterator[Finding]:
    own, null, real = evaluation.alignment.score, evaluation.alignment.null, evaluation.alignment.ceiling
    if null is not None and own.low <= null.high:
        yield weighed("worse", f"CLIP score {own} is not above that of {evaluation.alignment.null_kind}, {null}.",
                      own.n, (own.low, own.high), (null.low, null.high))
    if real is not None:
        yield _beside(own, real, "CLIP score", "closer to their texts than real images to their captions, as text "
                      "written for a generator is plainer")


def _beside(own: Figure, real: Figure, name: str, above: str) -> Finding:
    kind: Kind = "worse" if own.high < real.low else "caution" if own.low > real.high else "fine"
    text = {"worse": f"{name} {own} lies below that of real images, {real}.",
            "caution": f"{name} {own} lies above that of real images, {real}: {above}.",
            "fine": f"{name} {own} and that of real images, {real}, have overlapping intervals."}[kind]
    return weighed(kind, text, min(own.n, real.n), (own.low, own.high), (real.low, real.high))


def _distances(distances: Distances) -> Iterator[Finding]:
    if (f := distances.frechet) is not None:
        yield from _frechet(f)
    if (k := distances.kid) is not None:
        yield _range("KID", k.equal, k.network, False, ".4f")
    if distances.coverage is not None:
        yield from _coverage(distances.coverage)


def _frechet(f: FrechetFigures) -> Iterator[Finding]:
    name = f"Frechet distance ({network_name(f.network)})"
    if f.biased:
        end = "" if f.infinity is None else f"; extrapolated to endless samples it is {f.infinity.distance:.1f}"
        yield Finding("caution", f"{name}: {min(f.n, f.n_reference)} images are fewer than {f.dim} features need, so "
                      f"{f.distance:.1f} is too large and compares only with figures at the same n{end}.")
    if f.floor is not None and f.at_floor is not None:
        beyond = f.at_floor > f.floor.high
        yield weighed("worse" if beyond else "fine", (
            f"{name}: {f.at_floor:.1f} at n = {f.floor.n}, {'beyond' if beyond else 'not beyond'} the range of "
            f"real against real, {f.floor.low:.1f} to {f.floor.high:.1f}."
        ), f.floor.n, (f.floor.low, f.floor.high))


def _coverage(figures: CoverageFigures) -> Iterator[Finding]:
    for name, equal in figures.equal.items():
        if name != "density":  # above the range of real images it is no better
            yield _range(name.capitalize(), equal, figures.network, True, ".3f")


def _range(name: str, equal: AtEqualSize, network: Network, higher: bool, form: str) -> Finding:
    beyond = equal.generated < equal.low if higher else equal.generated > equal.high
    where = ("below" if higher else "beyond") if beyond else "not below" if higher else "not beyond"
    return weighed("worse" if beyond else "fine", (
        f"{name} ({network_name(network)}): {equal.generated:{form}} at n = {equal.n}, {where} the range of real "
        f"images, {equal.low:{form}} to {equal.high:{form}}."
    ), equal.n, (equal.low, equal.high))


def _diversity(evaluation: Evaluation) -> Iterator[Finding]:
    for d in evaluation.diversity:
        if d.distance_within is not None and d.real_distance_within is not None:
            less = d.distance_within < d.real_distance_within
            yield weighed("caution" if less else "open", (  # two figures without an interval
                f"Images of one class are {'less' if less else 'not less'} different from one another than real ones "
                f"({network_name(d.network)}): mean distance {d.distance_within:.3f} (n = {d.n}), real "
                f"{d.real_distance_within:.3f} (n = {d.n_real}); without an interval, that is no verdict."
            ), min(d.n, d.n_real))


def _classes(generated: Confusion, real: Confusion | None) -> Iterator[Finding]:
    own: Mapping[str, Figure] = generated.accuracy()
    theirs = {} if real is None else real.accuracy()
    if real is not None and set(generated.asked) != set(real.asked):
        yield Finding("caution", f"These images are of {len(generated.asked)} classes, the real ones of "
                      f"{len(real.asked)}, {len(set(generated.asked) & set(real.asked))} of them the same: distances "
                      "and shares against real images measure that too.")
    below = [label for label, each in own.items() if label in theirs and each.high < theirs[label].low]
    yield from _named("Recognized less often than real images of their class, intervals apart", below, own, theirs)
    weak = [label for label, each in own.items() if each.value < 0.5 and label not in below]
    sure = [label for label in weak if own[label].high < 0.5]
    yield from _named("Fewer than half are recognized", sure, own, theirs)
    unsure = [label for label in weak if label not in sure]
    if unsure:
        yield Finding("open", f"Perhaps fewer than half are recognized: {_accuracies(unsure, own, theirs)}. No "
                              "verdict: the intervals reach half.")
    smallest = min(each.n for each in own.values())
    if smallest < LEAST:
        yield Finding("caution", f"A class has as few as {smallest} images: see the intervals of single classes.")


def _named(
    what: str, labels: Sequence[str], own: Mapping[str, Figure], theirs: Mapping[str, Figure]
) -> Iterator[Finding]:
    """Classes that are worse, apart from those of too few images to say so."""
    def images(label: str) -> int:
        return min(own[label].n, theirs[label].n if label in theirs else own[label].n)

    enough = [label for label in labels if images(label) >= LEAST]
    few = [label for label in labels if label not in enough]
    if enough:
        yield Finding("worse", f"{what}: {_accuracies(enough, own, theirs)}.")
    if few:
        yield weighed("worse", f"{what}: {_accuracies(few, own, theirs)}.", min(map(images, few)))


def _accuracies(labels: Sequence[str], own: Mapping[str, Figure], theirs: Mapping[str, Figure]) -> str:
    return ", ".join(f"{label} {own[label].value:.2f}"
                     + (f" (real {theirs[label].value:.2f})" if label in theirs else "") for label in labels)


def _copies(found: Memorisation) -> Iterator[Finding]:
    if found.exact_copies:
        verb = "equals" if found.exact_copies == 1 else "equal"
        yield Finding("worse", f"{found.exact_copies} of {found.n} images {verb} a training image in every pixel.")
    for one in found.measures:
        beyond = one.share.low > one.null
        yield weighed("worse" if beyond else "fine", (
            f"Near copies by {one.measure}: {one.share} are nearer to a training image than {one.threshold:.4g} "
            f"({one.unit}), {'more than' if beyond else 'with an interval that reaches down to'} the {one.null:.3f} of "
            "held-out real images."
        ), one.share.n, (one.share.low, one.share.high))


def circular(evaluation: Evaluation, filtered_by: tuple[Network, ...]) -> Iterator[Finding]:
    """A caution for each figure that a network gives which chose the images, too.

    Args:
        filtered_by: Identities of the networks that chose them.
    """
    named = [("CLIP score", evaluation.alignment.network)]
    if evaluation.scene is not None:
        named.append(("scene accuracy", evaluation.scene.network))
    for name, network in named:
        if any(_same(network, other) for other in filtered_by):
            yield Finding("caution", f"{network_name(network)} chose these images and gives the {name} too: a filter "
                          "raises its own score whether or not images get better. Report with another network.")


def _same(one: Network, other: Network) -> bool:
    key = ("content", "revision")
    return any(one.get(name) is not None and one.get(name) == other.get(name) for name in key)
