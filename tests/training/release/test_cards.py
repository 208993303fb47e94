"""Model cards say what the command says."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from terrasynth.eval.models.references import EMBEDDED_ROOT
from terrasynth.synthesis.cli import main
from terrasynth.synthesis.core.images import encode
from terrasynth.training.data import read_pairs
from terrasynth.training.release.cards import card, judge_pictures, reference_pictures
from terrasynth.training.release.prompts import Prompts
from tests.tiny import tiny_pictures

LABELS = ("beach", "forest", "river")
N = 12


def write_real(folder):
    folder.mkdir()
    with (folder / "pairs.jsonl").open("w") as file:
        for number, picture in enumerate(tiny_pictures(36, size=40, seed=1)):
            Image.fromarray(picture).save(folder / f"{number}.png")
            label = LABELS[number % 3]
            row = {"file": f"{number}.png", "class": label, "captions": [f"a {label}"],
                   "split": ("train", "val", "test")[number // 12]}
            file.write(json.dumps(row) + "\n")
    return folder


def write_run(folder, images, prompts):
    (folder / "data").mkdir(parents=True)
    rows = [
        {"id": f"{number:016x}", "image": {"bytes": encode(image, "png"), "path": f"{number}.png"}, "text": text,
         "label": label, "scene": "{}", "prompt_source": "grammar", "seed": number}
        for number, (image, text, label) in enumerate(zip(images, prompts.texts, prompts.labels, strict=True))
    ]
    pq.write_table(pa.Table.from_pylist(rows), folder / "data" / "train-00000.parquet")
    return folder


def printed(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    assert ended.value.code == 0
    return capsys.readouterr().out


def test_the_card_has_the_table_of_the_command(tmp_path, capsys):
    real = write_real(tmp_path / "real")
    pairs = read_pairs(real)
    prompts = Prompts.of(pairs, N // 3)
    images = tiny_pictures(N)
    run = write_run(tmp_path / "run", images, prompts)
    command = ["eval", run, "--real", real, "--table", "--cache", "none"]
    table = printed(capsys, *command).rstrip("\n")
    assert printed(capsys, *command).rstrip("\n") == table
    evaluation = judge_pictures([EMBEDDED_ROOT], images, prompts, reference_pictures(pairs, "test", 32))
    made = {}
    for name in ("ldm-ucm", "autoencoder-ucm", "autoencoder-decoder-ucm"):
        made[name] = tmp_path / name
        made[name].mkdir()
        record = {"pictures": {"train": 12}, "hardware": "none", "minutes": 1, "steps": 2, "best_step": 1, "val": {},
                  "preset": {"loop": {}}}
        (made[name] / "training.json").write_text(json.dumps(record))
    figures = {"autoencoder-ucm": {"test": {"psnr_db": 20.0, "n": 12}}}
    text = card("ldm-ucm", made, figures, {"ldm-ucm": evaluation}, made["ldm-ucm"])
    assert f"\n\n{table}\n" in text
    assert "| training | 1 minutes, 2 steps, the last is kept |" in text
    assert len([line for line in text.splitlines() if line.startswith("| Frechet distance |")]) == 1


def test_unreadable_reference_pictures_are_left_out_once_they_were_met(tmp_path):
    real = write_real(tmp_path / "real")
    (real / "30.png").write_bytes(b"no picture")
    pairs = read_pairs(real)
    from terrasynth.training.data.pictures import load_splits

    load_splits(pairs, 32)
    found = reference_pictures(pairs, "test", 32)
    assert found.images.shape == (11, 32, 32, 3)
    assert found.images.dtype == np.uint8
