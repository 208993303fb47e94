"""The prototype lookup against its equations in closed form and two second implementations."""

import importlib.util
import math
import sys
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from terrasynth.synthesis.generators.hopfield.lookup import HopfieldLookup, association, energy, retrieve


def _normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def _lookup(width=8, prototypes=6, seed=0, **options):
    """With weights that no backend has made up by itself, and a beta that is not the usual one."""
    lookup = HopfieldLookup(width, prototypes, **{"beta": 0.7, **options})
    with torch.no_grad():
        lookup.patterns.copy_(_normal(*lookup.patterns.shape, seed=seed))
        if lookup.values is not None:
            lookup.values.copy_(_normal(*lookup.values.shape, seed=seed + 1))
    return lookup


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_a_state_near_a_stored_pattern_retrieves_it_at_high_beta(steps):
    patterns, values = _normal(10, 16), _normal(10, 5, seed=1)
    states = patterns + 0.1 * _normal(10, 16, seed=2)
    assert torch.allclose(retrieve(states, patterns, patterns, 50.0, steps), patterns, atol=1e-8)
    assert torch.allclose(retrieve(states, patterns, values, 50.0, steps), values, atol=1e-8)


def test_more_steps_come_closer_to_a_fixed_point_beside_the_stored_pattern():
    """The update contracts near a pattern that is well apart from the others (Ramsauer et al., theorem 5)."""
    patterns = F.normalize(_normal(5, 32), dim=1) * 4
    state = patterns[:1] + 0.5 * _normal(1, 32, seed=1)
    limit = retrieve(state, patterns, patterns, 0.4, 200)
    assert torch.allclose(retrieve(limit, patterns, patterns, 0.4), limit, atol=1e-12)
    assert (limit - patterns[:1]).norm() < 0.05 * patterns[0].norm()
    away = [(retrieve(state, patterns, patterns, 0.4, steps) - limit).norm() for steps in (1, 2, 3)]
    assert (state - limit).norm() > away[0] > away[1] > away[2]


@pytest.mark.parametrize("steps", [1, 3])
def test_the_mean_of_everything_is_read_out_as_beta_goes_to_zero(steps):
    states, patterns, values = _normal(4, 8), _normal(10, 8, seed=1), _normal(10, 5, seed=2)
    found = retrieve(states, patterns, values, 1e-9, steps)
    assert torch.allclose(found, values.mean(0).expand(4, 5), atol=1e-7)
    assert torch.allclose(association(states, patterns, 1e-9), torch.full((4, 10), 0.1, dtype=torch.float64))


@hypothesis_settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**31), prototypes=st.integers(1, 12), width=st.integers(1, 10),
    scale=st.floats(0.01, 5), beta=st.sampled_from([1e-3, 0.1, 0.354, 1.0, 4.0, 30.0]),
)
def test_energy_never_rises_over_retrieval_steps(seed, prototypes, width, scale, beta):
    patterns, state = scale * _normal(prototypes, width, seed=seed), 3 * scale * _normal(4, width, seed=seed + 1)
    energies = [energy(state, patterns, beta)]
    for _ in range(6):
        state = retrieve(state, patterns, patterns, beta)
        energies.append(energy(state, patterns, beta))
    for before, after in pairwise(energies):
        assert (after <= before + 1e-9 * (1 + before.abs())).all()
    # After a step the state is a mean of patterns, so within their largest norm.
    assert all((each >= -1e-9).all() for each in energies[1:])


def test_energy_is_its_closed_form_and_a_step_goes_down_its_gradient():
    patterns, beta = _normal(7, 5), 0.6
    state = _normal(3, 5, seed=1).requires_grad_()
    x, xi = patterns.numpy(), state.detach().numpy()
    expected = (-np.log(np.exp(beta * xi @ x.T).sum(1)) / beta + (xi**2).sum(1) / 2 + np.log(7) / beta
                + (x**2).sum(1).max() / 2)
    found = energy(state, patterns, beta)
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=1e-12)
    found.sum().backward()
    assert torch.allclose(retrieve(state, patterns, patterns, beta), state - state.grad)
    one = patterns[:1]
    assert torch.allclose(energy(state, one, beta), (state - one).square().sum(1) / 2)


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_retrieve_is_the_formula(steps):
    state, patterns, values, beta = _normal(2, 3, 8), _normal(6, 8, seed=1), _normal(6, 4, seed=2), 0.8
    xi, x, v = (each.numpy() for each in (state, patterns, values))

    def softmax(scores):
        e = np.exp(scores - scores.max(-1, keepdims=True))
        return e / e.sum(-1, keepdims=True)

    for _ in range(steps - 1):
        xi = softmax(beta * xi @ x.T) @ x
    np.testing.assert_allclose(retrieve(state, patterns, values, beta, steps), softmax(beta * xi @ x.T) @ v, rtol=1e-10)


@pytest.mark.parametrize("beta", [0.05, 1.0, 7.0])
def test_one_step_is_attention_with_beta_as_its_scale(beta):
    state, patterns, values = _normal(9, 8), _normal(6, 8, seed=1), _normal(6, 4, seed=2)
    expected = F.scaled_dot_product_attention(state[None], patterns[None], values[None], scale=beta)[0]
    assert torch.allclose(retrieve(state, patterns, values, beta), expected, rtol=1e-10)


@pytest.mark.parametrize("steps", [1, 3])
def test_gradients_reach_patterns_values_beta_and_the_state(steps):
    lookup, state = _lookup(steps=steps, learn_beta=True, out_width=5), _normal(4, 8, dtype=torch.float32)
    state.requires_grad_()
    lookup(state).square().sum().backward()
    for each in (lookup.patterns, lookup.values, lookup.log_beta, state):
        assert each.grad.isfinite().all()
        assert each.grad.abs().max() > 1e-6
    fixed = _lookup(steps=steps)
    fixed(state).square().sum().backward()
    assert fixed.log_beta.grad is None


def test_tied_values_are_the_patterns():
    tied, separate = _lookup(separate_values=False), _lookup()
    assert tied.values is None
    with torch.no_grad():
        separate.values.copy_(separate.patterns)
    state = _normal(2, 3, 8, dtype=torch.float32)
    assert torch.equal(tied(state), separate(state))


def test_beta_is_that_of_txt2img_mhn_where_none_is_given():
    assert HopfieldLookup(64, 4).beta.item() == pytest.approx(1 / math.sqrt(64))
    assert HopfieldLookup(64, 4, beta=2.5).beta.item() == pytest.approx(2.5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps=0: at least one retrieval step"),
        ({"beta": 0.0}, r"beta=0\.0: an inverse temperature is above 0"),
        ({"beta": -1.0}, r"beta=-1\.0: an inverse temperature is above 0"),
        ({"out_width": 3, "separate_values": False}, "out_width=3 is not width=8: set separate_values"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        HopfieldLookup(8, 4, **options)


def test_a_backend_that_is_not_installed_is_named(monkeypatch):
    if importlib.util.find_spec("hflayers") is not None:
        monkeypatch.setitem(sys.modules, "hflayers", None)
    lookup = _lookup()
    with pytest.raises(ImportError, match="the backend 'hflayers' needs the package hopfield-layers"):
        lookup.use_backend("hflayers")
    state = _normal(4, 8, dtype=torch.float32)
    assert torch.equal(lookup(state), _lookup()(state))  # still the native one


@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("options", [{}, {"separate_values": False}, {"out_width": 5}, {"out_width": 11}])
def test_hopfield_layers_gives_the_same_numbers_and_gradients(steps, options):
    pytest.importorskip("hflayers")
    results = {}
    for backend in ("native", "hflayers"):
        lookup = _lookup(steps=steps, learn_beta=True, **options)
        names = set(lookup.state_dict())
        lookup.use_backend(backend)
        assert set(lookup.state_dict()) == names  # the same weights in a file, whichever backend wrote it
        state = _normal(2, 7, 8, dtype=torch.float32, seed=3).requires_grad_()
        found = lookup(state)
        (found * _normal(*found.shape, dtype=torch.float32, seed=4)).sum().backward()
        results[backend] = {"output": found.detach(), "state": state.grad,
                            **{name: each.grad for name, each in lookup.named_parameters()}}
    assert results["native"].keys() == results["hflayers"].keys()
    for name, expected in results["native"].items():
        assert torch.allclose(results["hflayers"][name], expected, rtol=1e-4, atol=1e-5), name


def test_backends_follow_the_weights_and_can_be_changed_back():
    pytest.importorskip("hflayers")
    lookup, state = _lookup(), _normal(4, 8, dtype=torch.float32)
    lookup.use_backend("hflayers")
    before = lookup(state)
    with torch.no_grad():
        lookup.values.mul_(2)
    assert torch.allclose(lookup(state), 2 * before, atol=1e-5)
    lookup.use_backend("native")
    assert torch.allclose(lookup(state), 2 * before, atol=1e-5)
