"""Figures of sets of texts: how many there are, how they differ, how close they come to real captions."""

__all__ = ["comparison", "report", "tables", "tally"]
