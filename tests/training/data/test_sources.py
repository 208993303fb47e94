"""Data YAMLs, several data sets at once, and data of the Hub."""

import json

import numpy as np
import pytest

from terrasynth.training.data import hub, read_pairs, report_skipped
from terrasynth.training.data.pictures import load_splits
from terrasynth.training.errors import InputError
from tests.training.data.builders import FORMATS, items, pairs_jsonl, parquet, webdataset, write_lines


def relabeled(folder, **names):
    pairs_jsonl(folder)
    rows = [json.loads(line) for line in (folder / "pairs.jsonl").read_text().splitlines()]
    write_lines(folder / "pairs.jsonl", [row | {"class": names.get(row["class"], row["class"])} for row in rows])
    return folder


def test_two_data_sets_are_one(tmp_path, capsys):
    one = relabeled(tmp_path / "ucm")
    other = relabeled(tmp_path / "rsicd", harbor="Port", forest="solar farm")
    data = read_pairs([one, str(other)])
    assert data.sources == ("ucm", "rsicd")
    assert data.labels == ("forest", "harbor", "solar farm")
    assert data.notes == ["classes of one meaning go under one name: Port -> harbor"]
    assert [pair.source for pair in data.pairs] == [0] * 10 + [1] * 10
    assert len({pair.name for pair in data.pairs}) == 20
    assert data.pairs[0].name == "ucm/images/harbor_0.png"
    assert len(load_splits(data, 16)["train"]) == 12
    for _ in range(2):
        report_skipped(data)
    assert capsys.readouterr().err.count("Port -> harbor") == 1


def test_one_data_set_keeps_its_own_classes(tmp_path):
    data = read_pairs(relabeled(tmp_path / "rsicd", harbor="port", forest="farmland"))
    assert data.labels == ("farmland", "port")
    assert data.notes == []


@pytest.mark.parametrize(("theirs", "common"), [
    ("farmland", "agricultural"), ("port", "harbor"), ("parking", "parkinglot"), ("baseballfield", "baseballdiamond"),
    ("Baseball_Diamond", "baseballdiamond"), ("storage_tank", "storagetanks"), ("glacier", "glacier"),
    ("BareLand", "bareland"),
])
def test_classes_go_under_the_names_of_the_ontology(tmp_path, theirs, common):
    data = read_pairs([relabeled(tmp_path / "a", harbor=theirs), relabeled(tmp_path / "b")])
    assert {pair.label for pair in data.pairs if pair.name.startswith("a/images/harbor")} == {common}


def test_two_classes_of_one_data_set_stay_two(tmp_path):
    data = read_pairs([relabeled(tmp_path / "a", harbor="port", forest="harbor"), relabeled(tmp_path / "b")])
    assert {pair.label for pair in data.pairs if pair.source == 0} == {"port", "harbor"}


@pytest.mark.parametrize(("place", "said"), [
    ("own/dta.yaml", "is no file here; check its name (for data on the Hub write own/dta.yaml@main)"),
    ("elsewhere/dataset.json", "is no file here; check its name"),
    ("own/photoz", "is not here, and the folder own is; check its name (for data on the Hub write own/photoz@main)"),
    ("./photoz", "does not exist"), ("/nowhere/photoz", "does not exist"),
])
def test_a_mistyped_path_is_told_at_once_and_no_hub_is_asked(tmp_path, monkeypatch, place, said):
    def ask(source):
        raise AssertionError(f"the Hub was asked for {source.place}")

    monkeypatch.setattr(hub, "read_hub", ask)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own").mkdir()
    with pytest.raises(InputError) as told:
        read_pairs(place)
    assert f"data {place!r} {said}" in str(told.value)
    with pytest.raises(AssertionError, match="was asked for own/photoz@main"):
        read_pairs("own/photoz@main")


def test_folders_of_one_name_and_broken_ones(tmp_path):
    one, other = pairs_jsonl(tmp_path / "x" / "d"), pairs_jsonl(tmp_path / "y" / "d")
    assert read_pairs([one, other]).sources == ("d", "d-2")
    with pytest.raises(InputError, match="is named twice"):
        read_pairs([one, f"{one}/"])
    (other / "pairs.jsonl").write_text("5\n")
    with pytest.raises(InputError, match=r"^data '.*/y/d': pairs\.jsonl:1: 5 is not a JSON object"):
        read_pairs([one, other])
    with pytest.raises(InputError, match="no data is named"):
        read_pairs([])


def test_formats_go_together(tmp_path):
    places = [FORMATS[name](tmp_path / name) for name in ("pairs", "parquet", "webdataset", "geotiff", "saved", "nwpu")]
    data = read_pairs(places)
    assert len(data.pairs) == 60
    for pair in data.pairs:
        assert any(np.array_equal(np.asarray(pair.open()), item.pixels) for item in items())


def test_ground_sampling_distances(tmp_path):
    folder = pairs_jsonl(tmp_path / "d", gsd=0.3)
    assert {pair.gsd for pair in read_pairs(folder).pairs} == {0.3}
    webdataset(tmp_path / "w")
    (tmp_path / "both.yaml").write_text("- {data: d, gsd: 5}\n- {data: w, gsd: 10}\n")
    data = read_pairs(tmp_path / "both.yaml")
    assert [pair.gsd for pair in data.pairs] == [0.3] * 10 + [10.0] * 10
    assert {pair.gsd for pair in read_pairs(tmp_path / "w").pairs} == {None}


def test_columns_and_splits_of_a_data_yaml(tmp_path):
    from datasets import Dataset

    (tmp_path / "d").mkdir()
    for split in ("train", "testA", "unlabeled"):
        rows = [{"pic": {"bytes": item.png(), "path": None}, "says": item.captions[0], "kind": item.label, "m": 2}
                for item in items()]
        Dataset.from_list(rows).to_parquet(str(tmp_path / "d" / f"{split}.parquet"))
    (tmp_path / "d" / "README.md").write_text(
        "---\nconfigs:\n- config_name: default\n  data_files:\n" + "".join(
            f"  - {{split: {split}, path: {split}.parquet}}\n" for split in ("train", "testA", "unlabeled")) + "---\n")
    (tmp_path / "d.yaml").write_text(
        "data: d\ncolumns: {image: pic, captions: says, label: kind, gsd: m}\nsplits: {testA: val, unlabeled: null}\n")
    data = read_pairs(tmp_path / "d.yaml")
    assert {split: len(data.split(split)) for split in ("train", "val", "test")} == {"train": 10, "val": 10, "test": 0}
    assert data.labels == ("forest", "harbor")
    assert data.pairs[0].gsd == 2.0
    assert [(row.name, row.reason) for row in data.skipped] == [("split unlabeled", "10 rows left out as asked")]
    (tmp_path / "d.yaml").write_text("data: d\ncolumns: {image: pic, captions: says, label: null}\n"
                                     "splits: {testA: val, unlabeled: test}\n")
    assert read_pairs(tmp_path / "d.yaml").labels == ()
    (tmp_path / "d.yaml").write_text("data: d\ncolumns: {image: pic, captions: said}\n")
    with pytest.raises(InputError, match=r"column 'said' for captions is not in .*it has pic, says, kind, m"):
        read_pairs(tmp_path / "d.yaml")
    (tmp_path / "d.yaml").write_text("data: d\ncolumns: {image: pic, captions: says}\n")
    with pytest.raises(InputError, match=r"split 'testA' is unknown"):
        read_pairs(tmp_path / "d.yaml")


@pytest.mark.parametrize(("content", "message"), [
    ("data: d\ndata: e\n", "d.yaml:2: not YAML .*'data' stands twice"),
    ("data: d\ncolumns: {image: a, image: b}\n", "'image' stands twice"),
    ("", "d.yaml: None describes no data set"),
    ("[]", "d.yaml names no data set"),
    ("- data: d\n- 5\n", "d.yaml, entry 2: 5 describes no data set"),
    ("data: d\nband: [1]\n", r"d.yaml: unknown key 'band' \(did you mean 'bands'\?\)"),
    ("data: d\nbands: [1, 2]\n", "d.yaml: bands"),
    ("data: d\nbands: [0]\n", "d.yaml: bands"),
    ("data: d\nbands: [true]\n", "d.yaml: bands"),
    ("data: d\nrange: [9, 1]\n", r"d.yaml: range \[9, 1\] is wrong: .*the lower one first"),
    ("data: d\nrange: [0, .nan]\n", "d.yaml: range"),
    ("data: d\ngsd: 0\n", "d.yaml: gsd"),
    ("data: d\nfolders: [nowhere]\n", "folders: 'nowhere' is no folder"),
    ("data: d\nsplits: {a: b}\n", "d.yaml: splits"),
    ("data: nowhere\n", "data 'nowhere' does not exist"),
    ("data: [d]\n", "d.yaml: data"),
    ("data: 2024-99-99\n", "data '2024-99-99' does not exist"),
    ("data: 2024-02-03\n", "data '2024-02-03' does not exist"),
    ("? [1]\n: 2\n", "d.yaml"),
])
def test_a_wrong_data_yaml_is_named(tmp_path, content, message):
    pairs_jsonl(tmp_path / "d")
    (tmp_path / "d.yaml").write_text(content)
    with pytest.raises(InputError, match=message) as refused:
        read_pairs(tmp_path / "d.yaml")
    assert "\n" not in str(refused.value)


def test_without_a_slash_nothing_is_asked_of_the_hub(capsys):
    with pytest.raises(InputError, match=r"data 'missing' does not exist; give a folder, .* or a Hub id as user/name"):
        read_pairs("missing")
    assert capsys.readouterr().err == ""


def test_the_hub_is_named_before_it_is_asked_and_its_error_is_one_line(capsys):
    with pytest.raises(InputError, match=r"'no/such-data' is no folder .* cannot be had from the Hub ") as refused:
        read_pairs("no/such-data")
    assert "\n" not in str(refused.value)
    assert capsys.readouterr().err == "reading no/such-data from the Hugging Face Hub\n"


def test_brackets_in_a_path(tmp_path):
    assert len(read_pairs(parquet(tmp_path / "ucm [v2] *?")).pairs) == 10


def test_names_of_foreign_data_do_not_reach_the_terminal_as_they_are(tmp_path, capsys):
    folder = pairs_jsonl(tmp_path / "d")
    with (folder / "pairs.jsonl").open("a") as stream:
        stream.write(json.dumps({"file": "\x1b[31m\nred.png", "captions": "a"}) + "\n")
    report_skipped(read_pairs(folder))
    assert capsys.readouterr().err.splitlines() == [
        "left out \\x1b[31m red.png: the image file does not exist", "1 rows or captions left out, 10 pairs kept"]
