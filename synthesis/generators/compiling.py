"""A network compiled by torch, after a look at whether it still says the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from terrasynth.synthesis.core.errors import InputError, one_line

if TYPE_CHECKING:
    import torch

# Largest distance from the uncompiled output as a share of its size (root mean squares). Fused operations round
# otherwise, in bfloat16 by about one in a hundred; wrong code is off by about as much as the output itself.
TOLERANCE = {"float32": 0.001, "float16": 0.02, "bfloat16": 0.05}


def compile_checked(network: Any, draw: Callable[[], object], dtype: str, compiler: Any = None) -> None:  # noqa: ANN401
    """Compile a network in place, if its compiled output is that of the network as it is.

    Args:
        network: The module that a pipeline asks at every step.
        draw: Draws a few images with it, so that its inputs are those of real work.
        dtype: In which it computes.
        compiler: Backend of `torch.compile`; None for torch's own.

    Raises:
        InputError: It cannot be compiled here, or what comes out differs.
    """
    seen: list[tuple[tuple[Any, ...], dict[str, Any], torch.Tensor]] = []
    hook = network.register_forward_hook(
        lambda _, args, kwargs, output: seen.append((args, kwargs, _first(output).detach().clone())), with_kwargs=True
    )
    try:
        draw()
    finally:
        hook.remove()
    try:
        network.compile(**({} if compiler is None else {"backend": compiler}))
        off = max(_distance(_first(network(*args, **kwargs)), output) for args, kwargs, output in (seen[0], seen[-1]))
    except Exception as error:  # a compiler fails in any way it likes
        raise InputError(f"runtime.compile true cannot be had: the network does not compile here "
                         f"({type(error).__name__}: {one_line(error, 160)}); set it to false") from error
    if not off <= TOLERANCE[dtype]:
        raise InputError(
            f"runtime.compile true would draw other images: the compiled network is off by {off:.2g} of its output, "
            f"where rounding in {dtype} explains {TOLERANCE[dtype]:g}; set it to false"
        )


def _first(output: Any) -> torch.Tensor:  # noqa: ANN401 - a tuple or a record
    return output[0]  # type: ignore[no-any-return]


def _distance(found: torch.Tensor, expected: torch.Tensor) -> float:
    wanted = expected.double()
    return float(((found.double() - wanted).square().mean() / wanted.square().mean()).sqrt())
