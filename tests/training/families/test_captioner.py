"""A captioner that learns to say what images show, goes on where it was, and is read by `load_captioner`."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from terrasynth.eval.metrics.captions import score_captions
from terrasynth.eval.models.captioners import keep_encoder, load_captioner, load_grid_encoder
from terrasynth.training.errors import InputError
from terrasynth.training.families.captioner import turned, vocabulary
from terrasynth.training.train import run_preset
from tests.tiny import tiny_scene

COLORS = {"red": (200, 30, 30), "green": (30, 160, 30), "blue": (30, 30, 200), "gray": (120, 120, 120)}
SMALL = {"model.views.size": 32, "model.width": 32, "model.heads": 2, "model.layers": 1, "model.hidden": 32,
         "model.min_count": 2, "model.length": 12, "model.dropout": 0.0, "model.captions": 2,
         "loop.batch_size": 16, "loop.warmup_steps": 5, "loop.learning_rate": 0.01, "loop.max_steps": 60,
         "loop.validate_every": 60, "loop.checkpoint_every": 60, "loop.ema_decay": 0.8, "loop.mixed_precision": "no"}


def write_data(folder, opening):
    """Images of one color each, and what is said of them; `opening` is how this data set begins a sentence."""
    random = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    rows = []
    for number in range(48):
        name = list(COLORS)[number % 4]
        pixels = np.clip(np.array(COLORS[name]) + random.normal(0, 12, (48, 48, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{number}.png")
        split = "train" if number < 32 else "val" if number < 40 else "test"
        rows.append({"file": f"images/{number}.png", "class": name, "split": split,
                     "captions": [f"{opening} a {name} field .", f"{opening} a field that is {name} ."]})
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("captions")
    return [write_data(root / "first", "This is"), write_data(root / "second", "There lies")]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return str(tiny_scene(tmp_path_factory.mktemp("encoder") / "scene", ("beach", "forest")))


@pytest.fixture(scope="module")
def trained(data, encoder, tmp_path_factory):
    out = tmp_path_factory.mktemp("captioner") / "out"
    return run_preset("captioner", data, out, overrides=SMALL | {"model.encoder": encoder})


def test_it_says_what_images_of_test_show_in_the_words_of_either_data_set(data, trained):
    captioner = load_captioner(trained.out)
    assert captioner.styles == ("first", "second")
    for folder, style, opening in zip(data, captioner.styles, ("This is", "There lies"), strict=True):
        rows = [json.loads(line) for line in (folder / "pairs.jsonl").read_text().splitlines()]
        test = [row for row in rows if row["split"] == "test"]
        images = np.stack([np.asarray(Image.open(folder / row["file"])) for row in test])
        said = captioner.caption(images, style)
        assert all(text.startswith(opening) for text in said)
        assert [row["class"] in text for row, text in zip(test, said, strict=True)] == [True] * len(test)
        assert score_captions(said, [row["captions"] for row in test]).bleu[3] == 1.0
        own = [row["captions"][0] for row in test]
        assert (captioner.log_likelihood(images, own, style) > captioner.log_likelihood(images, own[1:] + own[:1],
                                                                                       style)).all()


def test_figures_on_val_are_those_of_each_data_set_and_their_mean(trained):
    found = trained.models[0].figures
    assert found["n"] == 16
    assert found["cider"] == pytest.approx((found["cider_first"] + found["cider_second"]) / 2)
    assert found["cider"] > 5
    assert found["bleu4_first"] > 0.99


def test_the_words_are_those_of_enough_captions_of_train(trained, data):
    words = load_captioner(trained.out).config.words
    assert set(words) == {"this", "is", "there", "lies", "a", "field", "that", *COLORS}
    assert words[0] == "a"
    assert vocabulary([("a", "boat", "a"), ("a", "road"), ("boat",)], 2) == ["a", "boat"]
    with pytest.raises(InputError, match="no word is in 3 captions of train; give more data, or a smaller"):
        vocabulary([("a", "boat", "a", "a")], 3)


def test_it_goes_on_where_it_was(data, encoder, tmp_path):
    def weights(out, *steps):
        for count in steps:
            run_preset("captioner", data[0], out, overrides=SMALL | {
                "model.encoder": encoder, "model.dropout": 0.1, "loop.max_steps": count, "loop.checkpoint_every": 1,
                "loop.validate_every": 1})
        return load_file(out / "model.safetensors")

    whole, parts = weights(tmp_path / "whole", 3), weights(tmp_path / "parts", 1, 3)
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_grids_are_turned_as_squares(encoder):
    grid = torch.arange(9.0).view(1, 9, 1).repeat(40, 1, 2)
    found = turned(grid, torch.Generator().manual_seed(0))
    seen = {tuple(each[:, 0].tolist()) for each in found}
    square = torch.arange(9.0).view(3, 3)
    wanted = {tuple(one.flatten().tolist()) for k in range(4) for one in (torch.rot90(square, k),
                                                                        torch.rot90(square, k).flip(-1))}
    assert seen == wanted
    assert torch.equal(found[..., 0], found[..., 1])
    oblong = torch.rand(2, 12, 3)
    assert torch.equal(turned(oblong, torch.Generator()), oblong)


def test_what_cannot_be_trained_is_said(data, tmp_path, encoder):
    with pytest.raises(InputError, match=r"model\.width 32 is no multiple of its 5 heads"):
        run_preset("captioner", data[0], tmp_path / "out", overrides=SMALL | {"model.encoder": encoder,
                                                                             "model.heads": 5})
    with pytest.raises(InputError, match=r"load_size 64 has no meaning here; set model\.views\.size"):
        run_preset("captioner", data[0], tmp_path / "out", overrides=SMALL | {"load_size": 64})


def test_its_card_says_what_it_learned_from_and_what_it_reaches(trained):
    card = (trained.out / "README.md").read_text()
    found = trained.models[0].figures
    assert "| data | first: 32 train, 8 val; second: 32 train, 8 val; only `train` was trained on |" in card
    assert f"| first val | {found['cider_first']:.3f} | {found['bleu4_first']:.3f} | 8 |" in card
    assert "| decoder | 1 layers of width 32, 11 words |" in card
    assert "| seed | 0 |" in card
    assert f"card       {trained.out / 'README.md'}" in trained.lines()


def test_its_encoder_goes_with_it(data, trained, encoder, tmp_path):
    """A folder of the user's, and an embedded one, may be gone or another one when the captioner is asked."""
    assert (trained.out / "encoder" / "model.safetensors").read_bytes() == \
        (Path(encoder) / "model.safetensors").read_bytes()
    moved = shutil.copytree(trained.out, tmp_path / "moved", ignore=shutil.ignore_patterns("checkpoint", ".cache"))
    images = np.stack([np.asarray(Image.open(data[0] / "images" / f"{row}.png")) for row in range(8)])
    assert load_captioner(moved).caption(images) == load_captioner(trained.out).caption(images)
    assert keep_encoder("efficientnet-lite0", load_grid_encoder("efficientnet-lite0"), tmp_path) == "efficientnet-lite0"
    assert not (tmp_path / "encoder").exists()


def test_next_steps_name_the_commands(trained, data):
    said = [text for _, text in trained.next_steps()]
    assert said == [f"terrasynth eval captions {data[0]} --captioner {trained.out}",
                    f"terrasynth recaption DIR --captioner {trained.out} --out {trained.out}-captions"]
