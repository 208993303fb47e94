"""Exports from and to object storage hold the bytes of those between folders, and are pushed and checked there."""

import shutil

import pytest

from terrasynth.synthesis.core.storage.object_path import place
from terrasynth.synthesis.export.exporting import export
from terrasynth.synthesis.export.registry import load_exporter
from terrasynth.synthesis.verify.verifying import verify
from tests.hub_server import published
from tests.object_store import BUCKET, empty, random_faults, serving
from tests.synthesis.helpers import fingerprint
from tests.synthesis.hub.conftest import hub

RUN, OUT = f"s3://{BUCKET}/run", f"s3://{BUCKET}/out"


@pytest.fixture(scope="module")
def server():
    with serving() as found:
        yield found


@pytest.fixture
def s3(server, run_once):
    """The server, with a finished run alone."""
    server.faults = None
    empty(server)
    for path in run_once.rglob("*"):
        if path.is_file() and path.name != ".lock":
            server.overwrite(f"run/{path.relative_to(run_once).as_posix()}", path.read_bytes())
    return server


a_hub = hub


def content(s3):
    import hashlib

    return {name: hashlib.sha256(data).hexdigest() for name, data in s3.objects("out/").items()}


@pytest.mark.parametrize("name", ["webdataset", "coco"])
def test_an_export_has_the_bytes_of_one_in_a_folder(s3, run_once, tmp_path, name):
    export(run_once, load_exporter(name), tmp_path / "out")
    wanted = {key: value for key, value in fingerprint(tmp_path / "out").items() if key != ".lock"}
    assert export(place(RUN), load_exporter(name), place(OUT)).changed
    assert content(s3) == wanted
    assert list(verify(OUT)) == []
    assert not export(place(RUN), load_exporter(name), place(OUT)).changed
    export(place(RUN), load_exporter(name), tmp_path / "local")
    assert {key: value for key, value in fingerprint(tmp_path / "local").items() if key != ".lock"} == wanted


def test_faults_change_nothing_of_an_export(s3, run_once, tmp_path):
    export(run_once, load_exporter("imagefolder"), tmp_path / "out")
    s3.faults = random_faults(0, 0.2)
    export(place(RUN), load_exporter("imagefolder"), place(OUT))
    s3.faults = None
    assert content(s3) == {key: value for key, value in fingerprint(tmp_path / "out").items() if key != ".lock"}
    assert sum(s3.failed.values()) > 5


def test_a_shard_is_read_in_ranges(s3):
    """Who asks for the ids of a data set does not fetch its images."""
    import pyarrow.parquet as pq

    from terrasynth.synthesis.core.files import readable

    shard = f"{RUN}/data/train-00000.parquet"
    large = place(f"s3://{BUCKET}/large.parquet")
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    table = pa.table({"id": [str(k) for k in range(64)], "image": [bytes([k]) * 100_003 for k in range(64)]})
    pq.write_table(table, sink, compression="none", use_dictionary=False, row_group_size=8)
    large.write_bytes(sink.getvalue().to_pybytes())
    s3.asked.clear()
    s3.sent = 0
    with pq.ParquetFile(readable(large)) as file:
        assert file.read(columns=["id"]).column("id").to_pylist() == table.column("id").to_pylist()
    assert s3.sent < 64 * 100_003 / 4
    assert place(shard).is_file()


@pytest.mark.parametrize("folder", ["RUN", "OUT"])
def test_a_push_knows_what_it_would_send(s3, terrasynth, run_once, tmp_path, folder):
    export(place(RUN), load_exporter("webdataset"), place(OUT))
    export(run_once, load_exporter("webdataset"), tmp_path / "out")
    there, here = {"RUN": (RUN, run_once), "OUT": (OUT, tmp_path / "out")}[folder]
    options = ["--repo", "user/name", "--dry-run", "--offline", "--licence", "cc-by-nc-4.0"]
    code, out, lines = terrasynth("push", there, *options)
    assert code == 0, lines
    beside = terrasynth("push", here, *options)[1].splitlines(keepends=True)
    shown = [line for line in beside if line.startswith("note: nobody has looked at these images: `terrasynth review ")]
    assert len(shown) == (folder == "RUN")  # no page shows a run that lies there
    assert out == "".join(line for line in beside if line not in shown)


@pytest.mark.parametrize("folder", ["RUN", "OUT"])
def test_a_push_sends_what_one_from_a_folder_sends(s3, terrasynth, run_once, tmp_path, a_hub, folder):
    export(place(RUN), load_exporter("parquet"), place(OUT))
    export(run_once, load_exporter("parquet"), tmp_path / "out")
    shutil.copytree(run_once, tmp_path / "run")  # a push writes the licence into its card
    options = ["--licence", "cc-by-nc-4.0"]
    there, here = {"RUN": (RUN, tmp_path / "run"), "OUT": (OUT, tmp_path / "out")}[folder]
    for name, pushed in (("user/there", there), ("user/here", here)):
        code, _, lines = terrasynth("push", pushed, "--repo", name, *options)
        assert code == 0, lines
    one, other = published(a_hub, "user/there"), published(a_hub, "user/here")
    assert one.keys() == other.keys()
    assert [name for name in one if one[name].replace(b"user/there", b"user/here") != other[name]
            and name != "terrasynth.json"] == []  # which holds the hash of the card


def test_what_takes_a_folder_says_so(s3, terrasynth):
    code, _, lines = terrasynth("review", RUN)
    assert (code, len(lines)) == (2, 1)
    assert f"'{RUN}' lies in object storage, and a review takes a folder; copy the run to one" in lines[0]


def test_a_run_is_judged_where_it_lies(s3, terrasynth, models, run_once):
    options = ["--encoder", models.calibrated_encoder, "--classifier", models.classifier, "--cache", "none"]
    code, out, lines = terrasynth("eval", RUN, *options)
    assert code == 0, lines
    assert out.replace(RUN, "") == terrasynth("eval", run_once, *options)[1].replace(str(run_once), "")


def test_what_was_pushed_is_read_at_an_address_of_the_hub(terrasynth, run_once, tmp_path, a_hub, monkeypatch):
    from terrasynth.training.data import read_pairs

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    export(run_once, load_exporter("parquet"), tmp_path / "out")
    assert terrasynth("push", tmp_path / "out", "--repo", "user/data", "--licence", "cc-by-nc-4.0")[0] == 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("terrasynth.synthesis.core.storage.store.STORES", {})
        there = read_pairs("hf://datasets/user/data")
        assert (place("hf://datasets/user/data") / "README.md").is_file()
    here = read_pairs(tmp_path / "out")
    assert [(each.label, each.captions, each.open().tobytes()) for each in there.pairs] == [
        (each.label, each.captions, each.open().tobytes()) for each in here.pairs]
