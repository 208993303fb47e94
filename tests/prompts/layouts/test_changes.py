"""Pairs that cannot contradict themselves, on scenes that are known by heart."""

import numpy as np
import pytest

from terrasynth.prompts.errors import InputError
from terrasynth.prompts.layouts.catalog import load_catalog
from terrasynth.prompts.layouts.changes import DOINGS, Edit, change, draw_edit
from terrasynth.prompts.layouts.drawing import draw_layout
from terrasynth.prompts.layouts.labels import labels_of
from terrasynth.prompts.layouts.layout import Layout, Thing, Way
from terrasynth.prompts.scenes.draws import Draws

HOUSES = (Thing("house", 10, 10, 90, 8, 6, "red"), Thing("house", 30, 10, 90, 8, 6, "red"))
SCENE = Layout("residential", 40.0, 0.5, "grass", (), (Way("street", ((0.0, 30.0), (40.0, 30.0)), 6.0),),
               (*HOUSES, Thing("tree", 20, 20, 0, 5, 5, "green")))


def test_destroyed():
    pair = change(SCENE, Edit("destroyed", things=(1,)))
    assert pair.captions[0] == "One house was destroyed in the upper right."
    assert (pair.mask == (labels_of(SCENE).mask == 2)).all()
    assert pair.after.things == (HOUSES[0], SCENE.things[2])
    assert set(np.unique(labels_of(pair.after).cover[pair.mask])) == {load_catalog().value("rubble")}
    assert pair.changed


def test_cut():
    pair = change(SCENE, Edit("cut", things=(2,)))
    assert pair.captions[0] == "One tree was cut down."
    assert labels_of(pair.after).counts == {"house": 2}


def test_built():
    new = Thing("house", 10, 22, 90, 8, 6, "grey")
    pair = change(SCENE, Edit("built", added=(new,)))
    assert pair.captions[:3] == (
        "One house was built in the lower left.", "One house in the lower left has been built.",
        "One new house stands there in the lower left.")
    assert int(pair.mask.sum()) == 16 * 12


def test_flooded():
    area = ((-1.0, -1.0), (20.0, -1.0), (20.0, 41.0), (-1.0, 41.0))
    pair = change(SCENE, Edit("flooded", area=area))
    assert pair.captions[0] == "Water has flooded a part of the ground, and one house stands in it."
    assert labels_of(pair.after).counts == labels_of(SCENE).counts
    assert not pair.mask[:, 40:].any()
    assert pair.mask[60, 10]  # the street, too


def test_season_and_light_are_no_change():
    pair = change(SCENE, Edit("season", season="in autumn", light="under a low sun"))
    assert not pair.changed
    assert not pair.mask.any()
    assert pair.captions[-1] == "The scene is as it was before, but for the season and light."
    assert (pair.after.season, pair.after.light) == ("in autumn", "under a low sun")


def test_one_thing_in_place_of_its_like_is_a_change():
    """Where a house is taken away and another stands, the classes agree and the things do not."""
    before = Layout("residential", 20.0, 1.0, "grass", things=(Thing("house", 10, 10, 0, 8, 8),))
    pair = change(before, Edit("built", added=(Thing("house", 14, 10, 0, 8, 8),)))
    assert pair.mask.sum() == 64


@pytest.mark.parametrize(("edit", "said"), [
    (Edit("destroyed", things=(2,)), r"needs its own part .* no \['tree'\]"),
    (Edit("cut", things=(0,)), r"needs its own part .* no \['house'\]"),
    (Edit("destroyed", things=(9,)), r"names things \(9,\) of a layout that has 3"),
    (Edit("built"), "needs its own part"),
    (Edit("flooded", area=((50.0, 50.0), (60.0, 50.0), (60.0, 60.0))), "changes 0 labeled pixels"),
])
def test_an_edit_that_does_nothing_is_refused(edit, said):
    with pytest.raises(InputError, match=said):
        change(SCENE, edit)


@pytest.mark.parametrize("doing", DOINGS)
def test_drawn_edits_are_a_function_of_their_draws(doing):
    layout = draw_layout("mediumresidential", seed=0, k=2)
    edit = draw_edit(layout, doing, Draws("a", 1))
    assert edit == draw_edit(layout, doing, Draws("a", 1))
    assert edit is not None
    assert len(set(change(layout, edit).captions)) == 5


def test_where_nothing_can_be_done_there_is_no_edit():
    sea = Layout("ship", 40.0, 1.0, "water")
    assert [draw_edit(sea, doing, Draws("x")) for doing in ("built", "destroyed", "flooded", "cut")] == [None] * 4
