"""Sets of texts as users have them: prompts, captions, plain lines."""

import json

import pytest

from terrasynth.prompts.errors import InputError
from terrasynth.prompts.text_sets import read_texts


def test_texts_of_prompts_and_of_real_captions_are_read(tmp_path):
    file = tmp_path / "both.jsonl"
    rows = [
        {"text": "A quay.", "label": "quay", "captions": ["A quay.", "One quay."], "scene": {}, "source": "x"},
        {"class": "mill", "captions": ["A mill .", "A windmill ."], "split": "train", "file": "a.png"},
        {"class": "mill", "captions": ["A dam ."], "split": "test"},
        {"caption": "Sand."},
    ]
    file.write_text("\n".join(map(json.dumps, rows)))
    real = [("mill", "A mill ."), ("mill", "A windmill ."), ("", "Sand.")]
    assert read_texts(file) == [("quay", "A quay."), *real]
    assert read_texts(file, all_captions=True) == [("quay", "A quay."), ("quay", "One quay."), *real]
    assert ("mill", "A dam .") in read_texts(file, split="all")
    lines = tmp_path / "lines.txt"
    lines.write_text("quay\tA quay.\n")
    assert read_texts(lines) == [("quay", "A quay.")]
    file.write_text(json.dumps(rows[2]))
    with pytest.raises(InputError, match="has no text of split 'val'; give another file or split"):
        read_texts(file, "val")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"label": "quay"}, "set.jsonl:1: no text; every row needs text, caption or captions"),
        ({"label": "a/b", "text": "A quay."}, "label 'a/b' must be text without slashes"),
        ({"label": "quay", "captions": [3]}, "text 3 must be text that is not empty"),
    ],
)
def test_wrong_rows_are_named(tmp_path, row, message):
    file = tmp_path / "set.jsonl"
    file.write_text(json.dumps(row))
    with pytest.raises(InputError, match=message):
        read_texts(file)
