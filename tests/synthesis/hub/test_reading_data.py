"""Data sets of the Hub as the data of a training."""

from __future__ import annotations

import base64
import hashlib
import json

import numpy as np
import pytest
from PIL import Image

from terrasynth.training.data import read_pairs
from terrasynth.training.errors import ImageError, InputError
from tests.hub_store import LARGE
from tests.training.data.builders import imagefolder, items, parquet, webdataset, write_lines

EXPECTED = {(item.label, item.split, item.pixels.tobytes()) for item in items()}


def upload(hub, folder, name="user/real"):
    """Put the files of a folder into a data set, in one commit."""
    if name not in hub.repositories:
        hub.create(name, private=False)
    lines = [{"key": "header", "value": {"summary": "data"}}]
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        place, data = path.relative_to(folder).as_posix(), path.read_bytes()
        if place.endswith(LARGE):
            oid = hashlib.sha256(data).hexdigest()
            hub.put(oid, data)
            lines.append({"key": "lfsFile", "value": {"path": place, "oid": oid}})
        else:
            lines.append({"key": "file", "value": {"path": place, "content": base64.b64encode(data).decode()}})
    hub.commit(hub.repositories[name], "main", lines)


def seen(data):
    return {(pair.label, pair.split, np.asarray(pair.open()).tobytes()) for pair in data.pairs}


@pytest.mark.parametrize("build", [parquet, imagefolder, webdataset])
def test_formats_of_the_hub(hub, tmp_path, build):
    upload(hub, build(tmp_path / "d"))
    if build is webdataset:  # the library gives members by their suffixes
        (tmp_path / "hub.yaml").write_text("data: user/real\ncolumns: {image: png, captions: txt, label: null}\n")
        data = read_pairs(tmp_path / "hub.yaml")
        assert {pixels for _, _, pixels in seen(data)} == {pixels for _, _, pixels in EXPECTED}
        return
    data = read_pairs("user/real")
    assert seen(data) == EXPECTED
    assert data.sources == ("user/real",)


def test_a_commit_is_read_as_it_is_and_so_is_the_one_before(hub, tmp_path):
    folder = imagefolder(tmp_path / "d")
    upload(hub, folder)
    first = hub.repositories["user/real"].branches["main"]
    before = read_pairs("user/real")
    for path in folder.rglob("metadata.jsonl"):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        write_lines(path, [row | {"text": row["text"].replace("number", "NUMBER")} for row in rows])
    upload(hub, folder)
    assert all("NUMBER" in pair.captions[0] for pair in read_pairs("user/real").pairs)
    assert read_pairs(f"user/real@{first}").pairs == before.pairs


def test_a_row_of_the_hub_names_no_file_of_this_machine(hub, tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    Image.fromarray(items()[0].pixels).save(tmp_path / "secret.png")
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    cells = [{"bytes": None, "path": str(tmp_path / "secret.png")}]
    (tmp_path / "d").mkdir()
    pq.write_table(pa.table({"image": pa.array(cells, kind), "text": ["a"]}), tmp_path / "d" / "train.parquet")
    upload(hub, tmp_path / "d")
    with pytest.raises((InputError, ImageError)):
        read_pairs("user/real").pairs[0].open()


def test_what_the_hub_refuses_is_one_line(hub, tmp_path):
    for name in ("user/nothing", "user/real@nothing"):
        upload(hub, parquet(tmp_path / name.replace("/", "-")))
        with pytest.raises(InputError, match="cannot be had from the Hub") as refused:
            read_pairs(name if name != "user/nothing" else "user/none-of-it")
        assert "\n" not in str(refused.value)
