"""What is measured of the Hopfield prototype generator besides what every generator is measured by."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from terrasynth.eval import Evaluation
    from terrasynth.training.data import PairSet
    from terrasynth.training.data.pictures import PictureSet

PLOT = "guidance.png"


def measure_codes(folder: Path, roots: Sequence[Path], data: PictureSet, labels: Sequence[str]) -> dict[str, float]:
    """The tokenizer of images on one split: PSNR, use of the codebook, and what survives of the class.

    Args:
        folder: Of the `VQModel`.
        roots: Where the classifier `scene-ucm` is.
    """
    from diffusers import VQModel

    from terrasynth.eval import load_classifier
    from terrasynth.training.data.pictures import to_float
    from terrasynth.training.families.vq import decode_tokens, encode_pictures, perplexity

    model = VQModel.from_pretrained(folder, torch_dtype=torch.float32)
    real = to_float(data.pixels)
    tokens = encode_pictures(model, real)
    back = decode_tokens(model, tokens)
    counts = torch.bincount(tokens.flatten(), minlength=model.config.num_vq_embeddings)
    classifier = load_classifier("scene-ucm", roots=roots)
    pictures = back.add(1).mul(127.5).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()
    found = classifier.probabilities(pictures).argmax(1)
    hits = [classifier.labels[i] == label for i, label in zip(found, labels, strict=True)]
    psnr = 10 * torch.log10(4 / (back - real).square().mean((1, 2, 3)))
    return {
        "psnr_db": psnr.mean().item(), "perplexity": perplexity(counts), "codes": float(len(counts)),
        "perplexity_share": perplexity(counts) / len(counts), "codes_used": float((counts > 0).sum()),
        "scene_accuracy": float(np.mean(hits)), "n": len(data),
    }


def measure_guidance(folder: Path, scales: Sequence[float], judge: Callable[[NDArray[np.uint8]], Evaluation],
                     texts: Sequence[str]) -> list[dict[str, Any]]:
    """The same texts and seeds at every guidance scale; `guidance.png` beside the model shows it.

    Args:
        judge: Gives the figures of the images.
        texts: What is drawn; image i has seed i.
    """
    from terrasynth.synthesis import load_generator

    rows = []
    for scale in scales:
        found = judge(load_generator(str(folder), guidance=scale).generate(texts, list(range(len(texts)))))
        row = {"scale": scale, "clip_score": vars(found.alignment.score),
               "scene_accuracy": vars(found.recognition.accuracy)}
        rows.append(row | {"null": vars(found.alignment.null) if found.alignment.null else None,
                           "frechet": found.frechet.distance if found.frechet else None})
    _plot(rows, folder / PLOT)
    return rows


def _plot(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    from matplotlib.figure import Figure

    scales = [row["scale"] for row in rows]
    figure = Figure(figsize=(6.4, 3.2), layout="constrained")
    axes = figure.add_subplot()
    for name, colour, mark in (("clip_score", "#0b6e99", "o"), ("scene_accuracy", "#b5541c", "s")):
        middle, low, high = (np.array([row[name][part] for row in rows]) for part in ("value", "low", "high"))
        label = {"clip_score": "CLIP score (clip-ucm-b)", "scene_accuracy": "scene accuracy (scene-ucm)"}[name]
        axes.errorbar(scales, middle, (middle - low, high - middle), color=colour, marker=mark, capsize=3, label=label)
    if rows[0]["null"]:
        null = [row["null"]["value"] for row in rows]
        axes.plot(scales, null, color="#0b6e99", linestyle=":", label="CLIP score, texts of other classes")
    axes.set(xlabel="guidance scale", ylim=(0, 1), xticks=scales)
    figure.legend(fontsize="small", loc="outside upper center", ncols=3)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)


def measure_zero_shot(generators: Mapping[Path, float], pairs: PairSet, splits: Mapping[str, PictureSet],
                      per_class: int, steps: int) -> dict[str, dict[str, Any]]:
    """Train a classifier on each generator's images and test it on real ones, beside one trained on real images.

    Args:
        generators: Folder, whose name is that of the model -> guidance scale.
        pairs: The data, whose classes are drawn.
        splits: Real images; `test` (or `val` where there is none) judges, `train` gives the ceiling.
        per_class: Images of each class to train on.
        steps: Training steps, equal for all.
    """
    from terrasynth.synthesis import load_generator
    from terrasynth.training.release.prompts import Prompts
    from terrasynth.training.studies.zero_shot import zero_shot_accuracy

    prompts = Prompts.of(pairs, per_class)
    reference, train = splits.get("test", splits["val"]), splits["train"]
    real, size = (reference.arrays(), reference.class_names()), reference.pixels.shape[-1]

    def result(images: NDArray[np.uint8], labels: Sequence[str]) -> dict[str, Any]:
        found = zero_shot_accuracy(images, labels, *real, size=size, steps=steps)
        return {**vars(found), "accuracy": vars(found.accuracy)}

    figures = {}
    for folder, guidance in generators.items():
        # Other seeds than the images that are judged by themselves.
        seeds = range(1_000_000, 1_000_000 + len(prompts.texts))
        drawn = load_generator(str(folder), guidance=guidance).generate(prompts.texts, list(seeds))
        figures[folder.name] = result(drawn, prompts.labels)
    names = train.class_names()
    rows = [i for label in sorted(set(names)) for i in [i for i, own in enumerate(names) if own == label][:per_class]]
    figures["real train pictures"] = result(train.arrays()[rows], [names[i] for i in rows])
    return figures
