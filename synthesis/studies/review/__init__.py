"""A run looked at by people: which image is next, what is said of it, and how far all agree."""

__all__ = ["looking", "summary"]
