"""What a run says of itself: data set card, report, and the licences of its parts joined."""

__all__ = ["card", "header", "left_here", "licence_sources", "licences", "one_file", "redraw", "run_images",
           "run_report"]
