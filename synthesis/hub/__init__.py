"""Publish runs and exports on the Hugging Face Hub, whatever the network does meanwhile."""

__all__ = ["pushing"]
