"""The command `export`, from arguments to files and words."""

import json

import pytest

from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.export.registry import Exporter, exporter_names, load_exporter
from tests.synthesis.exports import run_rows, write_real, write_run


@pytest.fixture
def made(tmp_path):
    return write_run(tmp_path / "run", run_rows(5))


def test_export_and_again(terrasynth, made, tmp_path):
    command = ("export", made, "--format", "coco", "--out", tmp_path / "out", "--splits", "train=0.6,val=0.2,test=0.2")
    code, out, err = terrasynth(*command)
    assert (code, err) == (0, [])
    assert "9 train, 3 validation, 3 test" in out
    code, out, err = terrasynth(*command)
    assert (code, err) == (0, [])
    assert "nothing to do" in out


def test_merge_says_what_the_licence_is(terrasynth, made, tmp_path):
    real = write_real(tmp_path / "ucm", [
        ("beach", split, seed, [f"{split} {seed}"]) for seed, split in enumerate(["train"] * 3 + ["val", "test"], 9000)
    ])
    code, out, err = terrasynth("export", made, "--format", "imagefolder", "--out", tmp_path / "out", "--merge", real,
                                "--ratio", "synthetic=1.0")
    assert code == 0
    assert err == []
    assert "licence      not stated: what it asks is not known (real data 'ucm': not stated)" in out
    assert "beyond the ratio; listed in" in out
    assert "6 train, 1 validation, 1 test" in out
    assert len((tmp_path / "out" / "train" / "metadata.jsonl").read_text().splitlines()) == 6
    assert str(tmp_path) not in (tmp_path / "out" / "README.md").read_text()
    assert str(tmp_path) not in (tmp_path / "out" / "terrasynth-export.json").read_text()


@pytest.mark.parametrize(("arguments", "words"), [
    (("--format", "webdatset"), "did you mean 'webdataset'"),
    (("--format", "coco", "--splits", "train=0.5"), "sum to 0.5"),
    (("--format", "coco", "--option", "rows=3"), "option 'rows' is unknown to the coco format; it takes none"),
    (("--format", "parquet", "--option", "rows_per_shard=0"), "rows_per_shard 0 is no whole number"),
    (("--format", "geotiff", "--option", "gsd=far"), "gsd 'far' is no number of metres"),
    (("--format", "coco", "--ratio", "synthetic=1"), "there is no --merge"),
    (("--format", "coco", "--merge", "/nowhere/data"), "does not exist"),
])
def test_wrong_input_is_one_line(terrasynth, made, tmp_path, arguments, words):
    code, _, err = terrasynth("export", made, "--out", tmp_path / "out", *arguments)
    assert code == 2
    assert len(err) == 1
    assert words in err[0]
    assert not (tmp_path / "out").exists()


def test_all_formats_are_there_and_have_the_protocol():
    names = ("coco", "coco-instances", "dota", "geotiff", "grounding", "imagefolder", "karpathy", "levir-cc",
             "llava", "llava-boxes", "messages", "parquet", "semantic", "voc", "webdataset", "yolo", "yolo-obb")
    assert exporter_names() == names
    for name in names:
        exporter = load_exporter(name)
        assert isinstance(exporter, Exporter)
        assert exporter.name == name
        json.dumps(exporter.options())


def test_an_unknown_option_names_the_nearest():
    with pytest.raises(InputError, match="did you mean 'rows_per_shard'"):
        load_exporter("parquet", {"rows_per_shards": 3})
