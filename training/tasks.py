"""What a preset's family needs, and the task that the training loop is given of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from terrasynth.training.errors import InputError
from terrasynth.training.presets import Preset, checked

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from terrasynth.training.data.maps import MaskFiles
    from terrasynth.training.running.settings import LoopSettings
    from terrasynth.training.running.task import Outcome, Task

SEGMENTER = "segmenter"
CAPTIONER = "captioner"
FROM_A_TEACHER = "autoencoder-distil"
CACHE = ".cache"  # hidden, so that it is no part of the model
ROLES: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {  # family -> what it needs, and what it may have
    "scene": ((), ()), "clip": ((), ()), "autoencoder": (("classifier",), ("initial",)),
    "decoder": (("initial",), ("classifier",)), "vq": (("classifier",), ("initial",)),
    "hopfield": (("tokenizer", "classifier"), ("autoencoder",)),
    "ablations": (("tokenizer", "classifier"), ("autoencoder",)), "latent-vq": (("autoencoder",), ()),
    SEGMENTER: ((), ()), CAPTIONER: ((), ()),
    "diffusion": (("autoencoder",), ("encoder", "initial")), FROM_A_TEACHER: (("teacher",), ("initial",)),
}


def check_roles(preset: Preset) -> None:
    """Refuse a preset that lacks what its family needs, or names what it has no use for.

    Raises:
        InputError: It does.
    """
    needed, more = ROLES[preset.family]
    for role in preset.needs:
        if role not in (*needed, *more):
            raise InputError(f"needs.{role} has no meaning for the family {preset.family}; it has "
                             f"{', '.join((*needed, *more)) or 'none'}")
    for role in needed:
        if role not in preset.needs:
            raise InputError(f"the family {preset.family} needs needs.{role}; add it, as in needs.{role}=FOLDER")


def make_task(preset: Preset, splits: dict[str, Any], device: torch.device, needs: Mapping[str, Path],
              out: Path, masks: dict[str, MaskFiles] | None = None, sources: Sequence[str] = ()) -> Task:
    """The task of a preset's family, its settings checked."""
    if preset.family == "scene":
        from terrasynth.training.families.scene import SceneSettings, SceneTask

        return SceneTask(splits, checked(SceneSettings, preset.model, "model"), device)
    if preset.family == SEGMENTER:
        from terrasynth.training.families.segmenter import SegmenterSettings, SegmenterTask

        return SegmenterTask(splits, masks or {}, checked(SegmenterSettings, preset.model, "model"), device)
    if preset.family == CAPTIONER:
        from terrasynth.training.families.captioner import CaptionerSettings, CaptionerTask

        return CaptionerTask(splits, checked(CaptionerSettings, preset.model, "model"), device, sources, out / CACHE)
    if preset.family == "clip":
        from terrasynth.training.families.clip import ClipSettings, ClipTask

        return ClipTask(splits, checked(ClipSettings, preset.model, "model"), device)
    if preset.family == "autoencoder":
        from terrasynth.training.families.autoencoder import AutoencoderSettings, AutoencoderTask
        from terrasynth.training.families.perception import ScenePerception

        return AutoencoderTask(splits, checked(AutoencoderSettings, preset.model, "model"), device,
                               ScenePerception(needs["classifier"]), needs.get("initial"))
    if preset.family == "decoder":
        from terrasynth.training.families.decoder import DecoderSettings, DecoderTask
        from terrasynth.training.families.perception import ScenePerception

        return DecoderTask(splits, checked(DecoderSettings, preset.model, "model"), device, needs["initial"],
                           ScenePerception(needs["classifier"]) if "classifier" in needs else None)
    if preset.family == "vq":
        from terrasynth.training.families.perception import ScenePerception
        from terrasynth.training.families.vq import VQSettings, VQTask

        return VQTask(splits, checked(VQSettings, preset.model, "model"), device,
                      ScenePerception(needs["classifier"]), needs.get("initial"))
    if preset.family == "hopfield":
        from terrasynth.training.families.hopfield import HopfieldSettings, HopfieldTask

        return HopfieldTask(splits, checked(HopfieldSettings, preset.model, "model"), device, needs["tokenizer"],
                            needs["classifier"], out / "checkpoint" / "tokens.safetensors",
                            needs.get("autoencoder"))
    if preset.family == "latent-vq":
        from terrasynth.training.families.latent_vq import LatentVQSettings, LatentVQTask

        return LatentVQTask(splits, checked(LatentVQSettings, preset.model, "model"), device, needs["autoencoder"],
                            out / CACHE)
    from terrasynth.training.families.diffusion import DiffusionSettings, DiffusionTask

    return DiffusionTask(splits, checked(DiffusionSettings, preset.model, "model"), device, needs["autoencoder"],
                         out / CACHE, needs.get("encoder"), needs.get("initial"))


def run_ablations(preset: Preset, settings: LoopSettings, splits: dict[str, Any], device: torch.device,
                  needs: Mapping[str, Path], out: Path, resume: bool, more: Mapping[str, object]) -> Outcome:
    """The ablations of the Hopfield generator; the outcome is that of the base setting."""
    from terrasynth.training.families.hopfield import HopfieldSettings
    from terrasynth.training.release.ablations import ablate

    return ablate(checked(HopfieldSettings, preset.model, "model"), settings, splits, device, needs, out, resume,
                  more)


def needed_folder(reference: str, made: Mapping[str, Path], role: str) -> Path:
    """A stage of this chain, an embedded model (or a part of one, as in "ldm-ucm/vae"), or a folder.

    An `encoder` may have the Hub id of an autoencoder, too.
    """
    from terrasynth.eval.models.references import EMBEDDED_ROOT
    from terrasynth.synthesis.core.embedded import WEIGHTS

    if role == "encoder" and reference not in made:
        from terrasynth.synthesis.generators.autoencoders import autoencoder_folder

        return autoencoder_folder(reference, f"needs.encoder {reference!r}")[0]

    anywhere = [EMBEDDED_ROOT / reference, WEIGHTS / reference, Path(reference)]
    for place in [made[reference]] if reference in made else anywhere:
        if any((place / name).is_file() for name in ("config.json", "model_index.json")):
            return place
    raise InputError(f"needs: {reference!r} is neither embedded nor a model folder; train it first or give its path")
