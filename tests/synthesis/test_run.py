"""The promises of a run, on a tiny real generator and tiny real encoders."""

import io
import json
import shutil

import numpy as np
import pytest
from PIL import Image

import terrasynth.synthesis.execution.block_maker
from terrasynth.synthesis import run
from terrasynth.synthesis.core.errors import InputError, RunError
from terrasynth.synthesis.core.images import decode
from terrasynth.synthesis.events import BlockDone, ClassDone, Finished, Planned
from terrasynth.synthesis.execution.job import Job
from terrasynth.synthesis.generators.devices import choose_dtype
from terrasynth.synthesis.ledger.decision_table import ALWAYS
from terrasynth.synthesis.recipe import Recipe
from tests.synthesis.helpers import decisions, fingerprint, rows, times

COLUMNS = [
    "id", "image", "text", "captions", "label", "generator", "revision", "seed", "guidance", "steps",
    "prompt_source", "scene", "scores", "synthetic",
]  # fmt: skip


@pytest.fixture
def no_generator(monkeypatch):
    """From here on, loading the generator is a failure."""

    def refuse(*arguments):
        raise AssertionError("the generator was loaded")

    return lambda: monkeypatch.setattr(terrasynth.synthesis.execution.block_maker, "open_generator", refuse)


def changed(tree, **sections):
    return Recipe.parse(tree | {name: tree.get(name, {}) | change for name, change in sections.items()})


def test_rows_are_the_first_accepted_attempts_of_each_class(recipe, tmp_path):
    result = run(recipe, tmp_path / "run")
    assert result.missed == ()
    kept = rows(tmp_path / "run")
    assert list(kept[0]) == COLUMNS
    assert [row["label"] for row in kept] == ["beach", "forest", "river"] * 5
    for label in ("beach", "forest", "river"):
        of_class = [each for each in decisions(tmp_path / "run") if each["label"] == label]
        assert [each["k"] for each in of_class] == list(range(len(of_class)))
        accepted = [each["id"] for each in of_class if each["accepted"]]
        assert accepted == [row["id"] for row in kept if row["label"] == label]
        beyond = [each["k"] for each in of_class if each["reason"] == "beyond_target"]
        assert all(k > max(each["k"] for each in of_class if each["accepted"]) for k in beyond)


def test_blocks_tell_the_verdicts_that_the_table_of_decisions_holds(recipe, tmp_path):
    seen = []
    run(recipe, tmp_path / "run", seen.append)
    told = {}
    for event in (each for each in seen if isinstance(each, BlockDone)):
        told.setdefault(event.count.label, []).extend(event.verdicts)
    table = decisions(tmp_path / "run")
    assert any(each["reason"] for each in table)
    for label, verdicts in told.items():
        assert verdicts == [each["reason"] for each in table if each["label"] == label]


def test_a_row_can_be_drawn_again_from_its_columns(models, finished, tmp_path):
    from terrasynth.synthesis import load_generator

    row = rows(tmp_path / "run")[4]
    generator = load_generator(
        str(models.generator), steps=row["steps"], guidance=row["guidance"], device="cpu", dtype="float32"
    )
    again = generator.generate([row["text"]], [row["seed"]])[0].astype(int)
    # Another batch size may round differently: at most one grey level.
    assert np.abs(again - decode(row["image"]["bytes"])).max() <= 1
    assert (row["generator"], row["revision"]) == (models.generator.name, generator.source.revision)
    assert row["synthetic"] is True
    assert row["captions"][0] == row["text"]
    assert isinstance(json.loads(row["scene"]), dict)


def test_two_runs_give_the_same_bytes(recipe, tmp_path):
    for name in ("a", "b"):
        run(recipe, tmp_path / name)
    first, second = fingerprint(tmp_path / "a"), fingerprint(tmp_path / "b")
    assert first.keys() == second.keys()
    differing = {name for name in first if first[name] != second[name]}
    assert differing <= {"runtime.json", "finished.json"}


def test_stopped_run_carries_on_to_the_same_data(recipe, run_once, tmp_path):
    for blocks in (1, 2, 100):
        seen = []
        result = run(recipe, tmp_path / "pieces", seen.append, lambda seen=seen, n=blocks: _drawn(seen) >= n)
        assert result.stopped is (blocks != 100)
    assert fingerprint(tmp_path / "pieces" / "data") == fingerprint(run_once / "data")
    assert fingerprint(tmp_path / "pieces" / "blocks") == fingerprint(run_once / "blocks")


def _drawn(events):
    return sum(1 for event in events if isinstance(event, BlockDone) and event.drawn)


def test_finished_run_draws_and_writes_nothing_again(recipe, tmp_path, no_generator):
    run(recipe, tmp_path / "run")
    no_generator()
    before = times(tmp_path / "run" / "data") | times(tmp_path / "run" / "blocks")
    assert run(recipe, tmp_path / "run").drawn == 0
    assert times(tmp_path / "run" / "data") | times(tmp_path / "run" / "blocks") == before


def test_growing_keeps_every_row_and_appends(tree, recipe, tmp_path):
    small = changed(tree, output={"rows_per_shard": 6})
    run(small, tmp_path / "run")
    before, shard = rows(tmp_path / "run"), fingerprint(tmp_path / "run" / "data")["train-00000.parquet"]
    run(changed(tree, output={"rows_per_shard": 6}, target={"per_class": 8}), tmp_path / "run")
    after = rows(tmp_path / "run")
    assert len(after) == 24
    assert after[:15] == before
    assert fingerprint(tmp_path / "run" / "data")["train-00000.parquet"] == shard
    run(changed(tree, output={"rows_per_shard": 6}, target={"per_class": 8}), tmp_path / "at once")
    assert fingerprint(tmp_path / "at once" / "data") == fingerprint(tmp_path / "run" / "data")


def test_judging_again_draws_nothing_and_equals_a_fresh_run(tree, models, finished, tmp_path, no_generator):
    other = [{"kind": "alignment", "encoder": str(models.other_encoder), "min_score": -1.0}]
    fresh = Recipe.parse(tree | {"filters": other})
    run(fresh, tmp_path / "fresh")
    before = times(tmp_path / "run" / "blocks")
    no_generator()
    result = run(fresh, tmp_path / "run")
    assert result.drawn == 0
    assert times(tmp_path / "run" / "blocks") == before
    assert list((tmp_path / "run" / "scores").rglob("*.parquet"))
    assert [row["id"] for row in rows(tmp_path / "run")] == [row["id"] for row in rows(tmp_path / "fresh")]
    again, first = (
        np.array([row["scores"]["alignment"] for row in rows(tmp_path / name)]) for name in ("run", "fresh")
    )
    assert np.array_equal(again, first)


def test_stricter_filter_only_adds_blocks(tree, finished, tmp_path):
    before = times(tmp_path / "run" / "blocks")
    tree["filters"][1]["max_similarity"] = 0.99
    assert run(Recipe.parse(tree), tmp_path / "run").drawn > 0
    after = times(tmp_path / "run" / "blocks")
    assert {name: after[name] for name in before} == before


def test_duplicates_by_thumbnail_need_no_model_and_are_kept_beside_the_blocks(tree, tmp_path):
    tree["filters"][1] = {"kind": "duplicate", "max_similarity": 0.999}
    result = run(Recipe.parse(tree), tmp_path / "run")
    assert result.accepted == 15
    scores = [each["scores"]["duplicate"] for each in decisions(tmp_path / "run") if each["accepted"]]
    later = [score for score in scores if score is not None]
    assert len(later) == 12
    assert max(later) <= 0.999
    before = times(tmp_path / "run" / "scores")
    assert len(before) == len(times(tmp_path / "run" / "blocks"))
    assert run(Recipe.parse(tree), tmp_path / "run").drawn == 0
    assert times(tmp_path / "run" / "scores") == before


def test_a_thumbnail_cannot_judge_alignment(tree, tmp_path):
    tree["filters"][0]["encoder"] = "thumbnail"
    with pytest.raises(InputError, match="encoder 'thumbnail' of the alignment filter reads no text"):
        run(Recipe.parse(tree), tmp_path / "run")


def test_changed_identity_is_refused_with_the_difference(tree, finished, tmp_path):
    before = fingerprint(tmp_path / "run")
    said = r"another identity: generator\.steps: was 2, now 3; .*terrasynth run \S+/recipe\.yaml --out "
    with pytest.raises(InputError, match=said):
        run(changed(tree, generator={"steps": 3}), tmp_path / "run")
    assert fingerprint(tmp_path / "run") == before


@pytest.mark.parametrize(
    ("section", "change", "message"),
    [("runtime", {"block_size": 8}, "block_size: was 4, now 8"),
     ("output", {"image_format": "webp"}, 'image_format: was "png", now "webp"')],
)
def test_what_is_fixed_for_life_is_refused_by_name(tree, finished, tmp_path, section, change, message):
    with pytest.raises(InputError, match=message):
        run(changed(tree, **{section: change}), tmp_path / "run")


def test_a_model_whose_files_have_changed_is_no_change_that_can_be_undone(tree, finished, models, tmp_path):
    shutil.copytree(models.generator, tmp_path / "sd")
    tree["generator"]["model"] = str(tmp_path / "sd")
    run(Recipe.parse(tree), tmp_path / "run")
    (tmp_path / "sd" / "more.json").write_text("{}")
    written = Recipe.load(tmp_path / "run" / "recipe.yaml")
    for asked in (Recipe.parse(tree), written):  # the second names the identity, too
        with pytest.raises(InputError, match=r"whose content is another now; what is there can be exported and pushed "
                                             r"as it is, .* choose another --out to draw with what is there now$"):
            run(asked, tmp_path / "run")
    with pytest.raises(InputError, match=r"was written for identity .* \(or add --set identity=null\)"):
        Job(written, tmp_path / "other")
    Job(Recipe.load(tmp_path / "run" / "recipe.yaml", ["identity=null"]), tmp_path / "other")


def test_recipe_of_a_run_makes_the_same_run_again_and_notices_another_identity(finished, tmp_path):
    written = Recipe.load(tmp_path / "run" / "recipe.yaml")
    run(written, tmp_path / "again")
    assert fingerprint(tmp_path / "again" / "data") == fingerprint(tmp_path / "run" / "data")
    with pytest.raises(InputError, match="was written for identity"):
        run(Recipe.load(tmp_path / "run" / "recipe.yaml", ["seed=9"]), tmp_path / "other")


def test_missed_targets_are_named_and_keep_what_passed(tree, tmp_path):
    # 0.9 similarity is more than this generator's pictures differ by.
    tree["filters"][1]["max_similarity"] = 0.9
    tree["target"] = {"per_class": 5, "max_attempts": 6}
    events = []
    result = run(Recipe.parse(tree), tmp_path / "run", events.append)
    assert {count.label for count in result.missed} == {"beach", "forest", "river"}
    assert all(count.attempted == 6 and 0 < count.accepted < 5 for count in result.missed)
    assert len(rows(tmp_path / "run")) == result.accepted
    reasons = {each["reason"] for each in decisions(tmp_path / "run") if each["k"] >= 6}
    assert reasons == {"beyond_max_attempts"}
    assert "Short of their target: beach" in (tmp_path / "run" / "README.md").read_text()
    assert sum(isinstance(event, ClassDone) for event in events) == 3
    assert isinstance(events[0], Planned)
    assert isinstance(events[-1], Finished)


def test_micro_batch_changes_no_id_prompt_or_seed(tree, recipe, tmp_path):
    run(recipe, tmp_path / "a")
    run(changed(tree, runtime={"micro_batch": 3}), tmp_path / "b")
    first, second = (
        {each["id"]: (each["label"], each["text"], each["seed"]) for each in _attempts(tmp_path / name)}
        for name in ("a", "b")
    )
    shared = first.keys() & second.keys()
    assert len(shared) >= 15
    assert all(first[name] == second[name] for name in shared)


def _attempts(root):
    import pyarrow.parquet as pq

    blocks = sorted((root / "blocks").rglob("*.parquet"))
    return [row for block in blocks for row in pq.read_table(block, partitioning=None).to_pylist()]


def test_resumed_run_keeps_the_recorded_runtime(tree, tmp_path):
    other = {"bfloat16": "float32", "float32": "bfloat16"}[choose_dtype("cpu")]
    run(changed(tree, runtime={"dtype": other, "micro_batch": 3, "exact": False}), tmp_path / "run")
    before = (tmp_path / "run" / "runtime.json").read_bytes()
    auto = changed(tree, runtime={"dtype": "auto", "micro_batch": "auto"}, target={"per_class": 7})
    assert run(auto, tmp_path / "run").drawn > 0
    kept = json.loads((tmp_path / "run" / "runtime.json").read_text())
    assert (kept["dtype"], kept["micro_batch"], kept["exact"]) == (other, 3, False)
    assert (tmp_path / "run" / "runtime.json").read_bytes() == before


def _cut(data):
    return data[: len(data) // 2]


def _empty(data):
    return b""


def _flip_inside_a_picture(data):
    middle = data.index(b"PNG") + 200
    return data[:middle] + bytes([data[middle] ^ 255]) + data[middle + 1 :]


@pytest.mark.parametrize("damage", [_cut, _empty, _flip_inside_a_picture])
def test_damaged_block_is_named(recipe, finished, tmp_path, damage):
    block = tmp_path / "run" / "blocks" / "forest" / "00000.parquet"
    block.write_bytes(damage(block.read_bytes()))
    with pytest.raises(RunError, match=r"forest/00000\.parquet cannot be read"):
        run(recipe, tmp_path / "run")


def test_removed_block_is_drawn_again_exactly(recipe, finished, tmp_path):
    before = fingerprint(tmp_path / "run" / "blocks")
    (tmp_path / "run" / "blocks" / "forest" / "00000.parquet").unlink()
    assert run(recipe, tmp_path / "run").drawn == 4
    assert fingerprint(tmp_path / "run" / "blocks") == before


def test_block_of_another_place_is_named(recipe, finished, tmp_path):
    blocks = tmp_path / "run" / "blocks"
    (blocks / "forest" / "00000.parquet").write_bytes((blocks / "beach" / "00000.parquet").read_bytes())
    with pytest.raises(RunError, match="holds other attempts than its place"):
        run(recipe, tmp_path / "run")


def test_leftovers_of_a_killed_process_are_removed(recipe, tmp_path):
    leftover = tmp_path / "run" / "blocks" / "beach" / "00000.parquet.tmp"
    leftover.parent.mkdir(parents=True)
    leftover.write_bytes(b"half")
    (tmp_path / "run" / "recipe.yaml").write_text("half a recipe")
    run(recipe, tmp_path / "run")
    assert not leftover.exists()


@pytest.mark.parametrize("image_format", ["png", "webp", "jpeg"])
def test_pictures_are_stored_once_in_the_wanted_format(tree, tmp_path, image_format):
    tree["filters"], tree["target"] = [], {"per_class": 2, "max_attempts": 4}
    run(changed(tree, output={"image_format": image_format}), tmp_path / "run")
    for row in rows(tmp_path / "run"):
        assert row["image"]["path"] == f"{row['id']}.{image_format}"
        with Image.open(io.BytesIO(row["image"]["bytes"])) as picture:
            assert (picture.format, picture.size) == (image_format.upper(), (32, 32))
        assert row["scores"] == dict.fromkeys(ALWAYS)


def test_calibrated_threshold_comes_from_the_encoder(tree, models, tmp_path):
    from terrasynth.eval import load_encoder

    tree["filters"] = [{"kind": "alignment", "encoder": str(models.calibrated_encoder), "pass_real": 0.5}]
    tree["target"] = {"per_class": 2, "max_attempts": 24}
    result = run(Recipe.parse(tree), tmp_path / "run")
    calibration = load_encoder(models.calibrated_encoder).calibration
    judged = [each for each in decisions(tmp_path / "run") if not (each["reason"] or "").startswith("beyond")]
    assert len(judged) == sum(count.attempted for count in result.counts) > 0
    for each in judged:
        assert each["accepted"] == (
            each["scores"]["alignment"] >= np.float32(calibration.threshold(each["label"], 0.5))
        )


def test_card_and_report_are_there_and_hold_no_path_of_this_machine(recipe, tmp_path):
    run(recipe, tmp_path / "run")
    report = json.loads((tmp_path / "run" / "report" / "report.json").read_text())
    assert [row["label"] for row in report["classes"]] == ["beach", "forest", "river"]
    for name in ("README.md", "report/index.html", "report/report.json"):
        assert str(tmp_path) not in (tmp_path / "run" / name).read_text()
        assert str(tmp_path.parent) not in (tmp_path / "run" / name).read_text()
    for name in ("accepted.png", "rejected.png", "one-of-each.png"):
        with Image.open(tmp_path / "run" / "report" / name) as sheet:
            assert sheet.width > 90
