import json

import pytest
from click.testing import CliRunner
from PIL import Image

from terrasynth.synthesis.cli.protocols import protocol
from tests.synthesis.conftest import CLASSES
from tests.tiny import tiny_pictures

SIDE = 40


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    rows = [(label, split) for label in CLASSES for split in ("train", "train", "val", "val", "test", "test")]
    with (folder / "pairs.jsonl").open("w") as stream:
        for number, ((label, split), picture) in enumerate(zip(rows, tiny_pictures(len(rows), SIDE), strict=True)):
            Image.fromarray(picture).save(folder / f"{number:02d}.png")
            row = {"file": f"{number:02d}.png", "class": label, "split": split, "captions": [f"{label} {number}"]}
            stream.write(json.dumps(row) + "\n")
    return folder


@pytest.mark.parametrize("name", ["mhn", "strict"])
def test_a_protocol_prints_what_it_writes(models, data, tmp_path, name):
    arguments = [
        name, models.generator, "--data", data, "--encoder", models.other_encoder, "--classifier", models.classifier,
        "--set", "steps=2", "--device", "cpu", "--steps", "1", "--out", tmp_path,
        *(["--per-text", "1"] if name == "mhn" else []),
    ]
    first, second = (
        CliRunner().invoke(protocol, list(map(str, arguments)), catch_exceptions=False) for _ in range(2)
    )
    assert first.exit_code == 0
    assert first.stdout == second.stdout
    found = json.loads((tmp_path / f"{name}.json").read_text())
    assert len(first.stdout.splitlines()) == len(found["rows"]) + 1
    assert found["settings"]["generator"]["steps"] == 2
    assert len(found["settings"]["drawn"]["identity"]) == 16
    learned = found["figures"]["zero_shot"] if name == "mhn" else found["figures"]["accuracy_score"]["generated"]
    assert (learned["accuracy"]["n"], learned["n_train"] + learned["n_val"], learned["steps"]) == (6, 6, 1)
    page = (tmp_path / f"{name}.md").read_text()
    assert all(line in page for line in (*found["follows"], *found["differs"]))


def test_settings_of_a_finished_run_cannot_be_changed(data, tmp_path):
    (tmp_path / "run" / "data").mkdir(parents=True)
    done = CliRunner().invoke(
        protocol,
        ["strict", str(tmp_path / "run"), "--data", str(data), "--set", "steps=2", "--out", str(tmp_path / "out")],
    )
    assert done.exit_code == 2
    assert "--set changes a generator, and a run is finished" in done.output
