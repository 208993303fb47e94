"""Scenes with places: what lies where, in meters; said in words, turned into labels, changed."""

__all__ = ["catalog", "changes", "drawing", "facts", "labels", "layout", "masks", "questions", "regions", "saying",
           "sheet"]
