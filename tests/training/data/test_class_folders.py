"""Folders of images, COCO, images without captions, and splits that lie in a list beside the data YAML."""

import json

import pytest

from terrasynth.prompts import load_expander
from terrasynth.training.data import read_pairs
from terrasynth.training.data.split_list import split_list
from terrasynth.training.errors import InputError
from tests.training.data.builders import class_folders, coco, items, save


def test_a_folder_is_a_class_and_its_images_have_no_captions(tmp_path):
    folder = class_folders(tmp_path / "d", captions=False, splits=False)
    (folder / "glacier").mkdir()
    with pytest.raises(InputError, match=r"10 rows were left out .*: no caption\); say what .*`terrasynth init`"):
        read_pairs(folder)
    data = read_pairs(folder, captionless=True)
    assert {(pair.name, pair.label, pair.split, pair.captions) for pair in data.pairs} == {
        (f"{item.label}/{item.number}.png", item.label, "train", ()) for item in items()}
    assert "no image lies in the folder glacier" in data.notes


@pytest.mark.parametrize(("above", "name", "label"), [
    ("AID", "Airport/airport_1.jpg", "Airport"), ("EuroSAT/2750", "AnnualCrop/AnnualCrop_1.jpg", "AnnualCrop"),
    ("UCMerced/Images", "harbor/harbor00.tif", "harbor"), ("x/images", "harbor_12.png", "harbor"),
    ("x", "7.png", ""), ("x/val", "Ünter Wasser/1.PNG", "Ünter Wasser"),
])
def test_classes_as_data_sets_have_them(tmp_path, above, name, label):
    save(tmp_path / above / name, items()[0])
    pair, = read_pairs(tmp_path / above.split("/")[0], captionless=True).pairs
    assert pair.label == label
    assert pair.split == ("val" if "val" in above else "train")


def test_what_an_image_is_called_is_said_in_the_data_yaml(tmp_path):
    class_folders(tmp_path / "d", captions=False)
    save(tmp_path / "d" / "SolarFarm" / "1.png", items()[0])
    (tmp_path / "data.yaml").write_text("data: d\ncaption: an aerial image of a {label}\n")
    data = read_pairs(tmp_path / "data.yaml")
    assert {pair.captions for pair in data.pairs} == {
        (f"an aerial image of a {name}",) for name in ("harbor", "forest", "solar farm")}
    assert any(note.startswith("11 images without a caption are called") for note in data.notes)
    (tmp_path / "data.yaml").write_text("data: d\ncaption: of {class}\n")
    with pytest.raises(InputError, match=r"data\.yaml: caption 'of \{class\}' is wrong: a text is needed in which"):
        read_pairs(tmp_path / "data.yaml")


ONTOLOGY = """\
gsd: []
countable: {solar farm: solar farms, panel row: panel rows}
classes_of_open: {forest: forest}
classes:
  SolarFarm:
    name: solar farm
    synonyms: [solar farm]
    objects:
      main: {noun: solar farm, count: {a: 1}, attributes: [{large: 1}]}
      panels: {noun: panel row, count: {many: 1}, relation: {in: 1}, chance: 0.5}
"""


def test_trainings_read_texts_of_an_ontology_where_nobody_described_an_image(tmp_path):
    class_folders(tmp_path / "d", captions=False, splits=False)
    save(tmp_path / "d" / "SolarFarm" / "1.png", items()[0])
    save(tmp_path / "d" / "SolarFarm" / "2.png", items()[1])
    (tmp_path / "d" / "SolarFarm" / "2.txt").write_text("Blue panels.")
    (tmp_path / "classes.yaml").write_text(ONTOLOGY)
    (tmp_path / "data.yaml").write_text("data: d\ncaption: an aerial image of a {label}\nontology: classes.yaml\n")
    plain = {pair.name: pair for pair in read_pairs(tmp_path / "data.yaml").pairs}
    assert all(len(pair.captions) == 1 for pair in plain.values())  # what is published and measured is true of images
    assert [name for name, pair in plain.items() if pair.described] == ["SolarFarm/2.png"]
    data = read_pairs(tmp_path / "data.yaml", drafts=True)
    found = {pair.name: pair.captions for pair in data.pairs}
    said = [prompt.text for prompt in load_expander("grammar", ontology=tmp_path / "classes.yaml").expand(
        "SolarFarm", 0, 0, 8)]
    assert found["SolarFarm/1.png"] == ("an aerial image of a solar farm", *dict.fromkeys(said))
    assert found["SolarFarm/2.png"] == ("Blue panels.",)
    assert found["harbor/0.png"] == ("an aerial image of a harbor",)
    forests = [text for name, texts in found.items() if name.startswith("forest") for text in texts[1:]]
    assert len(set(forests)) > 20  # images of a class do not have the same texts
    assert data.notes[-2:] == [
        "6 images without a caption have 8 texts each, drawn from classes.yaml: what their class can show, not what "
        "they show", "classes.yaml has no class harbor; nothing is drawn from it for its images"]
    (tmp_path / "data.yaml").write_text("data: d\nontology: ucm\n")
    assert {len(pair.captions) > 1 for pair in read_pairs(tmp_path / "data.yaml", drafts=True).pairs
            if pair.label in ("harbor", "forest")} == {True}
    (tmp_path / "data.yaml").write_text("data: d\nontology: ours.yaml\n")
    with pytest.raises(InputError, match=r"data\.yaml: ontology: 'ours.yaml' is no file, relative to the YAML file, "
                                         r"and no profile \(ucm, "):
        read_pairs(tmp_path / "data.yaml")


def test_own_captions_come_before_what_the_data_yaml_says(tmp_path):
    class_folders(tmp_path / "d")
    (tmp_path / "data.yaml").write_text("data: d\ncaption: nothing\n")
    assert all(pair.captions[0].startswith("A ") for pair in read_pairs(tmp_path / "data.yaml").pairs)


def test_a_list_of_splits_decides_alone(tmp_path):
    class_folders(tmp_path / "d", splits=False)
    names = {f"{item.label}/{item.number}.png": "val" if item.number else "test" for item in items()}
    del names["harbor/3.png"]
    names["gone, away.png"] = "train"
    (tmp_path / "splits.csv").write_text(split_list(names))
    (tmp_path / "data.yaml").write_text("data: d\nsplit_list: splits.csv\n")
    data = read_pairs(tmp_path / "data.yaml")
    assert {pair.name: pair.split for pair in data.pairs} == {
        name: split for name, split in names.items() if name != "gone, away.png"}
    assert [(row.name, row.reason) for row in data.skipped] == [("harbor/3.png", "splits.csv says no split of it")]
    assert any("names 1 images that cannot be used or are not there, such as gone, away.png" in note
               for note in data.notes)


@pytest.mark.parametrize(("text", "message"), [
    ("name,split\nharbor/0.png,trian\n", r"splits\.csv:2: split 'trian' is unknown"),
    ("name,split\nharbor/0.png,\n", r"splits\.csv:2: the column 'split' is missing or empty"),
    ("file,split\nharbor/0.png,val\n", r"splits\.csv:2: the column 'name' is missing or empty"),
    ("name,split\nharbor/0.png,val\nharbor/0.png,val\n", r"splits\.csv:3: 'harbor/0\.png' is listed twice"),
    ("name,split\nother.png,val\n", r"splits\.csv names none of the 10 images, such as 'forest/0\.png'"),
])
def test_a_wrong_list_is_named(tmp_path, text, message):
    class_folders(tmp_path / "d", splits=False)
    (tmp_path / "data.yaml").write_text("data: d\nsplit_list: splits.csv\n")
    with pytest.raises(InputError, match=r"split_list: 'splits\.csv' is no file"):
        read_pairs(tmp_path / "data.yaml")
    (tmp_path / "splits.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        read_pairs(tmp_path / "data.yaml")


def test_one_file_of_coco_and_categories_as_classes(tmp_path):
    folder = coco(tmp_path / "d")
    one = read_pairs(folder / "annotations" / "captions_val2017.json")
    assert {(pair.label, pair.split) for pair in one.pairs} == {("harbor", "val"), ("forest", "val")}
    images = [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "b.png"}, {"id": 3, "file_name": "c.png"}]
    boxes = [{"id": 1, "image_id": 1, "category_id": 5}, {"id": 2, "image_id": 1, "category_id": 5},
             {"id": 3, "image_id": 2, "category_id": 5}, {"id": 4, "image_id": 2, "category_id": 6}]
    place = tmp_path / "roboflow" / "valid"
    for image in images:
        save(place / image["file_name"], items()[0])
    (place / "_annotations.coco.json").write_text(json.dumps({
        "images": images, "annotations": boxes,
        "categories": [{"id": 5, "name": "wind turbine"}, {"id": 6, "name": "road"}]}))
    found = read_pairs(tmp_path / "roboflow", captionless=True)
    assert [(pair.name, pair.label, pair.split) for pair in found.pairs] == [
        ("a.png", "wind turbine", "val"), ("b.png", "", "val"), ("c.png", "", "val")]
    (place / "_annotations.coco.json").write_text(json.dumps({"images": images, "annotations": [{"caption": "x"}]}))
    with pytest.raises(InputError, match=r"annotations\[0\]: .* has no image_id"):
        read_pairs(tmp_path / "roboflow")
