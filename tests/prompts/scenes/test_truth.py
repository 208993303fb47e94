"""What is said beside a drawn text follows from it: captions, scenes, and answers made from them, of every expander."""

import json
import logging
import re
from collections import Counter

import pytest

from terrasynth.prompts import load_expander
from terrasynth.prompts.checks.checked import CheckedExpander
from terrasynth.prompts.checks.settings import CheckSettings
from terrasynth.prompts.scenes.entailment import UNKNOWN, cut, held, redrawn
from terrasynth.prompts.scenes.ontology import load_ontology
from terrasynth.prompts.scenes.scene import Relation, Scene, SceneObject
from terrasynth.prompts.types import Prompt
from terrasynth.synthesis.export.questions import questions
from tests.prompts.truth import beyond, nouns

PROMPTS = 2_000


def prompts(profile, count=PROMPTS, seed=11):
    expander = load_expander("grammar", profile=profile)
    each = -(-count // len(expander.classes))
    for label in expander.classes:
        yield from expander.expand(label, seed, 0, each)


@pytest.mark.parametrize(("profile", "before"), [("ucm", 0.85), ("open", 0.99), ("rs", 0.6)])
def test_the_grammar_says_nothing_that_its_text_does_not_say(profile, before):
    captions = wrong = 0
    for number, prompt in enumerate(prompts(profile)):
        more = beyond(prompt.text, prompt.captions, prompt.scene, prompt.label, profile)
        assert not more, more
        captions += len(prompt.captions)
        if number % 10 == 0:  # the same reader finds fault with what is said of the whole scene
            wrong += bool(beyond(prompt.text, prompt.choices, prompt.whole, prompt.label, profile))
    assert wrong > before * PROMPTS / 10
    assert captions > 4 * PROMPTS  # and still there are several ways to say it


@pytest.mark.parametrize("profile", ["ucm", "open", "rs"])
def test_no_answer_speaks_of_what_the_text_does_not_name(profile):
    asked = Counter()
    for number, prompt in enumerate(prompts(profile)):
        said = prompt.text.lower()
        for one in questions(str(number), prompt.label, prompt.scene, prompt.text):
            asked[one.kind] += 1
            if one.kind == "class":
                continue
            named = nouns(prompt.label).findall(one.text.lower())
            assert named
            for noun in named:
                singulars = {form for form, several in load_ontology(profile).countable.items() if several == noun}
                assert any(form in said for form in (noun, *singulars)), (prompt.text, one)
            if one.kind == "count" and one.answer not in ("Yes", "No"):
                assert re.search(rf"\b{one.answer.lower()}\b", said) or (one.answer == "One" and re.search(
                    r"\ban?\b", said)), (prompt.text, one)
            if one.kind == "relation":
                assert re.sub(r" (?:it|them)$", "", one.answer.lower()) in said, (prompt.text, one)
    assert min(asked["class"], asked["count"], asked["relation"]) > 100


def test_a_text_drawn_instead_of_a_longer_one_takes_its_own_captions_and_scene():
    settings = CheckSettings(max_tokens=9, keep_class=False, view=False)
    for profile in ("ucm", "open"):
        inner = load_expander("grammar", profile=profile)
        expander = CheckedExpander(inner, settings, lambda text: len(text.split()))
        for label in inner.classes[::3]:
            for prompt in expander.expand(label, 5, 0, 20):
                assert len(prompt.text.split()) <= 9
                assert not (more := beyond(prompt.text, prompt.captions, prompt.scene, label, profile)), more


def test_a_file_of_prompts_is_held_to_its_texts(tmp_path, caplog):
    rows = [{"text": one.text, "label": one.label, "captions": one.choices, "scene": json.loads(one.whole),
             "source": "grammar"} for one in prompts("open", 1000)]  # as earlier versions wrote them
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with caplog.at_level(logging.WARNING, "terrasynth"):
        expander = load_expander("file", path=tmp_path / "p.jsonl")
    assert re.search(r"p\.jsonl: \d+ of 1\d\d\d prompts have captions that say more than their text", caplog.text)
    for label in expander.classes:
        for prompt in expander.expand(label, 0, 0, 16):
            assert not (more := beyond(prompt.text, prompt.captions, prompt.scene, label, "open")), more


def test_recombined_captions_say_what_their_text_says(tmp_path):
    captions = ["There are two white airplanes with some cars beside them and a few trees.",
                "Three airplanes with some luggage cars around them with grass.",
                "Many small airplanes are stopped on the dark ground with cars and trucks and a building.",
                "An airplane with a red car beside it while some trees are near the runway."]
    (tmp_path / "airplane.txt").write_text("\n".join(captions))
    expander, several = load_expander("captions", path=tmp_path), 0
    for prompt in expander.expand("airplane", 0, 0, PROMPTS):
        assert not (more := beyond(prompt.text, prompt.captions, prompt.scene, "airplane")), more
        several += len(prompt.captions) > 1
    assert several > PROMPTS / 2


@pytest.mark.parametrize(("text", "caption", "holds"), [
    ("Two boats beside a harbor.", "A harbor with two boats beside it.", True),
    ("Two boats beside a harbor.", "Beside a harbor are two boats.", True),
    ("Two boats beside a harbor.", "Two boats.", True),
    ("Two boats beside a harbor.", "A harbor beside two boats.", False),
    ("Two boats beside a harbor.", "Three boats beside a harbor.", False),
    ("Two boats beside a harbor.", "Boats in a harbor.", False),
    ("Two boats beside a harbor.", "Two white boats beside a harbor.", False),
    ("Two white boats and a grey pier.", "Two grey boats and a white pier.", False),
    ("A harbor without boats.", "A harbor with boats.", False),
    ("A harbor and no boats or piers.", "A harbor and piers.", False),
    ("A harbor with no boats.", "A harbor with no boats, seen from above.", True),
    ("A satellite image of a harbor.", "An aerial image of a harbor.", False),
    ("A satellite image of a harbor at 2 m a pixel.", "A satellite image of a harbor at 3 m a pixel.", False),
    ("A harbor in winter.", "A harbor in summer.", False),
    ("A harbor with a zeppelin.", "A harbor, with a zeppelin, seen from above.", True),
    ("A harbor.", "A harbor with a zeppelin.", False),
    ("The roofs are grey.", "Grey roofs.", True),
    ("A harbor free of boats.", "A harbor with boats.", False),
    ("Neither boats nor piers.", "Boats.", False),
    ("Neither boats nor piers.", "Piers.", False),
    ("Cars but no trucks or buses on a road.", "Buses.", False),
    ("A river or a road.", "A road.", False),
    ("Perhaps a river.", "A river.", False),
    ("Hardly any boats.", "Boats.", False),
    ("Grey ground and white roofs.", "White ground.", False),
])
def test_what_follows_from_a_text(text, caption, holds):
    assert (caption in cut(text, "harbor", (text, caption), UNKNOWN)[0]) is holds


BOATS = Scene("harbor", (SceneObject("main", "harbor", "a", 1), SceneObject("boat", "boat", "two", 2, ("white",),
              "docked neatly"), SceneObject("pier", "pier", "a", 1)),
              (Relation("boat", "in", "main"), Relation("pier", "next to", "main")), "in winter", gsd=0.5)


@pytest.mark.parametrize(("text", "objects", "relations", "rest"), [
    ("A harbor.", [("harbor", 1, (), "")], [], ("", None)),
    ("White boats in a harbor.", [("harbor", 1, (), ""), ("boat", None, ("white",), "")], [("boat", "in")], ("", None)),
    ("A harbor with two white boats docked neatly in winter.",
     [("harbor", 1, (), ""), ("boat", 2, ("white",), "docked neatly")], [], ("in winter", None)),
    ("A pier next to a harbor at 0.5 m a pixel.", [("harbor", 1, (), ""), ("pier", 1, (), "")], [("pier", "next to")],
     ("", 0.5)),
    ("Three white boats.", [("boat", None, ("white",), "")], [], ("", None)),
])
def test_a_scene_is_cut_down_to_its_text(text, objects, relations, rest):
    captions, scene = cut(text, "harbor", (text,), BOATS.to_json())
    found = Scene.from_json(scene)
    assert [(one.noun, one.number, one.attributes, one.state) for one in found.objects] == objects
    assert [(one.subject, one.predicate) for one in found.relations] == relations
    assert (found.season, found.gsd) == rest
    assert cut(text, "harbor", captions, scene) == (captions, scene)


@pytest.mark.parametrize(("scene", "kept"), [
    ("{}", "{}"), ('{"objects":[{"noun":"boat"}]}', '{"objects":[{"noun":"boat"}]}'), ('{"city":"Rome"}', "{}"),
    ('{"boats":2}', '{"boats":2}'), ('{"boats":3}', "{}"), ("[]", "[]"), ("no json", "{}"), ("[" * 100_000, "{}"),
    ('{"label":1,"objects":5,"relations":[]}', "{}"),
])
def test_a_scene_of_another_shape_stays_where_the_text_has_its_words(scene, kept):
    assert cut("A harbor with 2 boats.", "harbor", (), scene)[1] == kept


def test_a_plug_in_is_held_to_its_texts_too():
    inner = Prompt("Two boats.", "harbor", ("Two boats.", "Two boats and a pier.", "Boats."), "mine", BOATS.to_json())
    assert held(inner).captions == ("Two boats.", "Boats.")
    assert [one["noun"] for one in json.loads(held(inner).scene)["objects"]] == ["boat"]
    alone = Prompt("Two boats.", "harbor", ("Two boats.",), "mine")
    assert held(alone) is alone
    assert held(held(inner)) == held(inner)


def test_what_is_read_again_stays():
    for prompt in prompts("open", 300):
        assert cut(prompt.text, prompt.label, prompt.captions, prompt.scene) == (prompt.captions, prompt.scene)
        other = redrawn(prompt, prompt.choices[-1])
        assert redrawn(other, prompt.text).text == prompt.text
        assert other.captions[0] == other.text == prompt.choices[-1]
