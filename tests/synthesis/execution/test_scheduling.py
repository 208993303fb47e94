"""Which block comes next, and decisions that do not depend on which is finished first."""

import random
import threading
from concurrent.futures import Future

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import betabinom

import terrasynth.synthesis.execution.executors
import terrasynth.synthesis.execution.local
from terrasynth.synthesis import run
from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.events import BlockAhead, BlockDone, BlockFailed
from terrasynth.synthesis.execution.base import BlockFailedError, MadeBlock
from terrasynth.synthesis.execution.scheduling import Schedule, chance_of_less
from terrasynth.synthesis.filters import AlignmentFilter, Measurements
from terrasynth.synthesis.filters.base import NamedJudge
from terrasynth.synthesis.ledger.blocks import Blocks
from terrasynth.synthesis.ledger.decisions import ClassDecisions
from terrasynth.synthesis.ledger.stored import StoredBlock
from terrasynth.synthesis.recipe import KeptRows, Recipe
from tests.synthesis.helpers import fingerprint
from tests.worker_cells import cells_installed, install, tree


@settings(deadline=None)
@given(rows=st.integers(1, 60), attempts=st.integers(0, 90), accepted=st.floats(1, 50), rejected=st.floats(1, 50))
def test_the_chance_is_near_that_of_the_beta_binomial_distribution(rows, attempts, accepted, rejected):
    exact = betabinom(attempts, accepted, rejected).cdf(rows - 1) if attempts else 1.0
    assert chance_of_less(rows, attempts, accepted, rejected) == pytest.approx(exact, abs=0.17)


def scored(alignment):
    return Measurements("embeddings", np.zeros((len(alignment), 1), np.float32), alignment)


def decisions(per_class, most, needs=0, kept=None):
    settings = AlignmentFilter(quantile=0.5, calibrate_on=needs) if needs else AlignmentFilter(min_score=0.5)
    return ClassDecisions("a", [NamedJudge("alignment", "key", settings.judge("a", None, None))], per_class, most, kept)


@settings(deadline=None)
@given(scores=st.lists(st.booleans(), min_size=40, max_size=40), per_class=st.integers(1, 12), most=st.integers(12, 30),
       needs=st.sampled_from([0, 2, 7]), size=st.integers(1, 5),
       kept=st.none() | st.builds(KeptRows, rows=st.integers(1, 15), attempts=st.integers(1, 35)))
def test_no_class_needs_less_or_more_than_it_says(scores, per_class, most, needs, size, kept):
    """After every block: what was said at least and at most, against what it took in the end."""
    decided, said = decisions(per_class, most, needs, kept), []
    while not decided.done:
        start = decided.blocks * size
        said.append((start, *decided.missing))
        part = np.float32(scores[start: start + size] + [True] * max(0, start + size - 40))
        decided.decide(size, lambda key, part=part: scored(part))
    assert decided.missing == (0, 0)
    for start, least, at_most in said:
        needed = decided.blocks * size - start
        assert least <= needed
        assert needed <= at_most + size - 1  # blocks are whole


class Classes:
    """Classes of given shares of accepted attempts, and workers that finish one block at a time, at random."""

    def __init__(self, shares, wanted, size, workers, seed, root):
        self.chance = random.Random(seed)
        self.shares = dict(zip("abcdefgh", shares, strict=False))
        judge = AlignmentFilter(min_score=0.5)
        self.classes = [ClassDecisions(label, [NamedJudge("alignment", "key", judge.judge(label, None, None))], wanted,
                                       100 * wanted) for label in self.shares]
        self.schedule, self.size, self.workers = Schedule(self.classes, Blocks(root, size, "png"), True), size, workers
        self.begun = self.idle = self.steps = self.vain = 0

    def run(self):
        by_label = {each.label: each for each in self.classes}
        while True:
            while sum(self.schedule.begun.values()) < self.workers and (found := self.schedule.next()):
                self.schedule.begun[found.label] += 1
                self.begun += 1
            busy = [label for label, count in self.schedule.begun.items() if count]
            if not busy:
                return self
            self.steps += self.workers
            self.idle += self.workers - sum(self.schedule.begun.values())
            label = self.chance.choices(busy, [self.schedule.begun[each] for each in busy])[0]
            decided, self.schedule.begun[label] = by_label[label], self.schedule.begun[label] - 1
            scores = np.float32([self.chance.random() < self.shares[label] for _ in range(self.size)])
            decided.decide(self.size, lambda key, scores=scores: scored(scores))
            if decided.done:
                self.vain += self.schedule.begun[label]
                self.schedule.begun[label] = 0
                self.schedule.leave(decided)


@pytest.mark.parametrize("workers", [1, 2, 4, 16])
def test_little_is_drawn_in_vain_and_workers_are_busy(tmp_path, workers):
    found = [Classes([0.9, 0.5, 0.3, 0.8], 200, 8, workers, seed, tmp_path).run() for seed in range(10)]
    assert all(each.done for one in found for each in one.classes)
    assert sum(one.vain for one in found) <= 0.03 * sum(one.begun for one in found)
    assert sum(one.idle for one in found) <= 0.05 * sum(one.steps for one in found)


def test_one_worker_draws_nothing_in_vain(tmp_path):
    assert sum(Classes([0.5, 0.1], 20, 4, 1, seed, tmp_path).run().vain for seed in range(20)) == 0


class Shuffled:
    """Makes blocks in this process, in any order; a thread stands in for workers, of which there may be many."""

    ahead = True

    def __init__(self, setup, seed=0, depth=5):
        self._maker, self._chance, self.depth = setup.maker, random.Random(seed), depth
        self._waiting, self._news, self._ended = [], threading.Semaphore(0), False
        self._thread = threading.Thread(target=self._work)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *error):
        self._ended = True
        self._news.release()
        self._thread.join()

    def submit(self, order):
        made = Future()
        self._waiting.append((order, made))
        self._news.release()
        return made

    def _work(self):
        while True:
            self._news.acquire()
            if self._ended:
                return
            order, made = self._waiting.pop(self._chance.randrange(len(self._waiting)))
            if not made.set_running_or_notify_cancel():
                continue
            blocks = self._maker.blocks
            exists = blocks.exists(order.label, order.index)
            drawn = self._maker.make_ahead(order.label, order.index)
            stored = StoredBlock(blocks if exists else blocks.ahead(), order.label, order.index)
            made.set_result(MadeBlock(stored, drawn, 0.0, 0))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scheduling")
    with cells_installed(folder):
        yield folder


@pytest.fixture
def executor(monkeypatch):
    """Runs of this process make their blocks with it."""
    return lambda make: monkeypatch.setitem(terrasynth.synthesis.execution.executors.BUILT_IN, "local", make)


@pytest.fixture(scope="module")
def whole(place):
    run(Recipe.parse(tree()), place / "whole")
    return place / "whole"


def same(one, other):
    for part in ("data", "blocks", "scores"):
        assert fingerprint(one / part) == fingerprint(other / part), part
    assert (one / "decisions.parquet").read_bytes() == (other / "decisions.parquet").read_bytes()


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("depth", [0, 3, 40])
def test_any_order_of_finishing_gives_the_same_bytes(whole, place, tmp_path, executor, seed, depth):
    executor(lambda setup: Shuffled(setup, seed, depth))
    seen = []
    result = run(Recipe.parse(tree()), tmp_path / "run", seen.append)
    same(tmp_path / "run", whole)
    done = sum(event.drawn for event in seen if isinstance(event, BlockDone))
    assert result.ahead == sum(event.drawn for event in seen if isinstance(event, BlockAhead)) == result.drawn - done
    kept = list((tmp_path / "run" / "ahead").glob("blocks/*/*.parquet"))
    assert len(kept) * 3 == result.ahead
    larger = Recipe.parse(tree() | {"target": {"per_class": 14, "max_attempts": 60}})
    run(larger, tmp_path / "run")
    if not (place / "larger").exists():
        executor(terrasynth.synthesis.execution.local.LocalExecutor)
        run(larger, place / "larger")
    same(tmp_path / "run", place / "larger")


def test_workers_go_on_while_the_first_block_of_a_class_takes_long(whole, tmp_path, executor):
    """As many orders may be unfinished as the executor has room for; blocks that wait for an earlier one are not."""
    class Slow(Shuffled):
        orders, first = 0, None

        def submit(self, order):
            self.orders += 1
            if self.orders == 1:
                self.first = (order, Future())
                return self.first[1]
            if self.orders == 7:
                made = super().submit(self.first[0])
                made.add_done_callback(lambda made: self.first[1].set_result(made.result()))
            return super().submit(order)

    executor(lambda setup: Slow(setup, depth=1))
    run(Recipe.parse(tree()), tmp_path / "run")
    same(tmp_path / "run", whole)


@pytest.mark.parametrize("label", ["beach", "river"])
def test_a_class_whose_block_fails_ends_there_and_the_others_go_on(whole, tmp_path, executor, label):
    class Failing(Shuffled):
        def submit(self, order):
            if (order.label, order.index) != (label, 1):
                return super().submit(order)
            made = Future()
            made.set_exception(BlockFailedError(BlockFailed(label, 1, ("it died",) * 3)))
            return made

    executor(Failing)
    seen = []
    result = run(Recipe.parse(tree()), tmp_path / "run", seen.append)
    assert result.failed == (BlockFailed(label, 1, ("it died",) * 3),)
    assert [event for event in seen if isinstance(event, BlockFailed)] == list(result.failed)
    assert [count.label for count in result.missed] == [label]
    assert not (tmp_path / "run" / "finished.json").exists()
    executor(terrasynth.synthesis.execution.local.LocalExecutor)
    assert run(Recipe.parse(tree()), tmp_path / "run").missed == ()
    same(tmp_path / "run", whole)


@pytest.mark.parametrize(("name", "value", "said"), [
    ("slurm", "nowhere:Executor", "executor 'slurm' cannot be loaded from nowhere:Executor"),
    ("slurm", "builtins:repr", "executor 'slurm' lacks a part of the Executor protocol"),
    ("processes", "json:JSONDecoder", "calls its executor 'processes', as one of TerraSynth's own is called"),
])
def test_a_broken_executor_of_a_plug_in_is_one_line(place, tmp_path, monkeypatch, name, value, said):
    monkeypatch.syspath_prepend(str(install(tmp_path / "site", "executors", name, value)))
    with pytest.raises(InputError, match=said):
        run(Recipe.parse(tree(executor=name)), tmp_path / "run")
