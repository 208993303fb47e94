"""Object storage: addresses, one store behind them, paths of objects that read as paths do, and leases."""

__all__ = ["addresses", "lease", "object_path", "store"]
