"""Charts, contact sheets, Markdown and HTML pages."""

__all__ = ["charts", "evaluation_report", "pair_sheet", "run_report", "sheets"]
