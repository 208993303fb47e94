"""What does an autoencoder leave of real images? Coded and decoded ones against the same images as they were.

    python tests/benchmarks/autoencoder_realism.py --autoencoder FOLDER --autoencoder ldm-ucm/vae --data UCM

No network judges: peak signal-to-noise ratio, the accuracy of a classifier on texture measures with its null (real
against real), the fine half of the radial spectrum, and the peaks of a grid (`terrasynth.eval.metrics.realism`). A
table row each, several autoencoders side by side.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from terrasynth.eval.metrics.realism import Textures, compare_spectra, tell_apart
from terrasynth.synthesis.core.real_pictures import real_images
from terrasynth.synthesis.generators.autoencoders import autoencoder_folder
from terrasynth.training.data import read_pairs
from terrasynth.training.data.latent_views import load_autoencoder, to_latents, to_pixels

AT_ONCE = 8
HEAD = ("autoencoder", "n", "PSNR", "told apart (few)", "null", "told apart (many)", "null", "fine half", "4 px",
        "8 px")


def coded(folder: Path, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Images `uint8` (N, S, S, 3) as an autoencoder gives them back."""
    autoencoder = load_autoencoder(folder, torch.device("cpu"))
    found = []
    for start in range(0, len(images), AT_ONCE):
        pixels = torch.from_numpy(images[start:start + AT_ONCE]).permute(0, 3, 1, 2) / 127.5 - 1
        back = to_pixels(autoencoder, to_latents(autoencoder, pixels)).clamp(-1, 1)
        found.append(((back + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy())
    return np.concatenate(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--autoencoder", action="append", required=True, help="Folder, or part of an embedded model.")
    parser.add_argument("--data", action="append", required=True)
    parser.add_argument("--split", default="test")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--limit", type=int, help="Images of each data set, evenly over it.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="JSON with the figures.")
    options = parser.parse_args()

    figures = []
    for data in options.data:
        pairs = read_pairs([data]).split(options.split)
        rows = np.linspace(0, len(pairs) - 1, min(options.limit or len(pairs), len(pairs))).round().astype(int)
        images = real_images([pairs[row] for row in rows], (options.size, options.size))
        real = Textures(images)
        print(f"{Path(data).name}, {options.split}, {options.size} px, seed {options.seed}")
        print("| " + " | ".join(HEAD) + " |\n" + "|---" * len(HEAD) + "|")
        for reference in options.autoencoder:
            folder, name = autoencoder_folder(reference, f"--autoencoder {reference!r}")
            made = coded(folder, images)
            error = np.square(made.astype(np.float64) - images).mean((1, 2, 3))
            psnr = float(np.mean(10 * np.log10(255**2 / np.maximum(error, 1e-9))))
            few, many = (tell_apart(made, real, fine, options.seed) for fine in (False, True))
            spectrum = compare_spectra(made, real)
            figures.append({"autoencoder": name, "data": Path(data).name, "split": options.split, "n": len(images),
                            "size": options.size, "seed": options.seed, "psnr": psnr, "few": few.accuracy,
                            "few_null": few.null, "many": many.accuracy, "many_null": many.null,
                            "fine_db": spectrum.fine, "peaks_db": spectrum.peaks})
            cells = (name, len(images), f"{psnr:.1f} dB", f"{few.accuracy:.3f} [{few.low:.3f}, {few.high:.3f}]",
                     f"{few.null:.3f}", f"{many.accuracy:.3f} [{many.low:.3f}, {many.high:.3f}]", f"{many.null:.3f}",
                     f"{spectrum.fine:+.1f} dB", f"{spectrum.peaks[4]:+.1f} dB", f"{spectrum.peaks[8]:+.1f} dB")
            print("| " + " | ".join(map(str, cells)) + " |", flush=True)
    if options.out is not None:
        options.out.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
