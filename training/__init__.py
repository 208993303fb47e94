"""Train the generators and evaluators: readers of image-caption data, one training loop, one file a model family."""

from __future__ import annotations

if __name__ != "terrasynth.training":  # a file under two names would be two modules with two classes of each name
    raise ImportError("this folder is a part of terrasynth: `pip install -e .`, then `import terrasynth.training`")

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from terrasynth.training.train import run_preset

__all__ = ["run_preset"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - PEP 562: whatever the name stands for
    """Import on first use, so that `import terrasynth.training` stays cheap (PEP 562)."""
    if name != "run_preset":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from terrasynth.training.train import run_preset

    return run_preset
