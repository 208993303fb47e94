"""Inception score: against torchmetrics, and where its value is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from terrasynth.eval.metrics.inception_score import inception_score, inception_score_of_all

LOGITS = np.random.default_rng(0).normal(0, 2, (103, 7))
PROBABILITIES = np.exp(LOGITS) / np.exp(LOGITS).sum(1, keepdims=True)


@pytest.mark.filterwarnings("ignore::UserWarning")  # of its buffer, which is filled here without its network
def test_it_is_that_of_torchmetrics():
    from torchmetrics.image.inception import InceptionScore

    metric = InceptionScore(feature=torch.nn.Identity(), splits=1, normalize=True)
    metric.features.append(torch.from_numpy(LOGITS))
    assert inception_score(PROBABILITIES, 0).score == pytest.approx(metric.compute()[0].item(), rel=1e-6)


def test_parts_are_disjoint_and_score_lower():
    found, generator = inception_score(PROBABILITIES, 5, splits=4), np.random.default_rng(5)
    parts = np.array_split(generator.permutation(len(PROBABILITIES)), 4)
    scores = [inception_score_of_all(PROBABILITIES[part]) for part in parts]
    assert (found.split_mean, found.split_spread) == pytest.approx((np.mean(scores), np.std(scores)))
    assert found.split_mean < found.score
    assert found == inception_score(PROBABILITIES, 5, splits=4)


def test_known_values_and_order():
    sure = np.repeat(np.eye(5), 6, axis=0)
    assert inception_score_of_all(sure) == pytest.approx(5)
    assert inception_score_of_all(np.full((9, 5), 0.2)) == pytest.approx(1)
    assert inception_score_of_all(PROBABILITIES[::-1]) == pytest.approx(inception_score_of_all(PROBABILITIES))
    alone = inception_score(sure[:3], 0)
    assert (alone.score, alone.low, alone.high, alone.split_mean) == (pytest.approx(1),) * 3 + (None,)


def test_the_interval_is_as_wide_as_the_draws_scatter():
    generator = np.random.default_rng(1)
    found = [inception_score(generator.dirichlet(np.full(4, 0.3), 200), seed) for seed in range(60)]
    widths = np.array([each.high - each.low for each in found])
    assert 0.7 < widths.mean() / (2 * 1.96 * np.std([each.score for each in found])) < 1.4


def test_what_are_no_probabilities_is_named():
    with pytest.raises(ValueError, match="do not sum to 1"):
        inception_score(LOGITS, 0)
    with pytest.raises(ValueError, match=r"shape \(0, 7\)"):
        inception_score(PROBABILITIES[:0], 0)
    with pytest.raises(ValueError, match="0 splits"):
        inception_score(PROBABILITIES, 0, splits=0)
