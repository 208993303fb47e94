"""What a run says of itself when it ends: which blocks could not be made, which classes are short, and what helps."""

from pathlib import Path

import pytest

from terrasynth.synthesis.events import BlockFailed, ClassCount, RunResult
from terrasynth.synthesis.recipe import Recipe

WHOLE, SHORT = ClassCount("beach", 4, 4, 4), ClassCount("harbor", 8, 1, 4)


def ended(*counts, failed=(), rejected=None, nearest=None):
    return RunResult(Path("run"), "0123456789abcdef", counts, 12, False, failed=failed, rejected=rejected or {},
                     nearest=nearest or {})


def recipe(*filters):
    return Recipe.parse({"generator": {"model": "ldm-ucm"}, "target": {"per_class": 4, "max_attempts": 8},
                         "filters": list(filters)})


def test_a_run_that_has_all_says_nothing():
    assert (ended(WHOLE).failure, ended(WHOLE).shortfall(8)) == ("", "")


@pytest.mark.parametrize(("filters", "waits"), [
    ((), False), (({"kind": "review", "undecided": "keep"},), False),
    (({"kind": "review", "undecided": "drop"},), True),
])
def test_a_recipe_waits_where_nobody_has_looked(filters, waits):
    assert recipe(*filters).waits_for_review is waits


def test_a_class_that_is_short_is_named_with_what_rejected_its_images_and_what_helps():
    assert ended(WHOLE, SHORT).shortfall(8) == ("target missed by harbor (1 of 4) after 8 attempts each; raise "
                                                "target.max_attempts or loosen a filter, and run again")
    assert ended(WHOLE, SHORT, rejected={"scene": 2, "alignment": 5}).shortfall(8) == (
        "target missed by harbor (1 of 4) after 8 attempts each, rejected by alignment (5), scene (2); raise "
        "target.max_attempts or loosen a filter, and run again")
    nothing = ended(ClassCount("harbor", 8, 0, 4), rejected={"scene": 8}).shortfall(8)
    for said in ("harbor (0 of 4) after 8 attempts each, rejected by scene (8). Nothing was accepted",
                 "what was rejected in the report", "`terrasynth train lora`", "lower that filter's threshold"):
        assert said in nothing
    near = ended(ClassCount("river", 8, 0, 4), SHORT, nearest={"river": {"scene": (0.51234, 0.9)}}).shortfall(8)
    assert "missed by river (0 of 4; scene: best score 0.512, threshold 0.9), harbor (1 of 4) after" in near


def test_images_that_wait_for_review_are_not_missed():
    waits, both = ClassCount("beach", 4, 1, 4, 3), ClassCount("river", 8, 0, 4, 1)
    assert ended(waits).shortfall(8, "`a page`") == (
        "images wait for review: beach (3, with 1 of 4 accepted); `a page` shows them, and running it again takes up "
        "what was said")
    said = ended(waits, both, rejected={"scene": 7}).shortfall(8, "`a page`")
    assert "images wait for review: beach (3, with 1 of 4 accepted), river (1, with 0 of 4 accepted)" in said
    assert "; target missed by river (0 of 4) after 8 attempts each, rejected by scene (7); raise" in said


def test_a_block_that_could_not_be_made_is_named_with_its_last_reason():
    failure = ended(WHOLE, failed=(BlockFailed("harbor", 3, ("it was killed", "it hung")),)).failure
    assert failure.startswith("block 3 of harbor (it hung) failed 2 times")
