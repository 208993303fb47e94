"""Predictions and confusion matrices as scikit-learn, torchmetrics and pandas leave them, with errors on one line.

What is read: CSV (or with tabs or semicolons) and JSON Lines with a true and a predicted class in each row, JSON of two
lists, and confusion matrices as CSV or JSON, whose rows are the true classes.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from terrasynth.errors import nearest
from terrasynth.synthesis.core.errors import InputError, one_line
from terrasynth.synthesis.targeting.confusions import Confusions
from terrasynth.synthesis.targeting.measuring import HELD_BACK

TRUTH = ("truth", "true", "y_true", "true_label", "ground_truth", "actual", "target", "targets", "label", "labels",
         "class")
PREDICTED = ("prediction", "predictions", "predicted", "pred", "preds", "y_pred", "predicted_label", "pred_label")
"""Names of columns, in whatever case; the first that is there counts."""

MATRIX, NAMES = ("matrix", "confusion_matrix", "counts"), ("labels", "classes", "names")
SPLITS = {"validation": "val", "valid": "val", "dev": "val", "testing": HELD_BACK, "training": "train"}
LARGEST = 256 * 2**20
LONGEST_NUMBER = 9
MOST = 10**12
WAYS = ("give CSV or JSON Lines with columns such as truth and prediction, or a confusion matrix with the names of its "
        "classes (docs/targeting.md)")

Line = tuple[int, dict[str, Any]]


@dataclass(frozen=True)
class Predictions:
    """What a file says.

    Attributes:
        left_out: Rows of other splits.
        split_known: Whether the file says of which split its rows are.
    """

    confusions: Confusions
    left_out: int = 0
    split_known: bool = False


def read_predictions(path: Path, split: str = "val", labels: Sequence[str] | None = None) -> Predictions:
    r"""Read predictions, or a confusion matrix.

    Args:
        path: `.csv`, `.tsv`, `.jsonl`, `.ndjson` or `.json`.
        split: Rows that name another split are left out.
        labels: Names of the classes in the order of their numbers, where the file has numbers.

    Raises:
        InputError: The file cannot be read, is of none of these kinds, names no row of the split, or has numbers that
            no name belongs to.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> from terrasynth.synthesis.targeting.prediction_files import read_predictions
        >>> with TemporaryDirectory() as folder:
        ...     file = Path(folder, "val.csv")
        ...     _ = file.write_text("y_true,y_pred\nriver,road\nroad,road\n")
        ...     read_predictions(file).confusions.rivals("river")
        [('road', 1)]
    """
    text, kind = _text(path), path.suffix.lower()
    if kind in (".jsonl", ".ndjson"):
        return _of_rows(path, _json_lines(path, text), split, labels)
    if kind == ".json":
        return _of_json(path, _parsed(path, text), split, labels)
    if kind in (".csv", ".tsv"):
        return _of_csv(path, text, split, labels)
    raise InputError(f"{path.name}: the ending {path.suffix!r} is none of .csv, .tsv, .jsonl and .json; {WAYS}")


def of_matrix(matrix: Sequence[Sequence[float]], labels: Sequence[str], where: str = "the matrix") -> Confusions:
    """Confusions of a matrix of counts, rows the true classes, as scikit-learn and torchmetrics give it.

    Raises:
        InputError: It is not square, not of counts, or has other classes than are named.
    """
    rows = [list(row) if isinstance(row, list | tuple) else row for row in matrix]
    if not rows or any(not isinstance(row, list) or len(row) != len(rows) for row in rows):
        raise InputError(f"{where} has rows of other lengths than it has rows; a confusion matrix is square, its rows "
                         "the true classes")
    if len(set(labels)) != len(rows) or len(labels) != len(rows):
        raise InputError(f"{where} has {len(rows)} rows, and {len(rows)} different names of classes are needed; "
                         f"there are {len(set(labels))}")
    for row in rows:
        for count in row:
            if isinstance(count, bool) or not isinstance(count, int | float) or not 0 <= count < MOST or count % 1:
                raise InputError(f"{where} holds {count!r}, which is no number of images; give counts, not shares "
                                 "(normalize=None)")
    found = {truth: {seen: int(count) for seen, count in zip(labels, row, strict=True) if count}
             for truth, row in zip(labels, rows, strict=True)}
    found = {truth: row for truth, row in found.items() if row}
    if not found:
        raise InputError(f"{where} counts no image")
    return Confusions(found)


def _text(path: Path) -> str:
    try:
        if (size := path.stat().st_size) > LARGEST:
            raise InputError(f"{path.name} has {size:,} bytes and {LARGEST:,} are the most; give a confusion matrix")
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path.name} is not UTF-8; {WAYS}") from error
    except OSError as error:
        raise InputError(f"predictions {str(path)!r} cannot be read ({error.strerror}); check the path") from error


def _parsed(path: Path, text: str, line: int | None = None) -> Any:  # noqa: ANN401 - what the file holds
    try:
        return json.loads(text, parse_constant=lambda name: _fail(path, line, f"{name} is no number"))
    except (ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        _fail(path, line, f"not JSON ({one_line(error, 120)})")


def _json_lines(path: Path, text: str) -> Iterator[Line]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            row = _parsed(path, line, number)
            if not isinstance(row, dict):
                _fail(path, number, f"a JSON {type(row).__name__}, not an object with a true and a predicted class")
            yield number, row


def _of_json(path: Path, tree: Any, split: str, labels: Sequence[str] | None) -> Predictions:  # noqa: ANN401
    if isinstance(tree, dict):
        matrix = next((tree[name] for name in MATRIX if name in tree), None)
        if matrix is not None:
            names = next((tree[name] for name in NAMES if name in tree), None)
            return Predictions(_matrix(path, matrix, names if names is not None else labels))
        own = {name: tree[name] for name in tree if isinstance(tree[name], list)}
        columns = list(own.values())
        if len(own) == len(tree) and columns and len({len(column) for column in columns}) == 1:
            return _of_rows(path, ((place + 1, dict(zip(own, row, strict=True)))
                                   for place, row in enumerate(zip(*columns, strict=True))), split, labels)
    elif isinstance(tree, list) and tree and all(isinstance(row, dict) for row in tree):
        return _of_rows(path, enumerate(tree, 1), split, labels)
    elif isinstance(tree, list) and tree:
        return Predictions(_matrix(path, tree, labels))
    raise InputError(f"{path.name} holds neither predictions nor a confusion matrix; {WAYS}")


def _matrix(path: Path, matrix: Any, names: Any) -> Confusions:  # noqa: ANN401 - what the file holds
    if names is None:
        raise InputError(f"{path.name}: a confusion matrix without the names of its classes; give them in order "
                         '(--labels A,B,..., or {"labels": [...], "matrix": [...]})')
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise InputError(f"{path.name}: the names of the classes {names!r:.80} are no list of texts")
    if not isinstance(matrix, list):
        raise InputError(f"{path.name}: the matrix {matrix!r:.80} is no list of rows")
    return of_matrix(matrix, names, path.name)


def _of_csv(path: Path, text: str, split: str, labels: Sequence[str] | None) -> Predictions:
    first = text.partition("\n")[0]
    sign = max("\t;,", key=first.count)
    reader = csv.reader(text.splitlines(keepends=True), delimiter=sign, strict=True)
    try:
        lines = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if any(map(str.strip, row))]
    except csv.Error as error:
        _fail(path, reader.line_num, f"not CSV ({error}); check the quotes")
    if not lines:
        raise InputError(f"{path.name} is empty; {WAYS}")
    (_, header), rows = lines[0], lines[1:]
    for number, row in rows:
        if len(row) != len(header):
            _fail(path, number, f"{len(row)} values under {len(header)} columns")
    if _place(header, PREDICTED) is None and len(header) > 2 and [row[0] for _, row in rows] == header[1:]:
        counts = [[_count(path, number, cell) for cell in row[1:]] for number, row in rows]
        return Predictions(of_matrix(counts, header[1:], path.name))
    if len(set(header)) < len(header):
        _fail(path, 1, f"the header {sign.join(header)!r:.120} names a column twice")
    return _of_rows(path, ((number, dict(zip(header, row, strict=True))) for number, row in rows), split, labels)


def _count(path: Path, line: int, cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        _fail(path, line, f"{cell!r:.60} is no number of images")


def _of_rows(path: Path, rows: Iterator[Line] | enumerate[dict[str, Any]], split: str,
             labels: Sequence[str] | None) -> Predictions:
    pairs: list[tuple[str, str]] = []
    names: tuple[str, ...] = ()
    truth = seen = part = ""
    others: dict[str, int] = {}
    for number, row in rows:
        if tuple(row) != names:
            names = tuple(row)
            truth, seen, part = _columns(path, number, names)
        if part and (own := _split(row[part])) != _split(split):
            others[own] = others.get(own, 0) + 1
            continue
        pairs.append((_class(path, number, truth, row[truth], labels), _class(path, number, seen, row[seen], labels)))
    if not pairs:
        if HELD_BACK in others:
            raise InputError(f"{path.name}: its rows are of the split {HELD_BACK!r}, on which results are reported; "
                             f"what is drawn is chosen on others: give predictions for {split}")
        there = f"; it has rows of {', '.join(map(repr, others))}" if others else ""
        raise InputError(f"{path.name} has no prediction" + (f" of split {split!r}{there}" if others else f"; {WAYS}"))
    return Predictions(Confusions.of(pairs), sum(others.values()), bool(part))


def _columns(path: Path, line: int, names: Sequence[str]) -> tuple[str, str, str]:
    """The columns of the true class, of the predicted one, and of the split ("" for none)."""
    truth, seen, part = _place(names, TRUTH), _place(names, PREDICTED), _place(names, ("split",))
    if truth is None or seen is None:
        lacks, known = ("true", TRUTH) if truth is None else ("predicted", PREDICTED)
        close = next((word for name in names if (word := nearest(name.lower(), known))), "")
        _fail(path, line, f"no column of the {lacks} class among {', '.join(names)!r:.120}{close}; call it one of "
                          f"{', '.join(known[:4])}")
    return names[truth], names[seen], "" if part is None else names[part]


def _place(names: Sequence[str], known: Sequence[str]) -> int | None:
    said = [str(name).strip().lower() for name in names]
    return next((said.index(name) for name in known if name in said), None)


def _split(value: object) -> str:
    said = str(value).strip().lower()
    return SPLITS.get(said, said)


def _class(path: Path, line: int, column: str, value: object, labels: Sequence[str] | None) -> str:
    said = value.strip() if isinstance(value, str) else value
    if isinstance(said, str):
        bare = said.removeprefix("LABEL_")
        if said and not (bare.isdecimal() and len(bare) < LONGEST_NUMBER):
            return said
        said = int(bare) if bare else value
    if isinstance(said, float) and said.is_integer():  # as pandas writes numbers beside an empty cell
        said = int(said)
    if isinstance(said, bool) or not isinstance(said, int):
        _fail(path, line, f"{column} {value!r:.60} is no class; give its name, or its number with --labels")
    if labels is None:
        _fail(path, line, f"{column} {value!r:.60} is a number, not the name of a class; give the names in order "
                          "(--labels A,B,...)")
    if not 0 <= said < len(labels):
        _fail(path, line, f"{column} {value!r:.60} has no name: --labels has {len(labels)}, counted from 0")
    return labels[said]


def _fail(path: Path, line: int | None, problem: str) -> NoReturn:
    raise InputError(f"{path.name}{'' if line is None else f':{line}'}: {problem}")



def read_labels(text: str) -> tuple[str, ...]:
    """Names of classes in order: separated by commas, or the lines of a file.

    Raises:
        InputError: No name, one twice, or a file that cannot be read.

    Example:
        >>> from terrasynth.synthesis.targeting.prediction_files import read_labels
        >>> read_labels("beach, forest,river")
        ('beach', 'forest', 'river')
    """
    file = Path(text)
    names = _text(file).splitlines() if file.is_file() else text.split(",")
    found = tuple(name.strip() for name in names if name.strip())
    if not found or len(set(found)) < len(found):
        twice = next((name for name in found if found.count(name) > 1), "")
        raise InputError(f"--labels {text!r:.80}: " + (f"{twice!r} stands twice" if twice else "there is no name") +
                         "; give the names of the classes in the order of their numbers, from 0")
    return found
