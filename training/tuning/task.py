"""Tune a text-to-image pipeline of diffusers on images with captions: adapters, or all weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from typing_extensions import override

from terrasynth.synthesis.generators.conditions.caption import Tuned
from terrasynth.synthesis.generators.steps import Bar
from terrasynth.training.data.how_far import HowFar
from terrasynth.training.data.latent_cache import LatentCache, TextCache, stack, without_padding
from terrasynth.training.data.pictures import random_dihedral
from terrasynth.training.data.views import Pictures
from terrasynth.training.errors import InputError
from terrasynth.training.running.place import Place as Place
from terrasynth.training.running.place import these_processes
from terrasynth.training.running.task import Losses, Task
from terrasynth.training.tuning.families import load_base
from terrasynth.training.tuning.families.base import Base, Conditions
from terrasynth.training.tuning.lora import Adapter, add_adapter
from terrasynth.training.tuning.loss import DiffusionLoss
from terrasynth.training.tuning.settings import FinetuneSettings

if TYPE_CHECKING:
    from terrasynth.training.tuning.validation import Validation

MOST_VALIDATED = 256
DRAWN = 8
"""Pixels of which pipelines of diffusers draw multiples alone."""


class Trained(nn.Module):
    """The trained weights alone: averages and checkpoints hold these and not the frozen network round them."""

    def __init__(self, parameters: dict[str, nn.Parameter]) -> None:
        super().__init__()
        for name, parameter in parameters.items():
            self.register_parameter(name.replace(".", "/"), parameter)


class FinetuneTask(Task):
    """Predict the noise in cached latents, given the text that the template makes of a caption.

    Attributes:
        adapters: Adapters by component; empty where all weights are trained.
        rendered: Texts of a training image: a list of views, each a list of texts, one a caption.
    """

    def __init__(self, base: Base, train: Pictures, val: Pictures, settings: FinetuneSettings, place: Place,
                 validation: Validation) -> None:
        self.base, self.settings, self.place, self.validation = base, settings, place, validation
        self.family, self.train = base.family, train
        components = self._components()
        frozen = place.base_dtype(settings.base_dtype)
        full = settings.method == "full"
        self.pipeline = load_base(base, frozen, torch.float32 if full else frozen, components)
        self.pipeline.to(place.device)
        self._prepare()
        self.loss = DiffusionLoss(self.pipeline.scheduler, settings.snr_gamma)
        self.size = settings.size or self.native_size()
        self._check_size()
        self.adapters: dict[str, Adapter] = {}
        self._networks = {name: self._trained(name) for name in components}
        views = [settings.views_of(row, place.seed) for row in range(len(train))]
        render = settings.conditioning.render
        self.rendered = [
            [[render(caption, pair.label, self._gsd(view.scale)) for caption in pair.captions] for view in own]
            for pair, own in zip(train.pairs, views, strict=True)
        ]
        self.val_texts = [render(pair.captions[0], pair.label) for pair in val.pairs]
        self.latents = self._latent_cache(train, views)
        self.val_latents = self._latent_cache(val, [_upright(settings).views_of(0, 0)] * len(val))
        with torch.no_grad():
            self.null = without_padding(self._encoded(None))
        self.texts = None if settings.text_encoder else self._text_cache()
        self.drawn: np.ndarray | None = None

    def _gsd(self, scale: float) -> float | None:
        """A nearer view has smaller pixels on the ground."""
        return None if self.settings.conditioning.gsd is None else self.settings.conditioning.gsd * scale

    @property
    def cached(self) -> list[Path]:
        """The folders of what is cached and read."""
        return [one.folder for one in (self.latents, self.val_latents, self.texts) if one is not None]

    def native_size(self) -> int:
        """Side in pixels of the images that the base draws by itself.

        Raises:
            InputError: It does not say.
        """
        network = getattr(self.pipeline, self.family.denoiser)
        side = network.config.sample_size
        if not isinstance(side, int):
            raise InputError(f"--base {self.base.name!r} does not say one side for its images (sample_size is "
                             f"{side!r}); set model.size")
        return side * int(self.pipeline.vae_scale_factor)

    def _check_size(self) -> None:
        config = getattr(self.pipeline, self.family.denoiser).config
        halvings = config.get("patch_size") or 2 ** (len(config.get("block_out_channels", (1,))) - 1)
        step = math.lcm(int(self.pipeline.vae_scale_factor) * halvings, DRAWN)
        if self.size % step:
            raise InputError(f"model.size {self.size} is not a multiple of {step}, which --base {self.base.name!r} "
                             f"needs; use {max(1, round(self.size / step)) * step}")

    def _trained(self, component: str) -> Trained:
        network = getattr(self.pipeline, component)
        if self.settings.gradient_checkpointing:
            enable = getattr(network, "enable_gradient_checkpointing", None) or network.gradient_checkpointing_enable
            enable()
        if self.settings.method == "full":
            network.requires_grad_(True)
            return Trained(dict(network.named_parameters()))
        own = self.family.lora_targets if component == self.family.denoiser else self.family.text_lora_targets
        targets = self.settings.lora.targets if component == self.family.denoiser else ()
        self.adapters[component] = add_adapter(network, self.settings.lora, targets or own, component)
        return Trained(dict(self.adapters[component].parameters()))

    def _latent_cache(self, pictures: Pictures, views: Sequence[Sequence[Any]]) -> LatentCache:
        from terrasynth.eval.models.references import content_hash

        key = {"pixels": pictures.digest, "vae": content_hash(self.base.folder / "vae"), "size": self.size,
               "views": [[vars(view) for view in own] for own in views], "precision": self.place.vae_precision}
        return LatentCache(self.place.cache, pictures.pairs, views, self.size, self.pipeline.vae, key,
                           self.place.vae_autocast)

    def _text_cache(self) -> TextCache:
        from terrasynth.eval.models.references import content_hash

        parts = [part for name in self.family.text_encoders for part in (name, name.replace("encoder", "tokenizer"))]
        parts = [name.replace("text_tokenizer", "tokenizer") for name in parts]
        key = {name: content_hash(self.base.folder / name) for name in parts}
        dtype = str(getattr(self.pipeline, self.family.text_encoders[0]).dtype)
        texts = [text for own in self.rendered for view in own for text in view]
        return TextCache(self.place.cache, [*texts, *self.val_texts], lambda part: _half(self._encoded(part)),
                         key | {"dtype": dtype})

    def _encoded(self, texts: list[str] | None) -> Conditions:
        from terrasynth.synthesis.core.quiet import quiet

        with quiet():  # the pipelines tell every text that is longer than the encoder reads
            return self.family.null(self.pipeline) if texts is None else self.family.encode(self.pipeline, texts)

    def conditions(self, texts: Sequence[str]) -> Conditions:
        """What the network reads of N texts, on its device: from the cache, or by the encoders as they are now."""
        found = self.texts.read(texts) if self.texts is not None else self._encoded(list(texts))
        return {name: value.to(self.place.device) for name, value in found.items()}

    @override
    def __len__(self) -> int:
        return len(self.train)

    @override
    def networks(self) -> dict[str, nn.Module]:
        return dict(self._networks)

    @override
    def batch(self, rows: torch.Tensor, generator: torch.Generator) -> dict[str, Any]:
        n, settings = len(rows), self.settings
        views = torch.randint(settings.number_of_views, (n,), generator=generator).tolist()
        stored = self.latents.read(rows.tolist(), views)
        latents = stored["mean"] + stored["std"] * torch.randn(stored["mean"].shape, generator=generator)
        if settings.augment == "latents":
            latents = random_dihedral(latents, generator)
        texts: list[str | None] = []
        for row, view in zip(rows.tolist(), views, strict=True):
            own = self.rendered[row][view]
            chosen = own[int(torch.randint(len(own), (1,), generator=generator))]
            dropped = torch.rand(1, generator=generator).item() < settings.caption_dropout
            texts.append(None if dropped else chosen)
        noise = torch.randn(latents.shape, generator=generator)
        noise += settings.noise_offset * torch.randn(*latents.shape[:2], 1, 1, generator=generator)
        timesteps = torch.randint(self.loss.steps, (n,), generator=generator)
        values = {"latents": latents, "noise": noise, "timesteps": timesteps,
                  **self._shown("train", rows.tolist(), views)}
        return {name: value.to(self.place.device) for name, value in values.items()} | {"texts": texts}

    def _components(self) -> tuple[str, ...]:
        """The components of the base that are trained."""
        return (self.family.denoiser, *(self.family.text_encoders if self.settings.text_encoder else ()))

    def _prepare(self) -> None:
        """Make what learns beside the base, whose networks are loaded and unchanged."""

    def _shown(self, split: str, rows: Sequence[int], views: Sequence[int]) -> dict[str, torch.Tensor]:
        """What the network is shown of views of N images beside their texts."""
        return {}

    def _denoiser(self, batch: dict[str, Any]) -> nn.Module:
        """The network, as it is called with noisy latents, timesteps and what it reads of texts."""
        network: nn.Module = getattr(self.pipeline, self.family.denoiser)
        return network

    def _drawer(self, part: slice) -> Any:  # noqa: ANN401 - pipelines of diffusers share no class
        """What draws a part of the images that are drawn for `val`."""
        return self.pipeline

    def mixed(self, texts: Sequence[str | None]) -> Conditions:
        """Conditions of N texts; None stands for the unconditional branch, exactly as sampling has it."""
        null = self._encoded(None) if self.texts is None else self.null
        given = [text for text in texts if text is not None]
        found = self.conditions(given) if given else {}
        number = iter(range(len(given)))
        sources = [(null, 0) if text is None else (found, next(number)) for text in texts]
        return stack([{name: value[row].to(self.place.device) for name, value in source.items()}
                      for source, row in sources])

    @override
    def losses(self, player: str, batch: dict[str, Any], progress: float) -> Losses:
        return {"loss": self.sample_losses(batch).mean()}

    def sample_losses(self, batch: dict[str, Any]) -> torch.Tensor:
        """The loss of each sample of a batch, float32 (N,)."""
        noisy = self.loss.noising.add_noise(batch["latents"], batch["noise"], batch["timesteps"])
        predicted = self.family.predict(self._denoiser(batch), noisy, batch["timesteps"], self.mixed(batch["texts"]),
                                        self.size)
        return self.loss(predicted, batch["latents"], batch["noise"], batch["timesteps"])

    @contextmanager
    def _resting(self) -> Iterator[None]:
        """Adapters without dropout."""
        layers = [layer for adapter in self.adapters.values() for layer in adapter.dropouts()]
        for layer in layers:
            layer.eval()
        try:
            yield
        finally:
            for layer in layers:
                layer.train()

    def _far(self, past: str) -> HowFar:
        """Says how far a validation is that takes longer than some seconds."""
        return HowFar("", past, " images", at_once=False, enabled=these_processes().is_main_process)

    @property
    def validated(self) -> int:
        """Images of `val` that the loss is measured on."""
        return min(len(self.val_texts), MOST_VALIDATED)

    @torch.no_grad()
    def val_loss(self) -> float:
        """The loss on `val` at fixed noise, its steps spread evenly over the schedule."""
        n = self.validated
        rows = np.linspace(0, len(self.val_texts) - 1, n).round().astype(int).tolist()
        generator = torch.Generator().manual_seed(self.place.seed)
        mean = self.val_latents.read(rows, [0] * n)["mean"]
        steps = ((torch.randperm(n, generator=generator) + 0.5) * self.loss.steps / n).long()
        noise = torch.randn(mean.shape, generator=generator)
        total, far = 0.0, self._far("loss on val of")
        far.begin(n)
        for first in range(0, n, self.settings.validation.batch):
            part = slice(first, first + self.settings.validation.batch)
            batch = {name: value[part].to(self.place.device)
                     for name, value in (("latents", mean), ("noise", noise), ("timesteps", steps))}
            shown = self._shown("val", rows[part], [0] * len(rows[part]))
            batch |= {name: value.to(self.place.device) for name, value in shown.items()}
            with self.place.autocast():
                losses = self.sample_losses(batch | {"texts": [self.val_texts[row] for row in rows[part]]})
            total += losses.sum().item()
            far.add(len(losses))
        return total / n

    @torch.no_grad()
    def draw(self, texts: Sequence[str], seeds: Sequence[int]) -> np.ndarray:
        """Images for N rendered texts, `uint8` (N, size, size, 3), by the pipeline's own scheduler."""
        settings, parts, far = self.settings.validation, [], self._far("drawn for val")
        far.begin(len(texts))
        for first in range(0, len(texts), settings.batch):
            part = slice(first, first + settings.batch)
            n = len(texts[part])
            both = self.mixed([*texts[part], *[None] * n])  # as one batch, so that both branches have one length
            found = {name: value[:n] for name, value in both.items()}
            found |= {f"negative_{name}": value[n:] for name, value in both.items()}
            noise = [torch.Generator().manual_seed(seed) for seed in seeds[part]]
            with self.place.autocast():
                drawer = self._drawer(part)
                drawer.progress_bar = _tells(far, n)
                drawn = drawer(
                    generator=noise, num_inference_steps=settings.steps, height=self.size, width=self.size,
                    guidance_scale=settings.guidance, output_type="np", **found, **self.family.call).images
            parts.append(np.rint(np.clip(np.asarray(drawn, np.float32), 0, 1) * 255).astype(np.uint8))
            far.add(n)
        return np.concatenate(parts)

    @override
    def validate(self) -> dict[str, float]:
        with self._resting():
            figures, self.drawn = self.validation.measure(self)
        return figures

    @override
    def preview(self) -> np.ndarray | None:
        from terrasynth.training.running.sheets import tile

        if self.drawn is None:
            return None
        return tile(torch.from_numpy(self.drawn).permute(0, 3, 1, 2).float() / 127.5 - 1, columns=8)

    @override
    def save(self, folder: Path) -> None:
        from terrasynth.training.tuning.files import save_pipeline

        folder.mkdir(parents=True, exist_ok=True)
        if self.adapters:
            self.family.save_lora(self.pipeline, self.adapters, folder)
        else:
            if self.family.denoiser == "unet":  # a transformer's positions hang on the side it was made for
                side = self.size // int(self.pipeline.vae_scale_factor)
                self.pipeline.unet.register_to_config(sample_size=side)
            save_pipeline(self.pipeline, self.base.folder, list(self._networks), folder)
        Tuned(**self.settings.conditioning.model_dump(exclude={"base"}), base=self.base.name, size=self.size,
              base_revision=self.base.revision, base_network=self._base_network).save(folder)

    @cached_property
    def _base_network(self) -> str:
        from terrasynth.eval.models.references import content_hash

        return content_hash(self.base.folder / self.family.denoiser)


def _tells(far: HowFar, count: int) -> Callable[..., Bar]:
    """What a pipeline takes for its bar of progress while it draws so many images."""
    def told(step: int, steps: int) -> None:
        far.within(step / steps, count)

    def bar(iterable: Sequence[Any] | None = None, total: int | None = None) -> Bar:
        return Bar(told, iterable, total)

    return bar


def _upright(settings: FinetuneSettings) -> FinetuneSettings:
    return settings.model_copy(update={"augment": "none", "views": 1})


def _half(rows: Conditions) -> Conditions:
    return {name: value.half() if value.dtype == torch.float32 else value for name, value in rows.items()}
