"""Is a run or an export whole? Every file against what the others say of it, and repair of what can be made again."""

__all__ = ["exports", "faults", "repair", "verifying"]
