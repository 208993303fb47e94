"""Every format gives the same images, captions, classes and splits."""

import json
import tarfile

import numpy as np
import pytest

from terrasynth.synthesis.core.errors import InputError as RunInputError
from terrasynth.training.data import read_pairs
from terrasynth.training.errors import InputError
from tests.synthesis.exports import exported, run_rows, write_run
from tests.training.data.builders import (
    FORMATS,
    HF,
    class_folders,
    imagefolder,
    items,
    karpathy,
    nwpu,
    pairs_jsonl,
    parquet,
    save,
    webdataset,
    write_lines,
)

EXPECTED = {(item.label, item.split, item.pixels.tobytes()) for item in items()}


def seen(data):
    return {(pair.label, pair.split, np.asarray(pair.open()).tobytes()) for pair in data.pairs}


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_images_classes_and_splits_come_back(tmp_path, name):
    data = read_pairs(FORMATS[name](tmp_path / "d"))
    found = {(label if name != "levir" else "", split, pixels) for label, split, pixels in EXPECTED}
    assert seen(data) == found
    assert len({pair.name for pair in data.pairs}) == len(data.pairs) == 10
    assert data.skipped == []
    assert all(pair.captions[0].startswith("A ") and pair.source == 0 for pair in data.pairs)


def test_nwpu_has_up_to_five_captions_and_its_class_is_its_key(tmp_path):
    first = read_pairs(nwpu(tmp_path / "d")).pairs[0]
    assert first.captions == ("A harbor , number 0 .", "One more harbor .", "A harbor , number 0 .")
    content = json.loads((tmp_path / "d" / "dataset_nwpu.json").read_text())
    content["harbor"][0]["raw_10"] = "the last"
    (tmp_path / "d" / "dataset_nwpu.json").write_text(json.dumps(content))
    assert read_pairs(tmp_path / "d" / "dataset_nwpu.json").pairs[0].captions[-1] == "the last"


def test_change_captions_give_the_later_image_and_the_earlier_one_beside(tmp_path):
    data = read_pairs(FORMATS["levir"](tmp_path / "d"))
    assert any("change between two images" in note for note in data.notes)
    for pair in data.pairs:
        np.testing.assert_array_equal(np.asarray(pair.before()), 255 - np.asarray(pair.open()))
    assert data.labels == ()


def test_class_lists_of_rsicd_name_the_class_of_numbered_images(tmp_path):
    folder = karpathy(tmp_path / "d", "dataset_rsicd.json", "RSICD_images", "{place:05d}.png")
    assert read_pairs(folder).labels == ()
    lists = folder / "txtclasses" / "txtclasses_rsicd"
    lists.mkdir(parents=True)
    for label in ("harbor", "forest"):
        names = [f"{place:05d}.png" for place, item in enumerate(items(), 1) if item.label == label]
        (lists / f"{label}.txt").write_text("\ufeff" + "\r\n".join(names), encoding="utf-8")
    assert seen(read_pairs(folder)) == EXPECTED
    (lists / "lake.txt").write_text("00001.png\n")
    with pytest.raises(InputError, match=r"lake\.txt:1: '00001\.png' is of class 'harbor' by another list"):
        read_pairs(folder)


@pytest.mark.parametrize("name", ["parquet", "imagefolder", "webdataset", "karpathy", "geotiff"])
def test_an_export_of_ours_is_data(tmp_path, name):
    rows = run_rows(4)
    folder = tmp_path / "out"
    exported(write_run(tmp_path / "run", rows), folder, name)
    data = read_pairs(folder)
    assert {pair.captions for pair in data.pairs} == {tuple(text.strip() for text in row["captions"]) for row in rows}
    assert sorted(pair.label for pair in data.pairs) == sorted(row["label"] for row in rows)


def test_a_run_is_data(tmp_path):
    rows = run_rows(3)
    data = read_pairs(write_run(tmp_path / "run", rows))
    assert [pair.captions[0] for pair in data.pairs] == [row["captions"][0].strip() for row in rows]


@pytest.mark.parametrize("label", ["Annual/Crop", "../../up", "a|b", "3", "no\\slash", "x" * 300, "COCO", "harbor", ""])
def test_any_class_survives_a_karpathy_export(tmp_path, label):
    real = pairs_jsonl(tmp_path / "real")
    lines = [json.loads(line) | {"class": label} for line in (real / "pairs.jsonl").read_text().splitlines()]
    write_lines(real / "pairs.jsonl", lines)
    from terrasynth.synthesis.export.real import RealSet

    try:
        exported(write_run(tmp_path / "run", run_rows(1)), tmp_path / "out", "karpathy", None,
                 merge=[RealSet.of(real, read_pairs(real).pairs)])
    except RunInputError as error:
        raise AssertionError(str(error)) from error
    data = read_pairs(tmp_path / "out")
    assert {pair.label for pair in data.pairs if pair.name.partition("real-")[1]} == {label}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "real", "run"]


def test_one_file_is_data(tmp_path):
    places = [
        pairs_jsonl(tmp_path / "p") / "pairs.jsonl", imagefolder(tmp_path / "r", at_root=True) / "metadata.jsonl",
        karpathy(tmp_path / "k") / "dataset_x.json",
    ]
    for place in places:
        assert seen(read_pairs(place)) == EXPECTED
    own = {(label, split, pixels) for label, split, pixels in EXPECTED if split == "val"}
    for place in (webdataset(tmp_path / "w") / "validation-000000.tar",
                  imagefolder(tmp_path / "i") / "validation" / "metadata.jsonl",
                  parquet(tmp_path / "q") / "data" / "validation-00000-of-00001.parquet"):
        assert seen(read_pairs(place)) == own


@pytest.mark.parametrize("name", [
    "x.tar", "x.parquet", "notes.txt", "x.zip", "README.md", "x.json", "x.jsonl", "x.csv",
])
def test_a_file_that_exists_is_never_said_to_be_missing(tmp_path, name):
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(InputError) as refused:
        read_pairs(tmp_path / name)
    assert "does not exist" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_list_of_each_split_may_have_another_kind(tmp_path):
    imagefolder(tmp_path / "d")
    other = imagefolder(tmp_path / "other", "csv")
    (tmp_path / "d" / "test" / "metadata.jsonl").unlink()
    (other / "test" / "metadata.csv").rename(tmp_path / "d" / "test" / "metadata.csv")
    assert seen(read_pairs(tmp_path / "d")) == EXPECTED


def test_what_else_lies_in_the_folder_is_said(tmp_path):
    folder = pairs_jsonl(tmp_path / "d")
    webdataset(folder)
    assert read_pairs(folder).notes == ["d is read as pairs.jsonl; it also has tar files, which is left alone"]


def test_runs_that_lie_in_the_folder_are_left_alone(tmp_path):
    folder = class_folders(tmp_path / "d")
    own = seen(read_pairs(folder, captionless=True))
    save(folder / "runs" / "demo" / "data" / "0.png", next(iter(items())))
    (folder / "runs" / "demo" / "blocks" / "pond").mkdir(parents=True)
    for place in ("identity.json", "blocks/pond/00000.parquet", "data/train-00000.parquet"):
        (folder / "runs" / "demo" / place).write_bytes(b"{}")
    found = read_pairs(folder, captionless=True)
    assert seen(found) == own
    assert "d/runs/demo is a run of terrasynth, whose images were drawn, and is left alone; to read it, give its own " \
           "folder" in found.notes


def test_two_files_of_captions_are_not_chosen_from(tmp_path):
    karpathy(tmp_path / "d", "dataset_a.json")
    karpathy(tmp_path / "d", "dataset_b.json")
    with pytest.raises(InputError, match=r"captions in dataset_a\.json and in dataset_b\.json; give the file"):
        read_pairs(tmp_path / "d")
    assert seen(read_pairs(tmp_path / "d" / "dataset_b.json")) == EXPECTED


class TestTar:
    """What `tarfile` passes over in silence."""

    def test_a_damaged_header_in_the_middle(self, tmp_path):
        shard = webdataset(tmp_path / "d") / "train-000000.tar"
        with tarfile.open(shard) as archive:
            third = archive.getmembers()[2].offset
        data = bytearray(shard.read_bytes())
        data[third + 3] ^= 1
        shard.write_bytes(data)
        with tarfile.open(shard) as archive:
            assert len(archive.getnames()) == 2
        with pytest.raises(InputError, match=rf"train-000000\.tar: damaged at byte {third}"):
            read_pairs(shard)

    def test_joined_files(self, tmp_path):
        folder = webdataset(tmp_path / "d")
        with (folder / "train-000000.tar").open("ab") as file:
            file.write((folder / "test-000000.tar").read_bytes())
        with pytest.raises(InputError, match="several tar files in one"):
            read_pairs(folder)

    def test_links_and_devices_are_no_samples(self, tmp_path):
        folder = webdataset(tmp_path / "d")
        secret = tmp_path / "secret.png"
        save(secret, items()[0])
        with tarfile.open(folder / "train-000001.tar", "w") as archive:
            for name, kind in (("a.png", tarfile.SYMTYPE), ("b.png", tarfile.LNKTYPE), ("c.png", tarfile.CHRTYPE)):
                member = tarfile.TarInfo(name)
                member.type, member.linkname = kind, str(secret)
                archive.addfile(member)
        assert len(read_pairs(folder).pairs) == 10

    def test_shards_of_one_name_in_several_folders(self, tmp_path):
        for split in ("train", "validation", "test"):
            (tmp_path / "d" / split).mkdir(parents=True)
            (webdataset(tmp_path / "w") / f"{split}-000000.tar").rename(tmp_path / "d" / split / "0.tar")
        data = read_pairs(tmp_path / "d")
        assert seen(data) == EXPECTED
        assert {pair.name.rpartition("/")[0] for pair in data.pairs} == {f"{split}/0.tar" for split in HF.values()}

    def test_a_changed_file_is_not_read_at_the_old_places(self, tmp_path):
        shard = webdataset(tmp_path / "d") / "train-000000.tar"
        pair = read_pairs(shard).pairs[0]
        shard.write_bytes(shard.read_bytes()[:-512] + bytes(1024))
        with pytest.raises(OSError, match="changed after it was listed"):
            pair.open()

    def test_two_images_of_a_sample_are_not_chosen_from(self, tmp_path):
        folder = webdataset(tmp_path / "d")
        with tarfile.open(folder / "train-000000.tar", "a") as archive:
            archive.add(_saved(tmp_path / "x.png"), "harbor_0.jpg")
        with pytest.raises(InputError, match=r"has the images png, jpg; say which one"):
            read_pairs(folder)
        (tmp_path / "data.yaml").write_text("data: d\ncolumns: {image: png}\n")
        assert seen(read_pairs(tmp_path / "data.yaml")) == EXPECTED


def _saved(path):
    save(path, items()[0])
    return path
