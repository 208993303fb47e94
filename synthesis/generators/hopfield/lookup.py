"""The modern Hopfield network over learned prototypes (Ramsauer et al., ICLR 2021).

Patterns X (P, D) are stored in the weights. A state xi is updated by xi <- X^T softmax(beta X xi) (their equation 3),
which never raises the energy of their equation 2. Txt2Img-MHN (Xu et al., IEEE TIP 2023) reads it out through a
second matrix V in place of X.
"""

from __future__ import annotations

import importlib.util
import math
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import nn
from typing_extensions import override

from terrasynth.errors import how_to_install

Backend = Literal["native", "hflayers"]
PATTERN_STD, VALUE_STD = 0.125, 0.05  # small against what an optimizer's step moves: prototypes specialize early


def retrieve(state: torch.Tensor, patterns: torch.Tensor, values: torch.Tensor, beta: torch.Tensor | float,
             steps: int = 1) -> torch.Tensor:
    """`steps` - 1 updates of the state, then a read-out.

    Args:
        state: float (..., D).
        patterns: Stored patterns, float (P, D).
        values: What is read out for each pattern, float (P, E).
        beta: Inverse temperature, > 0.
        steps: Retrieval steps, >= 1.

    Returns:
        float (..., E): softmax(beta xi X^T) V.
    """
    for _ in range(steps - 1):
        state = association(state, patterns, beta) @ patterns
    return association(state, patterns, beta) @ values


def association(state: torch.Tensor, patterns: torch.Tensor, beta: torch.Tensor | float) -> torch.Tensor:
    """How much each pattern answers, softmax(beta xi X^T): float (..., D), (P, D) -> (..., P), rows sum to 1."""
    return torch.softmax(F.linear(state * beta, patterns), dim=-1)


def energy(state: torch.Tensor, patterns: torch.Tensor, beta: float) -> torch.Tensor:
    """Energy of states (Ramsauer et al., equation 2), >= 0 for states within the patterns' largest norm.

    Args:
        state: float (..., D).
        patterns: float (P, D).
        beta: Inverse temperature, > 0.

    Returns:
        float (...): -lse(beta, X xi) + xi^T xi / 2 + log(P) / beta + max |x|^2 / 2.
    """
    lse = torch.logsumexp(beta * state @ patterns.T, dim=-1) / beta
    largest = patterns.square().sum(-1).max()
    return -lse + state.square().sum(-1) / 2 + math.log(len(patterns)) / beta + largest / 2


class HopfieldLookup(nn.Module):
    """A layer of learned prototypes: float (..., D) -> (..., E).

    Args:
        width: D, of the states.
        prototypes: P, stored patterns.
        out_width: E; None for D.
        beta: Inverse temperature; None for 1 / sqrt(D), as Txt2Img-MHN has it.
        learn_beta: Let training move beta.
        steps: Retrieval steps, >= 1.
        separate_values: Read out through values of their own instead of the patterns; needed where E is not D.

    Raises:
        ValueError: `steps` or `beta` is not positive, or `out_width` needs values of its own.
    """

    def __init__(self, width: int, prototypes: int, out_width: int | None = None, beta: float | None = None,
                 learn_beta: bool = False, steps: int = 1, separate_values: bool = True) -> None:
        super().__init__()
        if steps < 1:
            raise ValueError(f"steps={steps}: at least one retrieval step is needed")
        if beta is not None and beta <= 0:
            raise ValueError(f"beta={beta}: an inverse temperature is above 0")
        if out_width not in (None, width) and not separate_values:
            raise ValueError(f"out_width={out_width} is not width={width}: set separate_values")
        self.steps = steps
        self.patterns = nn.Parameter(PATTERN_STD * torch.randn(prototypes, width))
        self.values = None
        if separate_values:
            self.values = nn.Parameter(VALUE_STD * torch.randn(prototypes, out_width or width))
        start = math.log(width**-0.5 if beta is None else beta)
        self.log_beta = nn.Parameter(torch.tensor(start), requires_grad=learn_beta)
        self._layer: Any = None

    @property
    def beta(self) -> torch.Tensor:
        """The inverse temperature, a float scalar."""
        return self.log_beta.exp()

    def use_backend(self, backend: Backend) -> None:
        """Compute with our own equations, or with `hflayers.HopfieldLayer` on the same weights.

        Raises:
            ImportError: The package `hopfield-layers` is not installed.
        """
        if backend == "native":
            self._layer = None
            return
        if importlib.util.find_spec("hflayers") is None:
            raise ImportError("the backend 'hflayers' needs the package hopfield-layers, which is not on the "
                              f"package index; {how_to_install('hopfield')}")
        from hflayers import HopfieldLayer

        prototypes, width = self.patterns.shape
        values = self.patterns if self.values is None else self.values
        layer = HopfieldLayer(
            input_size=width, quantity=prototypes, scaling=1.0, pattern_projection_size=values.shape[1],
            lookup_weights_as_separated=True, update_steps_max=self.steps - 1, update_steps_eps=1e-30,
            normalize_stored_pattern=False, normalize_stored_pattern_affine=False, normalize_state_pattern=False,
            normalize_state_pattern_affine=False, normalize_pattern_projection=False,
            normalize_pattern_projection_affine=False, stored_pattern_as_static=True, state_pattern_as_static=True,
            pattern_projection_as_static=True, disable_out_projection=True, input_bias=False,
        )
        object.__setattr__(self, "_layer", layer)  # not a submodule: its own parameters are never used

    @override
    def forward(self, state: torch.Tensor) -> torch.Tensor:
        values = self.patterns if self.values is None else self.values
        if self._layer is None:
            return retrieve(state, self.patterns, values, self.beta, self.steps)
        # That layer scales the state before each product; sqrt(beta) on both sides is beta in every step.
        root = (0.5 * self.log_beta).exp()
        weights = {"lookup_weights": (self.patterns * root)[None], "target_weights": values[None]}
        flat = (state * root).reshape(1, -1, state.shape[-1])
        found: torch.Tensor = torch.func.functional_call(self._layer, weights, (flat,))
        return found.reshape(*state.shape[:-1], values.shape[1])
