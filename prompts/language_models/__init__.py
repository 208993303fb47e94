"""Ask a language model for captions, in this process or at an endpoint, within limits, and keep its answers."""

__all__ = ["answer_cache", "answer_json", "chat", "local", "prices", "request", "sampling", "spending"]
