"""A recipe resolved against its models, and the making of one block after another."""

__all__ = ["deciding", "job", "local", "prompts", "unread"]
