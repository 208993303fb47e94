"""Protocol `strict`: no text and no image of the test split before the judging, equal numbers, and other judges.

A figure of a generator can be flattered in four ways: prompts that are captions of the test images, a reference that
the generator learned from, more images on one side than on the other, and judges that chose the images. Each is
refused or ruled out here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from terrasynth.eval.evaluation.figures import network_name, network_of
from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.core.quiet import quiet
from terrasynth.synthesis.core.real_pictures import RealPair, RealPictures, real_pictures
from terrasynth.synthesis.filters.measurers import MEASURED
from terrasynth.synthesis.ledger.directory import RunDirectory
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
from terrasynth.synthesis.studies.protocols.figures import clip_score

if TYPE_CHECKING:
    from terrasynth.synthesis.events import Listener
    from terrasynth.synthesis.recipe import GeneratorSettings

CAPTIONS = "train"
"""In place of an expander: captions of the train split, as they are."""

FLOOR_REPEATS = 10

FOLLOWS = (
    "prompts: captions of the train split, or of an expander that reads none; a caption of the test split that no "
    "train image has is refused",
    "reference: the test split, as many images of each class as there are generated ones",
    "judges: other networks than those that filtered",
    "ceiling of a distance: real images of another split against the same test images, at the same number",
)


@dataclass(frozen=True)
class RealSplits:
    """Real pairs, each with a class.

    Attributes:
        train: What the generator may have learned from: prompts, and the ceiling of the accuracy.
        val: Against the test images: the floor of the distances.
    """

    train: Sequence[RealPair]
    val: Sequence[RealPair]
    test: Sequence[RealPair]


def strict_protocol(
    source: GeneratorSettings | Path, real: RealSplits, out: Path, *, prompts: str = CAPTIONS,
    encoder: str = "clip-ucm-b", classifier: str = "scene-ucm", limit: int | None = None, seed: int = 0,
    device: str = "auto", train_and_test: TrainAndTest | None = None, steps: int = 600, cache: Path | None = None,
    on_event: Listener | None = None,
) -> ProtocolResult:
    """Judge a generator, or a finished run with its filters; writes `strict.json` and `strict.md`.

    Args:
        source: A generator to draw with, or the directory of a run.
        out: Folder for images and figures; the same call goes on with what is there.
        prompts: Of a generator: "train" for captions of the train split, or the name of an expander.
        limit: Most images, over all classes in turn; None for as many as the test split has.
        seed: Decides images, choices and intervals.
        train_and_test: Trains the classifiers of the classification accuracy score; None to leave it out.
        cache: Folder that keeps features of images and texts; None for none.
        on_event: Is told how the drawing goes.

    Raises:
        InputError: A judge that also filtered, prompts from the test split, or classes that do not match.
    """
    for name, pairs in (("train", real.train), ("val", real.val), ("test", real.test)):
        labelled(pairs, name)
    clip, scenes = load_judges(encoder, classifier, cache)
    check_classes([pair.label for pair in real.test], scenes.labels, classifier)
    judges = {encoder: clip.identity(), classifier: scenes.identity()}
    if isinstance(source, Path):
        settings = _run_settings(source, judges)
        made, drawn = RunPictures.read(source), source
    else:
        settings = {"generator": source.model_dump(exclude_none=True), "prompts": prompts, "filters": []}
        asked = _asked(prompts, real, seed)
        made = draw(asked, min(len(asked), limit or len(asked)), source, seed, out, device, on_event)
        drawn = out / "pictures"
    coincidences = check_prompts(made, real, settings["prompts"])
    ours, theirs = equal_numbers(made.labels, [pair.label for pair in real.test], limit)
    images, labels = made.images[ours], [made.labels[row] for row in ours]
    test = real_pictures([real.test[row] for row in theirs], made.size)
    val = real_pictures(_like(real.val, labels, seed), made.size)
    figures: dict[str, Any] = {"texts_that_are_test_captions": coincidences}
    rows = [Row("texts that are test captions", f"{coincidences} of {len(made.texts)}", "", "",
                "by coincidence; captions that a train image has do not count")]
    rows += _judged(clip, scenes, images, [made.texts[row] for row in ours], labels, test, val,
                   figures, seed)
    if train_and_test is not None:
        figures["accuracy_score"], row = _accuracy_score(images, labels, real, made.size, train_and_test, steps, seed)
        rows.append(row)
    settings |= {
        "drawn": drawn_from(drawn), "judges": judges, "n": len(ours),
        "classes": dict(sorted(Counter(labels).items())), "size": list(made.size), "seed": seed,
        "test_files": files_of([real.test[row] for row in theirs]), "train_files": files_of(real.train),
    }
    result = ProtocolResult("strict", settings, tuple(rows), figures, FOLLOWS, ())
    result.save(out)
    return result


def check_prompts(made: RunPictures, real: RealSplits, prompts: object) -> int:
    """Look for captions of the test split among the texts.

    Args:
        prompts: "train", the name of an expander, or the `prompts` of a recipe. Texts of the expander `captions` that
            reads train captions may come to equal a test caption, as those of the grammar may.

    Returns:
        How many texts happen to be one.

    Raises:
        InputError: A text that was read from somewhere is a test caption that no train image has.
    """
    seen = {_plain(caption) for pair in real.train for caption in pair.captions}
    hidden = {_plain(caption) for pair in real.test for caption in pair.captions} - seen
    reads_train = isinstance(prompts, Mapping) and prompts.get("split", "train") == "train"
    copying = ("file",) if reads_train else ("file", "captions")
    found = [(text, source) for text, source in zip(made.texts, made.sources, strict=True) if _plain(text) in hidden]
    for text, source in found:
        if source in copying:
            raise InputError(f"prompt {text[:60]!r} is a caption of the test split and of no train image; draw the "
                             "images from train captions or with another expander")
    return len(found)


def equal_numbers(
    labels: Sequence[str], others: Sequence[str], limit: int | None = None
) -> tuple[list[int], list[int]]:
    """Rows of both, the first of each class, as many of each class in one as in the other.

    Raises:
        InputError: A class of the first is not in the other, or there are too few images.
    """
    if unknown := sorted(set(labels) - set(others)):
        known = ", ".join(sorted(set(others)))
        raise InputError(f"class {unknown[0]!r} has no image in the test split; it has {known}")
    rows = [[[row for row, own in enumerate(side) if own == label] for label in dict.fromkeys(labels)]
            for side in (labels, others)]
    pairs = [(rank, *pair) for both in zip(*rows, strict=True) for rank, pair in enumerate(zip(*both, strict=False))]
    chosen = sorted(pairs)[:limit]
    if len(chosen) < 4:
        raise InputError(f"{len(chosen)} images of the test split's classes: the protocol needs 4 at the least")
    return sorted(mine for _, mine, _ in chosen), sorted(theirs for _, _, theirs in chosen)


def _asked(prompts: str, real: RealSplits, seed: int) -> list[PromptRequest]:
    """As many texts of each class as the test split has images."""
    from terrasynth.prompts.registry import load_expander_for

    counts = Counter(pair.label for pair in real.test)
    if prompts == CAPTIONS:
        return by_rank_of_class([PromptRequest(pair.captions[int(place)], pair.label)
                        for pair, place in _chosen(real.train, counts, seed)])
    expander = load_expander_for(sorted(counts), prompts)
    if missing := sorted(set(counts) - set(expander.classes)):
        raise InputError(f"expander {prompts!r} has no class {missing[0]!r}; use --prompts {CAPTIONS}")
    return by_rank_of_class([PromptRequest(one.text, label) for label in sorted(counts)
                    for one in expander.expand(label, seed, 0, counts[label])])


def _chosen(pairs: Sequence[RealPair], counts: Mapping[str, int], seed: int) -> list[tuple[RealPair, int]]:
    """Random pairs, so many of each class, each with the place of one of its captions."""
    generator = np.random.default_rng(seed)
    chosen = []
    for label in sorted(counts):
        own = [pair for pair in pairs if pair.label == label]
        if not own:
            raise InputError(f"class {label!r} of the test split has no train image to take captions from")
        rows = generator.permutation(len(own))
        chosen += [(own[rows[k % len(own)]], int(generator.integers(len(own[rows[k % len(own)]].captions))))
                   for k in range(counts[label])]
    return chosen


def _like(pairs: Sequence[RealPair], labels: Sequence[str], seed: int) -> list[RealPair]:
    """Random pairs with the classes of `labels`, at most as many of each; all that there are of a small class."""
    generator = np.random.default_rng(seed)
    chosen = []
    for label, count in sorted(Counter(labels).items()):
        own = [pair for pair in pairs if pair.label == label]
        chosen += [own[row] for row in sorted(generator.permutation(len(own))[:count].tolist())]
    return chosen


def _run_settings(run: Path, judges: Mapping[str, dict[str, object]]) -> dict[str, object]:
    from terrasynth.eval.models.loaders import load_picture_encoder

    try:
        recipe = RunDirectory(run).recipe
    except InputError as error:
        raise InputError(f"the filters of {str(run)!r} are unknown ({error}); give a run") from error
    for settings in recipe.filters:
        if settings.source.gives not in MEASURED:
            raise InputError(f"filter {settings.kind!r} of {str(run)!r} measures with a network of its own, so nobody "
                             "can tell whether it is one that judges here; give a run without it")
        if not (reference := settings.source.reference):
            continue
        with quiet():
            filtered = load_picture_encoder(reference).identity()
        for name, judge in judges.items():
            if judge == filtered:
                raise InputError(f"{name!r} judges and also filtered the run (filter {settings.kind}, {reference!r}); "
                                 "name another one with --encoder or --classifier")
    tree = recipe.tree()
    return {key: tree[key] for key in ("generator", "prompts", "filters")}


def _judged(
    clip: Any, scenes: Any, images: NDArray[np.uint8], texts: Sequence[str], labels: Sequence[str],  # noqa: ANN401
    test: RealPictures, val: RealPictures, figures: dict[str, Any], seed: int,
) -> list[Row]:
    from terrasynth.eval.metrics.figure import per_class_accuracy, share_of

    ours, theirs, others = (scenes.classify(part) for part in (images, test.images, val.images))
    hits, real_hits = (
        np.array([scenes.labels[row] for row in found.probabilities.argmax(1)]) == np.array(own)
        for found, own in ((ours, labels), (theirs, test.labels))
    )
    pictures, real_images, val_images = (clip.encode_images(part) for part in (images, test.images, val.images))
    cosine = clip_score(clip, images, texts, labels, test, seed)
    figures |= {
        "scene_accuracy": share_of(hits), "scene_accuracy_real": share_of(real_hits),
        "per_class": per_class_accuracy(hits, labels), **cosine.figures(),
    }
    scene_network, clip_network = network_name(network_of(scenes)), network_name(network_of(clip))
    return [
        Row("scene accuracy", str(figures["scene_accuracy"]), f"{1 / len(scenes.labels):.3f}",
            str(figures["scene_accuracy_real"]), f"{scene_network}, seed {seed}"),
        cosine.row(f"{clip_network}, seed {seed}"),
        _frechet(ours.features, theirs.features, others.features, scene_network, figures, seed),
        _frechet(pictures, real_images, val_images, f"{clip_network}, unit length", figures, seed),
    ]


def _frechet(
    ours: NDArray[np.float32], theirs: NDArray[np.float32], others: NDArray[np.float32], network: str,
    figures: dict[str, Any], seed: int,
) -> Row:
    """Distance to the test images, beside that of other real images to the same ones."""
    from terrasynth.eval.metrics.frechet import FeatureStatistics, frechet_distance

    reference = FeatureStatistics.of(theirs)
    distance = frechet_distance(FeatureStatistics.of(ours), reference)
    floor = frechet_distance(FeatureStatistics.of(others), reference)
    figures.setdefault("frechet", []).append({
        "network": network, "features": ours.shape[1], "distance": distance, "n": len(ours), "n_reference": len(theirs),
        "floor": floor, "n_floor": len(others), "seed": seed,
    })
    return Row("Frechet distance", f"{distance:.4g} (n = {len(ours)} against {len(theirs)})", "",
               f"{floor:.4g} (n = {len(others)} of val against the same)",
               f"{ours.shape[1]} features of {network}, seed {seed}")


def _accuracy_score(
    images: NDArray[np.uint8], labels: Sequence[str], real: RealSplits, size: tuple[int, int],
    train_and_test: TrainAndTest, steps: int, seed: int,
) -> tuple[dict[str, Any], Row]:
    """Classification accuracy score (Ravuri & Vinyals, NeurIPS 2019), beside as many real train images."""
    test, train = real_pictures(real.test, size), real_pictures(_like(real.train, labels, seed), size)
    assert test.labels is not None  # every pair has a class
    assert train.labels is not None
    ours = train_and_test(images, labels, test.images, test.labels, steps, seed)
    ceiling = train_and_test(train.images, train.labels, test.images, test.labels, steps, seed)
    row = Row("classification accuracy score", str(ours.accuracy), f"{ours.chance:.3f}", str(ceiling.accuracy),
              f"{ours.network}, trained on {ours.n_train} (real {ceiling.n_train}), {ours.steps} steps, seed {seed}")
    return {"generated": asdict(ours), "real": asdict(ceiling)}, row


def _plain(text: str) -> str:
    return " ".join(text.lower().replace(".", " ").split())
