"""One person at work: which image is next, undoing, several people, blind reviews, and captions."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from terrasynth.prompts.scenes.claims import claims, mentions, without
from terrasynth.prompts.scenes.scene import Relation, Scene, SceneObject
from terrasynth.synthesis import run
from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.review.sampling import in_random_order, random_sample
from terrasynth.synthesis.studies.review.looking import Queue, Review
from tests.synthesis.helpers import decisions
from tests.synthesis.review.conftest import N, recipe_of


def order(review, queue, reviewer="ada", **options):
    return [image.row for image in review.next(reviewer, queue, count=10**6, **options).images]


def test_each_image_comes_once_and_in_order(out, review):
    rows = [row["id"] for row in decisions(out)]
    seen = []
    while (shown := review.next("ada", Queue())).images:
        assert (shown.done, shown.left) == (len(seen), 2 * N - len(seen))
        seen.append(shown.images[0].row)
        review.judge(seen[-1], "accept", "ada")
    assert seen == rows
    assert review.next("bob", Queue()).images[0].row == rows[0]


def test_class_kind_and_sample(models, tmp_path):
    others = [{"kind": "alignment", "encoder": str(models.encoder), "quantile": 0.5, "calibrate_on": N}]
    run(recipe_of(models, filters=others), tmp_path / "run")
    review, found = Review(tmp_path / "run"), decisions(tmp_path / "run")
    passed = [row["id"] for row in found if row["reason"] is None]
    failed = [row["id"] for row in found if row["reason"] == "alignment"]
    beyond = {row["id"] for row in found if row["reason"] == "beyond_target"}
    assert failed
    assert order(review, Queue()) == passed
    assert order(review, Queue(of="rejected")) == failed
    assert set(order(review, Queue(of="all"))) == set(passed) | set(failed)
    assert not beyond & set(order(review, Queue(of="all")))
    rivers = {row["id"] for row in found if row["label"] == "river"}
    assert set(order(review, Queue(label="river"))) == rivers & set(passed)
    sample = order(review, Queue(sample=5))
    assert sample == order(review, Queue(sample=8))[:5]
    assert set(sample) <= set(passed)
    assert order(review, Queue(sample=5, seed=1)) != sample
    with pytest.raises(InputError, match="class 'moon' is none of the run's: beach, river"):
        review.next("ada", Queue(label="moon"))


def test_an_image_can_be_passed_over(review):
    first, second, third = order(review, Queue())[:3]
    assert order(review, Queue(), after=first)[0] == second
    assert order(review, Queue(), after=second)[0] == third
    assert order(review, Queue())[0] == first


def test_a_blind_review_is_told_nothing_of_the_filters(models, tmp_path):
    others = [{"kind": "alignment", "encoder": str(models.encoder), "quantile": 0.5, "calibrate_on": N}]
    run(recipe_of(models, filters=others), tmp_path / "run")
    review = Review(tmp_path / "run")
    seen = review.next("ada", Queue(of="rejected")).images[0]
    unseen = review.next("ada", Queue(of="rejected"), blind=True).images[0]
    assert (seen.reason, list(seen.scores)) == ("alignment", ["alignment"])
    assert (unseen.row, unseen.reason, dict(unseen.scores)) == (seen.row, None, {})
    assert review.judge(unseen.row, "accept", "ada", blind=True).blind
    assert not review.judge(unseen.row, "accept", "bob").blind


def test_the_same_word_twice_is_one_line(review):
    row = order(review, Queue())[0]
    first = review.judge(row, "reject", "ada", reason="blurred")
    assert review.judge(row, "reject", "ada", reason="blurred") == first
    assert len(review.file.read()) == 1
    review.judge(row, "reject", "ada", reason="no sand")
    assert len(review.file.read()) == 2


def test_everybody_undoes_only_their_own(review):
    first, second = order(review, Queue())[:2]
    review.judge(first, "accept", "ada")
    review.judge(second, "reject", "bob", reason="blurred")
    assert review.undo("ada").subject.row == first
    assert review.undo("ada") is None
    assert review.standing.score(second) == 0
    assert review.undo("bob").reason == "blurred"
    assert review.standing.verdicts == {}


@pytest.mark.parametrize(("who", "reason", "message"), [
    ("", "", "reviewer"), ("  ", "", "is empty"), ("a" * 65, "", "reviewer"), ("ada", "x" * 201, "reason"),
    ("ada", "red\x1b[31m", "holds a control character"), ("ada\u202e", "", "holds a control character"),
    ("a\ud800", "", "reviewer"),
])
def test_what_is_no_plain_text_is_refused(review, who, reason, message):
    with pytest.raises(InputError, match=message) as caught:
        review.judge(order(review, Queue())[0], "reject", who, reason=reason)
    assert "\n" not in str(caught.value)
    assert not review.file.path.exists()


def test_an_image_of_no_run_is_refused(review):
    with pytest.raises(InputError, match="the run has no image '0000000000000000'"):
        review.judge("0" * 16, "accept", "ada")


def test_a_run_that_decided_on_nothing_says_so(out, review):
    (out / "decisions.parquet").unlink()
    with pytest.raises(InputError, match="has decided on no image yet; run it first"):
        review.next("ada", Queue())


SCENE = Scene("beach", (
    SceneObject("boat", "boat", "two", 2, ("white",), "moored side by side"), SceneObject("sea", "sea", "a", 1),
    SceneObject("pier", "pier", "no", 0)), (Relation("boat", "near", "sea"),), season="in summer")
TEXT = "two white boats moored side by side near a sea, and no pier"


def test_claims_are_what_a_text_says_piece_by_piece():
    assert claims(TEXT, "beach", SCENE.to_json()) == [
        "two white boat", "a sea", "no pier", "boat moored side by side", "boat near sea", "in summer"]
    assert [(each.noun, each.present) for each in mentions(SCENE.to_json())] == [
        ("boat", True), ("sea", True), ("pier", False)]
    assert claims(TEXT, "beach", "{}") == ["two white boats", "a sea", "no pier"]
    assert mentions("{}") == []


def test_what_is_struck_takes_the_captions_that_say_it():
    said = ["two white boats near a sea", "white boats near a sea", "a calm sea in summer"]
    assert without(said, ["two white boat"]) == said[1:]
    assert without(said, ["boat"]) == said[2:]
    assert without(said, ["boats", "in summer"]) == []
    assert without(said, []) == said


def test_captions_by_hand(review):
    image = review.next("ada", Queue()).images[0]
    with pytest.raises(InputError, match="write one that is"):
        review.describe(image.row, "ada", struck=image.captions)
    said = review.describe(image.row, "ada", ["sand and\nwater"], struck=list(image.claims[:1]), absent=["boat"])
    assert said.captions == ("sand and water",)
    again = review.image(image.row)
    assert (again.captions, again.by_hand, again.text) == (("sand and water",), said, image.text)
    review.describe(image.row, "bob", ["only sand"])
    assert review.image(image.row).captions == ("only sand",)
    review.undo("bob")
    assert review.image(image.row).captions == ("sand and water",)
    review.undo("ada")
    assert review.image(image.row).captions == image.captions
    with pytest.raises(InputError, match="'boat' is marked as there and as not there"):
        review.describe(image.row, "ada", ["a boat"], present=["boat"], absent=["Boat"])


def test_marks_alone_keep_the_captions(review):
    image = review.next("ada", Queue()).images[0]
    assert review.describe(image.row, "ada", present=["boat"]).captions == image.captions


def test_the_random_order_is_uniform_and_stays_one_as_a_set_grows():
    ids = [f"{number:016x}" for number in range(40)]
    first = np.array([in_random_order(ids, seed)[0] for seed in range(4000)])
    expected = 4000 / 40
    chi2 = ((np.bincount(first, minlength=40) - expected) ** 2 / expected).sum()
    assert chi2 < 62.4  # 99 % of the distribution with 39 degrees of freedom
    few, all_ = in_random_order(ids[:20], 3), in_random_order(ids, 3)
    assert [place for place in all_ if place < 20] == few


def test_a_sample_ends_where_nobody_looked():
    ids = [f"{number:016x}" for number in range(10)]
    queue = in_random_order(ids, 0)
    looked_at = {ids[place] for place in (*queue[:3], *queue[4:6])}
    assert random_sample(ids, 0, looked_at) == queue[:3]
    assert random_sample(ids, 0, set()) == []


def test_entries_are_plain_json(review):
    row = order(review, Queue())[0]
    review.judge(row, "reject", "Zoë", reason="海 is missing")
    lines = review.file.path.read_text(encoding="utf-8").splitlines()
    assert json.loads(lines[0])["identity"] == review.run.identity
    assert {key: json.loads(lines[1])[key] for key in ("type", "reviewer", "verdict", "reason", "blind")} == {
        "type": "verdict", "reviewer": "Zoë", "verdict": "reject", "reason": "海 is missing", "blind": False}


def test_a_name_is_the_same_with_any_blanks(review):
    first = review.next(" ada  b ", Queue()).images[0].row
    review.judge(first, "accept", " ada  b ")
    assert first not in order(review, Queue(), "ada b ")
    assert review.image(first, "  ada b").verdict.verdict == "accept"
    assert review.undo("ada   b").subject.row == first


def test_the_python_of_the_docs(out, monkeypatch, capsys):
    page = (Path(__file__).parents[3] / "docs" / "review.md").read_text("utf-8")
    (code,) = re.findall(r"^```python\n(.*?)^```", page, re.M | re.S)
    out.rename(out.parent / "RUN")
    monkeypatch.chdir(out.parent)
    exec(code, {})
    assert f"# {capsys.readouterr().out}" in code
    (said,) = (one for one in Review(Path("RUN")).standing.verdicts.values() if one["ada"].verdict == "reject")
    assert said["ada"].reason == "no water to be seen"
