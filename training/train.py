"""Run a preset: one training, or a chain that ends with calibration, figures and model cards."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from terrasynth.errors import not_installed
from terrasynth.synthesis.core.quiet import without_bars
from terrasynth.training.errors import InputError
from terrasynth.training.presets import Preset, checked, load_preset
from terrasynth.training.running.knowledge import write_knowledge
from terrasynth.training.tasks import (
    CAPTIONER,
    FROM_A_TEACHER,
    SEGMENTER,
    check_roles,
    make_task,
    needed_folder,
    run_ablations,
)
from terrasynth.training.trained import TrainedModel, Training, caption_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import torch

    from terrasynth.training.data import PairSet
    from terrasynth.training.data.maps import MaskFiles
    from terrasynth.training.data.reading import DataSource
    from terrasynth.training.data.views import Pictures
    from terrasynth.training.judges.card import TrainedJudge
    from terrasynth.training.running.task import Outcome

BASE = "base"
FROM_A_BASE = ("finetune", "distil", "control")
FROM_MASKS = ("control", SEGMENTER)
TEACHER = "teacher"
ON_LATENTS = ("diffusion", "latent-vq")  # families that see views of images through an autoencoder
ON_VIEWS = (*ON_LATENTS, SEGMENTER, CAPTIONER)  # families that open an image when they see it
READING = ("clip", "diffusion", "hopfield")  # families of models that read captions
KNOWING = (*READING, "scene")  # and that know classes: what they met is written beside their weights
JUDGE = "judge"
LEARN_CLASSES = ("scene", "chain")


def run_preset(preset: str, data: DataSource | Sequence[DataSource], out: Path, minutes: float | None = None,
               resume: bool = True, overrides: Mapping[str, Any] | None = None, base: str | None = None,
               teacher: str | None = None, encoder: str | None = None,
               masks: str | Path | None = None) -> Training | TrainedJudge:
    """Train what a preset names and write it to `out`; the same call resumes.

    Args:
        preset: Name of a preset, or path of a YAML file.
        data: Image-caption data as `training.data.read_pairs` takes it; one data set or several.
        out: Folder of the result. A chain makes one folder a stage in it.
        minutes: Time budget; a chain divides it among its stages in the preset's proportions.
        resume: False starts anew.
        overrides: Dotted key -> value, for a single training.
        base: Model that the training starts from, for the presets that need one.
        teacher: Autoencoder that the training learns from, for the preset that needs one.
        encoder: Network whose features a judge reads, for the preset that makes one.
        masks: Folder of masks of the images, for the preset that learns from some.

    Returns:
        Where the models are, how good they are, and what to do with them.

    Raises:
        InputError: The preset, the data or a setting is wrong.
    """
    from terrasynth.training.data import read_pairs, report_skipped

    chosen = with_teacher(preset, with_base(preset, load_preset(preset, overrides), base), teacher)
    chosen = with_masks(preset, chosen, masks)
    if chosen.family == JUDGE:
        from terrasynth.training.judges.run import train_judge

        if minutes is not None:
            raise InputError(f"--minutes {minutes:g}: preset {preset!r} has no time budget; leave --minutes out")
        return train_judge(chosen, data, out, encoder, resume)
    if encoder is not None:
        raise InputError(f"--encoder {encoder!r}: preset {preset!r} makes no judge; leave --encoder out")
    # What a data YAML says of a class is true of no image by itself, and a captioner says what it saw said of images.
    pairs = read_pairs(data, drafts=chosen.family != CAPTIONER, captionless=chosen.family == SEGMENTER)
    report_skipped(pairs)
    check_classes(preset, chosen.family, pairs)
    caption = caption_of(text for pair in pairs.split("train") for text in pair.captions)
    given = data if isinstance(data, list | tuple) else [data]
    sources = tuple(str(each) if isinstance(each, str | Path) else "DATA" for each in given)

    def trained(name: str, of: Preset, folder: Path, outcome: Outcome) -> TrainedModel:
        base = of.needs[BASE] if of.family in FROM_A_BASE else ""
        return TrainedModel(name, of.family, folder, outcome.steps, outcome.minutes, outcome.best_step,
                            outcome.figures, base, str(of.model.get("masks", "")), outcome.begun_at, outcome.before,
                            outcome.real, None if chosen.family == "chain" else _ended_by(of, outcome))

    if chosen.family != "chain":
        loop = {**chosen.loop, **({"minutes": minutes} if minutes else {})}
        chosen = chosen.model_copy(update={"loop": loop})
        outcome = train_one(chosen, pairs, out, {}, resume)
        return Training(out, (trained(preset, chosen, out, outcome),), sources, caption, chosen.model.get("size"))
    if find_spec("matplotlib") is None:  # known now, and not after hours
        raise InputError(not_installed(f"preset {preset!r}", "matplotlib", "plots"))
    models = []
    shares = [stage.minutes or 1.0 for stage in chosen.stages]
    made: dict[str, Path] = {}
    for stage, share in zip(chosen.stages, shares, strict=True):
        budget = minutes * share / sum(shares) if minutes else stage.minutes
        single = load_preset(stage.preset).changed(stage.model_copy(update={"minutes": budget}))
        made[stage.preset] = out / stage.preset
        outcome = train_one(single, pairs, made[stage.preset], made, resume)
        models.append(trained(stage.preset, single, made[stage.preset], outcome))
    from terrasynth.training.release.cards import finish

    finish(out, made, pairs, chosen.finish)
    return Training(out, tuple(models), sources, caption)


def _ended_by(preset: Preset, outcome: Outcome) -> tuple[float, int] | None:
    """The minutes that ended a training before its last step, and that step; None where none did."""
    from terrasynth.training.running.settings import LoopSettings

    loop = checked(LoopSettings, preset.loop, "loop")
    cut = outcome.steps < loop.max_steps and math.isfinite(loop.minutes)
    return (loop.minutes, loop.max_steps) if cut else None


def with_base(name: str, preset: Preset, base: str | None) -> Preset:
    """The preset with the model that it starts from among its needs.

    Raises:
        InputError: The preset needs a base and has none, or starts from nothing and is given one.
    """
    if preset.family not in FROM_A_BASE:
        if base is not None:
            raise InputError(f"--base {base!r}: preset {name!r} does not start from a model; leave --base out")
        return preset
    if base is None and BASE not in preset.needs:
        raise InputError(f"preset {name!r} needs --base: an embedded name such as ldm-ucm, a folder, or a Hub id of a "
                         "diffusers text-to-image pipeline")
    return preset.model_copy(update={"needs": preset.needs | ({BASE: base} if base else {})})


def with_teacher(name: str, preset: Preset, teacher: str | None) -> Preset:
    """The preset with the autoencoder that it learns from among its needs.

    Raises:
        InputError: The preset needs a teacher and has none, or learns from none and is given one.
    """
    if preset.family != FROM_A_TEACHER:
        if teacher is not None:
            raise InputError(f"--teacher {teacher!r}: preset {name!r} learns from no other model; leave --teacher out")
        return preset
    if teacher is None and TEACHER not in preset.needs:
        raise InputError(f"preset {name!r} needs --teacher: a folder, or a Hub id, of an autoencoder of diffusers")
    return preset.model_copy(update={"needs": preset.needs | ({TEACHER: teacher} if teacher else {})})


def with_masks(name: str, preset: Preset, masks: str | Path | None) -> Preset:
    """The preset with the masks that it learns from among its settings.

    Raises:
        InputError: The preset needs masks and has none, or learns from none and is given some.
    """
    if preset.family not in FROM_MASKS:
        if masks is not None:
            raise InputError(f"--masks {str(masks)!r}: preset {name!r} learns from no masks; leave --masks out")
        return preset
    if masks is None and "masks" not in preset.model:
        raise InputError(f"preset {name!r} needs --masks: a folder of PNG masks that are called as the images, with a "
                         "classes.yaml that says what their values are")
    return preset.model_copy(update={"model": preset.model | ({"masks": str(masks)} if masks is not None else {})})


def check_classes(name: str, family: str, pairs: PairSet) -> None:
    """Check that the data names classes, if the preset learns them.

    Raises:
        InputError: It names fewer than two.
    """
    if family in LEARN_CLASSES and len(pairs.labels) < 2:
        named = f"one class, {pairs.labels[0]!r}" if pairs.labels else "no classes"
        raise InputError(f"preset {name!r} learns scene classes, and the data names {named}; give data with a class in "
                         "each row (or, for RSICD, its lists txtclasses_rsicd), or tune with the preset lora or full")


@without_bars()
def train_one(preset: Preset, pairs: PairSet, out: Path, made: Mapping[str, Path], resume: bool) -> Outcome:
    """Train one model; `training.json` beside it records preset, outcome, hardware and what was left out."""
    import torch

    from terrasynth.training.data import report_skipped
    from terrasynth.training.data.pictures import load_splits
    from terrasynth.training.running.loop import train
    from terrasynth.training.running.place import hardware, these_processes
    from terrasynth.training.running.rates import warm_up_remark
    from terrasynth.training.running.same_training import data_name
    from terrasynth.training.running.settings import LoopSettings

    settings = checked(LoopSettings, preset.loop, "loop")
    if (remark := warm_up_remark(settings)) and these_processes().is_main_process:
        print(remark, file=sys.stderr)
    if preset.family in FROM_A_BASE:
        from terrasynth.training.tuning.run import finetune

        return finetune(preset, settings, pairs, out, resume)
    check_roles(preset)
    if preset.family == FROM_A_TEACHER:
        from terrasynth.training.families.autoencoder_distil_run import distil_autoencoder

        initial = needed_folder(preset.needs["initial"], made, "initial") if "initial" in preset.needs else None
        return distil_autoencoder(preset, settings, pairs, out, resume, initial)
    needs = {role: needed_folder(reference, made, role) for role, reference in preset.needs.items()}
    if preset.family == "scene":
        pairs = pairs.with_class()
    lazy = preset.family in ON_VIEWS
    splits: dict[str, Any] = read_views(preset, pairs) if lazy else load_splits(pairs, preset.load_size)
    masks = read_masks(preset, splits)
    settings.check_batch(len(splits["train"]))
    report_skipped(pairs)
    more = _decides(preset, splits, needs, masks)
    torch.manual_seed(settings.seed)  # the libraries draw their initial weights from the global generator
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with _attention(device):
        if preset.family == "ablations":
            outcome = run_ablations(preset, settings, splits, device, needs, out, resume, more)
        else:
            resume = resume and not _needs_changed(out / "checkpoint", more, made)
            names = {"data": data_name(pairs.sources, splits),
                     **{f"needs.{role}": reference for role, reference in preset.needs.items()}}
            task = make_task(preset, splits, device, needs, out, masks, pairs.sources)
            outcome = train(task, settings, out, resume, more=more, names=names)
    record = {
        "preset": _shown(preset), **outcome.record(),
        "hardware": hardware(device),
        "pictures": {name: len(split) for name, split in splits.items()}, "left_out": len(pairs.skipped),
        "data": list(pairs.sources),
    }
    (out / "training.json").write_text(json.dumps(record, indent=1) + "\n")
    if preset.family in KNOWING:
        captions = (text for own in splits["train"].captions for text in own)
        write_knowledge(out, captions if preset.family in READING else None, splits["train"].class_names(),
                        needs.get("initial"))
    if preset.family == CAPTIONER:
        from terrasynth.training.families.captioner_card import write_card

        write_card(out, splits, outcome, settings.seed, hardware(device))
    if preset.family == SEGMENTER:
        from terrasynth.training.families.segmenter import SegmenterSettings, calibrate

        size = checked(SegmenterSettings, preset.model, "model").size
        calibrate(out, splits["val"], masks["val"], size)  # last: what lies in the folder decides its content hash
    return outcome


def read_masks(preset: Preset, splits: Mapping[str, Pictures]) -> dict[str, MaskFiles]:
    """The masks of the images of each split, of a family that learns to tell them; none for another.

    Raises:
        InputError: An image has none, or one that does not fit.
    """
    if preset.family != SEGMENTER:
        return {}
    from terrasynth.training.data.maps import masks_of

    return {name: masks_of(pictures.pairs, preset.model["masks"]) for name, pictures in splits.items()}


def _shown(preset: Preset) -> dict[str, Any]:
    """The preset as a record shows it, without a path of this machine."""
    shown = preset.model_dump(exclude={"stages", "finish"})
    if "masks" in preset.model:
        shown["model"] = preset.model | {"masks": Path(preset.model["masks"]).resolve().name}
    return shown


def read_views(preset: Preset, pairs: PairSet) -> dict[str, Pictures]:
    """The images of `train` and `val` of a family that sees views of them.

    Raises:
        InputError: A split is empty or cannot be read, or a setting has no meaning.
    """
    from terrasynth.training.data.views import read_split

    if "load_size" in preset.model_fields_set:
        raise InputError(f"load_size {preset.load_size} has no meaning here; set "
                         f"{'model.size' if preset.family == SEGMENTER else 'model.views.size'}")
    stated = preset.model.get("gsd")
    if isinstance(stated, list | tuple) and stated and len(stated) != len(pairs.sources):
        raise InputError(f"model.gsd has {len(stated)} entries for {len(pairs.sources)} data sets; give one for each "
                         "--data, null where the distance is not known")
    return {name: read_split(pairs.split(name), name, pairs.skipped) for name in ("train", "val")}


def _decides(preset: Preset, splits: Mapping[str, Any], needs: Mapping[str, Path],
             masks: Mapping[str, MaskFiles]) -> dict[str, object]:
    """What decides the trained weights beside the loop."""
    from terrasynth.training.running.same_training import data_digest, model_digest, pairs_digest

    model = preset.model | ({"masks": [found.digest for found in masks.values()]} if masks else {})
    found: dict[str, object] = {"family": preset.family, "model": model,
                                "needs": {role: model_digest(folder) for role, folder in needs.items()}}
    if preset.family in ON_VIEWS:
        return found | {"data": pairs_digest(splits)}
    return found | {"load_size": preset.load_size, "classes": list(splits["train"].label_names),
                    "data": data_digest(splits)}


def _needs_changed(checkpoint: Path, more: Mapping[str, object], made: Mapping[str, Path]) -> bool:
    """Whether an earlier stage of a chain was trained further, so that this one has to begin anew; says so."""
    from terrasynth.synthesis.core.records import RecordError, read_record
    from terrasynth.training.running.same_training import COMPLETE, FILE

    if not made or not (checkpoint / COMPLETE).is_file():
        return False
    try:
        before = read_record(checkpoint / FILE)["made from"]["needs"]
    except (OSError, RecordError, KeyError, TypeError):
        return False
    if before == more["needs"]:
        return False
    print(f"{checkpoint.parent.name} begins anew: what it needs was trained further", file=sys.stderr)
    return True


@contextmanager
def _attention(device: torch.device) -> Iterator[None]:
    """On a CPU the plain attention kernel: its backward pass takes half the time of the fused one at these sizes."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    if device.type != "cpu":
        yield
        return
    with sdpa_kernel(SDPBackend.MATH):
        yield
