"""Verdicts and captions of people on the way out: verify and repair, export in every format, push."""

import json
import shutil
from dataclasses import replace

import datasets
import numpy as np
import pyarrow.parquet as pq
import pytest

import terrasynth
from terrasynth.prompts.scenes.scene import Scene, SceneObject
from terrasynth.synthesis.cards.licences import Statement
from terrasynth.synthesis.cli.root import main
from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.export.exporting import export
from terrasynth.synthesis.export.real import RealSet
from terrasynth.synthesis.export.registry import load_exporter
from terrasynth.synthesis.export.reviewed import reviewed_scene
from terrasynth.synthesis.hub.pushing import PushSettings, push
from terrasynth.synthesis.ledger.directory import RunDirectory
from terrasynth.synthesis.review.entries import CaptionReview, Subject
from terrasynth.synthesis.studies.review.looking import Queue, Review
from terrasynth.synthesis.verify.verifying import Verification, verify
from terrasynth.training.data import read_pairs
from tests.hub_server import published
from tests.synthesis.exports import write_real
from tests.synthesis.helpers import decisions, fingerprint, rows
from tests.synthesis.hub.conftest import hub, naps  # noqa: F401 - fixtures
from tests.synthesis.review.conftest import N


@pytest.fixture
def reviewed(out, again, review):
    """A run whose first image was rejected, decided with the filter."""
    review.judge(decisions(out)[0]["id"], "reject", "ada", reason="blurred")
    again()
    return out


def line(out):
    return [fault.line for fault in verify(out)]


def test_a_reviewed_run_is_whole(reviewed):
    looked = Verification()
    assert list(verify(reviewed, into=looked)) == []
    assert looked.counts["lines of review"] == 1


def test_newer_verdicts_are_no_damage_and_a_run_takes_them_in(reviewed, review, capsys):
    review.judge(decisions(reviewed)[1]["id"], "reject", "ada")
    before, command = fingerprint(reviewed), f"terrasynth run {reviewed}/recipe.yaml --out {reviewed}"
    for more in ([], ["--repair"]):
        main_exits(["verify", str(reviewed), *more], 0)
        assert capsys.readouterr().out.splitlines()[1:] == [
            f"note: the verdicts on 1 image are not taken in yet; `{command}` takes them in"]
    assert fingerprint(reviewed) == before
    main_exits([*command.split()[1:]], 0)
    assert decisions(reviewed)[1]["reason"] == "review"
    assert terrasynth.verify(reviewed).notes == ()


def test_what_a_run_without_the_filter_holds_of_rejected_images(out, review):
    """Verdicts decide nothing there; those that people rejected stay until the filter leaves them out."""
    row = decisions(out)[0]["id"]
    review.judge(decisions(out)[1]["id"], "accept", "ada")
    assert terrasynth.verify(out).notes == ()
    review.judge(row, "reject", "ada")
    (note,) = terrasynth.verify(out).notes
    said, command, then = note.split("`")
    assert (said, then) == ("most who looked at 1 image of the data set rejected it; ", " leaves it out")
    main_exits(command.split()[1:], 0)
    assert (terrasynth.verify(out).faults, terrasynth.verify(out).notes) == ((), ())
    assert row not in {each["id"] for each in rows(out)}


def test_what_goes_out_has_all_that_people_said_unless_the_user_says_otherwise(reviewed, review, tmp_path):
    to = PushSettings("user/tiny", stated=Statement("cc-by-nc-4.0"), dry=True, offline=True)
    review.judge(decisions(reviewed)[1]["id"], "reject", "ada")
    said = rf"the verdicts on 1 image are not taken in yet; `terrasynth run {reviewed}/recipe.yaml --out {reviewed}`"
    with pytest.raises(InputError, match=f"{said} takes them in, and --ignore-review publishes it as it is"):
        push(reviewed, to)
    with pytest.raises(InputError, match=f"{said} takes them in, and --ignore-review exports it as it is"):
        export(reviewed, load_exporter("parquet"), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    plan = push(reviewed, replace(to, ignore_review=True)).plan
    assert [note for note in plan.notes if "not taken in" in note]
    assert export(reviewed, load_exporter("parquet"), tmp_path / "out", ignore_review=True).rows == {"train": plan.rows}
    review.undo("ada")
    assert push(reviewed, to).plan.rows == plan.rows


def main_exits(arguments, code):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == code


def test_lost_verdicts_are_missed(reviewed, review):
    review.file.path.unlink()
    assert line(reviewed)[0].startswith("review/verdicts.jsonl: lacks the verdicts on 1 image that decisions.parquet "
                                        "took in; put a copy of the file back, or let `terrasynth run ")
    before = fingerprint(reviewed)
    main_exits(["verify", str(reviewed), "--repair"], 1)
    assert fingerprint(reviewed) == before


def test_a_damaged_file_is_named_and_left_where_it_is(reviewed, review, capsys):
    path = review.file.path
    path.write_bytes(path.read_bytes().replace(b"blurred", b"Blurred"))
    before = fingerprint(reviewed)
    assert line(reviewed) == [
        "review/verdicts.jsonl: line 2 is not what was written (its hash is another); put a copy of the file back, or "
        "move it away (`head -n 1` gives the lines before it)"]
    main_exits(["verify", str(reviewed), "--repair"], 1)
    assert fingerprint(reviewed) == before
    assert capsys.readouterr().err.count("\n") == 1


def test_repair_of_a_block_leaves_verdicts_alone(reviewed, review):
    said = review.file.path.read_bytes()
    before = fingerprint(reviewed / "data")
    next((reviewed / "blocks" / "beach").iterdir()).write_bytes(b"")
    main_exits(["verify", str(reviewed), "--repair"], 0)
    assert line(reviewed) == []
    assert review.file.path.read_bytes() == said
    assert fingerprint(reviewed / "data") == before


def test_a_push_publishes_what_was_decided_and_no_names(reviewed, hub):  # noqa: F811
    push(reviewed, PushSettings("user/tiny", stated=Statement("cc-by-nc-4.0")))
    files = published(hub)
    assert not [name for name in files if "review" in name]
    assert not [name for name, data in files.items() if b'"ada"' in data or b"by ada" in data]
    assert files["decisions.parquet"] == (reviewed / "decisions.parquet").read_bytes()
    assert "filter `review`, its file" in files["README.md"].decode()
    assert list(verify(reviewed)) == []


def test_runs_that_nobody_described_export_as_before(plain_run, reviewed, tmp_path):
    for name, source in (("plain", plain_run), ("reviewed", reviewed)):
        export(source, load_exporter("imagefolder"), tmp_path / name)
        told = [json.loads(one) for one in (tmp_path / name / "train" / "metadata.jsonl").read_text().splitlines()]
        assert not {"basis", "drawn_text"} & set(told[0])
        assert "drawn_text" not in told[0]["provenance"]
        assert "captions" not in json.loads((tmp_path / name / "terrasynth-export.json").read_text())["content"]


@pytest.fixture
def described(out, review):
    """A run of which a person described two images, and left the others alone."""
    first, second = review.next("ada", Queue(), count=2).images
    review.describe(first.row, "ada", ["sand beside water"], absent=["boat"], present=["dune"])
    review.describe(second.row, "bob", ["a strip of sand", "pale sand"])
    return out, first, second


def test_captions_of_people_in_parquet(described, tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    out, first, second = described
    export(out, load_exporter("parquet"), tmp_path / "out")
    found = {row["id"]: row for row in datasets.load_dataset(str(tmp_path / "out"), split="train")}
    assert found.keys() == {row["id"] for row in rows(out)}
    one, two = found.pop(first.row), found.pop(second.row)
    assert (one["basis"], one["text"], one["captions"], one["drawn_text"]) == (
        "human", "sand beside water", ["sand beside water"], first.text)
    assert (two["basis"], two["captions"]) == ("human", ["a strip of sand", "pale sand"])
    marked = {thing["noun"]: thing["number"] for thing in json.loads(one["scene"])["objects"]}
    assert (marked["boat"], marked["dune"]) == (0, None)
    drawn = {row["id"]: row for row in rows(out)}
    for row, each in found.items():
        assert (each["basis"], each["text"], each["drawn_text"]) == ("prompt", drawn[row]["text"], drawn[row]["text"])
        assert (each["captions"], each["scene"]) == (drawn[row]["captions"], drawn[row]["scene"])
    assert "Of 2 rows a person who looked" in (tmp_path / "out" / "README.md").read_text()
    assert list(verify(tmp_path / "out")) == []


@pytest.mark.parametrize("name", ["imagefolder", "webdataset", "coco", "karpathy", "llava", "messages"])
def test_captions_of_people_in_every_format(described, tmp_path, name):
    out, first, _ = described
    export(out, load_exporter(name), tmp_path / "out")
    if name == "messages":
        table = pq.read_table(tmp_path / "out" / "data" / "train-00000.parquet", columns=["id", "messages", "basis"])
        told = json.dumps(table.to_pylist())
    else:
        told = "".join(path.read_bytes().decode("utf-8", "replace") for path in (tmp_path / "out").rglob("*")
                       if path.suffix in (".json", ".jsonl", ".tar"))
    assert "sand beside water" in told
    if name in ("coco", "karpathy", "llava", "messages"):
        assert json.dumps(first.text)[1:-1] not in told
    else:
        assert "drawn_text" in told
    if name in ("llava", "messages"):
        assert told.count('"basis": "human"') == 2
        assert told.count('"basis": "prompt"') == 2 * N - 2
        assert "Are there any boats in the image?" in told


def test_an_export_is_made_again_when_somebody_says_more(described, tmp_path):
    out, first, _ = described
    assert export(out, load_exporter("llava"), tmp_path / "out").changed
    assert not export(out, load_exporter("llava"), tmp_path / "out").changed
    review = Review(out)
    review.describe(first.row, "ada", ["sand alone"])
    assert export(out, load_exporter("llava"), tmp_path / "out").changed
    assert "sand alone" in (tmp_path / "out" / "llava_train.json").read_text()
    review.undo("ada")
    review.undo("ada")
    review.undo("bob")
    assert export(out, load_exporter("llava"), tmp_path / "out").changed
    assert '"basis": "human"' not in (tmp_path / "out" / "llava_train.json").read_text()


def test_rows_of_one_text_stay_in_one_split(described, tmp_path):
    """Splits go by what was drawn, so that a caption by hand moves no image."""
    out, _, _ = described
    shares = {"train": 0.5, "test": 0.5}
    export(out, load_exporter("imagefolder"), tmp_path / "by hand", shares=shares)
    shutil.rmtree(out / "review")
    export(out, load_exporter("imagefolder"), tmp_path / "as drawn", shares=shares)
    places = [{path.name: path.parent.name for path in (tmp_path / name).rglob("*.png")}
              for name in ("by hand", "as drawn")]
    assert places[0] == places[1]


def test_a_scene_is_what_a_person_left_of_it():
    scene = Scene("beach", (SceneObject("boat", "boat", "two", 2), SceneObject("sea", "sea", "a", 1),
                            SceneObject("pier", "pier", "no", 0)))
    row = {"label": "beach", "scene": scene.to_json()}

    def left(*captions, present=(), absent=()):
        said = CaptionReview(number=1, reviewer="ada", time="", captions=captions, present=present, absent=absent,
                             subject=Subject(row="0" * 16, label="beach", k=0))
        found = json.loads(reviewed_scene(row, said))
        return {thing["noun"]: thing["number"] for thing in found.get("objects", ())}

    assert left("two boats on a sea and no pier") == {"boat": 2, "sea": 1, "pier": 0}
    assert left("a sea") == {"sea": 1}
    assert left("a sea", present=["Boats"], absent=["pier"]) == {"sea": 1, "Boats": None, "pier": 0}
    assert left("two boats on a sea", absent=["boat"]) == {"sea": 1, "boat": 0}
    assert left("two boats and no pier", present=["pier"]) == {"boat": 2, "pier": None}
    assert left("nothing that anybody drew") == {}
    assert left("nothing that anybody drew", present=["car"]) == {"car": None}


@pytest.fixture
def real(tmp_path):
    """Real pairs of one class: eight to train with, two to test."""
    entries = [("beach", "test" if number > 7 else "train", 60_000 + number, [f"real sand {number}"])
               for number in range(10)]
    folder = write_real(tmp_path / "real", entries)
    return [RealSet.of(folder, read_pairs(folder).pairs)]


def test_real_rows_keep_what_they_rest_on(described, real, tmp_path):
    out, first, _ = described
    export(out, load_exporter("parquet"), tmp_path / "out", merge=real)
    table = pq.read_table(tmp_path / "out" / "data" / "train-00000.parquet", columns=["id", "basis", "drawn_text"])
    found = {row["id"]: (row["basis"], row["drawn_text"]) for row in table.to_pylist()}
    assert found[first.row] == ("human", first.text)
    assert {each for name, each in found.items() if name.startswith("real-")} == {("caption", None)}


def test_a_caption_by_hand_is_held_against_the_real_test_split(described, real, tmp_path):
    out, _, second = described
    Review(out).describe(second.row, "bob", ["Real sand 9."])
    export(out, load_exporter("llava"), tmp_path / "out", merge=real)
    left = [json.loads(one) for one in (tmp_path / "out" / "left-out.jsonl").read_text().splitlines()]
    assert [one["id"] for one in left if one["reason"] == "caption of the real test split"] == [second.row]


def test_the_run_itself_says_what_was_drawn(described, again):
    out, first, _ = described
    again()
    assert first.text in {row["text"] for row in rows(out)}
    assert RunDirectory(out).pictures().images.dtype == np.uint8
