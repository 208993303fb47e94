"""A run directory written by the ledger's own code, without a model: drawn in no time, judged, with a card."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from terrasynth.prompts.registry import load_expander
from terrasynth.synthesis import Recipe
from terrasynth.synthesis.core import layout
from terrasynth.synthesis.core.files import write_file
from terrasynth.synthesis.core.identity import Identity
from terrasynth.synthesis.core.images import encode
from terrasynth.synthesis.filters import AlignmentFilter, Measurements
from terrasynth.synthesis.filters.base import EMBEDDINGS, NamedJudge
from terrasynth.synthesis.ledger.blocks import Attempt, Blocks
from terrasynth.synthesis.ledger.decision_table import write_decisions
from terrasynth.synthesis.ledger.decisions import ClassDecisions
from terrasynth.synthesis.ledger.frozen import Frozen

BLOCK = 16


def write_run(root: Path, rows: int, classes: int = 20) -> None:
    """Write a run directory with at least so many attempts, every fourth of which an alignment filter rejects."""
    labels = list(load_expander("grammar").classes)[:classes]
    per_class = -(-rows // classes // BLOCK) * BLOCK
    identity = Identity.of(0, {"revision": "flat", "steps": 1, "guidance": 1.0, "rows": rows}, {"expander": "grammar"})
    recipe = Recipe.parse({"generator": {"model": "ldm-ucm"}, "prompts": {"classes": labels},
                           "target": {"per_class": per_class, "max_attempts": per_class}})
    root.mkdir(parents=True)
    write_file(root / layout.RECIPE, json.dumps(recipe.tree()))  # JSON is YAML
    Frozen(identity, BLOCK, "png").save(root)
    blocks, random, decided = Blocks(root, BLOCK, "png", identity), np.random.default_rng(0), []
    image = encode(random.integers(0, 256, (32, 32, 3), np.uint8), "png")
    for label in labels:
        judge = AlignmentFilter(min_score=-0.5).judge(label, None, root)
        each = ClassDecisions(label, [NamedJudge("alignment", "key", judge)], per_class, per_class)
        for index in range(per_class // BLOCK):
            attempts = []
            for k in range(index * BLOCK, (index + 1) * BLOCK):
                id_, seed = identity.attempt(label, k)
                text = f"An aerial image of a {label}, number {k}" + (", a tenth." if k % 10 == 0 else ".")
                attempts.append(Attempt(id_, k, label, image, text, (text,), seed, "grammar", "{}"))
            measured = Measurements(EMBEDDINGS, np.zeros((BLOCK, 4), np.float32),
                                    random.uniform(-1, 1, BLOCK).astype(np.float32))
            blocks.write(label, index, attempts, "key", measured)
            each.decide(BLOCK, lambda key, measured=measured: measured)
        decided.append(each)
    write_decisions(root / layout.DECISIONS, decided, ["alignment"], lambda label, k: identity.attempt(label, k)[0])
    write_file(root / layout.CARD, "---\nlicense: other\n---\n\n# A data set\n")
    write_file(root / layout.REPORT_PAGE, "<!doctype html><title>A report</title>")
