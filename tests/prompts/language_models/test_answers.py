"""Answers of language models: cleaned, checked, repaired or refused."""

import pytest

from terrasynth.prompts.expanders.grammar import GrammarExpander
from terrasynth.prompts.language_models.answers import AnswerJudge, clean
from terrasynth.prompts.language_models.request import FRAMES, SYSTEM, CaptionRequests
from terrasynth.prompts.scenes.draws import Draws
from terrasynth.prompts.scenes.ontology import UCM_CLASSES
from terrasynth.prompts.scenes.wording import ground_view_words

JUDGE = AnswerJudge("ucm", 12)
CAPTION = "A harbor with two boats."


@pytest.mark.parametrize("answer", [
    CAPTION,
    f'"{CAPTION}"',
    f"\u201c{CAPTION}\u201d",
    f"**{CAPTION}**",
    f"*{CAPTION}*",
    f"`{CAPTION}`",
    f"1. {CAPTION}\n2. A river.",
    f"- {CAPTION}\n- A river.",
    f"(3) \"{CAPTION}\"",
    f"# {CAPTION}",
    f"```\n{CAPTION}\n```",
    f"Sure! {CAPTION}",
    f"Here is a caption for the harbor: {CAPTION}",
    f"Sure, here's one caption:\n\n{CAPTION}",
    f"Caption: {CAPTION}",
    f"Caption 2: {CAPTION}\nCaption 3: A river.",
    "A harbor with\n  two   boats.",
    f"{CAPTION}\n\nThis shows how busy it is.",
    f"<think>They want a harbor.\nGood.</think>\n{CAPTION}",
])
def test_the_caption_is_found_in(answer):
    assert clean(answer) == CAPTION


@pytest.mark.parametrize("caption", [
    "Here are two boats: one is white, one is blue.", "Ten 'boats' in rows.", "3 boats at a pier.",
    "A pier 0.5 km long.", "A co-operative's harbor.",
])
def test_what_belongs_to_a_caption_stays(caption):
    assert clean(caption) == caption


@pytest.mark.parametrize(("label", "answer", "text"), [
    ("harbor", "a harbor with two boats", "A harbor with two boats."),
    ("harbor", "A harbor with two boats!!", "A harbor with two boats."),
    ("harbor", "There are two boats with a pier beside them.", "A harbor with two boats with a pier beside them."),
    ("harbor", "Boats dock in rows", "Harbor: boats dock in rows."),
    ("intersection", "An aerial view of two roads.", "An aerial view of an intersection with two roads."),
    ("agricultural", "Some rows of crops", "Farmland with some rows of crops."),
    ("storagetanks", "Two white circles", "Storage tanks with two white circles."),
    ("oldSand_mine", "Some deep pits.", "An old sand mine with some deep pits."),
    ("quarry", "Quarries and some trucks", "Quarries and some trucks."),
    ("harbor", f"{CAPTION} It has a long pier. It is one of the busiest places.", f"{CAPTION} It has a long pier."),
])
def test_captions_are_kept_or_repaired(label, answer, text):
    assert JUDGE(label, answer) == (text, "")
    assert JUDGE(label, text) == (text, "")


@pytest.mark.parametrize(("answer", "reason"), [
    ("", "empty"), ("<think>What is a harbor", "empty"), ("```\n```", "empty"),
    ("\ufffd\ufffd harbor", "no text"), ("1 2 3 4 5 6 7 8 harbor", "no text"), ("A harbor {x} here", "no text"),
    ("A harbor.", "too short"), ("Boats.", "too short"),
    ("A harbor with " + "very " * 12 + "old boats.", "too long"),
    ("A harbor with two boats at sunset.", "ground-level view"),
    ("A cinematic harbor with boats.", "ground-level view"),
    ("A river with two boats.", "another class"),
    ("A harbor beside a golf course.", "another class"),
    ("The ten boats at the long wooden pier are all docked.", ""),
    ("The ten boats at the very long wooden pier are all docked.", "class missing"),
])
def test_other_faults_are_refused(answer, reason):
    assert JUDGE("harbor", answer).reason == reason


def test_half_a_sentence_is_dropped():
    assert JUDGE("harbor", "A harbor with two boats and a", ended=False).reason == "cut off"
    assert JUDGE("harbor", f"{CAPTION} It has a", ended=False).text == CAPTION
    assert JUDGE("harbor", f"{CAPTION} It has a pier", ended=True).text == f"{CAPTION} It has a pier."


def test_captions_of_the_grammar_pass_as_they_are():
    judge = AnswerJudge("ucm", 30)
    for label in UCM_CLASSES:
        for prompt in GrammarExpander("ucm").expand(label, 0, 0, 30):
            assert judge(label, prompt.text) == (prompt.text, "")


@pytest.mark.parametrize("profile", ["ucm", "open"])
def test_every_class_can_be_asked_for_and_repaired(profile):
    asking = CaptionRequests("lm", None, profile, 20, None)
    for label in asking.classes:
        for answer in ("Some things stand in two rows here.", "Two pale shapes on dark ground."):
            verdict = asking.judge(label, answer)
            assert asking.judge.names(label, verdict.text), (label, verdict)
        start = asking.start(label, Draws(label))
        assert asking.judge.names(label, start)
        assert asking.judge.called(label)[0] in asking.one(label, Draws(1))


def test_the_words_of_a_request_vary_and_are_no_bad_example():
    asking = CaptionRequests("openai", ["harbor"], "ucm", 20, None)
    assert len({asking.one("harbor", Draws(k)) for k in range(50)}) > 30
    assert asking.one("harbor", Draws(3)) == asking.one("harbor", Draws(3))
    assert not any(ground_view_words(frame) for frame in FRAMES)
    assert "{words}" in SYSTEM
    assert len(asking.several("harbor", [Draws(k) for k in range(5)]).splitlines()) == 7
