"""Published evaluation protocols, followed as far as can be, with a list of what differs."""

__all__ = ["base", "mhn", "strict"]
