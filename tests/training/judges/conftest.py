"""Images of three classes that no model of ours knows, and a judge of them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from terrasynth.training import run_preset

CLASSES = ("flooded_village", "solar_farm", "wind_turbine")
SIDE = 32
FAST = {"load_size": SIDE, "model.steps": 60, "model.dim": 8}


def pattern(label: str) -> np.ndarray:
    """What the images of a class have in common, the same in every flip and quarter turn: float (S, S)."""
    y, x = np.mgrid[:SIDE, :SIDE]
    if label == "wind_turbine":
        return np.where((abs(x - 15.5) < 3) | (abs(y - 15.5) < 3), 150.0, 60.0)
    if label == "solar_farm":
        return np.where(np.minimum.reduce([x, y, 31 - x, 31 - y]) // 4 % 2 == 0, 150.0, 60.0)
    return np.where(np.maximum(abs(x - 15.5), abs(y - 15.5)) < 6, 150.0, 60.0)


def images(label: str, count: int, seed: int = 0, noise: float = 25.0) -> list[np.ndarray]:
    """Images uint8 (S, S, 3) of a class."""
    draw = np.random.default_rng([seed, *label.encode()])
    return [np.clip(pattern(label)[..., None] + draw.normal(0, noise, (SIDE, SIDE, 3)), 0, 255).astype(np.uint8)
            for _ in range(count)]


def class_folders(folder: Path, count: int, **settings: float) -> Path:
    """A folder of images for each class."""
    for label in CLASSES:
        (folder / label).mkdir(parents=True)
        for number, image in enumerate(images(label, count, **settings)):
            Image.fromarray(image).save(folder / label / f"{number:03}.png")
    return folder


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    return class_folders(tmp_path_factory.mktemp("data") / "mine", 24)


@pytest.fixture(scope="session")
def judge(data, tmp_path_factory):
    """What `train judge` made of them, on thumbnails."""
    return run_preset("judge", data, tmp_path_factory.mktemp("judge") / "J", overrides=FAST, encoder="thumbnail")
