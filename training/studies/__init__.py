"""Trainings that answer a question about generated data."""

__all__ = ["downstream", "zero_shot"]
