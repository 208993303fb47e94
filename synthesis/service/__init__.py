"""The service: jobs over HTTP that survive a kill, their workers, and the page."""

__all__ = ["app", "settings"]
