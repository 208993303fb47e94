"""A disk that is really full, and one that is really read-only: a file system in memory that only the test sees."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from terrasynth.synthesis import run
from terrasynth.synthesis.recipe import Recipe
from terrasynth.synthesis.verify.verifying import verify
from tests.synthesis.helpers import fingerprint
from tests.tiny_sd import tiny_sd

ROOT = Path(__file__).parents[3]
ALONE = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
SCRIPT = """
mount -t tmpfs -o size=150k tmpfs {disk}
{command}; echo "code $?"
cp -r {disk}/run {kept}
mount -o remount,size=64m {disk}
{command}; echo "code $?"
cp -r {disk}/run {whole}
mount -o remount,ro {disk}
{command}; echo "code $?"
{verify}; echo "code $?"
"""


def can_mount(folder):
    try:
        done = subprocess.run([*ALONE, f"mount -t tmpfs tmpfs {folder}"], capture_output=True, check=False)
    except FileNotFoundError:
        return False
    return done.returncode == 0


@pytest.mark.slow
def test_finished_blocks_survive_a_full_disk_and_the_run_goes_on(tmp_path):
    places = {name: tmp_path / name for name in ("disk", "kept", "whole")}
    places["disk"].mkdir()
    if not can_mount(places["disk"]):
        pytest.skip("this system lets no test mount a file system of its own")
    tree = {
        "name": "full", "generator": {"model": str(tiny_sd(tmp_path / "sd")), "steps": 1, "guidance": 1.0},
        "prompts": {"expander": "grammar", "classes": ["beach", "river"]},
        "filters": [{"kind": "duplicate", "max_similarity": -1.0}],
        "target": {"per_class": 2, "max_attempts": 16},
        "runtime": {"block_size": 4, "device": "cpu", "dtype": "float32"},
    }
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(tree))
    terrasynth = f"{sys.executable} -m terrasynth"
    script = SCRIPT.format(command=f"{terrasynth} run {tmp_path / 'recipe.yaml'} --out {places['disk']}/run",
                           verify=f"{terrasynth} verify {places['disk']}/run", **places)
    done = subprocess.run([*ALONE, script], cwd=ROOT, capture_output=True, text=True, check=True)
    said = [line for line in done.stderr.splitlines() if line.startswith("terrasynth: error")]
    assert [line for line in done.stdout.splitlines() if line.startswith("code")] == [
        "code 1", "code 1", "code 2", "code 0"], done.stderr
    assert said[0].startswith("terrasynth: error: disk full while writing")
    assert said[0].endswith("free some space and run the same command again")
    assert "target missed" in said[1]  # as it should: all pictures are duplicates to this filter
    assert "cannot write" in said[2]
    assert "Traceback" not in done.stderr

    run(Recipe.parse(tree), tmp_path / "undisturbed")
    wanted = fingerprint(tmp_path / "undisturbed" / "blocks")
    found = fingerprint(places["kept"] / "blocks")
    assert 0 < len(found) < len(wanted)
    assert found.items() <= wanted.items()
    assert not list(places["kept"].rglob("*.tmp"))
    assert fingerprint(places["whole"] / "blocks") == wanted
    assert fingerprint(places["whole"] / "data") == fingerprint(tmp_path / "undisturbed" / "data")
    assert list(verify(places["whole"])) == []
