"""Real data that comes in: readers of image-caption data, one file a format."""

from __future__ import annotations

from terrasynth.training.data.pairs import Pair, PairSet, Skipped, report_skipped
from terrasynth.training.data.reading import read_pairs

__all__ = ["Pair", "PairSet", "Skipped", "class_folders", "how_far", "latent_cache", "latent_views", "maps", "pictures",
           "read_pairs", "reading", "report_skipped", "settings", "split_list", "text_files", "view_texts", "views"]
