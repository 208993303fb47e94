"""Charts, contact sheets, tiles, Markdown and HTML pages."""

__all__ = [
    "charts", "evaluation_page", "evaluation_report", "folder", "page", "run_images", "run_report", "sheets", "tiles",
]
