"""A data set in the formats that others read: plan it, write it, say what it is."""

__all__ = ["exporting", "formats", "licence", "marker", "merging", "output", "plan", "real", "registry", "splits"]
