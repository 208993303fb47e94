"""The making of a block: prompts are drawn, images encoded, measured and stored.

Nothing here depends on what was made before, so that blocks may be made in any order, by any number of processes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from terrasynth.prompts.layouts.changes import pair_of
from terrasynth.prompts.scenes.entailment import DrawnPrompt
from terrasynth.synthesis.core import layout
from terrasynth.synthesis.core.errors import InputError, RefusedError, RunError, one_line
from terrasynth.synthesis.core.identity import Identity, canonical
from terrasynth.synthesis.core.images import encode_all
from terrasynth.synthesis.core.machine import Machine, this_machine
from terrasynth.synthesis.events import Drawing
from terrasynth.synthesis.execution.drawn import DrawnBlock
from terrasynth.synthesis.execution.pace import OnDrawing, Pace
from terrasynth.synthesis.execution.prompts import checked, is_shown, prompt_after
from terrasynth.synthesis.generators.base import Drawn, Generator, GeneratorSource, LayoutGenerator
from terrasynth.synthesis.generators.finding import find_generator, open_generator
from terrasynth.synthesis.generators.runtime import Runtime
from terrasynth.synthesis.generators.steps import TellsSteps
from terrasynth.synthesis.generators.token_limits import too_long
from terrasynth.synthesis.ledger.block_files import drawn_by
from terrasynth.synthesis.ledger.blocks import Attempt, Blocks
from terrasynth.synthesis.ledger.directory import RunDirectory
from terrasynth.synthesis.ledger.measuring import Encoders
from terrasynth.synthesis.ledger.stored import Content, StoredBlock
from terrasynth.synthesis.recipe import Recipe

if TYPE_CHECKING:
    from terrasynth.prompts import Expander, Prompt
    from terrasynth.synthesis.execution.runtime_record import RuntimeRecord

Prompts = Callable[[str, int, int], "list[Prompt]"]
"""Gives the prompts of attempts `start` .. `start + count - 1` of a class from label, start and count."""

log = logging.getLogger("terrasynth")
ENCODING_THREADS = 4  # beside a device that draws; compression of large pictures is then what takes longest


class BlockMaker:
    """Makes blocks of one run; nothing else holds a generator or an encoder.

    Attributes:
        identity: Hash of what decides the images.
        source: The generator's files and settings.
        runtime: Device, precision and portions.
        encoders: What the filters measure with.
    """

    def __init__(
        self, recipe: Recipe, identity: Identity, source: GeneratorSource, blocks: Blocks, runtime: Runtime,
        prompts: Prompts, record: RuntimeRecord | None = None,
    ) -> None:
        """Load the encoders; the generator is loaded when the first image is needed: judging again needs none.

        Args:
            identity: Hash of what decides the images.
            source: The generator's files and settings.
            runtime: Device, precision and portions.
            prompts: Writes the prompts.
            record: Where what draws is recorded; None in a process that does not hold the run.

        Raises:
            InputError: A filter's model does not exist.
        """
        self.recipe, self.identity, self.source, self.blocks, self.runtime = recipe, identity, source, blocks, runtime
        self.encoders = Encoders(recipe, runtime.device, blocks.root, identity)
        self._prompts, self._record = prompts, record
        self._draws = False

    @classmethod
    def open(cls, root: Path, writer: str = "") -> BlockMaker:
        """The maker of a run's blocks, from what the run directory says, for a process that does not hold the run.

        Args:
            root: The run directory, with `recipe.yaml`, `identity.json` and, before the first block is drawn,
                `runtime.json`.
            writer: Tells this process from others that may write the same file at once.

        Raises:
            InputError: It is no run, or a model or the expander is not what the run was begun with.
            RunError: A record of the run cannot be believed.

        Example:
            >>> from pathlib import Path
            >>> from tempfile import TemporaryDirectory
            >>> from terrasynth import Recipe, run
            >>> from terrasynth.synthesis.execution.block_maker import BlockMaker
            >>> small = ["prompts.classes=[forest]", "target.per_class=1", "generator.steps=1", "filters=[]"]
            >>> with TemporaryDirectory() as folder:
            ...     made = run(Recipe.load("demo", small), folder)
            ...     BlockMaker.open(Path(folder)).draw("forest", 0).pictures.shape
            (1, 128, 128, 3)
        """
        run = RunDirectory.open(root)
        recipe, identity = run.recipe, run.frozen.identity
        source = find_generator(recipe.generator)
        _check_same(root, identity, "generator", source.identity())

        @cache  # an order may bring its prompts, and some expanders take long to load
        def expander() -> Expander:
            from terrasynth.prompts.registry import load_expander_for

            written = recipe.prompts
            found = checked(load_expander_for(recipe.class_names, written.expander, **written.options), written.checks,
                            source)
            _check_same(root, identity, "prompts", found.identity())
            return found

        blocks = run.blocks
        blocks.writer = writer
        return cls(recipe, identity, source, blocks, _resolved(recipe, identity, source, root),
                   lambda label, start, count: expander().expand(label, recipe.seed, start, count))

    @cached_property
    def generator(self) -> Generator:
        """The generator, loaded when it is first asked for."""
        return open_generator(self.source, self.runtime)

    def draw(self, label: str, index: int, prompts: Sequence[Prompt] | None = None,
             on_drawing: OnDrawing | None = None) -> DrawnBlock:
        """Draw one block.

        Args:
            index: Place of the block in its class.
            prompts: Theirs, where they are known already.
            on_drawing: Is told of a slow block how far it is, where the generator says so.

        Raises:
            InputError: A prompt is longer than the generator reads, or the recipe refuses this machine.
            RunError: Not even one image fits into memory, or nothing records how the run is drawn.
        """
        self.begin_drawing()
        size = self.blocks.block_size
        ks = range(index * size, (index + 1) * size)
        written = self._prompts(label, ks.start, size) if prompts is None else list(prompts)
        self.check_prompts(label, ks.start, written)
        self._check_pairs(label, ks.start, written)
        named = [self.identity.attempt(label, k) for k in ks]
        if isinstance(self.generator, TellsSteps):
            count = 2 * size if self.identity.has_pairs else size
            self.generator.on_step = on_drawing and Pace(Drawing(label, index, count, 0, 0, 0), on_drawing)
        drawn, after = self.attempts(label, written, [seed for _, seed in named])
        self.note_portions(self.generator.micro_batch, self.generator.vae_slicing)
        return DrawnBlock(label, index, written, named, drawn.pictures, self.runtime.drawn, drawn.withheld, after)

    def attempts(self, label: str, prompts: Sequence[Prompt],
                 seeds: Sequence[int]) -> tuple[Drawn, NDArray[np.uint8] | None]:
        """What attempts of a class show: their images, and of pairs the images after, from the same noise.

        Returns:
            Images, and of pairs the images after, uint8 (N, H, W, 3). Withheld are pairs of which one image is.

        Raises:
            InputError: See `images`.
            RunError: See `images`.
        """
        if not self.identity.has_pairs:
            return self.images(label, prompts, seeds), None
        count = len(prompts)
        drawn = self.images(label, [*prompts, *map(prompt_after, prompts)], [*seeds, *seeds])
        withheld = tuple(sorted({row % count for row in drawn.withheld}))
        return Drawn(drawn.pictures[:count], withheld), drawn.pictures[count:]

    def images(self, label: str, prompts: Sequence[Prompt], seeds: Sequence[int]) -> Drawn:
        """Images of prompts of a class: what the generator draws of their texts, and of their layouts if it reads any.

        Raises:
            InputError: See `Generator.draw`; or a layout is missing.
            RunError: See `Generator.draw`.
        """
        texts = self.read_texts(label, prompts)
        if self.source.layout is None:
            return self.generator.draw(texts, seeds)
        return cast(LayoutGenerator, self.generator).draw(texts, seeds, [prompt.layout for prompt in prompts])

    def store(self, block: DrawnBlock, into: Blocks | None = None) -> StoredBlock:
        """Encode, measure and write a block.

        Args:
            block: As it was drawn.
            into: Where it is written; None for the ledger of the run.

        Raises:
            RunError: The disk is full.
        """
        def encoded(pictures: NDArray[np.uint8]) -> list[bytes]:
            threads = ENCODING_THREADS if self.runtime.accelerated else 1
            return encode_all(pictures, self.recipe.output.image_format, threads)

        images = encoded(block.pictures)
        later = [b""] * len(images) if block.after is None else encoded(block.after)
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
                layout="" if self.source.layout is None else prompt.layout,
                edit="" if block.after is None else prompt.edit,
                image_after=after,
                text_after="" if block.after is None else prompt.text_after,
            )
            for k, ((name, seed), prompt, image, after) in enumerate(
                zip(block.named, block.prompts, images, later, strict=True), start=first
            )
        ]
        key = self.encoders.primary
        measured = {} if key is None else {key: self.encoders.measure(key, Content.of(attempts))}
        blocks = into or self.blocks
        blocks.write(block.label, block.index, attempts, key, measured.get(key or ""), block.withheld, block.drawn)
        if all(isinstance(prompt, DrawnPrompt) and prompt.settled for prompt in block.prompts):
            blocks.note_settled(block.label, block.index)
        return StoredBlock.written(blocks, block.label, block.index, attempts, measured, block.withheld)

    def measure(self, block: StoredBlock) -> None:
        """Measure a stored block with every encoder that has not seen it, and keep what they say.

        Raises:
            RunError: A file of it is damaged, or the disk is full.
        """
        for key in self.encoders.keys:
            self.encoders.of_block(block, key)

    def make_ahead(self, label: str, index: int, prompts: Sequence[Prompt] | None = None,
                   on_drawing: OnDrawing | None = None) -> int:
        """Make and measure a block that may turn out not to be needed, or measure it where it exists.

        What is drawn goes to `Blocks.ahead()`, from where the process that holds the run takes it.

        Args:
            index: Place of the block in its class.
            prompts: Theirs, where they are known already.
            on_drawing: See `draw`.

        Returns:
            Images drawn; 0 where the block existed.

        Raises:
            InputError: See `draw`.
            RunError: See `draw`; or a file of the block is damaged, or the disk is full.
        """
        ahead = self.blocks.ahead()
        exists = self.blocks.exists(label, index)
        if exists or _whole(ahead, label, index):
            with self.runtime.threads_set():
                self.measure(StoredBlock(self.blocks if exists else ahead, label, index))
            return 0
        self.begin_drawing()
        with self.runtime.threads_set():
            block = self.draw(label, index, prompts, on_drawing)
            self.measure(self.store(block, ahead))
        return len(block.prompts)

    def read_texts(self, label: str, prompts: Sequence[Prompt]) -> list[str]:
        """What the generator reads for prompts of a class: their texts, as it was tuned to have them written."""
        return [self.source.conditioning.render(prompt.text, label) for prompt in prompts]

    def check_prompts(self, label: str, start: int, prompts: Sequence[Prompt]) -> None:
        """Check prompts of a class, the first of them that of attempt `start`, against what the generator reads.

        Raises:
            InputError: A prompt is longer than its token limit, or has no layout although it is shown one, or no edit
                although pairs are drawn; the message names it.
        """
        for k, prompt in enumerate(prompts, start):
            if self.source.layout is not None and not prompt.layout:
                raise InputError(f"prompt {k} of class {label!r} has no layout, and {self.source.name!r} is shown one "
                                 "beside each text; set prompts.expander to layout, or give a file with a field layout")
            if self.identity.has_pairs and not prompt.edit:
                raise InputError(f"prompt {k} of class {label!r} is no pair, and those of this run are; set "
                                 "prompts.pairs of the expander layout, or give a file with a field edit")
        generator, limit = self.generator, self.generator.token_limit
        if limit is None:
            return
        later = list(map(prompt_after, prompts)) if self.identity.has_pairs else []
        for place, text in enumerate(self.read_texts(label, [*prompts, *later])):
            tokens = generator.count_tokens(text)
            if tokens > limit:
                what = f"prompt {start + place % len(prompts)} of class {label!r}"
                raise InputError(too_long(what, tokens, self.source, limit, text,
                                          "shorten it, or set prompts.checks.max_tokens to auto"))

    def _check_pairs(self, label: str, start: int, prompts: Sequence[Prompt]) -> None:
        """Refuse pairs whose images would be the same although they are said to differ.

        Raises:
            InputError: The generator is shown nothing of an edit.
        """
        for k, prompt in enumerate(prompts, start):
            if not self.identity.has_pairs:
                return
            pair = pair_of(prompt.layout, prompt.edit)
            if pair.changed and not is_shown(self.source, pair.before, pair.after):
                raise InputError(f"{self.source.name!r} is shown nothing of the edit {prompt.edit[:60]!r} of prompt "
                                 f"{k} of class {label!r}, so that its two images would be the same; leave it out, or "
                                 "give it a color in generator.conditioning.layout")

    def begin_drawing(self) -> None:
        """Before the first image of a process: see, and record where this one holds the run, by what it is drawn.

        Raises:
            InputError: The recipe refuses this machine.
            RunError: This process does not hold the run, and nothing records how it is drawn.
        """
        if self._draws:
            return
        if self._record is not None:
            self.runtime = self._record.begin(self.runtime, self.recipe.runtime.exact is True)
        else:
            root = self.blocks.root
            if not (root / layout.RUNTIME).is_file():
                raise RunError(f"{str(root)!r} has no {layout.RUNTIME}, so nothing says how its blocks are drawn; run "
                               "its recipe, which records that before the first block")
            found = _resolved(self.recipe, self.identity, self.source, root)
            self.runtime = replace(found, **vars(this_machine(found.device)))
        self._draws = True

    def admit(self, machine: Machine) -> None:
        """Before the first image of another process: record the machine that it draws on, where that is another one.

        Raises:
            InputError: It is, and the recipe says that drawing is exact.
        """
        if self._record is not None:
            self.runtime = self._record.admit(self.runtime, machine, self.recipe.runtime.exact is True)

    def note_portions(self, micro_batch: int, vae_slicing: bool) -> None:
        """Draw, and record that it is drawn, in other portions, because memory ran out."""
        noted = self.runtime.with_portions(micro_batch, vae_slicing)
        if noted != self.runtime:
            self.runtime = noted
            if self._record is not None:
                self._record.save(noted)

    def release_generator(self) -> None:
        """Give the memory of the generator back, where other processes are to draw."""
        if self.__dict__.pop("generator", None) is not None:
            import gc

            import torch

            gc.collect()
            if self.runtime.device.startswith("cuda"):
                torch.cuda.empty_cache()


def _resolved(recipe: Recipe, identity: Identity, source: GeneratorSource, root: Path) -> Runtime:
    recorded = Runtime.load(root, identity.hash) or Runtime.of_blocks(drawn_by(root))
    return Runtime.resolve(recipe.runtime, recorded, source.draws_tokens, source.latent_side)


def _whole(ahead: Blocks, label: str, index: int) -> bool:
    """Whether a block that was made ahead is there and can be read; one that is damaged is drawn again."""
    if not ahead.exists(label, index):
        return False
    try:
        ahead.read(label, index, ahead.schema.names)
    except RefusedError:
        raise
    except RunError as error:
        log.warning("%s; it was made ahead and is drawn again", one_line(error).partition(";")[0])
        return False
    return True


def _check_same(root: Path, identity: Identity, part: str, found: dict[str, object]) -> None:
    if canonical(found) != canonical(identity.parts[part]):
        raise InputError(f"{part} of {str(root)!r} is not what the run was begun with; put back the files and packages "
                         "of then, or choose another --out")
