"""From class names to texts: one expander a file."""

__all__ = ["captions", "endpoint", "file", "grammar", "layout", "lm"]
