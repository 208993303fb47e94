"""A segmenter that learns from images with masks, and reads how far the images of a run show their layouts."""

import json

import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner
from PIL import Image
from transformers import AutoModelForSemanticSegmentation, SegformerImageProcessorPil

from terrasynth.eval import load_segmenter
from terrasynth.eval.errors import InputError as EvalInputError
from terrasynth.eval.metrics.segmentation import confusion, image_scores
from terrasynth.prompts.layouts.catalog import SIX
from terrasynth.prompts.layouts.labels import labels_at
from terrasynth.prompts.layouts.layout import Layout
from terrasynth.prompts.layouts.palettes import color_map, palettes
from terrasynth.synthesis.cli import cli
from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.core.images import encode
from terrasynth.synthesis.filters import LayoutFilter
from terrasynth.synthesis.studies.layouts import measure_layouts
from terrasynth.training.errors import InputError as TrainingInputError
from terrasynth.training.train import run_preset
from terrasynth.training.trained import TrainedModel, Training
from tests.synthesis.exports import layout_rows, run_rows, write_run
from tests.tiny import tiny_scene

SIDE = 32
CLASSES = dict(enumerate(("land", "building", "road", "motorway", "water", "grass")))
SMALL = {"model.size": SIDE, "model.widths": [8, 16, 24, 32], "model.depths": [1, 1, 1, 1], "model.decoder": 32,
         "loop.batch_size": 8, "loop.warmup_steps": 5, "loop.learning_rate": 0.01, "loop.max_steps": 35,
         "loop.validate_every": 35, "loop.checkpoint_every": 35, "loop.ema_decay": 0.8, "loop.mixed_precision": "no"}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Images in which each class has its color, without captions, with their masks."""
    root = tmp_path_factory.mktemp("segmenter")
    (root / "data").mkdir()
    (root / "masks").mkdir()
    (root / "masks" / "classes.yaml").write_text(yaml.safe_dump({"gsd": 1.0, "label": "town", "classes": CLASSES}))
    colors = np.array([palettes()["six"][name] for name in SIX], np.uint8)
    random = np.random.default_rng(0)
    rows = []
    for number in range(32):
        mask = np.kron(random.integers(0, 6, (4, 4)), np.ones((8, 8), int)).astype(np.uint8)
        Image.fromarray(mask).save(root / "masks" / f"{number}.png")
        Image.fromarray(colors[mask]).save(root / "data" / f"{number}.png")
        rows.append({"file": f"{number}.png", "split": "train" if number < 20 else "val" if number < 26 else "test"})
    (root / "data" / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return root


@pytest.fixture(scope="module")
def segmenter(data):
    done = run_preset("segmenter", data / "data", data / "out", masks=data / "masks", overrides=SMALL)
    assert done.models[0].figures["mean_iou"] > 0.6
    return data / "out"


def test_it_goes_on_where_it_was(data, tmp_path):
    def trained(out, *steps):
        for count in steps:
            run_preset("segmenter", data / "data", out, masks=data / "masks", overrides=SMALL | {
                "loop.max_steps": count, "loop.checkpoint_every": 1})
        assert str(data) not in (out / "training.json").read_text()
        return (out / "model.safetensors").read_bytes()

    assert trained(tmp_path / "whole", 2) == trained(tmp_path / "parts", 1, 2)


def test_real_images_are_the_scale_of_a_filter(data, segmenter):
    """Half of the real images of `val` pass at the score that half of them reach."""
    known = load_segmenter(segmenter).calibration
    assert known.pictures == 6
    shown = LayoutFilter(segmenter=str(segmenter), pass_real=0.5)
    threshold = shown.judge("town", load_segmenter(segmenter), data).threshold
    images = np.stack([np.asarray(Image.open(data / "data" / f"{number}.png")) for number in range(20, 26)])
    counts = [confusion(np.asarray(Image.open(data / "masks" / f"{20 + row}.png")), seen, len(SIX))
              for row, seen in enumerate(load_segmenter(segmenter).segment(images))]
    assert (image_scores(np.stack(counts)) >= threshold - 1e-6).sum() == 3
    model = TrainedModel("segmenter", "segmenter", segmenter, 1, 1.0, 1, {})
    assert "kind: layout" in dict(Training(segmenter, (model,), ("data",)).next_steps())["recipe"]


def test_it_sees_what_transformers_see(segmenter):
    """Of images of another size than it was trained on, classes are those of the library's own post-processing."""
    images = np.random.default_rng(1).integers(0, 256, (3, 48, 48, 3), dtype=np.uint8)
    found = load_segmenter(segmenter)
    assert found.labels == SIX
    model = AutoModelForSemanticSegmentation.from_pretrained(segmenter, dtype=torch.float32).eval()
    processor = SegformerImageProcessorPil(size={"height": SIDE, "width": SIDE}, resample=3, image_mean=[0.5] * 3,
                                           image_std=[0.5] * 3)
    with torch.inference_mode():
        output = model(**processor(list(images), return_tensors="pt"))
    expected = processor.post_process_semantic_segmentation(output, target_sizes=[(48, 48)] * 3)
    assert (found.segment(images, batch_size=2) == np.stack([each.numpy() for each in expected])).mean() > 0.999


@pytest.mark.parametrize(("change", "said"), [
    ({"model.widths": [8, 9, 16, 32]}, r"widths \[8, 9, 16, 32\]: 9 is no multiple of its 2 heads"),
    ({"model.depths": [1, 0, 1, 1]}, r"depths \[1, 0, 1, 1\]: each stage has at least one block"),
    ({"load_size": 64}, r"load_size 64 has no meaning here; set model"),
])
def test_what_no_network_can_have_is_named(data, tmp_path, change, said):
    with pytest.raises(TrainingInputError, match=said):
        run_preset("segmenter", data / "data", tmp_path, masks=data / "masks", overrides=SMALL | change)


def rows_of(painted):
    """Rows of a run with layouts whose images show them, or the layout of the row after."""
    rows = layout_rows(2, side=SIDE)
    for row, shown in zip(rows, rows if painted else rows[1:] + rows[:1], strict=True):
        picture = color_map(Layout.from_json(shown["layout"]), "six", SIDE)
        row["image"] = {"bytes": encode(picture, "png"), "path": row["image"]["path"]}
    return rows


def test_images_that_show_their_layouts_are_told_from_those_that_do_not(segmenter, tmp_path):
    network = load_segmenter(segmenter)
    obeying, others = (measure_layouts(write_run(tmp_path / str(painted), rows_of(painted)), network)
                       for painted in (True, False))
    assert obeying.drawn.mean.value > obeying.null.mean.value + 0.2
    assert obeying.drawn.mean.value > others.drawn.mean.value + 0.2
    truth = np.stack([labels_at(Layout.from_json(row["layout"]), SIDE).six() for row in rows_of(True)])
    seen = network.segment(np.stack([color_map(Layout.from_json(row["layout"]), "six", SIDE)
                                     for row in rows_of(True)]))
    ious = [((truth == c) & (seen == c)).sum() / ((truth == c) | (seen == c)).sum() for c in np.unique(truth)]
    assert obeying.drawn.mean.value == pytest.approx(np.mean(ious))
    assert obeying.drawn.mean.low <= obeying.drawn.mean.value <= obeying.drawn.mean.high


def test_the_command_says_null_and_ceiling(data, segmenter, tmp_path):
    run = write_run(tmp_path / "run", rows_of(True))
    done = CliRunner().invoke(cli, ["eval", "layouts", str(run), "--segmenter", str(segmenter), "--real",
                                    str(data / "data"), "--masks", str(data / "masks"), "--out",
                                    str(tmp_path / "figures.json")], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["real"]["n"] == 6
    assert figures["drawn"]["n"] == 8
    assert figures["real"]["mean_iou"] > 0.5
    share = figures["drawn"]["mean_iou"] / figures["real"]["mean_iou"]
    assert f"share     {share:.2f} of that of real images" in done.output
    assert str(tmp_path) not in (tmp_path / "figures.json").read_text()


def test_what_cannot_be_read_is_named(segmenter, tmp_path):
    network = load_segmenter(segmenter)
    with pytest.raises(InputError, match=r"has no layouts: its generator was shown none"):
        measure_layouts(write_run(tmp_path / "plain", run_rows(1)), network)
    with pytest.raises(InputError, match=r"has one accepted image, and a layout is compared with that of another"):
        measure_layouts(write_run(tmp_path / "one", rows_of(True)[:1]), network)
    with pytest.raises(EvalInputError, match=r"a 'resnet' model is no network of semantic segmentation"):
        load_segmenter(tiny_scene(tmp_path / "scene", ["a", "b"]))
    network.labels = ("sky", "ground")
    with pytest.raises(InputError, match=r"the segmenter knows sky, ground, and layouts are read as land, building"):
        measure_layouts(write_run(tmp_path / "run", rows_of(True)), network)
