"""What a run says of itself when it ends: which blocks could not be made, which classes are short, and what helps."""

from pathlib import Path

from terrasynth.synthesis.events import BlockFailed, ClassCount, RunResult

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
                 "what was rejected in the report", "`terrasynth train lora`", "lower that filter's threshold"):
        assert said in nothing
    near = ended(ClassCount("river", 8, 0, 4), SHORT, nearest={"river": {"scene": (0.51234, 0.9)}}).shortfall(8)
    assert "missed by river (0 of 4; scene: best score 0.512, threshold 0.9), harbor (1 of 4) after" in near


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
