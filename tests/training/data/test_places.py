"""Data stays inside its folder, whatever its rows and links say."""

import json
import os
import tarfile

import numpy as np
import pytest
from PIL import Image

from terrasynth.training.data import read_pairs
from terrasynth.training.data.places import Root, open_file
from terrasynth.training.errors import ImageError, InputError
from tests.training.data.builders import (
    imagefolder,
    items,
    karpathy,
    nwpu,
    pairs_jsonl,
    parquet,
    save,
    saved,
    webdataset,
    write_lines,
)

OUTSIDE = r"lies outside of the data folder; copy it there|is a link that leads out of the data folder; copy it there"


@pytest.fixture
def secret(tmp_path):
    folder = tmp_path / "private"
    folder.mkdir()
    Image.fromarray(np.full((9, 9, 3), 77, np.uint8)).save(folder / "secret.png")
    return folder / "secret.png"


def _names(secret, folder):
    """Ways to name the file from a folder of a data set."""
    os.symlink(secret, folder / "link.png")
    os.symlink(secret.parent, folder / "elsewhere")
    up = os.path.relpath(secret, folder)
    return [up, str(secret), f"x/../{up}", "link.png", "elsewhere/secret.png", up.replace("/", "\\"), f"./{up}"]


@pytest.mark.parametrize("way", range(7))
@pytest.mark.parametrize("kind", [
    "pairs", "jsonl", "csv", "karpathy", "filepath", "nwpu", "parquet", "metadata-parquet",
])
def test_no_row_names_a_file_elsewhere(tmp_path, secret, kind, way):
    folder = tmp_path / "d"
    if kind == "pairs":
        pairs_jsonl(folder)
        name = _names(secret, folder)[way]
        write_lines(folder / "pairs.jsonl", [{"file": name, "captions": "a"}])
    elif kind in ("jsonl", "csv", "metadata-parquet"):
        imagefolder(folder, kind)
        name = _names(secret, folder / "train")[way]
        _list(folder / "train", kind, name)
    elif kind in ("karpathy", "filepath"):
        karpathy(folder)
        name = _names(secret, folder / "images")[way]
        row = {"filename": name} if kind == "karpathy" else {
            "filepath": os.path.dirname(name) or "..", "filename": os.path.basename(name)}
        (folder / "dataset_x.json").write_text(json.dumps({"images": [row | {"sentences": [{"raw": "a"}]}]}))
    elif kind == "nwpu":
        nwpu(folder)
        name = _names(secret, folder / "NWPU_images")[way]
        (folder / "dataset_nwpu.json").write_text(json.dumps({"harbor": [{"filename": name, "raw": "a"}]}))
    else:
        import pyarrow.parquet as pq

        parquet(folder)
        name = _names(secret, folder / "data")[way]
        pq.write_table(_table(name), folder / "data" / "train-00000-of-00001.parquet")
    # A name may also lead nowhere: Karpathy-style data is looked for in several folders.
    with pytest.raises(InputError, match=f"{OUTSIDE}|no usable image-caption pair"):
        read_pairs(folder)


def _table(name):
    """A table as `datasets` has it, whose image is a file; its own writers would put the file's bytes there."""
    import pyarrow as pa

    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    return pa.table({"image": pa.array([{"bytes": None, "path": name}], kind), "text": ["a"]})


def _list(folder, kind, name):
    row = {"file_name": name, "text": "a"}
    if kind == "jsonl":
        write_lines(folder / "metadata.jsonl", [row])
    elif kind == "csv":
        (folder / "metadata.csv").write_text(f"file_name,text\n{name},a\n")
    else:
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist([row]), folder / "metadata.parquet")


def test_a_saved_table_opens_no_other_table_and_no_other_image(tmp_path, secret):
    import pyarrow as pa

    folder, other = saved(tmp_path / "d"), saved(tmp_path / "other")
    state = json.loads((folder / "train" / "state.json").read_text())
    tables = (other / "train").glob("*.arrow")
    state["_data_files"] = [{"filename": f"../../other/train/{path.name}"} for path in tables]
    (folder / "train" / "state.json").write_text(json.dumps(state))
    with pytest.raises(InputError, match=OUTSIDE):
        read_pairs(folder)
    for name in (str(secret), "../../private/secret.png"):
        table = _table(name).append_column("class", [["harbor"]])
        for path in (other / "train").glob("*.arrow"):
            with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
                writer.write_table(table)
        with pytest.raises(InputError, match=OUTSIDE):
            read_pairs(other).pairs[0].open()


LISTS = {
    "pairs.jsonl": pairs_jsonl, "dataset_x.json": karpathy, "train.tar": webdataset, "data/train.parquet": parquet,
    "train/metadata.jsonl": imagefolder,
}


@pytest.mark.parametrize("kind", LISTS)
def test_no_list_is_a_link_out_of_the_folder(tmp_path, kind):
    other = LISTS[kind](tmp_path / "other")
    folder = tmp_path / "d"
    target = next(other.rglob(kind.rpartition("/")[2].replace("train.", "train-*.")))
    (folder / kind).parent.mkdir(parents=True)
    os.symlink(target, folder / kind)
    with pytest.raises(InputError, match=OUTSIDE):
        read_pairs(folder)


def test_the_link_that_the_user_names_is_followed(tmp_path):
    folder = pairs_jsonl(tmp_path / "disk")
    os.symlink(folder / "pairs.jsonl", tmp_path / "mine.jsonl")
    os.symlink(folder, tmp_path / "d")
    assert len(read_pairs(tmp_path / "mine.jsonl").pairs) == len(read_pairs(tmp_path / "d").pairs) == 10


@pytest.mark.parametrize("build", [imagefolder, lambda place: imagefolder(place, "csv"),
                                   lambda place: imagefolder(place, at_root=True)])
def test_links_of_whole_splits_are_followed_and_said(tmp_path, build):
    disk, folder = build(tmp_path / "disk"), tmp_path / "d"
    folder.mkdir()
    for entry in disk.iterdir():
        if entry.is_dir():
            os.symlink(entry, folder / entry.name)
        else:
            entry.rename(folder / entry.name)
    data = read_pairs(folder)
    assert {split: len(data.split(split)) for split in ("train", "val", "test")} == {"train": 6, "val": 2, "test": 2}
    assert all(pair.open() for pair in data.pairs)
    assert f"train of d is a link to {disk / 'train'}; its images are read there" in data.notes


def test_a_link_of_the_folder_of_images_is_followed(tmp_path):
    folder = pairs_jsonl(tmp_path / "d")
    (folder / "images").rename(tmp_path / "disk")
    os.symlink(tmp_path / "disk", folder / "images")
    assert len(read_pairs(folder).pairs) == 10


def test_other_folders_are_named_in_a_data_yaml(tmp_path):
    folder = pairs_jsonl(tmp_path / "d")
    (folder / "images").rename(tmp_path / "disk")
    (folder / "images").mkdir()
    for path in (tmp_path / "disk").iterdir():
        os.symlink(path, folder / "images" / path.name)
    with pytest.raises(InputError, match=r"pairs\.jsonl:1: 'images/harbor_0\.png' is a link that .* `folders`"):
        read_pairs(folder)
    (tmp_path / "d.yaml").write_text("data: d\nfolders: [disk]\n")
    assert len(read_pairs(tmp_path / "d.yaml").pairs) == 10


def test_a_snapshot_of_the_hub_cache_is_data(tmp_path):
    """Its files are links into the cache."""
    blobs, snapshot = tmp_path / "datasets--u--d" / "blobs", tmp_path / "datasets--u--d" / "snapshots" / "0123"
    blobs.mkdir(parents=True)
    built = pairs_jsonl(tmp_path / "built")
    for number, path in enumerate(sorted(path for path in built.rglob("*") if path.is_file())):
        path.rename(blobs / str(number))
        link = snapshot / path.relative_to(built)
        link.parent.mkdir(parents=True, exist_ok=True)
        os.symlink(os.path.relpath(blobs / str(number), link.parent), link)
    assert len(read_pairs(snapshot).pairs) == 10


def test_links_inside_the_folder_and_in_a_circle(tmp_path):
    folder = imagefolder(tmp_path / "d")
    os.symlink(folder / "train" / "harbor_0.png", folder / "train" / "again.png")
    os.symlink(folder, folder / "train" / "train")
    os.symlink(folder / "test", folder / "train" / "images")
    os.symlink(folder / "train", folder / "test" / "images")
    os.symlink("loop", folder / "loop")
    with (folder / "train" / "metadata.jsonl").open("a") as stream:
        stream.write(json.dumps({"file_name": "again.png", "text": "again"}) + "\n")
    data = read_pairs(folder)
    assert sum("again" in pair.captions for pair in data.pairs) == 1


def test_what_is_no_file_is_named(tmp_path):
    folder = pairs_jsonl(tmp_path / "d")
    (folder / "images" / "harbor_0.png").unlink()
    os.mkfifo(folder / "images" / "harbor_0.png")
    (folder / "images" / "harbor_1.png").unlink()
    (folder / "images" / "harbor_1.png").mkdir()
    assert [row.name for row in read_pairs(folder).skipped] == ["images/harbor_0.png", "images/harbor_1.png"]
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="is neither a folder nor a file"):
        read_pairs(tmp_path / "pipe")
    os.symlink(tmp_path / "nothing", tmp_path / "dangling")
    with pytest.raises(InputError, match="or a link to nothing"):
        read_pairs(tmp_path / "dangling")
    with pytest.raises(InputError, match="File name too long"):
        read_pairs("./" + "x" * 5000)


def test_a_link_that_takes_the_place_of_a_file_is_not_opened(tmp_path, secret):
    folder = pairs_jsonl(tmp_path / "d")
    pair = read_pairs(folder).pairs[0]
    (folder / pair.name).unlink()
    os.symlink(secret, folder / pair.name)
    with pytest.raises(ImageError, match="cannot be opened"):
        pair.open()
    with pytest.raises(ImageError, match="is no regular file"):
        open_file(folder)


def test_names_from_windows(tmp_path):
    folder = pairs_jsonl(tmp_path / "d")
    rows = [json.loads(line) for line in (folder / "pairs.jsonl").read_text().splitlines()]
    write_lines(folder / "pairs.jsonl", [row | {"file": row["file"].replace("/", "\\")} for row in rows])
    assert len(read_pairs(folder).pairs) == 10


def test_what_mac_os_leaves_is_passed_over(tmp_path):
    folder = imagefolder(tmp_path / "d")
    (folder / "__MACOSX").mkdir()
    (folder / "__MACOSX" / "metadata.jsonl").write_bytes(b"\0\5\26\7")
    (folder / "train" / "._metadata.jsonl").write_bytes(b"\0\5\26\7")
    assert len(read_pairs(folder).pairs) == 10


def test_a_tar_file_is_never_unpacked(tmp_path, secret):
    folder = tmp_path / "d"
    folder.mkdir()
    save(tmp_path / "x.png", items()[0])
    with tarfile.open(folder / "train.tar", "w") as archive:
        archive.add(tmp_path / "x.png", "../../escaped.png")
        (tmp_path / "x.txt").write_text("a caption")
        archive.add(tmp_path / "x.txt", "../../escaped.txt")
    before = sorted(tmp_path.parent.rglob("*"))
    data = read_pairs(folder)
    assert [pair.captions for pair in data.pairs] == [("a caption",)]
    data.pairs[0].open()
    assert sorted(tmp_path.parent.rglob("*")) == before


def test_shortages_are_not_taken_for_missing_files(tmp_path, monkeypatch):
    from terrasynth.synthesis.core.errors import RunError

    root = Root(pairs_jsonl(tmp_path / "d"))

    def full(*_, **__):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "lstat", full)
    with pytest.raises(RunError, match="Too many open files"):
        root.find("images/harbor_0.png", "f:1")
