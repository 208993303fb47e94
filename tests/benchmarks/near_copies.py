"""Copies of real training pictures, changed in many ways: how many does the filter near_copy catch, and how often does
it take a picture for a copy that is none?

    python -m tests.benchmarks.near_copies DATA [--run RUN] [--run RUN]

DATA has the splits train, val (held out) and test (the null). Layout alone is what the filter would do without detail;
with the detail, what it would do without laying pictures over each other.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from terrasynth.eval import ThumbnailEncoder
from terrasynth.synthesis.core.embedded import WEIGHTS
from terrasynth.synthesis.core.real_pictures import stack
from terrasynth.synthesis.filters.training_features import TrainingFeatures, orientations
from terrasynth.synthesis.filters.training_pictures import on_one_scale
from terrasynth.training.data import read_pairs

SIDE = 128
Images = NDArray[np.uint8]


def compressed(image: Image.Image, quality: int) -> Image.Image:
    file = BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


def coded(images: Images) -> Images:
    """Through the autoencoder of `ldm-ucm`."""
    import torch
    from diffusers import AutoencoderKL

    network = AutoencoderKL.from_pretrained(WEIGHTS / "ldm-ucm" / "vae").eval()
    found = []
    with torch.no_grad():
        for start in range(0, len(images), 16):
            batch = torch.from_numpy(images[start : start + 16]).permute(0, 3, 1, 2).float() / 127.5 - 1
            seen = network.decode(network.encode(batch).latent_dist.mode()).sample
            found.append(((seen.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy())
    return np.concatenate(found)


def copies(images: Images) -> Iterator[tuple[str, Images]]:
    """What a copy may look like."""

    def brighter(by: float) -> Images:
        return (images * by).clip(0, 255).round().astype(np.uint8)

    def each(some: Images, change: Callable[[Image.Image], Image.Image]) -> Images:
        return np.stack([np.asarray(change(Image.fromarray(one))) for one in some])

    turned = orientations(images)[3]
    yield "exact", images
    yield "turned", turned
    yield "brighter by 10 %", brighter(1.1)
    yield "darker by 10 %", brighter(0.9)
    for sigma in (1, 2):
        blur = ImageFilter.GaussianBlur(sigma)
        yield f"blurred, sigma {sigma}", each(images, partial(Image.Image.filter, filter=blur))
    for quality in (50, 30):
        yield f"JPEG of quality {quality}", each(images, partial(compressed, quality=quality))
    yield "JPEG of quality 50, turned", each(turned, partial(compressed, quality=50))
    yield "JPEG of quality 50, brighter", each(brighter(1.1), partial(compressed, quality=50))
    yield "through the autoencoder", coded(images)
    yield "shifted by 2 px", np.roll(images, 2, axis=2)
    for by in (2, 4):
        yield f"shifted by {by} px, right and down", np.roll(images, (by, by), axis=(1, 2))
    enlarged = partial(Image.Image.resize, size=(SIDE, SIDE), resample=Image.Resampling.BICUBIC)
    yield f"the middle {SIDE - 8} px, enlarged", each(images, partial(enlarged, box=(4, 4, SIDE - 4, SIDE - 4)))
    cut = round(0.05 * SIDE)
    yield f"{cut} px cut off left and above, enlarged", each(images, partial(enlarged, box=(cut, cut, SIDE, SIDE)))
    rotate = partial(Image.Image.rotate, resample=Image.Resampling.BICUBIC)
    for angle in (3, 5):
        yield f"rotated by {angle} degrees", each(images, partial(rotate, angle=angle))


def attempts(run: Path) -> tuple[Images, list[str]]:
    """All pictures of a run, accepted or not."""
    import pyarrow.parquet as pq

    from terrasynth.synthesis.core.images import decode_all

    files = sorted((run / "blocks").rglob("*.parquet"))
    tables = [pq.read_table(path, columns=["image"], partitioning=None).column("image").to_pylist() for path in files]
    labels = [path.parent.name for path, rows in zip(files, tables, strict=True) for _ in rows]
    return decode_all(row["bytes"] for rows in tables for row in rows), labels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--run", type=Path, action="append", default=[], help="also its attempts; may be repeated")
    parser.add_argument("--pass-real", type=float, default=0.99)
    parser.add_argument("--per-class", type=int, default=5)
    options = parser.parse_args()
    data, encoder = read_pairs(options.data), ThumbnailEncoder()
    splits = {name: data.split(name) for name in ("train", "val", "test")}
    real = {name: stack([pair.open() for pair in pairs], (SIDE, SIDE)) for name, pairs in splits.items()}
    known = TrainingFeatures.of(encoder, real["train"], True, {}, real["val"], "val")
    levels = np.array(known.held_out["levels"])
    # of the pictures held out, at each number of measures: as `TrainingFeatures.threshold`
    held_out = known.pictures.closeness(encoder.with_detail(real["val"]))
    ways = {"layout alone": 1, "layout and detail": 2, "all": 3}
    limits = {way: float(np.quantile(on_one_scale(held_out[:n], levels[:n]), options.pass_real))
              for way, n in ways.items()}
    limits["all"] = known.threshold(options.pass_real)
    labels = np.array([pair.label for pair in splits["train"]])
    rows = np.concatenate([np.flatnonzero(labels == label)[::16][: options.per_class] for label in np.unique(labels)])

    def show(name: str, images: Images, of: list[str], missed: bool) -> None:
        closeness = known.pictures.closeness(encoder.with_detail(images))
        found = {way: on_one_scale(closeness[:n], levels[:n]) > limits[way] for way, n in ways.items()}
        listed = Counter(str(label) for label, hit in zip(of, found["all"], strict=True) if hit != missed)
        counts = ", ".join(f"{hits.sum()} by {way}" for way, hits in found.items())
        print(f"{name}: {counts}, of {len(images)}; {'not caught' if missed else 'taken for copies'} {dict(listed)}",
              flush=True)

    print(f"pass_real {options.pass_real}: " + ", ".join(f"{way} {limit:.4f}" for way, limit in limits.items()))
    for name, images in copies(real["train"][rows]):
        show(name, images, list(labels[rows]), missed=True)
    show("null: test", real["test"], [pair.label for pair in splits["test"]], missed=False)
    for run in options.run:
        show(run.name, *attempts(run), missed=False)


if __name__ == "__main__":
    main()
