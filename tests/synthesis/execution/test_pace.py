"""How far a block is, is told of slow blocks alone, at most once a second, by every executor."""

import sys
import threading
from itertools import pairwise

import pytest

from terrasynth.synthesis import run
from terrasynth.synthesis.events import BlockDone, Drawing
from terrasynth.synthesis.execution import pace, worker_process
from terrasynth.synthesis.execution.pace import Pace
from terrasynth.synthesis.generators.steps import Steps
from terrasynth.synthesis.recipe import Recipe
from tests.worker_cells import cells_installed, tree


def test_a_second_passes_before_the_first_event_and_between_two():
    told, seconds = [], iter([0.0, 0.4, 0.9, 1.0, 1.5, 1.9, 2.1])
    hear = Pace(Drawing("beach", 3, 16, 0, 0, 0), told.append, lambda: next(seconds))
    for step in range(1, 7):
        hear(Steps(2, step, 20))
    assert told == [Drawing("beach", 3, 16, 2, 3, 20), Drawing("beach", 3, 16, 2, 6, 20)]


def test_a_run_tells_in_its_own_thread_of_a_block_before_it_is_done(recipe, tmp_path, monkeypatch):
    monkeypatch.setattr(pace, "EVERY", 0.0)
    seen, threads = [], set()

    def hear(event):
        seen.append(event)
        threads.add(threading.get_ident())

    run(recipe, tmp_path / "run", hear)
    assert threads == {threading.get_ident()}
    work = [event for event in seen if isinstance(event, Drawing | BlockDone)]
    for one, other in pairwise(work):
        if isinstance(one, Drawing):
            place = (other.label, other.index) if isinstance(other, Drawing) else (other.count.label, other.index)
            assert (one.label, one.index) == place
    drawn = [event for event in work if isinstance(event, Drawing)]
    assert {(event.images, event.steps, event.worker) for event in drawn} == {(4, 2, None)}
    assert sum(event.whole == 4 for event in drawn) == sum(isinstance(event, BlockDone) for event in work)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="as the other tests of workers")
def test_a_worker_tells_of_a_slow_block(tmp_path, started_at_once):
    seen = []
    with started_at_once(worker_process), cells_installed(tmp_path) as accidents:
        (accidents / "steps").touch()
        recipe = Recipe.parse(tree(executor="processes", workers=1))
        run(recipe, tmp_path / "run", seen.append, lambda: any(isinstance(event, Drawing) for event in seen))
    first, = (event for event in seen if isinstance(event, Drawing))
    assert first == Drawing(first.label, 0, 3, 1, 5, 20, worker=0)
    assert seen.index(first) < next(place for place, event in enumerate(seen) if isinstance(event, BlockDone))
