"""The short jobs "plan", "draw", "expand" and "nearest"; the models that drew last stay loaded."""

from __future__ import annotations

import gc
import json
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from terrasynth.synthesis.core import layout
from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.recipe import Recipe
from terrasynth.synthesis.service.places import draws_folder, run_folder
from terrasynth.synthesis.service.references import expander_options, placed
from terrasynth.synthesis.service.specs import DrawSpec, ExpandSpec, NearestSpec, PlanSpec
from terrasynth.synthesis.service.states import State
from terrasynth.synthesis.service.tasks.base import Outcome, Work, plain

if TYPE_CHECKING:
    from terrasynth.synthesis.generators.base import Generator
    from terrasynth.synthesis.studies.copies import RealNeighbors

KEPT = 2  # generators that stay loaded


class Studio:
    """Does short jobs, one after the other."""

    def __init__(self) -> None:
        self._generators: OrderedDict[str, Generator] = OrderedDict()
        self._neighbors: tuple[tuple[str, str, tuple[int, int]], RealNeighbors] | None = None

    def plan(self, spec: PlanSpec, work: Work) -> Outcome:
        """Say what a recipe would make and cost.

        Raises:
            InputError: Something the user has to correct.
            RunError: The disk is too small.
        """
        from terrasynth.synthesis.planning import plan

        out = None if spec.data_set is None else run_folder(work.order.runs, spec.data_set)
        found = plan(Recipe.parse(placed(spec.recipe, work.order.places)), out)
        return Outcome(State.SUCCEEDED, {
            "identity": found.identity, "prompts": plain(found.prompts), "present": found.present,
            "at_least": found.at_least, "at_most": found.at_most, "seconds": list(found.seconds),
            "bytes": list(found.bytes), "seconds_per_image": found.seconds_per_picture,
            "bytes_per_image": found.bytes_per_picture, "rejected": found.rejected, "free_bytes": found.free_bytes,
            "runtime": {"device": found.runtime.device, "dtype": found.runtime.dtype,
                        "micro_batch": found.runtime.micro_batch}, "notes": list(found.notes),
            "costs": {"API prompts": found.api} if found.api else {},
        })

    def draw(self, spec: DrawSpec, work: Work) -> Outcome:
        """Draw images into a folder of the job.

        Raises:
            InputError: No such model, or a prompt that it cannot read.
            RunError: The machine is short of something.
        """
        from terrasynth.synthesis.core.files import write_file
        from terrasynth.synthesis.core.images import encode
        from terrasynth.synthesis.execution.unread import Unread, generator_reader
        from terrasynth.synthesis.generators.tuned_for import tuned_otherwise

        model = work.order.places.model(spec.model)
        generator = self._generator(spec, work)
        read = _read_texts(spec, generator)
        said = Unread(generator_reader(model, generator.source))
        said.look(spec.prompts)
        start = time.perf_counter()
        drawn = generator.draw(read, spec.seeds)
        seconds = time.perf_counter() - start
        names = [f"{number}.png" for number in range(len(read))]
        folder = draws_folder(work.order.runs, work.order.job)
        for number, (name, picture) in enumerate(zip(names, drawn.pictures, strict=True)):
            if number not in drawn.withheld:
                write_file(folder / name, encode(picture, "png"))
        knowledge = said.reader.knowledge
        height, width = drawn.pictures.shape[1:3]
        return Outcome(State.SUCCEEDED, {
            **plain(generator.identity()), "generator": generator.source.name, "images": names,
            "seeds": list(spec.seeds), "prompts": list(spec.prompts), "width": width, "height": height,
            "seconds": seconds, "withheld": list(drawn.withheld),
            "notes": [*tuned_otherwise(generator.source), *said.lines()],
            "unread": [[] if knowledge is None else list(knowledge.unread(text)) for text in spec.prompts],
        })

    def expand(self, spec: ExpandSpec, work: Work) -> Outcome:
        """Write prompts.

        Raises:
            InputError: No such expander, class or option.
        """
        from terrasynth.prompts.registry import load_expander_for
        from terrasynth.prompts.scenes.wording import chosen_labels

        wanted = list(spec.classes) or None
        writer = load_expander_for(wanted, spec.expander,
                                   **expander_options(spec.expander, spec.options, work.order.places))
        labels = writer.classes if wanted is None else chosen_labels(wanted, writer.classes)
        each, more = divmod(spec.count, len(labels))
        portions = [writer.expand(label, spec.seed, spec.start, each + (place < more))
                    for place, label in enumerate(labels)]
        turns = [portion[turn] for turn in range(each + 1) for portion in portions if turn < len(portion)]
        return Outcome(State.SUCCEEDED, {"prompts": [
            {"label": prompt.label, "text": prompt.text, "captions": list(prompt.captions),
             "scene": json.loads(prompt.scene), "source": prompt.source} for prompt in turns
        ]})

    def nearest(self, spec: NearestSpec, work: Work) -> Outcome:
        """Find the real image that an image is most like, and leave it in a folder of the job.

        Raises:
            InputError: No such data set, image or data.
            RunError: A file of the data set is damaged.
        """
        from pathlib import Path

        from terrasynth.synthesis.core.files import write_file
        from terrasynth.synthesis.core.images import decode, encode
        from terrasynth.synthesis.ledger.directory import RunDirectory
        from terrasynth.synthesis.ledger.one_attempt import read_attempt
        from terrasynth.synthesis.studies.copies import RealNeighbors

        run = RunDirectory.open(work.folder(spec.data_set))
        blocks = run.blocks
        labels = [folder.name for folder in layout.block_folders(run.root)]  # which a request cannot lead elsewhere
        if spec.label not in labels or not blocks.exists(spec.label, spec.k // blocks.block_size):
            raise InputError(f"data set {spec.data_set!r} has no attempt {spec.k} of {spec.label[:60]!r}; "
                             f"{'its classes are ' + ', '.join(labels) if labels else 'nothing was drawn yet'}")
        read = read_attempt(blocks, run.frozen.identity, spec.label, spec.k, ["image"])
        image = decode(read["image"]["bytes"])
        size = (image.shape[1], image.shape[0])
        key = (spec.real, spec.split, size)
        if self._neighbors is None or self._neighbors[0] != key:
            self._neighbors = None  # before the next ones ask for memory
            real = work.tools.pictures(Path(work.order.places.file(spec.real)), spec.split, None, size)
            self._neighbors = key, RealNeighbors(real)
        found = self._neighbors[1]
        row, correlation, view = found.nearest(image)
        write_file(draws_folder(work.order.runs, work.order.job) / "0.png", encode(found.real.images[row], "png"))
        return Outcome(State.SUCCEEDED, {
            "images": ["0.png"], "text": found.real.texts[row], "label": (found.real.labels or {row: ""})[row],
            "correlation": correlation, "view": view, "among": len(found.real.images)})

    def _generator(self, spec: DrawSpec, work: Work) -> Generator:
        from terrasynth.synthesis.generators.finding import load_generator

        places = work.order.places
        settings: dict[str, Any] = {
            "steps": spec.steps, "guidance": spec.guidance, "height": spec.height, "width": spec.width,
            "lora": None if spec.lora is None else places.model(spec.lora), "lora_scale": spec.lora_scale,
            "gsd": spec.gsd, "options": dict(spec.options),
        }
        key = json.dumps([spec.model, settings], sort_keys=True)
        if key not in self._generators:
            while len(self._generators) >= KEPT:
                self._generators.popitem(last=False)
            gc.collect()  # before the next one asks for memory
            self._generators[key] = load_generator(places.model(spec.model), **settings)
        self._generators.move_to_end(key)
        return self._generators[key]


def _read_texts(spec: DrawSpec, generator: Generator) -> list[str]:
    """What the model reads for each prompt."""
    from terrasynth.synthesis.generators.token_limits import too_long

    conditioning = generator.source.conditioning
    labels = spec.labels or [""] * len(spec.prompts)
    found = [conditioning.render(text, label) for text, label in zip(spec.prompts, labels, strict=True)]
    for text in found:
        tokens, limit = generator.count_tokens(text), generator.token_limit
        if limit is not None and tokens > limit:
            raise InputError(too_long("the prompt", tokens, generator.source, limit, text, name=spec.model))
    return found
