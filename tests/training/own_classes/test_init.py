"""`terrasynth init`: from images as people have them, or from names, to a recipe that `plan` takes."""

import csv
import re
import shlex
import shutil

import numpy as np
import pytest
import yaml
from PIL import Image

from terrasynth.eval.models.knowledge import words_of
from terrasynth.prompts import load_expander
from terrasynth.synthesis import Recipe
from terrasynth.synthesis.core.overrides import parse_override
from terrasynth.synthesis.recipe import TargetSettings
from terrasynth.training.data import read_pairs
from tests.training.data.builders import FORMATS, class_folders, pairs_jsonl


def picture(seed):
    """A noise image that hardly resembles that of another seed."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (64, 64, 3), dtype=np.uint8))


def folders(root, **counts):
    for number, (label, count) in enumerate(counts.items()):
        for k in range(count):
            path = root / label / f"{k}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            picture(1000 * number + k).save(path)
    return root


@pytest.fixture
def begin(tmp_path, monkeypatch, terrasynth):
    """Run `init` where the data lie; gives exit code, lines and the lines of stderr."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        code, out, errors = terrasynth("init", *arguments)
        return code, out.splitlines(), errors

    return call


def said(lines, name):
    return [line[11:] for line in lines if line.startswith(f"{name:<11}")]


def splits(path):
    with path.open(newline="") as file:
        return {row["name"]: row["split"] for row in csv.DictReader(file)}


def test_class_folders_become_a_recipe_that_is_planned(begin, tmp_path, terrasynth):
    folders(tmp_path / "d", **{"wind turbine": 20, "SolarFarm": 20, "flooded_village": 10})
    code, lines, _ = begin("d", "--out", "own")
    assert code == 0
    assert said(lines, "found") == ["folders of images: 50 images of 3 classes"]
    assert said(lines, "images") == ["64 x 64 px (50)"]
    assert said(lines, "classes") == ["SolarFarm 20, flooded_village 10, wind turbine 20"]
    assert said(lines, "splits") == ["train 34, val 8, test 8; made with seed 0 (own/splits.csv)"]
    assert sorted(path.name for path in (tmp_path / "own").iterdir()) == [
        "classes.yaml", "data.yaml", "recipe.yaml", "splits.csv"]
    recipe = Recipe.load("own/recipe.yaml")
    assert recipe.prompts.options == {"ontology": "own/classes.yaml"}
    assert recipe.prompts.classes == ["SolarFarm", "flooded_village", "wind turbine"]
    assert [each.kind for each in recipe.filters] == ["duplicate"]
    data = read_pairs("own/data.yaml")
    assert {pair.captions for pair in data.pairs} == {
        (f"an aerial image of {name}",) for name in ("wind turbine", "solar farm", "flooded village")}
    assert {pair.name: pair.split for pair in data.pairs} == splits(tmp_path / "own" / "splits.csv")
    taught = {word for pair in read_pairs("own/data.yaml", drafts=True).pairs for text in pair.captions
              for word in words_of(text)}
    expander = load_expander("grammar", ontology="own/classes.yaml")
    assert all(taught >= set(words_of(prompt.text)) for label in expander.classes
               for prompt in expander.expand(label, 0, 0, 60))
    code, out, _ = terrasynth("plan", "own/recipe.yaml")
    assert code == 0
    assert "of 3 classes" in out
    assert "does not know the classes SolarFarm, flooded_village, wind turbine" in out


def test_commands_that_follow_are_those_of_this_data(begin, tmp_path, terrasynth):
    folders(tmp_path / "my images", a=4, b=4)
    _, lines, _ = begin("my images")
    commands = [line.strip() for line in lines[lines.index("next") + 1:] if not line.strip().startswith("#")]
    assert commands == [
        "terrasynth expand --recipe my-images-recipe/recipe.yaml --text-only",
        "terrasynth train judge --data my-images-recipe/data.yaml --out my-images-recipe/judge "
        "--recipe my-images-recipe/recipe.yaml",
        "terrasynth train lora --base ldm-ucm --data my-images-recipe/data.yaml --out my-images-recipe/lora "
        "--recipe my-images-recipe/recipe.yaml --set loop.max_steps=800 --set loop.learning_rate=0.001 "
        "--set model.validation.encoder=my-images-recipe/judge",
        "terrasynth plan my-images-recipe/recipe.yaml",
        "terrasynth run my-images-recipe/recipe.yaml --out runs/my-images",
        "terrasynth review runs/my-images",
        "terrasynth run my-images-recipe/recipe.yaml --out runs/my-images",
        "terrasynth train judge --data my-images-recipe/data.yaml --encoder clip-ucm --out my-images-recipe/judge-2",
        "terrasynth eval runs/my-images --real my-images-recipe/data.yaml --encoder my-images-recipe/judge-2 "
        "--classifier my-images-recipe/judge-2",
        "terrasynth push runs/my-images --repo USER/NAME --licence LICENCE --dry-run",
    ]
    code, out, _ = terrasynth(*commands[0].split()[1:])
    assert code == 0
    assert len(out.splitlines()) == 10


def test_recipe_and_plan_name_the_same_classes_as_unknown(begin, tmp_path, terrasynth):
    folders(tmp_path / "d", **{"desert": 4, "railway station": 4, "stadium": 4})
    begin("d", "--out", "own")
    comment = (tmp_path / "own" / "recipe.yaml").read_text().replace("\n# ", " ")
    named = re.search("It does not know (.*?): what it makes", comment)[1]
    code, out, _ = terrasynth("plan", "own/recipe.yaml")
    assert code == 0
    assert f"does not know the classes {named}" in out


def test_the_folder_of_one_class_names_the_one_above(begin, tmp_path):
    folders(tmp_path / "d", desert=4, stadium=4)
    code, _, errors = begin("d/desert", "--out", "own")
    assert code == 2
    assert f"name the one above it: '{tmp_path / 'd'}'" in errors[-1]


def test_names_with_blanks_and_signs_of_yaml_are_quoted_for_shell_and_yaml(begin, tmp_path, terrasynth):
    folders(tmp_path / "my images", **{"wind turbine": 4, "solar farm": 4})
    _, lines, _ = begin("my images", "--out", "no #1: o", "--per-class", "3")
    commands = [shlex.split(line) for line in lines[lines.index("next") + 1:] if not line.strip().startswith("#")]
    assert all(each[:1] == ["terrasynth"] for each in commands)
    code, out, errors = terrasynth(*commands[0][1:])
    assert (code, len(out.splitlines())) == (0, 10), errors
    chosen = dict(map(parse_override, (word for word in commands[2] if "=" in word)))
    assert chosen["model.validation.encoder"] == "no #1: o/judge"
    code, out, errors = terrasynth(*commands[3][1:])
    assert code == 0, errors
    assert "6 images of 2 classes if the filters keep them all, 24 at most" in out
    assert "6 images, 3 of each of 2 classes" in (tmp_path / "no #1: o" / "recipe.yaml").read_text()
    assert any(line.endswith("how long it takes: 6 images, 3 of each of 2 classes") for line in lines)
    assert any("pip install -c constraints.txt '.[service]'" in line for line in lines)


@pytest.mark.parametrize(("each", "share"), [(10, "0.87"), (100, "0.95")])
def test_what_a_judge_will_serve_works_as_it_is_written(each, share, begin, tmp_path):
    folders(tmp_path / "d", a=each, b=each)
    begin("d", "--out", "own")
    text = (tmp_path / "own" / "recipe.yaml").read_text()
    found = re.findall(r"^#(  - {kind: (?:alignment|scene|review).*)$", text, re.M)
    filters = yaml.safe_load("\n".join(found))
    assert [(one["kind"], str(one.get("pass_real"))) for one in filters] == [
        ("alignment", share), ("scene", share), ("review", "None")]
    Recipe.parse({"generator": {"model": "ldm-ucm"}, "filters": filters})


def test_the_same_again_writes_the_same_bytes_and_nothing_else_is_overwritten(begin, tmp_path):
    folders(tmp_path / "d", a=5, b=5)
    begin("d", "--out", "own")
    before = {path.name: path.read_bytes() for path in (tmp_path / "own").iterdir()}
    code, lines, _ = begin("d", "--out", "own")
    assert code == 0
    assert lines.count("there already: own/recipe.yaml") == 1
    assert {path.name: path.read_bytes() for path in (tmp_path / "own").iterdir()} == before
    (tmp_path / "own" / "classes.yaml").write_text("mine")
    (tmp_path / "own" / "data.yaml").unlink()
    code, _, errors = begin("d", "--out", "own")
    assert code == 2
    assert "'own/classes.yaml' is there and says something else, as your edits " in errors[-1]
    assert errors[-1].endswith("do; name another place by --out, or add --overwrite to lose them")
    assert (tmp_path / "own" / "classes.yaml").read_text() == "mine"
    assert not (tmp_path / "own" / "data.yaml").exists()
    code, lines, _ = begin("d", "--out", "own", "--overwrite")
    assert code == 0
    assert "replaced: own/classes.yaml" in lines
    assert {path.name: path.read_bytes() for path in (tmp_path / "own").iterdir()} == before


def test_splits_are_the_same_wherever_images_lie_and_follow_the_seed(begin, tmp_path):
    folders(tmp_path / "d", a=20)
    shutil.copytree(tmp_path / "d", tmp_path / "elsewhere")
    begin("d", "--out", "one")
    begin("elsewhere", "--out", "two")
    begin("d", "--out", "three", "--seed", "1")
    one, two, three = (splits(tmp_path / name / "splits.csv") for name in ("one", "two", "three"))
    assert one == two != three
    assert sorted(one.values()) == sorted(three.values())


def test_near_copies_stay_on_one_side(begin, tmp_path):
    folders(tmp_path / "d", a=20, b=20)
    for k in range(8):
        image = Image.open(tmp_path / "d" / "a" / f"{k}.png")
        image.rotate(90).save(tmp_path / "d" / "a" / f"turned{k}.png")
        image.transpose(Image.Transpose.FLIP_TOP_BOTTOM).resize((96, 96)).save(tmp_path / "d" / "b" / f"large{k}.jpg")
    _, lines, _ = begin("d", "--out", "own")
    found = splits(tmp_path / "own" / "splits.csv")
    for k in range(8):
        assert found[f"a/{k}.png"] == found[f"a/turned{k}.png"] == found[f"b/large{k}.jpg"]
    assert said(lines, "near") == ["16 images are near copies of others; these stay on one side"]


def test_what_is_broken_doubtful_small_or_too_few_is_said(begin, tmp_path):
    folders(tmp_path / "d", **{"Überflutetes Dorf": 5, "UPPER CASE": 5, "lonely": 1, "0": 4})
    (tmp_path / "d" / "empty one").mkdir()
    (tmp_path / "d" / "lonely" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    shutil.copy(tmp_path / "d" / "UPPER CASE" / "0.png", tmp_path / "d" / "0" / "same.png")
    picture(7).resize((16, 16)).save(tmp_path / "d" / "0" / "tiny.png")
    code, lines, _ = begin("d", "--out", "own")
    assert code == 0
    assert said(lines, "broken")[0].startswith("1 cannot be opened and are left out: lonely/broken.png (")
    assert said(lines, "small") == ["1 have less than 64 px on a side, which shows little: 0/tiny.png"]
    assert said(lines, "doubtful") == ["one image under several classes: 0/same.png = UPPER CASE/0.png"]
    assert said(lines, "note") == ["no image lies in the folder empty one"]
    assert said(lines, "unjudged") == ["no image in val, too few or all alike: lonely"]
    assert said(lines, "nameless") == ["nothing says what 0 is called; write it into own/classes.yaml"]
    assert not any("train judge" in line for line in lines)
    command = "own/lora --recipe own/recipe.yaml --set loop.max_steps=800 --set loop.learning_rate=0.001"
    assert any(line.endswith(command) for line in lines)
    assert "not every class has images in train and in val" in (tmp_path / "own" / "recipe.yaml").read_text()
    expander = load_expander("grammar", ontology="own/classes.yaml")
    assert expander.classes == ("0", "UPPER CASE", "lonely", "Überflutetes Dorf")
    assert all("überflutetes dorf" in prompt.text.lower() for prompt in expander.expand("Überflutetes Dorf", 0, 0, 20))
    assert len(read_pairs("own/data.yaml").pairs) == 17


def test_one_class_alone_and_all_images_alike(begin, tmp_path):
    for k in range(6):
        folders(tmp_path / "d", alone=1)
        shutil.copy(tmp_path / "d" / "alone" / "0.png", tmp_path / "d" / "alone" / f"copy{k}.png")
    code, lines, _ = begin("d", "--out", "own")
    assert code == 0
    assert said(lines, "splits") == ["train 7; made with seed 0 (own/splits.csv)"]
    assert [line.split("; ")[1] for line in said(lines, "one class")] == ["add images of others to tell it from"]
    assert "there is one class alone" in (tmp_path / "own" / "recipe.yaml").read_text()


def test_the_folder_of_one_class_has_others_beside_it(begin, tmp_path):
    photos = folders(tmp_path / "photos", pond=6, stadium=2)
    (photos / "notes").mkdir()
    for path in (photos / "pond").iterdir():
        path.rename(path.with_name(f"pond_{path.name}"))
    code, lines, _ = begin("photos/pond", "--out", "own")
    assert code == 0
    assert said(lines, "one class")[0].endswith("(beside it are images of stadium: did you mean 'photos'?)")


@pytest.mark.parametrize("name", sorted(set(FORMATS) - {"levir"}))
def test_every_format_and_the_splits_that_it_has(begin, tmp_path, name):
    place = FORMATS[name](tmp_path / "d")
    code, lines, _ = begin(place, "--out", "own")
    assert code == 0
    assert said(lines, "splits") == ["train 6, val 2, test 2, as the data say"]
    assert said(lines, "classes") == ["forest 5, harbor 5"]
    assert not (tmp_path / "own" / "splits.csv").exists()
    assert (tmp_path / "own" / "data.yaml").exists() is (name != "geotiff")  # that one is a data YAML itself


def test_classes_that_the_embedded_models_know(begin, tmp_path, terrasynth):
    class_folders(tmp_path / "d")
    begin("d", "--out", "own")
    recipe = Recipe.load("own/recipe.yaml")
    assert (recipe.prompts.classes, recipe.prompts.options) == (["forest", "harbor"], {})
    assert [each.kind for each in recipe.filters] == ["alignment", "duplicate"]
    assert not (tmp_path / "own" / "classes.yaml").exists()
    text = (tmp_path / "own" / "recipe.yaml").read_text()
    with_judge = Recipe.parse(yaml.safe_load(re.sub("^#(  - {kind.*own/judge)", r"\1", text, flags=re.M)))
    assert [each.kind for each in with_judge.filters] == ["alignment", "alignment", "scene", "duplicate"]


def test_val_is_made_where_train_and_test_are_there(begin, tmp_path):
    folders(tmp_path / "d" / "train", a=10, b=10)
    folders(tmp_path / "d" / "test", a=2, b=2)
    _, lines, _ = begin("d", "--out", "own")
    assert said(lines, "splits")[0].startswith("train 18, val 2, test 4; made")
    assert said(lines, "near") == ["4 images are near copies of others; 4 of them lie in another split than these"]
    found = splits(tmp_path / "own" / "splits.csv")
    # images of a and b in test are those of train with the same number
    assert {name for name, split in found.items() if split == "test"} == {
        f"test/{label}/{k}.png" for label in "ab" for k in range(2)}
    assert all(found[f"train/{label}/{k}.png"] == "train" for label in "ab" for k in range(2))


def test_an_ontology_is_drafted_from_captions(begin, tmp_path):
    folders(tmp_path / "d", **{"wind turbine": 10})
    for k in range(10):
        (tmp_path / "d" / "wind turbine" / f"{k}.txt").write_text(
            "Two white wind turbines with some green trees beside them.\n"
            + ("A blinking wind turbine on a brown field.\n" if k % 2 else ""))
    _, lines, _ = begin("d", "--out", "own", "--gsd", "0.3")
    assert said(lines, "captions") == ["15 for 10 images, and no image is without"]
    tree = yaml.safe_load((tmp_path / "own" / "classes.yaml").read_text())
    objects = tree["classes"]["wind turbine"]["objects"]
    assert list(objects) == ["main", "tree", "field"]
    assert set(objects["main"]["count"]) == {"two", "a"}
    assert objects["main"]["attributes"][0].keys() == {"", "white"}
    assert objects["tree"]["relation"] == {"beside": 6}  # of the images in train alone
    assert tree["gsd"] == [0.3]
    assert "# said of many images, and in no line below: blinking" in (tmp_path / "own" / "classes.yaml").read_text()
    assert yaml.safe_load((tmp_path / "own" / "data.yaml").read_text())["gsd"] == 0.3


def test_names_alone(begin, tmp_path, terrasynth):
    code, lines, _ = begin("--classes", "wind turbine, solar farm,Forest", "--out", "own", "--model", "someone/model")
    assert code == 0
    assert "nothing says whether a drawn image shows its class" in said(lines, "unjudged")[0]
    assert sorted(path.name for path in (tmp_path / "own").iterdir()) == ["classes.yaml", "recipe.yaml"]
    assert Recipe.load("own/recipe.yaml").generator.model == "someone/model"
    assert load_expander("grammar", ontology="own/classes.yaml").classes == ("wind turbine", "solar farm", "Forest")
    assert Recipe.load("own/recipe.yaml").target == TargetSettings()  # what a recipe without a target asks for
    assert not any("terrasynth train" in line for line in lines)


@pytest.mark.parametrize(("arguments", "message"), [
    ([], "name either DIR, the data to begin with, or --classes"),
    (["d", "--classes", "a"], "name either DIR, the data to begin with, or --classes"),
    (["--classes", "a b; c"], "names are separated by commas, as in --classes 'a b, c'"),
    (["--classes", "a,a"], "name at least one class, and each only once"),
    (["--classes", "a/b"], "class 'a/b' must be text without slashes"),
    (["nothing/../there"], "data 'nothing/../there' does not exist"),
    (["empty"], "has no pairs.jsonl"),
    (["flat"], "name no class; put each class into a folder of its own"),
    (["broken"], "none of 1 images can be opened; the first is x/a.png"),
    (["d", "--out", "own/data.yaml"], "call it recipe.yaml"),
    (["two.yaml"], "two.yaml names several data sets"),
])
def test_wrong_input_is_one_line(begin, tmp_path, arguments, message):
    folders(tmp_path / "d", a=2)
    folders(tmp_path / "flat", images=2)
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken" / "x").mkdir(parents=True)
    (tmp_path / "broken" / "x" / "a.png").write_bytes(b"no image")
    (tmp_path / "two.yaml").write_text("[{data: d}, {data: flat}]")
    before = sorted(tmp_path.rglob("*"))
    code, lines, errors = begin(*arguments)
    assert (code, lines) == (2, [])
    assert message in errors[-1]
    assert sorted(tmp_path.rglob("*")) == before


def test_expand_names_the_way_out(terrasynth):
    code, _, errors = terrasynth("expand", "--classes", "wind turbine")
    assert code == 2
    assert "class 'wind turbine' does not exist; `terrasynth init --classes 'wind turbine' --out FOLDER`" in errors[0]


@pytest.mark.parametrize("data", ["known", "own", "names"])
def test_every_alternative_of_a_recipe_is_a_recipe(begin, tmp_path, data):
    """Whoever takes the # from a line, in the place of the line that it stands for, has a recipe."""
    pairs_jsonl(tmp_path / "known")
    folders(tmp_path / "own", **{"wind turbine": 8, "#2: odd": 8})
    begin(*(["--classes", "wind turbine"] if data == "names" else [data]), "--out", "r")
    text = (tmp_path / "r" / "recipe.yaml").read_text()
    generator, = re.findall(r"^generator: .*$", text, re.M)
    for line in re.findall(r"^#   (generator: .*)$", text, re.M):
        Recipe.parse(yaml.safe_load(text.replace(generator, line)))
    Recipe.parse(yaml.safe_load(text.replace("#  - {kind", "  - {kind")))
    writers = re.findall(r"^  #   expander: (\w+)", text, re.M)
    assert writers == (["captions"] if data == "known" else []) + ["lm", "openai"]
    for name in writers:
        lines = re.search(rf"^  #   (expander: {name}.*\n(?:  #   (?!expander).*\n)*)", text, re.M)[1]
        tree = yaml.safe_load(text) | {"prompts": yaml.safe_load(re.sub(r"^  #   ", "", lines, flags=re.M))}
        assert Recipe.parse(tree).prompts.expander == name
        if name == "captions":
            assert load_expander(name, **Recipe.parse(tree).prompts.options).classes == ("forest", "harbor")
