"""Rules that are honest about the ground: streets first, buildings along them, cars on roads and lots."""

import numpy as np
import pytest

from terrasynth.prompts.errors import InputError
from terrasynth.prompts.layouts.catalog import load_catalog
from terrasynth.prompts.layouts.drawing import CLASSES, draw_layout
from terrasynth.prompts.layouts.geometry import corners, distance_to_line, fill
from terrasynth.prompts.layouts.labels import Labels, labels_of
from terrasynth.prompts.layouts.layout import Layout
from terrasynth.prompts.layouts.rules.classes import FAMILIES
from terrasynth.prompts.scenes.ontology import load_ontology

CATALOG = load_catalog()
DRIVEN = ("road", "motorway", "parking", "path", "gravel")
each_class = pytest.mark.parametrize("label", CLASSES)


def shares(layout, thing):
    """The covers under a thing."""
    labels = labels_of(layout)
    window = fill(thing.shape / layout.gsd, *labels.cover.shape)
    below = labels.cover[window.rows, window.columns][window.filled]
    return {CATALOG.classes[value]: n / len(below) for value, n in enumerate(np.bincount(below)) if n}


def test_classes_are_those_of_the_ontology():
    ontology = load_ontology("open")
    assert set(CLASSES) <= set(ontology.classes)
    for label in CLASSES:
        least, most = ontology.classes[label].gsd
        assert all(least <= gsd <= most for gsd in FAMILIES[label].gsd), label


@each_class
def test_a_scene_shows_what_its_class_is_about_and_nothing_that_it_may_not(label):
    layout = draw_layout(label, seed=5, k=2)
    assert layout == draw_layout(label, seed=5, k=2)
    counts = labels_of(layout).counts
    needs = FAMILIES[label].needs
    assert not needs or any(counts.get(kind) for kind in needs)
    for k in range(4):
        assert {thing.kind for thing in draw_layout(label, seed=6, k=k).things} <= set(FAMILIES[label].kinds)
    assert layout.kinds == FAMILIES[label].kinds


@each_class
def test_sizes_are_those_of_the_catalog(label):
    for thing in draw_layout(label, seed=1, k=0).things:
        spec = CATALOG.things[thing.kind]
        if thing.kind in ("building", "house", "mobile_home"):  # cut to their lot
            assert thing.length <= max(spec.length[1], 400)
            continue
        assert spec.length[0] - 0.02 <= thing.length <= spec.length[1] + 0.02, thing
        assert thing.width <= spec.width[1] + 0.02, thing


@pytest.mark.parametrize("label", ["denseresidential", "residential", "buildings", "harbor", "parkinglot", "airplane"])
def test_things_do_not_overlap(label):
    layout = draw_layout(label, seed=2, k=0)
    size = layout.pixels * 2  # finer than the image
    taken = np.zeros((size, size), np.int32)
    for thing in layout.things:
        inner = corners(thing.x, thing.y, thing.heading, thing.length * 0.96, thing.width * 0.96)
        window = fill(inner * 2 / layout.gsd, size, size)
        if window is not None:
            taken[window.rows, window.columns] += window.filled
    assert taken.max() == 1


@pytest.mark.parametrize("label", ["denseresidential", "mediumresidential", "sparseresidential", "commercial"])
@pytest.mark.parametrize("k", range(2))
def test_no_house_stands_on_a_street_and_cars_are_where_they_drive(label, k):
    layout = draw_layout(label, seed=0, k=k)
    for thing in layout.things:
        below = shares(layout, thing)
        if thing.kind in ("house", "building", "tree"):
            assert below.get("road", 0) < 0.05, thing
        if thing.kind in ("car", "truck", "bus"):
            assert sum(below.get(cover, 0) for cover in DRIVEN) > 0.7, (thing, below)


@pytest.mark.parametrize("label", ["freeway", "overpass", "intersection", "bridge"])
def test_cars_drive_along_their_way(label):
    """Off parking lots, a car's heading is that of the way under it, to within a few degrees."""
    layout, checked = draw_layout(label, seed=1, k=1), 0
    ways = [way for way in layout.ways if CATALOG.ways[way.kind].traffic]
    for thing in layout.things:
        if thing.kind not in ("car", "truck", "bus") or shares(layout, thing).get("parking"):
            continue
        here, off = np.array([[thing.x, thing.y]]), []
        for way in ways:
            line = np.array(way.points)
            if distance_to_line(here, line)[0] < way.width / 2:
                parts = [distance_to_line(here, line[place : place + 2])[0] for place in range(len(line) - 1)]
                step = line[int(np.argmin(parts)) + 1] - line[int(np.argmin(parts))]
                angle = np.rad2deg(np.arctan2(step[0], -step[1]))
                off.append(abs((thing.heading - angle + 90) % 180 - 90))
        assert min(off) < 8, thing
        checked += 1
    assert checked > 2


@pytest.mark.parametrize("k", range(4))
def test_airplanes_keep_their_distance_and_stand_on_the_apron(k):
    layout = draw_layout("airplane", seed=0, k=k)
    planes = [thing for thing in layout.things if thing.kind == "airplane"]
    kinds = {(each.length, each.span): each.clearance for each in CATALOG.airplanes}
    for place, one in enumerate(planes):
        assert (one.length, one.width) in kinds
        assert shares(layout, one).get("apron", 0) > 0.95
        for other in planes[:place]:
            gap = np.hypot(one.x - other.x, one.y - other.y)
            turn = abs((one.heading - other.heading + 180) % 360 - 180)
            assert turn < 4 or turn > 176
            if turn < 4:  # side by side in a row
                assert gap >= (one.width + other.width) / 2 + min(kinds[one.length, one.width], 3) - 0.5


@pytest.mark.parametrize("k", range(3))
def test_a_river_goes_on_across_the_image(k):
    cover = labels_of(draw_layout("bridge", seed=0, k=k)).cover
    wet = cover == CATALOG.value("water")
    assert sum(edge.any() for edge in (wet[0], wet[-1], wet[:, 0], wet[:, -1])) >= 2


def test_boats_lie_on_water():
    layout = draw_layout("harbor", seed=0, k=0)
    boats = [thing for thing in layout.things if thing.kind == "boat"]
    assert len(boats) > 5
    assert all(shares(layout, boat).get("water", 0) > 0.9 for boat in boats)


def test_streams_differ_by_seed_class_and_attempt():
    drawn = [draw_layout(*key, size=64) for key in (("river", 0, 0), ("river", 1, 0), ("river", 0, 1), ("lake", 0, 0))]
    assert len({one.hash for one in drawn}) == 4


def test_unknown_classes_and_images_too_coarse_are_refused():
    with pytest.raises(InputError, match=r"class 'airplan' has no rule for layouts \(did you mean 'airplane'\?\)"):
        draw_layout("airplan", 0, 0)
    with pytest.raises(InputError, match="no tennis_court fills 12 pixels; take a smaller gsd or a larger size"):
        draw_layout("tenniscourt", 0, 0, size=16, gsd=10.0)


def test_slivers_at_the_edge_do_not_keep_a_kind_from_being_counted():
    layout = draw_layout("denseresidential", seed=0, k=0)
    labels = Labels(layout)
    assert not [place for place in labels.too_small if (layout.things[place].corners < 0).any()]
    assert "house" in labels.counts
    assert isinstance(layout, Layout)
