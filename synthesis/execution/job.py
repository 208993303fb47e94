"""A recipe resolved against what is installed, and a run directory opened for it.

Everything that can be wrong is found here, before the first picture and before the first file.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from terrasynth.prompts.addresses import without_secrets
from terrasynth.synthesis.core import layout
from terrasynth.synthesis.core.errors import InputError, RunError
from terrasynth.synthesis.core.files import check_writable, free_bytes, locked, remove_leftovers, write_file
from terrasynth.synthesis.core.identity import Identity
from terrasynth.synthesis.execution.block_maker import BlockMaker, Prompts
from terrasynth.synthesis.execution.executors import check_executor
from terrasynth.synthesis.execution.prompts import PromptDrops, checked, prompt_drops
from terrasynth.synthesis.execution.runtime_record import RuntimeRecord
from terrasynth.synthesis.execution.targets import changed_classes, check_target, choose, with_labels
from terrasynth.synthesis.execution.unread import Said, Unread, readers_of, refuse, unread_by
from terrasynth.synthesis.generators.finding import find_generator
from terrasynth.synthesis.generators.runtime import Runtime
from terrasynth.synthesis.generators.tuned_for import tuned_otherwise
from terrasynth.synthesis.ledger.blocks import Blocks
from terrasynth.synthesis.ledger.frozen import Frozen, block_size_of, check_expected
from terrasynth.synthesis.ledger.keeping import kept_rows, recorded_recipe, says_kept
from terrasynth.synthesis.ledger.measuring import Encoders
from terrasynth.synthesis.recipe import LARGEST_AUTO, KeptRows, Recipe

if TYPE_CHECKING:
    from terrasynth.prompts import Expander, Prompt

# Prompts of a class that are checked against the generator's token limit before the first picture; later ones are
# checked when their block is drawn.
CHECKED_PROMPTS = 256
CHECKED_WORDS = 64  # prompts of a class in which words are looked for that a model never read
OBSOLETE = "checkpoint.bin"  # of versions that kept a record of decisions
log = logging.getLogger("terrasynth")


class Job:
    """A recipe, resolved.

    Attributes:
        recipe: The recipe, with what only the run can decide: the size of a block, and what is kept of a larger target.
        root: The run directory, which may not exist yet.
        expander: Writes the prompts, and checks them where the recipe says so.
        classes: The labels to make, and those of which the run keeps rows, in the expander's order.
        source: The generator's files and settings.
        identity: Hash of what decides the pictures.
        blocks: The ledger.
        maker: Makes the blocks; holds the models.
        unread: What its models never met in training, in the first prompts of each class.
        otherwise: In what its generator is used otherwise than it was tuned, a sentence each.
        changed: How its classes differ from those of the run's last call, on one line; "" where they do not.
    """

    def __init__(self, recipe: Recipe, root: Path, shrink: bool = False) -> None:
        """Resolve a recipe.

        Args:
            recipe: What to make.
            root: The run directory.
            shrink: Give up what the run has beyond a target that is smaller than before.

        Raises:
            InputError: A model, an expander, a class, a device or a calibration does not exist, the run directory
                cannot be used, or the target cannot be met.
            RunError: A record of the run is damaged.
        """
        from terrasynth.prompts.registry import load_expander_for

        check_executor(recipe.runtime)
        check_writable(root)
        check_target(recipe, root)
        self.root = root
        names = recipe.class_names
        expander: Expander = load_expander_for(names, recipe.prompts.expander, **recipe.prompts.options)
        asked = tuple(expander.classes) if names is None else choose(names, expander.classes)
        recipe = with_labels(recipe, expander.classes, asked)
        self.source = find_generator(recipe.generator)
        taken = {"steps": self.source.steps, "guidance": self.source.guidance, "height": self.source.height,
                 "width": self.source.width}  # the model's, if the recipe has none
        recipe = recipe.model_copy(update={"generator": recipe.generator.model_copy(update={
            name: value for name, value in taken.items() if getattr(recipe.generator, name) is None})})
        self.expander = checked(expander, recipe.prompts.checks, self.source)
        self.identity = Identity.of(recipe.seed, self.source.identity(), self.expander.identity())
        if self.identity.asks_for_pairs and not self.identity.has_pairs:
            raise InputError(f"prompts are pairs of before and after, and generator {self.source.name!r} reads texts "
                             "alone, so that the two images would not be of one scene; give it generator.control, or "
                             "leave prompts.pairs out")
        block_size = recipe.runtime.block_size
        if block_size == "auto":
            block_size = block_size_of(root) or min(LARGEST_AUTO, recipe.target.most_wanted)
        self._frozen = Frozen(self.identity, block_size, recipe.output.image_format)
        self._frozen.check(root, recorded_recipe(root), recipe)  # which says in what the two differ
        check_expected(recipe.identity, self.identity)
        self._shrink, self._wanted, self._asked = shrink, recipe, asked
        kept = self._has_beyond()
        self.recipe = recipe.model_copy(update={
            "target": recipe.target.model_copy(update={"kept": kept}),
            "runtime": recipe.runtime.model_copy(update={"block_size": block_size}),
        })
        self.classes = tuple(label for label in expander.classes if label in asked or label in kept)
        self.blocks = Blocks(root, block_size, recipe.output.image_format, self.identity)
        self.changed = changed_classes(recorded_recipe(root), expander.classes, asked) if self.blocks.any() else ""
        if kept and self.blocks.any():
            log.warning("%s: %s", root, says_kept(kept, recipe.target))
        self._record = RuntimeRecord(self.blocks, self.identity)
        runtime = Runtime.resolve(
            recipe.runtime, self._record.so_far, self.source.draws_tokens, self.source.latent_side
        )
        self.maker = BlockMaker(self.recipe, self.identity, self.source, self.blocks, runtime, self.prompts,
                                self._record)
        self.encoders.check(self.classes)
        if not self.blocks.any():
            self.encoders.check_size(*self.maker.generator.size)
            self._check_tokens()
        self.unread = self._unread()
        self.otherwise = tuned_otherwise(self.source)
        self._check_disk()

    @property
    def runtime(self) -> Runtime:
        """Device, precision and portions; portions fall when memory runs out."""
        return self.maker.runtime

    @property
    def encoders(self) -> Encoders:
        """What the filters measure with."""
        return self.maker.encoders

    @property
    def traveling_prompts(self) -> Prompts | None:
        """Writes prompts where another process should not write them again: costly ones, and those with checks."""
        travel = getattr(self.expander, "costly", False) or self.recipe.prompts.checks is not None
        return self.prompts if travel else None

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know before the first image, a sentence each."""
        changed = (self.changed,) if self.changed else ()
        return *changed, *self.otherwise, *(line for one in self.unread for line in one.lines())

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Hold the run directory, with recipe, identity and runtime written.

        Raises:
            InputError: Another process holds it, or it belongs to another identity.
        """
        with locked(self.root, alone=self.recipe.runtime.executor == "local"), self.runtime.threads_set():
            self._frozen.check(self.root)
            remove_leftovers(self.root)
            if self._record.changed or self._has_beyond() != self.recipe.target.kept:
                raise RunError(f"{str(self.root)!r} was changed by another process meanwhile; run the same command "
                               "again")
            (self.root / OBSOLETE).unlink(missing_ok=True)
            self._save()
            self._record.restore()
            yield

    def join(self) -> None:
        """Begin a run directory that several processes hold together, or see that one of them has begun it so.

        To be called by one after the other (`core.files.preparing`).

        Raises:
            InputError: It belongs to another identity, or the recipe refuses this machine beside those that draw.
        """
        self._frozen.check(self.root)
        if not (self.root / layout.RECIPE).is_file():
            self._save()
        if (self.root / layout.RUNTIME).is_file():
            self._record.join(self.recipe.runtime.exact is True)
        else:
            self.maker.begin_drawing()

    def _save(self) -> None:
        resolved = without_secrets(self.recipe.tree() | {"identity": self.identity.hash})
        write_file(self.root / layout.RECIPE, yaml.safe_dump(resolved, sort_keys=False))
        if ontology := self.recipe.prompts.options.get("ontology"):  # so that the run can be made again elsewhere
            write_file(self.root / layout.ONTOLOGY, Path(str(ontology)).read_text("utf-8"))
        self._frozen.save(self.root)

    def target_of(self, label: str) -> tuple[int, int, KeptRows | None]:
        """Of a class: the rows wanted, the most attempts, and what is kept beyond them; no rows where only kept."""
        target = self.recipe.target
        return (target.wanted(label) if label in self._asked else 0), target.max_attempts, target.kept.get(label)

    def prompts(self, label: str, start: int, count: int) -> list[Prompt]:
        """The prompts of attempts `start` .. `start + count - 1` of a class."""
        return self.expander.expand(label, self.recipe.seed, start, count)

    def prompt_drops(self, attempts: Mapping[str, int]) -> PromptDrops | None:
        """What the recipe's checks dropped before the last of the first attempts of each class; None without checks."""
        recipe = self.recipe
        return prompt_drops(self.expander, recipe.prompts.checks, recipe.seed, attempts, self.root)

    def attempt_id(self, label: str, k: int) -> str:
        """The id of attempt `k` of a class."""
        return self.identity.attempt(label, k)[0]

    def attempt_bytes(self) -> float:
        """Bytes of one stored attempt: measured where blocks exist, else an upper estimate from the picture's size."""
        drawn = layout.first_block(self.root)
        if drawn is not None:
            return drawn.stat().st_size / self.blocks.block_size
        height, width = self.maker.generator.size
        return (height * width * 3 + 4096) * (2 if self.identity.has_pairs else 1)

    def _check_tokens(self) -> None:
        """Check the first prompts of every class against the generator's token limit.

        Raises:
            InputError: A prompt is longer; the message names it.
        """
        for label in self.classes:
            target = self.recipe.target
            # Where a prompt costs time or money, only those that are needed in any case.
            most = target.wanted(label) if getattr(self.expander, "costly", False) else target.max_attempts
            self.maker.check_prompts(label, 0, self.prompts(label, 0, min(CHECKED_PROMPTS, most)))

    def _unread(self) -> tuple[Unread, ...]:
        """What the models never met, in the first prompts of the classes of which nothing is drawn yet.

        Raises:
            InputError: There is something, and the recipe refuses it.
        """
        said: dict[str, list[Said]] = {label: [] for label in self.classes}
        for label in self.classes:
            if not self.blocks.exists(label, 0):
                count = min(CHECKED_WORDS, self.recipe.target.most_rows(label))
                said[label] = [(text, each.scene) for each in self.prompts(label, 0, count)
                               for text in (each.text, each.text_after) if text]
        found = tuple(unread_by(readers_of(self.recipe, self.source), said))
        if self.recipe.unknown == "refuse":
            refuse(found)
        return found

    def _check_disk(self) -> None:
        targets = [self.target_of(label) for label in self.classes]
        rows = sum(max(wanted, kept.rows if kept else 0) for wanted, _, kept in targets)
        there = layout.count_blocks(self.root) + layout.count_blocks(layout.ahead(self.root))
        drawn = there * self.blocks.block_size
        # Every accepted picture is stored twice: in its block and in its shard.
        wanted = int((max(0, rows - drawn) + rows) * self.attempt_bytes())
        free = free_bytes(self.root)
        if free is not None and wanted > free:
            raise RunError(
                f"disk full: {rows} images in {str(self.root)!r} need at least {wanted / 2**20:.0f} MiB and "
                f"{free / 2**20:.0f} MiB are free; free some space or lower target.per_class"
            )

    def _has_beyond(self) -> dict[str, KeptRows]:
        """What the run has beyond what is asked for, and keeps."""
        return {} if self._shrink else kept_rows(self.root, self._wanted, self._asked, self.attempt_id)
