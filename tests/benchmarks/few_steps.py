"""What a student of few steps gains and loses against its teacher: seconds a picture, side by side, and figures.

    python tests/benchmarks/few_steps.py --student OUT_OF_TRAIN_DISTIL --data UCM --out few_steps.json

Every variant draws the same prompts (10 of `grammar` a class, seed 0) from the same seeds. Seconds are the best of
`--rounds`, the variants taken in turn, so a machine that is slow for a while is slow for all.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np

from terrasynth.eval import evaluate, load_classifier, load_encoder
from terrasynth.synthesis import load_generator
from terrasynth.training.data import read_pairs
from terrasynth.training.data.pictures import load_splits
from terrasynth.training.release.prompts import DRAW_SEED, Prompts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", default="ldm-ucm")
    parser.add_argument("--student", required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", default="test")
    parser.add_argument("--teacher-steps", type=int, nargs="*", default=[20, 4])
    parser.add_argument("--student-steps", type=int, nargs="*", default=[4])
    parser.add_argument("--guidance", type=float, default=3.0)
    parser.add_argument("--student-guidance", type=float, nargs="*", help="default: --guidance")
    parser.add_argument("--timed", type=int, default=32, help="pictures of a timed round")
    parser.add_argument("--rounds", type=int, default=3, help="0 times nothing")
    parser.add_argument("--sheets", type=Path, help="folder for a contact sheet of each variant")
    parser.add_argument("--out", type=Path)
    settings = parser.parse_args()

    pairs = read_pairs(settings.data)
    prompts = Prompts.of(pairs)
    variants = [(settings.teacher, steps, settings.guidance) for steps in settings.teacher_steps]
    variants += [(settings.student, steps, guidance) for steps in settings.student_steps
                 for guidance in settings.student_guidance or [settings.guidance]]
    generators = {each: load_generator(each[0], steps=each[1], guidance=each[2]) for each in variants}
    found: dict[tuple[str, int, float], dict[str, object]] = {each: {} for each in variants}
    best = dict.fromkeys(variants, float("inf"))
    spread = np.linspace(0, len(prompts.texts) - 1, settings.timed).round().astype(int)
    for _ in range(settings.rounds):
        for each in variants:
            start = time.perf_counter()
            generators[each].generate([prompts.texts[i] for i in spread], spread.tolist())
            best[each] = min(best[each], (time.perf_counter() - start) / settings.timed)
    reference = load_splits(pairs, generators[variants[0]].size[0])[settings.split]
    encoder, classifier = load_encoder("clip-ucm-b"), load_classifier("scene-ucm")
    for each in variants:
        images = generators[each].generate(prompts.texts, list(range(len(prompts.texts))))
        judged = evaluate(images, prompts.texts, prompts.labels, encoder=encoder, classifier=classifier,
                          reference_images=reference.arrays(), reference_texts=[c[0] for c in reference.captions],
                          reference_labels=reference.class_names())
        found[each] = {
            "model": Path(each[0]).name, "steps": each[1], "guidance": each[2], "n": len(images), "seed": DRAW_SEED,
            "seconds_a_picture": round(best[each], 4) if settings.rounds else None,
            "times_as_fast": round(best[variants[0]] / best[each], 2) if settings.rounds else None,
            "scene_accuracy": str(judged.scene.accuracy), "clip_score": str(judged.alignment.score),
            "frechet": judged.frechet.distance if judged.frechet else None,
        }
        print(json.dumps(found[each]), flush=True)
        if settings.sheets:
            from terrasynth.training.release.cards import _sheet

            settings.sheets.mkdir(parents=True, exist_ok=True)
            _sheet(images, settings.sheets / f"{Path(each[0]).name}-{each[1]}-{each[2]:g}.png")
    if settings.out:
        settings.out.write_text(json.dumps(list(found.values()), indent=1) + "\n")


if __name__ == "__main__":
    main()
