"""What the process of a job does, one kind of job a file; here torch may be imported."""

__all__ = ["base", "doing"]
