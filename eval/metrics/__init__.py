"""Metrics as functions of arrays, each against its published definition."""

__all__ = [
    "agreement", "captions", "coverage", "diversity", "figure", "floors", "frechet", "inception_score", "intervals",
    "kernel_distances", "moments", "neighbors", "picture_quality", "probes", "quality_calibration", "random_keep",
    "realism", "retrieval", "segmentation",
]
