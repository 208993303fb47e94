"""The networks that judge: how they are found, loaded, asked, calibrated, and how their answers are cached."""

__all__ = [
    "calibrating", "calibration", "caption_network", "caption_words", "captioners", "classifiers", "dual_encoders",
    "efficientnet_lite", "feature_cache", "inception", "inference", "judges", "knowledge", "loaders", "loading",
    "openclip", "openclip_files", "references", "residual_tower", "segmenters", "thumbnail",
]
