"""Scenes, templates, ontology and draws, each for itself."""

from collections import Counter

import pytest
from pydantic import ValidationError

from prompts.draws import Choice, Draws
from prompts.ontology import UCM, Ontology
from prompts.scene import Relation, Scene, SceneObject
from prompts.sentences import Template, say

SCENE = Scene(
    "airplane",
    (SceneObject("plane", "airplane", "two", 2, ("small", "white"), "stopped"), SceneObject("place", "grass", "the")),
    (Relation("place", "around", "plane"),),
)


def render(template: str, scene: Scene = SCENE) -> str:
    return Template(template, {"plane", "place", "car"}).render(say(scene, UCM))


@pytest.mark.parametrize(("template", "text"), [
    ("{plane} {plane.state}", "Two small white airplanes stopped."),
    ("there {plane:is/are} {plane.bare}", "There are small white airplanes."),
    ("{place} {place:is/are} {place.at} {plane:it/them}", "The grass is around them."),
    ("{plane.noun}[ with {car}][ on {place}]", "Airplanes on the grass."),
    ("{plane.attributes}  {place.state} {place.noun}", "Small white grass."),
    ("{plane:stands alone/stand together}", "Stand together."),
])
def test_templates_say_the_scene(template, text):
    assert render(template) == text


def test_a_single_thing_takes_article_and_verb():
    one = Scene("overpass", (SceneObject("plane", "overpass", "a", 1, ("old",)),))
    assert render("there {plane:is/are} {plane}", one) == "There is an old overpass."


@pytest.mark.parametrize(
    "template", ["{boat}", "{plane.colour}", "[{plane}", "{plane", "a {plane:is} b", "[a [{plane}] b]"]
)
def test_a_wrong_template_is_refused(template):
    with pytest.raises(ValueError, match="template"):
        Template(template, {"plane"})


def test_needs_are_what_stands_outside_brackets():
    assert Template("{plane}[ and {car}]", {"plane", "car"}).needs == {"plane"}


def test_a_scene_survives_json():
    assert Scene.from_json(SCENE.to_json()) == SCENE
    with pytest.raises(TypeError):
        Scene.from_json('{"label":"a","objects":[{"attributes":[],"wheels":2}],"relations":[]}')


def ontology(noun: str, count: str, **more: object) -> Ontology:
    spec = {"name": "x", "synonyms": ["x"], "objects": {"main": {"noun": noun, "count": {count: 1}}}, **more}
    return Ontology.model_validate({"vocabulary": "x", "countable": {"tree": "trees"}, "plural_only": ["waves"],
                                    "mass": ["sand"], "classes": {"x": spec}})


def test_nouns_and_counts_must_agree():
    assert ontology("tree", "two").form("tree", "two") == ("trees", True)
    assert ontology("tree", "a").form("tree", "a") == ("tree", False)
    assert ontology("sand", "some").form("sand", "some") == ("sand", False)
    with pytest.raises(ValidationError, match="mass noun 'sand' cannot be counted with 'two'"):
        ontology("sand", "two")
    with pytest.raises(ValidationError, match="'waves' has no singular"):
        ontology("waves", "a")
    with pytest.raises(ValidationError, match="'boat' is neither"):
        ontology("boat", "a")
    with pytest.raises(ValidationError, match="which are no classes"):
        ontology("tree", "a", mentions=["y"])
    with pytest.raises(ValidationError, match="wheels"):
        ontology("tree", "a", wheels=2)


def test_draws_follow_the_weights_and_the_key():
    choice = Choice(("a", "b"), (3, 1))
    counts = Counter(choice.draw(Draws("key", k)) for k in range(4000))
    assert abs(counts["a"] / 4000 - 0.75) < 0.03
    draws, again = Draws(1, "2"), Draws(1, "2")
    assert [draws.below(1000) for _ in range(100)] == [again.below(1000) for _ in range(100)]
    assert Draws("a", "bc").below(2**32) != Draws("ab", "c").below(2**32)
    assert sorted(Draws("order").shuffled(range(20))) == list(range(20))
    assert abs(sum(Draws(k).chance(0.2) for k in range(4000)) / 4000 - 0.2) < 0.03
    with pytest.raises(ValueError, match="weight"):
        Choice(("a",), (0,))
