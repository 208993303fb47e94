"""The Frechet distance of a run to reference statistics, where the real images are not at hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from terrasynth.eval.evaluation.figures import network_name
from terrasynth.synthesis.core.quiet import quiet
from terrasynth.synthesis.ledger.pictures import RunPictures

if TYPE_CHECKING:
    from terrasynth.eval.metrics.frechet import FrechetFloor


@dataclass(frozen=True)
class ReferenceDistance:
    """Squared Frechet distance to the images of a reference.

    Attributes:
        files: Hash of its list of images.
        n_reference: Images of the reference.
        floor: Real against real, within the reference.
        dim: Width of the features.
    """

    reference: str
    files: str
    distance: float
    n: int
    n_reference: int
    floor: FrechetFloor
    dim: int
    network: dict[str, object]

    def to_json(self) -> dict[str, object]:
        """Nested plain data, ready for `json.dump`."""
        return asdict(self)

    def line(self) -> str:
        """The figure for people."""
        name = network_name(self.network)
        return (
            f"Frechet distance {self.distance:.4g} (n = {self.n} against {self.n_reference} of {self.reference}, files "
            f"{self.files}); real against real {self.floor.mean:.4g} [{self.floor.low:.4g}, {self.floor.high:.4g}] "
            f"(n = {self.floor.n} against {self.floor.n}); {self.dim} features of {name}, seed {self.floor.seed}"
        )


def against_reference(
    run: Path, reference: str, networks: Sequence[str], limit: int | None = None
) -> list[ReferenceDistance]:
    """Compare a run with a reference under each network.

    Args:
        run: A run directory with `data/`.
        reference: Name of a shipped reference, or its folder.
        networks: References of encoders or classifiers, each of which the reference has statistics of.
        limit: Most rows; None for all.

    Raises:
        InputError: No such run or reference, or a reference of another size or of other networks.
    """
    from terrasynth.eval.evaluation.reference import Reference, reference_features
    from terrasynth.eval.metrics.frechet import FeatureStatistics, frechet_distance
    from terrasynth.eval.models.loaders import load_picture_encoder

    known = Reference.load(reference)
    with quiet():
        loaded = [load_picture_encoder(network) for network in dict.fromkeys(networks)]
    made = RunPictures.read(run, limit)
    found = [known.of(encoder.identity(), made.size) for encoder in loaded]  # all are refused before any is computed
    return [
        ReferenceDistance(
            known.name, known.files_hash,
            frechet_distance(FeatureStatistics.of(reference_features(encoder, made.images)), kept.statistics),
            len(made.images), kept.statistics.n, kept.floor, len(kept.statistics.mean), encoder.identity(),
        )
        for encoder, kept in zip(loaded, found, strict=True)
    ]
