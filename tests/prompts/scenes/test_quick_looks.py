"""What spares the reading of sentences is right: captions that are left out unread, and rows that are not cut again."""

import pytest

from terrasynth.prompts.registry import load_expander
from terrasynth.prompts.scenes.entailment import DrawnPrompt, cut
from terrasynth.prompts.scenes.lexicon import Lexicon, lexicon_of, tokens
from terrasynth.prompts.scenes.scene import Scene
from terrasynth.prompts.scenes.statements import read, says_other

PROFILES = ("ucm", "open", "rs")


def drawn(profile, count=12):
    expander = load_expander("grammar", profile=profile)
    return [prompt for label in expander.classes for prompt in expander.expand(label, 11, 0, count)]


@pytest.mark.parametrize("profile", PROFILES)
def test_a_caption_that_is_left_out_unread_is_none_that_holds(profile):
    left_out = read_ = 0
    for prompt in drawn(profile):
        lexicon = lexicon_of(prompt.label, Scene.from_json(prompt.whole))
        said, known = read(prompt.text, lexicon), frozenset(tokens(prompt.text))
        for other in {*prompt.choices, *vars(prompt)["_ways"]()}:
            if says_other(tokens(other), known, lexicon):
                left_out += 1
                assert not said.implies(read(other, lexicon)), (prompt.text, other)
            else:
                read_ += 1
    assert left_out > 100
    assert read_ > 100


def test_words_that_may_go_unsaid_decide_nothing():
    lexicon = Lexicon({"boat": "thing", "white": "look", "there are": "frame", "in": "relation", "and": "pause",
                       "in winter": "condition"}, (), ())
    known = frozenset({"white", "boat"})
    assert says_other(("white", "car"), known, lexicon)  # not in the lexicon, which makes a claim of it
    assert not says_other(("there", "are", "white", "boat"), known, lexicon)
    assert not says_other(("in", "boat"), known, lexicon)  # "in an aerial image" says nothing
    assert says_other(("boat", "in", "winter"), known, lexicon)
    assert not says_other(("boat", "at", "0.5", "m", "a", "pixel"), known, lexicon)
    above = Lexicon({"car": "thing", "beside": "relation"}, (), (), lexicon)
    assert (above.tells("car"), above.tells("beside"), above.tells("and"), above.tells("boat")) == (
        True, False, False, True)


@pytest.mark.parametrize("profile", PROFILES)
def test_what_is_settled_stays_what_it_is_when_it_is_cut_again(profile):
    settled = 0
    for prompt in drawn(profile, 40):
        again = cut(prompt.text, prompt.label, prompt.captions, prompt.scene)
        if prompt.settled:
            settled += 1
            assert again == (prompt.captions, prompt.scene)
    assert settled > 0.9 * len(drawn(profile, 40))


def test_prompts_of_other_words_are_settled_where_cutting_again_changes_nothing():
    plain = DrawnPrompt("a beach", "beach", ("a beach",), "file", "{}")
    assert plain.settled
    for captions in (("a beach", "sand and water"), ("a beach", "a beach.")):
        prompt = DrawnPrompt("a beach", "beach", captions, "file", '{"note": "sand"}')
        assert prompt.settled == (cut("a beach", "beach", prompt.captions, prompt.scene)
                                  == (prompt.captions, prompt.scene))


def test_prompts_in_portions_are_those_at_once_whatever_was_asked_before():
    expander, once = load_expander("grammar"), load_expander("grammar")
    whole = {label: [prompt.text for prompt in once.expand(label, 3, 0, 400)] for label in once.classes[:3]}
    for start, count in ((0, 16), (16, 16), (32, 3), (35, 300), (335, 1), (0, 16), (16, 5), (200, 200), (21, 16)):
        for label, texts in whole.items():
            found = [prompt.text for prompt in expander.expand(label, 3, start, count)]
            assert found == texts[start : start + count]
    assert expander.expand(once.classes[0], 4, 37, 2)[0].text != whole[once.classes[0]][37]
