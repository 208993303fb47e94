"""Charts, contact sheets, Markdown and HTML pages."""

__all__ = ["charts", "evaluation_page", "evaluation_report", "folder", "page", "run_report", "sheets"]
