"""What each filter of a run removes, and whether what it keeps is better than a random keep at the same rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from terrasynth.eval.evaluation.figures import network_name, network_of
from terrasynth.synthesis.cards.run_report import ITS_FILE, describe_files
from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.core.files import locked
from terrasynth.synthesis.core.identity import digest
from terrasynth.synthesis.core.plain_yaml import YamlError, parse_yaml
from terrasynth.synthesis.filters.base import FilterSettings, NamedJudge
from terrasynth.synthesis.ledger.attempts import Attempts
from terrasynth.synthesis.ledger.decisions import ClassDecisions, Decision
from terrasynth.synthesis.ledger.directory import RunDirectory
from terrasynth.synthesis.ledger.measuring import Encoders
from terrasynth.synthesis.ledger.stored import StoredBlock
from terrasynth.synthesis.recipe import Recipe
from terrasynth.synthesis.studies.filters.judging import NEEDED_REAL, judge_attempts, keep_metrics

if TYPE_CHECKING:
    from terrasynth.eval.metrics.random_keep import Comparison, KeepMetric, Mask
    from terrasynth.synthesis.core.real_pictures import RealPictures

NOTHING, EVERYTHING = "removes nothing", "removes everything"
TOGETHER = "all filters of the recipe"
ENDLESS = 2**62
FEW, SHOWN = 0.05, 16


@dataclass(frozen=True)
class FilterFinding:
    """What was found of one filter, judged alone on every attempt.

    Attributes:
        name: As reasons and scores call it.
        settings: On one line.
        in_recipe: Whether the run used it; otherwise it was only tried.
        alone: Those that it fails and every other filter passes; None where there is no other.
        classes: Class -> (kept, attempts).
        verdict: "useful", "useless", "harmful", "mixed", "not judged", or that it removes nothing or everything.
        comparisons: The kept set beside random keeps.
        notes: What else is to be said.
        removed_sample: Numbers of removed attempts to show, those that it alone removes first.
        kept_sample: Numbers of kept attempts to show.
        sample_scores: The filter's scores of both, by number, where it has one.
    """

    name: str
    settings: str
    in_recipe: bool
    n: int
    kept: int
    alone: int | None
    classes: Mapping[str, tuple[int, int]]
    verdict: str
    comparisons: tuple[Comparison, ...]
    notes: tuple[str, ...]
    removed_sample: tuple[int, ...]
    kept_sample: tuple[int, ...]
    sample_scores: Mapping[int, float]

    @property
    def removed(self) -> int:
        """Attempts that it fails."""
        return self.n - self.kept

    def lines(self) -> list[str]:
        """The finding for people."""
        alone = "" if self.alone is None else f", {self.alone} of them alone"
        tried = "" if self.in_recipe else " (tried, not in the recipe)"
        found = [f"{self.name}{tried}: {self.verdict}; removes {self.removed} of {self.n}{alone}; {self.settings}"]
        for each in self.comparisons:
            mark = f"p {each.p:.4f}" if each.p_holm is None else f"p {each.p_holm:.4f} after Holm"
            found.append(
                f"  {each.name:16} {each.kept:.4f}; random keep {each.random_mean:.4f} "
                f"[{each.random_low:.4f}, {each.random_high:.4f}]; {each.outcome}, {mark}; "
                f"{each.network}{'; ' + each.note if each.note else ''}"
            )
        return [*found, *(f"  {note}" for note in self.notes)]


@dataclass(frozen=True)
class FilterControl:
    """What was found of all filters of a run.

    Attributes:
        findings: One a filter, then one of all filters of the recipe together where there are several.
        settings: What decides the figures: n, seed, repeats, networks, real images.
    """

    run: str
    identity: str
    findings: tuple[FilterFinding, ...]
    settings: Mapping[str, object]
    attempts: Attempts

    def lines(self) -> list[str]:
        """The findings for people."""
        about = ", ".join(f"{key} {value}" for key, value in self.settings.items())
        return [*(line for each in self.findings for line in each.lines()), about]

    def to_json(self) -> dict[str, object]:
        """Nested plain data, without images."""
        findings = []
        for each in self.findings:
            entry = asdict(each)
            del entry["removed_sample"], entry["kept_sample"], entry["sample_scores"]
            findings.append(entry)
        return {"run": self.run, "identity": self.identity, "settings": dict(self.settings), "filters": findings}


def parse_tried(recipe: Recipe, tried: Sequence[str]) -> list[FilterSettings]:
    """Filters that are not in the recipe, each written "KIND={key: value, ...}" with YAML after the sign.

    Raises:
        InputError: No YAML, or what a recipe would refuse.
    """
    entries = []
    for each in tried:
        kind, _, text = each.partition("=")
        try:
            values = parse_yaml(text or "{}")
        except YamlError:
            values = None
        if not isinstance(values, dict):
            raise InputError(f"--try {each!r} is not of the form KIND={{key: value}}; for instance "
                             "scene={min_probability: 0.5}")
        entries.append(values | {"kind": kind})
    return list(Recipe.parse(recipe.tree() | {"filters": entries}).filters)


def control_filters(
    run: Path, tried: Sequence[FilterSettings] = (), *, encoder: str = "clip-ucm-b", classifier: str = "scene-ucm",
    real: RealPictures | None = None, real_name: str = "", repeats: int = 200, seed: int = 0, limit: int = 20000,
    device: str = "cpu", cache: Path | None = None,
) -> FilterControl:
    """Judge the filters of a run, each alone on every attempt that was drawn, against random keeps.

    Args:
        run: A run directory; measurements that are missing are added to its `scores/`.
        encoder: Model reference; should be none that filters.
        classifier: Model reference; should be none that filters.
        real: Real images; without them there is no Frechet distance and no coverage.
        real_name: What these are; recorded.
        repeats: Random keeps a filter.
        limit: Most attempts; the first blocks of each class where there are more.
        cache: Folder that keeps features of images and texts; None for none.

    Raises:
        InputError: No run, no attempts, no filter, or a model that does not exist.
    """
    from terrasynth.eval.metrics.random_keep import fewest_repeats

    opened = RunDirectory(run)
    recipe = opened.recipe
    wanted = recipe.model_copy(update={"filters": [*recipe.filters, *tried]})
    if not wanted.filters:
        raise InputError(f"the recipe of {str(run)!r} has no filter to judge; try one with --try KIND={{key: value}}")
    if repeats < fewest_repeats(5):
        raise InputError(f"repeats {repeats}: with fewer than {fewest_repeats(5)} random keeps no difference could be "
                         "told from chance; raise it")
    attempts = opened.attempts(limit)
    if not attempts.labels:
        raise InputError(f"{str(run)!r} holds no attempts under blocks/; run its recipe first")
    with locked(run):
        encoders = Encoders(wanted, device, run, opened.frozen.identity)
        encoders.check(sorted(set(attempts.labels)))
        passed = {name: _decide(attempts, encoders, [name], run) for name in wanted.filter_names}
        together = _decide(attempts, encoders, recipe.filter_names, run) if len(recipe.filters) > 1 else None
        judging = judge_attempts(attempts, encoder, classifier, real, device, cache)
    findings = []
    for place, (name, settings) in enumerate(zip(wanted.filter_names, wanted.filters, strict=True)):
        others = [found.kept for other, found in passed.items() if other != name]
        metrics = keep_metrics(judging, attempts.labels, [(settings, encoders.model_of(name))])
        findings.append(_finding(
            name, settings.describe(), place < len(recipe.filters), passed[name], others, attempts.labels, metrics,
            repeats, seed,
        ))
    if together is not None:
        used = [(each, encoders.model_of(name)) for name, each in zip(recipe.filter_names, recipe.filters, strict=True)]
        metrics = keep_metrics(judging, attempts.labels, used)
        about = ", then ".join(recipe.filter_names)
        findings.append(_finding(TOGETHER, about, True, together, [], attempts.labels, metrics, repeats, seed))
    about_all = {
        "attempts": len(attempts.labels), "seed": seed, "random keeps": repeats,
        "encoder": network_name(network_of(judging.encoder)),
        "classifier": network_name(network_of(judging.classifier)),
        "real": "none" if real is None else f"{real_name} (n = {len(real.images)})",
    }
    identity = recipe.identity or ""
    return FilterControl(recipe.name, identity, tuple(findings), about_all, attempts)


@dataclass(frozen=True)
class _FilterMasks:
    kept: Mask
    scores: NDArray[np.float64]
    files: tuple[str, ...]


def _decide(attempts: Attempts, encoders: Encoders, names: Sequence[str], scratch: Path) -> _FilterMasks:
    """What filters, one after the other, keep of all attempts, without a target; and the scores of the first."""
    decisions: list[Decision] = []
    classes: list[ClassDecisions] = []
    for label in dict.fromkeys(attempts.labels):
        judges: list[NamedJudge] = [each for each in encoders.judges(label, scratch) if each.name in names]
        decided = ClassDecisions(label, judges, ENDLESS, ENDLESS)
        size = attempts.blocks.block_size
        shown: list[int] = []
        for (name, index), rows in zip(attempts.places, attempts.shown, strict=True):
            if name == label:
                measure = partial(encoders.of_block, StoredBlock(attempts.blocks, label, index))
                decided.decide(size, measure, sorted(set(range(size)) - set(rows)))
                shown += (index * size + row for row in rows)
        every = list(decided)
        decisions += (every[place] for place in shown)
        classes.append(decided)
    scores = [each.scores[names[0]] for each in decisions]
    files = tuple(f"{name}{ITS_FILE}: {text}" for name, text in describe_files(classes).items())
    return _FilterMasks(np.array([each.accepted for each in decisions], np.bool_), np.array(scores, np.float64), files)


def _finding(
    name: str, settings: str, in_recipe: bool, passed: _FilterMasks, others: Sequence[Mask], labels: Sequence[str],
    metrics: Sequence[KeepMetric], repeats: int, seed: int,
) -> FilterFinding:
    from terrasynth.eval.metrics.random_keep import UNJUDGED, USELESS, compare_with_random, verdict

    kept = passed.kept
    names = np.array(labels, dtype=np.str_)
    classes = {str(each): (int(kept[names == each].sum()), int((names == each).sum())) for each in np.unique(names)}
    alone = ~kept & np.logical_and.reduce(others) if others else None
    notes = list(passed.files)
    if not any(metric.name == "coverage" for metric in metrics):
        notes.append("Frechet distance and coverage not measured: give "
                     f"at least {NEEDED_REAL} real images with --real")
    comparisons: tuple[Comparison, ...] = ()
    if kept.all():
        result = NOTHING
    elif kept.sum() < 2:
        result = EVERYTHING
    else:
        # Of the filter's own settings and the seed alone, so that another filter beside it changes no figure.
        own_seed = int(digest({"seed": seed, "filter": settings}), 16)
        comparisons = tuple(compare_with_random(kept, labels, metrics, repeats, own_seed))
        result = verdict(comparisons)
        missing = [metric.name for metric in metrics if metric.name not in {each.name for each in comparisons}]
        if missing:
            notes.append(f"{' and '.join(missing)} not measured: it keeps no two images of any class")
        if result == UNJUDGED:
            notes.append("no figure of a model but the filter's own; give others with --encoder or --classifier")
        if result == USELESS and (~kept).mean() < FEW:
            notes.append(f"removes {(~kept).mean():.1%}: so few hardly move these figures, so look at the images")
    gone = sum(1 for few, _ in classes.values() if few == 0)
    if gone and result != EVERYTHING:
        notes.append(f"keeps nothing of {gone} of {len(classes)} classes")
    first = np.zeros(len(kept), np.bool_) if alone is None else alone
    removed = (_spread(np.flatnonzero(first), names) + _spread(np.flatnonzero(~kept & ~first), names))[:SHOWN]
    shown = _spread(np.flatnonzero(kept), names)
    known = {number: float(passed.scores[number]) for number in removed + shown if not np.isnan(passed.scores[number])}
    return FilterFinding(
        name, settings, in_recipe, len(kept), int(kept.sum()), None if alone is None else int(alone.sum()), classes,
        result, comparisons, tuple(notes), removed, shown, known if name != TOGETHER else {},
    )


def _spread(numbers: NDArray[np.intp], names: NDArray[np.str_]) -> tuple[int, ...]:
    """The first ones, in turn over the classes."""
    rank: dict[str, int] = {}
    turns = []
    for number in numbers:
        label = str(names[number])
        turns.append((rank.get(label, 0), label, int(number)))
        rank[label] = rank.get(label, 0) + 1
    return tuple(number for _, _, number in sorted(turns)[:SHOWN])
