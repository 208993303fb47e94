"""A run that lives in object storage: the bytes of one on disk, whatever the store and the processes do."""

import os
import re
import signal
import sys
import time
from pathlib import Path

import pytest

from terrasynth.synthesis import run
from terrasynth.synthesis.core.errors import InputError, RunError, StoreError
from terrasynth.synthesis.core.files import InUseError
from terrasynth.synthesis.core.storage import store
from terrasynth.synthesis.core.storage.object_path import LEASES, place
from terrasynth.synthesis.recipe import Recipe
from terrasynth.synthesis.verify.verifying import verify
from tests.object_store import BUCKET, empty, random_faults
from tests.worker_cells import CLASSES, tree

FAULTS = int(os.environ.get("TERRASYNTH_STORAGE_FAULTS", "25"))
RUN = f"s3://{BUCKET}/runs/one"
UNLIKE = {".lock", "finished.json"}  # a file of the disk's, and one that notes times
WRITES = ("put", "create", "copy", "delete")
pytestmark = pytest.mark.usefixtures("place")  # runs draw with `worker-cells`


def plain(**runtime):
    return tree(**{"block_size": 2} | runtime) | {
        "prompts": {"expander": "grammar", "classes": CLASSES[:2]}, "target": {"per_class": 5, "max_attempts": 40},
        "output": {"rows_per_shard": 4}}


def recipe(**runtime):
    return Recipe.parse(plain(**runtime))


@pytest.fixture(scope="module")
def whole(place):
    """What the recipe makes on a disk, by name."""
    run(recipe(), place / "whole")
    return {path.relative_to(place / "whole").as_posix(): path.read_bytes()
            for path in (place / "whole").rglob("*") if path.is_file() and path.name not in UNLIKE}


def made(s3, name="runs/one"):
    return {key: value for key, value in s3.objects(f"{name}/").items() if key not in UNLIKE}


def as_if_its_time_were_over(s3):
    """Take away the leases of dead processes."""
    s3.remove(lambda key: f"/{LEASES}/" in key)


def test_run_has_the_bytes_of_one_on_disk_and_is_finished(s3, whole):
    assert run(recipe(), RUN).accepted > 0
    assert made(s3) == whole
    assert list(verify(RUN)) == []
    s3.asked.clear()
    assert run(recipe(), RUN).drawn == 0
    assert len(s3.asked) < 70  # however many blocks there are
    assert not [each for each in s3.asked if each.startswith("PUT") and ("/blocks/" in each or "/data/" in each)]
    assert made(s3) == whole


@pytest.fixture
def there(s3, whole):
    """The run as it was copied from the disk, which no note calls finished."""
    for name, data in whole.items():
        s3.overwrite(f"runs/one/{name}", data)
    s3.asked.clear()
    return s3


@pytest.mark.usefixtures("there")
def test_no_block_is_asked_for_by_itself(s3):
    """Listings say which blocks are there and how large they are, so that what is asked of a block is its content."""
    run(recipe(), RUN)
    heads = [each for each in s3.asked if each.startswith("HEAD") and "/blocks/" in each]
    blocks = [key for key in made(s3) if key.startswith("blocks/")]
    assert len(blocks) >= 6
    assert len(heads) <= 4  # the first of each class, before the run is held
    listings = [each for each in s3.asked if "list-type" in each and "prefix=runs%2Fone%2Fblocks" in each]
    assert len(listings) < 25


def test_every_write_may_be_the_last(s3, whole, monkeypatch):
    """The process is cut off before its n-th write, for every n, without any clean-up of its own."""

    class Cut(BaseException):
        pass

    real = {name: getattr(store.Store, name) for name in WRITES}
    for last in range(2, 400, 8):
        done = []

        def write(self, name, *arguments, last=last, done=done):
            if len(done) == last:
                raise Cut
            done.append(name)
            return real[name](self, *arguments)

        with monkeypatch.context() as patch:
            for name in WRITES:
                patch.setattr(store.Store, name, lambda self, *arguments, name=name, write=write: write(
                    self, name, *arguments))
            try:
                run(recipe(), RUN)
                break
            except Cut:
                as_if_its_time_were_over(s3)
    assert last > 25
    assert made(s3) == whole


def test_killed_and_gone_on_with_from_elsewhere(s3, python, whole, place, tmp_path):
    import yaml

    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(plain()))
    killed = 0
    for blocks in (1, 3):
        (tmp_path / str(blocks)).mkdir()
        process = python.start("-m", "terrasynth", "run", tmp_path / "recipe.yaml", "--out", RUN,
                               cwd=tmp_path / str(blocks),
                               env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)})
        while process.poll() is None and sum("blocks/" in key for key in made(s3)) < blocks:
            time.sleep(0.002)
        process.kill()
        _, errors = process.communicate()
        assert process.returncode in (0, -signal.SIGKILL), errors
        killed += process.returncode == -signal.SIGKILL
        assert not list((tmp_path / str(blocks)).iterdir())
        as_if_its_time_were_over(s3)
    assert killed == 2
    run(recipe(), RUN)
    assert made(s3) == whole


def test_faults_lose_double_and_change_nothing(s3, whole):
    round_ = 0
    while sum(s3.failed.values()) < FAULTS:
        s3.faults = None
        empty(s3)
        s3.faults = random_faults(round_, 0.25)
        run(recipe(), RUN)
        assert list(verify(RUN, fast=True)) == []
        s3.faults, round_ = None, round_ + 1
        assert made(s3) == whole
    print(f"{sum(s3.failed.values())} faults in {round_} runs: {s3.failed}")
    assert all(s3.failed.values())


def test_workers_make_the_same_there(s3, whole, started_at_once):
    from terrasynth.synthesis.execution import worker_process

    with started_at_once(worker_process):
        run(recipe(executor="processes", workers=1), RUN)
    there = made(s3)
    assert {key: there[key] for key in whole if key.startswith("data/")} == {
        key: value for key, value in whole.items() if key.startswith("data/")}
    assert {key for key in there if key.startswith("blocks/")} == {key for key in whole if key.startswith("blocks/")}


@pytest.mark.usefixtures("there")
def test_what_was_moved_by_a_copy_is_taken_away_later(s3, whole):
    """A process that is killed between the copy of a block to its place and the end of the move leaves both."""
    name = next(key for key in made(s3) if key.startswith("blocks/"))
    s3.overwrite(f"runs/one/ahead/{name}", made(s3)[name])
    run(recipe(), RUN)
    assert made(s3) == whole


@pytest.mark.usefixtures("there")
def test_a_plan_counts_what_is_there(s3, terrasynth, tmp_path):
    import yaml

    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(plain()))
    before = s3.objects()
    code, out, _ = terrasynth("plan", tmp_path / "recipe.yaml", "--out", RUN)
    drawn = 2 * sum(key.startswith("runs/one/blocks/") for key in before)
    assert code == 0
    assert re.search(rf"^there already +{drawn} images$", out, re.M)
    assert re.search(r"^disk .*; in object storage$", out, re.M)
    assert s3.objects() == before


def test_a_second_process_is_refused_and_the_first_goes_on(s3, whole):
    refused = []

    def during(_event):
        if not refused:
            with pytest.raises(InUseError) as caught:
                run(recipe(), RUN)
            refused.append(str(caught.value))

    run(recipe(), RUN, during)
    assert "is in use by another process" in refused[0]
    assert f"process {os.getpid()}" in refused[0]
    assert made(s3) == whole


def test_a_store_that_replaces_what_it_should_create_is_refused(s3, monkeypatch):
    real = store.Store._send
    monkeypatch.setattr(store.Store, "_send", lambda self, key, file, size, mode: real(
        self, key, file, size, "overwrite"))
    with pytest.raises(InputError, match="replaces an object that it should only create"):
        run(recipe(), RUN)


@pytest.mark.parametrize(("address", "said"), [
    ("s3://nowhere/run", "s3://nowhere/run: there is no bucket 'nowhere'; make it, or correct the address"),
    ("gs://bucket/run", "an address gs:// needs gcsfs, which is not installed; in a checkout of TerraSynth: pip "
                        "install -c constraints.txt '.[gcs]'"),
    ("az://container/run", "an address az:// needs adlfs"),
    ("s4://bucket/run", "'s4://bucket/run' is no address that is known; there are s3://, gs://"),
    ("s3://", "'s3://' names no bucket; write s3://BUCKET/FOLDER"),
    ("s3://bucket/../run", "has an empty part, '.' or '..'"),
    ("hf://datasets/user/name", "cannot be written to: on the Hub each file would be a commit"),
])
def test_what_is_wrong_is_said_on_one_line(s3, terrasynth, tmp_path, address, said):
    import yaml

    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(plain()))
    code, _, lines = terrasynth("run", tmp_path / "recipe.yaml", "--out", address)
    assert code == 2
    assert said in lines[-1]
    assert "Traceback" not in "".join(lines)


@pytest.mark.parametrize("given", [None, "refused"])
def test_credentials_that_are_missing_or_refused(s3, monkeypatch, terrasynth, given):
    monkeypatch.setattr(store, "STORES", {})
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    if given is None:
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        said = "no credentials are found (Unable to locate credentials); set AWS_ACCESS_KEY_ID"
    else:
        s3.faults = lambda *_: "refused"
        said = "access is refused"
    code, _, lines = terrasynth("verify", RUN)
    assert (code, len(lines)) == (2, 1)
    assert said in lines[0]


def test_a_store_that_is_down_ends_the_run_on_one_line_and_it_goes_on_later(s3, whole):
    down = []

    def dies(_number, method, path):
        down.extend(["now"] if method == "PUT" and path.endswith("00002.parquet") else [])
        return "cut" if down else None

    s3.faults = dies
    with pytest.raises(RunError, match=r"did not answer in 11 tries .*; run the same command again"):
        run(recipe(), RUN)
    s3.faults = None
    as_if_its_time_were_over(s3)
    run(recipe(), RUN)
    assert made(s3) == whole


@pytest.mark.usefixtures("there")
def test_damage_is_found_and_repaired_there(s3, whole, terrasynth):
    shard = next(key for key in made(s3) if key.startswith("data/"))
    block = next(key for key in made(s3) if key.startswith("blocks/"))
    for name in (shard, block):
        s3.overwrite(f"runs/one/{name}", b"broken" + made(s3)[name][6:])
    assert {fault.file for fault in verify(RUN)} >= {shard, block}
    code, out, _ = terrasynth("verify", RUN, "--repair")
    assert code == 0, out
    found = made(s3)
    assert {key: value for key, value in found.items() if not key.startswith("damaged/")} == whole
    assert f"damaged/{block}" in found


def test_paths_of_objects_read_as_paths_do(s3):
    folder = place(f"s3://{BUCKET}/a b/ü%20")
    file = folder / "one" / "x.txt"
    file.write_text("first\nsecond\n")
    assert (str(file), file.name, file.parent.name, file.suffix) == (f"s3://{BUCKET}/a b/ü%20/one/x.txt", "x.txt",
                                                                      "one", ".txt")
    assert file.relative_to(folder).as_posix() == "one/x.txt"
    assert (file.exists(), file.is_file(), file.is_dir()) == (True, True, False)
    assert (folder.exists(), folder.is_file(), folder.is_dir()) == (True, False, True)
    assert file.open().readlines() == ["first\n", "second\n"]
    assert list(folder.glob("*/*.txt")) == list(folder.rglob("*.txt")) == [file]
    assert [path.name for path in folder.iterdir()] == ["one"]
    assert place(Path(str(file))) == file
    with pytest.raises(StoreError, match="this takes a file on a disk"):
        os.stat(file)
    with pytest.raises(FileNotFoundError):
        (folder / "two").read_bytes()
    with pytest.raises(FileNotFoundError):
        (folder / "two").open()


def test_ranges_are_read_and_not_the_whole(s3):
    data = bytes(range(256)) * 8192  # 2 MiB
    file = place(f"s3://{BUCKET}/large")
    file.write_bytes(data)
    s3.asked.clear()
    with file.open("rb") as opened:
        opened.seek(-8, 2)
        assert opened.read() == data[-8:]
        opened.seek(70_000)
        assert opened.read(5) == data[70_000:70_005]
    assert len(s3.asked) == 3  # its size, its end, and what was asked for
    with file.open("rb") as opened:
        assert opened.read() == data


def test_what_is_too_large_for_memory_is_put_from_a_file(s3, monkeypatch):
    from terrasynth.synthesis.core.files import replacing
    from terrasynth.synthesis.core.storage import object_path

    monkeypatch.setattr(store, "IN_MEMORY", 1000)
    monkeypatch.setattr(object_path, "IN_MEMORY", 1000)
    s3.faults = random_faults(3, 0.3)
    large, data = place(f"s3://{BUCKET}/large"), bytes(range(256)) * 1000
    for once, content in ((True, data), (True, data), (False, data[::-1])):
        with replacing(large, once=once) as file:
            file.write(content)
        assert s3.objects()["large"] == content
    with pytest.raises(RunError, match="was written by another process meanwhile"), replacing(large, once=True) as file:
        file.write(data)
    assert s3.objects()["large"] == data[::-1]
