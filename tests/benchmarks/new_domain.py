"""Does a LoRA move a model to a look that it does not know?

    python tests/benchmarks/new_domain.py --data DATA --out FOLDER

The look: one band in grey like a near-infrared one, vegetation bright and water dark: a fixed mix of the channels of
real pictures. 100 of `train` in this look, as many of each class and spread evenly over its pictures (those that
follow one another often show one place), tune `ldm-ucm` by `terrasynth train lora`; the averaged weights of the last
step count. Before and after, the same prompts with the same seeds are drawn, 10 of each class, and measured against
`test` in this look: Frechet distance on the features of `scene-ucm` and `clip-ucm-b`. Beside it stand the distance of
`val` to `test` in this look (what pictures of the look are at, at equal n), and that of `test` as the frozen
autoencoder gives it back (what it can draw at all). `--split val` puts `val` in the place of `test` and the other way
round: settings are chosen with it. With `--look film`, red for the same band, green for red, blue for green, as on
colour-infrared film. Prints a table, and writes `new_domain.json` and sheets of pictures to FOLDER.

A training or a set of pictures that is there is not made again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from terrasynth.eval import FeatureStatistics, frechet_distance, load_classifier, load_encoder
from terrasynth.synthesis.core.embedded import WEIGHTS
from terrasynth.training.data import read_pairs
from terrasynth.training.data.pictures import load_pictures, to_float
from terrasynth.training.release.prompts import Prompts
from terrasynth.training.running.drawing import draw_captions
from terrasynth.training.running.sheets import tile

ROOT = Path(__file__).resolve().parents[2]
BASE, SIZE, PER_CLASS, SEED = "ldm-ucm", 128, 10, 0
INFRARED = [-0.9, 3.0, -1.1]  # of red, green and blue: high where green is more than the two others
LOOKS = {"band": np.array([INFRARED] * 3), "film": np.array([INFRARED, [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])}
LAYERS = ["to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2", "proj_in", "proj_out", "conv1", "conv2",
          "conv_shortcut", "conv_in", "conv_out"]


def mixed(pixels, look):
    """Pictures `uint8` (..., 3) in the new look."""
    return np.clip(pixels @ LOOKS[look].T, 0, 255).round().astype(np.uint8)


def write_data(source, folder, wanted, look):
    """`wanted` pictures of `train` and all of `val` and `test`, in the new look."""
    if (folder / "pairs.jsonl").is_file():
        return
    data = read_pairs(source)
    labels = data.labels
    rows = []
    for split in ("train", "val", "test"):
        pairs = data.split(split)
        if split == "train":
            own = {label: [pair for pair in pairs if pair.label == label] for label in labels}
            rounds = -(-wanted // len(labels))
            pairs = [own[label][(2 * number + 1) * len(own[label]) // (2 * rounds)]
                     for number in range(rounds) for label in labels][:wanted]
        for pair in pairs:
            name = f"{split}/{Path(pair.name).stem}.png"
            (folder / split).mkdir(parents=True, exist_ok=True)
            Image.fromarray(mixed(np.asarray(pair.open()), look)).save(folder / name)
            rows.append({"file": name, "class": pair.label, "split": split, "captions": list(pair.captions)})
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def tune(options, data):
    """`terrasynth train lora` as a user would call it."""
    settings = {
        "model.augment": "latents", "model.validation.choose": "loss", "model.validation.encoder": "null",
        "model.validation.pictures": 0, "model.lora.rank": options.rank, "model.lora.targets": json.dumps(LAYERS),
        "model.caption_dropout": 0.12, "loop.seed": SEED, "loop.max_steps": options.steps,
        "loop.batch_size": options.batch,
        "loop.learning_rate": options.rate, "loop.warmup_steps": 20, "loop.ema_decay": 0.98,
        "loop.validate_every": options.steps, "loop.checkpoint_every": 50,
        "loop.preview_every": options.steps,
    }
    command = ["train", "lora", "--base", BASE, "--data", str(data), "--out", str(options.out / "lora")]
    command += [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    print("terrasynth", *command, flush=True)
    subprocess.run([sys.executable, "-m", "terrasynth", *command], cwd=ROOT, check=True)


def draw(prompts, path, lora=None):
    """Pictures of the prompts by plain diffusers, `uint8` (N, S, S, 3)."""
    from diffusers import StableDiffusionPipeline

    if path.is_file():
        return np.load(path)
    pipeline = StableDiffusionPipeline.from_pretrained(WEIGHTS / BASE, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    if lora is not None:
        pipeline.load_lora_weights(lora)
    drawn = draw_captions(pipeline, prompts.texts, torch.device("cpu"), num_inference_steps=20, guidance_scale=2.0)
    pictures = (drawn * 127.5 + 127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
    np.save(path, pictures)
    return pictures


@torch.no_grad()
def given_back(pictures):
    """What the frozen autoencoder makes of pictures."""
    from diffusers import AutoencoderKL

    vae = AutoencoderKL.from_pretrained(WEIGHTS / BASE / "vae", dtype=torch.float32).eval()
    parts = []
    for part in torch.from_numpy(pictures).permute(0, 3, 1, 2).split(16):
        with torch.autocast("cpu", torch.bfloat16):
            decoded = vae.decode(vae.encode(to_float(part)).latent_dist.mean).sample
        parts.append((decoded.float() * 127.5 + 127.5).round().clamp(0, 255).byte())
    return torch.cat(parts).permute(0, 2, 3, 1).numpy()


def decibel(a, b):
    """Peak signal-to-noise ratio of two arrays of pictures."""
    return float(-10 * np.log10(np.mean((a.astype(float) / 255 - b / 255.0) ** 2)))


def sheet(pictures, path):
    Image.fromarray(tile(torch.from_numpy(pictures[::PER_CLASS]).permute(0, 3, 1, 2) / 127.5 - 1, columns=7)).save(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="real pictures, with splits train, val and test")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--pictures", type=int, default=100, help="of train, for tuning")
    parser.add_argument("--look", choices=LOOKS, default="band")
    parser.add_argument("--split", choices=("test", "val"), default="test", help="what is measured against")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--rate", type=float, default=1e-3)
    options = parser.parse_args()
    options.out = options.out.resolve()
    options.out.mkdir(parents=True, exist_ok=True)
    folder = options.out / "data"
    write_data(options.data, folder, options.pictures, options.look)
    tune(options, folder)

    data, plain = read_pairs(folder), read_pairs(options.data)
    other = {"test": "val", "val": "test"}[options.split]
    real, held = (load_pictures(data.split(name), SIZE, data.labels, []).arrays() for name in (options.split, other))
    known = load_pictures(plain.split(options.split), SIZE, plain.labels, []).arrays()
    prompts = Prompts.of(plain, PER_CLASS)
    back = given_back(real)
    arms = {
        "before": draw(prompts, options.out / "before.npy"),
        "before, channels mixed": mixed(np.load(options.out / "before.npy"), options.look),
        "after": draw(prompts, options.out / "after.npy", options.out / "lora"),
        f"`{options.split}` through the autoencoder": back,
        f"`{other}`": held,
        f"`{options.split}` in its own colours": known,
    }
    networks = {"scene-ucm": load_classifier("scene-ucm"), "clip-ucm-b": load_encoder("clip-ucm-b")}
    result = {"split": options.split, "n_real": len(real), "pictures": options.pictures, "look": options.look,
              "steps": options.steps,
              "batch": options.batch, "rank": options.rank, "rate": options.rate, "seed": SEED, "base": BASE,
              "prompts": prompts.source,
              "psnr": {"new look": decibel(back, real), "own colours": decibel(given_back(known), known)},
              "networks": {name: network.identity() for name, network in networks.items()}, "distances": {}}
    for name, network in networks.items():
        target = FeatureStatistics.of(network.features(real))
        result["distances"][name] = {arm: frechet_distance(FeatureStatistics.of(network.features(pictures)), target)
                                     for arm, pictures in arms.items()}
    (options.out / "new_domain.json").write_text(json.dumps(result, indent=1) + "\n")
    for arm in ("before", "after"):
        sheet(arms[arm], options.out / f"{arm}.png")
    sheet(real, options.out / f"{options.split}.png")
    sheet(back, options.out / f"{options.split}-through-autoencoder.png")
    print(f"| pictures | n | {' | '.join(networks)} |")
    print("|---" * (len(networks) + 2) + "|")
    for arm, pictures in arms.items():
        cells = [f"{result['distances'][name][arm]:.2f}" for name in networks]
        print(f"| {arm} | {len(pictures)} | {' | '.join(cells)} |")
    print(f"autoencoder: {result['psnr']}")


if __name__ == "__main__":
    main()
