"""Synthetic rows beside real ones: the real test split is guarded, and each row says where it comes from."""

import json
from collections import Counter

import datasets
import numpy as np
import pytest
from PIL import Image

from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.core.images import decode, encode
from terrasynth.synthesis.export.merging import parse_ratio
from terrasynth.synthesis.export.real import RealSet
from terrasynth.training.data import read_pairs
from tests.synthesis.exports import exported, picture, run_rows, write_real, write_run
from tests.synthesis.helpers import fingerprint

NEAR, SAID = "near-copy of the real test split", "caption of the real test split"
TEST_SEED, TRAIN_SEED = 50_000, 60_000


def entries(label, train=6, val=1, test=3):
    """Real pairs of a class; their pictures have seeds that no synthetic one has."""
    place = 100 * ("beach", "forest", "river", "lake").index(label)
    return [
        (label, split, start + place + number, [f"real {split} {label} {number}", "One, \"two\"\nthree."])
        for split, start, count in (("train", TRAIN_SEED, train), ("val", 70_000, val), ("test", TEST_SEED, test))
        for number in range(count)
    ]


@pytest.fixture
def real(tmp_path):
    return write_real(tmp_path / "real", [*entries("beach"), *entries("forest"), *entries("lake")])


def merged(run, folder, *sources, name="imagefolder", **settings):
    sets = [RealSet.of(source, read_pairs(source).pairs) for source in sources]
    return exported(run, folder, name, None, merge=sets, **settings)


def listed(folder):
    return {row["id"]: row for row in map(json.loads, (folder / "left-out.jsonl").read_text().splitlines())}


def lines(folder, split):
    return [json.loads(line) for line in (folder / split / "metadata.jsonl").read_text().split("\n")[:-1]]


def resized(seed):
    """A real picture as a generator that copies it would draw it: at the size of the run."""
    return np.asarray(Image.fromarray(picture(seed, 48)).resize((32, 32), Image.Resampling.BICUBIC))


def test_real_rows_keep_their_split_and_synthetic_ones_join_training(tmp_path, real):
    rows = run_rows(4)
    done = merged(write_run(tmp_path / "run", rows), tmp_path / "out", real)
    assert done.rows == {"train": 18 + 12, "validation": 3, "test": 9}
    sources = {split: Counter(row["source"] for row in lines(tmp_path / "out", split)) for split in done.rows}
    assert sources == {"train": {"real": 18, "synthetic": 12}, "validation": {"real": 3}, "test": {"real": 9}}
    assert all(row["synthetic"] == (row["source"] == "synthetic") for split in done.rows
               for row in lines(tmp_path / "out", split))


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("name", ["parquet", "imagefolder"])
def test_pictures_and_captions_of_both_come_back(tmp_path, real, monkeypatch, name, streaming):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    rows = {row["id"]: row for row in run_rows(4)}
    merged(write_run(tmp_path / "run", list(rows.values())), tmp_path / "out", real, name=name)
    pairs = {pair.captions[0]: pair for pair in read_pairs(real).pairs}
    loaded = datasets.load_dataset(str(tmp_path / "out"), streaming=streaming)
    found = [row for part in loaded.values() for row in part]
    assert len(found) == len(rows) + len(pairs)
    assert len({row["id"] for row in found}) == len(found)
    for row in found:
        if row["source"] == "synthetic":
            expected, captions = decode(rows[row["id"]]["image"]["bytes"]), rows[row["id"]]["captions"]
        else:
            pair = pairs[row["text"]]
            expected, captions = np.asarray(pair.open()), list(pair.captions)
            assert row["label"] == pair.label
        np.testing.assert_array_equal(np.asarray(row["image"]), expected)
        assert row["captions"] == captions


@pytest.mark.parametrize("name", ["webdataset", "coco", "karpathy", "llava", "geotiff"])
def test_every_format_holds_both(tmp_path, real, name):
    done = merged(write_run(tmp_path / "run", run_rows(4)), tmp_path / "out", real, name=name)
    assert sum(done.rows.values()) == 30 + 12
    if name == "karpathy":
        assert Counter((pair.split, pair.label) for pair in read_pairs(tmp_path / "out").pairs)["train", "lake"] == 6
    if name == "llava":
        bases = Counter(row["basis"] for row in json.loads((tmp_path / "out" / "llava_train.json").read_text()))
        assert bases == {"prompt": 12, "caption": 18}


def test_captions_of_the_test_split_are_refused(tmp_path, real):
    rows = run_rows(4)
    rows[0]["text"] = rows[0]["captions"][0] = "Real TEST beach 0 ."
    for row, split in ((rows[1], "test"), (rows[2], "train")):  # a caption that the text implies, beside it
        text = f"Some trees. Real {split} lake 2!"
        row |= {"text": text, "captions": [text, f"real {split} lake 2"], "scene": "{}"}
    done = merged(write_run(tmp_path / "run", rows), tmp_path / "out", real)
    assert done.left_out == {SAID: 2}
    assert set(listed(tmp_path / "out")) == {rows[0]["id"], rows[1]["id"]}
    assert "'real test lake 2'" in listed(tmp_path / "out")[rows[1]["id"]]["detail"]
    assert rows[2]["id"] in {row["id"] for row in lines(tmp_path / "out", "train")}


def test_near_copies_of_test_pictures_are_refused_and_of_training_pictures_are_not(tmp_path, real):
    rows = run_rows(4)
    copy, train = resized(TEST_SEED + 1), resized(TRAIN_SEED + 2)
    noisy = np.clip(copy.astype(int) + np.random.default_rng(0).integers(-9, 10, copy.shape), 0, 255).astype(np.uint8)
    for row, drawn in zip(rows, (copy, noisy, np.rot90(copy)[:, ::-1], train), strict=False):
        row["image"]["bytes"] = encode(np.ascontiguousarray(drawn), "png")
    done = merged(write_run(tmp_path / "run", rows), tmp_path / "out", real)
    assert done.left_out == {NEAR: 3}
    refused = listed(tmp_path / "out")
    assert set(refused) == {row["id"] for row in rows[:3]}
    assert all("test image images/8.png" in row["detail"] for row in refused.values())
    assert all("threshold" in row["detail"] for row in refused.values())
    assert f"3 {NEAR}" in (tmp_path / "out" / "README.md").read_text()


def test_the_ratio_counts_real_training_rows_of_each_class(tmp_path, real):
    done = merged(write_run(tmp_path / "run", run_rows(10)), tmp_path / "out", real, ratio=0.5)
    counts = Counter((row["label"], row["source"]) for row in lines(tmp_path / "out", "train"))
    assert counts == {("beach", "real"): 6, ("forest", "real"): 6, ("lake", "real"): 6, ("beach", "synthetic"): 3,
                      ("forest", "synthetic"): 3}
    assert done.left_out == {"beyond the ratio": 7 + 7 + 10}
    assert any("lake (0 of 3)" in note for note in done.notes)
    assert not any("beach" in note for note in done.notes)


def test_growth_appends_and_a_repeat_does_nothing(tmp_path, real):
    run = write_run(tmp_path / "run", run_rows(3))
    merged(run, tmp_path / "out", real, name="coco")
    assert not merged(run, tmp_path / "out", real, name="coco").changed
    before = json.loads((tmp_path / "out" / "annotations" / "captions_train.json").read_text())["images"]
    merged(write_run(run, run_rows(6)), tmp_path / "out", real, name="coco")
    after = json.loads((tmp_path / "out" / "annotations" / "captions_train.json").read_text())["images"]
    assert after[: len(before)] == before
    assert len(after) == 18 + 18
    merged(run, tmp_path / "fresh", real, name="coco")
    assert fingerprint(tmp_path / "fresh") == fingerprint(tmp_path / "out")


def test_changed_real_data_are_taken_up(tmp_path, real):
    run = write_run(tmp_path / "run", run_rows(2))
    merged(run, tmp_path / "out", real)
    content = (real / "pairs.jsonl").read_text()
    (real / "pairs.jsonl").write_text(content.replace("real train lake 0", "another caption"))
    assert merged(run, tmp_path / "out", real).changed
    assert "another caption" in {row["text"] for row in lines(tmp_path / "out", "train")}


def test_several_sets_and_names_that_occur_twice(tmp_path, real):
    other = write_real(tmp_path / "other", entries("river", train=2, val=0, test=1))
    done = merged(write_run(tmp_path / "run", run_rows(2)), tmp_path / "out", real, other)
    assert done.rows == {"train": 18 + 2 + 6, "validation": 3, "test": 10}
    ids = [row["id"] for split in done.rows for row in lines(tmp_path / "out", split)]
    assert len(set(ids)) == len(ids)


def test_without_a_test_split_there_is_nothing_to_guard(tmp_path):
    real = write_real(tmp_path / "real", entries("beach", test=0))
    done = merged(write_run(tmp_path / "run", run_rows(2)), tmp_path / "out", real)
    assert any("no test split" in note for note in done.notes)
    assert done.left_out == {}


def test_what_does_not_go_together_is_named(tmp_path, real):
    run = write_run(tmp_path / "run", run_rows(1))
    sets = [RealSet.of(real, read_pairs(real).pairs)]
    with pytest.raises(InputError, match="--splits and --merge"):
        exported(run, tmp_path / "out", "coco", {"train": 1.0}, merge=sets)
    with pytest.raises(InputError, match="there is no --merge"):
        exported(run, tmp_path / "out", "coco", None, ratio=1.0)
    with pytest.raises(InputError, match="no training split"):
        merged(run, tmp_path / "out", write_real(tmp_path / "tests", entries("beach", train=0)))
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".lock"]  # another try may be made otherwise
    (real / "images" / "0.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"real image 'images/0\.png' cannot be read"):
        merged(run, tmp_path / "out", real)


def test_the_licence_is_not_taken_over_from_the_run(tmp_path, real):
    from huggingface_hub import DatasetCard

    merged(write_run(tmp_path / "run", run_rows(1)), tmp_path / "out", real)
    card = DatasetCard.load(tmp_path / "out" / "README.md")
    assert (card.data.license, card.data.license_name) == ("other", "not-stated-yet")
    assert "real" in card.text.partition("## Licence")[2]


@pytest.mark.parametrize(("text", "ratio"), [(None, None), ("synthetic=1.0", 1.0), ("0.5", 0.5), ("synthetic=0", 0.0)])
def test_ratios_are_read(text, ratio):
    assert parse_ratio(text) == ratio


@pytest.mark.parametrize("text", ["real=1", "synthetic=a", "-1", "nan", "inf", "synthetic="])
def test_wrong_ratios_are_named(text):
    with pytest.raises(InputError, match="write synthetic=1"):
        parse_ratio(text)
