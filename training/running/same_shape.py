"""Go on from a model that exists, whose shape must be the preset's."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from terrasynth.training.errors import InputError


def check_same_shape(own: Any, other: Any, names: Iterable[str] = ()) -> None:  # noqa: ANN401 - configurations differ
    """Compare two configurations of diffusers or transformers.

    Args:
        other: That of `needs.initial`.
        names: What is compared; all that `own` has, if empty, but for the side of the images and private names.

    Raises:
        InputError: They differ.
    """
    own, other = (dict(each) if isinstance(each, dict) else each.to_dict() for each in (own, other))
    for name in names or [name for name in own if name != "sample_size" and not name.startswith("_")]:
        if _plain(own[name]) != _plain(other.get(name)):
            raise InputError(f"needs.initial has {name} {_plain(other.get(name))}; the preset says {_plain(own[name])}")


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value
