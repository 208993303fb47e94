"""Exports with words and boxes: expressions fit one thing, and boxes are read back by what their convention says."""

import json
import math
import re
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest

from terrasynth.prompts.layouts.labels import Labels
from terrasynth.prompts.layouts.layout import Layout, Thing
from terrasynth.prompts.layouts.regions import region_captions
from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.core.images import encode
from terrasynth.synthesis.export.coordinates import turned_back
from terrasynth.synthesis.export.formats.llava_boxes import LlavaBoxesExporter
from terrasynth.synthesis.export.rows import Row
from tests.prompts.layouts.reader import FORMS, fitting, of, seen
from tests.synthesis.export.test_export_resume import killed_after
from tests.synthesis.exports import SIDE, exported, picture, write_run
from tests.synthesis.helpers import fingerprint

SPLITS = {"train": 0.5, "validation": 0.5}


def by_number(folder, name, order):
    """As readers of DIOR-RSVG do: by places in each element, and by numbers over files in whatever order they come."""
    files = list((folder / "Annotations").iterdir())
    np.random.default_rng(order).shuffle(files)
    wanted, count, found = {int(line) for line in (folder / f"{name}.txt").open()}, 0, []
    for file in files:
        root = ElementTree.parse(file).getroot()
        for member in root.findall("object"):
            if count in wanted:
                image = folder / "JPEGImages" / root.find("./filename").text
                found.append((image, member[0].text, [int(member[2][place].text) for place in range(4)],
                              member[3].text))
            count += 1
    return found


@pytest.mark.parametrize("per_thing", [1, 3])
def test_expressions_are_true_of_exactly_one_thing(placed, labels, tmp_path, per_thing):
    exported(placed, tmp_path / "out", "grounding", SPLITS, {"per_thing": per_thing})
    count = 0
    for name, split in (("train", "train"), ("val", "validation")):
        found = by_number(tmp_path / "out" / split, name, 0)
        assert sorted(found) == sorted(by_number(tmp_path / "out" / split, name, 1))
        for image, kind, box, text in found:
            assert image.is_file()
            own = labels[image.stem]
            number, = fitting(text, own, seen(own))
            assert (tuple(box), kind) == (own.instances[number - 1].box, own.instances[number - 1].kind)
        count += len(found)
    assert count > (10 if per_thing == 1 else 20)
    readme = (tmp_path / "out" / "README.md").read_text()
    assert "from 0, far ends excluded" in readme


def conversations(folder):
    return json.loads((folder / "llava_train.json").read_text())


def asked(entry):
    """Kind, request and answer of each exchange."""
    turns = entry["conversations"]
    assert [turn["from"] for turn in turns] == ["human", "gpt"] * len(entry["kinds"])
    return [(kind, turns[2 * place]["value"], turns[2 * place + 1]["value"])
            for place, kind in enumerate(entry["kinds"])]


def numbers_in(text):
    return [float(number) for number in re.findall(r"-?\d+\.?\d*", text[text.index("["):])]


# Each gives the pixels (left, top, right, bottom, far ends excluded) of a box in words, from what the entry says.
READ = {
    "pixels": lambda box: tuple(box),
    "unit": lambda box: tuple(round(number * SIDE) for number in box),
    "thousand": lambda box: (*(math.ceil(number * SIDE / 1000) for number in box[:2]),
                             *(math.floor((number + 1) * SIDE / 1000) for number in box[2:])),
}


@pytest.mark.parametrize("way", sorted(READ))
def test_boxes_in_words_are_those_of_the_labels(placed, labels, tmp_path, way):
    exported(placed, tmp_path / "out", "llava-boxes", None, {"coordinates": way})
    kinds = set()
    for entry in conversations(tmp_path / "out"):
        own = labels[entry["id"]]
        captions = dict(zip((one.box for one in own.instances), region_captions(own), strict=True))
        assert {"pixels": "in pixels", "unit": "0 to 1", "thousand": "0 to 999"}[way] in entry["coordinates"]
        assert ("included" if way == "thousand" else "excluded") in entry["coordinates"]
        assert entry["basis"] == "layout"
        for kind, request, answer in asked(entry):
            kinds.add(kind)
            if kind == "region":
                assert answer == captions[READ[way](numbers_in(request))]
            elif kind == "grounding":
                number, = fitting(re.match(r"Where is (.*)\? Give its box", request)[1], own, seen(own))
                assert READ[way](numbers_in(answer)) == own.instances[number - 1].box
    assert kinds >= {"caption", "count", "presence", "region", "grounding"}


def test_questions_have_the_answers_of_the_labels(placed, labels, tmp_path):
    exported(placed, tmp_path / "out", "llava-boxes", None, {"regions": 1})
    counts = 0
    for entry in conversations(tmp_path / "out"):
        own = labels[entry["id"]]
        for kind, request, answer in asked(entry):
            if kind == "count":
                counts += 1
                noun = re.match(r"How many (.*) are there\?", request)[1]
                assert answer == str(len(of(seen(own), FORMS[noun])))
            elif kind in ("presence", "comparison", "relation"):
                assert answer in ("Yes", "No")
        assert sum(kind == "region" for kind in entry["kinds"]) <= 1
    assert counts > 4


def test_geochat_turns_boxes_back(placed, labels, tmp_path):
    exported(placed, tmp_path / "out", "llava-boxes", None, {"coordinates": "geochat", "regions": 30})
    turned = 0
    for entry in conversations(tmp_path / "out"):
        own = labels[entry["id"]]
        for kind, request, answer in asked(entry):
            if kind != "grounding":
                continue
            expression = re.fullmatch(r"\[refer\] Where is <p>(.*)</p>\?", request)[1]
            one = own.instances[fitting(expression, own, seen(own))[0] - 1]
            left, top, right, bottom, angle = map(
                int, re.fullmatch(r"\{<(\d+)><(\d+)><(\d+)><(\d+)>\|<(\d+)>\}", answer).groups())
            corners = np.array([(left, top), (right, top), (right, bottom), (left, bottom)]) * SIDE / 100
            center, turn = corners.mean(0), math.radians(-angle)  # y grows downwards
            rotation = np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
            corners = center + (corners - center) @ rotation
            wanted = np.array(one.corners)
            if (wanted < 0).any() or (wanted > SIDE).any():
                assert angle == 0
                wanted = np.array([(one.box[x], one.box[y]) for x, y in ((0, 1), (2, 1), (2, 3), (0, 3))])
            elif angle:
                turned += 1
            apart = np.hypot(*(corners[:, None] - wanted[None]).transpose(2, 0, 1)).min(1)
            if angle or (wanted == wanted.astype(int)).all():
                assert apart.max() < 0.02 * SIDE
    assert turned > 2


@pytest.mark.parametrize("heading", [0.0, 30.0, 89.8, 90.0, 135.0, 200.0, 359.7])
def test_an_oriented_box_turned_back(heading):
    car = Thing("car", x=32, y=32, heading=heading, length=20, width=8)
    one, = Labels(Layout("parkinglot", side=64.0, gsd=1.0, ground="parking", things=(car,))).instances
    left, top, right, bottom, angle = turned_back(one.corners)
    lengthwise = math.isclose(right - left, 20, abs_tol=0.1)  # along x before it is turned
    assert {round(right - left), round(bottom - top)} == {20, 8}
    assert ((left + right) / 2, (top + bottom) / 2) == pytest.approx((32, 32), abs=0.01)
    assert 0 <= angle < 90
    # Counterclockwise from the x axis: a heading is clockwise from up.
    axis = (90 - heading) % 180 if lengthwise else -heading % 180
    assert min(abs(axis - angle), 180 - abs(axis - angle)) <= 0.5 + 1e-9


@pytest.mark.parametrize("name", ["grounding", "llava-boxes"])
def test_killed_and_grown(tmp_path, placed_rows, name):
    run = write_run(tmp_path / "run", placed_rows[:4])
    assert killed_after(3, run, tmp_path / "cut", name, SPLITS)
    write_run(run, placed_rows)
    exported(run, tmp_path / "cut", name, SPLITS)
    exported(run, tmp_path / "whole", name, SPLITS)
    assert fingerprint(tmp_path / "cut") == fingerprint(tmp_path / "whole")


def test_nothing_is_asked_of_an_image_that_does_not_show_all(tmp_path, placed_rows):
    things = (Thing("car", x=10.3, y=10.3, heading=0, length=4.0, width=3.0),
              Thing("building", x=40, y=40, heading=0, length=20, width=20))
    row = placed_rows[1] | {"layout": Layout("buildings", 64.0, 1.0, "grass", things=things).to_json()}
    small = row | {"image": row["image"] | {"bytes": encode(picture(0, 8), "png")}}
    kinds = {}
    for name, one in (("whole", row), ("small", small)):
        exported(write_run(tmp_path / f"run-{name}", [one]), tmp_path / name, "llava-boxes", None)
        kinds[name] = set(conversations(tmp_path / name)[0]["kinds"])
    assert kinds["whole"] >= {"caption", "count", "region", "grounding"}
    assert kinds["small"] == {"caption", "region"}


def test_what_a_person_said_is_all_that_is_said(placed_rows):
    image = placed_rows[1]["image"]["bytes"]
    said = {"text": "Some tennis courts.", "captions": ["Some tennis courts."], "scene": "{}", "basis": "human"}
    row = Row(0, "train", image, "png", placed_rows[1] | said)
    told = LlavaBoxesExporter()._entry(row)
    assert set(told["kinds"]) <= {"caption", "class"}
    assert (told["conversations"][1]["value"], told["basis"]) == ("Some tennis courts.", "human")
    asked_of_layout = LlavaBoxesExporter()._entry(replace(row, columns=placed_rows[1]))
    assert set(asked_of_layout) == set(told)
    assert "grounding" in asked_of_layout["kinds"]


def test_coordinates_are_known(placed):
    with pytest.raises(InputError, match=r"coordinates 'pixel' is unknown \(did you mean 'pixels'\?\); there is "
                                         "pixels, unit, thousand, geochat"):
        exported(placed, placed, "llava-boxes", None, {"coordinates": "pixel"})
