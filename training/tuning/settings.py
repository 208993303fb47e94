"""What the presets `lora` and `full` may set."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from terrasynth.synthesis.generators.conditions.caption import Conditioning
from terrasynth.training.data.views import View, random_views

if TYPE_CHECKING:
    from terrasynth.training.data.views import Pictures

Augmentation = Literal["pictures", "latents", "none"]


class LoraSettings(BaseModel):
    """Low-rank adapters (Hu et al., ICLR 2022).

    Attributes:
        rank: Rank r of an adapter.
        alpha: Its output is scaled by alpha / r; None for r, which is what tools that read no metadata assume.
        dropout: Of an adapter's input.
        targets: Layers by the end of their names; empty for the family's own choice.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    rank: int = Field(default=16, gt=0)
    alpha: float | None = Field(default=None, gt=0)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    targets: tuple[str, ...] = ()


class ValidationSettings(BaseModel):
    """What is measured during training.

    Attributes:
        encoder: Dual encoder that says how well images agree with their captions; None where there is none for the
            images at hand. With `choose` "auto" it is not asked where it never met most of them.
        classifier: Scene classifier over the classes of the data, or None.
        pictures: Captions of `val` that are drawn, spread over the data; 0 draws none.
        steps: Denoising steps.
        guidance: Classifier-free guidance scale.
        choose: What decides which checkpoint is kept: agreement with the captions, or the loss on `val`; "auto" is the
            agreement where the encoder is there and met most images of `val` that are drawn, by class or else caption.
        batch: Images drawn at once.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    encoder: str | None = "clip-ucm-b"
    classifier: str | None = None
    pictures: int = Field(default=32, ge=0)
    steps: int = Field(default=20, gt=0)
    guidance: float = Field(default=3.0, ge=0)
    choose: Literal["auto", "clip_score", "loss"] = "auto"
    batch: int = Field(default=8, gt=0)


class FinetuneSettings(BaseModel):
    """What a preset may set about tuning a pipeline.

    Attributes:
        method: Adapters beside frozen weights, or all weights of the denoising network.
        text_encoder: Train the text encoders too, in the same way.
        size: Side of the images in pixels; None for the base's own.
        base_dtype: Of the weights that stay as they are; "auto" is float32 on a CPU and otherwise the type that
            `loop.mixed_precision` computes in.
        gradient_checkpointing: Compute activations again in the backward pass: slower, in a fraction of the memory.
        augment: Flips and quarter turns of the images, each encoded for itself; of the latents, for an autoencoder
            whose latents turn with the image; or none.
        views: Versions of an image that are encoded and cached; None for eight where images are turned, else one.
        min_scale: Smallest share of the image's side that a view after the first spans.
        caption_dropout: Share of captions replaced by the text of the unconditional branch.
        snr_gamma: Of min-SNR weighting; None for equal weights.
        noise_offset: Deviation of a shift of the noise that is the same in all places of a channel.
        conditioning: How a caption becomes the text that the model reads.
        cache: Folder of encoded images and texts; None for `cache` in the result's folder.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: Literal["lora", "full"]
    lora: LoraSettings = LoraSettings()
    text_encoder: bool = False
    size: int | None = Field(default=None, gt=0)
    base_dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    gradient_checkpointing: bool = False
    augment: Augmentation = "pictures"
    views: int | None = Field(default=None, gt=0)
    min_scale: float = Field(default=1.0, gt=0, le=1)
    caption_dropout: float = Field(default=0.1, ge=0, lt=1)
    snr_gamma: float | None = Field(default=5.0, gt=0)
    noise_offset: float = Field(default=0.0, ge=0)
    conditioning: Conditioning = Conditioning()
    cache: str | None = None
    validation: ValidationSettings = ValidationSettings()

    def identity(self, splits: Mapping[str, Pictures]) -> dict[str, Any]:
        """What a training is known by of the settings, with what they name beside the images."""
        return self.model_dump()

    def shown(self) -> dict[str, Any]:
        """The settings without a path of this machine, JSON-able."""
        shown = self.model_dump(mode="json", exclude={"cache"})
        for role in ("encoder", "classifier"):
            reference = shown["validation"][role]
            if reference is not None and Path(reference).is_dir():
                shown["validation"][role] = Path(reference).resolve().name
        return shown

    @property
    def number_of_views(self) -> int:
        """Versions of an image in the cache."""
        return self.views or (8 if self.augment == "pictures" else 1)

    def views_of(self, row: int, seed: int) -> list[View]:
        """The views of the training image `row`, the same for the same settings and seed."""
        return random_views(row, self.number_of_views, self.min_scale, seed, self.augment == "pictures")
