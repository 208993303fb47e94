"""What people said of a run's images: an append-only file of verdicts and captions, and what stands of it."""

__all__ = ["entries", "file", "sampling", "standing"]
