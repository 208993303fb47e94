"""What a trained model met, written beside its weights: single words of its captions, and its classes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from terrasynth.eval.models.knowledge import Knowledge, load_knowledge


def write_knowledge(
    folder: Path, captions: Iterable[str] | None, classes: Iterable[str], base: Path | None = None
) -> Path | None:
    """Write `knowledge.json`, by which `generate`, `plan` and `run` say what a model never read.

    Args:
        captions: Of the training split, and of no other; None for a model that reads no text.
        classes: Of the training split; "" is none.
        base: The folder of the model that the training started from; where that says nothing of what it knows, nothing
            can be said of the result, and no file is written.

    Returns:
        The file, or None.
    """
    found = Knowledge.of(captions, classes)
    if base is not None:
        before = load_knowledge(base)
        if before is None:
            return None
        found = found.joined(before)
    return found.save(folder)
