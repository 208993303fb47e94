import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from PIL import Image

from terrasynth.eval.metrics.retrieval import measure_retrieval
from terrasynth.synthesis.cli import main
from terrasynth.synthesis.core.identity import Identity
from terrasynth.synthesis.core.images import encode
from terrasynth.synthesis.ledger.blocks import Attempt, Blocks
from terrasynth.synthesis.ledger.directory import RunDirectory
from terrasynth.synthesis.ledger.frozen import Frozen
from terrasynth.synthesis.recipe import Recipe
from terrasynth.synthesis.studies.downstream.arms import ARMS, random_keep, unfiltered
from terrasynth.synthesis.studies.downstream.figures import BETTER, HELPS, HURTS, SAME, UNJUDGED, WORSE
from terrasynth.synthesis.studies.downstream.pools import Pool, RunAttempts
from terrasynth.synthesis.studies.trainings import Budget
from terrasynth.training.errors import InputError
from terrasynth.training.studies.downstream import recall_scores, train_cell
from tests.tiny import tiny_pictures

COLOURS = {"desert": (210, 180, 110), "forest": (30, 90, 40), "river": (40, 80, 170), "snow": (235, 235, 240)}
SIZE = 32
BUDGET = Budget(15, 8, SIZE)
DOCS = Path(__file__).parents[3] / "docs" / "downstream.md"


def _pool(per_class, seed, colours=COLOURS, size=SIZE):
    generator = np.random.default_rng(seed)
    labels = [name for name in colours for _ in range(per_class)]
    ground = np.array([colours[name] for name in labels])[:, None, None]
    images = np.clip(ground + generator.normal(0, 12, (len(labels), size, size, 3)), 0, 255).astype(np.uint8)
    return Pool.of(images, labels, [(f"a picture of the {name}", f"the {name} from above") for name in labels])


def _accuracy(train, seed=0):
    found = train_cell("scene", train, _pool(2, 1), _pool(6, 2), BUDGET, seed, "test")
    return float(np.mean(found.scores["accuracy"]))


def test_more_pictures_help_where_their_classes_are_right():
    few = _pool(2, 3, {name: COLOURS[name] for name in ("desert", "forest")})  # nothing of the other two classes
    right, wrong = (_pool(8, 4, dict(zip(COLOURS, colours, strict=True)))
                    for colours in (COLOURS.values(), reversed(COLOURS.values())))
    real, useful, harmful = (_accuracy(train) for train in (few, few + right, few + wrong))
    assert useful > max(real, harmful) + 0.2


def test_a_training_is_repeatable_and_its_seed_decides_it():
    train, val, test = _pool(3, 3), _pool(1, 1), _pool(6, 2, {name: (120, 120, 120) for name in COLOURS})
    torch.manual_seed(1)
    one = train_cell("scene", train, val, test, BUDGET, 0, "test")
    torch.manual_seed(2)
    assert train_cell("scene", train, val, test, BUDGET, 0, "test") == one
    assert one.chance == {"accuracy": 0.25}
    assert len(one.scores["accuracy"]) == 24
    assert set(one.scores["accuracy"]) <= {0.0, 1.0}


def test_retrieval_is_learned_from_the_pairs():
    train = _pool(6, 3)
    found = train_cell("retrieval", train, _pool(2, 1), _pool(3, 2), Budget(40, 12, SIZE), 0, "test")
    assert list(found.scores) == ["mean recall", "R@1", "R@5"]
    assert np.mean(found.scores["R@1"]) > 2 * found.chance["R@1"]
    parts = np.mean([found.scores["R@1"], found.scores["R@5"]], 0)
    np.testing.assert_allclose(found.scores["mean recall"], parts)


def test_recall_agrees_with_that_of_the_evaluators():
    generator = np.random.default_rng(0)
    captions = [(f"one {i}", f"two {i % 7}") for i in range(20)]
    texts = list(dict.fromkeys(text for own in captions for text in own))
    images, embeddings = (v / np.linalg.norm(v, axis=1, keepdims=True)
                          for v in (generator.normal(size=(20, 4)), generator.normal(size=(len(texts), 4))))
    scores, chance = recall_scores(images, captions, texts, embeddings)
    known = measure_retrieval(images, captions, texts, embeddings, 0)
    for k, to_text, to_image in zip((1, 5), known.image_to_text, known.text_to_image, strict=False):
        assert np.mean(scores[f"R@{k}"]) == pytest.approx((to_text.recall.value + to_image.recall.value) / 2)
        assert chance[f"R@{k}"] == pytest.approx((to_text.chance + to_image.chance) / 2)


def test_a_class_without_a_real_test_picture_is_refused():
    with pytest.raises(InputError, match="class 'snow' has no real test image; there are: desert, forest, river"):
        train_cell("scene", _pool(2, 0), _pool(1, 1), _pool(2, 2).take(range(6)), BUDGET, 0, "test")


def test_pictures_that_are_too_small_are_refused():
    with pytest.raises(InputError, match="size 16 px is too small for these networks; give --size 32 or more"):
        train_cell("scene", _pool(2, 0), _pool(1, 1), _pool(2, 2), Budget(1, 8, 16), 0, "test")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    rows = [(label, split) for label in ("desert", "river") for split in ("train",) * 4 + ("val",) + ("test",) * 2]
    lines = []
    for number, (label, split) in enumerate(rows):
        Image.fromarray(_pool(1, number, {label: COLOURS[label]}, 24).images[0]).save(folder / f"{number:02d}.png")
        lines.append({"file": f"{number:02d}.png", "class": label, "split": split, "captions": [f"{label} {number}"]})
    (folder / "pairs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    """A run as it lies on the disk: two classes, a block of four attempts each, every second one accepted."""
    run = tmp_path_factory.mktemp("run")
    recipe = Recipe.parse({"name": "tiny", "prompts": {"expander": "grammar", "classes": ["river"]},
                           "generator": {"model": "ldm-ucm"}, "runtime": {"block_size": 4}})
    (run / "recipe.yaml").write_text(yaml.safe_dump(recipe.tree()), "utf-8")
    identity = Identity.of(0, {"model": "ldm-ucm"}, {"expander": "grammar"})
    Frozen(identity, 4, "png").save(run)
    blocks, decided = Blocks(run, 4, "png"), []
    for place, label in enumerate(("desert", "river")):
        pictures = tiny_pictures(4, SIZE, place)
        ids = [identity.attempt(label, k)[0] for k in range(4)]
        attempts = [
            Attempt(ids[k], k, label, encode(picture, "png"), f"a {label}", (f"a {label}",), k, "grammar", "{}")
            for k, picture in enumerate(pictures)
        ]
        blocks.write(label, 0, attempts, None, None)
        decided += [{"id": ids[k], "accepted": k % 2 == 0} for k in range(4)]
    pq.write_table(pa.Table.from_pylist(decided), run / "decisions.parquet")
    return run


def _call(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        main(["eval", "downstream", *map(str, arguments)])
    captured = capsys.readouterr()
    return ended.value.code, captured.out, captured.err


@pytest.mark.slow
def test_the_command_trains_compares_and_goes_on(data, run_folder, tmp_path, capsys):
    arguments = [run_folder, "--data", data, "--fractions", "50", "--retrieval-fractions", "50", "--seeds", "1",
                 "--steps", "1", "--retrieval-steps", "1", "--batch-size", "2", "--generator-saw", "all",
                 "--out", tmp_path]
    code, out, err = _call(capsys, *arguments)
    assert code == 0, err
    assert len(list((tmp_path / "cells").iterdir())) == 12
    assert "Scene classification: 50 %: not judged, since there is one seed" in out
    assert "12 of 12: retrieval, synthetic only, seed 0: mean recall" in err
    table = (tmp_path / "downstream.md").read_text()
    assert "| 50 % | real + synthetic | 4 + 4 | 2 |" in table
    assert "4 others besides" in table
    assert len((tmp_path / "subsets" / "50-percent-seed-0.txt").read_text().split()) == 4
    before = {path: os.stat(path).st_mtime_ns for path in (tmp_path / "cells").iterdir()}
    code, again, err = _call(capsys, *arguments)
    assert (code, again) == (0, out)
    assert err.count("(done before)") == 12
    assert {path: os.stat(path).st_mtime_ns for path in (tmp_path / "cells").iterdir()} == before


def test_the_command_probes_frozen_features(data, run_folder, tmp_path, capsys):
    arguments = [run_folder, "--data", data, "--features", "scene-ucm", "--features", "thumbnail", "--per-class",
                 "1,all", "--seeds", "2", "--generator-saw", "none", "--cache", tmp_path / "cache", "--out",
                 tmp_path / "out"]
    code, out, err = _call(capsys, *arguments)
    assert code == 0, err
    lines = [line for line in out.splitlines() if line.startswith(("scene-ucm", "thumbnail"))]
    assert [line.split(": ")[0] for line in lines] == [
        f"{name}, {method}" for name in ("scene-ucm", "thumbnail") for method in ("linear probe", "k-NN")
        for _ in range(3)]
    assert sum(": 4 a class: " in line for line in lines) == 4  # "all" of four
    found = json.loads((tmp_path / "out" / "downstream.json").read_text())
    assert [each["task"] for each in found["tasks"]] == [
        "scene-ucm, linear probe", "scene-ucm, k-NN", "thumbnail, linear probe", "thumbnail, k-NN"]
    assert {each["amount"] for each in found["tasks"][0]["arms"]} == {0, 1, 4}
    assert not (tmp_path / "out" / "cells").exists()
    assert (tmp_path / "out" / "subsets" / "1-a-class-seed-1.txt").is_file()
    kept = {path: path.read_bytes() for path in (tmp_path / "out").glob("downstream.*")}
    code, again, _ = _call(capsys, *arguments)
    assert (code, again) == (0, out)
    assert {path: path.read_bytes() for path in kept} == kept


@pytest.mark.parametrize(("changes", "message"), [
    (["--features", "scene-ucm", "--steps", "9"], "--steps is of trainings from random weights; leave it out with"),
    (["--per-class", "5"], "--per-class is of probes on frozen features; add --features MODEL, or leave it out"),
    (["--features", "scene-ucm", "--per-class", "0,2"], "--per-class '0,2': give numbers of images from 1 to 4, the"),
    (["--features", "scene-ucm", "--per-class", "1,9"], "--per-class '1,9': give numbers of images from 1 to 4"),
    (["--features", "scene-ucm", "--per-class", "few"], "--per-class 'few': give numbers of images from 1 to 4"),
    (["--features", "nowhere"], "model 'nowhere': unknown name"),
    (["--fractions", "5,200"], "--fractions '5,200': give shares in percent above 0 up to 100"),
    (["--fractions", "few"], "--fractions 'few': give shares in percent"),
    (["--generator-saw", "some"], "--generator-saw 'some' is none of unknown, all, none"),
])
def test_wrong_options_are_refused_in_one_line(data, run_folder, tmp_path, capsys, changes, message):
    code, _, err = _call(capsys, run_folder, "--data", data, *changes, "--out", tmp_path / "out")
    assert code == 2
    assert message in err
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_no_run_is_refused(data, tmp_path, capsys):
    code, _, err = _call(capsys, tmp_path, "--data", data, "--out", tmp_path / "out")
    assert code == 2
    assert "holds no attempts under blocks/" in err


def test_a_class_of_the_run_that_is_not_real_is_refused(data, run_folder, tmp_path, capsys):
    lines = [line for line in (data / "pairs.jsonl").read_text().splitlines() if "river" in line]
    (tmp_path / "pairs.jsonl").write_text("\n".join(lines) + "\n")
    for path in data.glob("*.png"):
        os.link(path, tmp_path / path.name)
    code, _, err = _call(capsys, run_folder, "--data", tmp_path, "--out", tmp_path / "out")
    assert code == 2
    assert "class 'desert' of the run has no real image; the data have: river" in err


def test_a_class_that_a_run_gave_up_is_left_out(run_folder, tmp_path):
    run = shutil.copytree(run_folder, tmp_path / "run")
    decided = pq.read_table(run / "decisions.parquet").to_pylist()
    every = RunDirectory(run).attempts()
    ids = [one for table in every.read(["id"]) for one in table["id"].to_pylist()]
    of_desert = {one for one, label in zip(ids, every.labels, strict=True) if label == "desert"}
    pq.write_table(pa.Table.from_pylist([{"id": row["id"], "accepted": row["accepted"] and row["id"] not in of_desert}
                                         for row in decided]), run / "decisions.parquet")
    found = RunAttempts.read(run, ["river"])
    assert sorted(found.labels) == ["desert"] * 4 + ["river"] * 4
    kept = [label for label, inside in zip(found.labels, found.accepted, strict=True) if inside]
    assert kept == ["river"] * 2
    for rows in (unfiltered(found.labels, found.accepted), random_keep(found.labels, found.accepted, 0)):
        assert [found.labels[row] for row in rows] == ["river"] * 2


def test_the_documentation_uses_the_words_of_the_program():
    text = DOCS.read_text("utf-8")
    for word in (*ARMS, HELPS, HURTS, SAME, UNJUDGED, BETTER, WORSE):
        assert word in text, word
    from terrasynth.synthesis.cli import cli

    command = cli.commands["eval"].commands["downstream"]
    known = {option for parameter in command.params for option in parameter.opts if option.startswith("--")}
    used = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text))
    assert {"--data", "--generator-saw"} <= used <= known | {"--out"}
