"""Reference statistics that can be shipped: a Frechet distance to real images, without the images.

A reference is a folder: `reference.json` (what the images are, with the hash of each) and one `safetensors` file a
network with mean and covariance. It holds no image, no caption, and no single image's features.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terrasynth.errors import nearest, one_line
from terrasynth.eval.errors import InputError
from terrasynth.eval.metrics.frechet import FrechetFloor, frechet_floor
from terrasynth.eval.metrics.moments import FeatureStatistics
from terrasynth.eval.models.dual_encoders import PictureEncoder
from terrasynth.hashing import text_hash

REFERENCES = Path(__file__).parents[1] / "references"
"""Where the shipped references live; the README there says how each was made."""

ABOUT = "reference.json"
KIND = "terrasynth.reference.v1"
FEWEST = 4


@dataclass(frozen=True)
class NetworkStatistics:
    """The reference images as one network sees them.

    Attributes:
        precision: What moves the last digits, such as "float32 on cpu".
        statistics: Count, mean and covariance of what `reference_features` gives.
        floor: Real against real, within the reference.
    """

    network: Mapping[str, object]
    precision: str
    statistics: FeatureStatistics
    floor: FrechetFloor


@dataclass(frozen=True)
class Reference:
    """Statistics of real images.

    Attributes:
        split: Which images of it.
        size: (width, height) that the images were brought to, in pixels.
        files: Name and `pixel_hash` of each image as it was before, in the order of the data.
        networks: One entry a network.
    """

    name: str
    data: str
    split: str
    size: tuple[int, int]
    resampling: str
    files: tuple[tuple[str, str], ...]
    networks: tuple[NetworkStatistics, ...]

    @property
    def files_hash(self) -> str:
        """16 hex digits that name this list of images."""
        return text_hash(json.dumps(self.files))

    def of(self, network: Mapping[str, object], size: tuple[int, int]) -> NetworkStatistics:
        """The statistics under a network, for images of a size.

        Args:
            network: Identity of the network in use.
            size: (width, height) of the images to compare.

        Raises:
            InputError: The reference is of another size or of other networks.
        """
        if size != self.size:
            raise InputError(
                f"reference {self.name!r} is of images of {_pixels(self.size)} and the images are {_pixels(size)}; "
                "give a reference of that size (terrasynth eval reference makes one)"
            )
        for one in self.networks:
            if dict(one.network) == dict(network):
                return one
        known = ", ".join(_network(one.network) for one in self.networks)
        raise InputError(f"reference {self.name!r} has no statistics of {_network(network)}; it has {known}")

    def save(self, folder: Path) -> list[Path]:
        """Write the folder; the same reference always gives the same bytes.

        Covariances are kept in `float32`, which moves a distance by about one part in a million.

        Raises:
            OSError: The folder cannot be written to.
        """
        folder.mkdir(parents=True, exist_ok=True)
        entries, written = [], []
        for one in self.networks:
            path = folder / f"{_file_name(one.network)}.safetensors"
            about = {"network": dict(one.network), "precision": one.precision, "size": list(self.size),
                     "files": self.files_hash}
            one.statistics.save(path, about, np.float32)
            entries.append({"file": path.name, "network": dict(one.network), "floor": vars(one.floor)})
            written.append(path)
        content = {
            "kind": KIND, "data": self.data, "split": self.split, "size": list(self.size),
            "resampling": self.resampling, "n": len(self.files), "networks": entries, "files_hash": self.files_hash,
            "files": [f"{pixels}  {name}" for name, pixels in self.files],
        }
        (folder / ABOUT).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", "utf-8")
        return [folder / ABOUT, *written]

    @classmethod
    def load(cls, reference: str | Path) -> Reference:
        """Read a shipped reference by name, or a folder that `save` wrote.

        Raises:
            InputError: There is no such reference, or its files do not belong together.
        """
        folder = REFERENCES / str(reference)
        if not (folder / ABOUT).is_file():
            folder = Path(reference).expanduser()
        if not (folder / ABOUT).is_file():
            known = shipped_references()
            raise InputError(
                f"reference {str(reference)!r} is no folder with {ABOUT} and no shipped one"
                f"{nearest(str(reference), known)}; shipped: {', '.join(known) or 'none'}"
            )
        try:
            content = json.loads((folder / ABOUT).read_text("utf-8"))
            if content["kind"] != KIND:
                raise ValueError(f"kind {content['kind']!r}")
            lines = [line.split("  ", 1) for line in content["files"]]
            files = tuple((name, pixels) for pixels, name in lines)
            width, height = (int(side) for side in content["size"])
            networks = tuple(_load(folder, entry, content["files_hash"]) for entry in content["networks"])
            found = cls(folder.resolve().name, str(content["data"]), str(content["split"]), (width, height),
                        str(content["resampling"]), files, networks)
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(
                f"reference {str(reference)!r}: {ABOUT} cannot be read ({one_line(error)}); make the reference again"
            ) from error
        if found.files_hash != content["files_hash"] or any(one.statistics.n != len(files) for one in networks):
            raise InputError(f"reference {str(reference)!r}: list of files and statistics do not belong together; "
                             "make the reference again")
        return found


def make_reference(
    name: str, images: NDArray[np.uint8], files: Sequence[tuple[str, str]], encoders: Sequence[PictureEncoder], *,
    data: str, split: str, resampling: str, seed: int = 0,
) -> Reference:
    """Statistics of real images under each of the encoders.

    Args:
        images: `uint8` (N, H, W, 3), N >= 4.
        files: Name and `pixel_hash` of each, before it was resized.
        encoders: At least one.
        split: Which images of it.
        resampling: How they were brought to their size.
        seed: Of the floor's random halves.

    Raises:
        InputError: Too few images, or another number of files.

    Example:
        >>> import numpy as np
        >>> from terrasynth.eval import load_picture_encoder, make_reference
        >>> from terrasynth.eval.copies.measures import pixel_hash
        >>> images = np.random.default_rng(0).integers(0, 256, (4, 128, 128, 3), dtype=np.uint8)
        >>> files = [(f"{number}.png", pixel_hash(image)) for number, image in enumerate(images)]
        >>> networks = [load_picture_encoder("scene-ucm")]
        >>> made = make_reference("mine", images, files, networks, data="noise", split="all", resampling="none")
        >>> made.size, made.of(networks[0].identity(), (128, 128)).statistics.n
        ((128, 128), 4)
    """
    if len(images) < FEWEST or len(files) != len(images):
        raise InputError(f"{len(images)} images and {len(files)} names: a reference needs {FEWEST} and a name each")
    networks = []
    for encoder in encoders:
        features = reference_features(encoder, images)
        networks.append(NetworkStatistics(
            encoder.identity(), encoder.precision, FeatureStatistics.of(features), frechet_floor(features, seed)
        ))
    size = images.shape[2], images.shape[1]
    return Reference(name, data, split, size, resampling, tuple(files), tuple(networks))


def reference_features(encoder: PictureEncoder, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The features that references are made of, and that images have to be compared by.

    Those of a dual encoder are brought to unit length: nothing in its training holds their lengths, and a few long ones
    would decide the distance.

    Args:
        images: `uint8` (N, H, W, 3).

    Returns:
        `float32` (N, F).
    """
    return encoder.encode_images(images) if encoder.reads_text else encoder.features(images)


def shipped_references() -> list[str]:
    """The names of the shipped references, sorted."""
    return sorted(path.parent.name for path in REFERENCES.glob(f"*/{ABOUT}"))


def _load(folder: Path, entry: Mapping[str, Any], files_hash: str) -> NetworkStatistics:
    path = folder / str(entry["file"])
    statistics, about = FeatureStatistics.load(path)
    if about.get("files") != files_hash or about.get("network") != entry["network"]:
        raise InputError(f"{path}: statistics of other images or another network than {ABOUT} names; "
                         "make the reference again")
    return NetworkStatistics(entry["network"], str(about.get("precision")), statistics, FrechetFloor(**entry["floor"]))


def _file_name(network: Mapping[str, object]) -> str:
    base = str(network.get("model", network.get("kind"))).replace("/", "--")
    return f"{base}-{network['content']}" if base == "local" else base


def _network(network: Mapping[str, object]) -> str:
    return " ".join(str(network[key]) for key in ("model", "kind", "content", "revision", "size") if network.get(key))


def _pixels(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]} px"
