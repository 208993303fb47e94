"""Files that are whole and lie where another belongs: named by whoever reads them, used by nobody."""

import shutil

import pyarrow.parquet as pq
import pytest

from terrasynth.synthesis import run
from terrasynth.synthesis.core.errors import InputError, RunError
from terrasynth.synthesis.events import BlockDone
from terrasynth.synthesis.ledger.attempts import Attempts
from terrasynth.synthesis.ledger.blocks import WRITTEN
from terrasynth.synthesis.ledger.directory import RunDirectory
from terrasynth.synthesis.recipe import Recipe
from terrasynth.synthesis.verify.verifying import verify
from tests.synthesis.exports import exported
from tests.synthesis.helpers import exchange, fingerprint, rows


def export(run, name, folder):
    return exported(run, folder, name, shares=None)


@pytest.fixture(scope="module")
def tree(models):
    return {
        "name": "swapped", "generator": {"model": str(models.generator), "steps": 1, "guidance": 1.0},
        "prompts": {"classes": ["beach", "river"]},
        "filters": [{"kind": "duplicate", "max_similarity": 0.9999},
                    {"kind": "alignment", "encoder": str(models.encoder), "min_score": 0.0}],
        "target": {"per_class": 4, "max_attempts": 60},
        "runtime": {"block_size": 2, "device": "cpu", "dtype": "float32"},
    }


@pytest.fixture(scope="module")
def made(tree, tmp_path_factory):
    out = tmp_path_factory.mktemp("made") / "run"
    run(Recipe.parse(tree), out)
    return out


@pytest.fixture
def copy(made, tmp_path):
    return shutil.copytree(made, tmp_path / "run")


def bigger(tree):
    return Recipe.parse(tree | {"target": {"per_class": 8, "max_attempts": 60}})


def scores_of_classes(out):
    (folder,) = (out / "scores").iterdir()
    exchange(folder / "beach", folder / "river")


def scores_of_blocks(out):
    (folder,) = (out / "scores").iterdir()
    exchange(folder / "beach" / "00000.parquet", folder / "beach" / "00001.parquet")


def blocks_of_classes(out):
    exchange(out / "blocks" / "beach", out / "blocks" / "river")


def blocks_of_a_class(out):
    exchange(out / "blocks" / "beach" / "00000.parquet", out / "blocks" / "beach" / "00001.parquet")


def rows_of_a_scores_file(out):
    """The file is where it belongs, and its rows are not."""
    (folder,) = (out / "scores").iterdir()
    path = folder / "beach" / "00000.parquet"
    table = pq.ParquetFile(path).read()
    pq.write_table(table.take([1, 0]), path, **WRITTEN)


SWAPS = (scores_of_classes, scores_of_blocks, blocks_of_classes, blocks_of_a_class, rows_of_a_scores_file)


@pytest.mark.parametrize("swap", SWAPS, ids=lambda swap: swap.__name__)
def test_a_run_names_what_lies_in_the_place_of_another_and_repair_mends_it(tree, copy, swap, tmp_path, terrasynth):
    run(bigger(tree), tmp_path / "whole")
    swap(copy)
    with pytest.raises(RunError, match="holds other attempts than its place in this run; run again with --repair"):
        run(bigger(tree), copy)
    assert list(verify(copy))
    assert terrasynth("verify", copy, "--repair")[0] == 0
    run(bigger(tree), copy)
    for part in ("blocks", "data"):
        assert fingerprint(copy / part) == fingerprint(tmp_path / "whole" / part)


@pytest.mark.parametrize("before_the_last", [2, 1, 0])
def test_blocks_that_change_places_while_the_run_is_at_work_are_in_no_data_set(tree, made, tmp_path, before_the_last):
    out, seen = tmp_path / "run", []
    moment = len(list((made / "blocks").glob("*/*.parquet"))) - before_the_last

    def listen(event):
        if isinstance(event, BlockDone):
            seen.append(event)
            if len(seen) == moment:
                exchange(out / "blocks" / "beach" / "00000.parquet", out / "blocks" / "river" / "00000.parquet")

    with pytest.raises(RunError, match="holds other attempts than its place"):
        run(Recipe.parse(tree), out, listen)
    assert not (out / "finished.json").exists()
    run_again = Recipe.parse(tree)
    with pytest.raises(RunError, match="holds other attempts than its place"):
        run(run_again, out)


def test_who_reads_a_run_without_going_on_with_it_looks_at_ids_too(copy):
    blocks_of_a_class(copy)
    attempts = Attempts.of(RunDirectory(copy).blocks, 100)
    with pytest.raises(RunError, match="holds other attempts than its place"):
        list(attempts.read(["image"]))
    with pytest.raises(RunError, match="holds other attempts than its place"):
        attempts.rows([0], ["text"])


def test_the_data_of_another_run_is_not_exported(tree, copy, tmp_path):
    """Of the same classes and the same size, as where a folder was half copied."""
    run(Recipe.parse(tree | {"seed": 1}), tmp_path / "other")
    shutil.copy(tmp_path / "other" / "data" / "train-00000.parquet", copy / "data" / "train-00000.parquet")
    with pytest.raises(RunError, match=r"train-00000\.parquet is not what the run wrote"):
        export(copy, "parquet", tmp_path / "out")
    assert not list((tmp_path / "out").glob("data/*"))
    run(Recipe.parse(tree), copy)
    assert fingerprint(copy / "data") != fingerprint(tmp_path / "other" / "data")
    assert export(copy, "parquet", tmp_path / "out").rows == {"train": len(rows(copy))}


@pytest.mark.parametrize("name", ["blocks", "identity.json", "runtime.json", "decisions.parquet", "data"])
def test_a_half_copied_run_is_whole_again_or_says_what_is_missing(tree, made, copy, name):
    whole = {part: fingerprint(made / part) for part in ("blocks", "scores", "data")}
    shutil.rmtree(copy / name) if (copy / name).is_dir() else (copy / name).unlink()
    run(Recipe.parse(tree), copy)
    assert {part: fingerprint(copy / part) for part in whole} == whole
    assert list(verify(copy)) == []


def test_an_export_whose_pictures_changed_places_is_named(copy, tmp_path):
    out = tmp_path / "out"
    export(copy, "imagefolder", out)
    assert list(verify(out)) == []
    first, second = sorted((out / "train").glob("*.png"))[:2]
    exchange(first, second)
    (fault,) = verify(out)
    assert "one is not what was written, or lies where another belongs" in fault.what
    assert export(copy, "imagefolder", out).changed, "it is compared, not trusted"
    assert list(verify(out)) == []


def test_an_export_of_an_earlier_version_is_carried_on(copy, tmp_path):
    import json

    out = tmp_path / "out"
    export(copy, "imagefolder", out)
    marker = json.loads((out / "terrasynth-export.json").read_text())
    for key in ("sha256", "digest"):
        del marker[key]
    (out / "terrasynth-export.json").write_text(json.dumps(marker | {"format": "terrasynth export 1"}))
    assert list(verify(out)) == []
    export(copy, "imagefolder", out)
    assert json.loads((out / "terrasynth-export.json").read_text())["format"] == "terrasynth export 2"


def test_a_folder_that_is_no_run_has_no_blocks_to_read(tmp_path):
    with pytest.raises(InputError, match=r"has no identity\.json"):
        _ = RunDirectory(tmp_path).blocks
