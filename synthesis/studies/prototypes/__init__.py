"""What the prototypes of a Hopfield generator stand for, and whether they are used."""

__all__ = ["figures", "inspection", "report"]
