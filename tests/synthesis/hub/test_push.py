"""Publishing a run: what travels, what does not, and what faults do to it."""

from __future__ import annotations

import io
import json
import random
from types import SimpleNamespace

import datasets
import pyarrow.parquet as pq
import pytest

from terrasynth.synthesis.core.errors import InputError, RunError
from terrasynth.synthesis.core.files import sha256
from terrasynth.synthesis.core.records import write_record
from terrasynth.synthesis.hub.patience import Patience, retry_after
from terrasynth.synthesis.hub.pushing import PushSettings, push
from terrasynth.synthesis.hub.read_back import read_back
from tests.hub_faults import Fault, fault_at, random_faults
from tests.hub_kills import push_through_kills
from tests.hub_runs import write_run
from tests.hub_server import TOKEN, published
from tests.synthesis.helpers import exchange, fingerprint, rows

REPO = PushSettings("user/tiny")
SHARDS = [f"data/train-{index:05d}.parquet" for index in range(4)]
COMMIT = "POST /api/datasets/user/tiny/commit"


def _ids(hub):
    files = published(hub)
    return [row["id"] for path in sorted(files) if path.startswith("data/")
            for row in pq.read_table(io.BytesIO(files[path]), columns=["id"]).to_pylist()]


def _sizes(hub):
    return {oid: len(data) for oid, data in hub.objects.items()}


def test_a_push_publishes_the_data_set_and_nothing_else(hub, made):
    hub.page = 3
    result = push(made, REPO)
    assert set(published(hub)) == {
        ".gitattributes", "README.md", *SHARDS, "identity.json", "recipe.yaml", "report/index.html",
        "report/one-of-each.png", "terrasynth.json",
    }
    for path in SHARDS:
        assert published(hub)[path] == (made / path).read_bytes()
    assert 'load_dataset("user/tiny", split="train")' in published(hub)["README.md"].decode()
    history = hub.repositories["user/tiny"].history()
    assert [commit.summary for commit in history] == ["initial commit", "24 rows, by terrasynth"]
    assert (result.commit, result.compared) == (history[-1].oid, 6)


def test_nobody_else_is_told(hub, made, monkeypatch):
    monkeypatch.setattr(datasets.config, "S3_DATASETS_BUCKET_PREFIX", f"{hub.url}/elsewhere")
    monkeypatch.setattr(datasets.config, "HF_UPDATE_DOWNLOAD_COUNTS", True)
    push(made, REPO)
    assert not [asked for asked in hub.asked if "elsewhere" in asked]
    assert datasets.config.HF_UPDATE_DOWNLOAD_COUNTS


def test_a_second_push_has_nothing_to_do(hub, made):
    push(made, REPO)
    before = hub.repositories["user/tiny"].history()
    result = push(made, REPO)
    assert (result.commit, result.plan.send, result.plan.remove) == ("", (), ())
    assert hub.repositories["user/tiny"].history() == before


def test_a_third_of_the_requests_fails(hub, naps, tmp_path):
    run = write_run(tmp_path / "run", 1000)
    hub.faults = random_faults(3, 1 / 3)
    push(run, REPO)
    assert hub.failed > len(hub.asked) / 5
    assert naps
    assert _ids(hub) == [row["id"] for row in rows(run)]
    assert len(set(_ids(hub))) == 1000
    assert len(hub.repositories["user/tiny"].history()) == 2


def test_a_grown_run_sends_its_new_shards(hub, tmp_path):
    run = write_run(tmp_path / "run", 1000)
    push(run, REPO)
    hub.received.clear()
    write_run(run, 1500)
    result = push(run, REPO)
    assert {file.path for file in result.plan.send} == {
        "README.md", "terrasynth.json", *(f"data/train-{index:05d}.parquet" for index in range(10, 15)),
    }
    assert sum(hub.received.values()) == sum((run / f"data/train-{index:05d}.parquet").stat().st_size
                                             for index in range(10, 15))
    assert _ids(hub) == [row["id"] for row in rows(run)]


@pytest.mark.parametrize("part_bytes", [1 << 30, 1500])
def test_cut_off_anywhere_nothing_is_sent_twice_but_the_part_in_flight(hub, made, naps, part_bytes):
    def dead_from(number):
        return lambda now, *_: None if now < number else Fault(cut=0.5) if now == number else Fault(cut=0)

    hub.part_bytes = part_bytes
    push(made, REPO)
    last = next(number for number, asked in enumerate(hub.asked) if asked.startswith(COMMIT))
    whole = _sizes(hub)
    for number in random.Random(0).sample(range(1, last + 1), 3):
        for kept in (hub.asked, hub.repositories, hub.objects, hub.parts, hub.received, hub.uploads):
            kept.clear()
        hub.faults = dead_from(number)
        with pytest.raises(RunError, match="no connection to"):
            push(made, REPO)
        arrived = set(hub.objects)
        before = dict(hub.received)
        hub.faults = None
        push(made, REPO)
        assert _sizes(hub) == whole
        assert all(hub.received[oid] == before[oid] == whole[oid] for oid in arrived)
        again = {oid for oid in whole if hub.received[oid] > whole[oid]}
        assert len(again) <= 1
        assert all(hub.received[oid] <= 2 * whole[oid] for oid in again)
        assert len(hub.repositories["user/tiny"].history()) == 2


@pytest.mark.slow
def test_killed_at_random_requests(hub, made, tmp_path):
    kills = push_through_kills(hub, made, tmp_path / "home", 26)
    assert kills
    assert _ids(hub) == [row["id"] for row in rows(made)]
    whole = _sizes(hub)
    assert all(hub.uploads[oid] == 1 for oid in whole)
    assert sum(hub.received.values()) <= sum(whole.values()) + kills * max(whole.values())
    assert len(hub.repositories["user/tiny"].history()) == 2


def test_a_commit_whose_answer_is_lost_is_made_once(hub, made, naps):
    hub.faults = fault_at(COMMIT, Fault(silent=True))
    result = push(made, REPO)
    history = hub.repositories["user/tiny"].history()
    assert len(history) == 2
    assert result.commit == history[-1].oid


def test_a_push_of_somebody_else_in_between(hub, made, naps):
    def theirs():
        hub.before_commit = None
        repository = hub.repositories["user/tiny"]
        line = {"key": "file", "value": {"path": "notes.txt", "content": "aGVsbG8="}}
        hub.commit(repository, "main", [{"key": "header", "value": {"summary": "theirs"}}, line])

    hub.before_commit = theirs
    with pytest.raises(RunError, match=r"somebody else pushed to user/tiny .* nothing of this push was committed"):
        push(made, REPO)
    assert hub.repositories["user/tiny"].history()[-1].summary == "theirs"
    push(made, REPO)
    assert published(hub)["notes.txt"] == b"hello"
    assert _ids(hub) == [row["id"] for row in rows(made)]


def test_a_wait_says_what_is_waited_for(naps):
    said = []
    Patience("http://hub", "data set user/tiny", said.append).wait(0, 7.0)
    assert (said, naps) == (["waiting 7 s for data set user/tiny at http://hub"], [7.0])


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (401, InputError, "the token is not accepted .* run `hf auth login`"),
        (403, InputError, "may not write .* use one with write access"),
        (404, InputError, "does not exist, or the token may not see it .* check --repo"),
        (413, RunError, "too large .* lower output.rows_per_shard"),
        (429, RunError, "requests are limited .* wait 7 s, then run the same command again"),
        (500, RunError, "fails .500. after 6 tries; run the same command again"),
    ],
)
def test_a_status_that_stays_is_one_clear_line(hub, made, naps, status, kind, words):
    hub.faults = fault_at("POST .*/preupload", Fault(status, {"Retry-After": "7"} if status == 429 else {}), 10_000)
    with pytest.raises(kind, match=words) as raised:
        push(made, REPO)
    assert "\n" not in str(raised.value)
    assert "user/tiny" in str(raised.value)  # whatever it is, of which repository
    assert (7 in naps) == (status == 429)


def test_a_hub_that_falls_silent_is_asked_again(hub, made, monkeypatch):
    monkeypatch.setattr("terrasynth.synthesis.hub.patience.SILENCE", 0.5)
    hub.faults = fault_at("GET .*/revision/main", Fault(delay=2))
    push(made, REPO)
    assert _ids(hub) == [row["id"] for row in rows(made)]


@pytest.mark.parametrize(("headers", "seconds"), [
    ({"RateLimit": '"api";r=0;t=7'}, 7), ({"RateLimit": '"api";r=12;t=7'}, None),  # 0 and 12 requests are left
    ({"Retry-After": "3", "RateLimit": '"api";r=0;t=7'}, 3), ({"RateLimit": "soon"}, None), ({}, None),
])
def test_the_pause_that_a_hub_asks_for(headers, seconds):
    error = OSError("refused")
    error.response = SimpleNamespace(headers=headers)
    assert retry_after(error) == seconds


def test_a_pause_longer_than_anyone_waits_is_told(hub, made, naps):
    hub.faults = fault_at("POST /api/repos/create", Fault(429, {"Retry-After": "3600"}))
    with pytest.raises(RunError, match="wait 3600 s"):
        push(made, REPO)
    assert naps == []


def test_rows_that_read_back_otherwise_are_told(hub, made):
    push(made, REPO)
    (made / SHARDS[3]).write_bytes((made / SHARDS[0]).read_bytes())
    with pytest.raises(RunError, match=r"reads back with another id, image, text.* than .*train-00003\.parquet has"):
        read_back(made, "user/tiny", hub.repositories["user/tiny"].history()[-1].oid, TOKEN)


def test_a_dry_run_looks_and_writes_nothing(hub, made):
    before = fingerprint(made)
    result = push(made, PushSettings("user/tiny", dry=True))
    assert {file.path for file in result.plan.send} >= set(SHARDS)
    assert all(asked.startswith("GET") for asked in hub.asked)
    hub.asked.clear()
    push(made, PushSettings("user/tiny", dry=True, offline=True))
    assert hub.asked == []
    assert fingerprint(made) == before
    assert hub.repositories == {}


def test_the_token_is_nowhere(hub, made, naps, tmp_path, terrasynth):
    said = []
    hub.faults = random_faults(0, 1 / 4)
    said.append(terrasynth("push", made, "--repo", "user/tiny"))
    hub.faults = fault_at("POST .*/branch", Fault(403), 100)
    said.append(terrasynth("push", made, "--repo", "user/tiny", "--revision", "other"))
    assert [code for code, *_ in said] == [0, 2]
    assert TOKEN not in repr(said)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.name == "licence.json" for path in files)
    assert not [path for path in files if TOKEN.encode() in path.read_bytes()]
    assert not [path for path, data in published(hub).items() if TOKEN.encode() in data]


def test_without_a_token(hub, made, monkeypatch, terrasynth):
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(made / "no-token"))
    code, _, lines = terrasynth("push", made, "--repo", "user/tiny")
    assert code == 2
    assert lines == [f"terrasynth: error: there is no token for {hub.url}; set HF_TOKEN, or run `hf auth login`"]
    assert hub.asked == []


def test_another_branch_leaves_main_alone(hub, made):
    push(made, PushSettings("user/tiny", private=True))
    assert hub.repositories["user/tiny"].private
    write_run(made, 30, per_shard=6)
    push(made, PushSettings("user/tiny", branch="larger"))
    assert "data/train-00004.parquet" in published(hub, branch="larger")
    assert "data/train-00004.parquet" not in published(hub)


def test_a_smaller_run_takes_away_only_what_it_had_put_there(hub, made):
    push(made, REPO)
    line = {"key": "file", "value": {"path": "notes.txt", "content": "aGVsbG8="}}
    hub.commit(hub.repositories["user/tiny"], "main", [{"key": "header", "value": {"summary": "notes"}}, line])
    write_run(made, 12, per_shard=6)
    result = push(made, REPO)
    assert result.plan.remove == (SHARDS[2], SHARDS[3])
    assert published(hub)["notes.txt"] == b"hello"
    assert _ids(hub) == [row["id"] for row in rows(made)]


def test_what_is_not_ours_is_not_overwritten(hub, made, tmp_path):
    hub.create("user/tiny", private=False)
    repository = hub.repositories["user/tiny"]

    def theirs(path):
        line = {"key": "file", "value": {"path": path, "content": "aGVsbG8="}}
        hub.commit(repository, "main", [{"key": "header", "value": {"summary": "theirs"}}, line])

    with pytest.raises(InputError, match="exists and is public, and --private was asked for"):
        push(made, PushSettings("user/tiny", private=True))
    theirs("README.md")
    with pytest.raises(InputError, match=r"holds 'README.md', which no push of this tool put there"):
        push(made, REPO)
    push(made, PushSettings("user/tiny", replace=True))
    other = write_run(tmp_path / "other", 6, per_shard=6, seed=1)
    with pytest.raises(InputError, match=r"holds the run .* add --replace to put this run in its place"):
        push(other, REPO)
    theirs("data/more.parquet")
    with pytest.raises(InputError, match=r"holds 'data/more.parquet'.* mixed with the run's rows"):
        push(made, PushSettings("user/tiny", replace=True))


def test_shards_that_are_not_fit_to_go(hub, made):
    shard = made / SHARDS[1]
    table = pq.read_table(made / SHARDS[0])
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-100])
    with pytest.raises(RunError, match=r"train-00001.parquet is damaged"):
        push(made, REPO)
    pq.write_table(table.take([0] * 101), shard, row_group_size=101)
    with pytest.raises(RunError, match=r"row group 0 of data/train-00001.parquet has 101 rows"):
        push(made, REPO)
    shard.unlink()
    with pytest.raises(RunError, match=r"the card .* tells of 24 rows and data/ holds 18"):
        push(made, REPO)
    assert hub.asked == []


def test_shards_that_are_not_what_the_run_wrote_are_not_published(hub, made):
    written = {name: sha256(made / name) for name in SHARDS}
    note = {"asked": "0" * 16, "ledger": "0" * 16, "counts": [], "written": written}
    write_record(made / "finished.json", note)
    assert push(made, REPO).compared == 6
    there = published(hub)
    exchange(made / SHARDS[1], made / SHARDS[2])
    with pytest.raises(RunError, match=r"train-00001\.parquet is not what the run wrote; .*--repair` writes it again"):
        push(made, REPO)
    exchange(made / SHARDS[1], made / SHARDS[2])
    write_record(made / "finished.json", note | {"asked": "nothing"})
    with pytest.raises(RunError, match=r"finished\.json cannot be believed"):
        push(made, REPO)
    (made / "finished.json").unlink()
    identity = json.loads((made / "identity.json").read_text())
    (made / "identity.json").write_text(json.dumps(identity | {"identity": "0" * 16}))
    with pytest.raises(RunError, match=r"identity\.json cannot be believed"):
        push(made, REPO)
    assert published(hub) == there


def test_a_folder_that_is_no_run(tmp_path):
    with pytest.raises(InputError, match="it is no run"):
        push(tmp_path, REPO)
    (tmp_path / "terrasynth-export.json").write_text("{}")
    with pytest.raises(InputError, match="was not written by this version of terrasynth"):
        push(tmp_path, REPO)
