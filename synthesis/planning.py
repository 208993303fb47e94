"""The dry run: what a recipe would make, how long it would take and how much disk, from a measured warm-up batch."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from terrasynth.eval.table import Table
from terrasynth.synthesis.core import layout
from terrasynth.synthesis.core.caches import find_caches, said
from terrasynth.synthesis.core.files import free_bytes, looking
from terrasynth.synthesis.core.images import encode_all
from terrasynth.synthesis.core.progress import duration
from terrasynth.synthesis.core.storage.object_path import place
from terrasynth.synthesis.execution.job import Job
from terrasynth.synthesis.execution.prompts import prompt_after
from terrasynth.synthesis.generators.runtime import Runtime
from terrasynth.synthesis.ledger.stored import Content
from terrasynth.synthesis.recipe import Recipe
from terrasynth.words import counted

if TYPE_CHECKING:
    from terrasynth.prompts.language_models.prices import Forecast

SHOWN_PROMPTS = 3


@dataclass(frozen=True)
class Plan:
    """What a run would do.

    Attributes:
        identity: Hash of what decides the images.
        prompts: The first prompts of every class.
        present: Images that the run directory holds already.
        at_least: Images still to be drawn if every attempt is accepted but for those that a filter rejects in any case.
        at_most: Images still to be drawn if every class needs `max_attempts`.
        seconds_per_picture: Measured: drawing, encoding and measuring one image.
        bytes_per_picture: Measured: one stored image.
        free_bytes: Free on the disk of the run directory; None in object storage.
        notes: What a user should know before the first image, a sentence each.
        api: What prompts of an endpoint will cost, in words; "" where the expander asks none.
        caches: How large the user's caches are, in words.
        rejected: Images of these that filters reject in any case: the share below a `quantile` of the first attempts.
        pairs: Whether all these are pairs of images, before and after.
    """

    identity: str
    prompts: dict[str, tuple[str, ...]]
    present: int
    at_least: int
    at_most: int
    seconds_per_picture: float
    bytes_per_picture: int
    free_bytes: int | None
    runtime: Runtime
    notes: tuple[str, ...] = ()
    api: str = ""
    caches: str = ""
    rejected: int = 0
    pairs: bool = False

    @property
    def seconds(self) -> tuple[float, float]:
        """Seconds at least and at most."""
        return self.at_least * self.seconds_per_picture, self.at_most * self.seconds_per_picture

    @property
    def bytes(self) -> tuple[int, int]:
        """Bytes at least and at most; an accepted image is stored in its block and in its shard."""
        return 2 * self.at_least * self.bytes_per_picture, 2 * self.at_most * self.bytes_per_picture

    def lines(self) -> list[str]:
        """The plan for people, without notes and prompts; a line each."""
        return [f"{name:<15} {value}" for name, value in self.said().items()]

    def said(self) -> dict[str, str]:
        """The plan in words, without notes and prompts."""
        least, most = (size / 2**20 for size in self.bytes)
        free = "in object storage" if self.free_bytes is None else f"{self.free_bytes / 2**20:.0f} MiB are free"
        one = "pair" if self.pairs else "image"
        lost = f"; of the first ones {self.rejected} are rejected whatever they show, by a `quantile`" \
            if self.rejected else ""
        fast, slow = map(duration, self.seconds)
        at_once = counted(self.runtime.micro_batch, "image")
        return {
            "there already": counted(self.present, one),
            "to be drawn": f"{counted(self.at_least, one)} of {counted(len(self.prompts), 'class', 'classes')} if "
                           f"the filters keep them all, {self.at_most} at most (target.max_attempts){lost}",
            "time": f"{fast} if they keep them all, {slow} at most: {self.seconds_per_picture:.2f} s "
                    f"{'a' if self.pairs else 'an'} {one}, as measured now",
            "disk": f"{least:.1f} MiB if they keep them all, {most:.1f} MiB at most; {free}",
            "computed on": f"{self.runtime.device}, in {self.runtime.dtype}, {at_once} at once",
            **({"API prompts": self.api} if self.api else {}),
            "caches": f"{self.caches}; `terrasynth cache` clears them",
            "identity": f"{self.identity} (of the images: another model, prompt or seed has another)",
        }

    def _repr_html_(self) -> str:
        notes = "".join(f"<p>note: {escape(note)}</p>" for note in self.notes)
        prompts = Table(("class", "first prompts"), tuple((label, " / ".join(texts))
                                                          for label, texts in self.prompts.items()))
        return Table.of_settings(self.said()).html() + notes + prompts.html()


def plan(recipe: Recipe, out: str | Path | None = None, on_step: Callable[[str], None] | None = None,
         on_note: Callable[[str], None] | None = None) -> Plan:
    """Check a recipe and measure what it would cost; writes nothing into the run directory.

    Args:
        out: The run directory, when there is one to continue.
        on_step: Is told in words what takes a while.
        on_note: Is told what a user should know (`Plan.notes`) before anything is drawn.

    Raises:
        InputError: Something the user has to correct.
        RunError: The disk is too small.

    Example:
        >>> from terrasynth import Recipe, plan
        >>> small = ["prompts.classes=[forest]", "target.per_class=1", "generator.steps=1", "filters=[]"]
        >>> made = plan(Recipe.load("demo", small))
        >>> made.at_least, list(made.prompts), made.seconds[0] > 0
        (1, ['forest'], True)
    """
    with tempfile.TemporaryDirectory() as nowhere:
        root = place(out) if out is not None else Path(nowhere)
        with looking(root):
            return _planned(Job(recipe, root), on_step, on_note)


def _planned(job: Job, on_step: Callable[[str], None] | None, on_note: Callable[[str], None] | None) -> Plan:
    recipe = job.recipe
    if on_note is not None:
        for note in job.notes:
            on_note(note)
    if on_step is not None:
        on_step(f"loading {recipe.generator.model} and drawing first images, to see how long one takes")
    with job.runtime.threads_set():
        seconds, size = _warm_up(job)
    missing = [_missing(job, label) for label in job.classes]
    prompts = {
        label: tuple(prompt.text for prompt in job.prompts(label, 0, SHOWN_PROMPTS)) for label in job.classes
    }
    return Plan(
        identity=job.identity.hash,
        prompts=prompts,
        present=sum(present for present, _, _ in missing),
        at_least=sum(least for _, least, _ in missing),
        at_most=sum(most for _, _, most in missing),
        seconds_per_picture=seconds,
        bytes_per_picture=size,
        free_bytes=free_bytes(job.root),
        runtime=job.runtime,
        notes=job.notes,
        api=_forecast(job),
        caches=said(find_caches()),
        rejected=sum(_rejected(job, label) for label in job.classes),
        pairs=job.identity.has_pairs,
    )


def _forecast(job: Job) -> str:
    """What prompts that are still to be asked for will cost, after the first ones of each class were asked for."""
    from terrasynth.prompts.checks.checked import CheckedExpander

    expander, candidates = job.expander, 1.0
    if isinstance(expander, CheckedExpander):  # as many more as it drops
        seen = sum(expander.seen(label, job.recipe.seed, SHOWN_PROMPTS) for label in job.classes)
        candidates, expander = seen / (SHOWN_PROMPTS * len(job.classes)), expander.inner
    forecast = getattr(expander, "forecast", None)
    if forecast is None:
        return ""
    size, most, least = job.blocks.block_size, dict[str, int](), dict[str, int]()
    for label in job.classes:
        wanted, attempts, _ = job.target_of(label)
        for counts, number in ((least, at_least(job, label)), (most, attempts if wanted else 0)):
            counts[label] = math.ceil(-(-number // size) * size * candidates)  # blocks are whole
    found: Forecast = forecast(job.recipe.seed, least, most)
    return found.text()


def _warm_up(job: Job) -> tuple[float, int]:
    """Seconds and bytes of an image, from one micro-batch after one that fills caches."""
    label = job.classes[0]
    count = min(job.runtime.micro_batch, job.blocks.block_size)
    prompts = job.prompts(label, 0, count)
    seeds = [job.identity.attempt(label, k)[1] for k in range(count)]

    def once() -> list[bytes]:
        drawn, after = job.maker.attempts(label, prompts, seeds)
        images, later = (encode_all(each, job.recipe.output.image_format) if each is not None else []
                         for each in (drawn.pictures, after))
        if job.encoders.primary is not None:
            texts, layouts = [prompt.text for prompt in prompts], [prompt.layout for prompt in prompts]
            shown = [prompt_after(prompt) for prompt in prompts] if later else []
            pair = Content([], [each.text for each in shown], later, [each.layout for each in shown]) if later else None
            job.encoders.measure(job.encoders.primary, Content([], texts, images, layouts, pair))
        return [*images, *later]

    once()
    images, seconds = _timed(once)
    return seconds / count, sum(map(len, images)) // count


def _timed(work: Callable[[], list[bytes]]) -> tuple[list[bytes], float]:
    start = time.perf_counter()
    return work(), time.perf_counter() - start


def at_least(job: Job, label: str) -> int:
    """Attempts of a class that are drawn in any case: for its rows, and before a filter has its threshold."""
    wanted, attempts, _ = job.target_of(label)
    needs = max((each.needs for each in job.recipe.filters), default=0)
    return min(attempts, max(wanted + _rejected(job, label), needs)) if wanted else 0


def _rejected(job: Job, label: str) -> int:
    return max((each.rejects for each in job.recipe.filters), default=0) if job.target_of(label)[0] else 0


def _missing(job: Job, label: str) -> tuple[int, int, int]:
    """Images of a class that exist, and that are still to be drawn at least and at most; blocks are whole."""
    size = job.blocks.block_size
    wanted, attempts, _ = job.target_of(label)
    roots = (job.root, layout.ahead(job.root))
    present = len({name for root in roots for name in layout.block_names(root, label)})
    least, most = -(-at_least(job, label) // size), -(-attempts // size) if wanted else 0
    return present * size, max(0, min(least, most) - present) * size, max(0, most - present) * size
