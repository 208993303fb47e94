"""What a prompt has to be before it is drawn: distinct, short enough, within a vocabulary, about its class."""

__all__ = ["checked", "settings"]
