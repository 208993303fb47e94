"""Exports that lose a file, a byte or a bit are found out."""

import pytest

from terrasynth.synthesis.verify.verifying import Verification, verify
from tests.synthesis.exports import exported, run_rows, write_run


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("source") / "run", run_rows(3))


def flip(path, at):
    data = bytearray(path.read_bytes())
    data[at] ^= 4
    path.write_bytes(data)


@pytest.mark.parametrize("name", ["parquet", "imagefolder", "webdataset", "coco", "llava", "messages"])
def test_a_whole_export_has_no_fault(source, tmp_path, name):
    exported(source, tmp_path / "out", name)
    looked = Verification()
    assert list(verify(tmp_path / "out", into=looked)) == []
    assert looked.counts["files"] >= 3


@pytest.mark.parametrize(
    ("name", "pattern", "marker"),
    [("parquet", "*.parquet", b"IDAT"), ("imagefolder", "*.png", b"IDAT"), ("webdataset", "*.tar", b"IDAT"),
     ("webdataset", "*.tar", b"provenance")],
)
def test_a_flipped_bit_is_found(source, tmp_path, name, pattern, marker):
    exported(source, tmp_path / "out", name)
    path = next((tmp_path / "out").rglob(pattern))
    flip(path, path.read_bytes().index(marker) + 30)
    found = list(verify(tmp_path / "out"))
    assert [tmp_path / "out" / fault.file for fault in found] == [path]
    assert "run the same `terrasynth export` again" in found[0].line


def test_a_missing_file_and_an_unfinished_export_are_found(source, tmp_path):
    exported(source, tmp_path / "out", "imagefolder")
    next((tmp_path / "out").rglob("*.png")).unlink()
    assert [fault.file for fault in verify(tmp_path / "out")] == ["terrasynth-export.json"]
    exported(source, tmp_path / "out", "imagefolder")
    assert list(verify(tmp_path / "out")) == []
    marker = tmp_path / "out" / "terrasynth-export.json"
    marker.write_text(marker.read_text().replace('"content": {', '"content": {}, "rows": {'))
    assert [fault.file for fault in verify(tmp_path / "out")] == ["terrasynth-export.json"]
