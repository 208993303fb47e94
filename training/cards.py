"""The end of a chain: calibrate the encoders, measure every model, write cards, lay the files out to be embedded."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from eval import Evaluation
    from training.data import Pair, PairSet
    from training.pictures import PictureSet

LEFT_BEHIND = ("checkpoint", "logs", "previews")
PER_CLASS = 10
DRAW_SEED = 0

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
| training | {minutes} minutes, {steps} steps, best on `val` at step {best_step} |
| seed | {seed} |
| size | {megabytes:.1f} MiB, half precision, `safetensors` |

Made by `terrasynth train {preset} --data DIR --out DIR`.
"""

TERMS = """
## Terms

The training captions are released for research, without an explicit licence; the pictures are in the public domain.
Use the weights for research.
"""


def finish(out: Path, made: Mapping[str, Path], pairs: PairSet) -> None:
    """Write `out/embedded/<name>`: model files without checkpoints, calibration, card; and `out/figures.json`.

    Args:
        out: Folder of the chain.
        made: Stage name -> its folder; the five stages of the release.
        pairs: The data that trained them; `val` calibrates, `test` (where there is one) is reported.
    """
    embedded = {name: _copy(folder, out / "embedded" / name) for name, folder in made.items()
                if name != "autoencoder-ucm"}
    from eval import load_encoder
    from eval.calibration import calibrate
    from training.pictures import load_splits

    size = json.loads((made["ldm-ucm"] / "training.json").read_text())["preset"]["model"]["size"]
    splits = load_splits(pairs, size)
    figures: dict[str, Any] = {}
    roots = [out / "embedded"]
    for name in ("clip-ucm", "clip-ucm-b"):
        encoder = load_encoder(name, roots=roots)
        val = splits["val"]
        calibrate(encoder, val.arrays(), val.captions, labels_of(val), "val").save(embedded[name] / "calibration.json")
        figures[name] = {split: _retrieval(encoder, data) for split, data in splits.items() if split != "train"}
    figures["scene-ucm"] = {split: _recognition(roots, data) for split, data in splits.items() if split != "train"}
    figures["autoencoder-ucm"] = {
        split: _reconstruction(embedded["ldm-ucm"] / "vae", data) for split, data in splits.items() if split != "train"
    }
    drawn = _draw(embedded["ldm-ucm"], pairs)
    reference = splits.get("test", splits["val"])
    evaluation = _judge(roots, drawn, reference)
    figures["ldm-ucm"] = evaluation.to_json()
    (out / "figures.json").write_text(json.dumps(figures, indent=1) + "\n")
    _sheet(drawn[0], out / "ldm-ucm.png")
    for name, folder in embedded.items():
        (folder / "README.md").write_text(card(name, made, figures, evaluation, folder), encoding="utf-8")


def labels_of(data: PictureSet) -> list[str]:
    """The class name of each picture; "" where there is none."""
    return [data.label_names[i] if i >= 0 else "" for i in data.labels.tolist()]


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
    from eval import load_classifier

    classifier = load_classifier("scene-ucm", roots=roots)
    found = classifier.probabilities(data.arrays()).argmax(1)
    return {"accuracy": float(np.mean([classifier.labels[f] == label
                                       for f, label in zip(found, labels_of(data), strict=True)])), "n": len(data)}


def _reconstruction(folder: Path, data: PictureSet) -> dict[str, float]:
    import torch
    from diffusers import AutoencoderKL

    from training.pictures import to_float

    model = AutoencoderKL.from_pretrained(folder, torch_dtype=torch.float32).eval()
    ratios = []
    with torch.no_grad():
        for part in to_float(data.pixels).split(32):
            back = model.decode(model.encode(part).latent_dist.mode()).sample.clamp(-1, 1)
            ratios += (10 * torch.log10(4 / (back - part).square().mean((1, 2, 3)))).tolist()
    return {"psnr_db": float(np.mean(ratios)), "n": len(data)}


def _prompts(pairs: PairSet) -> tuple[list[str], list[str], str]:
    """Ten prompts a class: of the grammar where it serves the classes, else captions of `train`."""
    from prompts import load_expander

    grammar = load_expander("grammar")
    if set(pairs.labels) <= set(grammar.classes):
        prompts = [p for label in pairs.labels for p in grammar.expand(label, DRAW_SEED, 0, PER_CLASS)]
        return [p.text for p in prompts], [p.label for p in prompts], "prompts of `grammar`, seed 0"
    by_class: dict[str, list[Pair]] = {}
    for pair in pairs.split("train"):
        by_class.setdefault(pair.label, []).append(pair)
    chosen = [pair for label in sorted(by_class) for pair in by_class[label][:PER_CLASS]]
    return [pair.captions[0] for pair in chosen], [pair.label for pair in chosen], "first captions of `train`"


def _draw(folder: Path, pairs: PairSet) -> tuple[NDArray[np.uint8], list[str], list[str], str]:
    from synthesis import load_generator

    texts, labels, source = _prompts(pairs)
    generator = load_generator(str(folder))
    return generator.generate(texts, list(range(len(texts)))), texts, labels, source


def _judge(roots: Sequence[Path], drawn: tuple[NDArray[np.uint8], list[str], list[str], str],
           reference: PictureSet) -> Evaluation:
    from eval import evaluate, load_classifier, load_encoder

    images, texts, labels, _ = drawn
    return evaluate(
        images, texts, labels, encoder=load_encoder("clip-ucm-b", roots=roots),
        classifier=load_classifier("scene-ucm", roots=roots), reference_images=reference.arrays(),
        reference_texts=[captions[0] for captions in reference.captions], reference_labels=labels_of(reference),
    )


def _sheet(images: NDArray[np.uint8], path: Path) -> None:
    import torch
    from PIL import Image

    from training.pictures import to_float
    from training.sheets import tile

    Image.fromarray(tile(to_float(torch.from_numpy(images).permute(0, 3, 1, 2)), columns=PER_CLASS)).save(path)


def card(name: str, made: Mapping[str, Path], figures: Mapping[str, Any], evaluation: Evaluation, folder: Path) -> str:
    """The model card of one embedded model, every figure from this training or this measurement."""
    record = json.loads((made[name] / "training.json").read_text())
    counts = record["pictures"]
    what = {
        "scene-ucm": ("Scene classifier, a residual network trained from scratch.", "transformers"),
        "clip-ucm": ("Dual encoder of pictures and captions; its scores filter.", "transformers"),
        "clip-ucm-b": ("Dual encoder of pictures and captions, another architecture and seed; it reports.",
                       "transformers"),
        "ldm-ucm": ("Text-to-image latent diffusion, a `StableDiffusionPipeline`.", "diffusers"),
    }[name]
    text = HEADER.format(
        name=name, what=what[0], library=what[1], preset=name, hardware=record["hardware"],
        minutes=record["minutes"], steps=record["steps"], best_step=record["best_step"],
        seed=record["preset"]["loop"].get("seed", 0), megabytes=_megabytes(folder),
        data=", ".join(f"{n} {split}" for split, n in counts.items()) + " pictures; only `train` was trained on",
    )
    sections = [text, "\n## Figures\n"]
    if name == "ldm-ucm":
        vae = json.loads((made["autoencoder-ucm"] / "training.json").read_text())
        sections += [f"On {evaluation.n} pictures, 20 steps, guidance 3, seed {DRAW_SEED}:\n",
                     *(f"- {line}" for line in evaluation.lines()),
                     f"\nIts autoencoder was trained for {vae['minutes']} minutes ({vae['steps']} steps, seed "
                     f"{vae['preset']['loop'].get('seed', 0)}, {vae['hardware']}); the perceptual loss and the choice "
                     "of the checkpoint used a scene classifier of the kind that gives the scene accuracy above, "
                     "trained on the same pictures, so that figure flatters:\n",
                     *_rows(figures["autoencoder-ucm"])]
        classes = evaluation.scene.per_class
        sections += ["\nScene accuracy by class: " + ", ".join(f"{k} {v[0]:.1f}" for k, v in classes.items()) + "."]
    else:
        sections += _rows(figures[name])
    return "\n".join([*sections, TERMS])


def _rows(by_split: Mapping[str, Mapping[str, float]]) -> list[str]:
    names = list(next(iter(by_split.values())))
    lines = ["| split | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for split, values in by_split.items():
        cells = [str(values[n]) if n == "n" else f"{values[n]:.3f}" for n in names]
        lines.append(f"| {split} | " + " | ".join(cells) + " |")
    return lines


def _megabytes(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2**20
