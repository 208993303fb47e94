"""A real picture whose file was cut off is one line with its name, whatever command meets it, and no traceback."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.core.identity import Identity
from terrasynth.synthesis.core.images import encode
from terrasynth.synthesis.export.guard import TestGuard
from terrasynth.synthesis.ledger.blocks import Attempt, Blocks
from terrasynth.synthesis.ledger.frozen import Frozen
from terrasynth.synthesis.studies.downstream.pools import real_pool
from terrasynth.training.data import read_pairs
from tests.synthesis.exports import picture, run_rows, write_run

SIDE = 48
CUT = "images/2.jpg"
COMMANDS = {
    "export": lambda run, data, out: ("export", run, "--format", "coco", "--out", out, "--merge", data),
    "downstream": lambda run, data, out: ("eval", "downstream", run, "--data", data, "--out", out),
    "reference": lambda run, data, out: ("eval", "reference", data, "--size", 32, "--encoder", "thumbnail",
                                         "--out", out),
    "features": lambda run, data, out: ("eval", "features", data, "--split", "test", "--out", f"{out}.safetensors"),
    "memorisation": lambda run, data, out: ("eval", "memorisation", run, "--train", data, "--held-out", data,
                                            "--by", "hash", "--out", out),
}


def as_jpeg(seed):
    buffer = io.BytesIO()
    Image.fromarray(picture(seed, SIDE)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


@pytest.fixture
def data(tmp_path):
    """Real pairs of all splits; `cut` leaves a share of the file of the test picture."""

    def cut(share):
        folder = tmp_path / "real"
        (folder / "images").mkdir(parents=True)
        with (folder / "pairs.jsonl").open("w") as stream:
            for number, split in enumerate(("train", "val", "test", "train", "test")):
                content = as_jpeg(90_000 + number)
                name = f"images/{number}.jpg"
                (folder / name).write_bytes(content[: int(share * len(content))] if name == CUT else content)
                stream.write(json.dumps({"file": name, "class": "beach", "split": split, "captions": ["sand"]}) + "\n")
        return folder

    return cut


@pytest.fixture
def run(tmp_path):
    """A run with one row of data and one block."""
    folder = write_run(tmp_path / "run", run_rows(1, ("beach",)))
    identity = Identity.of(0, {"model": "none"}, {"expander": "test"})
    Frozen(identity, 1, "png").save(folder)
    name, seed = identity.attempt("beach", 0)
    attempt = Attempt(name, 0, "beach", encode(picture(0), "png"), "sand", ("sand",), seed, "test", "{}")
    Blocks(folder, 1, "png").write("beach", 0, [attempt], None, None)
    return folder


@pytest.mark.parametrize("name", COMMANDS)
def test_a_picture_that_was_cut_off_is_one_line(terrasynth, data, run, tmp_path, name):
    code, _, lines = terrasynth(*COMMANDS[name](run, data(0.5), tmp_path / "out"))
    assert code == 2
    assert lines[-1].startswith(f"terrasynth: error: real image '{CUT}' cannot be read (")
    assert lines[-1].endswith("; repair it or take it out of the data")


@pytest.mark.parametrize("share", [0, 0.02, 0.3, 0.9])
def test_wherever_the_file_ends(data, share):
    pairs = read_pairs(data(share)).pairs
    message = rf"real image '{CUT}' cannot be read \("
    with pytest.raises(InputError, match=message):
        real_pool(pairs, (32, 32), "test")
    with pytest.raises(InputError, match=message):
        TestGuard(pairs, (32, 32))


def test_what_is_whole_is_read_as_before(data):
    pairs = read_pairs(data(1)).pairs
    expected = [np.asarray(pair.open().resize((32, 24), Image.Resampling.BICUBIC)) for pair in pairs]
    assert np.array_equal(real_pool(pairs, (32, 24), "test").images, expected)
