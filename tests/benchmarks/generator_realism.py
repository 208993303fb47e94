"""Would anybody take a generator's images for real ones? One image for each first caption of a split, measured.

    python tests/benchmarks/generator_realism.py --generator ldm-rs --generator ldm-ucm --data UCM --data RSICD

The columns: the share recognized by a linear probe that was trained on features of real `train` images; the Frechet
distance in these features, divided by that of real halves to each other; the share of real images that a probe
recognizes which was trained on the generated ones alone; how often generated and real images are told apart by texture
(`terrasynth.eval.metrics.realism`); the fine half of the radial spectrum; the peaks of a grid. The features are of a
network that no generator of ours was trained with or chosen by. Drawn images are kept under --cache, by model and
settings.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terrasynth import load_generator
from terrasynth.errors import UserError
from terrasynth.eval import load_picture_encoder
from terrasynth.eval.metrics.frechet import frechet_floor, frechet_of_features
from terrasynth.eval.metrics.probe import fit_probe
from terrasynth.eval.metrics.realism import Textures, compare_spectra, tell_apart
from terrasynth.hashing import text_hash
from terrasynth.synthesis.core.real_pictures import real_images
from terrasynth.training.data import Pair, read_pairs

AT_ONCE = 16
HEAD = ("images", "n", "recognized", "Frechet / floor", "trained on them", "told apart (few)", "null",
        "told apart (many)", "null", "fine half", "4 px", "8 px")


@dataclass(frozen=True)
class Real:
    """Real images of one data set, and what a probe on a network's features makes of them.

    Attributes:
        name: Of the data set.
        train: Pairs that the probe learns.
        tested: Pairs that generated images are measured against.
        encoder: The network.
        size: Side in pixels.
        seed: Of the halves of the floor and of the folds.
    """

    name: str
    train: tuple[Pair, ...]
    tested: tuple[Pair, ...]
    encoder: Any
    size: int
    seed: int

    @cached_property
    def images(self) -> NDArray[np.uint8]:
        """`uint8` (N, S, S, 3)."""
        return real_images(self.tested, (self.size, self.size))

    @cached_property
    def features(self) -> NDArray[np.float32]:
        """Of `images`, float32 (N, F)."""
        return self.encoder.features(self.images)

    @cached_property
    def textures(self) -> Textures:
        """Of `images`."""
        return Textures(self.images)

    @cached_property
    def probe(self) -> Any:
        """Fitted to the features of `train`."""
        features = self.encoder.features(real_images(self.train, (self.size, self.size)))
        return fit_probe(features, [pair.label for pair in self.train])

    @cached_property
    def floor(self) -> float:
        """Frechet distance of halves of `images`."""
        return frechet_floor(self.features, self.seed).mean

    @property
    def labels(self) -> NDArray[np.str_]:
        """The class of each of `tested`."""
        return np.array([pair.label for pair in self.tested])

    def figures(self, name: str, images: NDArray[np.uint8] | None) -> dict[str, Any]:
        """What is measured of generated images, or of the real ones themselves where there are none."""
        features = self.features if images is None else self.encoder.features(images)
        recognized = float((self.probe.predict(features) == self.labels).mean())
        found: dict[str, Any] = {"images": name, "data": self.name, "n": len(features), "recognized": recognized}
        if images is None:
            return found
        half = len(features) // 2
        order = np.random.default_rng(self.seed).permutation(len(features))
        distance = frechet_of_features(features[order[:half]], self.features[order[half:2 * half]])
        trained = fit_probe(features, self.labels.tolist())
        few, many = (tell_apart(images, self.textures, fine, self.seed) for fine in (False, True))
        spectrum = compare_spectra(images, self.textures)
        return found | {
            "frechet": distance, "floor": self.floor,
            "trained": float((trained.predict(self.features) == self.labels).mean()),
            "few": few.accuracy, "few_null": few.null, "many": many.accuracy, "many_null": many.null,
            "fine_db": spectrum.fine, "peaks_db": spectrum.peaks,
        }


def line(found: dict[str, Any]) -> str:
    """A row of the table."""
    if "few" not in found:
        return f"| {found['images']} | {found['n']} | {found['recognized']:.3f} | 1 |" + " |" * (len(HEAD) - 4)
    cells = (found["images"], found["n"], f"{found['recognized']:.3f}", f"{found['frechet'] / found['floor']:.2f}",
             f"{found['trained']:.3f}", f"{found['few']:.3f}", f"{found['few_null']:.3f}", f"{found['many']:.3f}",
             f"{found['many_null']:.3f}", f"{found['fine_db']:+.1f} dB", f"{found['peaks_db'][4]:+.1f} dB",
             f"{found['peaks_db'][8]:+.1f} dB")
    return "| " + " | ".join(map(str, cells)) + " |"


def drawn(reference: str, settings: dict[str, Any], captions: list[str], seed: int, cache: Path) -> NDArray[np.uint8]:
    """One image for each caption, `uint8` (N, S, S, 3), image i from seed `seed` + i; kept in `cache`."""
    generator = load_generator(reference, **settings)
    key = text_hash(json.dumps([generator.identity(), captions, seed], sort_keys=True, default=str))
    place = cache / f"{Path(reference).name}-{key}.npy"
    if place.is_file():
        return np.load(place, allow_pickle=False)
    parts = []
    for start in range(0, len(captions), AT_ONCE):
        texts = captions[start:start + AT_ONCE]
        parts.append(generator.generate(texts, [seed + start + number for number in range(len(texts))]))
        print(f"drawn {start + len(texts)} of {len(captions)}", flush=True)
    cache.mkdir(parents=True, exist_ok=True)
    images = np.concatenate(parts)
    np.save(place, images, allow_pickle=False)
    return images


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--generator", action="append", required=True, help="Model reference, as in a recipe.")
    parser.add_argument("--data", action="append", required=True)
    parser.add_argument("--split", default="test")
    parser.add_argument("--limit", type=int, help="Images of each data set, evenly over it.")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--guidance", type=float)
    parser.add_argument("--features", default="efficientnet-lite0", help="Network whose features are compared.")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cache", type=Path, required=True, help="Folder for drawn images.")
    parser.add_argument("--out", type=Path, help="JSON with the figures.")
    options = parser.parse_args()

    settings = {name: value for name in ("steps", "guidance") if (value := getattr(options, name)) is not None}
    encoder, figures = load_picture_encoder(options.features), []
    for data in options.data:
        found = read_pairs([data])
        tested = found.split(options.split)
        if not tested:
            raise UserError(f"{data} has no split {options.split!r}")
        rows = np.linspace(0, len(tested) - 1, min(options.limit or len(tested), len(tested))).round().astype(int)
        real = Real(Path(data).name, tuple(found.split("train")), tuple(tested[row] for row in rows), encoder,
                    options.size, options.seed)
        print(f"{real.name}, {options.split}, {options.size} px, {options.features}, seed {options.seed}")
        print("| " + " | ".join(HEAD) + " |\n" + "|---" * len(HEAD) + "|")
        figures.append(real.figures("real", None))
        print(line(figures[-1]), flush=True)
        captions = [pair.captions[0] for pair in real.tested]
        for reference in options.generator:
            images = drawn(reference, settings, captions, options.seed, options.cache)
            figures.append(real.figures(reference, images) | settings)
            print(line(figures[-1]), flush=True)
    if options.out is not None:
        options.out.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
