"""Pictures that a model's own safety checker made black are no data: not in a run, not in what `generate` writes."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from terrasynth.synthesis import Recipe, load_generator, run
from terrasynth.synthesis.core.errors import RunError
from terrasynth.synthesis.core.images import decode
from terrasynth.synthesis.ledger.attempts import Attempts
from terrasynth.synthesis.ledger.blocks import Blocks
from terrasynth.synthesis.recipe import GeneratorSettings
from terrasynth.synthesis.studies.protocols.base import PromptRequest, draw
from terrasynth.synthesis.verify.verifying import verify
from tests.synthesis.helpers import rows
from tests.tiny import tiny_clip
from tests.tiny_checker import ALL, NONE, cosines, tiny_checked

PER_CLASS = 3


def recipe(model, **changes):
    return Recipe.model_validate({
        "name": "t", "generator": {"model": str(model), "steps": 1, "guidance": 2.0},
        "prompts": {"expander": "grammar", "classes": ["beach", "forest"]},
        "target": {"per_class": PER_CLASS, "max_attempts": 40},
        "runtime": {"block_size": 4, "dtype": "float32", "micro_batch": 2, "device": "cpu"},
    } | changes)


@pytest.fixture(scope="module")
def some(tmp_path_factory):
    """A model that withholds about half of its pictures."""
    root = tmp_path_factory.mktemp("some")
    free = tiny_checked(root / "free", NONE)
    run(recipe(free, target={"per_class": 8, "max_attempts": 8}), root / "run")
    images = np.stack([decode(row["image"]["bytes"]) for row in rows(root / "run")])
    return tiny_checked(root / "some", float(np.median(cosines(images))))


def reasons(folder):
    return [(row["id"], row["reason"]) for row in pq.read_table(folder / "decisions.parquet").to_pylist()]


@pytest.mark.parametrize("filters", [[], [{"kind": "duplicate", "max_similarity": 0.999}]])
def test_a_run_rejects_them_by_name_and_takes_the_next(some, tmp_path, filters):
    result = run(recipe(some, filters=filters), tmp_path / "run")
    assert not result.missed
    kept = rows(tmp_path / "run")
    assert len(kept) == 2 * PER_CLASS
    assert all(decode(row["image"]["bytes"]).any() for row in kept)
    decided = pq.read_table(tmp_path / "run" / "decisions.parquet").to_pylist()
    withheld = {row["id"] for row in decided if row["reason"] == "withheld"}
    black = {row["id"] for path in (tmp_path / "run" / "blocks").rglob("*.parquet")
             for row in pq.read_table(path).to_pylist() if not decode(row["image"]["bytes"]).any()}
    judged = {row["id"] for row in decided if row["reason"] not in ("beyond_target", "beyond_max_attempts")}
    assert withheld
    assert withheld == black & judged
    assert list(verify(tmp_path / "run")) == []


def test_judging_again_remembers_them(some, tmp_path):
    run(recipe(some), tmp_path / "run")
    before = reasons(tmp_path / "run")
    for note in ("finished.json", "checkpoint.bin", "decisions.parquet"):
        (tmp_path / "run" / note).unlink(missing_ok=True)
    run(recipe(some), tmp_path / "run")
    assert reasons(tmp_path / "run") == before


def test_a_run_of_nothing_else_misses_its_target(tmp_path):
    model = tiny_checked(tmp_path / "model", ALL)
    result = run(recipe(model), tmp_path / "run")
    assert result.missed
    assert not rows(tmp_path / "run")


def test_a_protocol_wants_a_picture_of_every_text(some, tmp_path):
    generator = GeneratorSettings(model=str(some), steps=1, guidance=2.0)
    asked = [PromptRequest(f"a beach number {number}", "beach") for number in range(8)]
    with pytest.raises(RunError, match=r"withheld \d of 8 images"):
        draw(asked, len(asked), generator, 0, tmp_path / "out")


def test_no_threshold_is_taken_from_them(tmp_path):
    model = tiny_checked(tmp_path / "model", ALL)
    tiny_clip(tmp_path / "clip")
    filters = [{"kind": "alignment", "encoder": str(tmp_path / "clip"), "quantile": 0.5, "calibrate_on": 4}]
    with pytest.raises(RunError, match="withheld all of the first 4 images"):
        run(recipe(model, filters=filters), tmp_path / "run")


def test_filters_are_not_credited_with_them(some, tmp_path):
    run(recipe(some), tmp_path / "run")
    attempts = Attempts.of(Blocks(tmp_path / "run", 4, "png"), 100)
    shown = [row for table in attempts.read(["image", "id"]) for row in table.to_pylist()]
    assert len(attempts.labels) == len(shown)
    assert all(decode(row["image"]["bytes"]).any() for row in shown)
    assert [row["id"] for row in attempts.rows(range(len(shown)), ["id"])] == [row["id"] for row in shown]


def test_generate_writes_the_others_and_fails(terrasynth, some, tmp_path):
    code, _, lines = terrasynth("generate", "a beach", "--count", "16", "--steps", "1", "--model", some,
                                "--device", "cpu", "--out", tmp_path / "out")
    assert code == 1
    assert "withheld" in lines[-1]
    written = [json.loads(line) for line in (tmp_path / "out" / "metadata.jsonl").read_text().splitlines()]
    assert 0 < len(written) < 16
    assert {row["file_name"] for row in written} == {path.name for path in (tmp_path / "out").glob("*.png")}
    assert all(decode((tmp_path / "out" / row["file_name"]).read_bytes()).any() for row in written)


def test_python_gets_them_with_their_rows(some, caplog):
    generator = load_generator(str(some), steps=1, device="cpu", dtype="float32", micro_batch=3)
    drawn = generator.draw(["a beach"] * 16, range(16))
    black = tuple(row for row, picture in enumerate(drawn.pictures) if not picture.any())
    assert black
    assert drawn.withheld == black
    assert np.array_equal(generator.generate(["a beach"] * 16, range(16)), drawn.pictures)
    assert f"made {len(black)} of 16 images black" in caplog.text
