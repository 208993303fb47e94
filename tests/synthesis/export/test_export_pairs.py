"""Exports of before-and-after pairs, read back and compared with the edit of each row, to the pixel."""

import json
import re

import datasets
import numpy as np
import pytest
from PIL import Image

from terrasynth.prompts.layouts.changes import pair_of
from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.core.images import decode
from terrasynth.synthesis.verify.verifying import verify
from terrasynth.training.data.reading import read_pairs
from tests.synthesis.export.test_export_resume import killed_after
from tests.synthesis.exports import SIDE, exported, pair_rows, write_run
from tests.synthesis.helpers import fingerprint

SPLITS = {"train": 0.5, "validation": 0.25, "test": 0.25}


@pytest.fixture(scope="module")
def paired_rows():
    rows = pair_rows(8)
    assert {row["changed"] for row in rows} == {True, False}
    return rows


@pytest.fixture(scope="module")
def paired(paired_rows, tmp_path_factory):
    """The run directory, to be read alone."""
    return write_run(tmp_path_factory.mktemp("paired") / "run", paired_rows)


def levir_cc(folder):
    """Id -> split, flag, three arrays and sentences, as readers of LEVIR-CC find them."""
    found = {}
    for one in json.loads((folder / "LevirCCcaptions.json").read_text())["images"]:
        assert one["filepath"] == one["split"] == one["filename"].split("_")[0]
        arrays = [np.asarray(Image.open(folder / "images" / one["filepath"] / side / one["filename"]))
                  for side in ("A", "B", "label")]
        assert [each["sentid"] for each in one["sentences"]] == one["sentids"]
        assert {each["imgid"] for each in one["sentences"]} == {one["imgid"]}
        found[one["filename"].split("_")[1].partition(".")[0]] = (
            one["split"], one["changeflag"], arrays, [each["raw"] for each in one["sentences"]],
            [each["tokens"] for each in one["sentences"]], one["imgid"])
    return found


@pytest.mark.parametrize("side", [SIDE, 2 * SIDE, SIDE // 4])
def test_levir_cc_has_pairs_masks_and_sentences(tmp_path, paired_rows, side):
    rows = paired_rows if side == SIDE else pair_rows(8, side)
    done = exported(write_run(tmp_path / "run", rows), tmp_path / "out", "levir-cc", SPLITS)
    found = levir_cc(tmp_path / "out")
    assert {name: sum(one[0] == short for one in found.values())
            for name, short in (("train", "train"), ("validation", "val"), ("test", "test"))} == done.rows
    assert sorted(one[5] for one in found.values()) == list(range(len(rows)))
    for row in rows:
        _, flag, (before, after, label), raw, tokens, _ = found[row["id"]]
        pair = pair_of(row["layout"], row["edit"])
        assert (before == decode(row["image"]["bytes"])).all()
        assert (after == decode(row["image_after"]["bytes"])).all()
        assert label.shape == (side, side)
        assert label.dtype == np.uint8
        assert (label == 255 * pair.mask_at(side)).all()
        assert flag == pair.changed == label.any()
        assert raw == list(pair.captions)
        assert tokens == [re.sub(r"[^a-z ]", "", text.lower()).split() for text in raw]


def test_training_reads_what_was_exported(paired, paired_rows, tmp_path):
    exported(paired, tmp_path / "out", "levir-cc", SPLITS)
    by_caption = {tuple(row["change_captions"]): [] for row in paired_rows}
    for row in paired_rows:
        by_caption[tuple(row["change_captions"])].append(row)
    pairs = read_pairs(tmp_path / "out").pairs
    assert len(pairs) == len(paired_rows)
    for pair in pairs:
        of = [row for row in by_caption[pair.captions]
              if (decode(row["image_after"]["bytes"]) == np.asarray(pair.open())).all()]
        assert len(of) == 1
        assert (decode(of[0]["image"]["bytes"]) == np.asarray(pair.before())).all()


def test_killed_grown_and_verified(tmp_path, paired_rows):
    run = write_run(tmp_path / "run", paired_rows[:4])
    assert killed_after(3, run, tmp_path / "cut", "levir-cc", SPLITS)
    exported(run, tmp_path / "cut", "levir-cc", SPLITS)
    assert not exported(run, tmp_path / "cut", "levir-cc", SPLITS).changed
    exported(write_run(run, paired_rows), tmp_path / "cut", "levir-cc", SPLITS)
    exported(run, tmp_path / "whole", "levir-cc", SPLITS)
    assert fingerprint(tmp_path / "cut") == fingerprint(tmp_path / "whole")
    assert list(verify(tmp_path / "cut")) == []
    readme = (tmp_path / "cut" / "README.md").read_text()
    assert "`A` is the image before, `B` the one after" in readme
    given = {}
    code = re.search(r"```python\n(.*?)```", readme, re.DOTALL)[1].replace("FOLDER", str(tmp_path / "cut"))
    exec(f"{code}\nbefore, after = before, after", given)
    assert len(given["pairs"]) == len(paired_rows)


def test_a_run_of_single_images_is_refused(placed, tmp_path):
    with pytest.raises(InputError, match=r"format levir-cc writes pairs of before and after, and run '.*' has single"):
        exported(placed, tmp_path / "out", "levir-cc")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["parquet", "imagefolder"])
def test_data_sets_keep_all_of_a_pair(paired, paired_rows, tmp_path, name):
    exported(paired, tmp_path / "out", name, None)
    assert list(verify(tmp_path / "out")) == []
    loaded = {row["text_after"] if name == "parquet" else json.loads(row["provenance"])["text_after"]: row
              for row in datasets.load_dataset(str(tmp_path / "out"), split="train")}
    for row in paired_rows:
        own, pair = loaded[row["text_after"]], pair_of(row["layout"], row["edit"])
        assert (np.asarray(own["image"]) == decode(row["image"]["bytes"])).all()
        assert (np.asarray(own["image_after"]) == decode(row["image_after"]["bytes"])).all()
        assert (np.asarray(own["change"]) == pair.mask).all()
        assert own["changed"] is pair.changed
        assert own["change_captions"] == list(pair.captions)
        assert np.asarray(own["mask_after"]).shape == (SIDE, SIDE)


@pytest.mark.parametrize("name", ["webdataset", "karpathy", "coco-instances", "llava"])
def test_other_formats_have_the_image_before(paired, paired_rows, tmp_path, name):
    exported(paired, tmp_path / "out", name, None)
    assert list(verify(tmp_path / "out")) == []
    if name == "webdataset":
        row = next(iter(datasets.load_dataset(str(tmp_path / "out"), split="train", streaming=True)))
        assert (np.asarray(row["png"]) == decode(paired_rows[0]["image"]["bytes"])).all()
        assert json.loads(row["json"]["provenance"])["edit"] == paired_rows[0]["edit"]
        return
    stored = {path.read_bytes() for path in (tmp_path / "out").rglob("*.png")}
    assert stored == {row["image"]["bytes"] for row in paired_rows}
