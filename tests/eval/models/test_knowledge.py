"""What a model met in training, in a file beside its weights."""

import json

import pytest

from terrasynth.eval.errors import InputError
from terrasynth.eval.models.knowledge import Knowledge, knowledge_of, load_knowledge, words_of
from terrasynth.eval.models.references import EMBEDDED_ROOT, content_hash, resolve

CAPTIONS = ["Two white boats near a pier.", "A white boat; the pier's end.", "A well-kept boat, 3 m long, once."]


def test_words_are_single_and_read_more_than_once():
    found = Knowledge.of(CAPTIONS, ["harbor", "", "beach", "harbor"])
    assert found.classes == ("beach", "harbor")
    assert found.words == {"white", "pier", "boat"}  # "boats" stands in one caption, and so does "well"
    assert words_of("The pier's well-kept 30 m of x") == ["the", "pier", "well", "kept", "of"]


@pytest.mark.parametrize(("text", "unread"), [
    ("White boats, piers.", ()), ("A white boat at 0.3 m a pixel", ("pixel",)), ("", ()), ("3 4.5", ()),
    ("Solar boats, solar!", ("solar",)), ("Satellite images of piers that are seen from straight above.", ()),
    ("an aerial view of a boat in winter", ("winter",)),
])
def test_a_word_counts_in_the_singular_and_the_plural(text, unread):
    assert Knowledge.of(CAPTIONS, []).unread(text) == unread


def test_a_model_that_reads_no_text_has_no_words():
    found = Knowledge.of(None, ["beach"])
    assert (found.words, found.unread("anything")) == (None, ())
    both = found.joined(Knowledge.of(CAPTIONS, ["harbor"]))
    assert (both.words, both.classes) == ({"white", "pier", "boat"}, ("beach", "harbor"))
    assert found.joined(found).words is None


def test_it_is_kept_beside_the_weights_and_changes_no_hash(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    before = content_hash(tmp_path)
    assert load_knowledge(tmp_path) is None
    found = Knowledge.of(CAPTIONS, ["beach", "É cole"])
    path = found.save(tmp_path)
    assert load_knowledge(tmp_path) == knowledge_of(resolve(tmp_path, [])) == found
    assert content_hash(tmp_path) == before
    written = path.read_bytes()
    assert found.save(tmp_path).read_bytes() == written
    assert not [word for word in json.loads(written)["words"] if " " in word]


@pytest.mark.parametrize("content", [
    "", "[]", "{}", '{"words": 3, "classes": []}', '{"words": 0, "classes": []}', '{"words": "", "classes": []}',
    '{"words": [1], "classes": []}', '{"words": [], "classes": "beach"}',
    '{"words": ' + "[" * 100_000, '{"words": [], "classes": [], "more": "' + "x" * (16 * 2**20) + '"}',
])
def test_a_file_that_says_nothing_is_one_line(content, tmp_path):
    (tmp_path / "knowledge.json").write_text(content)
    with pytest.raises(InputError, match=r"knowledge\.json cannot be read .*models describe") as caught:
        load_knowledge(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["clip-ucm", "clip-ucm-b", "scene-ucm"])
def test_the_embedded_evaluators_say_what_they_know(name):
    found = knowledge_of(resolve(name, [EMBEDDED_ROOT]))
    assert len(found.classes) == 21
    if name == "scene-ucm":
        assert found.words is None
    else:
        assert found.unread("Two boats in the harbor, and a road beside it.") == ()
        assert found.unread("A solar farm.") == ("solar", "farm")


def test_words_that_say_nothing_alone_count_as_read():
    assert Knowledge(frozenset({"field"})).unread("There is a dam in the field, with an orchard") == ("dam", "orchard")
