"""Blocks that any number of processes make ahead of a run give the bytes of a run that made them itself."""

import os
import re
import shlex
import signal
import time
from pathlib import Path
from string import Template

import pytest
import yaml

from terrasynth.synthesis import run
from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.core.files import InUseError, locked, sharing
from terrasynth.synthesis.core.storage.object_path import place as place_of
from terrasynth.synthesis.parts import make_part
from terrasynth.synthesis.recipe import Recipe
from tests.worker_cells import CLASSES, assert_same, tree


def recipe(**changes):
    return Recipe.parse(tree() | changes)


def made_by(out, of, share=None, **changes):
    return [make_part(recipe(**changes), out, part, of, share) for part in range(1, of + 1)]


def files(out):
    return sorted(path.relative_to(out / "ahead").as_posix() for path in (out / "ahead" / "blocks").rglob("*.parquet"))


@pytest.mark.parametrize("of", [1, 2, 5])
def test_parts_make_what_is_needed_in_any_case_and_the_run_the_rest(whole, tmp_path, of):
    out = tmp_path / "run"
    parts = made_by(out, of)
    least = len(CLASSES) * 9  # 9 rows a class, in blocks of 3
    assert [each.every for each in parts] == [each.needed for each in parts] == [least] * of
    assert sum(each.drawn for each in parts) == least
    assert sum(each.blocks for each in parts) == least / 3
    assert len(files(out)) == least / 3
    assert not (out / "blocks").exists()
    result = run(recipe(), out)
    assert result.drawn == run_drawn(whole) - least
    assert result.kept_ahead == 0
    assert_same(out, whole)


def run_drawn(out):
    return 3 * len(list((out / "blocks").rglob("*.parquet")))


def test_an_expected_share_lets_the_run_decide_alone_and_what_it_does_not_need_is_kept_for_growth(whole, tmp_path):
    out = tmp_path / "run"
    parts = made_by(out, 3, share=0.25)
    assert sum(each.drawn for each in parts) == parts[0].every == len(CLASSES) * 36
    assert parts[0].needed == len(CLASSES) * 9
    result = run(recipe(), out)
    assert (result.drawn, result.kept_ahead) == (0, len(CLASSES) * 36 - run_drawn(whole))
    assert 3 * len(files(out)) == result.kept_ahead
    assert_same(out, whole)
    larger = {"target": {"per_class": 12, "max_attempts": 60}}
    grown = run(recipe(**larger), out)
    assert grown.kept_ahead < result.kept_ahead
    assert_same(out, _made(tmp_path / "larger", larger))


def _made(out, changes):
    run(recipe(**changes), out)
    return out


def test_further_parts_go_by_what_the_run_has_seen(whole, tmp_path):
    out = tmp_path / "run"
    larger = {"target": {"per_class": 30, "max_attempts": 200}}
    run(recipe(), out)
    there = run_drawn(out)
    parts = made_by(out, 2, **larger)
    assert parts[0].needed < parts[0].every < len(CLASSES) * 200
    result = run(recipe(**larger), out)
    assert_same(out, _made(tmp_path / "larger", larger))
    drawn = sum(each.drawn for each in parts)
    assert drawn + there > 0.7 * (run_drawn(out) + result.kept_ahead), "most was made by the parts"
    assert result.kept_ahead < 0.3 * drawn


def test_a_class_that_has_what_it_wants_has_no_part(whole, tmp_path):
    out = tmp_path / "run"
    run(recipe(), out)
    assert [(each.blocks, each.drawn, each.every) for each in made_by(out, 2)] == [(0, 0, 0)] * 2


@pytest.fixture
def started(place, tmp_path, python):
    """Starts parts as commands; they end with the test."""
    file, began = tmp_path / "recipe.yaml", []
    file.write_text(yaml.safe_dump(tree()))
    paths = os.pathsep.join([str(place / "site"), str(Path(__file__).parents[2] / "src"),
                             str(Path(__file__).parents[2])])

    def start(out, part):
        began.append(python.start("-m", "terrasynth", "run", file, "--out", out, "--part", part,
                                  env=os.environ | {"PYTHONPATH": paths}))
        return began[-1]

    yield start
    for process in began:
        process.kill()
        process.wait()


def test_two_parts_at_once_in_processes(whole, tmp_path, started):
    out = tmp_path / "run"
    both = [started(out, f"{part}/2") for part in (1, 2)]
    said = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert "part 1 of 2: 5 blocks, 15 images drawn now; all parts: 27 images, of which 27 are needed" in said[0]
    assert "part 2 of 2: 4 blocks, 12 images drawn now" in said[1]
    run(recipe(), out)
    assert_same(out, whole)


def test_a_part_that_is_killed_goes_on_by_the_same_command(whole, tmp_path, started):
    out = tmp_path / "run"
    for _ in range(2):
        process, before = started(out, "1/1"), len(files(out))
        while len(files(out)) < before + 2 and process.poll() is None:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert before < len(files(out)), "it was killed in the middle"
    before = len(files(out))
    assert make_part(recipe(), out, 1, 1).drawn == 27 - 3 * before > 0
    assert len(files(out)) == 9
    run(recipe(), out)
    assert_same(out, whole)


@pytest.mark.parametrize(("changes", "named"), [
    ({"seed": 1}, "holds images of another identity: seed: was 0, now 1"),
    ({"filters": []}, "was begun with another recipe: filters"),
    ({"name": "other"}, "was begun with another recipe: name: was \"workers\", now \"other\""),
    ({"output": {"image_format": "webp"}}, "image_format"),
])
def test_a_part_of_another_recipe_is_refused(whole, tmp_path, changes, named):
    out = tmp_path / "run"
    made_by(out, 1)
    before = files(out)
    with pytest.raises(InputError, match=named):
        make_part(recipe(**changes), out, 1, 2)
    assert files(out) == before


def test_a_run_and_its_parts_exclude_each_other(tmp_path):
    out = tmp_path / "run"
    made_by(out, 1)
    with sharing(out), pytest.raises(InUseError, match="in use by another process"):
        run(recipe(), out)
    with locked(out), pytest.raises(InUseError, match="in use by its run"):
        make_part(recipe(), out, 1, 1)


@pytest.mark.parametrize(("part", "of", "share", "named"), [
    (0, 2, None, "part 0 of 2 does not exist"), (3, 2, None, "part 3 of 2 does not exist"),
    (1, 2, 0.0, "a share of 0"), (1, 2, 1.5, "a share of 1.5"),
])
def test_what_is_no_part_is_refused(tmp_path, part, of, share, named):
    with pytest.raises(InputError, match=named):
        make_part(recipe(), tmp_path / "run", part, of, share)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("options", "named"), [
    (("--part", "3"), "--part '3' is none; give it as 3/16"), (("--share", "0.5"), "--share is for --part"),
    (("--part", "1/2", "--shrink"), "--repair and --shrink are for the run itself"),
])
def test_the_command_names_what_is_wrong(terrasynth, place, tmp_path, options, named):
    code, _, lines = terrasynth("run", "demo", "--out", tmp_path / "run", *options)
    assert code == 2
    assert named in "\n".join(lines)


def test_the_run_says_how_many_were_not_needed(terrasynth, place, tmp_path):
    file, out = tmp_path / "recipe.yaml", tmp_path / "run"
    file.write_text(yaml.safe_dump(tree()))
    code, said, _ = terrasynth("run", file, "--out", out, "--part", "1/1", "--share", "0.2")
    assert code == 0
    assert "part 1 of 1: 45 blocks, 135 images drawn now; all parts: 135 images, of which 27 are needed in any" in said
    code, _, lines = terrasynth("run", file, "--out", out)
    assert code == 0
    left = 3 * len(files(out))
    assert 0 < left < 108
    assert f"{left} images that were drawn ahead before are not needed; they are kept in ahead/" in "\n".join(lines)


def test_the_slurm_array_of_the_page_makes_the_run(terrasynth, whole, place, tmp_path, monkeypatch):
    page = (Path(__file__).parents[2] / "docs" / "cluster.md").read_text()
    script = re.search(r"^cat > part\.sbatch <<'END'\n(.*?)^END$", page, re.M | re.S)[1]
    (line,) = [line for line in script.splitlines() if line.startswith("terrasynth ")]
    first, last = map(int, re.search(r"--array=(\d+)-(\d+)", script).groups())
    (then,) = re.findall(r'--wrap "terrasynth (.*)"', page)
    monkeypatch.chdir(tmp_path)
    Path("recipe.yaml").write_text(yaml.safe_dump(tree()))
    for task in range(first, last + 1):
        words = shlex.split(Template(line).substitute(SLURM_ARRAY_TASK_ID=task).replace("/shared/", "shared/"))
        assert terrasynth(*words[1:])[0] == 0
    assert len(files(Path("shared/RUN"))) == 9
    assert terrasynth(*shlex.split(then.replace("/shared/", "shared/")))[0] == 0
    assert_same(Path("shared/RUN"), whole)


def test_parts_of_a_run_in_object_storage_are_refused():
    with pytest.raises(InputError, match="lies in object storage, which several processes cannot hold together"), \
            sharing(place_of("s3://bucket/run")):
        pass
