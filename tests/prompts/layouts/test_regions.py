"""Expressions that single out one thing, and questions, where it is close."""

from terrasynth.prompts.layouts.labels import labels_of
from terrasynth.prompts.layouts.layout import Layout, Thing
from terrasynth.prompts.layouts.questions import questions, what_is_not_there
from terrasynth.prompts.layouts.regions import expressions, region_captions
from terrasynth.prompts.scenes.draws import Draws


def car(x, y, color="white", length=4.0):
    return Thing("car", x, y, 0.0, length, 2.0, color)


def texts(*things, most=50, **options):
    labels = labels_of(Layout("parkinglot", 64.0, 0.25, "parking", things=things, **options))
    return [(one.text, one.number) for one in expressions(labels, Draws("x"), most)]


def test_superlatives_ask_for_a_margin():
    near = texts(car(20.0, 10.0), car(20.25, 40.0))  # one pixel apart
    assert ("the leftmost car", 1) not in near
    assert ("the topmost car", 1) in near
    assert ("the leftmost car", 1) in texts(car(20.0, 10.0), car(20.5, 40.0))
    assert not [text for text, _ in texts(car(9, 9), car(9, 30, length=4.5)) if "largest" in text]
    assert ("the largest car", 2) in texts(car(9, 9), car(9, 30, length=5.0))


def test_a_thing_near_the_middle_lies_in_no_half():
    found = texts(car(10, 10), car(33, 12))
    assert not [text for text, _ in found if "in the left" in text or "in the upper left" in text]
    assert ("the car in the upper left", 1) in texts(car(10, 10), car(50, 12))


def test_colors_single_out():
    found = texts(car(10, 10, "red"), car(30, 10), car(50, 10))
    assert ("the red car", 1) in found
    assert not [text for text, _ in found if text == "the white car"]
    assert not [text for text, _ in texts(car(10, 10, "red"), car(30, 10, "")) if "red" in text]


def test_relations_to_the_only_one_of_its_kind():
    house = Thing("house", 32, 50, 0, 8, 8)
    found = texts(car(10, 10), car(32, 42), house)
    assert ("the car next to the house", 2) in found
    assert ("the house", 3) in found


def test_no_expression_where_something_of_the_kind_has_no_label():
    assert texts(car(10, 10), car(30, 30, length=0.25)) == []


def test_region_captions():
    labels = labels_of(Layout("parkinglot", 64.0, 0.25, "parking", things=(car(10, 10, "red"), car(32, 32, ""))))
    assert region_captions(labels) == ("a red car on a parking lot in the upper left",
                                       "a car on a parking lot in the middle")


def test_nothing_is_denied_that_may_be_there():
    tiny = Layout("parkinglot", 64.0, 1.0, "parking", things=(car(10, 10),), kinds=("car", "bus"))
    assert what_is_not_there(labels_of(tiny)) == ("buses",)
    asked = {one.text for number in range(20) for one in questions(labels_of(tiny), Draws(number))}
    assert asked == {"How many buses are there?"}


def test_presence_is_asked_where_both_answers_can_be_had():
    layout = Layout("parkinglot", 64.0, 0.25, "parking", things=(car(10, 10),), kinds=("car", "bus"))
    asked = {(one.text, one.answer) for number in range(40) for one in questions(labels_of(layout), Draws(number))}
    assert asked == {("How many cars are there?", "1"), ("How many buses are there?", "0"),
                     ("Are there any cars?", "yes"), ("Are there any buses?", "no")}
