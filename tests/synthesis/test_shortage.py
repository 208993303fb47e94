"""A lack of handles, memory or rights is said as such: nothing that may be whole is called damaged, or moved."""

import json
import os
import resource
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pytest

import terrasynth.synthesis.ledger.blocks
import terrasynth.synthesis.verify.blocks
from terrasynth.synthesis import run
from terrasynth.synthesis.core.errors import REFUSALS, RefusedError, refusal
from terrasynth.synthesis.recipe import Recipe
from terrasynth.synthesis.verify.faults import Remedy
from terrasynth.synthesis.verify.repair import set_aside
from terrasynth.synthesis.verify.verifying import verify
from tests.synthesis.helpers import fingerprint

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def made(models, tmp_path_factory):
    recipe = Recipe.parse({
        "generator": {"model": str(models.generator), "steps": 1, "guidance": 1.0},
        "prompts": {"classes": ["beach", "river"]},
        "filters": [{"kind": "duplicate", "max_similarity": 1.0},
                    {"kind": "alignment", "encoder": str(models.encoder), "min_score": -1.0}],
        "target": {"per_class": 2, "max_attempts": 8},
        "runtime": {"block_size": 2, "device": "cpu", "dtype": "float32"},
    })
    out = tmp_path_factory.mktemp("made") / "run"
    run(recipe, out)
    assert list(verify(out)) == []
    return recipe, out


@contextmanager
def without_handles():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def scarce(monkeypatch, name):
    """Let a check of `terrasynth.synthesis.verify.blocks` run where no file can be opened."""
    real = getattr(terrasynth.synthesis.verify.blocks, name)

    def check(*arguments):
        with without_handles():
            yield from real(*arguments)

    monkeypatch.setattr(terrasynth.synthesis.verify.blocks, name, check)


@pytest.mark.parametrize("name", ["wrong_with_block", "_wrong_with_scores"])
def test_without_handles_nothing_is_called_damaged_or_moved(made, monkeypatch, name):
    before = fingerprint(made[1])
    scarce(monkeypatch, name)
    faults = list(verify(made[1]))
    assert faults
    assert {fault.remedy for fault in faults} == {Remedy.USER}
    assert all("no file handle left" in fault.what and "ulimit -n" in fault.line for fault in faults)
    assert set_aside(made[1], faults) == []
    assert fingerprint(made[1]) == before


def test_a_run_without_handles_says_so_and_damages_nothing(made):
    recipe, out = made
    (out / "finished.json").unlink()
    before = fingerprint(out / "blocks")
    import terrasynth.synthesis.ledger.blocks

    real = terrasynth.synthesis.ledger.blocks.read_file

    def read_file(*arguments):
        with without_handles():
            return real(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(terrasynth.synthesis.ledger.blocks, "read_file", read_file)
        with pytest.raises(RefusedError, match=r"cannot be read: this process has no file handle left; raise `ulimit"):
            run(recipe, out)
    assert fingerprint(out / "blocks") == before
    run(recipe, out)
    assert list(verify(out)) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_not_damaged(made):
    block = made[1] / "blocks" / "beach" / "00000.parquet"
    block.chmod(0)
    try:
        faults = [fault for fault in verify(made[1]) if fault.file == "blocks/beach/00000.parquet"]
        assert [fault.remedy for fault in faults] == [Remedy.USER]
    finally:
        block.chmod(0o644)


@pytest.mark.parametrize("number", sorted(REFUSALS))
def test_what_the_system_answers_is_no_damage(number):
    assert refusal(OSError(number, os.strerror(number))) == REFUSALS[number]


def test_what_a_library_says_of_content_is_damage():
    assert refusal(OSError("CRC checksum verification failed")) == ""
    assert refusal(pa.ArrowInvalid("Parquet file size is 0 bytes")) == ""


def test_a_length_that_asks_for_all_memory_is_the_fault_of_the_file():
    assert refusal(pa.ArrowMemoryError("malloc of size 1152921504606846976 failed"), 1000) == ""


@pytest.mark.parametrize("reader", ["decisions.parquet", "data/train-00000.parquet", "README.md", "report/report.json",
                                    "finished.json", "runtime.json", "identity.json", "recipe.yaml"])
def test_a_disk_that_reports_an_error_is_no_damage(made, monkeypatch, reader):
    """Whatever opens the file, Python or Arrow."""
    import errno

    import pyarrow.parquet as pq

    target = made[1] / reader
    error = OSError(errno.EIO, "Input/output error")
    real_open, real_parquet = Path.open, pq.ParquetFile.__init__

    def fail_open(self, *arguments, **options):
        if self == target:
            raise error
        return real_open(self, *arguments, **options)

    def fail_parquet(self, source, *arguments, **options):
        if source == target:
            raise error
        real_parquet(self, source, *arguments, **options)

    monkeypatch.setattr(Path, "open", fail_open)
    monkeypatch.setattr(pq.ParquetFile, "__init__", fail_parquet)
    faults = [fault for fault in verify(made[1]) if fault.file == reader]
    assert faults
    assert {fault.remedy for fault in faults} == {Remedy.USER}
    assert "its disk reported an error" in faults[0].what


def test_a_hundred_classes_need_few_handles(python, models, tmp_path):
    """With three filters that remember what was accepted, in a process that may open 64 files."""
    prompts = [{"text": f"thing {number}", "label": f"class {number:03d}"} for number in range(100)]
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(each) + "\n" for each in prompts))
    duplicate = {"kind": "duplicate", "max_similarity": 1.0}
    tree = {
        "generator": {"model": str(models.generator), "steps": 1, "guidance": 1.0},
        "prompts": {"expander": "file", "path": str(tmp_path / "p.jsonl")}, "filters": [duplicate] * 3,
        "target": {"per_class": 1, "max_attempts": 1}, "runtime": {"device": "cpu", "dtype": "float32"},
    }
    code = """
import json, resource, sys
from terrasynth.synthesis import Recipe, run
import terrasynth.synthesis.pipeline, datasets, torch, diffusers
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
print(run(Recipe.parse(json.loads(sys.argv[1])), sys.argv[2]).accepted)
"""
    done = python.run("-c", code, json.dumps(tree), tmp_path / "run", check=True)
    assert done.stdout.split() == ["100"]
