"""A run on many workers, in simulated time: the real scheduling and decisions, and workers that are only times.

    python tests/benchmarks/cluster_simulation.py --workers 1 100 1000 10000 --rows 1000000

Times of a block are lognormal, with a heavy tail (`--spread` is the standard deviation of the logarithm; at 0.5, one
block in a thousand takes nearly five times the median). A worker dies in the middle of a block with probability
`--death`, its block is made again, and another worker takes its place after `--restart` seconds. The clock also counts
the processor seconds that scheduling and deciding really take in this process, and `--take` seconds for each block that
is moved into the ledger.
"""

from __future__ import annotations

import argparse
import gc
import heapq
import random
import resource
import tempfile
import time
from collections import deque
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from terrasynth.synthesis.execution.base import BlockOrder, MadeBlock
from terrasynth.synthesis.execution.deciding import BlockWork
from terrasynth.synthesis.execution.pool import ORDERS_A_WORKER
from terrasynth.synthesis.filters import AlignmentFilter, Measurements
from terrasynth.synthesis.filters.base import NamedJudge
from terrasynth.synthesis.ledger.decisions import ClassDecisions


class Cluster:
    """An executor whose workers are times.

    Attributes:
        now: Seconds since the begin.
        busy: Seconds that workers drew, whatever became of it.
        driver: Seconds of `now` in which the process that decides was at work.
        drawn: Blocks that were drawn.
        deaths: Workers that died.
    """

    ahead = True

    def __init__(self, workers: int, options: argparse.Namespace) -> None:
        self.depth = ORDERS_A_WORKER * workers - 1
        self.now = self.busy = self.driver = 0.0
        self.drawn = self.deaths = 0
        self._free, self._options, self._chance = workers, options, random.Random(options.seed)
        self._waiting: deque[tuple[BlockOrder, Future[MadeBlock]]] = deque()
        self._ends: list[tuple[float, int, Any]] = []
        self._events = 0
        self.news: deque[Any] = deque()
        self._since = time.process_time()

    def submit(self, order: BlockOrder) -> Future[MadeBlock]:
        """Let a block be made by the next worker that is free."""
        made: Future[MadeBlock] = Future()
        self._waiting.append((order, made))
        self._assign()
        return made

    # The queue of `BlockWork`: where it waits, time passes.

    def put(self, news: Any) -> None:
        """Keep what is new."""
        self.news.append(news)

    def empty(self) -> bool:
        """Whether nothing is new."""
        return not self.news

    def get(self) -> Any:
        """What is new; until something is, workers go on."""
        self._count_driver(time.process_time() - self._since)
        while not self.news:
            self._next()
        self._since = time.process_time()
        return self.news.popleft()

    def take(self, label: str, index: int) -> bool:
        """Stands for the moving of a block into the ledger."""
        self._count_driver(self._options.take)
        return True

    def _count_driver(self, seconds: float) -> None:
        self.driver += seconds
        self.now += seconds
        while self._ends and self._ends[0][0] <= self.now:  # workers go on meanwhile
            self._next()

    def _next(self) -> None:
        end, _, task = heapq.heappop(self._ends)
        self.now = max(self.now, end)
        self._free += 1
        if task is not None:
            _, made = task
            self.drawn += 1
            stored = SimpleNamespace(blocks=SimpleNamespace(root=Path("ahead")), measured={}, withheld=())
            made.set_result(MadeBlock(stored, self._options.block, 0.0, 0))  # type: ignore[arg-type]
        self._assign(end)

    def _assign(self, at: float | None = None) -> None:
        start = self.now if at is None else at
        while self._free and self._waiting:
            order, made = self._waiting.popleft()
            if not made.running() and not made.set_running_or_notify_cancel():
                continue
            self._free -= 1
            seconds = self._options.seconds * self._chance.lognormvariate(0, self._options.spread)
            self._events += 1
            if self._chance.random() < self._options.death:
                self.deaths += 1
                lost = seconds * self._chance.random()
                self.busy += lost
                self._waiting.appendleft((order, made))
                heapq.heappush(self._ends, (start + lost + self._options.restart, self._events, None))
            else:
                self.busy += seconds
                heapq.heappush(self._ends, (start + seconds, self._events, (order, made)))


def simulated(workers: int, options: argparse.Namespace) -> dict[str, float]:
    """One run to its end."""
    chance = np.random.default_rng(options.seed)
    shares = {f"class {number}": share for number, share in enumerate(np.linspace(0.2, 0.95, options.classes))}
    settings, wanted = AlignmentFilter(min_score=0.5), options.rows // options.classes
    classes = [ClassDecisions(label, [NamedJudge("alignment", "key", settings.judge(label, None, None))], wanted,
                              100 * wanted) for label in shares]
    cluster = Cluster(workers, options)
    empty = np.zeros((options.block, 1), np.float32)

    def measured(block: Any, key: str) -> Measurements:
        scores = (chance.random(options.block) < shares[block.label]).astype(np.float32)
        return Measurements("embeddings", empty, scores)

    room = tempfile.TemporaryDirectory()  # for what is noted of decisions, which counts as work of the driver
    root = Path(room.name)
    blocks = SimpleNamespace(root=root, block_size=options.block, exists=lambda label, index: False,
                             take=cluster.take, withheld=lambda label, index: ())
    recipe = SimpleNamespace(tree=lambda: {"filters": []}, filter_names=("alignment",))
    job: Any = SimpleNamespace(root=root, blocks=blocks, recipe=recipe, identity=SimpleNamespace(hash="simulated"),
                               encoders=SimpleNamespace(of_block=measured, keys=("key",)))
    work = BlockWork(job, classes, lambda event: None)
    work._news = cluster  # type: ignore[assignment]  # the only place where it waits
    work.make(cluster, lambda: False)  # type: ignore[arg-type]
    if not all(each.done for each in classes):
        raise AssertionError("the run ended before its classes")
    room.cleanup()
    needed = sum(each.blocks for each in classes)
    span = cluster.now
    while cluster._ends:  # what is being drawn in vain when the last class ends
        cluster._next()
    return {"hours": span / 3600, "idle": 1 - min(1.0, cluster.busy / (span * workers)),
            "in vain": 1 - needed / cluster.drawn, "driver": cluster.driver / span,
            "ms a row": 1000 * cluster.driver / (needed * options.block), "deaths": cluster.deaths,
            "MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def main() -> None:
    """Print one line for each number of workers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 10, 100, 1000, 10_000])
    parser.add_argument("--rows", type=int, default=1_000_000, help="of all classes together")
    parser.add_argument("--classes", type=int, default=50)
    parser.add_argument("--block", type=int, default=16, help="attempts of a block")
    parser.add_argument("--seconds", type=float, default=8.0, help="median of a block")
    parser.add_argument("--spread", type=float, default=0.5)
    parser.add_argument("--death", type=float, default=0.001)
    parser.add_argument("--restart", type=float, default=60.0)
    parser.add_argument("--take", type=float, default=0.0005)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print("workers      hours   idle  in vain  driver  ms a row  deaths    MiB")
    for workers in options.workers:
        gc.collect()
        found = simulated(workers, options)
        print(f"{workers:7d} {found['hours']:10.2f} {found['idle']:6.1%} {found['in vain']:8.2%} "
              f"{found['driver']:7.2%} {found['ms a row']:9.3f} {found['deaths']:7.0f} {found['MiB']:6.0f}", flush=True)


if __name__ == "__main__":
    main()
