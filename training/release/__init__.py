"""The weights that are embedded: how they are made, measured and described."""

__all__ = ["ablations", "cards"]
