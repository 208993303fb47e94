"""What a generator is told beside the text of a prompt."""

__all__ = ["caption"]
