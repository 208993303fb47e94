"""Scenes, templates, ontology and draws, each for itself."""

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from terrasynth.prompts.scenes.drawer import blank
from terrasynth.prompts.scenes.draws import Choice, Draws, below, random_words
from terrasynth.prompts.scenes.ontology import UCM, Ontology
from terrasynth.prompts.scenes.scene import Relation, Scene, SceneObject
from terrasynth.prompts.scenes.sentences import Layout, Template, with_article

SCENE = Scene(
    "airplane",
    (SceneObject("plane", "airplane", "two", 2, ("small", "white"), "stopped"), SceneObject("place", "grass", "the")),
    (Relation("place", "around", "plane"),),
)
SLOTS, ROLES = ("plane", "place", "car"), {"season": "in winter"}


def layout(*templates: str) -> Layout:
    return Layout(SLOTS, tuple(ROLES), templates)


def render(template: str, scene: Scene = SCENE, season: str = "") -> str:
    own = layout(template)
    things = {thing.role: thing for thing in scene.objects}
    predicates = {relation.subject: relation.predicate for relation in scene.relations}
    words, present = (), own.bit("season") if season else 0
    for slot in SLOTS:
        if slot in things:
            thing = things[slot]
            present |= own.bit(slot)
            words += own.words(thing.count, " ".join(thing.attributes), *UCM.form(thing.noun, thing.count))
            words += (blank(thing.state), blank(predicates.get(slot, "")))
        else:
            words += own.absent[0] + own.absent[1]
    return Template(template, own).render(present, (*words, blank(season)))


@pytest.mark.parametrize(("template", "text"), [
    ("{plane} {plane.state}", "Two small white airplanes stopped."),
    ("there {plane:is/are} {plane.bare}", "There are small white airplanes."),
    ("{place} {place:is/are} {place.at} {plane:it/them}", "The grass is around them."),
    ("{plane.noun}[ with {car}][ on {place}]", "Airplanes on the grass."),
    ("{plane.attributes}  {place.state} {place.noun}", "Small white grass."),
    ("{plane:stands alone/stand together}", "Stand together."),
    ("{plane:/both} stand", "Both stand."),
    ("{plane.noun} {place.state}, that is all", "Airplanes, that is all."),
    ("{plane} and {place} {place.state}", "Two small white airplanes and the grass."),
    ("{place.at} {plane:it/them} lies {place}", "Around them lies the grass."),
    ("[with {car}, ]{plane} can be seen", "Two small white airplanes can be seen."),
    ("{plane.state}{place.at} {plane.noun}", "Stopped around airplanes."),
    ("100% {place.noun}[ with {car}]", "100% grass."),
    ("nothing at all", "Nothing at all."),
])
def test_templates_say_the_scene(template, text):
    assert render(template) == text


def test_conditions_are_said_where_they_hold():
    assert render("{place.noun}[ {season}][, {season}]", season="in winter") == "Grass in winter, in winter."
    assert render("{place.noun}[ {season}]") == "Grass."


def test_a_single_thing_takes_article_and_verb():
    one = Scene("overpass", (SceneObject("plane", "overpass", "a", 1, ("old",)),))
    assert render("there {plane:is/are} {plane}", one) == "There is an old overpass."


@pytest.mark.parametrize(("phrase", "said"), [
    ("airport", "an airport"), ("harbor", "a harbor"), ("one-way road", "a one-way road"),
    ("unit", "a unit"), ("urban park", "an urban park"), ("used car lot", "a used car lot"),
])
def test_articles_follow_the_sound(phrase, said):
    assert with_article(phrase) == said


@pytest.mark.parametrize(
    "template",
    ["{boat}", "{plane.colour}", "[{plane}", "{plane", "a {plane:is} b", "[a [{plane}] b]", "{season.bare}",
     "{season:is/are}"]
)
def test_a_wrong_template_is_refused(template):
    with pytest.raises(ValueError, match="template"):
        Template(template, layout(template))


def test_needs_are_what_stands_outside_brackets():
    own = layout()
    assert Template("{plane}[ and {car}]", own).needs == own.bit("plane")


def test_a_scene_survives_json():
    whole = replace(SCENE, season="in spring", light="at noon", place="near a city", sensor="satellite image", gsd=0.5)
    assert Scene.from_json(SCENE.to_json()) == SCENE
    assert Scene.from_json(whole.to_json()) == whole
    assert Scene.from_json('{"label":"a","objects":[],"relations":[]}') == Scene("a", ())  # as older runs have it
    with pytest.raises(TypeError):
        Scene.from_json('{"label":"a","objects":[{"attributes":[],"wheels":2}],"relations":[]}')


@pytest.mark.parametrize(("field", "value"), [
    ("label", 1.5), ("season", ["dry"]), ("gsd", "0.3"), ("gsd", True), ("objects.role", None), ("objects.noun", ["a"]),
    ("objects.count", 2), ("objects.number", 2.5), ("objects.attributes", [1]), ("objects.surroundings", "no"),
    ("objects.state", {}), ("relations.predicate", 3),
])
def test_a_scene_with_a_field_of_another_type_is_none(field, value):
    tree = {"label": "a", "objects": [{"role": "tree", "noun": "tree", "attributes": []}],
            "relations": [{"subject": "tree", "predicate": "beside", "object": "tree"}]}
    assert Scene.from_json(json.dumps(tree)).objects[0].noun == "tree"
    place, _, name = field.rpartition(".")
    (tree[place][0] if place else tree)[name] = value
    with pytest.raises(TypeError):
        Scene.from_json(json.dumps(tree))


def ontology(noun: str, count: str, **more: object) -> Ontology:
    spec = {"name": "x", "synonyms": ["x"], "objects": {"main": {"noun": noun, "count": {count: 1}}}, **more}
    return Ontology.model_validate({"vocabulary": "x", "countable": {"tree": "trees"}, "plural_only": ["waves"],
                                    "mass": ["sand"], "classes": {"x": spec}})


def test_nouns_and_counts_must_agree():
    assert ontology("tree", "two").form("tree", "two") == ("trees", True)
    assert ontology("tree", "a").form("tree", "a") == ("tree", False)
    assert ontology("tree", "the").form("tree", "the") == ("tree", False)
    assert ontology("tree", "a row of").form("tree", "a row of") == ("trees", False)
    assert ontology("tree", "a lot of").form("tree", "a lot of") == ("trees", True)
    assert ontology("tree", "rows of").form("tree", "rows of") == ("trees", True)
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


def test_draws_follow_the_key():
    draws, again = Draws(1, "2"), Draws(1, "2")
    assert [draws.below(1000) for _ in range(100)] == [again.below(1000) for _ in range(100)]
    assert Draws("a", "bc").below(2**32) != Draws("ab", "c").below(2**32)
    assert sorted(Draws("order").shuffled(range(20))) == list(range(20))
    assert abs(sum(Draws(k).chance(0.2) for k in range(4000)) / 4000 - 0.2) < 0.03


def test_choices_follow_the_weights():
    choice = Choice(("a", "b", "c"), (3, 1, 4))
    counts = np.bincount(choice.indices(random_words(("key",), 0, 8000, 1)[:, 0]))
    assert counts / 8000 == pytest.approx([3 / 8, 1 / 8, 4 / 8], abs=0.03)
    edges = np.array([0, 2**32 * 3 // 8 - 1, 2**32 * 3 // 8, 2**31 - 1, 2**31, 2**32 - 1], np.uint64)
    assert choice.indices(edges).tolist() == [0, 0, 1, 1, 2, 2]
    assert below(edges, 2).tolist() == [0, 0, 0, 0, 1, 1]
    with pytest.raises(ValueError, match="weight"):
        Choice(("a",), (0,))


@pytest.mark.parametrize("width", [1, 8, 13])
def test_random_words_of_an_attempt_do_not_depend_on_where_the_call_starts(width):
    whole = random_words(("a", 1), 10**12, 9, width)
    assert whole.shape == (9, width)
    assert whole.max() < 2**32
    for start in range(9):
        assert np.array_equal(random_words(("a", 1), 10**12 + start, 9 - start, width), whole[start:])
    assert random_words(("a", 1), 0, 0, width).shape == (0, width)
    assert not np.array_equal(random_words(("a", 2), 10**12, 9, width), whole)
    assert len(np.unique(random_words(("a", 1), 0, 100, width))) == 100 * width


def test_random_words_are_those_of_philox():
    """Words of numpy's generator for the same key and counter, asked for in another way."""
    key = int.from_bytes(hashlib.blake2b(b"a\x1fb", digest_size=16).digest(), "little")
    philox = np.random.Generator(np.random.Philox(key=key, counter=3))
    theirs = philox.integers(0, 2**64, 4, np.uint64, endpoint=False)
    ours = random_words(("a", "b"), 3, 1, 8)[0]
    assert [int(word) % 2**32 for word in theirs] == ours[::2].tolist()
    assert [int(word) >> 32 for word in theirs] == ours[1::2].tolist()
