"""What a run says of itself when it ends: which blocks could not be made, which classes are short, and what helps."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.events import BlockFailed, ClassCount, RunResult
from terrasynth.synthesis.filters.base import looser_options
from terrasynth.synthesis.ledger.judged_rows import JudgedRows
from terrasynth.synthesis.recipe import Recipe

WHOLE, SHORT = ClassCount("beach", 4, 4, 4), ClassCount("harbor", 8, 1, 4)


def ended(*counts, failed=(), rejected=None, nearest=None):
    return RunResult(Path("run"), "0123456789abcdef", counts, 12, False, failed=failed, rejected=rejected or {},
                     nearest=nearest or {})


def test_a_run_that_has_all_says_nothing():
    assert (ended(WHOLE).failure, ended(WHOLE).shortfall(8), ended(WHOLE).review_line("a", "b")) == ("", "", "")


def test_a_class_that_is_short_is_named_with_what_rejected_its_images_and_what_helps():
    assert ended(WHOLE, SHORT).shortfall(8) == ("target missed by harbor (1 of 4) after 8 attempts each; raise "
                                                "target.max_attempts or loosen a filter, and run again")
    assert ended(WHOLE, SHORT, rejected={"scene": 2, "alignment": 5}).shortfall(8) == (
        "target missed by harbor (1 of 4) after 8 attempts each, rejected by alignment (5), scene (2); raise "
        "target.max_attempts or loosen a filter, and run again")
    nothing = ended(ClassCount("harbor", 8, 0, 4), rejected={"scene": 8}).shortfall(8)
    for said in ("harbor (0 of 4) after 8 attempts each, rejected by scene (8). Nothing was accepted",
                 "what was rejected in the report", "`terrasynth train lora`",
                 "where it does, loosen that filter, and run"):
        assert said in nothing
    near = ended(ClassCount("river", 8, 0, 4), SHORT, nearest={"river": {"scene": (0.51234, 0.9)}}).shortfall(8)
    assert "missed by river (0 of 4; scene: best score 0.512, threshold 0.9), harbor (1 of 4) after" in near


def test_what_helps_a_class_that_is_short_is_named_with_its_direction():
    looser = {"scene": ["filters.1.pass_real higher"], "alignment": ["filters.0.min_score lower"], "quality": ["no"]}
    some = replace(ended(WHOLE, SHORT, rejected={"scene": 2, "alignment": 5}), looser=looser)
    assert some.shortfall(8).endswith("alignment (5), scene (2); raise target.max_attempts or loosen a filter "
                                      "(filters.0.min_score lower or filters.1.pass_real higher), and run again")
    none = ended(WHOLE, ClassCount("river", 8, 0, 4), rejected={"scene": 8}, nearest={"river": {"scene": (0.1, 0.9)}})
    far = replace(none, looser=looser, far=("river",)).shortfall(8)
    assert far.endswith("; loosen a filter (filters.1.pass_real higher), and run again; more attempts will hardly help "
                        "river: the scores lie further from the threshold than from one another")


def test_scores_are_far_where_none_comes_as_near_as_they_lie_apart():
    def judged(*scores):
        n = len(scores)
        return JudgedRows([str(k) for k in range(n)], ["beach"] * n, range(n), ["scene"] * n,
                          {"scene": np.array(scores, np.float32)}, False)

    assert judged(0.125, 0.25, 0.375, 0.25).far("beach", {"scene": 0.75}) == ["scene"]
    assert judged(0.125, 0.25, 0.375, 0.25).far("beach", {"scene": 0.625}) == []  # as far as they lie apart
    assert judged(0.125, 0.25, 0.375).far("beach", {"scene": 0.75}) == []  # too few to say
    assert judged(4.0, 5.0, 4.5, 4.0).far("beach", {"scene": 2.5}) == ["scene"]  # a filter with a highest score


def test_a_filter_with_two_thresholds_says_how_one_is_taken_out():
    with pytest.raises(InputError, match=r"exactly one of min_score, pass_real and quantile; take one out of min_score "
                                         r"and pass_real, as with --set filters\.N\.pass_real=null"):
        Recipe.load("demo", ["filters.0.kind=alignment", "filters.0.pass_real=0.9", "filters.0.min_score=0.2"])
    one = ["filters.0.kind=alignment", "filters.0.pass_real=null", "filters.0.min_score=0.2"]
    assert looser_options(Recipe.load("demo", one).filters[0]) == ["min_score lower"]


def test_images_that_wait_for_review_are_not_missed():
    waits, both = ClassCount("beach", 4, 1, 4, 3), ClassCount("river", 8, 0, 4, 1)
    assert ended(waits).shortfall(8) == ""
    assert ended(both).review_line("`a page`", "`a command`") == (
        "1 image waits for review (river 1): `a page` shows them, then `a command` takes the verdicts in")
    found = ended(waits, both, rejected={"scene": 7})
    assert found.review_line("`a page`", "`a command`").startswith("4 images wait for review (beach 3, river 1): ")
    assert found.shortfall(8).startswith(
        "target missed by river (0 of 4) after 8 attempts each, rejected by scene (7); raise")


def test_a_block_that_could_not_be_made_is_named_with_its_last_reason():
    failure = ended(WHOLE, failed=(BlockFailed("harbor", 3, ("it was killed", "it hung")),)).failure
    assert failure.startswith("block 3 of harbor (it hung) failed 2 times")
