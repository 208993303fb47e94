"""What `load_dataset` gives is what lies in the folder, whatever it prepared before of a folder of that name."""

import json
import re
import shutil

import datasets
import pytest

from terrasynth.synthesis import run
from terrasynth.synthesis.recipe import Recipe
from terrasynth.synthesis.verify.verifying import verify
from tests.synthesis.exports import exported
from tests.synthesis.helpers import rows

READ = """
import json, sys
import datasets
rows = datasets.load_dataset(sys.argv[1], split="train", cache_dir=sys.argv[2])
print(json.dumps([[row.get("text") or row.get("txt"), row.get("scores") and row["scores"].get("alignment")]
                  for row in rows]))
"""


def in_this_process(python, folder, cache):
    loaded = datasets.load_dataset(str(folder), split="train", cache_dir=str(cache))
    return [[row.get("text") or row.get("txt"), row.get("scores") and row["scores"].get("alignment")]
            for row in loaded]


def in_another_process(python, folder, cache):
    return json.loads(python.run("-c", READ, folder, cache, check=True).stdout)


BOTH = pytest.mark.parametrize("read", [in_this_process, in_another_process], ids=lambda read: read.__name__)


def export(run, name, folder):
    return exported(run, folder, name, shares=None)


@pytest.fixture(scope="module")
def trees(models):
    """Two recipes whose data have equal classes, counts, columns, and pictures of equal size."""
    first = {
        "name": "twice", "generator": {"model": str(models.generator), "steps": 1, "guidance": 1.0},
        "prompts": {"classes": ["beach", "river"]},
        "filters": [{"kind": "alignment", "encoder": str(models.encoder), "min_score": -1.0}],
        "target": {"per_class": 2, "max_attempts": 8},
        "runtime": {"block_size": 2, "device": "cpu", "dtype": "float32"},
    }
    judged_again = first | {"filters": [{"kind": "alignment", "encoder": str(models.other_encoder),
                                         "min_score": -1.0}]}
    return {"first": first, "judged again": judged_again, "other seed": first | {"seed": 1}}


def told(root):
    return [[row["text"], row["scores"]["alignment"]] for row in rows(root)]


@BOTH
def test_a_run_that_was_judged_again_is_not_taken_for_what_it_was(python, trees, tmp_path, read):
    out, seen = tmp_path / "run", []
    for name in ("first", "judged again", "first"):
        run(Recipe.parse(trees[name]), out)
        assert read(python, out, tmp_path / "cache") == told(out)
        seen.append(told(out))
    assert seen[0] == seen[2] != seen[1]


@BOTH
def test_two_runs_in_folders_of_one_name_are_two(python, trees, tmp_path, read):
    seen = []
    for name in ("first", "other seed"):
        out = tmp_path / name / "run"
        run(Recipe.parse(trees[name]), out)
        # of equal size as well, as far as the header told before
        assert read(python, out, tmp_path / "cache") == told(out)
        seen.append(told(out))
    assert seen[0] != seen[1]


@pytest.mark.parametrize("kind", ["parquet", "imagefolder", "webdataset", "messages"])
def test_an_export_that_was_made_again_is_not_taken_for_what_it_was(trees, tmp_path, kind):
    """Tars round to blocks of 10 KiB, so that other rows are often just as many bytes."""
    seen = []
    for name in ("first", "other seed"):
        run(Recipe.parse(trees[name]), tmp_path / name)
        out = tmp_path / "of one name" / "out"
        shutil.rmtree(out, ignore_errors=True)
        export(tmp_path / name, kind, out)
        loaded = datasets.load_dataset(str(out), split="train", cache_dir=str(tmp_path / "cache"))
        seen.append([row.get("id") or row.get("__key__") or row["json"]["id"] for row in loaded])
        assert sorted(seen[-1]) == sorted(row["id"] for row in rows(tmp_path / name))
    assert seen[0] != seen[1]


def test_a_card_that_speaks_of_other_data_is_a_fault(trees, tmp_path):
    for name in ("first", "judged again"):
        run(Recipe.parse(trees[name]), tmp_path / name)
    assert list(verify(tmp_path / "first")) == []
    shutil.copy(tmp_path / "judged again" / "README.md", tmp_path / "first" / "README.md")
    (fault,) = verify(tmp_path / "first")
    assert (fault.file, fault.remedy.name) == ("README.md", "WRITE")
    assert "data files of another content" in fault.what
    run(Recipe.parse(trees["first"]), tmp_path / "first", should_stop=None)


def test_the_header_of_a_card_is_one_that_the_hub_reads(trees, tmp_path):
    from huggingface_hub import DatasetCard

    run(Recipe.parse(trees["first"]), tmp_path / "run")
    card = DatasetCard.load(tmp_path / "run" / "README.md")
    info = datasets.info.DatasetInfosDict.from_dataset_card_data(card.data)["default"]
    assert info.splits["train"].num_examples == 4
    assert re.fullmatch(r"SHA-256 over the hashes of the data files: [0-9a-f]{64}", info.description)
