"""Judge pictures: dual encoders, scene classifiers, metrics with their nulls and ceilings, and reports.

Works on `uint8` (N, H, W, 3) arrays, strings and feature arrays, and imports no other part of this project. Functions
that have the name of their file are imported from there: `from eval.memorisation import memorisation`, `from
eval.repetition import repetition`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eval.calibration import Calibration, calibrate
    from eval.classifier import SceneClassifier, load_classifier
    from eval.coverage import measure_coverage
    from eval.diversity import vendi_score
    from eval.duplicates import max_similarity_before
    from eval.encoders import ClipEncoder, Encoder, PictureEncoder, load_encoder
    from eval.errors import InputError
    from eval.evaluation import Evaluation, evaluate
    from eval.feature_cache import CachedClassifier, CachedEncoder
    from eval.frechet import FeatureStatistics, frechet_distance, frechet_floor, frechet_infinity
    from eval.kernel_distances import cmmd, kid
    from eval.memorisation import Memorisation
    from eval.models import ResolvedModel, content_hash, resolve
    from eval.picture_encoders import load_picture_encoder
    from eval.picture_measures import FeatureMeasure, HashMeasure
    from eval.reference import Reference, make_reference
    from eval.repetition import Repetition
    from eval.report import RunReport, write_report
    from eval.retrieval import measure_retrieval
    from eval.scores import inception_score
    from eval.thumbnail import ThumbnailEncoder

__all__ = [
    "CachedClassifier", "CachedEncoder", "Calibration", "ClipEncoder", "Encoder", "Evaluation", "FeatureMeasure",
    "FeatureStatistics", "HashMeasure", "InputError", "Memorisation", "PictureEncoder", "Reference", "Repetition",
    "ResolvedModel", "RunReport", "SceneClassifier", "ThumbnailEncoder", "calibrate", "cmmd", "content_hash",
    "evaluate", "frechet_distance", "frechet_floor", "frechet_infinity", "inception_score", "kid", "load_classifier",
    "load_encoder", "load_picture_encoder", "make_reference", "max_similarity_before", "measure_coverage",
    "measure_retrieval", "resolve", "vendi_score", "write_report",
]

_HOMES = {
    "Calibration": "calibration", "calibrate": "calibration",
    "ClipEncoder": "encoders", "Encoder": "encoders", "PictureEncoder": "encoders",
    "load_encoder": "encoders",
    "CachedClassifier": "feature_cache", "CachedEncoder": "feature_cache",
    "load_picture_encoder": "picture_encoders",
    "Evaluation": "evaluation", "evaluate": "evaluation",
    "FeatureStatistics": "frechet", "frechet_distance": "frechet", "frechet_floor": "frechet",
    "frechet_infinity": "frechet",
    "cmmd": "kernel_distances", "kid": "kernel_distances",
    "inception_score": "scores", "measure_coverage": "coverage", "measure_retrieval": "retrieval",
    "vendi_score": "diversity",
    "FeatureMeasure": "picture_measures", "HashMeasure": "picture_measures",
    "InputError": "errors",
    "Memorisation": "memorisation", "Repetition": "repetition", "max_similarity_before": "duplicates",
    "Reference": "reference", "make_reference": "reference",
    "ResolvedModel": "models", "content_hash": "models", "resolve": "models",
    "RunReport": "report", "write_report": "report",
    "SceneClassifier": "classifier", "load_classifier": "classifier",
    "ThumbnailEncoder": "thumbnail",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - PEP 562: whatever the name stands for
    """Import on first use, so that `import eval` stays cheap (PEP 562)."""
    if name in _HOMES:
        return getattr(importlib.import_module(f"eval.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'eval' has no attribute {name!r}")
