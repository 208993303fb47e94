"""What a push says before it publishes: images that people rejected, and classes that are short."""

from pathlib import Path

import pytest

from terrasynth.synthesis import Recipe, run
from terrasynth.synthesis.core.errors import InputError, RunError
from terrasynth.synthesis.hub.patience import TRIES
from terrasynth.synthesis.hub.pushing import PushSettings, push
from terrasynth.synthesis.hub.run_folder import RunFolder
from terrasynth.synthesis.ledger.directory import RunDirectory
from terrasynth.synthesis.studies.review.looking import Queue, Review
from tests.hub_faults import Fault

SHORT, REJECTED = "short of its target", "rejected"


def made(models, out, **filters):
    return run(Recipe.parse({
        "generator": {"model": str(models.generator), "steps": 1}, "prompts": {"classes": ["beach", "forest"]},
        "filters": [filters] if filters else [], "target": {"per_class": 2, "max_attempts": 4},
        "runtime": {"device": "cpu"}}), out)


def notes(out, word):
    return [note for note in RunFolder(out).notes(False) if word in note]


def test_images_that_people_rejected_are_named_until_the_filter_leaves_them_out(models, tmp_path):
    made(models, tmp_path)
    assert notes(tmp_path, REJECTED) == notes(tmp_path, SHORT) == []
    review = Review(tmp_path)
    first, second = review.next("ada", Queue(), 2).images
    review.judge(first.row, "accept", "ada")
    assert notes(tmp_path, REJECTED) == []
    review.judge(second.row, "reject", "ada")
    (said,) = notes(tmp_path, REJECTED)
    assert said.startswith("most who looked at 1 image of the data set rejected it; `terrasynth run ")
    assert said.endswith("--set filters.0.kind=review` leaves it out")
    made(models, tmp_path, kind="review")
    assert notes(tmp_path, REJECTED) == notes(tmp_path, "not taken in") == []
    review.judge(first.row, "reject", "ada")  # which the run does not know yet
    (said,) = notes(tmp_path, "not taken in")
    assert said.startswith("the verdicts on 1 image are not taken in yet; `terrasynth run ")


def test_classes_that_are_short_are_named(models, tmp_path):
    found = made(models, tmp_path, kind="duplicate", encoder=str(models.encoder), max_similarity=-0.9)
    counts = [(each.label, each.accepted) for each in found.counts]
    (said,) = notes(tmp_path, SHORT)
    assert said == "short of its target: " + ", ".join(f"{label} {n} of 2" for label, n in counts if n < 2)
    assert len([n for _, n in counts if n < 2]) >= 1


def test_a_dry_run_that_cannot_reach_the_hub_says_so_at_once_and_goes_on(hub, made, naps):
    hub.faults = lambda *_: Fault(cut=0)
    said: list[str] = []
    found = push(made, PushSettings("user/tiny", dry=True), said.append)
    assert (found.asked, found.plan.remote, found.plan.rows, naps) == (False, None, 24, [])
    assert [line for line in said if line.startswith("not asked what is there: data set user/tiny: no connection to ")]
    with pytest.raises(RunError, match="no connection to"):
        push(made, PushSettings("user/tiny"))
    assert len(naps) == TRIES - 1


def test_a_run_whose_images_all_wait_for_review_says_so(models, tmp_path):
    made(models, tmp_path, kind="review", undecided="drop")
    with pytest.raises(InputError, match="nothing to push: 0 images were accepted so far: 4 images wait for review; "
                                         "`terrasynth review "):
        push(tmp_path, PushSettings("user/tiny", dry=True, offline=True))


def test_a_run_that_accepted_nothing_is_not_told_to_run(models, tmp_path, terrasynth, monkeypatch):
    """Whatever is asked of it says how it ended, and where the reason is."""
    monkeypatch.chdir(tmp_path)
    found = made(models, Path("run"), kind="alignment", encoder=str(models.encoder), min_score=0.999)
    assert found.accepted == 0
    said = "run ended with 0 images accepted of 8 images that were judged: run/report/index.html says why; loosen"
    for command in (("push", "run", "--repo", "user/tiny", "--dry-run", "--offline"),
                    ("export", "run", "--format", "imagefolder", "--out", "out"), ("eval", "run")):
        code, _, err = terrasynth(*command)
        assert (code != 0, said in " ".join(err)) == (True, True), (command, err)
    (tmp_path / "run" / "finished.json").unlink()
    with pytest.raises(InputError, match="its run has not ended; run it first"):
        RunDirectory(tmp_path / "run").shards()
