"""The job "evaluate": judges a data set as `terrasynth eval RUN` does, and leaves the figures in its directory."""

from __future__ import annotations

from pathlib import Path

from terrasynth.synthesis.core import layout
from terrasynth.synthesis.service.references import refuse_paths
from terrasynth.synthesis.service.specs import EvaluateSpec
from terrasynth.synthesis.service.states import State
from terrasynth.synthesis.service.tasks.base import Outcome, Work, plain


def judge(spec: EvaluateSpec, work: Work) -> Outcome:
    """Judge the data set.

    Raises:
        InputError: No such data set, model or data, or too few images.
    """
    from terrasynth.eval.models.feature_cache import cache_folder
    from terrasynth.synthesis.ledger.pictures import RunPictures
    from terrasynth.synthesis.studies.evaluation import Judges, judge_run, realism_of, write_evaluation
    from terrasynth.synthesis.studies.reference import against_reference

    run, places = work.folder(spec.data_set), work.order.places
    pictures = RunPictures.read(run, spec.limit)
    real = None
    if spec.real is not None:
        real = work.tools.pictures(Path(places.file(spec.real)), spec.split, spec.limit, pictures.size)
    encoder, classifier, *features = map(places.model, (spec.encoder, spec.classifier, *spec.features))
    judges = Judges.load(encoder, classifier, features, cache_folder(None))
    found = judge_run(pictures, judges, spec.seed, None if real is None else judges.of_real(real),
                      None if real is None else realism_of(pictures, real, run, spec.seed))
    distances = []
    if spec.reference is not None:
        refuse_paths(spec.reference, "reference")
        distances = against_reference(run, spec.reference, [classifier, encoder], spec.limit)
    lines = [*found.evaluation.lines(), *(each.line() for each in distances)]
    for line in lines:
        print(line, flush=True)
    write_evaluation(run / layout.EVALUATIONS[0], found.evaluation)
    return Outcome(State.SUCCEEDED, {"lines": lines, "figures": plain(found.evaluation.to_json()),
                                     "references": [plain(each.to_json()) for each in distances]})
