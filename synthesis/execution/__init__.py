"""A recipe resolved against its models; blocks made, here or elsewhere, and decided on."""

__all__ = ["base", "block_maker", "deciding", "executors", "job", "prompts", "targets", "unread"]
