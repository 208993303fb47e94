"""An export that is cut off, repeated, grown, or pointed at something that is not its own."""

import fcntl
import json
import os
import signal
from collections import Counter

import datasets
import pytest
import yaml

from terrasynth.synthesis.core.errors import InputError, RunError
from terrasynth.synthesis.export.marker import MARKER
from terrasynth.synthesis.export.plan import Plan
from tests.synthesis.exports import RECIPE, SPLITS, exported, run_rows, write_run
from tests.synthesis.helpers import fingerprint

FORMATS = ("parquet", "imagefolder", "webdataset", "coco", "karpathy", "llava", "messages", "geotiff")


def killed_after(rows, *arguments, **settings):
    """Export in a process that is killed when so many rows were read; whether it was."""
    process = os.fork()
    if not process:
        read, left = Plan.rows, [rows]

        def counting(plan, split=None):
            for row in read(plan, split):
                left[0] -= 1
                if left[0] < 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                yield row

        try:
            Plan.rows = counting
            exported(*arguments, **settings)
        finally:
            os._exit(0)
    _, status = os.waitpid(process, 0)
    return os.WIFSIGNALED(status)


def times(folder):
    return {path.relative_to(folder): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", FORMATS)
def test_killed_and_run_again_gives_the_bytes_of_one_go(tmp_path, name):
    run = write_run(tmp_path / "run", run_rows(6))
    options = {"rows_per_shard": 4} if name in ("parquet", "webdataset") else None
    exported(run, tmp_path / "whole", name, options=options)
    assert killed_after(0, run, tmp_path / "cut", name, options=options)
    for rows in (3, 9, 17):
        assert killed_after(rows, run, tmp_path / "cut", name, options=options)
        assert not json.loads((tmp_path / "cut" / MARKER).read_text())["content"]
    assert not killed_after(18, run, tmp_path / "cut", name, options=options)
    assert fingerprint(tmp_path / "cut") == fingerprint(tmp_path / "whole")


def test_finished_files_survive_a_kill(tmp_path):
    run = write_run(tmp_path / "run", run_rows(6))
    assert killed_after(11, run, tmp_path / "out", "webdataset", None, {"rows_per_shard": 4})
    before = times(tmp_path / "out")
    exported(run, tmp_path / "out", "webdataset", None, {"rows_per_shard": 4})
    after = times(tmp_path / "out")
    kept = {path for path in before if path.suffix == ".tar"}
    assert len(kept) == 2
    assert all(before[path] == after[path] for path in kept)


@pytest.mark.parametrize("name", FORMATS)
def test_a_second_call_has_nothing_to_do(tmp_path, name):
    run = write_run(tmp_path / "run", run_rows(4))
    first = exported(run, tmp_path / "out", name)
    before = times(tmp_path / "out")
    second = exported(run, tmp_path / "out", name)
    assert (first.changed, second.changed) == (True, False)
    assert (second.rows, second.left_out) == (first.rows, first.left_out)
    touched = {path.name for path, time in times(tmp_path / "out").items() if time != before[path]}
    assert touched <= {".lock"}


def test_a_file_that_went_missing_comes_back(tmp_path):
    run = write_run(tmp_path / "run", run_rows(4))
    exported(run, tmp_path / "out", "imagefolder")
    whole = fingerprint(tmp_path / "out")
    next((tmp_path / "out" / "train").glob("*.png")).unlink()
    assert exported(run, tmp_path / "out", "imagefolder").changed
    assert fingerprint(tmp_path / "out") == whole


@pytest.mark.parametrize("name", FORMATS)
def test_growth_adds_and_leaves_the_rest(tmp_path, name):
    options = {"rows_per_shard": 4} if name in ("parquet", "webdataset") else None
    run = write_run(tmp_path / "run", run_rows(6))
    exported(run, tmp_path / "out", name, options=options)
    before = times(tmp_path / "out")
    write_run(run, run_rows(12))
    assert exported(run, tmp_path / "out", name, options=options).changed
    after = times(tmp_path / "out")
    exported(run, tmp_path / "fresh", name, options=options)
    assert fingerprint(tmp_path / "out") == fingerprint(tmp_path / "fresh")
    touched = {path.as_posix() for path in before if before[path] != after.get(path)}
    # What has to be written anew: the lists of all rows, and the last shard of each split.
    lists = {"README.md", MARKER, ".lock", "left-out.jsonl", "index.json", "dataset_tiny.json"}
    lists |= {f"{place}{split}{end}" for split in SPLITS
              for place, end in (("", "/metadata.jsonl"), ("annotations/captions_", ".json"), ("llava_", ".json"))}
    per_split = Counter(path.rpartition("-")[0] for path in touched - lists)
    assert all(path.endswith((".tar", ".parquet")) for path in touched - lists)
    assert all(count == 1 for count in per_split.values())


def test_growth_keeps_splits_and_numbers(tmp_path):
    def images():
        return {
            (image["file_name"], path.name): image["id"]
            for path in (tmp_path / "out" / "annotations").iterdir() for image in json.loads(path.read_text())["images"]
        }

    run = write_run(tmp_path / "run", run_rows(5))
    exported(run, tmp_path / "out", "coco")
    before = images()
    exported(write_run(run, run_rows(15)), tmp_path / "out", "coco")
    assert len(images()) == 45
    assert before.items() <= images().items()


@pytest.mark.parametrize("name", ["parquet", "imagefolder", "webdataset"])
def test_a_grown_export_is_not_taken_for_what_it_was(tmp_path, name, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    run = tmp_path / "run"
    for per_class in (2, 4):
        exported(write_run(run, run_rows(per_class)), tmp_path / "out", name, None)
        loaded = datasets.load_dataset(str(tmp_path / "out"), split="train", cache_dir=str(tmp_path / "cache"))
        assert len(loaded) == 3 * per_class


def test_a_run_that_shrank_leaves_no_rest_and_no_foreign_file_is_touched(tmp_path):
    run = write_run(tmp_path / "run", run_rows(6))
    exported(run, tmp_path / "out", "imagefolder")
    (tmp_path / "out" / "train" / "notes.txt").write_text("mine")
    exported(write_run(run, run_rows(3)), tmp_path / "out", "imagefolder")
    assert len(list((tmp_path / "out").rglob("*.png"))) == 9
    assert (tmp_path / "out" / "train" / "notes.txt").read_text() == "mine"


def test_what_it_did_not_write_is_refused(tmp_path):
    run = write_run(tmp_path / "run", run_rows(1))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    before = fingerprint(tmp_path)
    for folder, words in ((tmp_path / "full", f"holds files and no {MARKER}"), (tmp_path / "file", "is a file"),
                          (run, "is the run itself")):
        with pytest.raises(InputError, match=words):
            exported(run, folder, "parquet")
    assert fingerprint(tmp_path) == before


def test_a_folder_keeps_to_how_it_was_made(tmp_path):
    run = write_run(tmp_path / "run", run_rows(2))
    exported(run, tmp_path / "out", "webdataset", None)
    before = fingerprint(tmp_path / "out")
    other = write_run(tmp_path / "other", run_rows(2))
    (other / "recipe.yaml").write_text(yaml.safe_dump(RECIPE | {"identity": "fedcba9876543210"}))
    for arguments, words in (
        ((run, "imagefolder", None), 'exporter: was "webdataset", now "imagefolder"'),
        ((run, "webdataset", SPLITS), "splits.train: was 1.0, now 0.6"),
        ((run, "webdataset", None, {"rows_per_shard": 7}), "options.rows_per_shard: was 1000, now 7"),
        ((other, "webdataset", None), "run.identity"),
    ):
        with pytest.raises(InputError, match=words):
            exported(arguments[0], tmp_path / "out", *arguments[1:])
    assert fingerprint(tmp_path / "out") == before


def test_a_marker_that_is_broken_is_named(tmp_path):
    run = write_run(tmp_path / "run", run_rows(1))
    (tmp_path / "out").mkdir()
    for content in ("{", "[]", '{"format": "another"}', '{"format": "terrasynth export 1", "unknown": 1}'):
        (tmp_path / "out" / MARKER).write_text(content)
        with pytest.raises(InputError, match=r"was not written by this version|cannot be believed"):
            exported(run, tmp_path / "out", "parquet")


def test_two_at_a_time_are_refused(tmp_path):
    run = write_run(tmp_path / "run", run_rows(1))
    exported(run, tmp_path / "out", "parquet")
    with (tmp_path / "out" / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="in use by another process"):
            exported(run, tmp_path / "out", "parquet")


def test_a_damaged_shard_and_a_run_that_goes_on_are_named(tmp_path):
    run = write_run(tmp_path / "run", run_rows(6))
    shard = run / "data" / "train-00000.parquet"
    whole = shard.read_bytes()
    shard.write_bytes(whole[: len(whole) // 2])
    with pytest.raises((RunError, InputError), match=r"train-00000.parquet cannot be read"):
        exported(run, tmp_path / "out", "coco")
    shard.write_bytes(whole)
    read = Plan.rows

    def growing(plan, split=None):
        for row in read(plan, split):
            write_run(run, run_rows(7))
            yield row

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Plan, "rows", growing)
        with pytest.raises(RunError, match="changed while it was read"):
            exported(run, tmp_path / "out", "coco")
    assert exported(run, tmp_path / "out", "coco").rows


def test_no_run_is_no_run(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"recipe\.yaml"):
        exported(tmp_path / "empty", tmp_path / "out", "coco")
    (tmp_path / "empty" / "recipe.yaml").write_text(yaml.safe_dump(RECIPE))
    with pytest.raises(InputError, match="no data/train"):
        exported(tmp_path / "empty", tmp_path / "out", "coco")
    assert not (tmp_path / "out").exists()
