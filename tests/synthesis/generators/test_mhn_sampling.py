"""How a token is drawn: from which distribution, with which noise, under which guidance."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from terrasynth.synthesis.generators.hopfield.sampling import draw, generate_tokens, token_probabilities
from tests.tiny_mhn import CODES, TEXT_LENGTH, tiny_transformer

VOCABULARY = 20
LARGEST_UNIFORM = 1 - 2.0**-53


def _logits(seed, n=5, codes=12, scale=2.0):
    return scale * torch.randn(n, codes, generator=torch.Generator().manual_seed(seed))


def _uniform(seed, *shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@hypothesis_settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**31), k=st.integers(1, 14))
def test_top_k_keeps_the_k_most_likely_in_proportion(seed, k):
    logits = _logits(seed)
    found, whole = token_probabilities(logits, top_k=k), logits.softmax(-1)
    assert (found > 0).sum(-1).tolist() == [min(k, 12)] * 5
    largest = whole.topk(min(k, 12), dim=-1)
    kept = found.gather(-1, largest.indices)
    assert torch.allclose(kept, largest.values / largest.values.sum(-1, keepdim=True), atol=1e-6)


def test_top_k_keeps_all_that_tie_with_the_last_and_zero_keeps_everything():
    logits = torch.tensor([[0.0, 1.0, 1.0, 2.0]])
    found = token_probabilities(logits, top_k=2)
    assert found[0, 0] == 0
    assert torch.allclose(found[:, 1:], logits[:, 1:].softmax(-1))
    assert torch.equal(token_probabilities(logits, top_k=0), logits.softmax(-1))


@hypothesis_settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**31), p=st.floats(0.01, 0.999), scale=st.sampled_from([0.1, 1.0, 5.0]))
def test_top_p_keeps_the_smallest_set_that_has_p(seed, p, scale):
    logits = _logits(seed, scale=scale)
    found, whole = token_probabilities(logits, top_p=p), logits.softmax(-1)
    for kept, probabilities in zip(found > 0, whole, strict=True):
        inside = probabilities[kept]
        assert inside.sum() >= p - 1e-5
        assert inside.sum() - inside.min() <= p + 1e-5
        if not kept.all():
            assert inside.min() >= probabilities[~kept].max()
    expected = whole * (found > 0)
    assert torch.allclose(found, expected / expected.sum(-1, keepdim=True), atol=1e-6)


def test_top_p_cuts_what_top_k_and_temperature_leave():
    logits = torch.tensor([[4.0, 3.0, 2.0, 1.0, 0.0]]).log()  # 0.4, 0.3, 0.2, 0.1, 0
    assert (token_probabilities(logits, top_p=0.65) > 0).tolist() == [[True, True, False, False, False]]
    # Squared: 16, 9, 4, 1 of 30; of the first two, 16 of 25.
    assert (token_probabilities(logits, 0.5, top_p=0.6) > 0).tolist() == [[True, True, False, False, False]]
    assert (token_probabilities(logits, 0.5, 2, 0.6) > 0).tolist() == [[True, False, False, False, False]]


def test_temperature_goes_from_the_most_likely_to_all_alike():
    logits = _logits(0)
    assert torch.equal(token_probabilities(logits), logits.softmax(-1))
    assert torch.allclose(token_probabilities(logits, 0.5), logits.softmax(-1).square() /
                          logits.softmax(-1).square().sum(-1, keepdim=True))
    coldest = token_probabilities(logits, 1e-4)
    assert torch.equal(coldest.argmax(-1), logits.argmax(-1))
    assert torch.allclose(coldest.max(-1).values, torch.ones(5))
    assert torch.allclose(token_probabilities(logits, 1e6), torch.full((5, 12), 1 / 12), atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_probabilities_are_float32_whatever_the_logits_are(dtype):
    found = token_probabilities(_logits(0).to(dtype), 0.7, 6, 0.8)
    assert found.dtype == torch.float32
    assert torch.allclose(found.sum(-1), torch.ones(5))


@hypothesis_settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**31), u=st.one_of(st.sampled_from([0.0, LARGEST_UNIFORM, 0.5]), st.floats(0, 0.9999)))
def test_what_has_no_probability_is_never_drawn(seed, u):
    probabilities = token_probabilities(_logits(seed))
    gone = torch.rand(5, 12, generator=torch.Generator().manual_seed(seed)) < 0.6
    gone[:, 3] = False
    probabilities = probabilities.masked_fill(gone, 0)
    drawn = draw(probabilities, torch.full((5,), u, dtype=torch.float64))
    assert (probabilities.gather(1, drawn[:, None]) > 0).all()


def test_draws_are_the_inverse_of_the_cumulative_distribution():
    probabilities = torch.tensor([[0.0, 0.25, 0.0, 0.5, 0.25, 0.0]])
    for u, token in ((0.0, 1), (0.2499, 1), (0.25, 3), (0.7499, 3), (0.75, 4), (LARGEST_UNIFORM, 4)):
        assert draw(probabilities, torch.tensor([u], dtype=torch.float64)).tolist() == [token]


def test_draws_follow_the_probabilities():
    n = 100_000
    probabilities = token_probabilities(_logits(3, n=1), top_k=9)
    drawn = draw(probabilities.expand(n, -1), _uniform(0, n))
    counts = torch.bincount(drawn, minlength=12)
    possible = probabilities[0] > 0
    assert counts[~possible].sum() == 0
    expected = probabilities[0, possible].double()
    assert chisquare(counts[possible].numpy(), (n * expected / expected.sum()).numpy()).pvalue > 1e-3


@pytest.fixture(scope="module")
def network():
    return tiny_transformer(VOCABULARY)


@pytest.fixture(scope="module")
def texts():
    return torch.randint(1, VOCABULARY, (2, TEXT_LENGTH), generator=torch.Generator().manual_seed(0))


NULL = torch.zeros(TEXT_LENGTH, dtype=torch.int64)
WHICH = torch.tensor([0, 1, 1, 0])


def _generate(network, texts, *arguments, seed=0, which=WHICH, **options):
    with torch.no_grad():
        return generate_tokens(network, texts, which, _uniform(seed, len(which), 16), *arguments, **options)


@pytest.mark.parametrize("scale", [0.0, 0.5, 1.0])
def test_guidance_of_one_and_below_is_none(network, texts, scale):
    plain = _generate(network, texts)
    assert plain.shape == (4, 16)
    assert 0 <= plain.min() < plain.max() < CODES
    assert torch.equal(_generate(network, texts, NULL, scale), plain)


@pytest.mark.parametrize("use_cache", [True, False])
def test_guidance_is_the_formula(network, texts, use_cache):
    scale, noise = 4.0, _uniform(0, 4, 16)
    expected = torch.zeros(4, 0, dtype=torch.int64)
    with torch.no_grad():
        for i in range(16):
            conditional = network(texts[WHICH], expected)[:, -1]
            null = network(NULL.expand(4, -1), expected)[:, -1]
            probabilities = ((1 - scale) * null + scale * conditional).softmax(-1).double().numpy()
            pairs = zip(probabilities, noise[:, i].numpy(), strict=True)
            drawn = [[np.searchsorted(np.cumsum(p) / p.sum(), u)] for p, u in pairs]
            expected = torch.cat([expected, torch.tensor(drawn)], 1)
    found = _generate(network, texts, NULL, scale, use_cache=use_cache)
    assert torch.equal(found, expected)
    assert not torch.equal(found, _generate(network, texts))


@pytest.mark.parametrize("options", [{}, {"guidance_scale": 3.0, "temperature": 0.8, "top_k": 20, "top_p": 0.9}])
def test_tokens_are_the_same_without_a_cache(network, texts, options):
    cached = _generate(network, texts, NULL, **options)
    assert torch.equal(_generate(network, texts, NULL, use_cache=False, **options), cached)


def test_a_picture_follows_its_own_text_and_noise_only(network, texts):
    whole = _generate(network, texts, NULL, 3.0)
    noise = _uniform(0, 4, 16)
    with torch.no_grad():
        for i in range(4):
            alone = generate_tokens(network, texts[WHICH[i]][None], torch.tensor([0]), noise[i:i + 1], NULL, 3.0)
            assert torch.equal(alone[0], whole[i])
    assert not torch.equal(whole[0], whole[3])


def test_the_most_likely_tokens_need_no_noise(network, texts):
    assert torch.equal(_generate(network, texts, top_k=1), _generate(network, texts, top_k=1, seed=1))
    assert not torch.equal(_generate(network, texts), _generate(network, texts, seed=1))


def test_guidance_without_a_null_text_is_an_error(network, texts):
    with pytest.raises(ValueError, match="guidance needs null_text"):
        _generate(network, texts, None, 2.0)
