"""Train a judge of one's own classes, measure it on what was held out, and say what to do with it."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from terrasynth.eval.evaluation.judge_figures import JudgeFigures, measure_judge
from terrasynth.eval.models.calibration import Calibration
from terrasynth.eval.models.dual_encoders import CALIBRATION_FILE
from terrasynth.eval.models.inference import unit_length
from terrasynth.eval.models.judges import About, Heads, word_rows
from terrasynth.eval.models.knowledge import SELDOM, Knowledge, words_of
from terrasynth.eval.models.loaders import load_encoder
from terrasynth.eval.models.references import JUDGE_FILE, SCENE_CALIBRATION_FILE
from terrasynth.prompts.scenes.wording import spoken_name
from terrasynth.synthesis.core.quiet import quiet
from terrasynth.training.data import report_skipped
from terrasynth.training.data.pictures import PictureSet, load_pictures
from terrasynth.training.errors import InputError
from terrasynth.training.judges.card import TrainedJudge, write_card
from terrasynth.training.judges.features import candidates, halved, keep_network, load_frozen, see, views_each
from terrasynth.training.judges.heads import ContrastSettings, SceneHead, fit_scene, fit_words
from terrasynth.training.judges.reading import divide, read_classes
from terrasynth.training.judges.same_judge import FINISHED, RECORD, MadeFrom, made_before
from terrasynth.training.judges.settings import JudgeLoop, JudgeSettings
from terrasynth.training.presets import WORK, Preset, checked

if TYPE_CHECKING:
    from terrasynth.eval import PictureEncoder
    from terrasynth.training.data.reading import DataSource


@dataclass(frozen=True)
class _Frozen:
    """What a network says of the training images, and the scene head on it.

    Attributes:
        views: Standardized features (N, V, F).
    """

    reference: str
    network: PictureEncoder
    views: NDArray[np.float32]
    mean: NDArray[np.float32]
    scale: NDArray[np.float32]
    scene: SceneHead


def train_judge(preset: Preset, data: DataSource | Sequence[DataSource], out: Path, encoder: str | None,
                resume: bool = True) -> TrainedJudge:
    """Train a judge and write it to `out`; the same data give the same bytes on one machine.

    One that is there, made from the very same, is taken as it is.

    Args:
        data: Images with their classes: as `training.data.read_pairs` takes them, or a folder of class folders.
        out: The judge's folder.
        encoder: What gives the features: an embedded name, a folder, or a Hub id; None for the best of our own.
        resume: False makes it anew, whatever judge is there.

    Returns:
        Where it is, what it can do, and what to do with it.

    Raises:
        InputError: The data, the encoder or a setting is wrong, or `out` holds something else, or another judge.
    """
    started = time.monotonic()
    settings = checked(JudgeSettings, preset.model, "model")
    seed = checked(JudgeLoop, preset.loop, "loop").seed
    begun = (out / JUDGE_FILE).is_file() or (out / WORK / RECORD).is_file()
    if out.exists() and not begun and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"--out {str(out)!r} exists and holds no judge; give a new folder")
    networks = candidates(encoder)
    loaded = {name: load_frozen(name) for name in networks}
    pairs = read_classes(data)
    parts = divide(pairs, settings.held_out, seed)
    _say(f"reading {len(parts.train)} images to fit to and {len(parts.held_out)} held out")
    train = load_pictures(parts.train, preset.load_size, parts.labels, pairs.skipped)
    held = load_pictures(parts.held_out, preset.load_size, parts.labels, pairs.skipped)
    report_skipped(pairs)
    given = data if isinstance(data, list | tuple) else [data]
    sources = tuple(str(each) if isinstance(each, str | Path) else "DATA" for each in given)
    told = {"model": settings.model_dump(mode="json"), "seed": seed, "load_size": preset.load_size}
    made = MadeFrom.of(told, loaded, train, held, pairs.sources)
    if resume and (found_there := made_before(out, made, sources)):
        _say(FINISHED)
        return found_there
    made.note_begun(out)
    best = min((_look(name, network, train, seed) for name, network in loaded.items()),
               key=lambda each: each.scene.loss)
    words = _vocabulary(train)
    places = {word: row for row, word in enumerate(words)}
    names = [word_rows(spoken_name(label), places) for label in parts.labels]
    texts = [[word_rows(text, places) for text in own] for own in train.captions]
    contrast = ContrastSettings(dim=settings.dim, steps=settings.steps)
    _say(f"fitting the head for words on {best.reference}")
    head = fit_words(best.views, train.labels.numpy(), texts, names, len(words), seed, contrast)
    heads = Heads(best.mean, best.scale, best.scene.weight, best.scene.bias, head.image, head.words)
    _write(out, heads, best, parts.labels, words)
    _say(f"measuring on {len(held)} held-out images")
    found = _measure(out, heads, best.network, held, places, parts.split)
    judge = TrainedJudge(out, best.reference, sources, len(train), parts.described, found,
                         (time.monotonic() - started) / 60)
    write_card(judge, pairs.sources, len(words), seed)
    made.note_done(judge)
    return judge


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


def _look(reference: str, network: PictureEncoder, train: PictureSet, seed: int) -> _Frozen:
    """Features of the training images, standardized, and the scene head on them."""
    seen = see(network, train.arrays(), views_each(len(train)), reference)
    flat = unit_length(seen.reshape(-1, seen.shape[2]))
    mean, spread = flat.mean(0), flat.var(0)
    scale = np.sqrt(spread + 0.1 * spread.mean() + 1e-12).astype(np.float32)  # what hardly varies is no louder by it
    views = ((flat - mean) / scale).reshape(seen.shape)
    _say(f"fitting the head for scenes on {reference}")
    head = fit_scene(views, train.labels.numpy(), len(train.label_names), seed)
    return _Frozen(reference, network, views, mean, scale, head)


def _vocabulary(train: PictureSet) -> tuple[str, ...]:
    """Words of at least `SELDOM` images' captions, and those of the classes' names."""
    counts = Counter(word for own in train.captions for word in {word for text in own for word in words_of(text)})
    named = {word for label in train.label_names for word in words_of(spoken_name(label))}
    return tuple(sorted(named | {word for word, count in counts.items() if count >= SELDOM}))


def _write(out: Path, heads: Heads, best: _Frozen, labels: tuple[str, ...], words: tuple[str, ...]) -> None:
    """Write heads and network; `judge.json`, which makes the folder a judge, comes last."""
    out.mkdir(parents=True, exist_ok=True)
    (out / JUDGE_FILE).unlink(missing_ok=True)
    heads.save(out)
    backbone = keep_network(best.reference, best.network, out)
    Knowledge(frozenset(words), labels).save(out)
    About(backbone, best.network.identity(), labels, words).save(out)


def _measure(
    out: Path, heads: Heads, network: PictureEncoder, held: PictureSet, places: dict[str, int], split: str
) -> JudgeFigures:
    """Calibrations of both heads and figures, written beside them."""
    pixels, labels, captions, known = held.arrays(), held.class_names(), held.captions, held.label_names
    features = network.features(pixels)
    probabilities, seen = heads.probabilities(features), unit_length(heads.embeddings(features))
    image_of = np.repeat(np.arange(len(labels)), [len(own) for own in captions])
    read = heads.read([word_rows(text, places) for own in captions for text in own])
    with quiet():
        identity = load_encoder(out).identity()
    aligned = np.einsum("nd,nd->n", seen[image_of], read)
    own = probabilities[np.arange(len(labels)), held.labels.numpy()]
    Calibration.of(identity, split, aligned, image_of, labels).save(out / CALIBRATION_FILE)
    Calibration.of(identity, split, own, np.arange(len(labels)), labels).save(out / SCENE_CALIBRATION_FILE)
    smaller = heads.probabilities(network.features(halved(pixels)))
    found = measure_judge(probabilities, smaller, seen, read, image_of, labels, known, split=split,
                          side=pixels.shape[1])
    found.save(out)
    return found
