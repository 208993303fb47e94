"""Group normalization asks for widths that its groups divide."""

from __future__ import annotations

import math
from collections.abc import Sequence


def check_groups(groups: int, *widths: int) -> None:
    """Check that every layer's channels can be normalized in groups.

    Args:
        groups: Groups of the normalization.
        widths: Channels of the layers, by resolution.

    Raises:
        ValueError: They cannot; pydantic puts the place of the settings before the message.
    """
    wrong = next((width for width in widths if groups < 1 or width < 1 or width % groups), None)
    if wrong is not None:
        raise ValueError(f"groups {groups} does not divide the {wrong} channels of a layer; set groups to a divisor of "
                         f"{_listed(widths)}, such as {math.gcd(*widths) or 1}")


def _listed(widths: Sequence[int]) -> str:
    return " and ".join(map(str, dict.fromkeys(widths)))
