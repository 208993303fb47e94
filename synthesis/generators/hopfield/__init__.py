"""The Txt2Img-MHN generator: prototype lookup, transformer, sampling of tokens, and its diffusers pipeline."""

__all__ = ["lookup", "pipeline", "transformer"]
