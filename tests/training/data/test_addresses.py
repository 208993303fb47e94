"""Real data at an address of object storage: fetched once, compared with what lies there, read as a folder is."""

import pytest

from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.core.fetched import fetched, fetched_folder
from terrasynth.synthesis.core.storage.object_path import place
from terrasynth.training.data import read_pairs
from tests.docs.places import write_data
from tests.object_store import BUCKET, empty, random_faults, serving

DATA = f"s3://{BUCKET}/real/data"


@pytest.fixture(scope="module")
def server():
    with serving() as found:
        yield found


@pytest.fixture
def s3(server, tmp_path, monkeypatch):
    """The server with a data set, and a cache that is empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    server.faults = None
    empty(server)
    folder = write_data(tmp_path / "data")
    for path in folder.rglob("*"):
        if path.is_file():
            server.overwrite(f"real/data/{path.relative_to(folder).as_posix()}", path.read_bytes())
    server.asked.clear()
    return server


def told(pairs):
    return [(pair.name, pair.label, pair.split, tuple(pair.captions), pair.open().tobytes()) for pair in pairs]


def gets(s3):
    return [each for each in s3.asked if each.startswith("GET") and "list-type" not in each]


@pytest.mark.parametrize("faults", [0.0, 0.1])
def test_the_pairs_are_those_of_the_folder(s3, tmp_path, faults):
    s3.faults = random_faults(1, faults)
    found = read_pairs(DATA)
    wanted = read_pairs(tmp_path / "data")
    assert told(found.pairs) == told(wanted.pairs)
    assert found.sources == wanted.sources == ("data",)
    assert bool(sum(s3.failed.values())) == bool(faults)


def test_only_what_changed_is_fetched_again_and_what_is_gone_goes(s3, tmp_path):
    assert len(read_pairs(DATA).pairs) == 48
    assert len(gets(s3)) == 49
    s3.asked.clear()
    read_pairs(place(DATA))
    assert gets(s3) == []
    other = (tmp_path / "data" / "images" / "forest" / "01.png").read_bytes()
    s3.overwrite("real/data/images/beach/00.png", other)
    s3.remove(lambda key: key.endswith("river/15.png"))
    lines = s3.objects("real/data/")["pairs.jsonl"].decode().splitlines(keepends=True)
    s3.overwrite("real/data/pairs.jsonl", "".join(line for line in lines if "river/15" not in line).encode())
    found = read_pairs(DATA)
    assert sorted(each.rpartition("/")[2] for each in gets(s3)) == ["00.png", "pairs.jsonl"]
    assert len(found.pairs) == 47
    assert not list(fetched_folder().rglob("river/15.png"))
    damaged = next(fetched_folder().rglob("beach/02.png"))
    damaged.write_bytes(b"")  # a copy that was cut off
    read_pairs(DATA)
    assert damaged.stat().st_size


@pytest.mark.parametrize(("address", "said"), [
    (f"s3://{BUCKET}/nothing", "does not exist; correct the address"),
    (f"{DATA}/pairs.jsonl", f"is a file that may speak of others; give its folder, '{DATA}'"),
])
def test_what_cannot_be_read_is_said(s3, address, said):
    with pytest.raises(InputError, match="data '") as caught:
        read_pairs(address)
    assert said in str(caught.value)


def test_a_name_that_leads_out_of_the_copy_is_refused(s3):
    s3.overwrite("real/data/../../x.png", b"1")
    with pytest.raises(InputError, match="which is no name of a file"):
        fetched(place(DATA))
