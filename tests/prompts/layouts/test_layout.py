"""Layouts as data: plain JSON there and back, a hash, and errors that say where."""

import json

import numpy as np
import pytest

from terrasynth.prompts.errors import InputError
from terrasynth.prompts.layouts.catalog import SHAPES, load_catalog
from terrasynth.prompts.layouts.drawing import CLASSES, draw_layout
from terrasynth.prompts.layouts.layout import Layout, Patch, Raster, Thing, Way, road_graph

CAR = Thing("car", 20.0, 12.0, 90.0, 4.5, 1.8, "white")
LAYOUT = Layout("parkinglot", 64.0, 0.5, "parking", (Patch("grass", ((0.0, 0.0), (9.0, 0.0), (9.0, 9.5))),),
                (Way("street", ((0.0, 5.0), (64.0, 5.0)), 6.0, 1),), (CAR,), 9, "in autumn", "", ("car", "tree"))


@pytest.mark.parametrize("label", CLASSES[::5])
def test_json_there_and_back(label):
    layout = draw_layout(label, seed=3, k=1, size=96)
    again = Layout.from_json(layout.to_json())
    assert again == layout
    assert again.hash == layout.hash
    assert again.to_json() == layout.to_json()


def test_all_fields_travel():
    assert Layout.from_json(LAYOUT.to_json()) == LAYOUT
    tree = json.loads(LAYOUT.to_json())
    assert tree["kinds"] == ["car", "tree"]
    tree["things"][0]["color"] = "red"
    assert Layout.from_json(json.dumps(tree)) != LAYOUT
    assert Layout.from_json(json.dumps(tree)).hash != LAYOUT.hash


def test_a_raster_is_its_cells():
    cells = np.random.default_rng(0).integers(0, len(load_catalog().covers), (17, 17)).astype(np.uint8)
    raster = Raster.of(cells)
    assert (raster.cells() == cells).all()
    layout = Layout("residential", 17.0, 1.0, raster)
    assert Layout.from_json(layout.to_json()) == layout


@pytest.mark.parametrize(("change", "said"), [
    ({"ground": "gras"}, "ground of a layout is of the kind 'gras', which does not exist (did you mean 'grass'?)"),
    ({"gsd": 0}, "gsd 0 of a layout has to be a number above 0"),
    ({"side": 64.2}, "side 64.2 of a layout has to be 1 to 8192 whole pixels of gsd 0.5"),
    ({"side": "64"}, "layout.side '64' of a layout has another type than float"),
    ({"min_pixels": 0}, "min_pixels 0 of a layout has to be 1 or more"),
    ({"thing": []}, "layout of a layout has no field 'thing' (did you mean 'things'?)"),
    ({"things": [{"kind": "car", "x": 1, "y": 2, "heading": 0, "length": -4, "width": 2}]},
     "things[0].length -4 of a layout has to be a number above 0"),
    ({"things": [{"kind": "cat", "x": 1, "y": 2, "heading": 0, "length": 4, "width": 2}]},
     "things[0] of a layout is of the kind 'cat', which does not exist (did you mean 'car'?)"),
    ({"things": [{"kind": "car", "x": 1}]}, "things[0] of a layout lacks a field"),
    ({"ways": [{"kind": "street", "points": [[0, 0]], "width": 3}]},
     "ways[0].points of a layout needs 2 or more points"),
    ({"patches": [{"kind": "grass", "outline": [[0, 0], [1, "x"], [2, 2]]}]}, "patches[0].outline [[0, 0], [1, 'x']"),
    ({"ground": {"columns": 2, "runs": [["grass", 3]]}}, "ground of a layout has not 2 times 2 cells"),
    ({"format": 2}, "is no JSON object with format 1"),
    ({"kinds": ["cars"]}, "kinds[0] of a layout is of the kind 'cars', which does not exist (did you mean 'car'?)"),
])
def test_errors_say_where(change, said):
    tree = json.loads(LAYOUT.to_json()) | change
    with pytest.raises(InputError) as error:
        Layout.from_json(json.dumps(tree))
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_no_json_is_refused():
    with pytest.raises(InputError, match="is no JSON"):
        Layout.from_json("{")


def test_a_coarser_image_shows_the_same_scene():
    assert LAYOUT.at(1.0).pixels == 64
    assert LAYOUT.at(1.0).things == LAYOUT.things


def test_streets_meet_in_shared_points():
    layout = draw_layout("intersection", seed=0, k=0)
    graph = road_graph(layout)
    meeting = max(len(ways) for ways in graph.values())
    assert meeting in (3, 4)  # a T, or a crossing
    assert sum(len(ways) for ways in graph.values()) == 2 * sum(load_catalog().ways[one.kind].traffic
                                                                for one in layout.ways)


def test_the_catalog_says_where_its_ranges_come_from():
    catalog = load_catalog()
    for spec in (*catalog.ways.values(), *catalog.things.values()):
        assert spec.source
        for least, most in [spec.width, *([spec.length] if hasattr(spec, "length") else [])]:
            assert 0 < least <= most
    for kind in SHAPES.values():  # every shape fills its box and stays in it
        assert np.allclose(np.abs(kind).max(0), 0.5, atol=0.06)
        assert np.abs(kind).max() <= 0.5 + 1e-9
