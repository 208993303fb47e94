"""Parquet and saved tables are read as they are now, whatever a cache of `datasets` holds under the same card."""

import json
import subprocess
import sys
from pathlib import Path

import datasets
import numpy as np
import pytest
from datasets import load_dataset
from PIL import Image

from terrasynth.training.data import read_pairs
from terrasynth.training.errors import ImageError, InputError
from tests.training.data.builders import items, parquet, saved

CARD = """---
dataset_info:
  features:
  - name: image
    dtype: image
  - name: captions
    sequence: string
  - name: label
    dtype:
      class_label:
        names:
          '0': harbor
          '1': forest
  splits:
  - {name: train, num_bytes: 8024, num_examples: 6}
  - {name: validation, num_bytes: 2900, num_examples: 2}
  - {name: test, num_bytes: 2900, num_examples: 2}
configs:
- config_name: default
  data_files:
  - {split: train, path: data/train-*}
  - {split: validation, path: data/validation-*}
  - {split: test, path: data/test-*}
---
"""
READ = """
import json, sys
from terrasynth.training.data import read_pairs
print(json.dumps(sorted([pair.split, pair.label, list(pair.captions), int(pair.open().getpixel((0, 0))[0])]
                        for pair in read_pairs(sys.argv[1]).pairs)))
"""


def seen(folder):
    return sorted([pair.split, pair.label, list(pair.captions), int(pair.open().getpixel((0, 0))[0])]
                  for pair in read_pairs(folder).pairs)


def elsewhere(folder):
    """What another process reads."""
    done = subprocess.run([sys.executable, "-c", READ, str(folder)], capture_output=True, text=True, check=True,
                          cwd=Path(__file__).parents[3])
    return json.loads(done.stdout)


def rewrite(folder, said):
    """Write other rows under the same names, card and row counts, the files as large as before."""
    import pyarrow.parquet as pq

    for path in sorted((folder / "data").glob("*.parquet")):
        table, size = pq.read_table(path), path.stat().st_size
        captions = [[said] for _ in range(len(table))]
        place = table.schema.get_field_index("captions")
        table = table.set_column(place, table.schema.field(place), [captions])
        pq.write_table(table, path)
        shortfall = size - path.stat().st_size
        assert shortfall >= 0
        # A footer may be longer: metadata of a key that nobody reads fills it up.
        for fill in range(max(0, shortfall - 64), shortfall + 1):
            pq.write_table(table.replace_schema_metadata((table.schema.metadata or {}) | {b"x": b"x" * fill}), path)
            if path.stat().st_size == size:
                break


def test_rows_that_changed_under_one_card_are_read_in_one_process_and_in_two(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    folder = parquet(tmp_path / "d", CARD)
    load_dataset(str(folder))  # so that there is a cache to be misled by
    first = seen(folder)
    assert elsewhere(folder) == first
    rewrite(folder, "said anew")
    second = seen(folder)
    assert {tuple(captions) for _, _, captions, _ in second} == {("said anew",)}
    assert elsewhere(folder) == second
    assert sorted((split, label, pixel) for split, label, _, pixel in second) == sorted(
        (split, label, pixel) for split, label, _, pixel in first)


def test_folders_of_one_name_are_two(tmp_path):
    one, other = parquet(tmp_path / "a" / "d", CARD), parquet(tmp_path / "b" / "d", CARD)
    rewrite(other, "of the other")
    assert {tuple(row[2]) for row in seen(other)} == {("of the other",)}
    assert ("of the other",) not in {tuple(row[2]) for row in seen(one)}


def test_a_saved_table_that_changed_is_read_anew(tmp_path):
    folder = saved(tmp_path / "d")
    before = seen(folder)
    import shutil

    shutil.rmtree(folder / "test")
    shutil.copytree(folder / "validation", folder / "test")
    after = seen(folder)
    assert after != before
    assert elsewhere(folder) == after


def test_it_agrees_with_the_library_where_that_is_asked_for_the_first_time(tmp_path):
    folder = parquet(tmp_path / "d", CARD)
    loaded = load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))
    ours = read_pairs(folder)
    for split, part in loaded.items():
        mine = ours.split({"validation": "val"}.get(split, split))
        assert [list(pair.captions) for pair in mine] == list(part["captions"])
        assert [pair.label for pair in mine] == [part.features["label"].names[number] for number in part["label"]]
        for pair, row in zip(mine, part, strict=True):
            np.testing.assert_array_equal(np.asarray(pair.open()), np.asarray(row["image"]))


def test_a_damaged_saved_table_is_an_error_before_a_row_is_taken(tmp_path):
    """`pyarrow` maps such a file without looking into it."""
    folder = saved(tmp_path / "d")
    path = next((folder / "train").glob("*.arrow"))
    content = path.read_bytes()
    assert b"number 0" in content
    path.write_bytes(content.replace(b"number 0", b"numb\xffr 0"))
    with pytest.raises(InputError, match=r"data 'd' cannot be read .*UTF8"):
        read_pairs(folder)


LAYOUTS = {
    "sharded": ["data/train-00000-of-00001", "data/validation-00000-of-00001", "data/test-00000-of-00001"],
    "folders": ["train/0000", "valid/0000", "test/0000"],
    "names": ["my_train_set", "my-dev-set", "x.test.1"],
    "long words": ["training", "validation", "evaluation"],
    "one": ["all", "rest", "more"],
    "some": ["train", "test", "extra"],
    "folders before names": ["train/test", "val/train", "other/test"],
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_splits_are_those_that_the_library_finds(tmp_path, name):
    built = sorted((parquet(tmp_path / "built") / "data").glob("*.parquet"))
    folder = tmp_path / "d"
    for source, place in zip(built, LAYOUTS[name], strict=True):
        (folder / f"{place}.parquet").parent.mkdir(parents=True, exist_ok=True)
        source.rename(folder / f"{place}.parquet")
    loaded = load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))
    ours = read_pairs(folder)
    assert {split: len(part) for split, part in loaded.items()} == {
        {"val": "validation"}.get(split, split): len(ours.split(split)) for split in ("train", "val", "test")
        if ours.split(split)}


@pytest.mark.parametrize("files", [
    "data/train-*", ["data/train-*", "data/test-*"],
    [{"split": "train", "path": "data/tr*"},
     {"split": "test", "path": ["data/val*", "data/test-00000-of-0000?.parquet"]}],
    [{"split": "validation", "path": "**/test-*.parquet"}],
])
def test_files_that_a_card_names(tmp_path, files):
    import yaml

    config = {"configs": [{"config_name": "default", "data_files": files}]}
    folder = parquet(tmp_path / "d", f"---\n{yaml.safe_dump(config)}---\n")
    loaded = load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))
    ours = read_pairs(folder)
    assert {split: len(part) for split, part in loaded.items()} == {
        {"val": "validation"}.get(split, split): len(ours.split(split)) for split in ("train", "val", "test")
        if ours.split(split)}


TWO = "---\nconfigs:\n- {config_name: a, data_files: data/train*}\n- {config_name: b, data_files: data/test*}\n---\n"


def test_configurations_are_named(tmp_path):
    folder = parquet(tmp_path / "d", TWO)
    with pytest.raises(InputError, match=r"has the configurations a, b; name one in a data YAML \(config: NAME\)"):
        read_pairs(folder)
    for config, count in (("a", 6), ("b", 2)):
        (tmp_path / "d.yaml").write_text(f"data: d\nconfig: {config}\n")
        assert len(read_pairs(tmp_path / "d.yaml").pairs) == count
    (tmp_path / "d.yaml").write_text("data: d\nconfig: c\n")
    with pytest.raises(InputError, match=r"config 'c' is not in 'd'; it has a, b"):
        read_pairs(tmp_path / "d.yaml")
    assert len(read_pairs(parquet(tmp_path / "e", TWO.replace("name: b,", "name: b, default: true,"))).pairs) == 2


@pytest.mark.parametrize(("card", "message"), [
    ("---\nconfigs:\n- config_name: a\n  data_files: x\n  data_files: y\n---\n",
     "README.md:5: not YAML .*'data_files' stands twice"),
    ("---\nconfigs: 5\n---\n", "README.md: configs is 5"),
    ("---\n[1]\n---\n", r"README.md: its header is \[1\]; a YAML mapping"),
    ("---\na: [\n---\n", "README.md:[23]: not YAML"),
    ("---\nconfigs:\n- {config_name: a, data_files: nothing*}\n---\n", "names no Parquet file that is there"),
    ("---\nconfigs:\n- {config_name: a, data_files: [5]}\n---\n", "data_files has 5"),
    ("---\na: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{name}: &{name} [{', '.join(['*' + chr(ord(name) - 1)] * 10)}]\n" for name in "bcdefgh") + "---\n",
     "README.md:[0-9]+: not YAML .*stands for more than"),
    ("---\n" + "a: &a [" + "[" * 5000 + "\n---\n", "README.md"),
])
def test_a_wrong_card_is_named(tmp_path, card, message):
    with pytest.raises(InputError, match=message) as refused:
        read_pairs(parquet(tmp_path / "d", card))
    assert "\n" not in str(refused.value)


def test_names_of_classes_may_be_in_the_card_alone(tmp_path):
    import pyarrow.parquet as pq

    folder = parquet(tmp_path / "d", CARD)
    for path in (folder / "data").glob("*.parquet"):
        pq.write_table(pq.read_table(path).replace_schema_metadata(None), path)
    assert read_pairs(folder).labels == ("forest", "harbor")
    (folder / "README.md").unlink()
    assert read_pairs(folder).labels == ("0", "1")


@pytest.mark.parametrize("column", ["label", "class"])
def test_a_number_below_zero_is_no_class(tmp_path, column):
    from datasets import ClassLabel, Dataset, Features, Value
    from datasets import Image as ImageFeature

    features = Features({"image": ImageFeature(), "text": Value("string"), column: ClassLabel(names=["a", "b"])})
    rows = [{"image": {"bytes": item.png(), "path": None}, "text": "x", column: number}
            for item, number in zip(items(), (1, -1, None, 0), strict=False)]
    table = Dataset.from_list(rows, features=features)
    (tmp_path / "d").mkdir()
    table.to_parquet(str(tmp_path / "d" / "train.parquet"))
    table.save_to_disk(tmp_path / "s")
    for folder in (tmp_path / "d", tmp_path / "s"):
        assert [pair.label for pair in read_pairs(folder).pairs] == ["b", "", "", "a"]


def test_a_file_that_changed_after_it_was_listed_is_not_read(tmp_path):
    folder = parquet(tmp_path / "d")
    pair = read_pairs(folder).split("test")[0]
    (folder / "data" / "validation-00000-of-00001.parquet").rename(folder / "data" / "test-00000-of-00001.parquet")
    with pytest.raises(ImageError, match="changed after it was listed"):
        pair.open()


def test_images_may_lie_beside_a_table(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    (tmp_path / "images").mkdir()
    Image.fromarray(items()[0].pixels).save(tmp_path / "images" / "a.png")
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    cells = [{"bytes": None, "path": "images/a.png"}, {"bytes": items()[1].png(), "path": "/nowhere"},
             {"bytes": None, "path": "images/b.png"}, {"bytes": None, "path": None}, None]
    table = pa.table({"image": pa.array(cells, kind), "text": ["a", "b", "c", "d", "e"]})
    pq.write_table(table, tmp_path / "train.parquet")
    data = read_pairs(tmp_path)
    assert [np.asarray(pair.open()).tobytes() for pair in data.pairs] == [items()[n].pixels.tobytes() for n in (0, 1)]
    assert len(data.skipped) == 3
    pq.write_table(pa.table({"image": [items()[0].png(), None], "text": ["a", "b"]}), tmp_path / "train.parquet")
    assert len(read_pairs(tmp_path).pairs) == 1
    pq.write_table(pa.table({"image": ["images/a.png", "../a.png"], "text": ["a", "b"]}), tmp_path / "train.parquet")
    with pytest.raises(InputError, match="outside of the data folder"):
        read_pairs(tmp_path)


def test_several_row_groups(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [{"image": item.png(), "text": str(number)} for number, item in enumerate(items())]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "train.parquet", row_group_size=3)
    pairs = read_pairs(tmp_path).pairs
    for number in (9, 0, 5, 2, 7):
        np.testing.assert_array_equal(np.asarray(pairs[number].open()), items()[number].pixels)


def test_what_git_lfs_left_is_named(tmp_path):
    (tmp_path / "data").mkdir()
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    (tmp_path / "data" / "train-0.parquet").write_text(pointer)
    with pytest.raises(InputError, match="a pointer of Git LFS; run git lfs pull"):
        read_pairs(tmp_path)
