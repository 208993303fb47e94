"""TerraSynth from Python and in a notebook: what is public, what it takes, and what it shows."""

import json
from html.parser import HTMLParser

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Image, Value, load_dataset
from PIL import Image as PillowImage

import terrasynth
from terrasynth import RunDirectory, evaluate, export, load_generator, plan, push, run, train, verify
from terrasynth.eval.images import as_images
from terrasynth.synthesis.core.errors import InputError
from terrasynth.training.data import read_pairs
from terrasynth.training.errors import InputError as DataError
from tests.tiny import tiny_pictures

CLASSES = ["beach", "forest", "river"]


class _Tags(HTMLParser):
    """Reads HTML, and remembers what was opened and not closed."""

    def __init__(self):
        super().__init__()
        self.open, self.seen, self.words = [], set(), []

    def handle_starttag(self, tag, attrs):
        self.seen.add(tag)
        if tag not in ("img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def _shown(thing):
    """What a notebook shows: the words, and the tags, all of which are closed."""
    tags = _Tags()
    tags.feed(thing._repr_html_())
    assert tags.open == []
    return " ".join(tags.words), tags.seen


@pytest.fixture
def judges(models):
    return {"encoder": str(models.other_encoder), "classifier": str(models.classifier), "cache": "none"}


def _real(n=24):
    features = Features({"image": Image(), "captions": [Value("string")], "label": ClassLabel(names=CLASSES)})
    images = [PillowImage.fromarray(pixels) for pixels in tiny_pictures(n, size=40, seed=5)]
    texts = [[f"a picture of a {CLASSES[i % 3]}", f"number {i}"] for i in range(n)]
    return Dataset.from_dict({"image": images, "captions": texts, "label": [i % 3 for i in range(n)]}, features)


def test_what_is_public():
    asked = {"Recipe", "run", "plan", "load_generator", "evaluate", "export", "verify", "push", "train"}
    assert asked <= set(terrasynth.__all__)
    assert all(getattr(terrasynth, name).__doc__ for name in asked)


def test_a_run_is_judged_as_on_the_command_line(terrasynth, finished, judges, tmp_path):
    found = evaluate(finished, **judges)
    out = tmp_path / "figures.json"
    options = [part for name, value in judges.items() for part in (f"--{name}", value)]
    code, _, lines = terrasynth("eval", finished, "--out", out, *options)
    assert code == 0, lines
    assert json.loads(out.read_text()) == json.loads(json.dumps(found.to_json()))
    words, _ = _shown(found)
    assert "scene accuracy" in words
    assert "Seed 0" in words


def test_a_data_set_and_its_images_are_judged_as_the_run_is(finished, judges):
    rows = load_dataset(str(finished), split="train")
    found = evaluate(finished, **judges).to_json()
    assert evaluate(rows, **judges).to_json() == found
    assert evaluate(rows["image"], rows["text"], rows["label"], **judges).to_json() == found
    arrays = as_images(rows["image"])
    assert evaluate(arrays, rows["text"], rows["label"], **judges).to_json() == found
    assert evaluate(run_like(finished), **judges).to_json() == found


def run_like(root):
    return RunDirectory(root)


def test_real_data_of_datasets_adds_distances(finished, judges):
    real = DatasetDict(test=_real())
    found = evaluate(finished, real=real, **judges)
    assert found.frechet is not None
    assert found.frechet.n_reference == 24
    with pytest.raises(InputError, match="no pairs in split 'val'"):
        evaluate(finished, real=real, split="val", **judges)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("RUN", ["a"], None), "texts and labels go with images; a run has its own"),
        (([PillowImage.new("RGB", (8, 8))], None, ["beach"]), "1 image without texts"),
        (([PillowImage.new("RGB", (8, 8))], ["a"], None), "1 image without labels"),
        (([PillowImage.new("RGB", (8, 8)), PillowImage.new("RGB", (8, 9))], ["a"] * 2, ["beach"] * 2), "2 sizes"),
        ((["beach.png"], ["a"], ["beach"]), "str at place 0, where a PIL image is needed"),
        ((np.zeros((1, 8, 8)), ["a"], ["beach"]), "dtype float64"),
    ],
)
def test_wrong_images_are_named(finished, arguments, message):
    data, *rest = arguments
    with pytest.raises(InputError, match=message):
        evaluate(finished if isinstance(data, str) else data, *rest)


def test_a_gray_image_is_one_of_three_channels():
    assert as_images([PillowImage.new("L", (4, 2), 7)]).tolist() == np.full((1, 2, 4, 3), 7).tolist()
    assert len(as_images([])) == 0


def test_pairs_of_a_data_set_in_memory(tmp_path):
    real = _real(6)
    data = read_pairs(DatasetDict(train=real, validation=real.select([0])))
    assert [pair.split for pair in data.pairs] == ["train"] * 6 + ["val"]
    assert data.pairs[1].label == "forest"
    assert data.pairs[1].captions == ("a picture of a forest", "number 1")
    assert np.array_equal(np.asarray(data.pairs[1].open()), tiny_pictures(6, size=40, seed=5)[1])
    folder = tmp_path / "files" / "beach"
    folder.mkdir(parents=True)
    PillowImage.new("RGB", (8, 8), "red").save(folder / "one.png")
    (folder / "metadata.jsonl").write_text('{"file_name": "one.png", "text": "a red beach"}\n')
    listed = load_dataset("imagefolder", data_dir=str(tmp_path / "files"), split="train[:1]",
                          cache_dir=str(tmp_path / "cache"))
    (pair,) = read_pairs(listed).pairs  # its images lie where their folder is
    assert (pair.split, pair.captions, pair.open().getpixel((0, 0))) == ("train", ("a red beach",), (255, 0, 0))
    with pytest.raises(DataError, match="IterableDataset cannot be read"):
        read_pairs(real.to_iterable_dataset())


def test_a_training_takes_data_of_datasets(tmp_path):
    from terrasynth.training.presets import load_preset

    tiny = next(stage for stage in load_preset("tiny").stages if stage.preset == "scene-ucm")
    settings = {f"model.{key}": value for key, value in tiny.model.items()}
    loop = {"loop.max_steps": 1, "loop.batch_size": 4, "loop.warmup_steps": 1, "load_size": 40}
    trained = train("scene-ucm", DatasetDict(train=_real(12), validation=_real(6)), tmp_path / "scene",
                    overrides=settings | loop)
    words, _ = _shown(trained)
    assert "scene classifier" in words
    assert f"filters: [{{kind: scene, classifier: {tmp_path / 'scene'}, pass_real: 0.95}}]" in words
    assert trained.models[0].figures


def test_what_a_notebook_shows_of_a_run(recipe, tmp_path):
    words, _ = _shown(recipe)
    assert "per_class: 5" in words
    words, _ = _shown(plan(recipe))
    assert "24 images of 3 classes if the filters keep them all, 72 at most" in words
    made = run(recipe, tmp_path / "run")
    words, tags = _shown(made)
    assert "15 of 3 classes" in words
    assert "beach" in words
    assert "table" in tags
    words, tags = _shown(RunDirectory(made.root))
    assert "img" in tags
    assert made.identity in words
    checked = verify(made)
    assert checked.whole
    assert len(checked) == 0
    assert "whole" in _shown(checked)[0]
    words, _ = _shown(export(made, "imagefolder", tmp_path / "images"))
    assert "rows of train 15" in " ".join(words.split())
    words, _ = _shown(push(made, "me/demo", licence="cc-by-nc-4.0", dry=True, offline=True))
    assert "me/demo" in words
    (made.root / "README.md").write_text("changed")
    words, _ = _shown(verify(made))
    assert "1 fault" in words
    assert "README.md" in words


def test_real_data_of_datasets_is_merged(finished, tmp_path):
    done = export(finished, "parquet", tmp_path / "both", merge=[DatasetDict(train=_real(6), test=_real(3))],
                  licence="cc-by-nc-4.0")
    assert done.rows["train"] >= 6
    assert load_dataset(str(tmp_path / "both"), split="test").num_rows == 3


def test_drawn_images_are_shown(models):
    drawn = load_generator(str(models.generator), steps=1, device="cpu").draw(["a beach", "a forest"], [0, 1])
    _, tags = _shown(drawn)
    assert tags == {"div", "figure", "img", "figcaption"}


def test_options_that_say_the_same_twice(finished, tmp_path):
    from terrasynth.synthesis.export.registry import load_exporter
    from terrasynth.synthesis.hub.pushing import PushSettings

    with pytest.raises(InputError, match="options go with the name of a format"):
        export(finished, load_exporter("parquet"), tmp_path / "out", options={"rows_per_shard": 5})
    with pytest.raises(InputError, match="give either them, or a name and options"):
        push(finished, PushSettings("me/demo", dry=True, offline=True), private=True)
