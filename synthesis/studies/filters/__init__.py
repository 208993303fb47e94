"""Do the filters of a run do better than keeping as many attempts at random?"""

__all__ = ["control", "page"]
