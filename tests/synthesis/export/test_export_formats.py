"""Every format, read back by the library that its users read it with."""

import io
import json

import datasets
import numpy as np
import pytest
from PIL import Image

from terrasynth.synthesis.core.images import decode
from terrasynth.synthesis.export.rows import PROVENANCE
from terrasynth.training.data import read_pairs
from tests.synthesis.exports import CLASSES, SPLITS, exported, run_rows, write_run

FORMATS = ("parquet", "imagefolder", "webdataset", "coco", "karpathy", "llava", "geotiff")
ENCODINGS = ("png", "jpeg", "webp")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def pixels(opened):
    return np.asarray(opened.convert("RGB"))


def file_pixels(path):
    with Image.open(path) as opened:
        return pixels(opened)


# Each gives id -> (split, pixels, captions), with None for captions that the format keeps only in part.


def by_datasets(loaded):
    return {row["id"]: (split, pixels(row["image"]), row["captions"]) for split, part in loaded.items() for row in part}


def parquet(folder):
    return by_datasets(datasets.load_dataset(str(folder)))


def parquet_streamed(folder):
    return by_datasets(datasets.load_dataset(str(folder), streaming=True))


def imagefolder(folder):
    return by_datasets(datasets.load_dataset("imagefolder", data_dir=str(folder)))


def imagefolder_streamed(folder):
    return by_datasets(datasets.load_dataset("imagefolder", data_dir=str(folder), streaming=True))


def imagefolder_by_card(folder):
    return by_datasets(datasets.load_dataset(str(folder)))


def webdataset(folder):
    import webdataset

    found = {}
    for split, shards in json.loads((folder / "index.json").read_text())["splits"].items():
        names = [str(folder / shard["name"]) for shard in shards]
        for row in webdataset.WebDataset(names, shardshuffle=False).decode("pil"):
            picture = next(row[suffix] for suffix in ENCODINGS if suffix in row)
            assert row["txt"] == row["json"]["text"]
            found[row["__key__"]] = (split, pixels(picture), row["json"]["captions"])
    return found


def webdataset_by_card(folder):
    found = {}
    for split, part in datasets.load_dataset(str(folder), streaming=True).items():
        for row in part:
            picture = next(row[suffix] for suffix in ENCODINGS if suffix in row)
            found[row["__key__"]] = (split, pixels(picture), row["json"]["captions"])
    return found


def coco(folder):
    from pycocotools.coco import COCO

    found = {}
    for split in SPLITS:
        loaded = COCO(str(folder / f"annotations/captions_{split}.json"))
        for image in loaded.loadImgs(loaded.getImgIds()):
            captions = [one["caption"] for one in loaded.loadAnns(loaded.getAnnIds(imgIds=image["id"]))]
            picture = file_pixels(folder / "images" / split / image["file_name"])
            assert picture.shape[:2] == (image["height"], image["width"])
            found[image["file_name"].partition(".")[0]] = (split, picture, captions)
    return found


def karpathy(folder):
    names = {"train": "train", "val": "validation", "test": "test"}
    return {
        image["filename"].rpartition("_")[2].partition(".")[0]: (
            names[image["split"]], file_pixels(folder / "images" / image["filename"]),
            [sentence["raw"] for sentence in image["sentences"]],
        )
        for image in json.loads((folder / "dataset_tiny.json").read_text())["images"]
    }


def llava(folder):
    found = {}
    for split in SPLITS:
        for row in json.loads((folder / f"llava_{split}.json").read_text()):
            found[row["id"]] = (split, file_pixels(folder / "images" / row["image"]), None)
    return found


def geotiff(folder):
    import rasterio

    found = {}
    for split in SPLITS:
        for line in (folder / split / "metadata.jsonl").read_text().split("\n")[:-1]:
            row = json.loads(line)
            with pytest.warns(rasterio.errors.NotGeoreferencedWarning):
                file = rasterio.open(folder / split / row["file_name"])
            with file:
                found[row["id"]] = (split, np.moveaxis(file.read(), 0, 2), row["captions"])
    return found


READERS = [
    ("parquet", parquet), ("parquet", parquet_streamed), ("imagefolder", imagefolder),
    ("imagefolder", imagefolder_streamed), ("imagefolder", imagefolder_by_card), ("webdataset", webdataset),
    ("webdataset", webdataset_by_card), ("coco", coco), ("karpathy", karpathy), ("llava", llava), ("geotiff", geotiff),
]


@pytest.mark.parametrize("encoding", ["png", "jpeg"])
@pytest.mark.parametrize(("name", "read"), READERS, ids=[read.__name__ for _, read in READERS])
def test_consumers_read_what_the_run_holds(tmp_path, name, read, encoding):
    rows = run_rows(8, image_format=encoding)
    done = exported(write_run(tmp_path / "run", rows), tmp_path / "out", name)
    found = read(tmp_path / "out")
    assert set(found) == {row["id"] for row in rows}
    assert {split: sum(one[0] == split for one in found.values()) for split in SPLITS} == done.rows
    for row in rows:
        _, picture, captions = found[row["id"]]
        np.testing.assert_array_equal(picture, decode(row["image"]["bytes"]))
        assert captions is None or captions == row["captions"]


def test_every_column_comes_back_from_json(tmp_path):
    rows = run_rows(8)
    exported(write_run(tmp_path / "run", rows), tmp_path / "out", "imagefolder")
    loaded = datasets.load_dataset("imagefolder", data_dir=str(tmp_path / "out"))
    found = {row["id"]: row for part in loaded.values() for row in part}
    for row in rows:
        own = found[row["id"]]
        for column in ("text", "captions", "label", "scene", "synthetic"):
            assert own[column] == row[column]
        assert json.loads(own["provenance"]) == {name: row[name] for name in PROVENANCE}


@pytest.mark.parametrize("name", ["parquet", "imagefolder", "karpathy"])
def test_training_reads_it(tmp_path, name):
    rows = run_rows(8)
    exported(write_run(tmp_path / "run", rows), tmp_path / "out", name)
    found = read_pairs(tmp_path / "out")
    assert not found.skipped
    by_text = {row["text"]: row for row in rows}
    assert len(found.pairs) == len(rows)
    for pair in found.pairs:
        row = by_text[pair.captions[0]]
        assert (pair.label, list(pair.captions)) == (row["label"], row["captions"])
        np.testing.assert_array_equal(pixels(pair.open()), decode(row["image"]["bytes"]))
    assert {pair.split for pair in found.pairs} == {"train", "val", "test"}


def test_stored_bytes_are_copied(tmp_path):
    rows = run_rows(2, image_format="jpeg")
    run = write_run(tmp_path / "run", rows)
    exported(run, tmp_path / "folder", "imagefolder", None)
    exported(run, tmp_path / "parquet", "parquet", None)
    loaded = datasets.load_dataset(str(tmp_path / "parquet"), split="train")
    loaded = loaded.cast_column("image", datasets.Image(decode=False))
    for row, copied in zip(rows, loaded, strict=True):
        assert (tmp_path / "folder" / "train" / f"{row['id']}.jpeg").read_bytes() == row["image"]["bytes"]
        assert copied["image"]["bytes"] == row["image"]["bytes"]


@pytest.mark.parametrize("name", FORMATS)
def test_a_class_without_rows_and_one_of_a_single_row(tmp_path, name):
    rows = [row for row in run_rows(4) if row["label"] == "beach" or row["id"].endswith("7d0")]
    done = exported(write_run(tmp_path / "run", rows), tmp_path / "out", name)
    assert sum(done.rows.values()) == 5
    assert "| river | " in (tmp_path / "out" / "README.md").read_text()
    assert "forest" not in (tmp_path / "out" / "README.md").read_text()


def test_shards_are_numbered_without_a_total_and_indexed(tmp_path):
    import hashlib

    run = write_run(tmp_path / "run", run_rows(8))
    exported(run, tmp_path / "tar", "webdataset", None, {"rows_per_shard": 10})
    index = json.loads((tmp_path / "tar" / "index.json").read_text())["splits"]["train"]
    assert [(shard["name"], shard["rows"]) for shard in index] == [
        ("train-00000.tar", 10), ("train-00001.tar", 10), ("train-00002.tar", 4)
    ]
    for shard in index:
        data = (tmp_path / "tar" / shard["name"]).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (shard["bytes"], shard["sha256"])
    exported(run, tmp_path / "parquet", "parquet", None, {"rows_per_shard": 10})
    assert sorted(path.name for path in (tmp_path / "parquet" / "data").iterdir()) == [
        f"train-{number:05d}.parquet" for number in range(3)
    ]


def test_row_groups_stay_small(tmp_path):
    import pyarrow.parquet as pq

    run = write_run(tmp_path / "run", run_rows(50), rows_per_shard=70)
    exported(run, tmp_path / "out", "parquet", None)
    metadata = pq.read_metadata(tmp_path / "out" / "data" / "train-00000.parquet")
    assert [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)] == [100, 50]


def test_coco_numbers_are_unique_over_splits(tmp_path):
    exported(write_run(tmp_path / "run", run_rows(8)), tmp_path / "out", "coco")
    files = [json.loads(path.read_text()) for path in sorted((tmp_path / "out" / "annotations").iterdir())]
    for key in ("images", "annotations"):
        numbers = [one["id"] for file in files for one in file[key]]
        assert len(set(numbers)) == len(numbers) > 20
    assert all(file["licenses"] == [{"id": 1, "name": "as README.md says", "url": ""}] for file in files)


def test_karpathy_numbers_and_tokens(tmp_path):
    exported(write_run(tmp_path / "run", run_rows(4)), tmp_path / "out", "karpathy")
    content = json.loads((tmp_path / "out" / "dataset_tiny.json").read_text())
    assert content["dataset"] == "tiny"
    sentences = [sentence for image in content["images"] for sentence in image["sentences"]]
    assert [sentence["sentid"] for sentence in sentences] == list(range(len(sentences)))
    assert [image["imgid"] for image in content["images"]] == list(range(12))
    assert all(image["sentids"] == [one["sentid"] for one in image["sentences"]] for image in content["images"])
    odd = next(sentence for sentence in sentences if "He said" in sentence["raw"])
    assert odd["tokens"][-8:] == ["he", "said", "half", "sand", "half", "water", "it", "naïve"]


def test_geotiff_says_what_it_is_and_not_where(tmp_path):
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning

    rows = run_rows(2)
    text = f"{rows[0]['text']} At 0.5 m a pixel."
    rows[0] |= {"text": text, "captions": [text], "scene": json.dumps({"gsd": 0.5})}
    run = write_run(tmp_path / "run", rows)
    exported(run, tmp_path / "out", "geotiff", None, {"gsd": 0.3})
    exported(run, tmp_path / "unstated", "geotiff", None)

    def opened(folder, row):
        with pytest.warns(NotGeoreferencedWarning):
            file = rasterio.open(tmp_path / folder / "train" / f"{row['id']}.tif")
        with file:
            assert file.crs is None
            assert file.transform == rasterio.Affine.identity()
            assert not file.gcps[0]
            return file.tags()

    asked, stated, unstated = opened("out", rows[0]), opened("out", rows[1]), opened("unstated", rows[1])
    assert (asked["GSD_METRES"], asked["GSD_SOURCE"]) == ("0.5", "asked for by the prompt")
    assert (stated["GSD_METRES"], stated["GSD_SOURCE"]) == ("0.3", "stated at export")
    assert float(stated["TIFFTAG_XRESOLUTION"]) == pytest.approx(0.01 / 0.3, rel=1e-5)
    assert stated["TIFFTAG_RESOLUTIONUNIT"].startswith("3")
    assert "GSD_METRES" not in unstated
    for tags, row in ((asked, rows[0]), (stated, rows[1])):
        assert tags["SYNTHETIC"] == "YES"
        assert json.loads(tags["CAPTION"]) == row["text"]
        assert (tags["SEED"], tags["GENERATOR"], tags["SAMPLE_ID"]) == (str(row["seed"]), "tiny", row["id"])


def test_llava_entries_have_the_shape_that_trainers_want(tmp_path):
    rows = {row["id"]: row for row in run_rows(8)}
    exported(write_run(tmp_path / "run", list(rows.values())), tmp_path / "out", "llava", None)
    for entry in json.loads((tmp_path / "out" / "llava_train.json").read_text()):
        turns = entry["conversations"]
        assert [turn["from"] for turn in turns] == ["human", "gpt"] * (len(turns) // 2)
        assert turns[0]["value"].startswith("<image>\n")
        assert turns[1]["value"] == rows[entry["id"]]["text"]
        assert not any("<image>" in turn["value"] for turn in turns[2:])
        assert len(entry["kinds"]) == len(turns) // 2 > 3
        assert entry["basis"] == "prompt"
    assert "what was asked for" in (tmp_path / "out" / "README.md").read_text()


def test_the_card_carries_licence_counts_and_how_to_load(tmp_path):
    from huggingface_hub import DatasetCard

    run = write_run(tmp_path / "run", run_rows(8))
    done = exported(run, tmp_path / "out", "parquet")
    card = DatasetCard.load(tmp_path / "out" / "README.md")
    assert card.data.license == "cc-by-4.0"
    assert [(one["name"], one["num_examples"]) for one in card.data.dataset_info["splits"]] == list(done.rows.items())
    assert "| all | " + " | ".join(str(count) for count in done.rows.values()) + " |" in card.text
    assert all(f"| {label} |" in card.text for label in CLASSES)
    assert "load_dataset" in card.text


def test_pictures_of_a_webp_run_have_their_suffix(tmp_path):
    rows = run_rows(1, image_format="webp")
    exported(write_run(tmp_path / "run", rows), tmp_path / "out", "webdataset", None)
    import tarfile

    with tarfile.open(tmp_path / "out" / "train-00000.tar") as archive:
        members = archive.getmembers()
        assert [member.name for member in members[:3]] == [f"{rows[0]['id']}.{end}" for end in ("webp", "txt", "json")]
        assert {(member.mtime, member.uid, member.gid, member.uname) for member in members} == {(0, 0, 0, "")}
        data = archive.extractfile(members[0]).read()
    np.testing.assert_array_equal(pixels(Image.open(io.BytesIO(data))), decode(rows[0]["image"]["bytes"]))
