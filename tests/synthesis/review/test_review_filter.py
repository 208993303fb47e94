"""The filter `review` in a run: verdicts decide, survive growth and kills, and leave runs without it as they were."""

import shutil
import signal
import time

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from click.testing import CliRunner

from terrasynth.synthesis import run
from terrasynth.synthesis.cli.push import push
from terrasynth.synthesis.cli.recipes import run as command
from terrasynth.synthesis.core.errors import InputError, RunError
from terrasynth.synthesis.recipe import Recipe
from terrasynth.synthesis.review.standing import passes
from tests.synthesis.helpers import decisions, fingerprint, rows, times
from tests.synthesis.review.conftest import N, recipe_of


def ids(out, label=None):
    return [row["id"] for row in decisions(out) if label in (None, row["label"])]


def reasons(out, label="beach"):
    return [row["reason"] for row in decisions(out) if row["label"] == label]


@pytest.mark.parametrize(("rule", "expected"), [
    ("any", {None: False, 0.0: False, 0.4: True, 0.5: True, 0.6: True, 1.0: True}),
    ("majority", {None: False, 0.0: False, 0.4: False, 0.5: False, 0.6: True, 1.0: True}),
    ("all", {None: False, 0.0: False, 0.4: False, 0.5: False, 0.6: False, 1.0: True}),
])
def test_rules_at_their_boundaries(rule, expected):
    assert {score: passes(score, rule) for score in expected} == expected


def test_a_rejected_image_leaves_and_one_more_is_drawn(out, again, review):
    drawn = times(out / "blocks")
    first = ids(out, "beach")[0]
    review.judge(first, "reject", "ada", reason="no water")
    review.judge(ids(out, "beach")[1], "accept", "ada")
    result = again()
    assert result.drawn == N // 2
    assert result.accepted == 2 * N
    assert {path: when for path, when in times(out / "blocks").items() if path in drawn} == drawn
    assert reasons(out)[:3] == ["review", None, None]
    assert first not in {row["id"] for row in rows(out)}
    scores = [row["scores"]["review"] for row in decisions(out)[:3]]
    assert scores == [0, 1, None]


def test_without_undecided_images_only_what_was_accepted_stays(out, again, review):
    """As many images wait for a person as are needed, and none is drawn in their place."""
    beaches, rivers = ids(out, "beach"), ids(out, "river")
    for row in beaches:
        review.judge(row, "accept", "ada")
    for row in rivers[:4]:
        review.judge(row, "accept" if row != rivers[0] else "reject", "ada")
    result = again(undecided="drop")
    assert result.drawn == N // 2  # in place of the rejected river
    assert [count.accepted for count in result.counts] == [N, 3]
    assert reasons(out, "river") == ["review", None, None, None, *["unreviewed"] * 3, *["beyond_target"] * 2]
    waits = again(undecided="drop")
    assert waits.drawn == 0
    assert [[count.waiting for count in each.counts] for each in (result, waits)] == [[0, 3], [0, 3]]
    assert waits.shortfall(4) == ""
    assert waits.review_line("a page", "a run").startswith("3 images wait for review (river 3): a page shows them")
    card = (out / "README.md").read_text()
    assert "**Waiting for review: river (3).**" in card
    judged = sum(count.attempted for count in result.counts) - 3
    assert f" of them judged, and {N + 3} accepted. 3 wait for a review, which decides on them." in card
    assert f" attempts were drawn, {judged} of them judged" in card
    assert f"| river | 3 | {N} | 4 | 75 % |" in card  # of those that somebody decided on
    assert "Short of their target" not in (out / "README.md").read_text()
    assert "The other 2 decide nothing" in card
    waiting = ids(out, "river")[4:7]
    review.judge(waiting[0], "reject", "ada")
    result = again(undecided="drop")  # the next one waits in its place, and none is drawn
    assert (result.drawn, reasons(out, "river")[4:]) == (0, ["review", *["unreviewed"] * 3, "beyond_target"])
    review.undo("ada")
    for row in waiting:
        review.judge(row, "accept", "ada")
    result = again(undecided="drop")
    assert result.drawn == 0
    assert [count.accepted for count in result.counts] == [N, N]


def test_a_reviewed_run_that_needs_nothing_draws_nothing(out, again, review):
    for row in ids(out):
        review.judge(row, "accept", "ada")
    before = [row["id"] for row in rows(out)]
    result = again(undecided="drop")
    assert (result.drawn, [row["id"] for row in rows(out)]) == (0, before)


def test_a_new_verdict_decides_anew_and_undoing_it_brings_all_back(out, again, review):
    again()
    before = fingerprint(out / "data")
    review.judge(ids(out)[2], "reject", "ada")
    again()
    assert fingerprint(out / "data") != before
    review.undo("ada")
    again()
    assert fingerprint(out / "data") == before
    noted = (out / "finished.json").stat().st_mtime_ns
    review.judge(ids(out)[2], "reject", "ada")
    review.undo("ada")
    assert again().drawn == 0
    assert (out / "finished.json").stat().st_mtime_ns == noted  # nothing stands that did not stand before


def test_several_reviewers(out, again, review):
    row = ids(out)[0]
    review.judge(row, "accept", "ada")
    review.judge(row, "reject", "bob")
    for rule, stays in (("any", True), ("majority", False), ("all", False)):
        again(reviewers=rule)
        assert (row in {each["id"] for each in rows(out)}) is stays
    review.judge(row, "accept", "eve")
    again(reviewers="majority")
    assert row in {each["id"] for each in rows(out)}


def test_growth_keeps_every_verdict(models, out, again, review):
    gone = [ids(out, "beach")[1], ids(out, "river")[4]]
    for row in gone:
        review.judge(row, "reject", "ada")
    again()
    again(per_class=2 * N)
    assert len(rows(out)) == 4 * N
    assert not set(gone) & {row["id"] for row in rows(out)}
    other = out.parent / "fresh"
    shutil.copytree(out / "review", other / "review")
    (other / "recipe.yaml").write_text((out / "recipe.yaml").read_text())
    run(recipe_of(models, 2 * N, [{"kind": "review"}]), other)
    assert fingerprint(other / "data") == fingerprint(out / "data")


def test_a_stopped_run_goes_on_with_the_verdicts_of_now(out, again, review):
    review.judge(ids(out)[0], "reject", "ada")
    asked = []
    again(per_class=2 * N, should_stop=lambda: len(asked) == 2 or bool(asked.append(0)))
    review.judge(ids(out)[1], "reject", "ada")
    again(per_class=2 * N)
    found = fingerprint(out / "data")
    assert reasons(out)[:3] == ["review", "review", None]
    (out / "finished.json").unlink()
    again(per_class=2 * N)
    assert fingerprint(out / "data") == found


def test_a_run_that_is_killed_while_people_look_at_it(python, models, out, again, review):
    """Verdicts go into the run while another process holds it and draws, and that process is killed."""
    wanted = recipe_of(models, 3 * N, [{"kind": "review"}])
    (out.parent / "recipe.yaml").write_text(yaml.safe_dump(wanted.tree()))
    before, row = len(list((out / "blocks").rglob("*.parquet"))), ids(out)[1]
    process = python.start("-m", "terrasynth", "run", out.parent / "recipe.yaml", "--out", out)
    while process.poll() is None and len(list((out / "blocks").rglob("*.parquet"))) == before:
        time.sleep(0.002)
    review.judge(row, "reject", "ada")
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    again(per_class=3 * N)
    assert reasons(out)[:3] == [None, "review", None]
    other = out.parent / "fresh"
    shutil.copytree(out / "review", other / "review")
    (other / "recipe.yaml").write_text((out / "recipe.yaml").read_text())
    run(wanted, other)
    assert fingerprint(other / "data") == fingerprint(out / "data")


def test_card_and_report_say_which_verdicts(out, again, review):
    review.judge(ids(out)[0], "reject", "ada lovelace")
    again()
    record = review.standing.record
    told = f"content {record['content']}, verdicts 1, images 1, reviewers 1"
    card = (out / "README.md").read_text()
    assert f"| filter `review`, its file | {told} |" in card
    assert "| filter `review` | reviewers majority, undecided keep |" in card
    assert told in (out / "report" / "index.html").read_text()
    assert "lovelace" not in card + (out / "report" / "report.json").read_text() + (out / "recipe.yaml").read_text()


def test_it_looks_at_no_image(out, again, review):
    again()
    assert not (out / "scores").exists()
    for path in (out / "blocks").rglob("*.parquet"):
        assert pq.read_schema(path).metadata[b"encoder"] == b""


def test_runs_without_it_are_what_they_were(models, plain_run, out, review):
    names = [field.name for field in pq.read_schema(out / "decisions.parquet").field("scores").type]
    assert names == ["alignment", "duplicate", "near_copy", "quality", "scene"]
    noted = (out / "finished.json").read_bytes()
    review.judge(ids(out)[0], "reject", "ada")
    assert run(recipe_of(models), out).drawn == 0
    assert fingerprint(out / "data") == fingerprint(plain_run / "data")
    assert (out / "decisions.parquet").read_bytes() == (plain_run / "decisions.parquet").read_bytes()
    assert len(noted) == len((out / "finished.json").read_bytes())


def test_beside_other_filters_it_judges_what_these_let_pass(models, tmp_path):
    others = [{"kind": "alignment", "encoder": str(models.encoder), "quantile": 0.5, "calibrate_on": N}]
    out = tmp_path / "run"
    run(recipe_of(models, filters=others), out)
    passed = [row["id"] for row in decisions(out) if row["reason"] is None]
    failed = [row["id"] for row in decisions(out) if row["reason"] == "alignment"]
    assert passed
    assert failed
    from terrasynth.synthesis.studies.review.looking import Review

    review = Review(out)
    review.judge(failed[0], "accept", "ada")
    review.judge(passed[0], "reject", "ada")
    run(recipe_of(models, filters=[*others, {"kind": "review", "undecided": "drop"}]), out)
    found = {row["id"]: row["reason"] for row in decisions(out)}
    assert (found[failed[0]], found[passed[0]], found[passed[1]]) == ("alignment", "review", "unreviewed")
    scores = {row["id"]: row["scores"] for row in decisions(out)}
    assert scores[failed[0]]["review"] == 1
    assert np.isfinite(scores[passed[0]]["alignment"])


@pytest.mark.parametrize("filters", [
    [{"kind": "review"}, {"kind": "duplicate", "max_similarity": 0.9}],
    [{"kind": "review"}, {"kind": "review"}],
])
def test_it_is_the_last_one(models, filters):
    with pytest.raises(InputError, match="another filter after review, which judges what all others let pass"):
        recipe_of(models, filters=filters)


@pytest.mark.parametrize(("option", "message"), [
    ({"undecided": "maybe"}, "undecided"), ({"reviewers": "nobody"}, "reviewers"), ({"file": "x"}, "file"),
])
def test_wrong_options_are_named(models, option, message):
    with pytest.raises(InputError, match=message):
        recipe_of(models, filters=[{"kind": "review", **option}])


def test_a_damaged_file_stops_the_run_before_anything_is_written(out, again, review):
    review.judge(ids(out)[0], "reject", "ada")
    review.file.path.write_bytes(review.file.path.read_bytes().replace(b"reject", b"accept"))
    before = fingerprint(out)
    with pytest.raises(RunError, match=r"verdicts.jsonl: line 2 is not what was written \(its hash is another\)"):
        again()
    assert fingerprint(out) == before


def test_verdicts_of_another_run_stop_it_too(models, out, again, tmp_path):
    other = tmp_path / "other"
    changed = recipe_of(models).model_copy(update={"seed": 7})
    run(Recipe.parse(changed.tree()), other)
    from terrasynth.synthesis.studies.review.looking import Review

    Review(other).judge(ids(other)[0], "reject", "ada")
    shutil.copytree(other / "review", out / "review")
    before = fingerprint(out)
    with pytest.raises(InputError, match=r"verdicts\.jsonl is the review of the run"):
        again()
    assert fingerprint(out) == before


def test_images_that_nobody_looked_at_are_told(models, out, again, review):
    """By the run at its end, by the card, and by a push, each time until somebody has looked."""
    wanted = out.parent / "recipe.yaml"
    wanted.write_text(yaml.safe_dump(recipe_of(models).tree()))
    nobody = f"nobody has looked at these images: `terrasynth review {out}`\n"
    assert f"review     {nobody}" in told(wanted, out)
    assert f"note: {nobody}" in told_by_push(out)
    wanted.write_text(yaml.safe_dump(recipe_of(models, filters=[{"kind": "review"}]).tree()))
    assert f"{2 * N} of {2 * N} accepted images were not looked at: `terrasynth review " in told(wanted, out)
    for row in ids(out)[1:]:
        review.judge(row, "accept", "ada")
    review.judge(ids(out)[0], "reject", "ada")
    one = f"1 of {2 * N} accepted images was not looked at: `terrasynth review "
    line, = (line for line in told(wanted, out).splitlines() if "looked at" in line)
    assert line == f"review     {one}{out}`"
    assert f"**{one}RUN`.**" in (out / "README.md").read_text()
    assert f"note: {one}{out}`" in told_by_push(out)
    assert line in told(wanted, out)  # a finished run that is only opened again
    assert again().unseen == 1
    wanted.write_text(yaml.safe_dump(recipe_of(models, filters=[{"kind": "review", "undecided": "drop"}]).tree()))
    assert (f"review     1 image waits for review (beach 1): `terrasynth review {out}` shows them, then the same "
            "`terrasynth run` takes the verdicts in\n") in told(wanted, out)
    assert again(undecided="drop").unseen == 0
    for row in ids(out):
        review.judge(row, "accept", "ada")
    for text in (told(wanted, out), (out / "README.md").read_text(), told_by_push(out)):
        assert "looked at" not in text
    wanted.write_text(yaml.safe_dump(recipe_of(models).tree()))
    assert "looked at" not in told(wanted, out) + told_by_push(out)  # with no filter, too, for somebody has


def told(recipe, out):
    result = CliRunner().invoke(command, [str(recipe), "--out", str(out)], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def told_by_push(out):
    arguments = [str(out), "--repo", "ada/tiny", "--dry-run", "--offline", "--licence", "cc-by-4.0"]
    result = CliRunner().invoke(push, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout
