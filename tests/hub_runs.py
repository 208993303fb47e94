"""Runs as `push` finds them, with tiny pictures and no model: shards, card, recipe, and what must not travel."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import yaml

from terrasynth.synthesis.cards.card import header
from terrasynth.synthesis.cards.licence_sources import save_licence
from terrasynth.synthesis.cards.licences import Source, inherit
from terrasynth.synthesis.core.identity import Identity
from terrasynth.synthesis.core.images import encode
from terrasynth.synthesis.ledger.decision_table import score_names
from terrasynth.synthesis.ledger.frozen import Frozen
from terrasynth.synthesis.ledger.shards import _schema, _write_shard

LABELS = ("beach", "forest", "river")
HIDDEN = (".lock", "evaluation/index.html", "data/train-00099.parquet.tmp", "blocks/beach/00000.parquet",
          "scores/x/a.parquet")
MIT = (Source("generator", "tiny", "mit", found="its card"), Source("prompts", "grammar", "apache-2.0"))


def write_run(root: Path, rows: int, per_shard: int = 100, sources=MIT, seed: int = 0) -> Path:
    """Write, or grow, a run of so many rows."""
    (root / "data").mkdir(parents=True, exist_ok=True)
    identity = Identity.of(seed, {"steps": 2}, {"expander": "grammar"})
    drawn = (_row(identity, number) for number in range(rows))
    wanted = -(-rows // per_shard)
    for index in range(wanted):
        part = islice(drawn, per_shard)
        _write_shard(root / "data" / f"train-{index:05d}.parquet", _schema(score_names([]), False), next(part), part)
    for path in sorted((root / "data").glob("train-*.parquet"))[wanted:]:
        path.unlink()
    recipe = {"name": "tiny", "seed": seed, "generator": {"model": "tiny"}, "prompts": {"expander": "grammar"}}
    (root / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    Frozen(identity, 4, "png").save(root)
    licence = inherit(sources)
    save_licence(root, licence)
    fields = yaml.safe_dump(header(root, "tiny", rows, licence), sort_keys=False)
    (root / "README.md").write_text(f'---\n{fields}---\n\n# tiny\n\n    load_dataset("PATH", split="train")\n')
    (root / "report").mkdir(exist_ok=True)
    (root / "report" / "index.html").write_text("<html>report</html>")
    (root / "report" / "one-of-each.png").write_bytes(encode(_picture(0), "png"))
    for hidden in HIDDEN:
        (root / hidden).parent.mkdir(parents=True, exist_ok=True)
        (root / hidden).write_bytes(b"" if hidden == ".lock" else b"not to be published")
    return root


def _row(identity: Identity, number: int) -> dict:
    label = LABELS[number % len(LABELS)]
    name, seed = identity.attempt(label, number)
    text = f"a {label}, “seen” from above, no. {number}"
    return {
        "id": name, "image": {"bytes": encode(_picture(number), "png"), "path": None}, "text": text,
        "captions": [text, f"A {label}, seen from above, no. {number}."], "label": label, "generator": "tiny",
        "revision": "0", "seed": seed, "guidance": 1.0, "steps": 2, "prompt_source": "grammar", "scene": "{}",
        "scores": dict.fromkeys(score_names([])), "synthetic": True,
    }


def _picture(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
