"""Exports of labels, read back and compared with the labels of each row's layout, to the pixel."""

import json
import re
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml
from PIL import Image

from terrasynth.prompts.layouts.catalog import SIX, load_catalog
from terrasynth.prompts.layouts.layout import Layout, Thing
from terrasynth.prompts.layouts.palettes import palettes
from terrasynth.synthesis.core.errors import InputError, RunError
from terrasynth.synthesis.core.images import decode
from terrasynth.synthesis.export.formats.coco_instances import run_lengths
from terrasynth.synthesis.export.labels import ImageLabels
from terrasynth.synthesis.verify.verifying import verify
from tests.synthesis.export.test_export_resume import killed_after, times
from tests.synthesis.exports import SIDE, exported, layout_rows, run_rows, write_run
from tests.synthesis.helpers import fingerprint

FORMATS = ("coco-instances", "yolo", "yolo-obb", "dota", "voc", "semantic")
SPLITS = {"train": 0.5, "validation": 0.5}
VALIDATION = {"train": "train", "val": "validation"}


def is_inside(one, side):
    return all(0 <= number <= side for point in one.corners for number in point)


# Each gives id -> (split, what is told of each thing, in the order of the file).


def coco_instances(folder):
    from pycocotools.coco import COCO

    found = {}
    for split in SPLITS:
        loaded = COCO(str(folder / f"annotations/instances_{split}.json"))
        for image in loaded.loadImgs(loaded.getImgIds()):
            assert (folder / "images" / split / image["file_name"]).is_file()
            things = loaded.loadAnns(loaded.getAnnIds(imgIds=image["id"]))
            found[image["file_name"].partition(".")[0]] = (split, [
                (loaded.cats[one["category_id"]]["name"], one["bbox"], one["area"], loaded.annToMask(one), one["color"],
                 one["corners"]) for one in things])
    return found


def yolo(folder):
    told = yaml.safe_load((folder / "data.yaml").read_text())
    assert set(told) == {"train", "val", "names"}
    found = {}
    for name, split in VALIDATION.items():
        for image in sorted((folder / told[name]).iterdir()):
            lines = (folder / "labels" / split / f"{image.stem}.txt").read_text().splitlines()
            cells = [line.split() for line in lines]
            found[image.stem] = (split, [(told["names"][int(kind)], [float(cell) for cell in shares])
                                         for kind, *shares in cells])
    return found


def dota(folder):
    found = {}
    for split in SPLITS:
        for image in (folder / split / "images").iterdir():
            cells = [line.split() for line in (folder / split / "labelTxt" / f"{image.stem}.txt").open()]
            found[image.stem] = (split, [(kind, np.array(numbers, float).reshape(4, 2), difficult)
                                         for *numbers, kind, difficult in cells])
    return found


def voc(folder):
    found = {}
    for name, split in VALIDATION.items():
        for own in (folder / "ImageSets" / "Main" / f"{name}.txt").read_text().split():
            root = ElementTree.parse(folder / "Annotations" / f"{own}.xml").getroot()
            assert (folder / root.findtext("folder") / root.findtext("filename")).is_file()
            assert [root.findtext(f"size/{part}") for part in ("width", "height", "depth")] == [str(SIDE)] * 2 + ["3"]
            found[own] = (split, [
                (one.findtext("name"), [int(one.findtext(f"bndbox/{end}")) for end in ("xmin", "ymin", "xmax", "ymax")],
                 one.findtext("truncated")) for one in root.findall("object")])
    return found


def semantic(folder):
    found = {}
    for split in SPLITS:
        for image in (folder / "images" / split).iterdir():
            with Image.open(folder / "masks" / split / f"{image.stem}.png") as mask:
                found[image.stem] = (split, (np.asarray(mask), np.asarray(mask.convert("RGB"))))
    return found


def test_the_rows_have_what_is_hard(labels):
    things = [one for each in labels.values() for one in each.instances]
    assert any(not each.instances for each in labels.values())
    assert any(not is_inside(one, SIDE) for one in things)
    assert len({one.kind for one in things}) > 3
    hidden = [one for each in labels.values() for one in each.instances
              if one.pixels < (each.mask[one.box[1]:one.box[3], one.box[0]:one.box[2]] > 0).sum()]
    assert hidden  # something else is in its box


def test_coco_has_boxes_and_masks(placed, labels, tmp_path):
    done = exported(placed, tmp_path / "out", "coco-instances", SPLITS)
    found = coco_instances(tmp_path / "out")
    assert {split: sum(one[0] == split for one in found.values()) for split in SPLITS} == done.rows
    assert set(found) == set(labels)
    for name, own in labels.items():
        assert len(found[name][1]) == len(own.instances)
        for (kind, box, area, mask, color, corners), one in zip(found[name][1], own.instances, strict=True):
            assert (kind, area, color) == (one.kind, one.pixels, one.color)
            assert (mask == (own.mask == one.number)).all()
            x, y, width, height = box
            assert (x, y, x + width, y + height) == one.box
            assert np.array(corners) == pytest.approx(np.array(one.corners))


def test_coco_numbers_begin_at_one_and_are_unique(placed, tmp_path):
    exported(placed, tmp_path / "out", "coco-instances", SPLITS)
    files = [json.loads(path.read_text()) for path in sorted((tmp_path / "out" / "annotations").iterdir())]
    numbers = [one["id"] for file in files for one in file["annotations"]]
    assert sorted(numbers) == list(range(1, len(numbers) + 1))
    assert all([one["name"] for one in file["categories"]] == list(load_catalog().things) for file in files)
    assert {one["supercategory"] for one in files[0]["categories"] if one["name"] in ("house", "building")} == {
        "building"}


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (7, 2)])
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_run_lengths_are_those_of_pycocotools(shape, share):
    from pycocotools import mask as by_coco

    mask = np.random.default_rng(1).random(shape) < share
    packed = by_coco.frPyObjects(run_lengths(mask), *shape)
    assert packed == by_coco.encode(np.asfortranarray(mask.astype(np.uint8)))


def test_yolo_has_upright_boxes(placed, labels, tmp_path):
    exported(placed, tmp_path / "out", "yolo", SPLITS)
    found = yolo(tmp_path / "out")
    assert set(found) == set(labels)
    for name, own in labels.items():
        for (kind, (x, y, width, height)), one in zip(found[name][1], own.instances, strict=True):
            box = np.array([x - width / 2, y - height / 2, x + width / 2, y + height / 2]) * SIDE
            assert kind == one.kind
            assert box == pytest.approx(one.box, abs=1e-5)


def test_yolo_has_oriented_boxes_that_lie_in_the_image(placed, labels, tmp_path):
    exported(placed, tmp_path / "out", "yolo-obb", SPLITS)
    found = yolo(tmp_path / "out")
    assert set(found) == set(labels)
    cut = 0
    for name, own in labels.items():
        for (kind, shares), one in zip(found[name][1], own.instances, strict=True):
            corners = np.array(shares).reshape(4, 2) * SIDE
            assert kind == one.kind
            assert 0 <= min(shares) <= max(shares) <= 1
            if is_inside(one, SIDE):
                assert corners == pytest.approx(np.array(one.corners), abs=1e-5)
            else:
                cut += 1
                assert (*corners.min(0), *corners.max(0)) == pytest.approx(one.box, abs=1e-5)
    assert cut > 0


def test_yolo_names_no_validation_where_there_is_none(placed, tmp_path):
    exported(placed, tmp_path / "out", "yolo", None)
    assert set(yaml.safe_load((tmp_path / "out" / "data.yaml").read_text())) == {"train", "names"}


def test_dota_has_the_corners_of_whole_things(placed, labels, tmp_path):
    exported(placed, tmp_path / "out", "dota", SPLITS)
    found = dota(tmp_path / "out")
    assert set(found) == set(labels)
    for name, own in labels.items():
        for (kind, corners, difficult), one in zip(found[name][1], own.instances, strict=True):
            assert (kind, difficult) == (one.kind, "0")
            assert corners == pytest.approx(np.array(one.corners), abs=1e-9)


def test_voc_counts_from_one_and_includes_far_ends(placed, labels, tmp_path):
    exported(placed, tmp_path / "out", "voc", SPLITS)
    found = voc(tmp_path / "out")
    assert set(found) == set(labels)
    for name, own in labels.items():
        for (kind, (left, top, right, bottom), cut), one in zip(found[name][1], own.instances, strict=True):
            assert kind == one.kind
            seen = np.zeros((SIDE, SIDE), bool)
            seen[top - 1 : bottom, left - 1 : right] = True
            own_pixels = own.mask == one.number
            assert (seen & own_pixels).sum() == one.pixels
            assert own_pixels[top - 1].any()
            assert own_pixels[bottom - 1].any()
            assert own_pixels[:, left - 1].any()
            assert own_pixels[:, right - 1].any()
            assert cut == str(int(not is_inside(one, SIDE)))
    text = next((tmp_path / "out" / "Annotations").iterdir()).read_text()
    assert "counts pixels from 1 and includes its far ends" in text


@pytest.mark.parametrize("classes", ["all", "six"])
def test_masks_have_the_values_that_their_classes_say(placed, labels, tmp_path, classes):
    exported(placed, tmp_path / "out", "semantic", SPLITS, {"classes": classes})
    told = json.loads((tmp_path / "out" / "classes.json").read_text())
    assert [one["name"] for one in told] == list(SIX if classes == "six" else load_catalog().classes)
    assert [one["value"] for one in told] == list(range(len(told)))
    colors = np.array([one["color"] for one in told])
    found = semantic(tmp_path / "out")
    assert set(found) == set(labels)
    for name, own in labels.items():
        values, shown = found[name][1]
        assert (values == (own.six() if classes == "six" else own.semantic)).all()
        assert (shown == colors[values]).all()


def test_every_class_has_a_color_of_its_own():
    colors = palettes()["all"]
    assert list(colors) == list(load_catalog().classes)
    assert len(set(colors.values())) == len(colors)
    assert all(tuple(cover.color) == colors[name] for name, cover in load_catalog().covers.items())


@pytest.mark.parametrize("name", FORMATS)
def test_killed_grown_and_verified(tmp_path, placed_rows, name):
    run = write_run(tmp_path / "run", placed_rows[:4])
    assert killed_after(3, run, tmp_path / "cut", name, SPLITS)
    exported(run, tmp_path / "cut", name, SPLITS)
    assert not exported(run, tmp_path / "cut", name, SPLITS).changed
    before = times(tmp_path / "cut")
    write_run(run, placed_rows)
    exported(run, tmp_path / "cut", name, SPLITS)
    exported(run, tmp_path / "whole", name, SPLITS)
    assert fingerprint(tmp_path / "cut") == fingerprint(tmp_path / "whole")
    after = times(tmp_path / "cut")
    assert all(before[path] == after[path] for path in before if path.stem in {row["id"] for row in placed_rows})
    assert list(verify(tmp_path / "cut")) == []
    readme = (tmp_path / "cut" / "README.md").read_text()
    assert "they say what was asked for" in readme
    assert "pixel" in readme
    pictures = {path.stem: path for path in (tmp_path / "cut").rglob("*.png") if "masks" not in path.parts}
    assert all((decode(pictures[row["id"]].read_bytes()) == decode(row["image"]["bytes"])).all() for row in placed_rows)


@pytest.mark.parametrize("name", FORMATS)
def test_a_run_without_layouts_is_refused_before_anything_is_written(tmp_path, name):
    run = write_run(tmp_path / "run", run_rows(1))
    with pytest.raises(InputError, match="has no column layout: its model was shown no layout; draw with one"):
        exported(run, tmp_path / "out", name)
    assert not (tmp_path / "out").exists()


def test_real_images_without_labels_are_refused(tmp_path, placed):
    from terrasynth.synthesis.export.real import RealSet

    with pytest.raises(InputError, match="real images of --merge have none"):
        exported(placed, tmp_path / "out", "yolo", None, merge=[RealSet("real", [], tmp_path)])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["coco-instances", "dota", "voc", "semantic"])
def test_the_code_of_the_readme_loads_it(placed, placed_rows, labels, tmp_path, name):
    exported(placed, tmp_path / "out", name, None)
    code = re.search(r"```python\n(.*?)```", (tmp_path / "out" / "README.md").read_text(), re.DOTALL)[1]
    found, full = {}, placed_rows[1]["id"]
    exec(code.replace("FOLDER", str(tmp_path / "out")).replace("/ID.", f"/{full}."), found)
    count = len(labels[full].instances)
    assert {"coco-instances": lambda: len(found["things"].imgs) == len(placed_rows),
            "dota": lambda: len(found["boxes"]) == count, "voc": lambda: len(found["things"]) == count,
            "semantic": lambda: (found["mask"] == labels[full].semantic).all()}[name]()


def test_classes_of_masks_are_known(placed):
    with pytest.raises(InputError, match="option classes 'seven' is unknown; write classes=all or classes=six"):
        exported(placed, placed, "semantic", None, {"classes": "seven"})


def test_a_layout_that_cannot_be_read_is_named(tmp_path, placed_rows):
    run = write_run(tmp_path / "run", [placed_rows[0] | {"layout": "{}"}])
    with pytest.raises(RunError, match=f"the layout of {placed_rows[0]['id']} cannot be read"):
        exported(run, tmp_path / "out", "dota", None)


def test_an_image_of_another_size_has_labels_in_its_own_pixels(tmp_path, labels):
    large = layout_rows(1, side=2 * SIDE)
    exported(write_run(tmp_path / "run", large), tmp_path / "out", "coco-instances", None)
    seen = json.loads((tmp_path / "out" / "annotations" / "instances_train.json").read_text())
    numbers = {one["id"]: one["file_name"].partition(".")[0] for one in seen["images"]}
    assert all((one["width"], one["height"]) == (2 * SIDE, 2 * SIDE) for one in seen["images"])
    for row in large:
        boxes = [one["bbox"] for one in seen["annotations"] if numbers[one["image_id"]] == row["id"]]
        own = labels[row["id"]].instances
        assert len(boxes) == len(own)
        for (x, y, width, height), one in zip(boxes, own, strict=True):
            assert np.array([x, y, x + width, y + height]) / 2 == pytest.approx(one.box, abs=1)


def test_what_a_smaller_image_has_no_pixel_of_has_no_label():
    things = (Thing("car", x=10.3, y=10.3, heading=0, length=4.0, width=3.0),
              Thing("building", x=40, y=40, heading=0, length=20, width=20))
    found = ImageLabels(Layout("buildings", 64.0, 1.0, "grass", things=things), 8)
    assert [one.kind for one in found.said.instances] == ["car", "building"]
    assert [one.kind for one in found.instances] == ["building"]
    assert not found.complete
    assert found.instance(2) is found.instances[0]
    with pytest.raises(KeyError):
        found.instance(1)
