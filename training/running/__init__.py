"""The training loop, its checkpoints, previews and what is saved."""

__all__ = [
    "drawing", "figures", "knowledge", "loop", "place", "progress", "rates", "same_shape", "same_training", "saving",
    "settings", "sheets", "task",
]
