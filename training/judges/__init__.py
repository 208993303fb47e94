"""Judges of one's own classes: two small heads on a frozen network, fitted in minutes, with figures and limits."""

__all__ = ["card", "run"]
