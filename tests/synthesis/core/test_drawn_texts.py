"""Runs of an earlier version, whose captions and scenes told of more than was drawn, are read by today's rule."""

import json
import re
import shutil
from pathlib import Path

import pytest

import terrasynth.synthesis.execution.block_maker
import terrasynth.synthesis.ledger.blocks
import terrasynth.synthesis.ledger.finished
import terrasynth.synthesis.ledger.shards
from terrasynth.synthesis import run
from terrasynth.synthesis.core.drawn_texts import LeftOut, what_holds
from terrasynth.synthesis.core.records import read_record, write_record
from terrasynth.synthesis.recipe import Recipe
from tests.prompts.truth import beyond
from tests.synthesis.exports import exported
from tests.synthesis.helpers import rows, times


def faults(kept):
    return [each for row in kept if (each := beyond(row["text"], row["captions"], row["scene"], row["label"]))]


@pytest.fixture
def old(written_before, tree, tmp_path):
    """A finished run as the version before wrote it, and its recipe."""
    return Path(shutil.copytree(written_before, tmp_path / "run")), Recipe.parse(tree)


@pytest.fixture(scope="module")
def written_before(run_once, tmp_path_factory):
    """The same, to be copied."""
    write = terrasynth.synthesis.ledger.blocks.Blocks.write
    folder = tmp_path_factory.mktemp("before") / "run"
    stored = {}

    def store(self, block):
        stored.update({(block.label, prompt.text): prompt for prompt in block.prompts})
        return drawn(self, block)

    def uncut(self, label, index, attempts, encoder, measured, *how):
        for attempt in attempts:
            prompt = stored[label, attempt.text]
            object.__setattr__(attempt, "captions", prompt.choices)
            object.__setattr__(attempt, "scene", prompt.whole)
        write(self, label, index, attempts, encoder, measured, *how)

    drawn = terrasynth.synthesis.execution.block_maker.BlockMaker.store
    with pytest.MonkeyPatch.context() as before:
        before.setattr(terrasynth.synthesis.execution.block_maker.BlockMaker, "store", store)
        before.setattr(terrasynth.synthesis.ledger.blocks.Blocks, "write", uncut)
        before.setattr(terrasynth.synthesis.ledger.shards, "what_holds", lambda row, left_out: row)
        before.setattr(terrasynth.synthesis.ledger.finished, "RULE", "0")
        run(Recipe.load(run_once / "recipe.yaml"), folder)
    assert faults(rows(folder))
    return folder


def test_the_same_command_writes_them_anew_and_draws_nothing(old, monkeypatch):
    folder, recipe = old
    blocks, kept = times(folder / "blocks"), rows(folder)

    def refuse(*arguments):
        raise AssertionError("the generator was loaded")

    monkeypatch.setattr(terrasynth.synthesis.execution.block_maker, "open_generator", refuse)
    result = run(recipe, folder)
    assert (result.drawn, result.missed) == (0, ())
    now = rows(folder)
    assert not faults(now)
    assert times(folder / "blocks") == blocks
    same = ("id", "image", "text", "seed", "label", "scores")
    assert [[row[name] for name in same] for row in now] == [[row[name] for name in same] for row in kept]
    changed = sum(row["captions"] != was["captions"] or row["scene"] != was["scene"]
                  for row, was in zip(now, kept, strict=True))
    card = (folder / "README.md").read_text()
    told = re.search(r"In (\d+) rows they said more .*; (\d+) captions were left out", card)
    assert int(told[1]) == changed
    assert int(told[2]) == sum(len(was["captions"]) - len(row["captions"]) for row, was in zip(now, kept, strict=True))
    assert "captions left out" in (folder / "report" / "index.html").read_text()
    before = times(folder)
    assert run(recipe, folder).drawn == 0
    assert times(folder) == before


def test_verify_says_so_and_a_repair_mends_it(old, terrasynth):
    folder, _ = old
    code, out, _ = terrasynth("verify", folder)
    assert code == 1
    assert re.search(r"data/train-00000\.parquet.*\d+ rows whose captions or scene say more than the text that was "
                     "drawn", out)
    code, out, _ = terrasynth("verify", folder, "--repair")
    assert code == 0, out
    assert not faults(rows(folder))
    assert terrasynth("verify", folder)[0] == 0


@pytest.mark.parametrize("name", ["imagefolder", "parquet", "llava", "coco", "webdataset"])
def test_an_export_keeps_only_what_holds(name, old, tmp_path):
    folder, _ = old
    out = tmp_path / "export"
    assert exported(folder, out, name, shares=None).rows == {"train": 15}
    texts = {row["id"]: row["text"] for row in rows(folder)}
    if name == "imagefolder":
        kept = [json.loads(line) for line in (out / "train" / "metadata.jsonl").read_text().splitlines()]
        assert not faults(kept)
    elif name == "parquet":
        assert not faults(rows(out))
    elif name == "llava":
        for entry in json.loads((out / "llava_train.json").read_text()):
            said = [turn["value"] for turn in entry["conversations"]]
            assert said[1] == texts[entry["id"]]
    elif name == "coco":
        found = json.loads((out / "annotations" / "captions_train.json").read_text())
        assert len(found["annotations"]) < sum(len(row["captions"]) for row in rows(folder))
    assert exported(folder, out, name, shares=None).changed is False


def test_an_export_of_the_version_before_is_made_again(old, tmp_path, terrasynth):
    folder, _ = old
    out = tmp_path / "export"
    exported(folder, out, "imagefolder", shares=None)
    marker = read_record(out / "terrasynth-export.json")
    del marker["content"]["texts"]
    write_record(out / "terrasynth-export.json", marker)
    code, said, _ = terrasynth("verify", out)
    assert code == 1
    assert "captions and scenes say more than the texts that were drawn" in said
    assert exported(folder, out, "imagefolder", shares=None).changed
    assert terrasynth("verify", out)[0] == 0


def test_a_push_waits_for_it(old, terrasynth):
    folder, recipe = old
    push = ("push", folder, "--repo", "user/name", "--dry-run", "--offline", "--licence", "cc-by-4.0")
    code, _, err = terrasynth(*push)
    assert code == 2
    assert "captions or scenes that say more than the texts that were drawn; run again" in err[-1]
    run(recipe, folder)
    assert terrasynth(*push)[0] == 0


def test_what_was_left_out_is_counted():
    left_out = LeftOut()
    row = {"text": "A beach.", "label": "beach", "captions": ["A beach.", "A beach with boats."], "scene": "{}", "k": 3}
    assert what_holds(row, left_out) == row | {"captions": ["A beach."]}
    assert what_holds(row | {"captions": ["A beach."], "scene": '{"boats":1}'}, left_out)["scene"] == "{}"
    assert what_holds(row | {"captions": ["A beach."]}, left_out) == row | {"captions": ["A beach."]}
    assert left_out == LeftOut(2, 1)
