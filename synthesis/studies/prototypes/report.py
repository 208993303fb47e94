"""Prototypes to look at: a page that opens without a server, all figures as JSON, and two images for a document."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from terrasynth.eval.pages.page import png_uri
from terrasynth.synthesis.core.files import write_file
from terrasynth.synthesis.core.images import encode
from terrasynth.synthesis.generators.hopfield.pipeline import Txt2ImgMHNPipeline
from terrasynth.synthesis.studies.prototypes.counters import SHUFFLES, Entropy, LookupFigures, Peaks, Selectivity
from terrasynth.synthesis.studies.prototypes.figures import (
    Patch,
    ShownPrototype,
    entropy_figure,
    prototype_sheet,
    token_patch,
)
from terrasynth.synthesis.studies.prototypes.inspection import Agreement, Inspection, agreement
from terrasynth.synthesis.studies.prototypes.page import CONTEXT, DEFINITIONS, ENOUGH_PICTURES, page_of

RECORD, KIND = "prototypes.json", "terrasynth prototypes"
WORDS = 3


def write_prototypes(
    out: Path, inspection: Inspection, pipeline: Txt2ImgMHNPipeline, name: str, revision: str, count: int
) -> Path:
    """Write `prototypes.json`, `entropy.png`, `prototypes.png` and, last, `index.html`.

    The same inspection gives the same page. Without a prototype to show there is no `prototypes.png`.

    Args:
        out: The folder; see `check_report_folder`, which is told `RECORD` and `KIND`.
        pipeline: Turns tokens into images.
        name: Of the model.
        revision: Of the model.
        count: Prototypes to show; fewer where fewer reach enough images.

    Returns:
        The path of the page.
    """
    shown = show(inspection, pipeline, choose(inspection, count))
    tree = to_json(inspection, name, revision)
    tree["shown"] = [{"lookup": each.lookup, "prototype": each.number} for each in shown]
    write_file(out / RECORD, json.dumps(tree, ensure_ascii=False) + "\n")
    entropy = entropy_figure(inspection.lookups)
    write_file(out / "entropy.png", entropy)
    if shown:
        write_file(out / "prototypes.png", encode(prototype_sheet(shown, caption(inspection, name, revision)), "png"))
    else:
        (out / "prototypes.png").unlink(missing_ok=True)
    write_file(out / "index.html", page_of(tree, shown, png_uri(entropy), by_prompt(inspection)).html())
    return out / "index.html"


def by_prompt(inspection: Inspection) -> bool:
    """Whether every prompt is a class of its own."""
    return inspection.labels == inspection.prompts


def caption(inspection: Inspection, name: str, revision: str) -> list[str]:
    """What a reader of the figure has to know, in lines."""
    lookup = inspection.lookups[0]
    groups = f"{len(lookup.classes.names)} {'prompts' if by_prompt(inspection) else 'classes'}"
    return [
        f"{name}, revision {revision}: {len(inspection.prompts)} images that it drew of {groups}, first seed "
        f"{inspection.seeds[0]}, guidance {inspection.guidance:g}.",
        f"Patches: the images with the strongest answers; framed is the image token that was read ({CONTEXT} x "
        f"{CONTEXT} tokens around it). Number below: the answer; even share {1 / len(lookup.largest):.4f}.",
        f"Bar: share of the class that the prototype favours; tick: chance, {lookup.classes.chance:.3f}. "
        "Words: those it favours among the prompts' words.",
        f"Chosen by rule: {DEFINITIONS['shown']}.",
    ]


def choose(inspection: Inspection, count: int) -> list[tuple[int, int]]:
    """Lookup and prototype of those to show, at most `count`, by the rule of `DEFINITIONS`; in the order of lookups."""
    queues = [_queue(lookup, min(ENOUGH_PICTURES, len(inspection.prompts))) for lookup in inspection.lookups]
    turns = range(max(len(queue) for queue in queues))
    chosen = [(which, queue[turn]) for turn in turns for which, queue in enumerate(queues) if turn < len(queue)]
    return sorted(chosen[:count], key=lambda each: each[0])


def _queue(lookup: LookupFigures, enough: int) -> list[int]:
    classes, before = lookup.classes, Counter[int]()
    order = np.lexsort((-lookup.largest, -classes.largest, ~classes.selective))
    queue = []
    for number in order[lookup.reach[order] >= enough].tolist():
        favourite = int(classes.favourite[number])
        queue.append((not classes.selective[number], before[favourite], number))
        before[favourite] += 1
    return [number for _, _, number in sorted(queue, key=lambda each: each[:2])]


def show(
    inspection: Inspection, pipeline: Txt2ImgMHNPipeline, chosen: Sequence[tuple[int, int]]
) -> tuple[ShownPrototype, ...]:
    """The patches and words of some prototypes; only images that a patch is cut from are decoded."""
    peaks = [(inspection.lookups[which].image_peaks, number) for which, number in chosen]
    needed = sorted({int(row) for each, number in peaks for row in each.rows[number]})
    pictures = dict(zip(needed, decode(pipeline, inspection.tokens[needed]), strict=True))
    side = inspection.tokens.shape[1]
    shown = []
    for which, number in chosen:
        lookup = inspection.lookups[which]
        patches = tuple(
            Patch(token_patch(pictures[row], token, side, CONTEXT), answer, row, token, inspection.labels[row])
            for answer, row, token in _peaks(lookup.image_peaks, number)
        )
        classes = lookup.classes
        shown.append(
            ShownPrototype(
                lookup.name, number, classes.names[classes.favourite[number]], float(classes.largest[number]),
                classes.chance, bool(classes.selective[number]), favourite_words(lookup.words, number), patches,
            )
        )
    return tuple(shown)


def decode(pipeline: Txt2ImgMHNPipeline, tokens: torch.Tensor, batch: int = 32) -> NDArray[np.uint8]:
    """Images uint8 (N, H, W, 3) of tokens int64 (N, side, side)."""
    found = [np.empty((0, *pipeline.size, 3), np.uint8)]
    with torch.no_grad():
        for part in tokens.split(batch) if len(tokens) else ():
            pixels = pipeline.decode_tokens(part).float().cpu().permute(0, 2, 3, 1)
            found.append(((pixels / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8).numpy())
    return np.concatenate(found)


def favourite_words(words: Selectivity | None, number: int) -> tuple[tuple[str, float], ...]:
    """The words with the largest shares of a prototype, those above chance, with their shares."""
    if words is None:
        return ()
    order = np.argsort(-words.shares[number], kind="stable")[:WORDS]
    return tuple(
        (words.names[word], float(words.shares[number, word]))
        for word in order
        if words.shares[number, word] > words.chance
    )


def to_json(inspection: Inspection, name: str, revision: str) -> dict[str, object]:
    """All figures as plain data; floats to six digits."""
    side = inspection.tokens.shape[1]
    return {
        "kind": KIND,
        "model": name,
        "revision": revision,
        "guidance": inspection.guidance,
        "shuffle_seed": inspection.shuffle_seed,
        "side": side,
        "n": {
            "pictures": len(inspection.prompts),
            "image_tokens": len(inspection.prompts) * (side**2 - 1),
            "texts": len(set(inspection.prompts)),
            "word_tokens": len(inspection.words),
        },
        "definitions": DEFINITIONS,
        "pictures": [
            {"prompt": prompt, "class": label, "seed": seed}
            for prompt, label, seed in zip(inspection.prompts, inspection.labels, inspection.seeds, strict=True)
        ],
        "lookups": [_lookup(each, inspection) for each in inspection.lookups],
    }


def _lookup(lookup: LookupFigures, inspection: Inspection) -> dict[str, object]:
    return {
        "name": lookup.name,
        "beta": _rounded(lookup.beta),
        "prototypes": len(lookup.largest),
        "alive": int(lookup.alive.sum()),
        "strongest": int((lookup.wins > 0).sum()),
        "entropy": {"image": _entropy(lookup.image_entropy), "words": _entropy(lookup.word_entropy)},
        "classes": _selectivity(lookup.classes, lookup.alive),
        "words": None if lookup.words is None else _selectivity(lookup.words, lookup.alive),
        "agreement": _agreement(agreement(inspection, lookup)),
        "each": [_prototype(lookup, number, inspection) for number in range(len(lookup.largest))],
    }


def _prototype(lookup: LookupFigures, number: int, inspection: Inspection) -> dict[str, object]:
    return {
        "prototype": number,
        "largest": _rounded(lookup.largest[number]),
        "alive": bool(lookup.alive[number]),
        "strongest_at": int(lookup.wins[number]),
        "pictures": int(lookup.reach[number]),
        "class": _favourite(lookup.classes, number),
        "word": None if lookup.words is None else _favourite(lookup.words, number),
        "image_peaks": [
            {"answer": _rounded(answer), "picture": picture, "token": token}
            for answer, picture, token in _peaks(lookup.image_peaks, number)
        ],
        "word_peaks": None if lookup.word_peaks is None else [
            {"answer": _rounded(answer), "picture": (word := inspection.words[row]).picture, "position": position,
             "piece": word.piece, "word": word.word}
            for answer, row, position in _peaks(lookup.word_peaks, number)
        ],
    }


def _peaks(peaks: Peaks, number: int) -> list[tuple[float, int, int]]:
    columns = (each[number].tolist() for each in (peaks.answers, peaks.rows, peaks.positions))
    return list(zip(*columns, strict=True))


def _favourite(groups: Selectivity, number: int) -> dict[str, object]:
    return {
        "name": groups.names[groups.favourite[number]],
        "share": _rounded(groups.largest[number]),
        "selective": bool(groups.selective[number]),
    }


def _selectivity(groups: Selectivity, alive: NDArray[np.bool_]) -> dict[str, object]:
    """Over the living prototypes; the shuffles' figures are the null beside them."""
    largest, shuffled = groups.largest[alive], groups.shuffled[alive]
    return {
        "groups": len(groups.names),
        "chance": _rounded(groups.chance),
        "selective": int(groups.selective[alive].sum()),
        "selective_by_chance": _rounded(alive.sum() / (SHUFFLES + 1)),
        "median_share": _rounded(np.median(largest)) if len(largest) else None,
        "median_share_shuffled": _rounded(np.median(shuffled)) if len(largest) else None,
        "half_in_one": int((largest >= 0.5).sum()),
        "half_in_one_shuffled": _rounded((shuffled >= 0.5).sum() / SHUFFLES),
    }


def _agreement(found: Agreement | None) -> dict[str, object] | None:
    if found is None:
        return None
    return {"n": found.n, "share": _rounded(found.share), "by_chance": _rounded(found.chance)}


def _entropy(entropy: Entropy | None) -> dict[str, object] | None:
    if entropy is None:
        return None
    return {
        "n": entropy.n, "mean": _rounded(entropy.mean), "effective": _rounded(entropy.effective),
        "percentile_10": _rounded(entropy.low), "percentile_90": _rounded(entropy.high),
    }


def _rounded(value: float | np.floating) -> float:
    return round(float(value), 6)
