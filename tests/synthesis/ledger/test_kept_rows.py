"""What a run has is never taken away by a smaller target unless that is asked for."""

import shutil

import pyarrow.parquet as pq
import pytest

from terrasynth.synthesis import run
from terrasynth.synthesis.core.errors import InputError, RunError
from terrasynth.synthesis.execution.job import Job
from terrasynth.synthesis.recipe import Recipe
from terrasynth.synthesis.verify.verifying import verify
from tests.synthesis.helpers import decisions, fingerprint, rows


def parsed(tree, **target):
    return Recipe.parse(tree | {"target": target})


@pytest.fixture(scope="module")
def tree(models):
    return {
        "name": "kept", "generator": {"model": str(models.generator), "steps": 1, "guidance": 1.0},
        "prompts": {"classes": ["beach", "river"]},
        "filters": [{"kind": "alignment", "encoder": str(models.encoder), "min_score": 0.0}],
        "runtime": {"block_size": 4, "device": "cpu", "dtype": "float32"},
    }


@pytest.fixture(scope="module")
def grown(tree, tmp_path_factory):
    out = tmp_path_factory.mktemp("kept") / "run"
    run(parsed(tree, per_class=2, max_attempts=40), out)
    run(parsed(tree, per_class=6, max_attempts=60), out)
    assert len(rows(out)) == 12
    return out


@pytest.fixture
def copy(grown, tmp_path):
    return shutil.copytree(grown, tmp_path / "run")


def results(run):
    return {name: found for name, found in fingerprint(run).items()
            if name.startswith(("data/", "blocks/", "scores/")) or name == "decisions.parquet"}


@pytest.mark.parametrize("target", [
    {"per_class": 2, "max_attempts": 40}, {"per_class": 1, "max_attempts": 1}, {"per_class": 5, "max_attempts": 5},
])
def test_a_smaller_target_takes_nothing_away_and_says_so(tree, grown, copy, caplog, target):
    for again in range(2):
        caplog.clear()
        result = run(parsed(tree, **target), copy)
        assert (result.drawn, result.accepted, result.missed) == (0, 12, ())
        assert results(copy) == results(grown)
        assert "beach 6, river 6" in caplog.text
        assert "--shrink gives them up" in caplog.text
        assert list(verify(copy)) == [], again


def test_what_is_kept_stays_after_a_repair_of_the_decisions(tree, grown, copy, terrasynth):
    run(parsed(tree, per_class=2, max_attempts=40), copy)
    (copy / "decisions.parquet").write_bytes(b"no Parquet")
    code, _, _ = terrasynth("verify", copy, "--repair")
    assert code == 0
    assert results(copy) == results(grown)


@pytest.mark.parametrize("lost", [["decisions.parquet"], ["decisions.parquet", "finished.json"]])
def test_what_is_kept_is_known_from_the_data_where_the_decisions_are_lost(tree, grown, copy, lost):
    for name in lost:
        (copy / name).unlink()
    run(parsed(tree, per_class=2, max_attempts=40), copy)
    assert results(copy) == results(grown)


def test_damaged_decisions_are_named_where_less_is_asked_for(tree, copy, terrasynth):
    (copy / "decisions.parquet").write_bytes(b"no Parquet")
    with pytest.raises(RunError, match="less is asked for than the run may have"):
        run(parsed(tree, per_class=2, max_attempts=40), copy)


def test_asked_to_shrink_it_shrinks_and_grows_again(tree, grown, copy):
    small = parsed(tree, per_class=2, max_attempts=40)
    result = run(small, copy, shrink=True)
    assert (result.accepted, len(rows(copy))) == (4, 4)
    assert run(small, copy).accepted == 4, "what was given up is not taken back"
    assert list(verify(copy)) == []
    run(parsed(tree, per_class=6, max_attempts=60), copy)
    assert results(copy) == results(grown)


def test_the_command_shrinks_where_it_is_told_to(tree, copy, tmp_path, terrasynth):
    import yaml

    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(tree | {"target": {"per_class": 2, "max_attempts": 40}}))
    code, out, _ = terrasynth("run", path, "--out", copy)
    assert (code, "(12 images of 2 classes)" in out) == (0, True)
    code, out, _ = terrasynth("run", path, "--out", copy, "--shrink")
    assert (code, "(4 images of 2 classes)" in out) == (0, True)


def test_classes_that_are_added_or_removed_are_said(tree, copy):
    wanted = {"per_class": 6, "max_attempts": 60}

    def said(*classes):
        return [note for note in Job(parsed(tree | {"prompts": {"classes": list(classes)}}, **wanted), copy).notes
                if "prompts.classes" in note]

    begin = "prompts.classes is another than when this run was last called: "
    assert said("beach", "river") == said("river", "beach") == []
    assert said("beach", "forest") == [f"{begin}added forest; removed river"]
    assert said("beach", "river", "forest") == [f"{begin}added forest"]
    shutil.rmtree(copy / "blocks")
    assert said("beach") == []  # nothing is there that it would be another than


def test_a_class_that_is_named_no_more_keeps_its_rows_and_gets_no_new_ones(tree, grown, copy):
    fewer = tree | {"prompts": {"classes": ["river"]}}
    result = run(parsed(fewer, per_class=8, max_attempts=60), copy)
    labels = [row["label"] for row in rows(copy)]
    assert (labels.count("beach"), labels.count("river"), result.missed) == (6, 8, ())
    assert [row["id"] for row in rows(copy) if row["label"] == "beach"] == [
        row["id"] for row in rows(grown) if row["label"] == "beach"]
    before = len(list((grown / "blocks" / "beach").iterdir()))
    assert len(list((copy / "blocks" / "beach").iterdir())) == before
    assert list(verify(copy)) == []


def test_stricter_filters_may_take_rows_away_and_draw_only_for_what_is_asked(tree, copy):
    scores = sorted(row["scores"]["alignment"] for row in decisions(copy) if row["accepted"])
    strict = tree | {"filters": [tree["filters"][0] | {"min_score": scores[6]}]}
    passing = {}  # of all attempts that are there, those beyond the former target included
    for label in ("beach", "river"):
        tables = [pq.read_table(path) for path in (copy / "blocks" / label).glob("*.parquet")]
        found = [score["alignment"] for table in tables for score in table.column("scores").to_pylist()]
        passing[label] = sum(score >= scores[6] for score in found)
    before = fingerprint(copy / "blocks")
    result = run(parsed(strict, per_class=1, max_attempts=60), copy)
    assert result.drawn == 0
    assert fingerprint(copy / "blocks") == before
    assert {count.label: count.accepted for count in result.counts} == passing
    assert 0 < result.accepted < 12


def test_a_run_that_was_stopped_keeps_what_it_has_and_no_more(tree, tmp_path):
    many = parsed(tree, per_class=600, max_attempts=900)
    asked = []
    result = run(many, tmp_path / "run", should_stop=lambda: len(asked) == 3 or bool(asked.append(0)))
    assert result.stopped
    had = {count.label: count.accepted for count in result.counts}
    fewer = run(parsed(tree, per_class=4, max_attempts=60), tmp_path / "run")
    after = {count.label: count.accepted for count in fewer.counts}
    assert after == {label: max(4, found) for label, found in had.items()}
    assert list(verify(tmp_path / "run")) == []


def test_fewer_attempts_than_rows_are_refused_before_the_first_image(tree, tmp_path, terrasynth):
    import yaml

    with pytest.raises(InputError, match=r"target\.max_attempts 2 is below target\.per_class 3"):
        run(parsed(tree, per_class=3, max_attempts=2), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(tree | {"target": {"per_class": 3, "max_attempts": 2}}))
    for command in (["plan", path], ["run", path, "--out", tmp_path / "run"]):
        code, out, lines = terrasynth(*command)
        assert (code, out, len(lines)) == (2, "", 1)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("per_class", "size"), [(1, 1), (3, 3), (16, 16), (40, 16)])
def test_a_block_is_no_larger_than_the_target(tree, tmp_path, per_class, size):
    small = tree | {"filters": [], "runtime": {"device": "cpu", "dtype": "float32"}, "prompts": {"classes": ["beach"]}}
    target = {"per_class": per_class, "max_attempts": 80}
    assert run(parsed(small, **target), tmp_path / "run").drawn == -(-per_class // size) * size
    again = run(parsed(small, per_class=per_class + 1, max_attempts=80), tmp_path / "run")
    assert again.drawn == (size if per_class % size == 0 else 0), "the size is that which the run began with"


def test_a_damaged_block_of_what_is_kept_is_drawn_again(tree, grown, copy, terrasynth):
    run(parsed(tree, per_class=2, max_attempts=40), copy)
    path = copy / "blocks" / "beach" / "00001.parquet"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert terrasynth("verify", copy, "--repair")[0] == 0
    assert results(copy) == results(grown)
    assert list(verify(copy)) == []


def test_what_another_process_adds_meanwhile_is_not_given_up(tree, copy):
    job = Job(parsed(tree, per_class=2, max_attempts=40), copy)
    run(parsed(tree, per_class=8, max_attempts=80), copy)
    grown = fingerprint(copy)
    with pytest.raises(RunError, match="changed by another process meanwhile"), job.opened():
        pass
    assert fingerprint(copy) == grown


def test_the_recipe_of_what_is_kept_makes_the_same_data_elsewhere(tree, grown, copy, tmp_path, caplog):
    run(parsed(tree, per_class=2, max_attempts=40), copy)
    caplog.clear()
    result = run(Recipe.load(copy / "recipe.yaml"), tmp_path / "new")
    assert (result.accepted, result.missed) == (12, ())
    assert "gives them up" not in caplog.text
    assert [row["id"] for row in rows(tmp_path / "new")] == [row["id"] for row in rows(grown)]
    assert list(verify(tmp_path / "new")) == []
