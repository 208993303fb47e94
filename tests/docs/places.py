"""What the commands of the pages are run on: small data and models under the names that the pages give them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from tests.tiny import tiny_clip, tiny_pictures, tiny_scene
from tests.tiny_mhn import save_tiny_mhn
from tests.tiny_pipelines import pixart, sd, sdxl
from tests.tiny_sd import tiny_autoencoder, tiny_sd

THINGS = {"beach": "sea water on the beach", "forest": "a sparse forest", "river": "a river and a bridge"}
REAL = ("DATA", "REAL", "UCM", "RSICD", "MORE", "DIR", "PATH/TO/ucm", "PATH/TO/rsicd", "PATH/TO/IMAGES",
        "owner/name@revision")


def write_data(folder: Path) -> Path:
    """Images of three classes, 32 px: 8 of `train`, 4 of `val` and 4 of `test` each, two captions an image."""
    rows = []
    for number, (label, caption) in enumerate(THINGS.items()):
        (folder / "images" / label).mkdir(parents=True)
        for index, pixels in enumerate(tiny_pictures(16, seed=number)):
            file = f"images/{label}/{index:02}.png"
            Image.fromarray(pixels).save(folder / file)
            split = "train" if index < 8 else "val" if index < 12 else "test"
            rows.append({"file": file, "class": label, "split": split, "captions": [caption, f"{caption} no. {index}"]})
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def _write_karpathy(folder: Path, data: Path) -> None:
    """The same data as RSICD has them: `dataset_rsicd.json` beside a folder of images."""
    (folder / "RSICD_images").mkdir(parents=True)
    images = []
    for row in map(json.loads, (data / "pairs.jsonl").read_text().splitlines()):
        name = row["file"].removeprefix("images/").replace("/", "_")
        shutil.copy(data / row["file"], folder / "RSICD_images" / name)
        images.append({"filename": name, "split": row["split"],
                       "sentences": [{"raw": caption} for caption in row["captions"]]})
    (folder / "dataset_rsicd.json").write_text(json.dumps({"images": images, "dataset": "rsicd"}))


def _write_masks(folder: Path, data: Path) -> None:
    """Masks of 256 px in the classes of `docs/layouts.md`, one for each image of `data`: road, houses, water."""
    folder.mkdir()
    (folder / "classes.yaml").write_text(
        "gsd: 2.3\nlabel: residential\nclasses: {0: land, 1: building, 2: road, 3: motorway, 4: water, 5: grass}\n")
    for number, row in enumerate(map(json.loads, (data / "pairs.jsonl").read_text().splitlines())):
        mask = np.zeros((256, 256), np.uint8)
        mask[:, 120 + 8 * (number % 2):128 + 8 * (number % 2)] = 2
        mask[:60, 150:] = 4
        for top in range(70, 240, 24):
            mask[top:top + 10, 90:104] = mask[top:top + 10, 150:162] = 1
        (folder / row["file"]).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).save(folder / row["file"])


def write_places(root: Path) -> Path:
    """A folder in which RUN, DATA, MODEL, the ids of the Hub and all else that the pages name lie as small ones."""
    from terrasynth import Recipe, export, run

    data = write_data(root / "DATA")
    for name in REAL[1:]:
        shutil.copytree(data, root / name)
    _write_karpathy(root / "rsicd", data)
    _write_masks(root / "MASKS", data)
    (root / "tiles.yaml").write_text(yaml.safe_dump({"data": "DATA"}))
    (root / "captions.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in THINGS.values()))
    tiny_clip(root / "MODEL")
    tiny_clip(root / "openai" / "clip-vit-large-patch14")
    tiny_scene(root / "runs" / "scene", list(THINGS))
    tiny_sd(root / "GENERATOR")
    (root / "GENERATOR" / "README.md").write_text("---\nlicense: mit\n---\n")
    save_tiny_mhn(root / "TOKENS", text_length=77)
    sd(root / "stable-diffusion-v1-5" / "stable-diffusion-v1-5")
    sdxl(root / "stabilityai" / "stable-diffusion-xl-base-1.0")
    pixart(root / "PixArt-alpha" / "PixArt-Sigma-XL-2-1024-MS")
    tiny_autoencoder(root / "owner" / "taesd", blocks=4)
    tree = {
        "name": "tiny", "generator": {"model": str(root / "GENERATOR"), "steps": 1, "guidance": 1.0},
        "prompts": {"classes": list(THINGS)},
        "filters": [{"kind": "alignment", "encoder": "clip-ucm", "min_score": -1.0}],
        "target": {"per_class": 4, "max_attempts": 48},
        "runtime": {"block_size": 4, "device": "cpu", "dtype": "float32"},
    }
    run(Recipe.parse(tree), root / "RUN")
    (root / "RECIPE").write_text(yaml.safe_dump(tree))
    tree["filters"].append({"kind": "review"})
    (root / "recipe.yaml").write_text(yaml.safe_dump(tree, sort_keys=False, default_flow_style=None))
    export(root / "RUN", "parquet", root / "EXPORT", shares={"train": 0.5, "validation": 0.25, "test": 0.25})
    return root
