"""The job "run": makes a data set, or goes on with it, as `terrasynth run` does."""

from __future__ import annotations

from dataclasses import asdict

from terrasynth.synthesis.core import layout
from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.events import RunResult
from terrasynth.synthesis.recipe import Recipe
from terrasynth.synthesis.service.places import run_folder
from terrasynth.synthesis.service.references import placed
from terrasynth.synthesis.service.specs import RunSpec
from terrasynth.synthesis.service.states import State
from terrasynth.synthesis.service.tasks.base import Outcome, Work
from terrasynth.synthesis.service.telling import Teller


def make(spec: RunSpec, work: Work) -> Outcome:
    """Make the data set; a stop ends it after the block that is being drawn, with what is there.

    Raises:
        InputError: Something the user has to correct.
        RunError: Disk full, a damaged block, out of memory; finished blocks are kept.
        LeaseLostError: Another works on it.
    """
    from terrasynth.synthesis.pipeline import run

    recipe = _recipe(spec, work)
    result = run(recipe, run_folder(work.order.runs, spec.data_set), Teller(work.store, work.lease),
                 work.stops.asked, spec.shrink)
    if result.stopped:
        return Outcome(State.CANCELED, _plain(result))
    if result.failure:
        return Outcome(State.FAILED, _plain(result), result.failure)
    waits = result.review_line("its review page", "another run of it")
    if missed := result.shortfall(recipe.target.max_attempts):
        return Outcome(State.MISSED_TARGET, _plain(result), "; ".join(filter(None, [missed, waits])))
    return Outcome(State.WAITS_FOR_REVIEW if waits else State.SUCCEEDED, _plain(result), waits or None)


def _recipe(spec: RunSpec, work: Work) -> Recipe:
    if spec.recipe is not None:
        return Recipe.parse(placed(spec.recipe, work.order.places))
    file = run_folder(work.order.runs, spec.data_set) / layout.RECIPE
    if not file.is_file():
        raise InputError(f"there is no data set {spec.data_set!r} to go on with; give a recipe")
    return Recipe.load(file)


def _plain(result: RunResult) -> dict[str, object]:
    return {"identity": result.identity, "counts": [asdict(count) for count in result.counts],
            "accepted": result.accepted, "drawn": result.drawn, "stopped": result.stopped,
            "failed": [asdict(each) for each in result.failed]}
