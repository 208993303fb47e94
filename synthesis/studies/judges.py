"""The models that judge images, which remember on disk what they said of each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.core.quiet import quiet

if TYPE_CHECKING:
    from terrasynth.eval import CachedClassifier, CachedEncoder


def load_judges(
    encoder: str, classifier: str, cache: Path | None, device: str = "cpu"
) -> tuple[CachedEncoder, CachedClassifier]:
    """Load a dual encoder and a scene classifier.

    Args:
        cache: Folder that keeps features of images and texts; None for none.

    Raises:
        InputError: A model that does not exist, or a folder that cannot be written.
    """
    from terrasynth.eval import CachedClassifier, CachedEncoder, load_classifier, load_encoder

    with quiet():
        return (CachedEncoder(load_encoder(encoder, device=device), cache),
                CachedClassifier(load_classifier(classifier, device=device), cache))


def check_classes(labels: Sequence[str], known: Sequence[str], classifier: str) -> None:
    """Check that a classifier knows every class, spelled as the data spell it.

    Raises:
        InputError: It does not know one.
    """
    if unknown := sorted(set(labels) - set(known)):
        raise InputError(f"class {unknown[0]!r} is unknown to classifier {classifier!r}; it knows "
                         f"{', '.join(known)}; give one of the data's classes as --classifier")
