"""What a generator is to the rest: its protocol, its source with what decides its images, and a plug-in's factory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from terrasynth.eval.images import images_html
from terrasynth.synthesis.generators.autoencoders import Autoencoder
from terrasynth.synthesis.generators.conditions.caption import CAPTION_ALONE, Conditioning
from terrasynth.synthesis.generators.conditions.layout import LayoutReading
from terrasynth.synthesis.generators.control import Control
from terrasynth.synthesis.generators.lora import Lora

if TYPE_CHECKING:
    from terrasynth.synthesis.generators.runtime import Runtime
    from terrasynth.synthesis.recipe import GeneratorSettings

TOKEN_PIPELINE = "Txt2ImgMHNPipeline"  # of ours, so diffusers cannot find it by name; draws tokens, not by steps
Option = bool | int | float | str


@dataclass(frozen=True)
class Drawn:
    """Images, and which of them the model's own safety checker withheld.

    Attributes:
        pictures: uint8 (N, H, W, 3); a withheld one is black.
        withheld: Rows that were withheld, ascending.
    """

    pictures: NDArray[np.uint8]
    withheld: tuple[int, ...] = ()

    def _repr_html_(self) -> str:
        texts = ["withheld by the safety checker" if number in self.withheld else ""
                 for number in range(len(self.pictures))]
        return images_html(self.pictures, texts)


class Generator(Protocol):
    """What the pipeline asks of anything that draws.

    Attributes:
        micro_batch: Images drawn at once; falls when memory runs out.
        vae_slicing: Whether latents are decoded one by one; becomes true when memory runs out.
    """

    source: GeneratorSource
    micro_batch: int
    vae_slicing: bool

    def identity(self) -> dict[str, object]:
        """JSON-able: everything that decides an image besides prompt and seed; no paths."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of an image in pixels."""

    @property
    def token_limit(self) -> int | None:
        """Most tokens of a prompt, or None when there is no limit."""

    def count_tokens(self, text: str) -> int:
        """Tokens of a prompt, begin and end marks included."""

    def draw(self, prompts: Sequence[str], seeds: Sequence[int]) -> Drawn:
        """Images; image i depends on prompt i and seed i."""

    def generate(self, prompts: Sequence[str], seeds: Sequence[int]) -> NDArray[np.uint8]:
        """The images of `draw` alone, uint8 (N, H, W, 3); a withheld one is black and named in the log."""


class LayoutGenerator(Generator, Protocol):
    """What the pipeline asks of a generator whose source has a `layout`."""

    def draw(self, prompts: Sequence[str], seeds: Sequence[int], layouts: Sequence[str] | None = None) -> Drawn:
        """Images; image i depends on prompt i, seed i and layout i, the JSON of one."""


@dataclass(frozen=True)
class GeneratorSource:
    """A generator's files, found, with the settings that decide its images.

    Attributes:
        name: What data set rows call it: embedded name, Hub id, or the name of a local folder; "base+lora" with a LoRA,
            and "+vae:name" at the end with another autoencoder.
        revision: Commit on the Hub, or content hash of the files; with a LoRA, "base+lora*scale", and "+vae:content" at
            the end with another autoencoder.
        steps: Times the network is asked for one image: denoising steps, or tokens.
        options: Further arguments of the pipeline's call.
        lora: Adapters that are added to the weights; None for none.
        conditioning: How a caption becomes the text that the model reads.
        latent_side: Side of the latent image that the network was made for; None where the files do not say.
        plugin: Name of the plug-in that draws; "" for a pipeline of diffusers.
        vae: Autoencoder that takes the place of the pipeline's own; None for its own.
        control: ControlNet or T2I-Adapter that is put beside the pipeline; None for none.
        layout: How it is shown the layout of a prompt; None for one that reads texts alone.
    """

    name: str
    revision: str
    folder: Path
    pipeline: str
    steps: int
    guidance: float
    scheduler: str
    height: int | None
    width: int | None
    options: Mapping[str, Option] = field(default_factory=dict)
    lora: Lora | None = None
    conditioning: Conditioning = field(default_factory=Conditioning)
    latent_side: int | None = None
    vae: Autoencoder | None = None
    plugin: str = ""
    control: Control | None = None
    layout: LayoutReading | None = None

    @property
    def draws_tokens(self) -> bool:
        """Whether an image is drawn token by token, so that steps, scheduler and size are the model's own."""
        return self.pipeline == TOKEN_PIPELINE

    def identity(self) -> dict[str, object]:
        """JSON-able: everything that decides an image besides prompt and seed; no paths."""
        optional: dict[str, object] = {"options": dict(self.options)} if self.options else {}
        if self.conditioning.template != CAPTION_ALONE:
            optional["conditioning"] = self.conditioning.identity()
        if self.layout is not None:
            optional["layout"] = self.layout.identity()
        return {
            "revision": self.revision,
            "steps": self.steps,
            "guidance": self.guidance,
            "scheduler": self.scheduler,
            "height": self.height,
            "width": self.width,
        } | optional


class GeneratorPlugin(Protocol):
    """A kind of generator from another package, under the entry-point group `terrasynth.generators`.

    `generator.model` is then the name of the entry point, or that name, a colon, and what the plug-in makes of it.
    """

    def find(self, settings: GeneratorSettings) -> GeneratorSource:
        """Find what draws, without loading it.

        Returns:
            Its source: `name` and `revision` go into every row and, with the settings, into the identity of a run, so
            what would draw another image has another revision; `folder` may hold a card with a licence.

        Raises:
            InputError: There is no such model, or a setting means nothing to it.
        """

    def open(self, source: GeneratorSource, runtime: Runtime) -> Generator:
        """Load it; image i of a call is decided by prompt i and seed i alone."""
