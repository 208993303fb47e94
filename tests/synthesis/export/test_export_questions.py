"""Questions and answers say what the scene says, and no more."""

from collections import Counter

import pytest

from terrasynth.prompts import load_expander
from terrasynth.prompts.scenes.scene import Relation, Scene, SceneObject
from terrasynth.synthesis.export.questions import BRIEFLY, NO, YES, questions

SCENE = Scene(
    "storagetanks",
    (
        SceneObject("tank", "storage tank", "three", 3, ("big",)),
        SceneObject("extra", "building", "some"),
        SceneObject("none", "car", "no", 0),
        SceneObject("ground", "ground", "the", None, ("grey",), "", True),
    ),
    (Relation("extra", "beside", "tank"), Relation("none", "around", "tank")),
)


TEXT = "Three big storage tanks with some buildings beside them on the grey ground and no cars."


def asked(scene=SCENE, key="k", text=TEXT):
    return questions(key, scene.label, scene.to_json(), text)


def all_asked(scene=SCENE, **settings):
    """Whatever is asked about a scene under some key."""
    return {(one.kind, one.text, one.answer) for key in range(60) for one in asked(scene, str(key), **settings)}


def test_the_scene_answers():
    found = {(kind, text.partition("?")[0], answer) for kind, text, answer in all_asked()}
    assert ("class", "What kind of scene does the image show", "Storage tanks") in found
    assert ("count", "How many storage tanks are in the image", "Three") in found
    assert ("relation", "Where are the buildings with respect to the storage tanks", "Beside") in found
    assert {text for kind, text, _ in found if kind == "presence"} == {
        "Are there any storage tanks in the image", "Are there any buildings in the image",
        "Is there any ground in the image",
    }
    assert ("absence", "Are there any cars in the image", NO) in found
    assert sum(kind == "relation" for kind, _, _ in found) == 1  # none of what is not there
    assert {(text, answer) for kind, text, answer in all_asked() if kind == "count"} == {  # none of what has no number
        (f"How many storage tanks are in the image? {BRIEFLY}", "Three"),
        *((f"Are there {number} storage tanks in the image? Answer yes or no.", answer)
          for number, answer in (("three", YES), ("two", NO), ("four", NO), ("five", NO))),
    }


@pytest.mark.parametrize("profile", ["ucm", "open"])
def test_yes_and_no_are_as_many_in_every_row(profile):
    expander = load_expander("grammar", profile=profile)
    kinds = Counter()
    for label in expander.classes[::3]:
        for k, prompt in enumerate(expander.expand(label, 0, 0, 4)):
            found = questions(f"{label}{k}", label, prompt.scene, prompt.text)
            answers = Counter(one.answer for one in found)
            assert answers[YES] == answers[NO] >= 1
            kinds.update(one.kind for one in found)
    assert {"class", "count", "relation"} <= set(kinds) <= {"class", "presence", "absence", "count", "relation"}
    assert kinds["presence"] == kinds["absence"]


@pytest.mark.parametrize("profile", ["ucm", "open"])
def test_nothing_is_said_to_be_absent_that_the_text_does_not_speak_of(profile):
    expander = load_expander("grammar", profile=profile)
    for label in expander.classes[::3]:
        for k, prompt in enumerate(expander.expand(label, 0, 0, 6)):
            for one in questions(f"{label}{k}", label, prompt.scene, prompt.text):
                if one.kind in ("absence", "presence"):
                    noun = one.text.partition(" any ")[2].partition(" in the image")[0]
                    assert noun in prompt.text.lower()
                    assert (f"no {noun}" in prompt.text.lower()) == (one.kind == "absence")


def test_the_class_is_asked_for_only_where_the_text_names_it():
    assert questions("k", "harbor", "{}", "Some boats on blue water.") == []
    assert {one.kind for one in questions("k", "harbor", "{}", "Some boats in a harbor.")} == {"class"}
    wrong = {text for key in range(200) for _, text, answer in
             ((one.kind, one.text, one.answer) for one in questions(str(key), "harbor", "{}", "A harbor by a beach."))
             if answer == NO}
    assert wrong
    assert not any("beach" in text for text in wrong)


def test_the_same_row_gives_the_same_questions_and_another_one_others():
    assert asked() == asked()
    assert len({tuple(asked(key=str(key))) for key in range(20)}) > 10


def test_the_order_does_not_give_the_answer_away():
    first = Counter(
        next(one.answer for one in asked(key=str(key)) if one.answer in (YES, NO)) for key in range(200)
    )
    assert 60 <= first[YES] <= 140


def test_an_article_counts_only_where_the_text_speaks_of_no_more():
    scene = Scene("overpass", (SceneObject("overpass", "overpass", "an", 1), SceneObject("road", "road", "a", 1)))
    roads = {(kind, text) for kind, text, _ in all_asked(scene, text="A road.") if "How many roads" in text}
    assert len(roads) == 1
    assert not any("How many roads" in text for _, text, _ in all_asked(scene, text="Two roads cross."))


def test_two_kinds_of_one_noun_are_not_counted():
    scene = Scene("river", (SceneObject("a", "road", "two", 2), SceneObject("b", "road", "three", 3)))
    assert not any(kind == "count" for kind, _, _ in all_asked(scene))


def test_a_relation_that_needs_an_object_gets_one():
    scene = Scene("airport", (SceneObject("main", "airport", "a", 1), SceneObject("x", "concourse", "a", 1)),
                  (Relation("x", "at one side of", "main"),))
    assert ("relation", "At one side of it") in {(kind, answer) for kind, _, answer in all_asked(scene)}


@pytest.mark.parametrize("scene", ["{}", '{"mine": 1}', "[]", "no json"])
def test_without_a_scene_only_the_class_is_asked(scene):
    found = questions("k", "beach", scene, "A beach.")
    assert {one.kind for one in found} == {"class"}
    assert Counter(one.answer for one in found) == {"Beach": 1, YES: 1, NO: 1}


def test_a_class_that_no_ontology_knows():
    assert [(one.kind, one.answer) for one in questions("k", "sand_mine", "{}", "A sand mine.")] == [
        ("class", "Sand mine")
    ]
