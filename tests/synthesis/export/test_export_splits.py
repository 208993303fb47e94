"""Splits: no prompt in two, every class in all, and nothing moves when the data set grows."""

import json
from collections import Counter, defaultdict

import pytest

from terrasynth.prompts import load_expander
from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.export.splits import ByPrompt, LeftOut, parse_splits
from tests.synthesis.exports import SPLITS, exported, run_rows, write_run

SHARES = {"train": 0.8, "validation": 0.1, "test": 0.1}


def stream(per_class, classes=("agricultural", "beach", "parkinglot")):
    """Rows in the order of a run; these classes repeat texts and scenes."""
    expander = load_expander("grammar")
    prompts = [expander.expand(label, 0, 0, per_class) for label in classes]
    return [{"text": one.text, "label": one.label, "scene": one.scene} for each in zip(*prompts, strict=True)
            for one in each]


def test_no_text_and_no_scene_is_in_two_splits():
    rows = stream(400)
    where = defaultdict(set)
    for row, split in zip(rows, ByPrompt(SHARES, 0).assign(rows), strict=True):
        if not isinstance(split, LeftOut):
            where["text", row["text"]].add(split)
            where["scene", row["scene"]].add(split)
    assert len(where) < 2 * len(rows)  # there are repeated ones
    assert all(len(splits) == 1 for splits in where.values())


def test_every_class_has_its_shares():
    rows = stream(100, ("airplane", "beach", "storagetanks"))
    counts = Counter(
        (row["label"], split) for row, split in zip(rows, ByPrompt(SHARES, 0).assign(rows), strict=True)
        if not isinstance(split, LeftOut)
    )
    for label in ("airplane", "beach", "storagetanks"):
        for split, share in SHARES.items():
            assert abs(counts[label, split] - 100 * share) <= 3


@pytest.mark.parametrize("shares", [SHARES, {"train": 0.5, "test": 0.5}, {"train": 1.0}])
def test_distinct_prompts_meet_the_shares_to_a_row(shares):
    rows = [{"text": f"picture {k}", "label": "a", "scene": "{}"} for k in range(200)]
    counts = Counter(ByPrompt(shares, 3).assign(rows))
    assert all(abs(counts[split] - share * 200) < len(shares) for split, share in shares.items())


def test_a_split_that_is_ahead_leaves_the_others_their_ratio():
    """Ten rows of one text are all in `train`; the next new text is drawn for the other two as 3 to 2."""
    found = Counter()
    for seed in range(600):
        rule = ByPrompt({"train": 0.5, "validation": 0.3, "test": 0.2}, seed)
        same = [{"text": "a quay", "label": "harbor", "scene": "{}"}] * 10
        if rule.assign(same)[0] == "train":
            found[rule.assign([{"text": "a pier", "label": "harbor", "scene": "{}"}])[0]] += 1
    assert found.keys() == {"validation", "test"}
    assert found["validation"] / found.total() == pytest.approx(0.6, abs=0.08)  # 3.3 and 2.2 rows are missing


def test_growth_moves_nothing_and_parts_do_not_matter():
    rows = stream(120)
    whole = ByPrompt(SHARES, 0).assign(rows)
    assert ByPrompt(SHARES, 0).assign(rows[:150]) == whole[:150]
    in_parts = ByPrompt(SHARES, 0)
    assert [one for start in range(0, len(rows), 7) for one in in_parts.assign(rows[start : start + 7])] == whole


def test_the_seed_decides():
    rows = stream(50)
    assert ByPrompt(SHARES, 0).assign(rows) == ByPrompt(SHARES, 0).assign(rows)
    assert ByPrompt(SHARES, 0).assign(rows) != ByPrompt(SHARES, 1).assign(rows)


def test_case_and_marks_make_no_other_text():
    rows = [{"text": text, "label": "a", "scene": "{}"} for text in ("A beach .", "a Beach", "A  beach!")]
    for seed in range(20):
        assert len(set(ByPrompt({"train": 0.5, "test": 0.5}, seed).assign(rows))) == 1


def test_a_row_between_two_splits_is_left_out_and_listed(tmp_path):
    rule = ByPrompt({"train": 0.5, "test": 0.5}, 0)
    first, second, bridge = rule.assign([
        {"text": "one", "label": "a", "scene": '{"s":1}'}, {"text": "two", "label": "a", "scene": '{"s":2}'},
        {"text": "one", "label": "a", "scene": '{"s":2}'},
    ])
    assert {first, second} == {"train", "test"}
    assert bridge == LeftOut("prompt in two splits", f"its text is in {first} and its scene in {second}")

    rows = run_rows(10)
    for number, row in enumerate(rows):  # scenes that every text of the class implies, each another one
        row["scene"] = f'{{"label":"{row["label"]}","season":"{"" if number % 2 else " " * number}"}}'
    splits = ByPrompt(SPLITS, 0).assign(rows)
    one = next(row for row, split in zip(rows, splits, strict=True) if split == "train" and row["label"] == "beach")
    other = next(row for row, split in zip(rows, splits, strict=True) if split == "test" and row["label"] == "beach")
    rows.append(one | {"id": "f" * 16, "scene": other["scene"]})
    done = exported(write_run(tmp_path / "run", rows), tmp_path / "out", "coco")
    assert done.left_out == {"prompt in two splits": 1}
    assert sum(done.rows.values()) == 30
    listed = [json.loads(line) for line in (tmp_path / "out" / "left-out.jsonl").read_text().splitlines()]
    assert [(row["id"], row["reason"]) for row in listed] == [("f" * 16, "prompt in two splits")]
    assert "1 prompt in two splits" in (tmp_path / "out" / "README.md").read_text()


def test_a_split_without_rows_is_said(tmp_path):
    run = write_run(tmp_path / "run", run_rows(1, ["beach"]))
    done = exported(run, tmp_path / "out", "coco")
    assert len(done.rows) == 1
    assert len(done.notes) == 2
    assert all("has no rows" in note for note in done.notes)


def test_shares_are_read():
    assert parse_splits("train=0.8,validation=0.1,test=0.1") == SHARES
    assert list(parse_splits("test=0.3, val=0.7")) == ["validation", "test"]
    assert parse_splits("train=0.7,val=0.2,test=0.1")["validation"] == 0.2  # their sum is not exactly 1 in floats


@pytest.mark.parametrize(("text", "words"), [
    ("train=0.8,tset=0.2", "did you mean 'test'"),
    ("train=0.8", "sum to 0.8"),
    ("train=0.8,test=0.4", r"sum to 1\.2"),
    ("train=0.5,train=0.5", "twice"),
    ("train=1,test=0", "'0' of test"),
    ("train=-1,test=2", "'-1' of train"),
    ("train=nan,test=0.5", "'nan' of train"),
    ("train=a", "'a' of train"),
    ("train", "'' of train"),
    ("", "'' is no split"),
])
def test_wrong_shares_are_named(text, words):
    with pytest.raises(InputError, match=words):
        parse_splits(text)
