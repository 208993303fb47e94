"""Amounts in words, for what all four packages print."""

from __future__ import annotations


def counted(count: int, noun: str, plural: str = "") -> str:
    """A number with its noun: "1 image", "1,200 images", "2 classes".

    Args:
        count: How many.
        noun: What one of them is called.
        plural: What several are called; "" for the noun with an s.

    Example:
        >>> from terrasynth.words import counted
        >>> counted(1, "image"), counted(1200, "image"), counted(0, "class", "classes")
        ('1 image', '1,200 images', '0 classes')
    """
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"
