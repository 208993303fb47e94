"""Real data as the commands meet it: training, evaluation and export."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from terrasynth.training.data.pictures import PictureSet
from terrasynth.training.errors import InputError
from terrasynth.training.running.drawing import judge_captions, known_classes
from tests.synthesis.exports import run_rows, write_run
from tests.tiny import tiny_scene
from tests.training.data.builders import imagefolder, items, karpathy, pairs_jsonl, write_lines
from tests.training.data.mutations import claimed

SMALL = [
    "load_size=40", "model.size=32", "model.embedding_size=8", "model.hidden_sizes=[8,16,16,16]",
    "model.depths=[1,1,1,1]", "loop.batch_size=4", "loop.warmup_steps=1", "loop.validate_every=2",
    "loop.checkpoint_every=2", "loop.max_steps=2",
]


def train(out, *data):
    given = [part for place in data for part in ("--data", place)]
    return ("train", "scene-ucm", *given, "--out", out, *(part for one in SMALL for part in ("--set", one)))


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "run", run_rows(1, ("forest",)))


def real_pixels(folder):
    """The real images of an exported imagefolder."""
    return [np.asarray(Image.open(place.parent / row["file_name"]))
            for place in sorted(folder.glob("*/metadata.jsonl"))
            for row in map(json.loads, place.read_text().splitlines()) if row["source"] == "real"]


def test_a_mosaic_is_left_out_of_a_training_by_name(tmp_path, terrasynth):
    folder = pairs_jsonl(tmp_path / "d")
    (folder / "images" / "harbor_1.png").write_bytes(claimed(14_000, 14_000))
    code, _, lines = terrasynth(*train(tmp_path / "m", folder))
    assert code == 0, lines
    assert "left out images/harbor_1.png: unreadable image: more than 178,956,970 pixels; cut it" in "\n".join(lines)
    record = json.loads((tmp_path / "m" / "training.json").read_text())
    assert record["pictures"] == {"train": 5, "val": 2, "test": 2}
    assert record["data"] == ["d"]


def test_a_training_of_two_data_sets(tmp_path, terrasynth):
    one, other = pairs_jsonl(tmp_path / "ucm"), imagefolder(tmp_path / "rsicd")
    for path in other.rglob("metadata.jsonl"):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        write_lines(path, [row | {"label": row["label"].replace("harbor", "port")} for row in rows])
    code, _, lines = terrasynth(*train(tmp_path / "m", one, other))
    assert code == 0, lines
    notes = [line for line in lines if "note: " in line]
    assert notes == ["note: classes of one meaning go under one name: port -> harbor"]
    record = json.loads((tmp_path / "m" / "training.json").read_text())
    assert record["pictures"] == {"train": 12, "val": 4, "test": 4}
    assert record["data"] == ["ucm", "rsicd"]
    assert set(json.loads((tmp_path / "m" / "config.json").read_text())["id2label"].values()) == {"forest", "harbor"}


@pytest.mark.parametrize("preset", ["scene-ucm", "tiny", "release"])
def test_data_without_classes_are_refused_where_classes_are_learned(tmp_path, terrasynth, preset):
    folder = karpathy(tmp_path / "d", "dataset.json", "imgs", "{place}.png")
    code, _, lines = terrasynth("train", preset, "--data", folder, "--out", tmp_path / "m")
    assert code == 2
    assert f"preset '{preset}' learns scene classes, and the data names no classes" in lines[-1]
    assert not (tmp_path / "m").exists()


def test_rows_without_a_class_are_left_out_of_a_classifier(tmp_path, terrasynth):
    folder = pairs_jsonl(tmp_path / "d")
    rows = [json.loads(line) for line in (folder / "pairs.jsonl").read_text().splitlines()]
    rows[0]["class"] = None
    write_lines(folder / "pairs.jsonl", rows)
    code, _, lines = terrasynth(*train(tmp_path / "m", folder))
    assert code == 0, lines
    assert "left out images/harbor_0.png: names no class" in "\n".join(lines)
    assert json.loads((tmp_path / "m" / "training.json").read_text())["pictures"]["train"] == 5


def test_drawn_pictures_are_judged_by_the_names_of_classes(tmp_path):
    """The order of a classifier's classes is its own, and it may know fewer than the data."""
    from transformers import AutoModelForImageClassification

    classifier = AutoModelForImageClassification.from_pretrained(tiny_scene(tmp_path / "scene", ["river", "beach"]))
    names = ("beach", "forest", "river")
    pixels = torch.zeros(4, 3, 32, 32, dtype=torch.uint8)
    data = PictureSet(pixels, torch.tensor([0, 1, 2, -1]), (("a",), ("b",), ("c",), ("d",)), names)
    assert known_classes(data, classifier).tolist() == [0, 2]
    asked = []

    def draw(captions):
        asked.extend(captions)
        return torch.rand(len(captions), 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1

    drawn, figures = judge_captions(draw, data, 9, classifier, torch.device("cpu"))
    assert asked == ["a", "c"]
    logits = classifier(drawn).logits
    expected = torch.nn.functional.cross_entropy(logits, torch.tensor([1, 0])).item()
    assert figures["nll"] == pytest.approx(expected, abs=1e-5)
    assert figures["n"] == 2
    unknown = PictureSet(pixels[:1], torch.tensor([1]), (("b",),), names)
    with pytest.raises(InputError, match="knows no class of the val split"):
        known_classes(unknown, classifier)


def test_an_export_shows_images_as_people_saw_them(tmp_path, run, terrasynth):
    folder = pairs_jsonl(tmp_path / "d")
    turned = Image.Exif()
    turned[0x112] = 6
    for path in (folder / "images").iterdir():
        Image.new("RGB", (64, 32), (255, 0, 0)).save(path, exif=turned)
    hidden = np.full((32, 64, 4), (255, 0, 0, 0), np.uint8)
    Image.fromarray(hidden).save(folder / "images" / "harbor_4.png")
    code, _, lines = terrasynth("export", run, "--merge", folder, "--format", "imagefolder", "--out", tmp_path / "x")
    assert code == 0, lines
    shapes = {pixels.shape: pixels.max() for pixels in real_pixels(tmp_path / "x")}
    assert shapes == {(64, 32, 3): 255, (32, 64, 3): 0}


@pytest.mark.parametrize("split", ["test", "train"])
def test_an_export_is_not_begun_with_an_image_that_cannot_be_shown(tmp_path, run, terrasynth, split):
    folder = pairs_jsonl(tmp_path / "d")
    rows = [json.loads(line) for line in (folder / "pairs.jsonl").read_text().splitlines()]
    if split == "train":  # without a test split nothing is compared
        rows = [row for row in rows if row["split"] != "test"]
        write_lines(folder / "pairs.jsonl", rows)
    last = [row for row in rows if row["split"] == split][-1]["file"]
    Image.fromarray(np.full((9, 9), 3000, np.uint16)).save(folder / last)
    code, _, lines = terrasynth("export", run, "--merge", folder, "--format", "imagefolder", "--out", tmp_path / "x")
    assert code == 2
    assert f"real image '{last}' cannot be read (uint16 samples, and which values are black and" in lines[-1]
    assert sorted(path.name for path in (tmp_path / "x").rglob("*")) == [".lock"]


def test_features_are_those_of_a_split(tmp_path, terrasynth):
    folder = imagefolder(tmp_path / "d", at_root=True)
    code, out, lines = terrasynth("eval", "features", folder, "--split", "train", "--size", "32", "--upright", "--out",
                               tmp_path / "f.safetensors")
    assert code == 0, lines
    assert "6 features of 6 images" in out


def test_one_line_for_what_the_hub_does_not_have(tmp_path, terrasynth):
    for arguments in (("train", "tiny", "--data", "no/such-data", "--out", tmp_path / "m"),
                      ("eval", "features", "no/such-data", "--size", "32", "--out", tmp_path / "f.safetensors")):
        code, _, lines = terrasynth(*arguments)
        assert code == 2
        assert lines[0] == "reading no/such-data from the Hugging Face Hub"
        assert len(lines) == 2
    assert list(tmp_path.iterdir()) == []


def test_real_rows_have_the_classes_that_the_data_names(tmp_path, run, terrasynth):
    folder = pairs_jsonl(tmp_path / "d")
    rows = [json.loads(line) for line in (folder / "pairs.jsonl").read_text().splitlines()]
    write_lines(folder / "pairs.jsonl", [row | {"class": None} for row in rows])
    code, _, lines = terrasynth("export", run, "--merge", folder, "--format", "imagefolder", "--out", tmp_path / "x")
    assert code == 0, lines
    labels = {row["label"] for place in (tmp_path / "x").glob("*/metadata.jsonl")
              for row in map(json.loads, place.read_text().splitlines()) if row["source"] == "real"}
    assert labels == {""}
    assert len(real_pixels(tmp_path / "x")) == len(items())
