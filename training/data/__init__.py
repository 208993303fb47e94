"""Real data that comes in: readers of image-caption data, one file a format."""

from __future__ import annotations

from training.data.pairs import Pair, PairSet, Skipped, report_skipped
from training.data.reading import read_pairs

__all__ = ["Pair", "PairSet", "Skipped", "read_pairs", "report_skipped"]
