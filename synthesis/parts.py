"""One part of a run's blocks, made by a process that decides nothing, so that any scheduler can start many of them.

Part i of n makes every n-th of the blocks that the run needs, or is expected to need. They go to `RUN/ahead/`, from
where the run takes them when it decides. Parts need no word of each other: which blocks are a part's follows from the
recipe, i and n, and a part that was killed is started again by the same command.
"""

from __future__ import annotations

import json
import math
import os
import secrets
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from terrasynth.prompts.addresses import without_secrets
from terrasynth.synthesis.core import layout
from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.core.files import preparing, sharing
from terrasynth.synthesis.core.identity import canonical, differences, some_differences
from terrasynth.synthesis.core.round_robin import round_robin
from terrasynth.synthesis.core.storage.object_path import place
from terrasynth.synthesis.events import BlockAhead, Event
from terrasynth.synthesis.execution.base import BlockOrder
from terrasynth.synthesis.execution.block_maker import BlockMaker
from terrasynth.synthesis.execution.job import Job
from terrasynth.synthesis.ledger.decisions import NOT_JUDGED, UNREVIEWED
from terrasynth.synthesis.ledger.finished import without_places
from terrasynth.synthesis.ledger.judged_rows import JudgedRows
from terrasynth.synthesis.ledger.keeping import recorded_recipe
from terrasynth.synthesis.planning import at_least
from terrasynth.synthesis.recipe import Recipe


@dataclass(frozen=True)
class PartResult:
    """What a part did.

    Attributes:
        part: Its number, from 1.
        of: How many parts there are.
        blocks: Blocks that are its own.
        drawn: Images that this call drew; the others of its blocks were there.
        every: Images of all parts together.
        needed: Images of these that the run needs in any case, even if every attempt is accepted.
        stopped: Whether `should_stop` ended it before its last block.
    """

    part: int
    of: int
    blocks: int
    drawn: int
    every: int
    needed: int
    stopped: bool


def make_part(
    recipe: Recipe, out: str | Path, part: int, of: int, share: float | None = None,
    on_event: Callable[[Event], None] | None = None, should_stop: Callable[[], bool] | None = None,
) -> PartResult:
    """Make the blocks of one part of a run, ahead of its decisions; `run` takes them up, decides, and draws the rest.

    Any number of parts of a run may be at work at once, on any machines that see its folder under the same path. While
    one is, the run itself waits: it is told that the folder is in use.

    Args:
        out: The run directory; the first part begins it.
        part: Which one, 1 to `of`.
        of: How many parts there are.
        share: The share of attempts that is expected to be accepted, above 0 and at most 1: the fewer, the more blocks
            are made. None for what the run has seen of each class so far; before its first decision that is 1, so that
            nothing is drawn that may turn out not to be needed.
        on_event: Is told of each block, as `BlockAhead`.
        should_stop: Is asked before each block.

    Raises:
        InputError: There is no such part, the run is at work or was begun with another recipe, or its prompts cost
            time or money, so that only one process may ask for them.
        RunError: Disk full, a damaged record, out of memory; finished blocks are kept.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from terrasynth import Recipe, run
        >>> from terrasynth.synthesis.parts import make_part
        >>> small = ["prompts.classes=[forest]", "target.per_class=2", "generator.steps=1", "filters=[]",
        ...          "runtime.block_size=1"]
        >>> recipe = Recipe.load("demo", small)
        >>> with TemporaryDirectory() as folder:
        ...     [make_part(recipe, folder, part, of=2).drawn for part in (1, 2)], run(recipe, folder).drawn
        ([1, 1], 0)
    """
    if not 1 <= part <= of:
        raise InputError(f"part {part} of {of} does not exist; give 1 to {of}")
    if share is not None and not 0 < share <= 1:
        raise InputError(f"a share of {share:g} of attempts cannot be accepted; give a number above 0, at most 1")
    root, stop, drawn, stopped = place(out), should_stop or (lambda: False), 0, False
    job = Job(recipe, root)
    if getattr(job.expander, "costly", False):
        raise InputError(f"prompts of expander {recipe.prompts.expander!r} take time or money, and each part would ask "
                         "for them again; write them with `terrasynth expand`, and take expander file")
    with sharing(root):
        with preparing(root):
            _check_recipe(job)
            job.join()
        needed, orders = _orders(job, share)
        own = orders[part - 1 :: of]
        size, threads_set = job.blocks.block_size, job.runtime.threads_set
        job.maker.release_generator()
        del job
        maker = BlockMaker.open(root, f".{os.getpid()}-{secrets.token_hex(4)}")
        with threads_set():
            for order in own:
                if stop():
                    stopped = True
                    break
                made = maker.make_ahead(order.label, order.index)
                drawn += made
                if on_event is not None:
                    on_event(BlockAhead(order.label, order.index, made, None))
    return PartResult(part, of, len(own), drawn, len(orders) * size, needed * size, stopped)


def _check_recipe(job: Job) -> None:
    """Check that a run was begun with the recipe of the part, or not begun.

    Raises:
        InputError: It was begun with another; the message says in what they differ.
    """
    before = recorded_recipe(job.root)
    if before is None:
        return
    changed = differences(_compared(before), _compared(job.recipe))
    if changed:
        raise InputError(f"{str(job.root)!r} was begun with another recipe: {some_differences(changed)}; give the "
                         "parts the recipe of then, or run the new one without --part first")


def _compared(recipe: Recipe) -> dict[str, Any]:
    """A recipe without what blocks do not depend on: how many there are, and where they are made."""
    tree = without_places(json.loads(canonical(without_secrets(recipe.tree()))))
    return {name: value for name, value in tree.items() if name not in ("target", "identity")}


def _orders(job: Job, share: float | None) -> tuple[int, list[BlockOrder]]:
    """How many blocks the run needs in any case, and the orders of all that are to be made, in turn over the classes.

    Blocks that are there are among them, so that the parts stay the same whatever has been made.
    """
    seen, size, needed, wanted = _judged(job.root), job.blocks.block_size, 0, []
    for label in job.classes:
        rows, most, _ = job.target_of(label)
        sure = at_least(job, label)
        attempts, accepted = seen.get(label, (0, 0))
        if accepted >= rows:
            continue
        expected = share or ((accepted or 1) / attempts if attempts else 1.0)
        # Rounded down where the division is off by its last bit.
        likely = max(sure, attempts + math.ceil((rows - accepted) / expected - 1e-9))
        blocks = -(-min(most, likely) // size)
        needed += min(blocks, -(-max(sure, min(most, attempts + rows - accepted)) // size))
        wanted.append(iter([BlockOrder(label, index) for index in range(blocks)]))
    return needed, list(round_robin(wanted))


def _judged(root: Path) -> dict[str, tuple[int, int]]:
    """Attempts that the run has judged, and those of them that count towards its target, by class; none before."""
    if not (root / layout.DECISIONS).is_file():
        return {}
    rows = JudgedRows.read(root)
    attempts, accepted = Counter[str](), Counter[str]()
    for label, reason in zip(rows.labels, rows.reasons, strict=True):
        if reason not in NOT_JUDGED:
            attempts[label] += 1
            accepted[label] += reason is None or reason == UNREVIEWED
    return {label: (count, accepted[label]) for label, count in attempts.items()}
