"""Object storage: addresses, one store behind them, paths of objects that read as paths do, and leases."""

__all__ = ["object_path", "store"]
