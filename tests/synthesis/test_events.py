"""What a run says of itself when it ends: which blocks could not be made, which classes are short, and what helps."""

from pathlib import Path

import pytest

from terrasynth.synthesis.events import BlockFailed, ClassCount, RunResult
from terrasynth.synthesis.recipe import Recipe

WHOLE, SHORT = ClassCount("beach", 4, 4, 4), ClassCount("harbor", 8, 1, 4)


def ended(*counts, failed=()):
    return RunResult(Path("run"), "0123456789abcdef", counts, 12, False, failed=failed)


def recipe(*filters):
    return Recipe.parse({"generator": {"model": "ldm-ucm"}, "target": {"per_class": 4, "max_attempts": 8},
                         "filters": list(filters)})


def test_a_run_that_has_all_says_nothing():
    assert (ended(WHOLE).failure, ended(WHOLE).shortfall(8)) == ("", "")


@pytest.mark.parametrize(("filters", "said"), [
    ((), "target missed by harbor (1 of 4) after 8 attempts each; raise target.max_attempts or loosen a filter"),
    (({"kind": "review", "undecided": "keep"},), "after 8 attempts each"),
    (({"kind": "review", "undecided": "drop"},), "what somebody has looked at; a page shows what waits"),
])
def test_a_class_that_is_short_is_named_with_what_helps(filters, said):
    of = recipe(*filters)
    assert said in ended(WHOLE, SHORT).shortfall(of.target.max_attempts, "a page" if of.waits_for_review else "")


def test_a_block_that_could_not_be_made_is_named_with_its_last_reason():
    failure = ended(WHOLE, failed=(BlockFailed("harbor", 3, ("it was killed", "it hung")),)).failure
    assert failure.startswith("block 3 of harbor (it hung) failed 2 times")
