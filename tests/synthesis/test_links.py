"""No link inside a run is followed where a file is opened for writing, and a lock is a file of its own."""

import os

import pytest

from terrasynth.synthesis import run
from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.core.files import locked, open_new, reading, replacing, write_file
from terrasynth.synthesis.recipe import Recipe
from terrasynth.synthesis.verify.verifying import verify
from tests.synthesis.helpers import fingerprint


@pytest.fixture
def outside(tmp_path):
    path = tmp_path / "outside.txt"
    path.write_text("of somebody else\n")
    return path


def test_a_lock_that_is_a_link_is_refused_and_what_it_names_stays(tmp_path, outside):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".lock").symlink_to(outside)
    for hold in (locked, reading):
        with pytest.raises(InputError, match=r"\.lock' is a link"), hold(tmp_path / "run"):
            pass
    assert outside.read_text() == "of somebody else\n"
    (tmp_path / "run" / ".lock").unlink()
    (tmp_path / "run" / ".lock").symlink_to(tmp_path / "made by a link")
    with pytest.raises(InputError, match=r"\.lock' is a link"), locked(tmp_path / "run"):
        pass
    assert not (tmp_path / "made by a link").exists()


def test_a_lock_that_is_a_pipe_or_a_folder_is_refused_and_not_waited_for(tmp_path):
    (tmp_path / "run").mkdir()
    os.mkfifo(tmp_path / "run" / ".lock")
    for hold in (locked, reading):
        with pytest.raises(InputError, match=r"\.lock' is no regular file"), hold(tmp_path / "run"):
            pass
    (tmp_path / "run" / ".lock").unlink()
    (tmp_path / "run" / ".lock").mkdir()
    with pytest.raises(InputError), locked(tmp_path / "run"):
        pass


def test_what_waits_under_the_name_of_a_temporary_file_is_not_written_to(tmp_path, outside):
    (tmp_path / "a.txt.tmp").symlink_to(outside)
    write_file(tmp_path / "a.txt", "ours\n")
    assert (tmp_path / "a.txt").read_text() == "ours\n"
    assert not (tmp_path / "a.txt").is_symlink()
    assert outside.read_text() == "of somebody else\n"


def test_a_link_in_the_place_of_the_file_is_replaced(tmp_path, outside):
    (tmp_path / "a.txt").symlink_to(outside)
    write_file(tmp_path / "a.txt", "of somebody else\n")
    assert not (tmp_path / "a.txt").is_symlink()
    write_file(tmp_path / "a.txt", "ours\n")
    assert outside.read_text() == "of somebody else\n"


def test_a_new_file_takes_no_link_and_a_folder_is_one_line(tmp_path, outside):
    (tmp_path / "link").symlink_to(outside)
    with open_new(tmp_path / "link") as file:
        file.write(b"ours")
    assert outside.read_text() == "of somebody else\n"
    (tmp_path / "a.txt.tmp").mkdir()
    with pytest.raises(InputError, match="a folder is in its place"), replacing(tmp_path / "a.txt") as file:
        file.write(b"")


def test_a_run_full_of_links_writes_nothing_outside(tree, tmp_path, outside):
    tree["target"] = {"per_class": 1, "max_attempts": 1}
    tree["filters"] = []
    run(Recipe.parse(tree), tmp_path / "whole")
    out = tmp_path / "run"
    for path in sorted((tmp_path / "whole").rglob("*")):
        if path.is_file() and path.name != ".lock":
            target = out / path.relative_to(tmp_path / "whole")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.with_name(target.name + ".tmp").symlink_to(outside)
            if target.parts[-2] in ("report", "run") and target.name not in ("recipe.yaml", "identity.json",
                                                                             "runtime.json", "finished.json",
                                                                             "licence.json"):
                target.symlink_to(outside)
    (out / "recipe.yaml").write_bytes((tmp_path / "whole" / "recipe.yaml").read_bytes())
    run(Recipe.parse(tree), out)
    assert outside.read_text() == "of somebody else\n"
    assert not [path for path in out.rglob("*") if path.is_symlink()]
    assert fingerprint(out / "data") == fingerprint(tmp_path / "whole" / "data")
    assert list(verify(out)) == []


def test_make_clean_leaves_what_cannot_be_made_again(tmp_path):
    import shutil
    import subprocess
    from pathlib import Path

    if shutil.which("make") is None:
        pytest.skip("there is no make")
    shutil.copy(Path(__file__).resolve().parents[2] / "Makefile", tmp_path)
    for name in ("runs/demo/data", "demo/data", "out", "models", ".venv", ".pytest_cache"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "file").write_text("of a night's work\n")
    subprocess.run(["make", "clean"], cwd=tmp_path, check=True, capture_output=True)
    left = {path.parent.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("file")}
    assert left == {"runs/demo/data", "demo/data", "out", "models"}
