import csv
import json

import pytest
from PIL import Image

from terrasynth.training.data import read_pairs
from terrasynth.training.data.pictures import load_splits
from terrasynth.training.errors import InputError
from tests.tiny import tiny_pictures


def _pictures(folder, names, size=40):
    folder.mkdir(parents=True, exist_ok=True)
    for name, pixels in zip(names, tiny_pictures(len(names), size=size), strict=True):
        Image.fromarray(pixels).save(folder / name)


def test_pairs_jsonl(real):
    data = read_pairs(real)
    assert len(data.pairs) == 72
    assert data.labels == ("beach", "forest", "river")
    assert [len(data.split(s)) for s in ("train", "val", "test")] == [48, 12, 12]
    assert data.pairs[0].captions == ("A beach with sand .", "Some sand number 0 .")
    assert data.pairs[0].open().size == (48, 48)


def test_karpathy_json_with_classes_in_the_file_names(tmp_path):
    names = ["airport_1.png", "airport_2.png", "bare_land_1.png"]
    _pictures(tmp_path / "images", names)
    images = [
        {"filename": name, "split": split, "sentences": [{"raw": "one ."}, {"tokens": ["two", "words"]}]}
        for name, split in zip(names, ("train", "val", "restval"), strict=True)
    ]
    (tmp_path / "dataset_rsicd.json").write_text(json.dumps({"images": images, "dataset": "rsicd"}))
    data = read_pairs(tmp_path)
    found = [(p.label, p.split) for p in data.pairs]
    assert found == [("airport", "train"), ("airport", "val"), ("bare_land", "train")]
    assert data.pairs[0].captions == ("one .", "two words")
    assert read_pairs(tmp_path / "dataset_rsicd.json").pairs == data.pairs


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_imagefolder(tmp_path, kind):
    for split in ("train", "validation"):
        _pictures(tmp_path / split, ["a.png", "b.png"])
        rows = [{"file_name": n, "text": f"picture {n}", "label": "x"} for n in ("a.png", "b.png")]
        if kind == "jsonl":
            (tmp_path / split / "metadata.jsonl").write_text("\n".join(json.dumps(r) for r in rows))
        else:
            with (tmp_path / split / "metadata.csv").open("w", newline="") as stream:
                writer = csv.DictWriter(stream, rows[0])
                writer.writeheader()
                writer.writerows(rows)
    data = read_pairs(tmp_path)
    assert sorted((p.name, p.split) for p in data.pairs) == [
        ("train/a.png", "train"), ("train/b.png", "train"), ("validation/a.png", "val"), ("validation/b.png", "val")
    ]
    assert data.pairs[0].captions == ("picture a.png",)


def test_a_datasets_folder_with_named_columns(tmp_path):
    from datasets import Dataset, DatasetDict, Features, Value
    from datasets import Image as ImageFeature

    features = Features({"pic": ImageFeature(), "says": Value("string"), "kind": Value("string")})
    rows = {"pic": [Image.fromarray(p) for p in tiny_pictures(3)], "says": ["a", "b", "c"], "kind": ["x", "y", "x"]}
    part = Dataset.from_dict(rows, features=features)
    DatasetDict({"train": part, "test": part}).save_to_disk(tmp_path / "hf")
    data = read_pairs(tmp_path / "hf", {"image": "pic", "captions": "says", "label": "kind"})
    assert [(p.label, p.split, p.captions) for p in data.pairs[:2]] == [("x", "train", ("a",)), ("y", "train", ("b",))]
    assert data.pairs[0].open().mode == "RGB"
    with pytest.raises(InputError, match=r"column 'picture' for image is not in .*it has pic, says, kind"):
        read_pairs(tmp_path / "hf", {"image": "picture"})


def test_broken_pictures_missing_files_and_empty_captions_are_named_and_counted(tmp_path):
    _pictures(tmp_path, ["good.png", "other.png", "empty.png", "blank.png"])
    (tmp_path / "broken.png").write_bytes(b"\x89PNG no picture")
    rows = [
        {"file": "good.png", "split": "train", "captions": ["fine", "  "]},
        {"file": "other.png", "split": "val", "captions": ["fine"]},
        {"file": "empty.png", "split": "train", "captions": []},
        {"file": "blank.png", "split": "train", "captions": [" "]},
        {"file": "broken.png", "split": "train", "captions": ["fine"]},
        {"file": "missing.png", "split": "train", "captions": ["fine"]},
    ]
    (tmp_path / "pairs.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    data = read_pairs(tmp_path)
    splits = load_splits(data, 32)
    assert len(splits["train"]) == 1
    reasons = {s.name: s.reason for s in data.skipped}
    assert set(reasons) == {"good.png", "empty.png", "blank.png", "broken.png", "missing.png"}
    assert reasons["good.png"] == "1 of 2 captions empty"
    assert reasons["missing.png"] == "the image file does not exist"
    assert reasons["broken.png"].startswith("unreadable image")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"file": "a.png"\n', r"pairs\.jsonl:1: not JSON"),
        ('[1]\n', r"pairs\.jsonl:1: \[1\] is not a JSON object"),
        ('{"captions": ["a"]}\n', r"pairs\.jsonl:1: the key 'file' is missing"),
        ('{"file": "a.png", "captions": ["a"]}\n', r"no usable image-caption pair; 1 row was left out"),
    ],
)
def test_wrong_rows_are_named_by_line(tmp_path, content, message):
    (tmp_path / "pairs.jsonl").write_text(content)
    with pytest.raises(InputError, match=message):
        read_pairs(tmp_path)


def test_unknown_layouts_say_what_is_needed(tmp_path):
    with pytest.raises(InputError, match=r"has no pairs\.jsonl, dataset\*\.json, metadata\.jsonl, .* what save"):
        read_pairs(tmp_path)
    with pytest.raises(InputError, match="does not exist; give a folder"):
        read_pairs(tmp_path / "nothing")
