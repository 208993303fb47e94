"""The end of a chain: calibrate the encoders, measure every model, write cards, lay the files out to be embedded."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from terrasynth.synthesis.core.quiet import without_bars
from terrasynth.synthesis.core.sampling import read_sampling
from terrasynth.training.presets import FinishSettings
from terrasynth.training.release.prompts import DRAW_SEED, PER_CLASS, Prompts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from terrasynth.eval import Evaluation
    from terrasynth.synthesis.core.real_pictures import RealPictures
    from terrasynth.training.data import PairSet
    from terrasynth.training.data.pictures import PictureSet

LEFT_BEHIND = ("cache", ".cache", "checkpoint", "logs", "previews")
GENERATORS = ("ldm-ucm", "mhn-ucm")
PARTS = ("autoencoder-ucm", "autoencoder-decoder-ucm", "vqgan-ucm", "vqgan-decoder-ucm",
         "mhn-ablations")  # stages that are no model of their own

HEADER = """---
license: other
license_name: research-captions
library_name: {library}
tags: [remote-sensing, terrasynth]
language: en
---

# {name}

{what}

| | |
|---|---|
| data | {data} |
| hardware | {hardware} |
| training | {minutes} minutes, {steps} steps, {kept} |
| seed | {seed} |
| size | {megabytes:.1f} MiB, half precision, `safetensors` |

Made by `terrasynth train {preset} --data DIR --out DIR`.
"""

TERMS = """
## Terms

The training captions are released for research, without an explicit licence; the images are in the public domain.
Use the weights for research.
"""


@without_bars()
def finish(out: Path, made: Mapping[str, Path], pairs: PairSet, settings: FinishSettings | None = None) -> None:
    """Write `out/embedded/<name>`: model files without checkpoints, calibration, card; and `out/figures.json`.

    Args:
        out: Folder of the chain. Every `benchmark*.json` of `tests/benchmarks/mhn_cache.py` there goes into the card.
        made: Stage name -> its folder; the stages of the release.
        pairs: The data that trained them; `val` calibrates, `test` (where there is one) is reported.
    """
    settings = settings or FinishSettings()
    pairs = pairs.with_class()  # what is measured here is measured by class
    embedded = {name: _copy(folder, out / "embedded" / name) for name, folder in made.items() if name not in PARTS}
    from terrasynth.eval import load_encoder
    from terrasynth.eval.models.calibrating import calibrate
    from terrasynth.synthesis.studies.calibration import calibrate_scene
    from terrasynth.training.data.pictures import load_splits
    from terrasynth.training.release.mhn_figures import measure_codes, measure_guidance, measure_zero_shot

    size = json.loads((made["ldm-ucm"] / "training.json").read_text())["preset"]["model"]["views"]["size"]
    splits = load_splits(pairs, size)
    judging = {name: data for name, data in splits.items() if name != "train"}
    reference = reference_pictures(pairs, "test" if "test" in splits else "val", size)
    figures: dict[str, Any] = {}
    roots = [out / "embedded"]
    val = reference_pictures(pairs, "val", size)
    for name in ("clip-ucm", "clip-ucm-b"):
        encoder = load_encoder(name, roots=roots)
        calibration = calibrate(encoder, val.images, splits["val"].captions, splits["val"].class_names(), "val")
        calibration.save(embedded[name] / "calibration.json")
        figures[name] = {split: _retrieval(encoder, data) for split, data in judging.items()}
    calibrate_scene(str(embedded["scene-ucm"]), val, "val").save(embedded["scene-ucm"] / "calibration.json")
    figures["scene-ucm"] = {split: _recognition(roots, data) for split, data in judging.items()}
    figures["autoencoder-ucm"] = {
        split: _reconstruction(embedded["ldm-ucm"] / "vae", data) for split, data in judging.items()
    }
    figures["vqgan-ucm"] = {split: measure_codes(embedded["mhn-ucm"] / "vqvae", roots, data, data.class_names())
                            for split, data in judging.items()}
    prompts = Prompts.of(pairs)
    evaluations: dict[str, Evaluation] = {}
    for name in GENERATORS:
        images = _draw(embedded[name], prompts)
        evaluations[name] = judge_pictures(roots, images, prompts, reference)
        figures[name] = evaluations[name].to_json()
        _sheet(images, out / f"{name}.png")
    figures["guidance"] = measure_guidance(
        embedded["mhn-ucm"], settings.guidance,
        lambda images: judge_pictures(roots, images, prompts, reference), prompts.texts)
    figures["zero_shot"] = measure_zero_shot(
        {embedded[name]: read_sampling(embedded[name]).guidance for name in GENERATORS}, pairs, splits,
        settings.zero_shot_per_class, settings.zero_shot_steps)
    figures["ablations"] = json.loads((made["mhn-ablations"] / "ablations.json").read_text())
    figures["benchmarks"] = [json.loads(path.read_text()) for path in sorted(out.glob("benchmark*.json"))]
    (out / "figures.json").write_text(json.dumps(figures, indent=1) + "\n")
    for name, folder in embedded.items():
        (folder / "README.md").write_text(card(name, made, figures, evaluations, folder), encoding="utf-8")


def _copy(source: Path, target: Path) -> Path:
    if target.exists():
        shutil.rmtree(target)
    shutil.copytree(source, target, ignore=shutil.ignore_patterns(*LEFT_BEHIND, "figures.json", "training.json"))
    for path in target.rglob("*"):  # temporary files, which safetensors moves into place, are for their owner alone
        path.chmod(0o755 if path.is_dir() else 0o644)
    return target


def _retrieval(encoder: Any, data: PictureSet) -> dict[str, float]:  # noqa: ANN401 - an eval.Encoder
    """R@1 both ways on first captions, an equal caption counting as right; mean cosine and its shuffled null."""
    first = [captions[0] for captions in data.captions]
    cosine = encoder.encode_images(data.arrays()) @ encoder.encode_texts(first).T
    right = np.array([[text in captions for text in first] for captions in data.captions])
    n = np.arange(len(data))
    return {
        "image_to_text_r1": float(right[n, cosine.argmax(1)].mean()),
        "text_to_image_r1": float(right[cosine.argmax(0), n].mean()),
        "cosine": float(np.diagonal(cosine).mean()),
        "cosine_null": float((cosine.sum() - np.trace(cosine)) / (cosine.size - len(cosine))),
        "n": len(data),
    }


def _recognition(roots: Sequence[Path], data: PictureSet) -> dict[str, float]:
    from terrasynth.eval import load_classifier

    classifier = load_classifier("scene-ucm", roots=roots)
    found = classifier.probabilities(data.arrays()).argmax(1)
    return {"accuracy": float(np.mean([classifier.labels[f] == label
                                       for f, label in zip(found, data.class_names(), strict=True)])), "n": len(data)}


def _reconstruction(folder: Path, data: PictureSet) -> dict[str, float]:
    import torch
    from diffusers import AutoencoderKL

    from terrasynth.training.data.pictures import to_float

    model = AutoencoderKL.from_pretrained(folder, torch_dtype=torch.float32).eval()
    ratios = []
    with torch.no_grad():
        for part in to_float(data.pixels).split(32):
            back = model.decode(model.encode(part).latent_dist.mode()).sample.clamp(-1, 1)
            ratios += (10 * torch.log10(4 / (back - part).square().mean((1, 2, 3)))).tolist()
    return {"psnr_db": float(np.mean(ratios)), "n": len(data)}


def _draw(folder: Path, prompts: Prompts) -> NDArray[np.uint8]:
    from terrasynth.synthesis import load_generator

    return load_generator(str(folder)).generate(prompts.texts, list(range(len(prompts.texts))))


def reference_pictures(pairs: PairSet, split: str, size: int) -> RealPictures:
    """The real images of a split, prepared just as `terrasynth eval --real` does; unreadable ones are left out."""
    from terrasynth.synthesis.core.real_pictures import real_pictures

    unreadable = {each.name for each in pairs.skipped}
    return real_pictures([pair for pair in pairs.split(split) if pair.name not in unreadable], (size, size))


def judge_pictures(
    roots: Sequence[Path], images: NDArray[np.uint8], prompts: Prompts, reference: RealPictures
) -> Evaluation:
    """The figures of `terrasynth eval` for images uint8 (N, H, W, 3) of these prompts."""
    from terrasynth.eval import evaluate, load_classifier, load_encoder

    return evaluate(
        images, prompts.texts, prompts.labels, encoder=load_encoder("clip-ucm-b", roots=roots),
        classifier=load_classifier("scene-ucm", roots=roots), reference_images=reference.images,
        reference_texts=reference.texts, reference_labels=reference.labels,
    )


def _sheet(images: NDArray[np.uint8], path: Path) -> None:
    import torch
    from PIL import Image

    from terrasynth.training.data.pictures import to_float
    from terrasynth.training.running.sheets import tile

    Image.fromarray(tile(to_float(torch.from_numpy(images).permute(0, 3, 1, 2)), columns=PER_CLASS)).save(path)


def card(name: str, made: Mapping[str, Path], figures: Mapping[str, Any], evaluations: Mapping[str, Evaluation],
         folder: Path) -> str:
    """The model card of one embedded model, every figure from this training or this measurement."""
    record = json.loads((made[name] / "training.json").read_text())
    counts = record["pictures"]
    what = {
        "scene-ucm": ("Scene classifier, a residual network trained from scratch.", "transformers"),
        "clip-ucm": ("Dual encoder of images and captions; its scores filter.", "transformers"),
        "clip-ucm-b": ("Dual encoder of images and captions, another architecture and seed; it reports.",
                       "transformers"),
        "ldm-ucm": ("Text-to-image latent diffusion, a `StableDiffusionPipeline`.", "diffusers"),
        "mhn-ucm": ("Text-to-image by image tokens and modern Hopfield networks over learned prototypes "
                    "(Txt2Img-MHN), a `terrasynth.synthesis.generators.hopfield.pipeline.Txt2ImgMHNPipeline`.",
                    "diffusers"),
    }[name]
    text = HEADER.format(
        name=name, what=what[0], library=what[1], preset=name, hardware=record["hardware"],
        minutes=record["minutes"], steps=record["steps"], kept=_kept(record),
        seed=record["preset"]["loop"].get("seed", 0), megabytes=_megabytes(folder),
        data=", ".join(f"{n} {split}" for split, n in counts.items()) + " images; only `train` was trained on",
    )
    sections = [text, "\n## Figures\n"]
    if name not in GENERATORS:
        return "\n".join([*sections, *rows_by_split(figures[name]), TERMS])
    evaluation = evaluations[name]
    steps = {"ldm-ucm": "20 steps", "mhn-ucm": "one token after the other"}[name]
    part = {"ldm-ucm": ("autoencoder-ucm", "autoencoder"), "mhn-ucm": ("vqgan-ucm", "tokenizer of images")}[name]
    decoder, kept = {"ldm-ucm": ("autoencoder-decoder-ucm", "latents"),
                     "mhn-ucm": ("vqgan-decoder-ucm", "tokens")}[name]
    chosen = {"ldm-ucm": "the autoencoder's checkpoint", "mhn-ucm": "the checkpoints"}[name]
    further = f", its decoder for {_spent(made[decoder])} more, {kept} unchanged and no judge in its loss"
    guidance = read_sampling(folder).guidance
    sections += [f"On {evaluation.n} images, {steps}, guidance {guidance:g}, seed {DRAW_SEED}:\n",
                 evaluation.table(),
                 f"\nIts {part[1]} was trained for {_spent(made[part[0]])}{further}; its own perceptual "
                 f"loss and the choice of {chosen} used a scene classifier of the kind that gives the scene accuracy "
                 "above, trained on the same images, so that figure flatters:\n",
                 *rows_by_split(figures[part[0]])]
    classes = evaluation.recognition.per_class
    sections += ["\nScene accuracy by class: " + ", ".join(f"{k} {v[0]:.1f}" for k, v in classes.items()) + "."]
    if name == "mhn-ucm":
        from terrasynth.training.release.mhn_card import mhn_sections

        sections += mhn_sections(figures, evaluations)
    return "\n".join([*sections, TERMS])


def _kept(record: Mapping[str, Any]) -> str:
    """Which state of a training was kept."""
    return f"best on `val` at step {record['best_step']}" if "score" in record["val"] else "the last is kept"


def _spent(folder: Path) -> str:
    record = json.loads((folder / "training.json").read_text())
    return (f"{record['minutes']} minutes ({record['steps']} steps, best at {record['best_step']}, seed "
            f"{record['preset']['loop'].get('seed', 0)}, {record['hardware']})")


def rows_by_split(by_split: Mapping[str, Mapping[str, float]]) -> list[str]:
    """A table with a row a split and a column a figure."""
    names = list(next(iter(by_split.values())))
    lines = ["| split | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for split, values in by_split.items():
        cells = [str(values[n]) if n == "n" else f"{values[n]:.3f}" for n in names]
        lines.append(f"| {split} | " + " | ".join(cells) + " |")
    return lines


def _megabytes(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2**20
