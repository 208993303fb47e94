"""Train the generators and evaluators: readers of image-caption data, one training loop, one file a model family."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from training.presets import presets
    from training.release import run_preset

__all__ = ["presets", "run_preset"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - PEP 562: whatever the name stands for
    """Import on first use, so that `import training` stays cheap (PEP 562)."""
    if name == "presets":
        from training.presets import presets

        return presets
    if name == "run_preset":
        from training.release import run_preset

        return run_preset
    raise AttributeError(f"module 'training' has no attribute {name!r}")
