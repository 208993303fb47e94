"""The run directory: blocks, attempts, decisions, shards and notes; no other room knows a path inside a run."""

__all__ = [
    "attempts", "block_files", "blocks", "decision_table", "decisions", "directory", "finished", "frozen",
    "judged_rows", "keeping", "label_columns", "measuring", "noted", "one_attempt", "pending_review", "pictures",
    "shards", "stored",
]
