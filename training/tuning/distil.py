"""Few steps for many: a student of a diffusion model; `terrasynth.training.tuning.consistency` has the formulas."""

from __future__ import annotations

import copy
import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import torch
from pydantic import Field, model_validator
from torch import nn
from typing_extensions import override

from terrasynth.synthesis.core.sampling import Sampling, read_sampling
from terrasynth.training.errors import InputError
from terrasynth.training.running.task import Losses
from terrasynth.training.tuning.consistency import Curve, guidance_embedding, guided, pseudo_huber
from terrasynth.training.tuning.families.base import Base
from terrasynth.training.tuning.settings import FinetuneSettings
from terrasynth.training.tuning.task import FinetuneTask, Place, Trained

if TYPE_CHECKING:
    from terrasynth.training.data.views import Pictures
    from terrasynth.training.tuning.families.base import Conditions
    from terrasynth.training.tuning.validation import Validation

WITHOUT_MEANING = ("caption_dropout", "snr_gamma", "noise_offset", "text_encoder")
LEAST_WIDTH = 32
LCM_STEPS = 4  # what latent consistency models are asked for, since they may take any number


class DistilSettings(FinetuneSettings):
    """What the preset `distil` may set: `FinetuneSettings`, less what is of no consequence here, and more.

    Attributes:
        phases: Parts of the curve: as many as steps are to be taken, or 1 for a latent consistency model.
        solver_steps: Steps of the teacher over the whole curve; a multiple of `phases` that divides its timesteps.
        guidance_range: The student learns these classifier-free guidance scales and is told which one; None where it
            learns `guidance` alone and draws without guidance, as adapters and transformers do.
        guidance: The scale that is learned, where there is no range.
        embedding: Width of the embedded guidance scale.
    """

    method: Literal["lora", "full"] = "full"
    phases: int = Field(default=4, gt=0)
    solver_steps: int = Field(default=40, gt=0)
    guidance_range: tuple[float, float] | None = (1.0, 5.0)
    guidance: float = Field(default=3.0, ge=1)
    embedding: int = Field(default=256, ge=LEAST_WIDTH)
    caption_dropout: float = 0.0

    @model_validator(mode="before")
    @classmethod
    def _only_what_counts(cls, values: Any) -> Any:  # noqa: ANN401 - what a user wrote
        if not isinstance(values, dict):
            return values
        for name in WITHOUT_MEANING:
            if name in values:
                raise ValueError(f"{name} is of no consequence in distillation; leave it out")
        if values.get("guidance_range", True) is None:  # the guidance is in the weights, so it is drawn without
            values = values | {"validation": {**values.get("validation", {}), "guidance": 1.0}}
        return values

    @model_validator(mode="after")
    def _fitting(self) -> DistilSettings:
        if self.guidance_range is not None:
            low, high = self.guidance_range
            if not 1 <= low <= high:
                raise ValueError(f"guidance_range [{low:g}, {high:g}] has to rise, from 1 or more")
            if self.method == "lora":
                raise ValueError("guidance_range needs method full: adapters have no input for the scale; "
                                 "set guidance_range to null, and guidance to the scale that is learned")
        if self.solver_steps % self.phases:
            raise ValueError(f"solver_steps {self.solver_steps} is no multiple of phases {self.phases}")
        return self


class DistilTask(FinetuneTask):
    """The pipeline's network learns to go to the end of a phase in one step, held to its own former self.

    The points it learns on lie on the way from noise to real latents, as in both papers; the teacher is only asked
    for one step of its guided curve from there.

    Attributes:
        told: Whether the student is told the guidance scale.
    """

    settings: DistilSettings

    def __init__(self, base: Base, train: Pictures, val: Pictures, settings: DistilSettings, place: Place,
                 validation: Validation) -> None:
        self.told = settings.guidance_range is not None
        super().__init__(base, train, val, settings, place, validation)
        steps, parts = self.loss.steps, settings.solver_steps
        if steps % parts:
            raise InputError(f"model.solver_steps {parts} does not divide the {steps} timesteps of --base "
                             f"{base.name!r}")
        self.curve = Curve(self.loss.alphas.to(place.device), self.loss.prediction, parts, settings.phases)
        self.pipeline.register_modules(scheduler=few_step_scheduler(self.pipeline.scheduler, settings))

    @override
    def _trained(self, component: str) -> Trained:
        network = getattr(self.pipeline, component)
        self.teacher = copy.deepcopy(network).eval().requires_grad_(False)
        if self.told:
            if "time_cond_proj_dim" not in network.config:
                raise InputError(f"--base {self.base.name!r}: a {type(network).__name__} has no input for the guidance "
                                 "scale; set model.guidance_range to null, and model.guidance to the one it learns")
            self.pipeline.register_modules(**{component: student_of(network, self.settings.embedding)})
            getattr(self.pipeline, component).eval().requires_grad_(False)
        return super()._trained(component)

    @override
    def batch(self, rows: torch.Tensor, generator: torch.Generator) -> dict[str, Any]:
        batch = super().batch(rows, generator)
        low, high = self.settings.guidance_range or (self.settings.guidance, self.settings.guidance)
        scale = low + (high - low) * torch.rand(len(rows), generator=generator)
        return batch | {"scale": scale.to(self.place.device)}

    @override
    def losses(self, player: str, batch: dict[str, Any], progress: float) -> Losses:
        return {"consistency": self.sample_losses(batch).mean()}

    @override
    def sample_losses(self, batch: dict[str, Any]) -> torch.Tensor:
        """Distance between the ends that the student names from two neighboring points of one curve (N,)."""
        curve, latents, conditions = self.curve, batch["latents"], self.mixed(batch["texts"])
        index = batch["timesteps"] * self.settings.solver_steps // self.loss.steps + 1
        scale = batch.get("scale", latents.new_full((len(latents),), self.settings.guidance))
        noisy = curve.add_noise(latents, batch["noise"], index)
        with torch.no_grad():
            asked = partial(self.family.predict, self.teacher, noisy, curve.time(index), size=self.size)
            null = self.mixed([None] * len(latents))
            predicted = guided(asked(conditions=conditions).float(), asked(conditions=null).float(), scale)
            nearer = curve.move(predicted, noisy, index, index - 1)
            inner = (index - 1 > curve.end(index)).nonzero()[:, 0]  # elsewhere the point is itself the end
            target = nearer.clone()
            if len(inner):
                part = {name: value[inner] for name, value in conditions.items()}
                target[inner] = self._end(nearer[inner], index[inner] - 1, scale[inner], part)
        return pseudo_huber(self._end(noisy, index, scale, conditions), target)

    def _end(self, noisy: torch.Tensor, index: torch.Tensor, scale: torch.Tensor,
             conditions: Conditions) -> torch.Tensor:
        network = getattr(self.pipeline, self.family.denoiser)
        if self.told:
            network = partial(network, timestep_cond=guidance_embedding(scale, self.settings.embedding))
        predicted = self.family.predict(cast("nn.Module", network), noisy, self.curve.time(index), conditions,
                                        self.size)
        return self.curve.consistency(predicted.float(), noisy, index)

    @override
    def save(self, folder: Path) -> None:
        """As for any tuned pipeline, with the scheduler that takes the student's steps (beside adapters too)."""
        super().save(folder)
        scheduler = self.pipeline.scheduler
        scheduler.save_pretrained(folder / "scheduler")
        own, bounds = read_sampling(self.base.folder).guidance, self.settings.guidance_range
        guidance = 1.0 if bounds is None else min(max(own, bounds[0]), bounds[1])  # else it is in the weights
        phases = self.settings.phases
        Sampling(steps=phases if phases > 1 else LCM_STEPS, guidance=guidance).save(folder)
        index = folder / "model_index.json"
        if index.is_file():
            parts = json.loads(index.read_text(encoding="utf-8"))
            parts["scheduler"] = ["diffusers", type(scheduler).__name__]
            index.write_text(json.dumps(parts, indent=2) + "\n", encoding="utf-8")


def few_step_scheduler(of_teacher: Any, settings: DistilSettings) -> Any:  # noqa: ANN401 - schedulers share no class
    """What takes a student's steps, on the teacher's noise schedule.

    For one phase diffusers' `LCMScheduler`, which adds noise between steps; else deterministic steps that begin and end
    where phases do.
    """
    from diffusers import DDIMScheduler, LCMScheduler

    from terrasynth.synthesis.core.quiet import quiet

    with quiet():  # settings of other solvers are dropped
        if settings.phases == 1:
            return LCMScheduler.from_config(of_teacher.config, original_inference_steps=settings.solver_steps)
        return DDIMScheduler.from_config(of_teacher.config, timestep_spacing="trailing", clip_sample=False,
                                         set_alpha_to_one=True, thresholding=False)


def student_of(teacher: Any, width: int) -> Any:  # noqa: ANN401 - diffusers' networks share no class
    """A copy of a U-Net with an input for the guidance scale, which is zero at first: it begins as the teacher."""
    student = type(teacher).from_config({**teacher.config, "time_cond_proj_dim": width})
    missing, unexpected = student.load_state_dict(teacher.state_dict(), strict=False)
    if unexpected or set(missing) != {"time_embedding.cond_proj.weight"}:
        raise InputError(f"the base's network cannot be told a guidance scale (weights that do not fit: "
                         f"{[*missing, *unexpected][:3]}); set model.guidance_range to null")
    nn.init.zeros_(student.time_embedding.cond_proj.weight)
    return student.to(teacher.device)
