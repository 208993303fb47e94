"""Is a job one that a client may ask for? Looked at before it is stored, and again by whoever carries it out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from terrasynth.errors import nearest
from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.service.references import Places, check_plain, check_recipe, expander_options, refuse_paths
from terrasynth.synthesis.service.specs import (
    DrawSpec,
    EvaluateSpec,
    ExpandSpec,
    ExportSpec,
    JobSpec,
    NearestSpec,
    PlanSpec,
    PushSpec,
    RunSpec,
)

if TYPE_CHECKING:
    from terrasynth.synthesis.service.data_sets import DataSets


def check_job(spec: JobSpec, places: Places, data_sets: DataSets) -> None:
    """Check what a job names, and that what it works on is there.

    Raises:
        InputError: It names something that it may not name, or that does not exist, on one line.
    """
    check_plain(spec.model_dump(mode="python"))
    if isinstance(spec, RunSpec | PlanSpec):
        if spec.recipe is not None:
            check_recipe(spec.recipe, places)
        elif isinstance(spec, RunSpec):
            data_sets.recipe(spec.data_set)
    elif isinstance(spec, DrawSpec):
        for reference in (spec.model, *([spec.lora] if spec.lora is not None else [])):
            places.model(reference)
        refuse_paths(spec.options, "an option of the pipeline")
    elif isinstance(spec, ExpandSpec):
        expander_options(spec.expander, spec.options, places)
        _check_expander(spec.expander)
    else:
        data_sets.folder(spec.data_set)
        _check_finished(spec, places)


def _check_finished(spec: EvaluateSpec | ExportSpec | PushSpec | NearestSpec, places: Places) -> None:
    """Check a job on a data set that is there."""
    if isinstance(spec, EvaluateSpec):
        for reference in (spec.encoder, spec.classifier, *spec.features):
            places.model(reference)
        if spec.real is not None:
            places.file(spec.real)
        if spec.reference is not None:
            refuse_paths(spec.reference, "reference")
    elif isinstance(spec, NearestSpec):
        places.file(spec.real)
    elif isinstance(spec, ExportSpec):
        refuse_paths(spec.options, "an option of the format")


def _check_expander(name: str) -> None:
    from terrasynth.prompts.registry import expander_names

    known = expander_names()
    if name not in known:
        raise InputError(f"expander {name!r} is unknown{nearest(name, known)}; there is {', '.join(known)}")
