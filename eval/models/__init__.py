"""The networks that judge: how they are found, loaded, asked, calibrated, and how their answers are cached."""

__all__ = [
    "calibrating", "calibration", "classifiers", "dual_encoders", "efficientnet_lite", "feature_cache",
    "inception", "knowledge", "loading", "openclip", "openclip_files", "picture_encoders", "references",
    "residual_tower", "thumbnail",
]
