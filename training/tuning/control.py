"""A ControlNet or a T2I-Adapter for a layout: the network beside a pipeline that is shown what lies where.

ControlNet: Zhang et al., ICCV 2023; T2I-Adapter: Mou et al., AAAI 2024. Both learn with the base's own loss. The base
stays as it is, or learns beside it, by adapters or with all of its weights, where it does not know such images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from pydantic import Field, PrivateAttr, field_validator, model_validator
from torch import nn
from typing_extensions import override

from terrasynth.hashing import text_hash
from terrasynth.prompts.layouts.palettes import SIX_COLORS, Colors, check_colors
from terrasynth.synthesis.generators.conditions.caption import Conditioning
from terrasynth.synthesis.generators.control import PIPELINES
from terrasynth.training.data.maps import MaskFiles, masks_of, to_maps
from terrasynth.training.data.views import View
from terrasynth.training.errors import InputError
from terrasynth.training.running.saving import save_model
from terrasynth.training.tuning.families.base import Base
from terrasynth.training.tuning.settings import FinetuneSettings
from terrasynth.training.tuning.task import FinetuneTask, Place

if TYPE_CHECKING:
    from terrasynth.training.data.views import Pictures
    from terrasynth.training.tuning.validation import Validation

CONTROL = "control"
"""Folder in the result for the network, and its name among those that are trained."""
KINDS = {"controlnet": "ControlNetModel", "t2i-adapter": "T2IAdapter"}
MOST_XL = 3  # resolutions that diffusers' adapter of SDXL has
EMBEDDING = (16, 32, 96, 256)  # channels of diffusers' ControlNets between map and latents


class ControlSettings(FinetuneSettings):
    """What the preset `control` may set: `FinetuneSettings`, and more.

    Attributes:
        method: What of the base is trained beside the network: nothing ("frozen"), adapters, or all weights.
        kind: A ControlNet reads noise, text and map in each step; a T2I-Adapter reads the map alone, once an image, and
            is smaller.
        masks: Folder of PNG masks that are called as the images, with the `classes.yaml` of layouts' masks.
        palette: Colors of the map: a palette's name, or colors by class.
        layout_dropout: Share of images that are shown a black map, so that the text alone is enough, too.
        layers: Residual blocks of a T2I-Adapter at each resolution.
    """

    method: Literal["frozen", "lora", "full"] = "frozen"  # type: ignore[assignment]
    kind: Literal["controlnet", "t2i-adapter"] = "controlnet"
    masks: str
    palette: Colors = SIX_COLORS
    layout_dropout: float = Field(default=0.1, ge=0, lt=1)
    layers: int = Field(default=2, gt=0)
    _masks: dict[str, MaskFiles] = PrivateAttr(default_factory=dict)

    @field_validator("palette")
    @classmethod
    def _known_colors(cls, palette: Colors) -> Colors:
        return check_colors(palette)

    def masks_of(self, split: str, pictures: Pictures) -> MaskFiles:
        """The masks of the images of a split; read and checked once."""
        if split not in self._masks:
            self._masks[split] = masks_of(pictures.pairs, self.masks)
        return self._masks[split]

    @override
    def identity(self, splits: Mapping[str, Pictures]) -> dict[str, Any]:
        digests = [self.masks_of(split, pictures).digest for split, pictures in splits.items()]
        return self.model_dump() | {"masks": text_hash("".join(digests))}

    @override
    def shown(self) -> dict[str, Any]:
        return super().shown() | {"masks": Path(self.masks).resolve().name}

    @model_validator(mode="after")
    def _turned_together(self) -> ControlSettings:
        if self.augment == "latents":
            raise ValueError("augment latents turns images without their masks; set augment to pictures or none")
        if self.text_encoder and self.method == "frozen":
            raise ValueError("text_encoder has no meaning with method frozen; set method to lora or full")
        return self


class ControlTask(FinetuneTask):
    """Predict the noise in cached latents, given the text and the map.

    Attributes:
        control: The network that is shown the map.
        masks: By split, those of its images.
    """

    settings: ControlSettings

    def __init__(self, base: Base, train: Pictures, val: Pictures, settings: ControlSettings, place: Place,
                 validation: Validation) -> None:
        self.masks = {"train": settings.masks_of("train", train), "val": settings.masks_of("val", val)}
        self._views = [settings.views_of(row, place.seed) for row in range(len(train))]
        super().__init__(base, train, val, settings, place, validation)

    @override
    def _prepare(self) -> None:
        kind, wanted = type(self.pipeline).__name__, KINDS[self.settings.kind]
        if (kind, wanted) not in PIPELINES:
            fitting = " or a ".join(sorted(base for base, network in PIPELINES if network == wanted))
            raise InputError(f"--base {self.base.name!r} is a {kind}, beside which diffusers puts no {wanted}; give a "
                             f"{fitting}")
        self._pipeline_with, self._argument = PIPELINES[kind, wanted]
        self.control: Any = new_control(self.pipeline, self.settings).to(self.place.device)

    @override
    def _components(self) -> tuple[str, ...]:
        return () if self.settings.method == "frozen" else super()._components()

    @override
    def networks(self) -> dict[str, nn.Module]:
        return {CONTROL: self.control, **super().networks()}

    @override
    def batch(self, rows: torch.Tensor, generator: torch.Generator) -> dict[str, Any]:
        batch = super().batch(rows, generator)
        dropped = torch.rand(len(rows), generator=generator) < self.settings.layout_dropout
        return batch | {"map": batch["map"] * ~dropped.to(self.place.device)[:, None, None, None]}

    @override
    def _shown(self, split: str, rows: Sequence[int], views: Sequence[int]) -> dict[str, torch.Tensor]:
        """Maps, float32 (N, 3, S, S) from 0 to 1."""
        seen = [self._views[row][view] if split == "train" else View() for row, view in zip(rows, views, strict=True)]
        maps = [self.masks[split].map(row, view, self.size, self.settings.palette)
                for row, view in zip(rows, seen, strict=True)]
        return {"map": torch.from_numpy(to_maps(maps))}

    @override
    def _denoiser(self, batch: dict[str, Any]) -> nn.Module:
        network, shown = super()._denoiser(batch), batch["map"]
        told = _by_adapter if self.settings.kind == "t2i-adapter" else _by_controlnet
        return partial(told, network, self.control, shown)  # type: ignore[return-value]

    @override
    def _drawer(self, part: slice) -> Any:
        import diffusers

        from terrasynth.synthesis.core.quiet import quiet

        kind, parts = getattr(diffusers, self._pipeline_with), self.pipeline.components | {self._argument: self.control}
        taken = signature(kind.__init__).parameters
        with quiet():
            both = kind(**{name: part for name, part in parts.items() if name in taken})
        both.set_progress_bar_config(disable=True)
        rows = self.validation.rows[part]
        return partial(both, image=self._shown("val", rows, [0] * len(rows))["map"].to(self.place.device))

    @override
    def save(self, folder: Path) -> None:
        """The network in `folder/control` with its colors; beside it the base's adapters or weights, if trained."""
        if self.settings.method != "frozen":
            super().save(folder)
        self.control.register_to_config(_name_or_path="")  # where it lay on this machine is nobody's business
        save_model(self.control, folder / CONTROL)
        Conditioning(layout=self.settings.palette).save(folder / CONTROL)


def new_control(pipeline: Any, settings: ControlSettings) -> nn.Module:  # noqa: ANN401 - diffusers is untyped
    """The network before its first step: a ControlNet adds nothing yet, a T2I-Adapter has random weights.

    Raises:
        InputError: No T2I-Adapter has the pipeline's resolutions.
    """
    from diffusers import ControlNetModel, T2IAdapter

    unet, scale = pipeline.unet, int(pipeline.vae_scale_factor)
    if settings.kind == "controlnet":
        halvings = scale.bit_length() - 1
        widths = (*EMBEDDING, *EMBEDDING[-1:] * halvings)[:halvings + 1]
        made: nn.Module = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=widths)
        return made.float().requires_grad_(True)
    # diffusers adds to what a block with attention computes, and to what one without hands down, at half the size.
    attends = ["CrossAttn" in kind for kind in unet.config.down_block_types]
    if not attends[0] and all(attends[1:]) and 1 < len(attends) <= MOST_XL:
        shape, factor = "full_adapter_xl", 2 * scale
    elif all(attends[:-1]):
        shape, factor = "full_adapter", scale
    else:
        raise InputError(f"no T2I-Adapter of diffusers fits a network of {', '.join(unet.config.down_block_types)}; "
                         "set model.kind to controlnet")
    adapter: nn.Module = T2IAdapter(in_channels=3, channels=list(unet.config.block_out_channels),
                                    num_res_blocks=settings.layers, downscale_factor=factor, adapter_type=shape)
    return adapter


def _by_controlnet(network: nn.Module, control: nn.Module, shown: torch.Tensor, noisy: torch.Tensor,
                   timesteps: torch.Tensor, states: torch.Tensor, **more: Any) -> Any:  # noqa: ANN401 - as the network
    added = {name: value for name, value in more.items() if name == "added_cond_kwargs"}
    down, middle = control(noisy, timesteps, states, controlnet_cond=shown, return_dict=False, **added)
    predicted: Any = network(noisy, timesteps, states, down_block_additional_residuals=down,
                             mid_block_additional_residual=middle, **more)
    return predicted


def _by_adapter(network: nn.Module, control: nn.Module, shown: torch.Tensor, noisy: torch.Tensor,
                timesteps: torch.Tensor, states: torch.Tensor, **more: Any) -> Any:  # noqa: ANN401 - as the network
    added = list(control(shown))
    predicted: Any = network(noisy, timesteps, states, down_intrablock_additional_residuals=added, **more)
    return predicted
