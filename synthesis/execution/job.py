"""A recipe resolved against what is installed, and a run directory opened for it.

Everything that can be wrong is found here, before the first picture and before the first file.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from terrasynth.prompts.addresses import without_secrets
from terrasynth.synthesis.core import layout
from terrasynth.synthesis.core.errors import InputError, RunError
from terrasynth.synthesis.core.files import check_writable, free_bytes, locked, remove_leftovers, write_file
from terrasynth.synthesis.core.identity import Identity
from terrasynth.synthesis.core.images import encode_all
from terrasynth.synthesis.core.machine import this_machine
from terrasynth.synthesis.execution.drawn import DrawnBlock
from terrasynth.synthesis.execution.prompts import PromptDrops, checked, prompt_drops
from terrasynth.synthesis.execution.targets import check_target, choose, with_labels
from terrasynth.synthesis.execution.unread import Unread, readers_of, refuse, unread_by
from terrasynth.synthesis.generators.base import Generator
from terrasynth.synthesis.generators.finding import find_generator, open_generator
from terrasynth.synthesis.generators.runtime import Runtime
from terrasynth.synthesis.ledger.blocks import Attempt, Blocks, drawn_by, drawn_of
from terrasynth.synthesis.ledger.frozen import Frozen, block_size_of, check_expected
from terrasynth.synthesis.ledger.keeping import kept_rows, says_kept
from terrasynth.synthesis.ledger.measuring import Encoders
from terrasynth.synthesis.ledger.stored import StoredBlock
from terrasynth.synthesis.recipe import LARGEST_AUTO, KeptRows, Recipe

if TYPE_CHECKING:
    from terrasynth.prompts import Expander, Prompt

# Prompts of a class that are checked against the generator's token limit before the first picture; later ones are
# checked when their block is drawn.
CHECKED_PROMPTS = 256
CHECKED_WORDS = 64  # prompts of a class in which words are looked for that a model never read
OBSOLETE = "checkpoint.bin"  # of versions that kept a record of decisions
log = logging.getLogger("terrasynth")
ENCODING_THREADS = 4  # beside a device that draws; compression of large pictures is then what takes longest


class Job:
    """A recipe, resolved.

    Attributes:
        recipe: The recipe, with what only the run can decide: the size of a block, and what is kept of a larger target.
        root: The run directory, which may not exist yet.
        expander: Writes the prompts, and checks them where the recipe says so.
        classes: The labels to make, and those of which the run keeps rows, in the expander's order.
        source: The generator's files and settings.
        identity: Hash of what decides the pictures.
        runtime: Device, precision and portions.
        encoders: What the filters measure with.
        blocks: The ledger.
        unread: What its models never met in training, in the first prompts of each class.
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

        check_writable(root)
        check_target(recipe, root)
        self.root = root
        names = recipe.class_names
        expander: Expander = load_expander_for(names, recipe.prompts.expander, **recipe.prompts.options)
        asked = tuple(expander.classes) if names is None else choose(names, expander.classes)
        recipe = with_labels(recipe, expander.classes, asked)
        self.source = find_generator(recipe.generator)
        taken = {"steps": self.source.steps, "guidance": self.source.guidance}  # the model's, if the recipe has none
        recipe = recipe.model_copy(update={"generator": recipe.generator.model_copy(update={
            name: value for name, value in taken.items() if getattr(recipe.generator, name) is None})})
        self.expander = checked(expander, recipe.prompts.checks, self.source)
        self.identity = Identity.of(recipe.seed, self.source.identity(), self.expander.identity())
        block_size = recipe.runtime.block_size
        if block_size == "auto":
            block_size = block_size_of(root) or min(LARGEST_AUTO, recipe.target.most_wanted)
        self._frozen = Frozen(self.identity, block_size, recipe.output.image_format)
        check_expected(recipe.identity, self.identity)
        self._frozen.check(root)
        self._shrink, self._wanted, self._asked = shrink, recipe, asked
        kept = self._has_beyond()
        self.recipe = recipe.model_copy(update={
            "target": recipe.target.model_copy(update={"kept": kept}),
            "runtime": recipe.runtime.model_copy(update={"block_size": block_size}),
        })
        self.classes = tuple(label for label in expander.classes if label in asked or label in kept)
        self.blocks = Blocks(root, block_size, recipe.output.image_format, self.identity)
        if kept and self.blocks.any():
            log.warning("%s: %s", root, says_kept(kept, recipe.target))
        self._recorded = self._runtime_so_far()
        self.runtime = Runtime.resolve(
            recipe.runtime, self._recorded, self.source.draws_tokens, self.source.latent_side
        )
        self._draws = False
        self.encoders = Encoders(self.recipe, self.runtime.device)
        self.encoders.check(self.classes)
        if not self.blocks.any():
            self.encoders.check_size(*self.generator.size)
            self.check_tokens(self.generator, CHECKED_PROMPTS)
        self.unread = self._unread()
        self._check_disk()

    @cached_property
    def generator(self) -> Generator:
        """The generator, loaded when the first picture is needed: judging again needs none."""
        return open_generator(self.source, self.runtime)

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Hold the run directory, with recipe, identity and runtime written.

        Raises:
            InputError: Another process holds it, or it belongs to another identity.
        """
        with locked(self.root), self.runtime.threads_set():
            self._frozen.check(self.root)
            remove_leftovers(self.root)
            if self._runtime_so_far() != self._recorded or self._has_beyond() != self.recipe.target.kept:
                raise RunError(f"{str(self.root)!r} was changed by another process meanwhile; run the same command "
                               "again")
            (self.root / OBSOLETE).unlink(missing_ok=True)
            resolved = without_secrets(self.recipe.tree() | {"identity": self.identity.hash})
            write_file(self.root / layout.RECIPE, yaml.safe_dump(resolved, sort_keys=False))
            self._frozen.save(self.root)
            if self._recorded is not None and not (self.root / layout.RUNTIME).is_file():
                self._recorded.save(self.root, self.identity.hash)
            yield

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

    def draw(self, label: str, index: int) -> DrawnBlock:
        """Draw one block."""
        self._begin_drawing()
        size = self.blocks.block_size
        ks = range(index * size, (index + 1) * size)
        prompts = self.prompts(label, ks.start, size)
        self._check_lengths(self.generator, label, ks.start, prompts)
        named = [self.identity.attempt(label, k) for k in ks]
        drawn = self.generator.draw(self.read_texts(label, prompts), [seed for _, seed in named])
        self._note_portions()
        return DrawnBlock(label, index, prompts, named, drawn.pictures, self.runtime.drawn, drawn.withheld)

    def store(self, block: DrawnBlock) -> StoredBlock:
        """Encode, measure and write a block."""
        images = encode_all(
            block.pictures, self.recipe.output.image_format, ENCODING_THREADS if self.runtime.accelerated else 1
        )
        first = block.index * self.blocks.block_size
        attempts = [
            Attempt(
                id=name,
                k=k,
                label=block.label,
                image=image,
                text=prompt.text,
                captions=prompt.captions,
                seed=seed,
                prompt_source=prompt.source,
                scene=prompt.scene,
            )
            for k, ((name, seed), prompt, image) in enumerate(
                zip(block.named, block.prompts, images, strict=True), start=first
            )
        ]
        key = self.encoders.primary
        measured = {} if key is None else {key: self.encoders.measure(key, images, [each.text for each in attempts])}
        self.blocks.write(block.label, block.index, attempts, key, measured.get(key or ""), block.withheld, block.drawn)
        return StoredBlock.written(self.blocks, block.label, block.index, attempts, measured, block.withheld)

    def read_texts(self, label: str, prompts: Sequence[Prompt]) -> list[str]:
        """What the generator reads for prompts of a class: their texts, as it was tuned to have them written."""
        return [self.source.conditioning.render(prompt.text, label) for prompt in prompts]

    def check_tokens(self, generator: Generator, count: int) -> None:
        """Check the first prompts of every class against the generator's token limit.

        Raises:
            InputError: A prompt is longer; the message names it.
        """
        for label in self.classes:
            target = self.recipe.target
            # Where a prompt costs time or money, only those that are needed in any case.
            most = target.wanted(label) if getattr(self.expander, "costly", False) else target.max_attempts
            amount = min(count, most)
            self._check_lengths(generator, label, 0, self.prompts(label, 0, amount))

    def attempt_bytes(self) -> float:
        """Bytes of one stored attempt: measured where blocks exist, else an upper estimate from the picture's size."""
        drawn = layout.some_block(self.root)
        if drawn is not None:
            return drawn.stat().st_size / self.blocks.block_size
        height, width = self.generator.size
        return height * width * 3 + 4096

    def _check_lengths(self, generator: Generator, label: str, start: int, prompts: Sequence[Prompt]) -> None:
        limit = generator.token_limit
        if limit is None:
            return
        for offset, text in enumerate(self.read_texts(label, prompts)):
            tokens = generator.count_tokens(text)
            if tokens > limit:
                raise InputError(
                    f"prompt {start + offset} of class {label!r} has {tokens} tokens and {self.source.name!r} reads "
                    f"{limit}: {text[:60]!r}...; shorten it"
                )

    def _unread(self) -> tuple[Unread, ...]:
        """What the models never met, in the first prompts of the classes of which nothing is drawn yet.

        Raises:
            InputError: There is something, and the recipe refuses it.
        """
        texts: dict[str, list[str]] = {label: [] for label in self.classes}
        for label in self.classes:
            if not self.blocks.exists(label, 0):
                count = min(CHECKED_WORDS, self.recipe.target.most_rows(label))
                texts[label] = [each.text for each in self.prompts(label, 0, count)]
        found = tuple(unread_by(readers_of(self.recipe, self.source), texts))
        if self.recipe.unknown == "refuse":
            refuse(found)
        return found

    def _check_disk(self) -> None:
        targets = [self.target_of(label) for label in self.classes]
        rows = sum(max(wanted, kept.rows if kept else 0) for wanted, _, kept in targets)
        drawn = len(layout.block_files(self.root)) * self.blocks.block_size
        # Every accepted picture is stored twice: in its block and in its shard.
        wanted = int((max(0, rows - drawn) + rows) * self.attempt_bytes())
        free = free_bytes(self.root)
        if wanted > free:
            raise RunError(
                f"disk full: {rows} pictures in {str(self.root)!r} need at least {wanted / 2**20:.0f} MiB and "
                f"{free / 2**20:.0f} MiB are free; free some space or lower target.per_class"
            )

    def _has_beyond(self) -> dict[str, KeptRows]:
        """What the run has beyond what is asked for, and keeps."""
        return {} if self._shrink else kept_rows(self.root, self._wanted, self._asked, self.attempt_id)

    def _runtime_so_far(self) -> Runtime | None:
        """The runtime that drew the blocks of the run, as recorded, or where that is lost as they have it.

        None where there are no blocks, so that it is chosen for this machine, and where nothing says it.

        Raises:
            RunError: What is recorded cannot be believed, or is not how a block was drawn.
        """
        first = self.blocks.first()
        if first is None:
            return None
        recorded, drawn = Runtime.load(self.root, self.identity.hash), drawn_of(first)
        if recorded is None:
            return Runtime.of_blocks(drawn_by(self.root))
        if drawn is not None and not recorded.drew(drawn):
            raise RunError(f"{self.root / layout.RUNTIME} says that the run was drawn otherwise than {first} "
                           f"says of itself ({recorded.unlike(drawn)}); run again with --repair: it is written "
                           "again as the blocks have it")
        return recorded

    def _begin_drawing(self) -> None:
        """Before the first image of this process: say and record where it will be drawn in another way.

        Raises:
            InputError: It would be, and the recipe says that drawing is exact.
        """
        if self._draws:
            return
        self._draws = True
        here = this_machine(self.runtime.device)
        if not self.blocks.any():
            self.runtime = replace(self.runtime, **vars(here), others=())
            self.runtime.save(self.root, self.identity.hash)
            return
        if self._recorded is None:
            changed = [f"{layout.RUNTIME} is lost, and the blocks do not say how they were drawn"]
        else:
            self.runtime, changed = self.runtime.going_on(self._recorded, here)
        if not changed:
            return
        if self.recipe.runtime.exact is True:
            raise InputError(
                f"runtime.exact is true, and this machine draws otherwise than what drew {str(self.root)!r} so far: "
                f"{'; '.join(changed)}; go on there, or with `--set runtime.exact=auto`, which records both"
            )
        log.warning("%s goes on in another way, or on another machine, than it was drawn so far (%s): an image may "
                    "differ by a gray level from what it would have been; runtime.json and each block say which drew "
                    "it", self.root, "; ".join(changed))
        self.runtime.save(self.root, self.identity.hash)

    def _note_portions(self) -> None:
        noted = self.runtime.with_portions(self.generator.micro_batch, self.generator.vae_slicing)
        if noted != self.runtime:
            self.runtime = noted
            self.runtime.save(self.root, self.identity.hash)
