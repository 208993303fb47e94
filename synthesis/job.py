"""A recipe resolved against what is installed, and a run directory opened for it.

Everything that can be wrong is found here, before the first picture and before the first file.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import yaml
from numpy.typing import NDArray

from prompts.addresses import without_secrets
from synthesis.blocks import Attempt, Blocks
from synthesis.errors import InputError, RunError, nearest, one_line
from synthesis.files import check_writable, free_bytes, locked, remove_leftovers, write_file
from synthesis.generators import Generator, find_generator, open_generator
from synthesis.identity import Identity, differences
from synthesis.images import encode_all
from synthesis.prompt_checks import PromptDrops, checked, prompt_drops
from synthesis.recipe import Recipe
from synthesis.runtime import Runtime
from synthesis.scoring import Encoders
from synthesis.unread import Unread, readers_of, refuse, unread_by

if TYPE_CHECKING:
    from prompts import Expander, Prompt

# Prompts of a class that are checked against the generator's token limit before the first picture; later ones are
# checked when their block is drawn.
CHECKED_PROMPTS = 256
CHECKED_WORDS = 64  # prompts of a class in which words are looked for that a model never read
FROZEN = "identity.json"
ENCODING_THREADS = 4  # beside a device that draws; compression of large pictures is then what takes longest


@dataclass(frozen=True)
class DrawnBlock:
    """The attempts of a block, drawn and not stored yet.

    Attributes:
        label: Their class.
        index: Place of the block in its class.
        prompts: Their prompts.
        named: Their ids and seeds.
        pictures: uint8 (N, H, W, 3).
    """

    label: str
    index: int
    prompts: list[Prompt]
    named: list[tuple[str, int]]
    pictures: NDArray[np.uint8]


class Job:
    """A recipe, resolved.

    Attributes:
        recipe: The recipe.
        root: The run directory, which may not exist yet.
        expander: Writes the prompts, and checks them where the recipe says so.
        classes: The labels to make, in the expander's order.
        source: The generator's files and settings.
        identity: Hash of what decides the pictures.
        runtime: Device, precision and portions.
        encoders: What the filters measure with.
        blocks: The ledger.
        unread: What its models never met in training, in the first prompts of each class.
    """

    def __init__(self, recipe: Recipe, root: Path) -> None:
        """Resolve a recipe.

        Raises:
            InputError: A model, an expander, a class, a device or a calibration does not exist, or the run directory
                cannot be used.
        """
        from prompts.registry import load_expander_for

        check_writable(root)
        settings = recipe.generator
        self.recipe = recipe
        self.root = root
        wanted = None if recipe.prompts.classes == "all" else recipe.prompts.classes
        expander: Expander = load_expander_for(wanted, recipe.prompts.expander, **recipe.prompts.options)
        self.classes = _choose(recipe.prompts.classes, expander.classes)
        self.source = find_generator(
            settings.model, settings.steps, settings.guidance, settings.scheduler, settings.height, settings.width,
            settings.options, settings.lora, settings.lora_scale, settings.conditioning.gsd,
        )
        self.expander = checked(expander, recipe.prompts.checks, self.source)
        self.identity = Identity.of(recipe.seed, self.source.identity(), self.expander.identity())
        self.blocks = Blocks(root, recipe.runtime.block_size, recipe.output.image_format)
        self._check_frozen()
        self.runtime = Runtime.resolve(
            recipe.runtime, Runtime.load(root), self.source.draws_tokens, self.source.latent_side
        )
        self.encoders = Encoders(recipe, self.runtime.device)
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
            self._check_frozen()
            remove_leftovers(self.root)
            resolved = without_secrets(self.recipe.tree() | {"identity": self.identity.hash})
            write_file(self.root / "recipe.yaml", yaml.safe_dump(resolved, sort_keys=False))
            frozen = {"identity": self.identity.hash, "parts": self.identity.parts, **self._frozen_settings()}
            write_file(self.root / FROZEN, json.dumps(frozen, indent=2, sort_keys=True) + "\n")
            self.runtime.save(self.root)
            yield

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
        size = self.blocks.block_size
        ks = range(index * size, (index + 1) * size)
        prompts = self.prompts(label, ks.start, size)
        self._check_lengths(self.generator, label, ks.start, prompts)
        named = [self.identity.attempt(label, k) for k in ks]
        pictures = self.generator.generate(self.read_texts(label, prompts), [seed for _, seed in named])
        self._note_portions()
        return DrawnBlock(label, index, prompts, named, pictures)

    def store(self, block: DrawnBlock) -> None:
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
        measured = key and self.encoders.measure(key, images, [each.text for each in attempts])
        self.blocks.write(block.label, block.index, attempts, key, measured or None)

    def read_texts(self, label: str, prompts: Sequence[Prompt]) -> list[str]:
        """What the generator reads for prompts of a class: their texts, as it was tuned to have them written."""
        return [self.source.conditioning.render(prompt.text, label) for prompt in prompts]

    def check_block(self, label: str, index: int) -> None:
        """Check that a block on the disk is whole and holds this run's attempts.

        Raises:
            RunError: It is not or does not; the message names the file.
        """
        size = self.blocks.block_size
        self.blocks.check(label, index, (self.attempt_id(label, k) for k in range(index * size, (index + 1) * size)))

    def check_tokens(self, generator: Generator, count: int) -> None:
        """Check the first prompts of every class against the generator's token limit.

        Raises:
            InputError: A prompt is longer; the message names it.
        """
        for label in self.classes:
            target = self.recipe.target
            # Where a prompt costs time or money, only those that are needed in any case.
            most = target.per_class if getattr(self.expander, "costly", False) else target.max_attempts
            amount = min(count, most)
            self._check_lengths(generator, label, 0, self.prompts(label, 0, amount))

    def attempt_bytes(self) -> float:
        """Bytes of one stored attempt: measured where blocks exist, else an upper estimate from the picture's size."""
        drawn = next((self.root / "blocks").glob("*/*.parquet"), None)
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
        """What the models never met; texts that cost time or money are looked at only while nothing is drawn yet.

        Raises:
            InputError: There is something, and the recipe refuses it.
        """
        costly = getattr(self.expander, "costly", False)
        count = 0 if costly and self.blocks.any() else min(CHECKED_WORDS, self.recipe.target.per_class)
        texts = {label: [prompt.text for prompt in self.prompts(label, 0, count)] for label in self.classes}
        found = tuple(unread_by(readers_of(self.recipe, self.source.folder), texts))
        if self.recipe.unknown == "refuse":
            refuse(found)
        return found

    def _check_disk(self) -> None:
        target = self.recipe.target
        rows = target.per_class * len(self.classes)
        drawn = sum(1 for _ in (self.root / "blocks").glob("*/*.parquet")) * self.blocks.block_size
        # Every accepted picture is stored twice: in its block and in its shard.
        wanted = int((max(0, rows - drawn) + rows) * self.attempt_bytes())
        free = free_bytes(self.root)
        if wanted > free:
            raise RunError(
                f"disk full: {rows} pictures in {str(self.root)!r} need at least {wanted / 2**20:.0f} MiB and "
                f"{free / 2**20:.0f} MiB are free; free some space or lower target.per_class"
            )

    def _frozen_settings(self) -> dict[str, object]:
        return {"block_size": self.recipe.runtime.block_size, "image_format": self.recipe.output.image_format}

    def _check_frozen(self) -> None:
        expected = self.recipe.identity
        if expected is not None and expected != self.identity.hash:
            raise InputError(
                f"the recipe was written for identity {expected} and resolves to {self.identity.hash}: its seed, "
                "prompts or model have changed; remove the line `identity:` to make other pictures"
            )
        path = self.root / FROZEN
        if not path.is_file():
            return
        try:
            frozen = json.loads(path.read_text(encoding="utf-8"))
            parts, fixed = frozen["parts"], {key: frozen[key] for key in self._frozen_settings()}
        except (ValueError, KeyError) as error:
            raise RunError(f"{path} cannot be read ({one_line(error)}); restore it or start a new run") from error
        changed = differences(parts, self.identity.parts)
        if changed:
            raise InputError(
                f"{str(self.root)!r} holds pictures of another identity: {'; '.join(changed)}; "
                "undo the change or choose another --out"
            )
        settled = differences(fixed, self._frozen_settings())
        if settled:
            raise InputError(
                f"{'; '.join(settled)}: this is fixed for the life of the run {str(self.root)!r}; "
                "undo the change or choose another --out"
            )

    def _note_portions(self) -> None:
        noted = self.runtime.with_portions(self.generator.micro_batch, self.generator.vae_slicing)
        if noted != self.runtime:
            self.runtime = noted
            self.runtime.save(self.root)


def _choose(wanted: str | Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    if isinstance(wanted, str):
        return tuple(known)
    found: dict[str, str] = {}
    for name in wanted:
        label = name if name in known else _meant(name, known)
        if label is None:
            raise InputError(f"class {name!r} does not exist{nearest(name, known)}; classes: {', '.join(known)}")
        if label in found:
            raise InputError(f"classes {found[label]!r} and {name!r} are the same class {label!r}; name it once")
        found[label] = name
    return tuple(label for label in known if label in found)


def _meant(name: str, known: Sequence[str]) -> str | None:
    from prompts.ontology import load_ontology
    from prompts.wording import find_label

    return find_label(name, known, load_ontology("open"))
