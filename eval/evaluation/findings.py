"""What a reader of an evaluation should know first: what is worse than real images, and what does not bear weight."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
"""Images of a class below which its accuracy alone says little."""


@dataclass(frozen=True)
class Finding:
    """One thing to know.

    Attributes:
        kind: "worse" than real images or than chance allows, a reason for "caution" with a figure, or "fine".
        text: In words, with the figures.
    """

    kind: Literal["worse", "caution", "fine"]
    text: str


def findings(
    evaluation: Evaluation, generated: Confusion | None = None, real: Confusion | None = None,
    copies: Memorisation | None = None, filtered_by: tuple[Network, ...] = (),
) -> tuple[Finding, ...]:
    """What follows from the figures by fixed rules; what is worse comes first.

    Args:
        evaluation: The figures.
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
    found += _circular(evaluation, filtered_by)
    order = ("worse", "caution", "fine")
    return tuple(sorted(found, key=lambda each: order.index(each.kind)))


def _recognition(evaluation: Evaluation) -> Iterator[Finding]:
    own, real, chance = evaluation.scene.accuracy, evaluation.scene.ceiling, evaluation.scene.chance
    if own.low <= chance:
        yield Finding("worse", f"Scene accuracy {own} is not above a guess, {chance:.3f}.")
    if real is not None:
        yield _beside(own, real, "Scene accuracy", "easier to name than real pictures, which does not make them "
                      "alike")


def _realism(evaluation: Evaluation) -> Iterator[Finding]:
    found, coded = evaluation.realism, evaluation.coded
    if found is None:
        return
    own, beside = found.coarse, ""
    if coded is not None and coded.coarse.low > coded.coarse.null_high:
        beside = (" Real pictures that its autoencoder coded and decoded are told apart too, "
                  f"{coded.coarse.accuracy:.3f}: no training of the denoiser mends that.")
    text = (f"By texture alone {own.accuracy:.3f} [{own.low:.3f}, {own.high:.3f}] of these and real pictures are told "
            f"apart, of real ones among themselves {own.null:.3f} (n = {own.n} against {own.n}).")
    yield Finding("worse" if own.low > own.null_high else "fine", text + beside)
    grid = {period: value for period, value in found.spectrum.peaks.items() if value > GRID}
    if grid:
        peaks = " and ".join(f"{value:+.1f} dB at a period of {period} px" for period, value in grid.items())
        yield Finding("worse", f"The pictures carry a grid: {peaks} above real pictures.")


def _alignment(evaluation: Evaluation) -> Iterator[Finding]:
    own, null, real = evaluation.alignment.score, evaluation.alignment.null, evaluation.alignment.ceiling
    if null is not None and own.low <= null.high:
        yield Finding("worse", f"CLIP score {own} is not above that of {evaluation.alignment.null_kind}, {null}.")
    if real is not None:
        yield _beside(own, real, "CLIP score", "closer to their texts than real pictures to their captions, as text "
                      "written for a generator is plainer")


def _beside(own: Figure, real: Figure, name: str, above: str) -> Finding:
    if own.high < real.low:
        return Finding("worse", f"{name} {own} lies below that of real pictures, {real}.")
    if own.low > real.high:
        return Finding("caution", f"{name} {own} lies above that of real pictures, {real}: {above}.")
    return Finding("fine", f"{name} {own} and that of real pictures, {real}, have overlapping intervals.")


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
        yield Finding("caution", f"{name}: {min(f.n, f.n_reference)} pictures are fewer than {f.dim} features need, so "
                      f"{f.distance:.1f} is too large and compares only with figures at the same n{end}.")
    if f.floor is not None and f.at_floor is not None:
        beyond = f.at_floor > f.floor.high
        yield Finding("worse" if beyond else "fine", (
            f"{name}: {f.at_floor:.1f} at n = {f.floor.n}, {'beyond' if beyond else 'not worse than'} the range of "
            f"real against real, {f.floor.low:.1f} to {f.floor.high:.1f}."
        ))


def _coverage(figures: CoverageFigures) -> Iterator[Finding]:
    for name, equal in figures.equal.items():
        if name != "density":  # above the range of real images it is no better
            yield _range(name.capitalize(), equal, figures.network, True, ".3f")


def _range(name: str, equal: AtEqualSize, network: Network, higher: bool, form: str) -> Finding:
    beyond = equal.generated < equal.low if higher else equal.generated > equal.high
    where = ("below" if higher else "beyond") if beyond else "not worse than"
    return Finding("worse" if beyond else "fine", (
        f"{name} ({network_name(network)}): {equal.generated:{form}} at n = {equal.n}, {where} the range of real "
        f"pictures, {equal.low:{form}} to {equal.high:{form}}."
    ))


def _diversity(evaluation: Evaluation) -> Iterator[Finding]:
    for d in evaluation.diversity:
        if d.distance_within is not None and d.real_distance_within is not None:
            less = d.distance_within < d.real_distance_within
            yield Finding("worse" if less else "fine", (
                f"Pictures of one class are {'less' if less else 'not less'} different from one another than real ones "
                f"({network_name(d.network)}): mean distance {d.distance_within:.3f} (n = {d.n}), real "
                f"{d.real_distance_within:.3f} (n = {d.n_real}); no interval."
            ))


def _classes(generated: Confusion, real: Confusion | None) -> Iterator[Finding]:
    own: Mapping[str, Figure] = generated.accuracy()
    theirs = {} if real is None else real.accuracy()
    if real is not None and set(generated.asked) != set(real.asked):
        yield Finding("caution", f"These pictures are of {len(generated.asked)} classes, the real ones of "
                      f"{len(real.asked)}, {len(set(generated.asked) & set(real.asked))} of them the same: distances "
                      "and shares against real pictures measure that too.")
    below = [label for label, each in own.items() if label in theirs and each.high < theirs[label].low]
    if below:
        named = ", ".join(f"{label} {own[label].value:.2f} (real {theirs[label].value:.2f})" for label in below)
        yield Finding("worse", f"Recognised less often than real pictures of their class, intervals apart: {named}.")
    weak = [label for label, each in own.items() if each.value < 0.5 and label not in below]
    if weak:
        yield Finding("worse", "Fewer than half are recognised: " + ", ".join(
            f"{label} {own[label].value:.2f}"
            + (f" (real {theirs[label].value:.2f})" if label in theirs else "") for label in weak) + ".")
    smallest = min(each.n for each in own.values())
    if smallest < LEAST:
        yield Finding("caution", f"A class has as few as {smallest} pictures: see the intervals of single classes.")


def _copies(found: Memorisation) -> Iterator[Finding]:
    if found.exact_copies:
        yield Finding("worse", f"{found.exact_copies} of {found.n} pictures equal a training picture in every pixel.")
    for one in found.measures:
        beyond = one.share.low > one.null
        yield Finding("worse" if beyond else "fine", (
            f"Near copies by {one.measure}: {one.share} are nearer to a training picture than {one.threshold:.4g} "
            f"({one.unit}), {'more than' if beyond else 'with an interval that reaches down to'} the {one.null:.3f} of "
            "held-out real pictures."
        ))


def _circular(evaluation: Evaluation, filtered_by: tuple[Network, ...]) -> Iterator[Finding]:
    for name, network in (("CLIP score", evaluation.alignment.network), ("scene accuracy", evaluation.scene.network)):
        if any(_same(network, other) for other in filtered_by):
            yield Finding("caution", f"{network_name(network)} chose these pictures and gives the {name} too: a filter "
                          "raises its own score whether or not pictures get better. Report with another network.")


def _same(one: Network, other: Network) -> bool:
    key = ("content", "revision")
    return any(one.get(name) is not None and one.get(name) == other.get(name) for name in key)
