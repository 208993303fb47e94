"""A set of images judged: every figure with its null and its ceiling, as a record, tables and findings."""

__all__ = [
    "confusion", "evaluate", "figures", "findings", "guidance_sweep", "judge_figures", "judged", "realism", "record",
    "reference",
]
