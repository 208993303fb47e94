"""The captions expander: other combinations of what a class's captions say."""

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from terrasynth.prompts import Expander, load_expander
from terrasynth.prompts.errors import InputError
from terrasynth.prompts.expanders.captions import CaptionsExpander
from terrasynth.prompts.scenes.clauses import fits, frames, parse, sentence

ROWS = [
    {"class": "quay", "split": "train", "file": "a.png", "captions": [
        "There are two red ships with a crane beside them .",
        "Three blue ships with containers around them and some trucks .",
        "Many ships lie in rows with a warehouse behind them .",
    ]},
    {"class": "quay", "split": "train", "captions": ["An old ship with a pier beside it ."]},
    {"class": "quay", "split": "test", "captions": ["A submarine in the ice ."]},
    {"class": "mill", "split": "train", "captions": ["This is a windmill ."]},
]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    file = tmp_path_factory.mktemp("captions") / "pairs.jsonl"
    file.write_text("\n".join(map(json.dumps, ROWS)), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def expander(path):
    return load_expander("captions", path=path)


def words(texts):
    return {word for text in texts for word in re.findall(r"[a-z]+", text.lower())}


@settings(deadline=None)
@given(seed=st.integers(), start=st.integers(0, 10**9), before=st.integers(0, 4), count=st.integers(0, 4))
def test_any_window_of_the_stream_is_the_same_stream(path, expander, seed, start, before, count):
    whole = expander.expand("quay", seed, start, before + count)
    assert CaptionsExpander(path).expand("quay", seed, start + before, count) == whole[before:]


def test_it_says_new_things_in_the_words_of_its_class(expander):
    assert isinstance(expander, Expander)
    assert expander.classes == ("mill", "quay")
    prompts = expander.expand("quay", 0, 0, 400)
    given_texts = [text for row in ROWS[:2] for text in row["captions"]]
    said = words(one for prompt in prompts for one in prompt.captions)
    assert said <= words(given_texts) | {"here", "this", "it", "is"}
    texts = {prompt.text for prompt in prompts}
    assert "submarine" not in words(texts)
    assert len(texts) > 20
    assert any(re.search(r"red ships with containers", text) for text in texts)
    assert not any(re.search(r"\b(two|three|many|some)\b.*ships.*\bit\b|old ship .*them", text) for text in texts)
    assert all(len(set(prompt.captions)) == len(prompt.captions) for prompt in prompts)
    assert max(len(prompt.captions) for prompt in prompts) == 5


def test_one_caption_is_enough(expander):
    texts = {one.text for one in expander.expand("mill", 0, 0, 60)}
    assert texts == {"A windmill.", *(f"{frame} a windmill." for frame in ("There is", "This is", "Here is", "It is"))}


def test_split_text_and_folders(path, tmp_path):
    whole = load_expander("captions", path=path, split="all")
    assert any("submarine" in one.text for one in whole.expand("quay", 0, 0, 100))
    assert whole.identity() != load_expander("captions", path=path).identity()
    (tmp_path / "mill.txt").write_text("A windmill.\nTwo windmills.\n", encoding="utf-8")
    table = tmp_path / "all.tsv"
    table.write_text("mill\tA windmill.\nmill\tTwo windmills.\n", encoding="utf-8")
    folder, text = load_expander("captions", path=tmp_path), load_expander("captions", path=table)
    assert folder.identity() == text.identity()
    assert folder.expand("mill", 1, 2, 3) == text.expand("mill", 1, 2, 3)


@pytest.mark.parametrize(("row", "message"), [
    ({"captions": ["a"]}, r"c\.jsonl:1: label None must be text"),
    ({"label": "a", "captions": ["b", ""]}, r"c\.jsonl:1: caption '' must be text"),
    ({"label": "a", "captions": ["There is ."]}, r"c\.jsonl:1: caption 'There is \.' says nothing"),
    ({"label": "a"}, r"c\.jsonl:1: caption None must be text"),
    ({"label": "a", "text": "b", "split": "test"}, r"has no caption of split 'train'; .* set split: all"),
])
def test_errors_name_file_line_and_fix(tmp_path, row, message):
    file = tmp_path / "c.jsonl"
    file.write_text(json.dumps(row), encoding="utf-8")
    with pytest.raises(InputError, match=message):
        load_expander("captions", path=file)


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"has no \.txt file; name them <label>\.txt"):
        load_expander("captions", path=tmp_path)


def test_parsing_by_hand():
    parts = parse("There are two  white ships with a crane beside them and some trucks .")
    assert (parts.head, parts.plural, parts.phrase) == ("two white ships", True, True)
    assert parts.clauses == ("with a crane beside them", "and some trucks")
    assert frames(parts) == ("", "there are ", "here are ")
    assert sentence("here are ", parts.head, parts.clauses) == \
        "Here are two white ships with a crane beside them and some trucks."
    villa = parse("A villa with trees around is in the valley")
    assert (villa.head, villa.clauses, villa.phrase) == ("a villa with trees around is in the valley", (), False)
    assert parse("Ships are surrounded by ice").clauses == ()
    assert sentence("", "a old ship", ()) == "An old ship."
    assert sentence("", "an used ship", ()) == "A used ship."
    assert not fits("with a crane beside it", plural=True)
    assert not fits("close to each other", plural=False)


def test_many_clauses_are_not_put_into_every_order(tmp_path):
    clauses = " ".join(f"with {name} trees" for name in "abcdefghijkl")
    path = tmp_path / "c.txt"
    path.write_text(f"river\tA river {clauses}.\n")
    (prompt,) = load_expander("captions", path=path).expand("river", 0, 0, 1)
    assert all("trees" in caption for caption in prompt.captions)
