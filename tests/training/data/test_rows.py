"""What a row may hold: the schema, and the one line for what it may not."""

import json

import pytest

from terrasynth.training.data import read_pairs
from terrasynth.training.data.rows import captions_of, folder_split, gsd_of, label_of, split_of
from terrasynth.training.errors import InputError
from tests.training.data.builders import imagefolder, karpathy, pairs_jsonl, write_lines

MARKS = {"utf-8": b"\xef\xbb\xbf", "utf-16-le": b"\xff\xfe", "utf-16-be": b"\xfe\xff"}


@pytest.mark.parametrize(("value", "texts"), [
    ("one", ["one"]), (" one ", ["one"]), (["one", "two"], ["one", "two"]), (("one",), ["one"]), (None, []),
    (float("nan"), []), ('["one", "two"]', ["one", "two"]), ("['one', 'two']", ["one", "two"]),
    ("[aerial] a beach", ["[aerial] a beach"]), ("[1, 2]", ["[1, 2]"]), ({"raw": "one", "tokens": ["one"]}, ["one"]),
    ([{"raw": "one"}, {"raw": "two"}], ["one", "two"]),
    ({"raw": ["one", "two"], "tokens": [["one"], ["two"]]}, ["one", "two"]),
    ([{"tokens": ["one", "two"]}], ["one two"]), ('{"raw": "one"}', ["one"]),
    ({"caption": "one"}, ["one"]), ("{x} marks", ["{x} marks"]),
])
def test_captions(value, texts):
    assert captions_of(value, "f:1") == (texts, 0)


@pytest.mark.parametrize("value", [
    5, True, 0.5, [5], [["a"]], {"en": "a"}, [{"en": "a"}], b"a", {}, [True], "a \ud800",
])
def test_what_is_no_caption_is_named(value):
    with pytest.raises(InputError, match=r"^f:1: "):
        captions_of(value, "f:1")


@pytest.mark.parametrize("value", ["", " ", [""], [None], ["", " "], {"raw": ""}, [{"raw": None}]])
def test_empty_captions_are_counted(value):
    texts, empty = captions_of(value, "f:1")
    assert texts == []
    assert empty > 0 or value in ({"raw": ""},)


def test_captions_that_are_nested_without_end():
    value = "a"
    for _ in range(10_000):
        value = {"raw": value}
    with pytest.raises(InputError, match="nested too deeply"):
        captions_of(value, "f:1")


@pytest.mark.parametrize(("value", "label"), [(None, ""), (float("nan"), ""), (" a b ", "a b"), (3, "3"), ("", "")])
def test_classes(value, label):
    assert label_of(value, "f:1") == label


@pytest.mark.parametrize("value", [["a"], {"a": 1}, 0.5, True, "\ud800"])
def test_what_is_no_class_is_named(value):
    with pytest.raises(InputError, match=r"^f:1: the class"):
        label_of(value, "f:1")


@pytest.mark.parametrize(("value", "folder", "split"), [
    ("train", "", "train"), ("Validation", "", "val"), ("dev", "", "val"), ("restval", "", "train"),
    ("TEST ", "", "test"), (None, "", "train"), (None, "test", "test"), ("", "Val", "val"),
    ("train", "test", "train"), ("mine", "", "val"),
])
def test_splits(value, folder, split):
    assert split_of(value, folder, {"mine": "val", "not": None}, "f:1") == split
    assert split_of("not", folder, {"mine": "val", "not": None}, "f:1") is None


@pytest.mark.parametrize(("folders", "split"), [
    (("images", "train2017"), "train"), (("Val",), "val"), (("valley", "testing"), "test"), (("a",), ""), ((), ""),
    (("test_1", "train"), "test"), (("validation",), "val"),
])
def test_splits_of_folders(folders, split):
    assert folder_split(folders) == split


@pytest.mark.parametrize("value", [["train"], 5, "nowhere", {"a": 1}, True])
def test_what_is_no_split_is_named(value):
    with pytest.raises(InputError, match=r"^f:1: split .* is unknown; use one of train"):
        split_of(value, "", {}, "f:1")


@pytest.mark.parametrize(("value", "gsd"), [(0.3, 0.3), ("0.3", 0.3), (10, 10.0), (None, None), ("", None)])
def test_ground_sampling_distances(value, gsd):
    assert gsd_of(value, "f:1") == gsd


@pytest.mark.parametrize("value", [0, -1, "0.3 m", [1], True, float("inf"), 10**400])
def test_what_is_no_distance_is_named(value):
    with pytest.raises(InputError, match=r"^f:1: gsd is .*; meters per pixel"):
        gsd_of(value, "f:1")


@pytest.mark.parametrize("mark", sorted(MARKS))
@pytest.mark.parametrize("kind", ["pairs", "jsonl", "csv", "karpathy", "yaml"])
def test_a_byte_order_mark(tmp_path, kind, mark):
    folder = {"pairs": pairs_jsonl, "jsonl": imagefolder, "csv": lambda place: imagefolder(place, "csv"),
              "karpathy": karpathy, "yaml": pairs_jsonl}[kind](tmp_path / "d")
    (tmp_path / "data.yaml").write_text("data: d\n")
    marked = [tmp_path / "data.yaml"] if kind == "yaml" else [
        path for path in folder.rglob("*") if path.suffix in (".jsonl", ".csv", ".json")]
    for path in marked:
        path.write_bytes(MARKS[mark] + path.read_text().encode(mark))
    assert len(read_pairs(tmp_path / "data.yaml" if kind == "yaml" else folder).pairs) == 10


def _only(folder, content):
    pairs_jsonl(folder)
    (folder / "pairs.jsonl").write_bytes(content)
    with pytest.raises(InputError) as refused:
        read_pairs(folder)
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize(("line", "message"), [
    ('{"file": "images/harbor_0.png", "captions": ["ä"]}'.encode("latin-1"), "pairs.jsonl:2: byte 0xe4 is not UTF-8"),
    (b"[" * 100_000, "pairs.jsonl:2: nested too deeply"),
    (b'{"file": "a.png", "captions": ["a"], "captions": ["b"]}', "pairs.jsonl:2: the key 'captions' is given twice"),
    (b'{"file": 5, "captions": ["a"]}', "pairs.jsonl:2: file is 5; a text is needed"),
    (b'{"file": "", "captions": ["a"]}', "pairs.jsonl:2: file is ''; a text is needed"),
    (b'{"file": "images/harbor_0.png", "captions": ["a"], "split": ["train"]}',
     "pairs.jsonl:2: split ['train'] is unknown"),
    (b'{"file": "images/harbor_0.png", "captions": 5}', "pairs.jsonl:2: captions is 5; a text or a list"),
    (b'{"file": "images/harbor_0.png", "captions": ["a \\ud800"]}', "half of a surrogate pair"),
    (b'{"file": "images/harbor_0.png", "captions": ["a"], "n": 1' + b"0" * 5000 + b"}", "pairs.jsonl:2: not JSON"),
    (b"null", "pairs.jsonl:2: None is not a JSON object"),
])
def test_wrong_lines_are_named(tmp_path, line, message):
    good = b'{"file": "images/harbor_0.png", "captions": ["fine"]}\n'
    assert message in _only(tmp_path / "d", good + line + b"\n")


@pytest.mark.parametrize(("content", "message"), [
    ({"images": "abc"}, "dataset_x.json: images is 'abc'; a list of objects"),
    ({"images": [1]}, "dataset_x.json: images[0]: 1 is not a JSON object"),
    ({"images": [{"filename": "a.png"}]}, "dataset_x.json: images[0]: the key 'sentences' is missing"),
    ({"images": [{"sentences": []}]}, "dataset_x.json: images[0]: the key 'filename' is missing"),
    ({"images": [{"filename": "a.png", "filepath": 5, "sentences": []}]}, "images[0]: filepath is 5"),
    ({"harbor": [{"raw": "a"}]}, "dataset_x.json: harbor[0]: the key 'filename' is missing"),
    ({"harbor": [{"raw": "a", "filename": "a.png"}, 5]}, "dataset_x.json: harbor[1]: 5 is not a JSON object"),
    ([], "dataset_x.json holds no captions"),
])
def test_wrong_json_is_named(tmp_path, content, message):
    (tmp_path / "dataset_x.json").write_text(json.dumps(content))
    with pytest.raises(InputError) as refused:
        read_pairs(tmp_path)
    assert message in str(refused.value)


@pytest.mark.parametrize(("content", "message"), [
    ("file_name,text,text\na.png,b,c\n", "metadata.csv:1: the column 'text' is named twice"),
    ("file_name,text\na.png,one, two\n", "metadata.csv:2: 3 cells where the header has 2; quote a text"),
    ('file_name,text\na.png,"one\n', "metadata.csv:2: not CSV"),
    ("file,caption\n,b\n", "metadata.csv:2: file is ''; a text is needed"),
    ("name,text\na.png,b\n", "metadata.csv:2: the key 'file_name' is missing; it has name, text"),
])
def test_wrong_csv_is_named(tmp_path, content, message):
    (tmp_path / "metadata.csv").write_text(content)
    with pytest.raises(InputError) as refused:
        read_pairs(tmp_path)
    assert message in str(refused.value)


@pytest.mark.parametrize("separator", [";", "\t"])
def test_spreadsheets_of_other_countries(tmp_path, separator):
    folder = imagefolder(tmp_path / "d", "csv")
    for path in folder.rglob("*.csv"):
        rows = [line.split(",", 1) for line in path.read_text().splitlines()]
        text = "\r\n".join(separator.join([name, rest.rpartition(",")[0].strip('"'), rest.rpartition(",")[2]])
                           for name, rest in rows)
        path.write_text(("sep=;\r\n" if separator == ";" else "") + text)
    found = read_pairs(folder)
    assert len(found.pairs) == 10
    assert found.labels == ("forest", "harbor")


def test_one_caption_a_row_goes_together(tmp_path):
    folder = pairs_jsonl(tmp_path / "d")
    rows = [{"file": "images/harbor_0.png", "captions": text, "split": "train", "class": "harbor"}
            for text in ("one", "two", "one")]
    rows += [{"file": "./images/harbor_0.png", "captions": "three", "split": "test"},
             {"file": "images/harbor_0.png", "captions": "four", "class": "forest"}]
    write_lines(folder / "pairs.jsonl", rows)
    data = read_pairs(folder)
    assert [pair.captions for pair in data.pairs] == [("one", "two")]
    assert [row.reason for row in data.skipped] == [
        "the same image is in split train already", "the same image is of class 'harbor' already"]


@pytest.mark.parametrize(("names", "classes"), [
    ("COCO_val2014_{n:012d}.png", ()), ("COCO_train2014_{n:012d}.png", ()), ("{n}.png", ()), ("IMG_{n}.png", ()),
    ("DJI_{n:04d}.png", ()), ("tile_{n}.png", ()), ("train_{n:06d}.png", ()), ("{label}_{n}.png", ("forest", "harbor")),
    ("{label}{n:02d}.png", ("forest", "harbor")), ("solar_farm_{n}.png", ()), ("10002_693b08cb{n}e.png", ()),
])
def test_a_class_in_a_file_name_is_one(tmp_path, names, classes):
    folder = karpathy(tmp_path / "d", file=names.replace("{n", "{place") if "{label}" not in names else names)
    assert read_pairs(folder).labels == classes


def test_classes_nobody_knows_are_said(tmp_path):
    folder = karpathy(tmp_path / "d", file="{label}_{n}.png")
    content = json.loads((folder / "dataset_x.json").read_text())
    for row in content["images"]:
        old = row["filename"]
        row["filename"] = old.replace("harbor", "solar_farm").replace("forest", "quarry")
        (folder / "images" / old).rename(folder / "images" / row["filename"])
    (folder / "dataset_x.json").write_text(json.dumps(content))
    data = read_pairs(folder)
    assert data.labels == ("quarry", "solar_farm")
    assert data.notes == ["classes are what the file names in dataset_x.json begin with, such as quarry, solar_farm"]
