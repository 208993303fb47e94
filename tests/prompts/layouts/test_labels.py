"""Masks and boxes of layouts that are small enough to know by heart."""

import numpy as np

from terrasynth.prompts.layouts.catalog import SIX, load_catalog
from terrasynth.prompts.layouts.drawing import CLASSES, draw_layout
from terrasynth.prompts.layouts.labels import Labels, labels_of
from terrasynth.prompts.layouts.layout import Layout, Patch, Thing, Way


def box(kind, left, top, right, bottom, color=""):
    return Thing(kind, (left + right) / 2, (top + bottom) / 2, 0.0, bottom - top, right - left, color)


def test_boxes_are_the_pixels():
    labels = Labels(Layout("residential", 20.0, 0.5, "grass", things=(box("house", 3, 4, 8, 6),)))
    (house,) = labels.instances
    assert house.box == (6, 8, 16, 12)
    assert house.pixels == 40 == (labels.mask == 1).sum()
    assert house.corners == ((6.0, 8.0), (16.0, 8.0), (16.0, 12.0), (6.0, 12.0))
    assert (labels.semantic[8:12, 6:16] == load_catalog().value("house")).all()
    assert (labels.cover == load_catalog().value("grass")).all()


def test_what_is_too_small_has_no_label_and_is_not_counted():
    things = (box("car", 1, 1, 3, 3), box("car", 10, 10, 12, 12.5), box("tree", 5, 5, 9, 9))
    labels = Labels(Layout("parkinglot", 20.0, 0.5, "parking", things=things, min_pixels=17))
    assert [one.kind for one in labels.instances] == ["car", "tree"]
    assert labels.too_small == [0]
    assert labels.counts == {"tree": 1}  # of cars, one is there without a label
    assert (labels.semantic[2:6, 2:6] == load_catalog().value("parking")).all()


def test_what_lies_on_top_is_seen():
    things = (box("building", 0, 0, 10, 10), box("car", 4, 4, 6, 9))
    labels = Labels(Layout("commercial", 10.0, 1.0, "land", things=things, min_pixels=1))
    assert [one.pixels for one in labels.instances] == [90, 10]
    assert labels.mask[5, 5] == 2


def test_a_thing_at_the_edge_has_the_box_that_is_seen_and_the_corners_that_it_has():
    labels = Labels(Layout("residential", 10.0, 1.0, "grass", things=(box("house", -4, 2, 6, 8),)))
    assert labels.instances[0].box == (0, 2, 6, 8)
    assert labels.instances[0].corners[0] == (-4.0, 2.0)


def test_houses_beside_buildings_are_counted_as_buildings_alone():
    things = (box("house", 0, 0, 4, 4), box("building", 5, 5, 9, 9))
    labels = Labels(Layout("commercial", 10.0, 1.0, "land", things=things))
    assert labels.counts == {"building": 2}
    assert Labels(Layout("commercial", 10.0, 1.0, "land", things=things[:1])).counts == {"house": 1}


def test_painting_order():
    """Patches, ways by their level, and what lies over ways."""
    ways = (Way("street", ((0.0, 5.0), (10.0, 5.0)), 2.0, 2), Way("river", ((5.0, 0.0), (5.0, 10.0)), 4.0))
    square = ((4.0, 4.0), (6.0, 4.0), (6.0, 6.0), (4.0, 6.0))
    value = load_catalog().value
    dry = Labels(Layout("bridge", 10.0, 1.0, "grass", (Patch("sand", square),), ways)).cover
    assert dry[5, 5] == value("road")
    assert dry[2, 5] == value("water")
    wet = Labels(Layout("bridge", 10.0, 1.0, "grass", (Patch("sand", square, over=True),), ways)).cover
    assert wet[5, 5] == value("sand")


def test_six_classes_as_a_map_has_them():
    """Houses are buildings; cars, airplanes, trees and pools leave what is below, as maps do."""
    names = ("car", "airplane", "tree", "house", "pool")
    things = tuple(box(kind, 0, 10 * place, 8, 10 * place + 8) for place, kind in enumerate(names))
    layout = Layout("residential", 60.0, 1.0, "land", (), (Way("street", ((0.0, 5.0), (60.0, 5.0)), 10.0),), things)
    six = Labels(layout).six()
    assert [SIX[six[10 * place + 4, 4]] for place in range(5)] == ["road", "land", "land", "building", "land"]


def test_six_classes_are_all_drawn():
    found = set()
    for label in ("freeway", "buildings", "harbor", "park"):
        found |= set(np.unique(labels_of(draw_layout(label, seed=0, k=0)).six()).tolist())
    assert found == set(range(6))


def test_shares_of_the_image():
    layout = Layout("beach", 8.0, 1.0, "water", (Patch("sand", ((0.0, 0.0), (8.0, 0.0), (8.0, 2.0), (0.0, 2.0))),))
    assert Labels(layout).covers() == {"sand": 0.25, "water": 0.75}
    assert len(CLASSES) == 38
