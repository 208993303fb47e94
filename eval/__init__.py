"""Judge images: dual encoders, scene classifiers, metrics with their nulls and ceilings, and reports.

Works on `uint8` (N, H, W, 3) arrays, strings and feature arrays, and imports no other part of this project. Functions
that have the name of their file are imported from there, as in `from terrasynth.eval.copies.repetition import
repetition`.
"""

from __future__ import annotations

if __name__ != "terrasynth.eval":  # a file under two names would be two modules with two classes of each name
    raise ImportError("this folder is a part of terrasynth: `pip install -e .`, then `import terrasynth.eval`")

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from terrasynth.eval.copies.duplicates import max_similarity_before
    from terrasynth.eval.copies.measures import FeatureMeasure, HashMeasure
    from terrasynth.eval.copies.memorisation import Memorisation
    from terrasynth.eval.copies.repetition import Repetition
    from terrasynth.eval.errors import InputError
    from terrasynth.eval.evaluation.evaluate import evaluate
    from terrasynth.eval.evaluation.record import Evaluation
    from terrasynth.eval.evaluation.reference import Reference, make_reference
    from terrasynth.eval.metrics.coverage import measure_coverage
    from terrasynth.eval.metrics.diversity import vendi_score
    from terrasynth.eval.metrics.frechet import FeatureStatistics, frechet_distance, frechet_floor, frechet_infinity
    from terrasynth.eval.metrics.inception_score import inception_score
    from terrasynth.eval.metrics.kernel_distances import cmmd, kid
    from terrasynth.eval.metrics.retrieval import measure_retrieval
    from terrasynth.eval.models.calibrating import calibrate
    from terrasynth.eval.models.calibration import Calibration
    from terrasynth.eval.models.captioners import Captioner, load_captioner
    from terrasynth.eval.models.classifiers import SceneClassifier
    from terrasynth.eval.models.dual_encoders import ClipEncoder, Encoder, PictureEncoder
    from terrasynth.eval.models.feature_cache import CachedClassifier, CachedEncoder
    from terrasynth.eval.models.loaders import load_classifier, load_encoder, load_picture_encoder
    from terrasynth.eval.models.references import ResolvedModel, content_hash, resolve
    from terrasynth.eval.models.segmenters import Segmenter, load_segmenter
    from terrasynth.eval.models.thumbnail import ThumbnailEncoder
    from terrasynth.eval.pages.run_report import RunReport, write_report

__all__ = [
    "CachedClassifier", "CachedEncoder", "Calibration", "Captioner", "ClipEncoder", "Encoder", "Evaluation",
    "FeatureMeasure", "FeatureStatistics", "HashMeasure", "InputError", "Memorisation", "PictureEncoder", "Reference",
    "Repetition", "ResolvedModel", "RunReport", "SceneClassifier", "Segmenter", "ThumbnailEncoder", "calibrate", "cmmd",
    "content_hash", "evaluate", "frechet_distance", "frechet_floor", "frechet_infinity", "inception_score", "kid",
    "load_captioner", "load_classifier", "load_encoder", "load_picture_encoder", "load_segmenter", "make_reference",
    "max_similarity_before", "measure_coverage", "measure_retrieval", "resolve", "vendi_score", "write_report",
]

_HOMES = {
    "Calibration": "models.calibration", "calibrate": "models.calibrating",
    "Captioner": "models.captioners", "load_captioner": "models.captioners",
    "ClipEncoder": "models.dual_encoders", "Encoder": "models.dual_encoders", "PictureEncoder": "models.dual_encoders",
    "load_classifier": "models.loaders", "load_encoder": "models.loaders", "load_picture_encoder": "models.loaders",
    "Segmenter": "models.segmenters", "load_segmenter": "models.segmenters",
    "CachedClassifier": "models.feature_cache", "CachedEncoder": "models.feature_cache",
    "Evaluation": "evaluation.record", "evaluate": "evaluation.evaluate",
    "FeatureStatistics": "metrics.frechet", "frechet_distance": "metrics.frechet", "frechet_floor": "metrics.frechet",
    "frechet_infinity": "metrics.frechet",
    "cmmd": "metrics.kernel_distances", "kid": "metrics.kernel_distances",
    "inception_score": "metrics.inception_score", "measure_coverage": "metrics.coverage",
    "measure_retrieval": "metrics.retrieval",
    "vendi_score": "metrics.diversity",
    "FeatureMeasure": "copies.measures", "HashMeasure": "copies.measures",
    "InputError": "errors",
    "Memorisation": "copies.memorisation", "Repetition": "copies.repetition",
    "max_similarity_before": "copies.duplicates",
    "Reference": "evaluation.reference", "make_reference": "evaluation.reference",
    "ResolvedModel": "models.references", "content_hash": "models.references", "resolve": "models.references",
    "RunReport": "pages.run_report", "write_report": "pages.run_report",
    "SceneClassifier": "models.classifiers",
    "ThumbnailEncoder": "models.thumbnail",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - PEP 562: whatever the name stands for
    """Import on first use, so that `import terrasynth.eval` stays cheap (PEP 562)."""
    if name in _HOMES:
        return getattr(importlib.import_module(f"terrasynth.eval.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
