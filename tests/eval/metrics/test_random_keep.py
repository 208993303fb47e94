"""The verdict on filters whose worth is known, and the figures against their definitions."""

import numpy as np
import pytest

from terrasynth.eval.metrics.frechet import FeatureStatistics, frechet_distance
from terrasynth.eval.metrics.random_keep import (
    HARMFUL,
    LEVEL,
    MIXED,
    UNJUDGED,
    USEFUL,
    USELESS,
    KeepMetric,
    compare_with_random,
    coverage_of,
    distance_within_of,
    fewest_repeats,
    frechet_of,
    mean_of,
    verdict,
)

LABELS = ["a"] * 60 + ["b"] * 60 + ["c"] * 30
RNG = np.random.default_rng(0)
HITS = RNG.random(150) < 0.6
SCORES = RNG.normal(0, 1, 150) + HITS
FEATURES = RNG.normal(0, 1, (150, 4)) + 3 * (~HITS)[:, None]
REAL = RNG.normal(0, 1, (80, 4))
METRICS = [
    KeepMetric("scene accuracy", "n", True, mean_of(HITS)),
    KeepMetric("CLIP score", "n", True, mean_of(SCORES)),
    KeepMetric("Frechet distance", "n", False, frechet_of(FEATURES, REAL)),
    KeepMetric("coverage", "n", True, coverage_of(FEATURES, REAL)),
]


def judged(kept, metrics=METRICS, seed=0, repeats=160):
    return compare_with_random(kept, LABELS, metrics, repeats, seed)


def test_an_oracle_is_useful_and_its_opposite_harmful():
    wrong = np.flatnonzero(~HITS)
    oracle = np.ones(150, bool)
    oracle[wrong[::2]] = False
    found = judged(oracle)
    assert verdict(found) == USEFUL
    accuracy, _, frechet, _ = found
    assert accuracy.kept > accuracy.random_high
    assert frechet.kept < frechet.random_low
    assert frechet.better
    opposite = np.ones(150, bool)
    opposite[np.flatnonzero(HITS)[::2]] = False
    assert verdict(judged(opposite)) == HARMFUL


def test_random_scores_are_useless_at_the_promised_rate():
    generator = np.random.default_rng(1)
    cheap = METRICS[:2]
    verdicts = [verdict(judged(generator.random(150) < 0.7, cheap, seed)) for seed in range(60)]
    # 95 % of such filters should be; 3 standard errors below
    assert verdicts.count(USELESS) / 60 > 0.95 - 3 * np.sqrt(0.05 * 0.95 / 60)


def test_better_on_one_and_worse_on_another_is_mixed():
    oracle = HITS.copy()
    metrics = [METRICS[0], KeepMetric("reversed", "n", False, mean_of(HITS))]
    assert verdict(judged(oracle, metrics)) == MIXED


def test_what_is_not_counted_decides_nothing():
    found = judged(HITS, [KeepMetric("scene accuracy", "n", True, mean_of(HITS), counted=False)])
    assert (found[0].p_holm, verdict(found)) == (None, UNJUDGED)
    assert verdict([]) == UNJUDGED


def test_a_figure_that_does_not_exist_is_left_out_and_changes_no_other():
    single = np.isin(np.arange(150), [0, 60, 120])
    within = KeepMetric("distance within", "n", True, distance_within_of(FEATURES, LABELS))
    assert np.isnan(within.of(single))
    with_it, without = judged(single, [*METRICS, within], repeats=200), judged(single, repeats=200)
    assert with_it == without
    assert verdict(judged(single, [within])) == UNJUDGED


def test_sums_in_another_order_are_no_difference():
    kept = np.random.default_rng(6).random(150) < 0.5

    def same(mask):
        return 0.3 if (mask == kept).all() else 0.1 + 0.2

    assert same(kept) < same(~kept)
    [found] = judged(kept, [KeepMetric("same", "n", True, same)])
    assert (found.p, found.outcome) == (1, "no different")


def test_the_verdict_follows_from_the_outcomes_and_these_from_the_corrected_p_values():
    generator = np.random.default_rng(7)
    metrics = [*METRICS[:2], KeepMetric("reversed", "n", False, mean_of(HITS))]
    seen = set()
    for share in np.linspace(0, 1, 40):
        kept = generator.random(150) < np.where(HITS, 0.5 + share / 2, 0.5 - share / 3)
        found = judged(kept, metrics[: 2 + int(generator.integers(2))])
        better = [each.p_holm < LEVEL and each.better for each in found]
        worse = [each.p_holm < LEVEL and not each.better for each in found]
        expected = {(True, False): USEFUL, (False, True): HARMFUL, (True, True): MIXED, (False, False): USELESS}
        assert verdict(found) == expected[any(better), any(worse)]
        seen.add(verdict(found))
    assert seen == {USEFUL, MIXED, USELESS}


def test_random_keeps_hold_as_many_of_each_class():
    kept = np.zeros(150, bool)
    kept[:10] = kept[60:100] = True
    names = np.array(LABELS)
    metrics = [KeepMetric(name, "n", True, mean_of(names == name)) for name in "abc"]
    for each in judged(kept, metrics):
        assert each.random_low == each.random_high == each.kept
        assert each.p == 1


def test_p_values_follow_their_definition():
    kept = np.random.default_rng(5).random(150) < 0.5
    found = judged(kept, repeats=200)
    ordered = sorted(found, key=lambda each: each.p)
    expected = np.maximum.accumulate([min(1, each.p * (4 - rank)) for rank, each in enumerate(ordered)])
    assert [each.p_holm for each in ordered] == pytest.approx(list(expected))
    assert all(2 / 201 <= each.p <= 1 for each in found)
    assert judged(kept, repeats=200) == found


def test_too_few_repeats_could_show_nothing():
    with pytest.raises(ValueError, match="give 160 at the least"):
        judged(HITS, repeats=159)
    assert fewest_repeats(5) == 200


def test_figures_of_a_set_agree_with_their_definitions():
    mask = np.random.default_rng(2).random(150) < 0.4
    expected = frechet_distance(FeatureStatistics.of(FEATURES[mask]), FeatureStatistics.of(REAL))
    assert frechet_of(FEATURES, REAL)(mask) == pytest.approx(expected)
    between = np.linalg.norm(REAL[:, None] - FEATURES[None, mask], axis=2)
    radius = np.sort(np.linalg.norm(REAL[:, None] - REAL[None], axis=2), axis=1)[:, 5]
    assert coverage_of(FEATURES, REAL)(mask) == (between <= radius[:, None]).any(1).mean()
    unit = FEATURES / np.linalg.norm(FEATURES, axis=1, keepdims=True)
    pairs = [
        1 - unit[i] @ unit[j]
        for i in np.flatnonzero(mask) for j in np.flatnonzero(mask) if i < j and LABELS[i] == LABELS[j]
    ]
    assert distance_within_of(FEATURES, LABELS)(mask) == pytest.approx(np.mean(pairs))
    single = np.eye(150, dtype=bool)[0]
    assert np.isnan([frechet_of(FEATURES, REAL)(single), distance_within_of(FEATURES, LABELS)(single)]).all()


def test_random_keeps_that_are_all_alike_carry_no_verdict():
    kept = np.ones(150, bool)
    kept[::2] = False
    only_this = KeepMetric("it is this very set", "n", True, lambda mask: float((mask == kept).all()))
    found = judged(kept, [only_this])
    assert (found[0].kept, found[0].random_low, found[0].random_high) == (1, 0, 0)
    assert found[0].p_holm < LEVEL
    assert (found[0].outcome, verdict(found)) == ("no different", USELESS)
