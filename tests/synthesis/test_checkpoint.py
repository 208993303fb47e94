"""A checkpoint saves reading and can never change what comes of a run."""

import hashlib
import random
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import synthesis.checkpoint
import synthesis.files
from synthesis import run
from synthesis.blocks import WRITTEN
from synthesis.checkpoint import FILE, FORMAT, Checkpoint
from synthesis.events import BlockDone
from synthesis.job import Job
from synthesis.recipe import Recipe
from tests.synthesis.helpers import fingerprint

OWN = {"runtime.json", "finished.json", FILE, ".lock"}


class KilledError(BaseException):
    pass


# A recipe without a filter that remembers accepted pictures, and with one that does, by either encoder. The thresholds
# lie in the middle of what the tiny pictures score.
THUMBNAIL, EMBEDDINGS = ("thumbnail", 0.1), ("encoder", 0.996)


def remembering(*kinds):
    return pytest.mark.parametrize("tree", kinds, indirect=True, ids=lambda each: "none" if each is None else each[0])


@pytest.fixture
def tree(request, tree, models):
    tree["generator"]["steps"] = 1
    tree["target"]["per_class"] = 12
    tree["filters"] = [
        {"kind": "alignment", "encoder": str(models.encoder), "min_score": 0.0},
        {"kind": "alignment", "encoder": str(models.other_encoder), "quantile": 0.2, "calibrate_on": 6},
    ]
    if getattr(request, "param", None):
        encoder, highest = request.param
        encoder = {"thumbnail": encoder, "encoder": str(models.encoder)}[encoder]
        tree["filters"].append({"kind": "duplicate", "encoder": encoder, "max_similarity": highest})
    return tree


@pytest.fixture(autouse=True)
def after_every_block(monkeypatch):
    monkeypatch.setattr(synthesis.checkpoint, "EVERY_SECONDS", 0.0)
    monkeypatch.setattr(synthesis.checkpoint, "MOST_SHARE", float("inf"))


@pytest.fixture
def read(monkeypatch):
    """The blocks whose content is looked at."""
    found = []
    real = Job.check_block
    monkeypatch.setattr(
        Job, "check_block", lambda job, label, index: found.append((label, index)) or real(job, label, index)
    )
    return found


def results(out):
    return {name: content for name, content in fingerprint(out).items() if name not in OWN}


def killed_after(tree, out, blocks):
    seen = []

    def listen(event):
        seen.extend([event] if isinstance(event, BlockDone) else [])
        if len(seen) == blocks:
            raise KilledError

    with pytest.raises(KilledError):
        run(Recipe.parse(tree), out, listen)


def block_files(out):
    return sorted((out / "blocks").glob("*/*.parquet"))


def with_other_scores(path):
    table = pq.read_table(path)
    scores = [{"alignment": 0.5 + row / 100} for row in range(len(table))]
    place = table.schema.get_field_index("scores")
    changed = table.set_column(place, table.schema.field(place), pa.array(scores, table.schema.field(place).type))
    pq.write_table(changed.replace_schema_metadata(pq.read_schema(path).metadata), path, **WRITTEN)


@remembering(None, THUMBNAIL, EMBEDDINGS)
@pytest.mark.parametrize("blocks", [1, 4, 8])
def test_a_killed_run_goes_on_as_if_never_killed(tree, tmp_path, read, blocks):
    run(Recipe.parse(tree), tmp_path / "whole")
    killed_after(tree, tmp_path / "run", blocks)
    del read[:]
    run(Recipe.parse(tree), tmp_path / "run")
    # The first blocks of a class wait for the threshold, and the last one before the kill was not noted.
    assert {index for _, index in read} <= {0, 1, (blocks - 1) // 3}
    assert results(tmp_path / "run") == results(tmp_path / "whole")


def test_nothing_is_read_where_no_threshold_has_to_be_learned(tree, tmp_path, read):
    del tree["filters"][1]
    tree["filters"][0]["min_score"] = -1.0
    tree["target"] = {"per_class": 16, "max_attempts": 16}
    run(Recipe.parse(tree), tmp_path / "whole")
    killed_after(tree, tmp_path / "run", 9)
    run(Recipe.parse(tree), tmp_path / "run")
    assert len(read) == 1, "the block after which it was killed"
    assert results(tmp_path / "run") == results(tmp_path / "whole")


def touch(out):
    block_files(out)[0].touch()


def replace_by_a_copy(out):
    path = block_files(out)[1]
    shutil.copy2(path, out / "copy")
    (out / "copy").replace(path)


def remove_a_block(out):
    block_files(out)[2].unlink()


def remove_scores(out):
    next((out / "scores").glob("*/*/*.parquet")).unlink()


def remove_checkpoint(out):
    (out / FILE).unlink()


def cut_checkpoint(out):
    content = (out / FILE).read_bytes()
    (out / FILE).write_bytes(content[: len(content) // 2])


def empty_checkpoint(out):
    (out / FILE).write_bytes(b"")


def checkpoint_of_another_version(out):
    content = (out / FILE).read_bytes()[: -hashlib.sha256().digest_size]
    older = content.replace(f'"format":{FORMAT}'.encode(), f'"format":{FORMAT - 1}'.encode(), 1)
    assert older != content
    (out / FILE).write_bytes(older + hashlib.sha256(older).digest())


def older_checkpoint_and_leftover(out):
    (out / (FILE + ".tmp")).write_bytes((out / FILE).read_bytes()[:100])


CHANGES = (touch, replace_by_a_copy, remove_a_block, remove_scores, remove_checkpoint, cut_checkpoint,
           empty_checkpoint, checkpoint_of_another_version, older_checkpoint_and_leftover)


@remembering(None, THUMBNAIL)
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_what_happens_to_files_changes_no_result(tree, tmp_path, change):
    run(Recipe.parse(tree), tmp_path / "whole")
    killed_after(tree, tmp_path / "run", 8)
    change(tmp_path / "run")
    run(Recipe.parse(tree), tmp_path / "run")
    assert results(tmp_path / "run") == results(tmp_path / "whole")


@remembering(None, EMBEDDINGS)
@pytest.mark.parametrize("place", [0, -1])
def test_scores_that_were_changed_count(tree, tmp_path, place):
    tree["filters"][:2] = [{**tree["filters"][0], "min_score": None, "quantile": 0.5, "calibrate_on": 6}]
    outs = [tmp_path / "with", tmp_path / "without"]
    for out in outs:
        killed_after(tree, out, 8)
        with_other_scores(sorted((out / "blocks" / "beach").iterdir())[place])
    (outs[1] / FILE).unlink()
    for out in outs:
        run(Recipe.parse(tree), out)
    assert results(outs[0]) == results(outs[1])


def another_score(filters):
    filters[0]["min_score"] = 0.02


def another_similarity(filters):
    filters[-1]["max_similarity"] -= 0.002


def one_before(filters):
    filters.insert(0, {**filters[0], "encoder": filters[1]["encoder"]})


def one_that_remembers(filters):
    filters.append({"kind": "duplicate", "max_similarity": 0.12})


def none_that_remembers(filters):
    filters[:] = [each for each in filters if each["kind"] != "duplicate"]


@pytest.mark.parametrize(("tree", "change"), [
    (None, another_score), (None, one_that_remembers), (THUMBNAIL, one_before), (THUMBNAIL, another_similarity),
    (EMBEDDINGS, another_score), (EMBEDDINGS, another_similarity), (EMBEDDINGS, one_that_remembers),
    (EMBEDDINGS, none_that_remembers),
], indirect=["tree"])
def test_other_filters_decide_anew(tree, tmp_path, change):
    killed_after(tree, tmp_path / "run", 8)
    change(tree["filters"])
    for name in ("run", "whole"):
        run(Recipe.parse(tree), tmp_path / name)
    assert fingerprint(tmp_path / "run" / "data") == fingerprint(tmp_path / "whole" / "data")


@remembering(None, EMBEDDINGS)
def test_every_flipped_bit_is_noticed(tree, tmp_path):
    out = tmp_path / "run"
    killed_after(tree, out, 8)
    job = Job(Recipe.parse(tree), out)
    places = [(path.parent.name, int(path.stem)) for path in block_files(out)]

    def known():
        found = Checkpoint.of(job, [])
        return sum(found.known(*place, found.stamps(*place)) is not None for place in places)

    assert known() == 7
    content = (out / FILE).read_bytes()
    moments = random.Random(0)
    for _ in range(300):
        bit = moments.randrange(8 * len(content))
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        (out / FILE).write_bytes(changed)
        assert known() == 0


@pytest.mark.parametrize("writes", [1, 3])
def test_killed_while_writing_the_checkpoint(tree, tmp_path, monkeypatch, writes):
    real, seen = synthesis.files.os.replace, []

    def replace(source, target):
        if Path(target).name == FILE:
            seen.append(target)
            if len(seen) == writes:
                Path(source).with_name("left.tmp").write_bytes(Path(source).read_bytes()[:50])
                raise KilledError
        real(source, target)

    run(Recipe.parse(tree), tmp_path / "whole")
    with monkeypatch.context() as patched:
        patched.setattr(synthesis.files.os, "replace", replace)
        with pytest.raises(KilledError):
            run(Recipe.parse(tree), tmp_path / "run")
    run(Recipe.parse(tree), tmp_path / "run")
    assert results(tmp_path / "run") == results(tmp_path / "whole")


@remembering(None, EMBEDDINGS)
@pytest.mark.parametrize(("per_class", "max_attempts"), [(16, 40), (2, 24), (10, 10)])
def test_another_target_decides_as_from_the_start(tree, tmp_path, per_class, max_attempts):
    run(Recipe.parse(tree), tmp_path / "run")
    copied = shutil.copytree(tmp_path / "run", tmp_path / "read")
    (copied / FILE).unlink()
    tree["target"] = {"per_class": per_class, "max_attempts": max_attempts}
    for out in (tmp_path / "run", copied):
        run(Recipe.parse(tree), out)
    assert results(tmp_path / "run") == results(copied)


def test_a_copied_run_is_read(tree, tmp_path, read):
    killed_after(tree, tmp_path / "run", 8)
    copied = shutil.copytree(tmp_path / "run", tmp_path / "copied")
    blocks = len(block_files(copied))
    run(Recipe.parse(tree), copied)
    assert len(read) >= blocks


def with_other_pictures(path):
    """Make a block's embeddings those of other pictures, in the order of their numbers."""
    table = pq.read_table(path)
    place = table.schema.get_field_index("embedding")
    rolled = pa.array([np.roll(row, 1) for row in table.column("embedding").to_pylist()], pa.list_(pa.float32()))
    changed = table.set_column(place, table.schema.field(place), rolled)
    pq.write_table(changed.replace_schema_metadata(pq.read_schema(path).metadata), path, **WRITTEN)


@pytest.mark.parametrize("change", [with_other_scores, with_other_pictures])
def test_what_was_decided_under_another_memory_is_decided_anew(tree, models, tmp_path, change):
    tree["filters"] = [{"kind": "alignment", "encoder": str(models.encoder), "min_score": -1.0},
                       {"kind": "duplicate", "encoder": str(models.encoder), "max_similarity": 0.996}]
    if change is with_other_scores:
        tree["filters"][0]["min_score"] = 0.0
    outs = [tmp_path / "with", tmp_path / "without"]
    for out in outs:
        killed_after(tree, out, 11)
        change(sorted((out / "blocks" / "beach").iterdir())[1])
    (outs[1] / FILE).unlink()
    for out in outs:
        run(Recipe.parse(tree), out)
    assert results(outs[0]) == results(outs[1])
