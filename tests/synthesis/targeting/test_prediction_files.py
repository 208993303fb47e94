"""Files of predictions as libraries leave them, and what is said of those that cannot be read."""

import json

import numpy as np
import pytest

from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.targeting.prediction_files import read_labels, read_predictions

PAIRS = [("river", "road"), ("river", "river"), ("road", "road"), ("beach", "river")]
COUNTS = {"river": {"road": 1, "river": 1}, "road": {"road": 1}, "beach": {"river": 1}}
NAMES = ["beach", "river", "road"]


def _write(tmp_path, name, text):
    (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path / name


def _counts(found):
    return {truth: dict(row) for truth, row in found.confusions.counts.items()}


def _rows(pairs, truth="truth", seen="prediction"):
    return [{truth: one, seen: other} for one, other in pairs]


@pytest.mark.parametrize(("truth", "seen"), [("truth", "prediction"), ("y_true", "y_pred"), ("target", "preds"),
                                             ("Label", "Predicted"), ("class", "pred")])
def test_rows_of_every_kind(tmp_path, truth, seen):
    rows = _rows(PAIRS, truth, seen)
    csv = [f"file,{truth},{seen}", *(f"{n}.png,{one},{other}" for n, (one, other) in enumerate(PAIRS))]
    texts = {
        "a.csv": "\n".join(csv), "semicolon.csv": "\n".join(csv).replace(",", ";"),
        "a.tsv": "\n".join(csv).replace(",", "\t"), "bom.csv": "\ufeff" + "\r\n".join(csv),
        "a.jsonl": "\n".join(map(json.dumps, rows)) + "\n\n", "list.json": json.dumps(rows),
        "columns.json": json.dumps({truth: [row[truth] for row in rows], seen: [row[seen] for row in rows]}),
    }
    for name, text in texts.items():
        assert _counts(read_predictions(_write(tmp_path, name, text))) == COUNTS, name


def test_matrices_as_scikit_learn_torchmetrics_and_pandas_leave_them(tmp_path):
    from sklearn.metrics import confusion_matrix

    matrix = confusion_matrix([one for one, _ in PAIRS], [other for _, other in PAIRS], labels=NAMES)
    csv = "\n".join([",".join(["", *NAMES]), *(",".join([name, *map(str, row)])
                                               for name, row in zip(NAMES, matrix, strict=True))])
    assert _counts(read_predictions(_write(tmp_path, "pandas.csv", csv))) == COUNTS
    floats = csv.replace(",1", ",1.0").replace(",0", ",0.0")
    assert _counts(read_predictions(_write(tmp_path, "floats.csv", floats))) == COUNTS
    named = json.dumps({"labels": NAMES, "matrix": matrix.tolist()})
    assert _counts(read_predictions(_write(tmp_path, "named.json", named))) == COUNTS
    bare = _write(tmp_path, "bare.json", json.dumps(matrix.astype(np.float64).tolist()))
    assert _counts(read_predictions(bare, labels=NAMES)) == COUNTS
    with pytest.raises(InputError, match="without the names of its classes"):
        read_predictions(bare)


def test_numbers_take_the_names_in_order(tmp_path):
    numbered = [{"target": NAMES.index(one), "preds": f"LABEL_{NAMES.index(other)}"} for one, other in PAIRS]
    path = _write(tmp_path, "a.jsonl", "\n".join(map(json.dumps, numbered)))
    assert _counts(read_predictions(path, labels=NAMES)) == COUNTS
    csv = _write(tmp_path, "a.csv", "\n".join(["y_true,y_pred", *(f"{NAMES.index(one)},{NAMES.index(other)}"
                                                                  for one, other in PAIRS)]))
    assert _counts(read_predictions(csv, labels=NAMES)) == COUNTS
    for file in (path, csv):
        with pytest.raises(InputError, match=r":[12]: .* is a number, not the name of a class; give the names in"):
            read_predictions(file)
        with pytest.raises(InputError, match="has no name: --labels has 2, counted from 0"):
            read_predictions(file, labels=NAMES[:2])


def test_rows_of_other_splits_are_left_out_and_test_is_refused(tmp_path):
    rows = [row | {"split": split} for row, split in zip(_rows(PAIRS), ["val", "validation", "test", "train"],
                                                         strict=True)]
    found = read_predictions(_write(tmp_path, "a.jsonl", "\n".join(map(json.dumps, rows))))
    assert (_counts(found), found.left_out, found.split_known) == ({"river": {"road": 1, "river": 1}}, 2, True)
    assert not read_predictions(_write(tmp_path, "b.jsonl", "\n".join(map(json.dumps, _rows(PAIRS))))).split_known
    tested = [row | {"split": "test"} for row in _rows(PAIRS)]
    with pytest.raises(InputError, match="on which results are reported"):
        read_predictions(_write(tmp_path, "c.jsonl", "\n".join(map(json.dumps, tested))))


@pytest.mark.parametrize(("name", "text", "message"), [
    ("a.csv", "", "a.csv is empty"),
    ("a.csv", "truth,prediction\n", "a.csv has no prediction"),
    ("a.csv", "river,road\nroad,road\n", "a.csv:2: no column of the true class among 'river, road'"),
    ("a.csv", "truth,predictoin\nriver,road\n", "(did you mean 'prediction'?)"),
    ("a.csv", "truth,prediction\nriver\n", "a.csv:2: 1 values under 2 columns"),
    ("a.csv", 'truth,prediction\n"river,road\n', "not CSV"),
    ("a.csv", ",a,b\na,1,0\nb,x,1\n", "a.csv:3: 'x' is no number of images"),
    ("a.csv", ",a,b\na,0.5,0.5\nb,0,1\n", "give counts, not shares"),
    ("a.csv", ",a,b\na,1,inf\nb,0,1\n", "inf, which is no number of images"),
    ("a.csv", ",a,b\na,1,nan\nb,0,1\n", "nan, which is no number of images"),
    ("a.csv", ",a,b\na,0,0\nb,0,0\n", "counts no image"),
    ("a.jsonl", "[1]\n", "a.jsonl:1: a JSON list, not an object"),
    ("a.jsonl", '{"truth": "a"\n', "a.jsonl:1: not JSON"),
    ("a.jsonl", '{"truth": "a", "prediction": null}\n', "a.jsonl:1: prediction None is no class"),
    ("a.jsonl", '{"truth": "a", "prediction": ""}\n', "is no class"),
    ("a.jsonl", '{"truth": "a", "prediction": "b"}\n{"truth": "a"}\n', "a.jsonl:2: no column of the predicted class"),
    ("a.json", "7", "a.json holds neither predictions nor a confusion matrix"),
    ("a.json", "{}", "holds neither"),
    ("a.json", '{"labels": ["a", "b"], "matrix": [[1, 2]]}', "a confusion matrix is square"),
    ("a.json", '{"labels": ["a"], "matrix": [[1, 2], [3, 4]]}', "2 rows, and 2 different names of classes are needed"),
    ("a.json", '{"labels": ["a", "a"], "matrix": [[1, 2], [3, 4]]}', "there are 1"),
    ("a.json", '{"labels": ["a", "b"], "matrix": [[1, -2], [3, 4]]}', "holds -2"),
    ("a.json", '{"labels": ["a", "b"], "matrix": [[1, 1e999], [3, 4]]}', "inf, which is no number"),
    ("a.json", '{"labels": ["a", "b"], "matrix": [[1, NaN], [3, 4]]}', "NaN is no number"),
    ("a.json", '{"labels": ["a", "b"], "matrix": 3}', "is no list of rows"),
    ("a.txt", "a b", "the ending '.txt' is none of"),
])
def test_what_cannot_be_read_is_one_line(tmp_path, name, text, message):
    with pytest.raises(InputError) as error:
        read_predictions(_write(tmp_path, name, text))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_no_file_and_no_text(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_predictions(tmp_path / "none.csv")
    (tmp_path / "a.csv").write_bytes(b"truth,prediction\n\xff,\xfe\n")
    with pytest.raises(InputError, match="is not UTF-8"):
        read_predictions(tmp_path / "a.csv")


def test_labels_are_words_or_a_file(tmp_path):
    assert read_labels("a, b,c") == ("a", "b", "c")
    (tmp_path / "names.txt").write_text("a\nb\n\n")
    assert read_labels(str(tmp_path / "names.txt")) == ("a", "b")
    for text, message in (("a,b,a", "'a' stands twice"), (",", "there is no name")):
        with pytest.raises(InputError, match=message):
            read_labels(text)
