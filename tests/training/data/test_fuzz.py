"""Real data gone wrong in any way: exit 0, 1 or 2, one line, nothing half-written, nothing from outside.

`TERRASYNTH_FUZZ=2000` tries so many; the default is what a test suite has time for.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from terrasynth.synthesis.cli import main
from terrasynth.training.data import read_pairs
from terrasynth.training.data.pictures import load_splits
from terrasynth.training.errors import InputError
from tests.synthesis.exports import run_rows, write_run
from tests.training.data.builders import FORMATS
from tests.training.data.mutations import mutate

COUNT = int(os.environ.get("TERRASYNTH_FUZZ", "60"))
FIRST = int(os.environ.get("TERRASYNTH_FUZZ_FIRST", "0"))
PARTS = 4
SECRET = 77
EXPORTS = ("imagefolder", "coco", "karpathy", "webdataset", "llava", "parquet")


@pytest.fixture(scope="module")
def templates(tmp_path_factory):
    """One data set of each format: its folder, and what is named as data, relative to it."""
    root = tmp_path_factory.mktemp("templates")
    built = {name: build(root / name) for name, build in FORMATS.items()}
    return {name: (root / name, place.relative_to(root / name)) for name, place in built.items()}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("run") / "run", run_rows(1, ("forest",)))


def _outside(work: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted((work / "private").iterdir())}


def _has_secret(folder: Path) -> bool:
    """Whether an exported image is the one that lies outside of the data."""
    for path in folder.rglob("real-*.*"):
        if path.suffix == ".png":
            with Image.open(path) as picture:
                if (np.asarray(picture) == SECRET).all():
                    return True
    return False


def _command(number: int, run: Path, data: Path, out: Path) -> tuple[str, ...]:
    if number % 3 == 0:
        return ("eval", "features", str(data), "--size", "32", "--upright", "--out", str(out / "f.safetensors"))
    kind = EXPORTS[number % len(EXPORTS)]
    return ("export", str(run), "--merge", str(data), "--format", kind, "--out", str(out / "x"))


@pytest.mark.parametrize("part", range(PARTS))
def test_any_mutation_ends_well(templates, run, tmp_path, capfd, part):
    secret = tmp_path / "private" / "secret.png"
    secret.parent.mkdir()
    Image.fromarray(np.full((40, 40, 3), SECRET, np.uint8)).save(secret)
    (secret.parent / "pairs.jsonl").write_text(json.dumps({"file": "secret.png", "captions": ["private"]}))
    outside = _outside(tmp_path)
    codes: dict[object, int] = {}
    for number in range(FIRST + part, FIRST + COUNT, PARTS):
        rng = random.Random(number)
        name = rng.choice(sorted(templates))
        template, place = templates[name]
        data, out = tmp_path / "data" / name, tmp_path / "out"
        for folder in (data.parent, out):
            shutil.rmtree(folder, ignore_errors=True)
        out.mkdir()
        shutil.copytree(template, data, symlinks=True)
        done = mutate(data, secret, rng)
        command = _command(number, run, data / place, out)
        what = f"{number}: {name}: {done}: {' '.join(command[:2])}"
        with pytest.raises(SystemExit) as ended:
            main(command)
        printed = capfd.readouterr()
        code = ended.value.code
        assert code in (0, 1, 2), what
        assert "Traceback" not in printed.err + printed.out, what
        lines = printed.err.splitlines()
        assert all(line.startswith(("note: ", "left out ", "terrasynth: error: ")) or "left out, " in line
                   for line in lines), f"{what}: {printed.err}"
        assert sum(line.startswith("terrasynth: error: ") for line in lines) == (code != 0), f"{what}: {printed.err}"
        assert "\x1b" not in printed.err, what
        left = sorted(path.name for path in out.rglob("*"))
        assert code == 0 or set(left) <= {"x", ".lock"}, f"{what}: {left} after {printed.err}"
        assert not list(out.rglob("*.tmp")), what
        assert not _has_secret(out), what
        assert _outside(tmp_path) == outside, what
        assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "out", "private"], what
        codes[code] = codes.get(code, 0) + 1
        if os.environ.get("TERRASYNTH_FUZZ_LOG"):
            with open(os.environ["TERRASYNTH_FUZZ_LOG"], "a") as log:
                log.write(f"{code} {what} :: {printed.err.splitlines()[-1:]}\n")
        _train(data / place, what)
        capfd.readouterr()
    print(f"exit codes of part {part}: {codes}", file=sys.stderr)
    assert codes[0] > 0
    assert codes[2] > 0


def _train(data: Path, what: str) -> None:
    """What a training does with the data: it is read, or refused in one line."""
    refused = None
    try:
        splits = load_splits(read_pairs(data), 16)
    except InputError as error:
        refused = str(error)
    assert refused is None or (refused and "\n" not in refused), f"{what}: {refused}"
    assert refused or all(len(split) for split in splits.values()), what
