"""Questions asked of finished runs, each with its null and its ceiling."""

__all__ = [
    "calibration", "captions", "copies", "downstream", "evaluation", "evaluation_page", "filters", "guidance",
    "layouts", "protocols", "prototypes", "recaption", "reference", "review", "trainings",
]
