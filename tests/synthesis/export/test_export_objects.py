"""The columns `objects` and `mask`, as `datasets` gives them, against the labels of each row's layout."""

import json
import re

import datasets
import numpy as np
import pytest

from terrasynth.prompts.layouts.catalog import load_catalog
from terrasynth.prompts.layouts.palettes import palettes
from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.core.images import decode
from terrasynth.synthesis.export.real import RealSet
from terrasynth.synthesis.verify.verifying import verify
from terrasynth.training.data import read_pairs
from tests.synthesis.exports import SIDE, exported, write_real, write_run

SPLITS = {"train": 0.5, "validation": 0.5}
KINDS = list(load_catalog().things)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def parquet(folder):
    loaded = datasets.load_dataset(str(folder))
    category = loaded["train"].features["objects"]["category"].feature
    assert category.names == KINDS
    return [row | {"names": category.int2str(row["objects"]["category"])} for part in loaded.values() for row in part]


def parquet_streamed(folder):
    loaded = datasets.load_dataset(str(folder), streaming=True)
    return [row | {"names": [KINDS[each] for each in row["objects"]["category"]]}
            for part in loaded.values() for row in part]


def imagefolder(folder):
    loaded = datasets.load_dataset("imagefolder", data_dir=str(folder))
    return [row | {"names": row["objects"]["category"]} for part in loaded.values() for row in part]


def imagefolder_by_card(folder):
    loaded = datasets.load_dataset(str(folder), streaming=True)
    return [row | {"names": row["objects"]["category"]} for part in loaded.values() for row in part]


@pytest.mark.parametrize(("name", "read"), [
    ("parquet", parquet), ("parquet", parquet_streamed), ("imagefolder", imagefolder),
    ("imagefolder", imagefolder_by_card)])
def test_datasets_gives_the_labels(placed, placed_rows, labels, tmp_path, name, read):
    exported(placed, tmp_path / "out", name, SPLITS)
    assert list(verify(tmp_path / "out")) == []
    found = {row["id"]: row for row in read(tmp_path / "out")}
    assert set(found) == set(labels)
    colors = np.array(list(palettes()["all"].values()))
    for row in placed_rows:
        own, read_row = labels[row["id"]], found[row["id"]]
        told = read_row["objects"]
        assert {len(values) for values in told.values()} == {len(own.instances)}
        assert read_row["names"] == [one.kind for one in own.instances]
        for place, one in enumerate(own.instances):
            x, y, width, height = told["bbox"][place]
            assert (x, y, x + width, y + height) == one.box
            assert (told["id"][place], told["area"][place], told["color"][place]) == (one.number, one.pixels, one.color)
            assert np.array(told["corners"][place]).reshape(4, 2).tolist() == [list(point) for point in one.corners]
        assert (np.asarray(read_row["mask"]) == own.semantic).all()
        assert (np.asarray(read_row["mask"].convert("RGB")) == colors[own.semantic]).all()
        assert (np.asarray(read_row["image"]) == decode(row["image"]["bytes"])).all()
    readme = (tmp_path / "out" / "README.md").read_text()
    classes = re.search(r"a pixel's value, from 0, is one of: (.*?)\. Labels are those of the layout", readme)[1]
    assert classes.split(", ") == list(load_catalog().classes)


def test_processors_of_transformers_take_them(placed, labels, tmp_path):
    from transformers import DetrImageProcessorPil, MaskFormerImageProcessorPil, SegformerImageProcessorPil

    exported(placed, tmp_path / "out", "parquet", None)
    for row in datasets.load_dataset(str(tmp_path / "out"), split="train"):
        told, own = row["objects"], labels[row["id"]]
        things = [{"bbox": box, "category_id": kind, "area": area, "iscrowd": 0}
                  for box, kind, area in zip(told["bbox"], told["category"], told["area"], strict=True)]
        found, = DetrImageProcessorPil(do_resize=False, do_pad=False)(
            images=row["image"], annotations={"image_id": 0, "annotations": things}, return_tensors="np")["labels"]
        x, y, width, height = (np.asarray(found["boxes"]) * SIDE).reshape(-1, 4).T
        boxes = np.stack([x - width / 2, y - height / 2, x + width / 2, y + height / 2], axis=1)
        assert boxes == pytest.approx(np.array([one.box for one in own.instances]).reshape(-1, 4), abs=1e-4)
        assert list(found["class_labels"]) == told["category"]
        given = {"images": row["image"], "segmentation_maps": row["mask"], "return_tensors": "np"}
        assert (SegformerImageProcessorPil(do_resize=False)(**given)["labels"][0] == own.semantic).all()
        masks = MaskFormerImageProcessorPil(do_resize=False)(**given)
        assert set(masks["class_labels"][0].tolist()) == set(np.unique(own.semantic).tolist())
        for value, mask in zip(masks["class_labels"][0], masks["mask_labels"][0], strict=True):
            assert (mask[:SIDE, :SIDE].astype(bool) == (own.semantic == int(value))).all()


@pytest.mark.parametrize("name", ["parquet", "imagefolder"])
def test_training_reads_the_images_and_not_the_masks(placed, placed_rows, tmp_path, name):
    exported(placed, tmp_path / "out", name, None)
    by_text = {row["text"]: row for row in placed_rows}
    found = read_pairs(tmp_path / "out").pairs
    assert len(found) == len(placed_rows)
    for pair in found:
        image = by_text[pair.captions[0]]["image"]["bytes"]
        assert (np.asarray(pair.open().convert("RGB")) == decode(image)).all()


@pytest.mark.parametrize("name", ["parquet", "imagefolder"])
def test_real_rows_have_no_labels(placed, placed_rows, tmp_path, name):
    real = write_real(tmp_path / "real", [("airport", split, 7 + place, ["A real airport."])
                                          for place, split in enumerate(("train", "val"))])
    exported(placed, tmp_path / "out", name, None, merge=[RealSet.of(real, read_pairs(real).pairs)])
    loaded = datasets.load_dataset(str(tmp_path / "out"))
    assert {split: len(part) for split, part in loaded.items()} == {"train": 1 + len(placed_rows), "validation": 1}
    readme = (tmp_path / "out" / "README.md").read_text()
    if name == "imagefolder":
        assert not {"objects", "mask"} & set(loaded["train"].features)
        assert "`objects`" not in readme
        return
    assert loaded["validation"][0]["objects"] is loaded["validation"][0]["mask"] is None
    assert [row["objects"] is None for row in loaded["train"]] == [True] + [False] * len(placed_rows)
    assert "Real rows have neither." in readme


@pytest.mark.parametrize("name", ["parquet", "imagefolder"])
def test_a_row_without_things_has_empty_lists(tmp_path, placed_rows, name):
    exported(write_run(tmp_path / "run", placed_rows[:1]), tmp_path / "out", name, None)
    row, = datasets.load_dataset(str(tmp_path / "out"), split="train")
    assert row["objects"] == {name: [] for name in ("id", "bbox", "category", "area", "corners", "color")}


def test_types_of_objects_are_those_of_every_split(tmp_path, placed_rows):
    """As `datasets` asks, which takes them from what the lines of each split hold."""
    run = write_run(tmp_path / "run", placed_rows[:2])
    shares = {"train": 0.5, "validation": 0.5}
    exported(run, tmp_path / "shards", "parquet", shares)
    assert {split: len(part) for split, part in datasets.load_dataset(str(tmp_path / "shards")).items()} == {
        "train": 1, "validation": 1}
    with pytest.raises(InputError, match=r"so that readers of metadata\.jsonl would see other types there"):
        exported(run, tmp_path / "folder", "imagefolder", shares)


@pytest.mark.parametrize("name", ["webdataset", "geotiff"])
def test_other_formats_keep_the_layout_alone(placed, placed_rows, tmp_path, name):
    exported(placed, tmp_path / "out", name, None)
    loaded = datasets.load_dataset(str(tmp_path / "out"), split="train", streaming=True)
    row = next(iter(loaded))
    row = row.get("json", row)
    assert not {"objects", "mask", "layout"} & set(row)
    assert json.loads(row["provenance"])["layout"] == placed_rows[0]["layout"]


def test_the_first_file_name_is_that_of_the_image(placed, tmp_path):
    """`datasets` gives the value of `file_name` to the first column of images, whichever that is."""
    exported(placed, tmp_path / "out", "imagefolder", None)
    for line in (tmp_path / "out" / "train" / "metadata.jsonl").read_text().splitlines():
        names = [name for name in json.loads(line) if name.endswith("file_name")]
        assert names == ["file_name", "mask_file_name"]
