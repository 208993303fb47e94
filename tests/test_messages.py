"""What libraries say is cut at the end of a word, and what is missing is named."""

import re
import shutil
from pathlib import Path

import pytest

from terrasynth.errors import one_line, shortened
from terrasynth.synthesis import load_generator
from terrasynth.synthesis.core.errors import InputError as SynthesisInputError
from terrasynth.training.errors import InputError
from terrasynth.training.tuning.families import load_base, open_base
from tests.test_rooms import FILES
from tests.tiny_pipelines import sd


@pytest.mark.parametrize(("text", "most", "expected"), [
    ("all of it", 9, "all of it"),
    ("all of it is", 10, "all of..."),
    ("all of, it", 9, "all of..."),
    ("the word fits here", 11, "the word..."),
    ("/a/path/of/one/word", 12, "/a/path/o..."),
    ("of incomprehensibilities", 12, "of incomp..."),  # no word ends in its second half
    ("it is here (in a folder)", 16, "it is here..."),
])
def test_a_text_is_cut_at_the_end_of_a_word(text, most, expected):
    assert shortened(text, most) == expected
    assert len(shortened(text, most)) <= most


def test_a_message_is_on_one_line_before_it_is_cut():
    assert one_line(ValueError("a file\n  that   is long")) == "a file that is long"
    assert one_line(ValueError("a file\n  that   is long"), 16) == "a file that..."
    assert one_line(KeyError(), 16) == "KeyError"


def test_no_message_is_cut_in_the_middle_of_a_word():
    cut = re.compile(r"one_line\((?:[^()]|\([^()]*\))*\)\[:|\)\.split\(\)\)\[:")
    assert {module for module, path in FILES.items() if cut.search(Path(path).read_text())} == set()


@pytest.mark.parametrize("part", ["scheduler", "tokenizer", "unet"])
def test_a_component_that_is_missing_is_named(tmp_path, part):
    folder = sd(tmp_path / "sd")
    shutil.rmtree(folder / part)
    said = rf"has no folder {part}, though its model_index.json names one \(a \w+\); copy the model whole"
    with pytest.raises(SynthesisInputError, match=rf"model 'sd' {said}"):
        load_generator(str(folder), steps=1, device="cpu")
    with pytest.raises(InputError, match=rf"--base 'sd' {said}"):
        load_base(open_base(str(folder)), None, None, ())
