"""The check `says`: prompts of a class say what sets it apart from another."""

import pytest

from terrasynth.prompts.errors import InputError
from terrasynth.prompts.scenes.wording import words
from tests.prompts.checks.test_checks import GRAMMAR, OFF, checked, texts


def test_what_sets_a_class_apart_has_to_be_said():
    asked = {"denseresidential": [["roof"], ["Neatly", "lines"]], "river": [["trees"]]}
    kept = texts(checked(GRAMMAR, **OFF, says=asked), "denseresidential", 50)
    every = texts(GRAMMAR, "denseresidential", 2000)
    said = [text for text in every if {"roof", "roofs"} & set(words(text))
            and {"neatly", "line", "lines"} & set(words(text))]
    assert kept == said[:50]  # whose order stays
    assert all({"tree", "trees"} & set(words(text)) for text in texts(checked(GRAMMAR, **OFF, says=asked), "river", 20))
    assert texts(checked(GRAMMAR, **OFF, says=asked), "beach", 20) == texts(GRAMMAR, "beach", 20)
    own = checked(GRAMMAR, **OFF, says=asked)
    own.expand("denseresidential", 0, 0, 20)
    assert set(own.drops("denseresidential")) == {"what sets its class apart not said"}
    assert own.identity() != checked(GRAMMAR, **OFF, says={"river": [["trees"]]}).identity()
    assert checked(GRAMMAR, **OFF).identity() == GRAMMAR.identity()


@pytest.mark.parametrize(("says", "message"), [
    ({"rivr": [["blue"]]}, "checks.says names class 'rivr', of which there are no prompts (did you mean 'river'?)"),
    ({"river": [["deep blue"]]}, "says names 'deep blue', and single words are looked for"),
    ({"river": [[]]}, "says"), ({"river": []}, "says"),
])
def test_words_that_cannot_be_looked_for_are_refused(says, message):
    with pytest.raises(InputError) as error:
        checked(GRAMMAR, **OFF, says=says)
    assert message in str(error.value)


def test_a_word_that_is_never_said_ends_the_run():
    with pytest.raises(InputError, match="what sets its class apart not said"):
        checked(GRAMMAR, **OFF, says={"river": [["spaceship"]]}).expand("river", 0, 0, 1)
