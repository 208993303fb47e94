"""A recipe resolved against its models, and the making of one block after another."""

__all__ = ["job", "local", "prompts", "unread"]
