"""Scenes with places: what lies where, in meters; said in words, turned into labels, changed."""

__all__ = ["catalog", "changes", "drawing", "labels", "layout", "masks", "palettes", "questions", "regions", "saying",
           "sheet"]
