"""Publishing an export: the promises of a push of a run, and what arrived read back by what reads the format."""

from __future__ import annotations

import io
import json
import random
import shutil

import datasets
import numpy as np
import pytest
from huggingface_hub import DatasetCard, snapshot_download
from PIL import Image

from terrasynth.synthesis.cards.licences import Statement
from terrasynth.synthesis.core.errors import InputError, RunError
from terrasynth.synthesis.core.images import decode
from terrasynth.synthesis.export.real import RealSet
from terrasynth.synthesis.hub.files import LocalFile
from terrasynth.synthesis.hub.pushing import PushSettings, push
from terrasynth.synthesis.hub.read_back import read_back_files, read_back_splits
from terrasynth.synthesis.ledger.label_columns import categories
from terrasynth.synthesis.verify.verifying import verify
from terrasynth.training.data import read_pairs
from tests.hub_faults import Fault, fault_at, random_faults
from tests.hub_kills import push_through_kills
from tests.hub_server import TOKEN, published
from tests.synthesis.exports import exported, layout_rows, run_rows, write_real, write_run
from tests.synthesis.helpers import fingerprint, resealed

REPO = PushSettings("user/tiny")
NOT_SENT = {"terrasynth-export.json", "licence.json", ".lock", "left-out.jsonl"}  # the last one is empty here
ONE_SPLIT = {"train": 1.0}
FORMATS = ("parquet", "imagefolder", "webdataset", "coco", "karpathy", "llava", "messages", "geotiff")
READ_BY_NAME = ("parquet", "imagefolder", "webdataset", "messages", "geotiff")


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A run of 12 rows whose card says cc-by-4.0, and an imagefolder of it."""
    root = tmp_path_factory.mktemp("kept")
    write_run(root / "run", run_rows(4))
    exported(root / "run", root / "out", "imagefolder", ONE_SPLIT)
    return root


@pytest.fixture
def out(kept, tmp_path):
    shutil.copytree(kept / "out", tmp_path / "out")
    return tmp_path / "out"


def local(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_published_is_the_export_and_how_to_load_it(hub, kept, tmp_path, name):
    exported(kept / "run", tmp_path / "out", name, ONE_SPLIT)
    before = fingerprint(tmp_path / "out")
    result = push(tmp_path / "out", REPO)
    assert fingerprint(tmp_path / "out") == before
    mine, theirs = local(tmp_path / "out"), published(hub)
    assert set(theirs) - {".gitattributes", "terrasynth.json"} == set(mine) - NOT_SENT
    assert all(theirs[path] == mine[path] for path in set(mine) & set(theirs) - {"README.md"})
    card = DatasetCard(theirs["README.md"].decode())
    assert card.data.license == "cc-by-4.0"
    assert ('load_dataset("user/tiny", split="train")' in card.text) == (name in READ_BY_NAME)
    assert "hf download user/tiny --repo-type dataset --local-dir FOLDER" in card.text
    assert (result.plan.rows, result.compared, len(result.plan.notes)) == (12, 3, name in ("coco", "karpathy", "llava"))
    assert push(tmp_path / "out", REPO).commit == ""
    assert len(hub.repositories["user/tiny"].history()) == 2


@pytest.mark.parametrize("name", ["parquet", "imagefolder"])
def test_labels_arrive(hub, tmp_path, name):
    rows = layout_rows(1)
    exported(write_run(tmp_path / "run", rows), tmp_path / "out", name, None)
    assert push(tmp_path / "out", REPO).compared == 3
    loaded = datasets.load_dataset("user/tiny", split="train", cache_dir=str(tmp_path / "cache"))
    for row, found in zip(rows, loaded, strict=True):
        assert np.array_equal(found["mask"], Image.open(io.BytesIO(row["mask"]["bytes"])))
        assert found["objects"]["bbox"] == row["objects"]["bbox"]
        kinds = found["objects"]["category"]
        assert (kinds if name == "parquet" else list(map(categories().index, kinds))) == row["objects"]["category"]


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("name", READ_BY_NAME)
def test_datasets_loads_what_arrived(hub, kept, tmp_path, name, streaming):
    exported(kept / "run", tmp_path / "out", name, {"train": 0.5, "test": 0.5})
    push(tmp_path / "out", REPO)
    loaded = datasets.load_dataset("user/tiny", streaming=streaming, cache_dir=str(tmp_path / "cache"))
    found = {row["json"]["id"] if name == "webdataset" else row["id"]: row for part in loaded.values() for row in part}
    rows = {row["id"]: row for row in run_rows(4)}
    assert set(loaded) == {"train", "test"}
    assert found.keys() == rows.keys()
    for key, row in found.items():
        if name == "webdataset":
            picture, captions = row["png"], row["json"]["captions"]
        elif name == "messages":
            picture, captions = row["images"][0], [row["messages"][1]["content"], *rows[key]["captions"][1:]]
        else:
            picture, captions = row["image"], row["captions"]
        assert np.array_equal(np.asarray(picture), decode(rows[key]["image"]["bytes"]))
        assert captions == rows[key]["captions"]


@pytest.mark.parametrize("name", ["coco", "karpathy", "llava"])
def test_other_formats_are_read_after_a_download(hub, kept, tmp_path, name):
    exported(kept / "run", tmp_path / "out", name, ONE_SPLIT)
    push(tmp_path / "out", REPO)
    place = tmp_path / "download"
    snapshot_download("user/tiny", repo_type="dataset", local_dir=place)
    if name == "coco":
        from pycocotools.coco import COCO

        assert len(COCO(str(place / "annotations" / "captions_train.json")).imgs) == 12
    elif name == "karpathy":
        assert len(read_pairs(place).pairs) == 12
    else:
        rows = json.loads((place / "llava_train.json").read_text())
        assert all((place / "images" / row["image"]).is_file() for row in rows)
        assert len(rows) == 12


def test_growth_sends_what_is_new_and_what_is_gone_goes(hub, tmp_path):
    run = write_run(tmp_path / "run", run_rows(3))
    exported(run, tmp_path / "out", "imagefolder", ONE_SPLIT)
    push(tmp_path / "out", REPO)
    line = {"key": "file", "value": {"path": "notes.txt", "content": "aGVsbG8="}}
    hub.commit(hub.repositories["user/tiny"], "main", [{"key": "header", "value": {"summary": "notes"}}, line])
    hub.received.clear()
    exported(write_run(run, run_rows(5)), tmp_path / "out", "imagefolder", ONE_SPLIT)
    result = push(tmp_path / "out", REPO)
    names = {file.path for file in result.plan.send}
    assert len(names) == 6 + 3
    assert {name for name in names if not name.endswith(".png")} == {"README.md", "terrasynth.json",
                                                                       "train/metadata.jsonl"}
    assert sum(hub.received.values()) == sum(file.size for file in result.plan.send if file.path.endswith(".png"))
    exported(write_run(run, run_rows(2)), tmp_path / "out", "imagefolder", ONE_SPLIT)
    assert len(push(tmp_path / "out", REPO).plan.remove) == 9
    assert published(hub)["notes.txt"] == b"hello"
    assert len([path for path in published(hub) if path.endswith(".png")]) == 6


def test_a_third_of_the_requests_fails(hub, naps, out):
    hub.faults = random_faults(3, 1 / 3)
    push(out, REPO)
    assert hub.failed > len(hub.asked) / 5
    assert {path for path in published(hub) if path.startswith("train/")} == {
        path for path in local(out) if path.startswith("train/")}
    assert len(hub.repositories["user/tiny"].history()) == 2


def test_cut_off_anywhere_nothing_is_sent_twice_but_the_file_in_flight(hub, out, naps):
    def dead_from(number):
        return lambda now, *_: None if now < number else Fault(cut=0.5) if now == number else Fault(cut=0)

    push(out, REPO)
    last = next(number for number, asked in enumerate(hub.asked) if "/commit/" in asked)
    whole = {oid: len(data) for oid, data in hub.objects.items()}
    for number in random.Random(0).sample(range(8, last + 1), 4):
        for counted in (hub.asked, hub.repositories, hub.objects, hub.parts, hub.received, hub.uploads):
            counted.clear()
        hub.faults = dead_from(number)
        with pytest.raises(RunError, match="no connection to"):
            push(out, REPO)
        hub.faults = None
        push(out, REPO)
        assert {oid: len(data) for oid, data in hub.objects.items()} == whole
        again = {oid for oid in whole if hub.received[oid] > whole[oid]}
        assert len(again) <= 1
        assert all(hub.received[oid] <= 2 * whole[oid] for oid in again)
        assert len(hub.repositories["user/tiny"].history()) == 2


@pytest.mark.slow
def test_killed_at_random_requests(hub, out, tmp_path):
    kills = push_through_kills(hub, out, tmp_path / "home", 30)
    assert kills
    whole = {oid: len(data) for oid, data in hub.objects.items()}
    assert len(whole) == 12
    assert all(hub.uploads[oid] == 1 for oid in whole)
    assert sum(hub.received.values()) <= sum(whole.values()) + kills * max(whole.values())
    assert len(hub.repositories["user/tiny"].history()) == 2


def test_a_commit_whose_answer_is_lost_is_made_once(hub, out, naps):
    hub.faults = fault_at("POST /api/datasets/user/tiny/commit", Fault(silent=True))
    result = push(out, REPO)
    assert [commit.oid for commit in hub.repositories["user/tiny"].history()][1:] == [result.commit]


def test_a_dry_run_says_and_writes_nothing(hub, out, terrasynth):
    before = fingerprint(out)
    code, said, _ = terrasynth("push", out, "--repo", "user/tiny", "--dry-run")
    assert code == 0
    assert "licence    cc-by-4.0 (inherited)" in said
    assert "train/metadata.jsonl" in said
    assert "to send    15 files" in said
    assert all(asked.startswith("GET") for asked in hub.asked)
    hub.asked.clear()
    assert terrasynth("push", out, "--repo", "user/tiny", "--dry-run", "--offline")[0] == 0
    assert (hub.asked, hub.repositories) == ([], {})
    assert fingerprint(out) == before


def test_the_command_says_what_it_did(hub, out, terrasynth):
    code, said, told = terrasynth("push", out, "--repo", "user/tiny", "--private")
    assert (code, told[-2:]) == (0, ["committing", "reading some of it back"])
    assert "checked    3 rows read back are those of the export" in said
    pictures = sorted(out.rglob("*.png"))
    assert f"13 of 15: train/{pictures[0].name} to train/{pictures[-1].name} " in told[3]
    assert hub.repositories["user/tiny"].private


def test_what_is_not_ours_is_neither_mixed_with_nor_overwritten(hub, kept, out, tmp_path):
    def theirs(path):
        line = {"key": "file", "value": {"path": path, "content": "aGVsbG8="}}
        hub.commit(hub.repositories["user/tiny"], "main", [{"key": "header", "value": {"summary": "theirs"}}, line])

    hub.create("user/tiny", private=False)
    theirs("README.md")
    with pytest.raises(InputError, match=r"holds 'README.md', which no push of this tool put there"):
        push(out, REPO)
    push(out, PushSettings("user/tiny", replace=True))
    exported(kept / "run", tmp_path / "other", "imagefolder", {"train": 0.5, "test": 0.5})
    with pytest.raises(InputError, match=r"holds the imagefolder export .* put this imagefolder export in its place"):
        push(tmp_path / "other", REPO)
    push(tmp_path / "other", PushSettings("user/tiny", replace=True))
    assert {path.partition("/")[0] for path in published(hub) if "/" in path} == {"train", "test"}
    theirs("train/more.png")
    with pytest.raises(InputError, match=r"holds 'train/more.png'.* mixed with the imagefolder export's rows"):
        push(tmp_path / "other", PushSettings("user/tiny", replace=True))


def test_a_damaged_export_is_refused(hub, out, tmp_path):
    picture = next(out.rglob("*.png"))
    whole = picture.read_bytes()
    place = whole.index(b"IDAT") + 30
    picture.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
    with pytest.raises(RunError, match=rf"not fit to go: train/{picture.name}: is damaged .* export` again"):
        push(out, REPO)
    picture.unlink()
    with pytest.raises(RunError, match=r"speaks of 15 files .* there are 14"):
        push(out, REPO)
    picture.write_bytes(whole)
    marker = out / "terrasynth-export.json"
    content = marker.read_text()
    resealed(marker, {"content": {}})
    with pytest.raises(InputError, match="did not end; run the same `terrasynth export` again"):
        push(out, REPO)
    marker.write_text(content.replace('"files": 1', '"files": 2'))
    with pytest.raises(InputError, match=r"cannot be believed \(its content is not what was written.* empty folder"):
        push(out, REPO)
    marker.write_text(content)
    resealed(marker, {"rows": 14})
    with pytest.raises(InputError, match=r"cannot be believed \(rows 14 is impossible\)"):
        push(out, REPO)
    resealed(marker, {"rows": {"train": 13}})
    with pytest.raises(RunError, match="tells of other rows"):
        push(out, REPO)
    marker.write_text(content)
    (out / "licence.json").unlink()
    with pytest.raises(InputError, match=r"has no licence.json.* `terrasynth export` again"):
        push(out, REPO)
    assert hub.asked == []


def test_more_files_than_the_hub_takes_are_refused(hub, out, monkeypatch):
    monkeypatch.setattr("terrasynth.synthesis.hub.export_folder.ENTRIES", 12)
    with pytest.raises(InputError, match=r"'train' of .* has 13 files and the Hub takes 12 .* parquet or webdataset"):
        push(out, REPO)
    assert hub.asked == []


def test_a_merged_export_whose_licence_is_open_is_stated_once(hub, kept, tmp_path):
    real = write_real(tmp_path / "real", [("beach", "train", seed, [f"a real caption {seed}"]) for seed in (7, 8)])
    merge = [RealSet.of(real, read_pairs(real).pairs)]
    folder = tmp_path / "out"
    exported(kept / "run", folder, "parquet", None, merge=merge)
    before = fingerprint(folder)
    with pytest.raises(InputError, match=r"has to be stated: .*real data 'real': not stated"):
        push(folder, REPO)
    with pytest.raises(InputError, match="'mit' leaves out attribution, which run 'tiny' asks for"):
        push(folder, PushSettings("user/tiny", stated=Statement("mit")))
    assert hub.asked == []
    assert fingerprint(folder) == before
    push(folder, PushSettings("user/tiny", stated=Statement("cc-by-nc-4.0")))
    text = published(hub)["README.md"].decode()
    assert DatasetCard(text).data.license == "cc-by-nc-4.0"
    assert "`cc-by-nc-4.0`, stated by user." in text
    assert text.count("## Licence") == 1
    assert "| real data | real |" in text
    assert list(verify(folder)) == []
    assert push(folder, REPO).commit == ""
    again = exported(kept / "run", folder, "parquet", None, merge=merge)
    assert (again.changed, again.licence.stated_by) == (False, "user")


def test_killed_between_card_and_marker_it_goes_on(hub, out, monkeypatch):
    stated = PushSettings("user/tiny", stated=Statement("cc-by-nc-4.0"))
    with monkeypatch.context() as killed:
        killed.setattr("terrasynth.synthesis.export.marker.Marker.save",
                       lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            push(out, stated)
    push(out, REPO)
    assert DatasetCard(published(hub)["README.md"].decode()).data.license == "cc-by-nc-4.0"
    assert list(verify(out)) == []


def test_what_reads_back_otherwise_is_told(hub, out):
    push(out, REPO)
    commit = hub.repositories["user/tiny"].history()[-1].oid
    assert read_back_splits(out, ["train"], "user/tiny", commit, TOKEN) == 3
    first, second = sorted(out.rglob("*.png"))[:2]
    whole = first.read_bytes()
    first.write_bytes(second.read_bytes())
    with pytest.raises(RunError, match=r"row 0 of train of user/tiny .* another image than"):
        read_back_splits(out, ["train"], "user/tiny", commit, TOKEN)
    first.write_bytes(whole)
    metadata = out / "train" / "metadata.jsonl"
    metadata.write_text(metadata.read_text().replace('"label": "', '"label": "x'))
    with pytest.raises(RunError, match=r"row 0 of train of user/tiny .* another label than"):
        read_back_splits(out, ["train"], "user/tiny", commit, TOKEN)
    with pytest.raises(RunError, match=r"train/metadata.jsonl of user/tiny .* other bytes"):
        read_back_files([LocalFile("train/metadata.jsonl", metadata)], "user/tiny", commit, TOKEN)
