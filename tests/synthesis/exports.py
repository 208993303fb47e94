"""Runs to export, written by the run's own writer without drawing a picture, and real data to merge them with."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from terrasynth.prompts import load_expander
from terrasynth.synthesis.core.images import encode
from terrasynth.synthesis.export.exporting import export
from terrasynth.synthesis.export.registry import load_exporter
from terrasynth.synthesis.ledger.label_columns import with_labels
from terrasynth.synthesis.ledger.shards import _schema, _write_shard

CLASSES = ("beach", "forest", "river")
PLACED = ("airport", "harbor", "tenniscourt", "residential")
SIDE = 96  # of layouts, in pixels
RECIPE = {"name": "tiny", "generator": {"model": "ldm-ucm"}, "identity": "0123456789abcdef"}
SPLITS = {"train": 0.6, "validation": 0.2, "test": 0.2}
ODD = (
    'He said "half sand, half water"; it\'s naïve.',
    "Two lines,\nand a tab\there",
    "海滩 🏖 and a \\ backslash, {braces} <image> & more",
    "A separator\u2028inside",
)


def picture(seed: int, side: int = 32) -> np.ndarray:
    """Coarse noise, so that thumbnails differ."""
    small = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC))


def run_rows(per_class: int, classes=CLASSES, image_format="png") -> list[dict]:
    """Rows in the order of a run; row k of a class does not depend on how many there are."""
    expander = load_expander("grammar")
    prompts = {label: expander.expand(label, 0, 0, per_class) for label in classes}
    rows = []
    for k in range(per_class):
        for label in classes:
            own = prompts[label][k]
            place = CLASSES.index(label) * 1000 + k
            text = f"{own.text} {ODD[place % len(ODD)]}"
            rows.append({
                "id": f"{place:016x}", "image": {"bytes": encode(picture(place), image_format),
                                                 "path": f"{place:016x}.{image_format}"},
                "text": text, "captions": [text, *own.captions], "label": label,
                "generator": "tiny", "revision": "r", "seed": 2**62 + place, "guidance": 3.0, "steps": 2,
                "prompt_source": own.source, "scene": own.scene,
                "scores": {"alignment": 0.5 if k else None, "duplicate": 0.25 if k > 2 else None}, "synthetic": True,
            })
    return rows


def layout_rows(per_class: int, classes=PLACED, side=SIDE) -> list[dict]:
    """Rows of a run whose model was shown layouts of `SIDE` pixels; images have `side` of them.

    The first airport has no labeled thing.
    """
    expander = load_expander("layout", size=SIDE)
    rows = run_rows(per_class, ["beach"] * len(classes))
    prompts = [expander.expand(label, 0, k, 1)[0] for k in range(per_class) for label in classes]
    for place, (row, own) in enumerate(zip(rows, prompts, strict=True)):
        name = f"{0xa0000 + place:016x}"
        row |= {"id": name, "image": {"bytes": encode(picture(place, side), "png"), "path": f"{name}.png"},
                "text": own.text, "captions": list(own.captions), "label": own.label, "scene": own.scene,
                "prompt_source": own.source, "layout": own.layout}
        row |= with_labels(row, own.layout)
    return rows


def pair_rows(count: int, side=SIDE) -> list[dict]:
    """Rows of a run of before-and-after pairs, of layouts of `SIDE` pixels; images have `side` of them."""
    own = load_expander("layout", size=SIDE, pairs="all").expand("mediumresidential", 0, 0, count)
    rows = layout_rows(count, ["mediumresidential"], side)
    for place, (row, one) in enumerate(zip(rows, own, strict=True)):
        later = {"bytes": encode(picture(500 + place, side), "png"), "path": f"{row['id']}-after.png"}
        row |= {"text": one.text, "captions": list(one.captions), "scene": one.scene, "layout": one.layout,
                "edit": one.edit, "text_after": one.text_after, "image_after": later}
        row |= with_labels(row, one.layout)
    return rows


def write_run(folder: Path, rows: list[dict], rows_per_shard: int = 10) -> Path:
    """A run directory with these rows."""
    (folder / "data").mkdir(parents=True, exist_ok=True)
    for old in (folder / "data").iterdir():
        old.unlink()
    schema = _schema(["alignment", "duplicate"], layouts="layout" in rows[0], pairs="edit" in rows[0])
    for start in range(0, len(rows), rows_per_shard):
        part = rows[start : start + rows_per_shard]
        _write_shard(folder / "data" / f"train-{start // rows_per_shard:05d}.parquet", schema, part[0], part[1:])
    (folder / "recipe.yaml").write_text(yaml.safe_dump(RECIPE))
    (folder / "README.md").write_text("---\nlicense: cc-by-4.0\n---\n\n# tiny\n")
    return folder


def exported(run: Path, folder: Path, name: str, shares=SPLITS, options=None, **settings):
    """Export by name."""
    return export(run, load_exporter(name, options), folder, shares=shares, **settings)


def write_real(folder: Path, entries: list[tuple[str, str, int, list[str]]]) -> Path:
    """Real data in the layout of `pairs.jsonl`; entries are class, split, seed of the picture, captions."""
    (folder / "images").mkdir(parents=True)
    lines = []
    for number, (label, split, seed, captions) in enumerate(entries):
        name = f"images/{number}.png"
        Image.fromarray(picture(seed, 48)).save(folder / name)
        lines.append(json.dumps({"file": name, "class": label, "split": split, "captions": captions}))
    (folder / "pairs.jsonl").write_text("\n".join(lines))
    return folder
