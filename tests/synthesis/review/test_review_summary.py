"""Agreement and the share of good images, against what was said."""

import pytest
from click.testing import CliRunner

from terrasynth.eval.metrics.agreement import cohen_kappa
from terrasynth.eval.metrics.figure import share
from terrasynth.synthesis import run
from terrasynth.synthesis.cli.review import review as command
from terrasynth.synthesis.ledger.judged_rows import JudgedRows
from terrasynth.synthesis.review.sampling import in_random_order
from terrasynth.synthesis.studies.review.looking import Queue, Review
from terrasynth.synthesis.studies.review.summary import summarize
from tests.synthesis.helpers import decisions
from tests.synthesis.review.conftest import N, recipe_of


@pytest.fixture(scope="module")
def filtered_run(models, tmp_path_factory):
    """Alignment takes its threshold from the middle of the first attempts, so that half of them fail."""
    out = tmp_path_factory.mktemp("filtered") / "run"
    others = [{"kind": "alignment", "encoder": str(models.encoder), "quantile": 0.5, "calibrate_on": 2 * N},
              {"kind": "duplicate", "encoder": str(models.encoder), "max_similarity": 1.0}]
    run(recipe_of(models, filters=others), out)
    return out


@pytest.fixture
def filtered(filtered_run, tmp_path):
    import shutil

    return shutil.copytree(filtered_run, tmp_path / "run")


def test_nothing_was_said(filtered):
    found = summarize(filtered)
    assert (found.reviewers, found.together, found.pairs, found.filters, found.good) == ((), None, (), (), None)
    assert found.accepted == sum(row["accepted"] for row in decisions(filtered))
    assert not (filtered / "review").exists()


def test_agreement_with_each_other_and_with_filters(filtered):
    review, attempts = Review(filtered), decisions(filtered)
    judged = [row for row in attempts if row["reason"] in (None, "alignment")]
    ada = {row["id"]: place % 3 != 0 for place, row in enumerate(judged)}
    bob = {row["id"]: place % 2 == 0 for place, row in enumerate(judged) if place > 3}
    for name, said in (("ada", ada), ("bob", bob)):
        for row, good in said.items():
            review.judge(row, "accept" if good else "reject", name, reason="" if good else "blurred")
    found = summarize(filtered)
    table = [[0, 0], [0, 0]]
    for row, good in bob.items():
        table[ada[row]][good] += 1
    pair, = found.pairs
    assert (pair.one, pair.other, pair.images) == ("ada", "bob", len(bob))
    assert pair.kappa == cohen_kappa(table) == found.together
    # more than half of those who looked have to accept
    people = {row: good and bob.get(row, True) for row, good in ada.items()}
    by_filter = {each.other: each for each in found.filters}
    kept = {row["id"]: row["reason"] is None for row in judged}
    table = [[0, 0], [0, 0]]
    for row, good in people.items():
        table[good][kept[row]] += 1
    assert by_filter["alignment"].kappa == cohen_kappa(table)
    assert by_filter["alignment"].same == table[0][0] + table[1][1]
    # what alignment rejected, duplicate was not asked about
    assert by_filter["duplicate"].images == sum(kept.values())
    assert found.reasons == {"blurred": sum(not good for said in (ada, bob) for good in said.values())}
    assert [(each.name, each.verdicts) for each in found.reviewers] == [("ada", len(ada)), ("bob", len(bob))]
    assert (found.in_recipe, found.pending) == (False, 0)


def test_good_images_are_counted_in_a_random_sample_alone(filtered):
    review = Review(filtered)
    passed = [row["id"] for row in decisions(filtered) if row["reason"] is None]
    order = [passed[place] for place in in_random_order(passed, 0)]
    assert [image.row for image in review.next("ada", Queue(sample=5), count=20).images] == order[:5]
    for place, row in enumerate(order[:5]):
        review.judge(row, "reject" if place == 1 else "accept", "ada")
    for row in order[7:]:  # looked at for another reason
        review.judge(row, "reject", "ada")
    found = summarize(filtered)
    assert found.good == share(4, 5)
    assert found.good.n == 5
    assert (found.unseen, found.waiting) == (2, len(order) - 7)
    assert found.gap.startswith("the sample waits for 2 images that nobody has looked at; ")
    review.judge(order[5], "reject", "ada")
    review.judge(order[6], "accept", "ada")
    assert summarize(filtered).good == share(5, len(order))
    assert summarize(filtered).gap == ""
    assert summarize(filtered, seed=1).good == share(5, len(order))


def test_the_share_stays_that_of_all_when_the_review_decides(models, filtered):
    """What people reject leaves the data set, and stays in what they are asked about."""
    review = Review(filtered)
    for image in review.next("ada", Queue(sample=6), count=20).images:
        review.judge(image.row, "reject", "ada")
    before = summarize(filtered)
    recipe = review.run.recipe
    from terrasynth.synthesis.filters import ReviewFilter

    wanted = recipe.model_copy(update={"filters": [*recipe.filters, ReviewFilter(undecided="drop")]})
    run(wanted, filtered)
    found = summarize(filtered)
    assert before.good == share(0, 6)
    assert found.in_recipe
    assert found.accepted > before.accepted
    assert found.good is None or found.good.value == 0
    assert found.pending == 0
    first = Review(filtered).next("bob", Queue()).images[0]
    review.judge(first.row, "accept", "bob")
    assert summarize(filtered).pending == 1


def test_rows_know_what_filters_said(filtered):
    rows = JudgedRows.read(filtered)
    names = ["alignment", "duplicate"]
    said = {row: (rows.filter_says("alignment", names)[place], rows.filter_says("duplicate", names)[place])
            for place, row in enumerate(rows.ids)}
    for row in decisions(filtered):
        expected = {None: (1, 1), "alignment": (0, -1), "beyond_target": (-1, -1)}[row["reason"]]
        assert said[row["id"]] == expected


def test_the_command_prints_it(filtered):
    result = CliRunner().invoke(command, [str(filtered), "--summary"])
    waiting = summarize(filtered).accepted
    assert result.output == f"nobody has looked at it yet; {waiting} images wait\n"
    review = Review(filtered)
    for image in review.next("ada", Queue(sample=4), count=4).images:
        review.judge(image.row, "accept", "ada", blind=True)
    review.judge(image.row, "reject", "bob", reason="blurred")
    lines = CliRunner().invoke(command, [str(filtered), "--summary"]).output.splitlines()
    assert lines[:-1] == [
        "looked at        4 images: 3 may stay, 1 rejected",
        "by ada           4 verdicts: 4 accept, 0 reject; 4 blind",
        "by bob           1 verdict: 0 accept, 1 reject; 0 blind",
        "reasons          blurred 1",
        f"estimate         the share of the {waiting} images that the filters let pass that may stay is {share(3, 4)}, "
        "by a random sample",
        "agreement        ada and bob: the same of 0 of 1 image",
        "                 people and the filter alignment: the same of 3 of 4 images",
        "                 people and the filter duplicate: the same of 3 of 4 images",
        "                 no kappa where one of the two always says the same"]
    assert lines[-1].startswith("to do            most who looked at 1 image of the data set rejected it; `terrasynth ")


def test_the_command_says_what_a_grown_sample_waits_for(filtered):
    review = Review(filtered)
    passed = [row["id"] for row in decisions(filtered) if row["reason"] is None]
    order = [passed[place] for place in in_random_order(passed, 0)]
    review.judge(order[1], "accept", "ada")
    lines = CliRunner().invoke(command, [str(filtered), "--summary"]).output.splitlines()
    assert lines[2] == (f"estimate         the share of the {len(order)} images that the filters let pass that may stay"
                        " is not known yet: the sample waits for 1 image that nobody has looked at; 1 more counts "
                        "after that")
    assert not any("nobody has looked at a random sample" in line for line in lines)
    review.undo("ada")
    for row in [*order[:1], *order[2:]]:
        review.judge(row, "accept", "ada")
    lines = CliRunner().invoke(command, [str(filtered), "--summary"]).output.splitlines()
    assert lines[2] == (f"estimate         the share of the {len(order)} images that the filters let pass that may stay"
                        f" is {share(1, 1)}, by a random sample")
    assert lines[3].strip() == (f"the sample waits for 1 image that nobody has looked at; {len(order) - 2} more count "
                                "after that")
    review.judge(order[1], "accept", "ada")
    assert "waits" not in CliRunner().invoke(command, [str(filtered), "--summary"]).output
