"""Protocol `mhn`: how Txt2Img-MHN was judged (Xu et al., IEEE TIP 2023), as the authors' code does it, on any data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from terrasynth.eval.evaluation.figures import Network, network_name, network_of
from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.core.quiet import quiet
from terrasynth.synthesis.core.real_pictures import RealPair, RealPictures, real_pictures
from terrasynth.synthesis.ledger.pictures import RunPictures
from terrasynth.synthesis.studies.judges import check_classes, load_judges
from terrasynth.synthesis.studies.protocols.base import (
    PromptRequest,
    ProtocolResult,
    Row,
    TrainAndTest,
    by_rank_of_class,
    draw,
    drawn_from,
    files_of,
    labelled,
)
from terrasynth.synthesis.studies.protocols.figures import ClipScore, clip_score
from terrasynth.synthesis.studies.trainings import TrainedAccuracy

if TYPE_CHECKING:
    from terrasynth.synthesis.events import Listener
    from terrasynth.synthesis.recipe import GeneratorSettings

PER_TEXT = 10

FOLLOWS = (
    "texts: the first caption of every test image; 10 images of each (`gen_im.py`, `num_gen_per_image`)",
    "IS and FID on a classifier of the data set's own classes that learned from its train split; IS in one part; FID "
    "of all generated images against the test images (`is_fid_score.py`)",
    "CLIP score: mean over all images of the product of embeddings that are not normalised, divided by 100 "
    "(`clip_score.py`; its maximum is over one image, so it does nothing)",
    "zero-shot overall accuracy: a classifier learns from the generated images, with the class of their text, and is "
    "tested on the test images (`zero_shot_evaluation.py`)",
)
DIFFERS = (
    "the IS and FID network is the one that the table names; theirs is Inception-v3 from ImageNet, trained 10 epochs "
    "on RSICD at 256 px, with other features: figures do not compare with published ones",
    "the CLIP is the one that the table names; theirs is `flax-community/clip-rsicd-v2` (give it as --encoder), and "
    "their code hands it images that are already scaled to 0..1",
    "the zero-shot classifier starts from random weights, learns on random views, and a tenth of the generated "
    "images chooses the checkpoint; theirs is ResNet-18 from ImageNet, 5 epochs, the last weights",
    "their code stretches the contrast of each image to its own range when it saves it; here images are compared "
    "as they are",
    "their test list is every RSICD image that is not in train, val included; here it is the split that is named",
    "added: normalised CLIP score with null and ceiling, intervals, the distance of real to real images",
)


def mhn_protocol(
    generator: GeneratorSettings, pairs: Sequence[RealPair], out: Path, *, encoder: str = "clip-ucm-b",
    classifier: str = "scene-ucm", split: str = "test", per_text: int = PER_TEXT, limit: int | None = None,
    seed: int = 0, device: str = "auto", train_and_test: TrainAndTest | None = None, steps: int = 600,
    cache: Path | None = None, on_event: Listener | None = None,
) -> ProtocolResult:
    """Draw images for the texts of the test set and judge them; writes `mhn.json` and `mhn.md`.

    Args:
        pairs: Real pairs of the test split, each with a class.
        out: Folder for images and figures; the same call goes on with what is there.
        encoder: Dual encoder of the CLIP score.
        classifier: Scene classifier whose features and probabilities are compared.
        split: What the split is called; recorded.
        per_text: Images of each text.
        limit: Most texts, over all classes in turn; None for all.
        seed: Decides images and intervals.
        train_and_test: Trains the zero-shot classifier; None to leave that figure out.
        cache: Folder that keeps features of images and texts; None for none.
        on_event: Is told how the drawing goes.

    Raises:
        InputError: A model that does not exist, a class that the classifier does not know, or too few texts.
    """
    pairs = labelled(pairs, split)
    if len(pairs) < 4 or (limit is not None and limit < 2):
        raise InputError(f"{len(pairs)} real images, limit {limit}: the protocol needs 4 of them, and 2 texts")
    clip, scenes = load_judges(encoder, classifier, cache)
    check_classes([pair.label for pair in pairs], scenes.labels, classifier)
    texts = by_rank_of_class([PromptRequest(pair.captions[0], pair.label) for pair in pairs])
    n_texts = len(texts) if limit is None else min(limit, len(texts))
    asked = [one for one in texts for _ in range(per_text)]
    made = draw(asked, n_texts * per_text, generator, seed, out, device, on_event)
    real = real_pictures(pairs, made.size)
    labels = [pair.label for pair in pairs]
    ours, theirs = scenes.classify(made.images), scenes.classify(real.images)
    figures = _distances(ours.probabilities, ours.features, theirs.probabilities, theirs.features, seed)
    figures |= _raw_clip(encoder, clip, made, real, per_text, seed)
    cosine = clip_score(clip, made.images, made.texts, made.labels, real, seed, per_text)
    figures |= cosine.figures()
    rows = _rows(figures, cosine, network_of(scenes), network_of(clip), ours.features.shape[1])
    if train_and_test is not None:
        learned = train_and_test(made.images, made.labels, real.images, labels, steps, seed)
        figures["zero_shot"] = asdict(learned)
        rows.append(_zero_shot(learned, seed))
    settings: dict[str, object] = {
        "generator": generator.model_dump(exclude_none=True), "drawn": drawn_from(out / "pictures"),
        "classifier": scenes.identity(), "encoder": clip.identity(), "split": split, "test_files": files_of(pairs),
        "texts": n_texts, "per_text": per_text, "pictures": len(made.images), "real_pictures": len(pairs),
        "size": list(made.size), "seed": seed,
    }
    result = ProtocolResult("mhn", settings, tuple(rows), figures, FOLLOWS, DIFFERS)
    result.save(out)
    return result


def _distances(
    ours_p: NDArray[np.float32], ours: NDArray[np.float32], theirs_p: NDArray[np.float32], theirs: NDArray[np.float32],
    seed: int,
) -> dict[str, Any]:
    from terrasynth.eval.metrics.frechet import FeatureStatistics, frechet_distance, frechet_floor
    from terrasynth.eval.metrics.inception_score import inception_score

    floor = frechet_floor(theirs, seed, n=min(len(ours), len(theirs) // 2))
    return {
        "inception_score": asdict(inception_score(ours_p, seed, splits=1)),
        "inception_score_real": asdict(inception_score(theirs_p, seed, splits=1)),
        "frechet": frechet_distance(FeatureStatistics.of(ours), FeatureStatistics.of(theirs)),
        "frechet_floor": asdict(floor), "n": len(ours), "n_real": len(theirs),
    }


def _raw_clip(
    reference: str, clip: Any, made: RunPictures, real: RealPictures, per_text: int, seed: int  # noqa: ANN401
) -> dict[str, Any]:
    """Images of one text are no independent ones: intervals resample texts."""
    from terrasynth.eval.metrics.figure import bootstrap_mean
    from terrasynth.synthesis.studies.protocols.raw_clip_score import raw_scores

    with quiet():
        ours = raw_scores(reference, clip, made.images, made.texts)
        theirs = raw_scores(reference, clip, real.images, real.texts)
    return {
        "clip_raw": bootstrap_mean(ours.reshape(-1, per_text).mean(1), seed, groups=made.texts[::per_text]),
        "clip_raw_real": bootstrap_mean(theirs, seed, groups=real.texts),
    }


def _rows(
    figures: dict[str, Any], cosine: ClipScore, scenes: Network, clip: Network, dim: int
) -> list[Row]:
    ours, theirs, floor = figures["inception_score"], figures["inception_score_real"], figures["frechet_floor"]
    network, encoder = network_name(scenes), network_name(clip)
    score = f"{ours['score']:.3f} [{ours['low']:.3f}, {ours['high']:.3f}] (n = {ours['n']})"
    return [
        Row("inception score", score, "1.000", f"{theirs['score']:.3f} (n = {theirs['n']})",
            f"{network}, one part, seed {ours['seed']}"),
        Row("FID", f"{figures['frechet']:.3f} (n = {figures['n']} against {figures['n_real']})", "",
            f"{floor['mean']:.3f} [{floor['low']:.3f}, {floor['high']:.3f}] (n = {floor['n']} against {floor['n']})",
            f"{dim} features of {network}, seed {floor['seed']}"),
        Row("CLIP score, not normalised, / 100", f"{figures['clip_raw']}", "", str(figures["clip_raw_real"]),
            f"{encoder}, n counts texts"),
        cosine.row(f"{encoder}, n counts texts"),
    ]


def _zero_shot(learned: TrainedAccuracy, seed: int) -> Row:
    how = (f"{learned.network}, trained on {learned.n_train}, chosen on {learned.n_val}, {learned.steps} steps, "
           f"seed {seed}")
    return Row("zero-shot overall accuracy", str(learned.accuracy), f"{learned.chance:.3f}", "", how)
