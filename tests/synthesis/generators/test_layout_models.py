"""Models that are shown a layout: ControlNet, T2I-Adapter and GLIGEN of diffusers, real and tiny."""

import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from datasets import load_dataset
from diffusers import (
    ControlNetModel,
    DPMSolverMultistepScheduler,
    StableDiffusionControlNetPipeline,
    StableDiffusionPipeline,
)
from PIL import Image

from terrasynth import export, load_generator, plan, verify
from terrasynth.eval import load_segmenter
from terrasynth.prompts import load_expander
from terrasynth.prompts.layouts.catalog import SIX, load_catalog
from terrasynth.prompts.layouts.drawing import draw_layout
from terrasynth.prompts.layouts.labels import labels_at, labels_of
from terrasynth.prompts.layouts.layout import Layout, Thing
from terrasynth.prompts.layouts.palettes import check_colors, color_map, palettes
from terrasynth.synthesis import Recipe, run
from terrasynth.synthesis.cards.licence_sources import sources_of
from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.core.images import decode
from terrasynth.synthesis.generators.conditions.layout import MOST_BOXES, LayoutReading
from terrasynth.synthesis.generators.finding import find_generator
from terrasynth.synthesis.recipe import GeneratorSettings
from tests import tiny_pipelines as tiny
from tests.tiny import tiny_segmenter

AIRPORT, RIVER = (draw_layout(label, seed=0, k=0) for label in ("airport", "river"))
SHOWN = [AIRPORT.to_json(), RIVER.to_json(), AIRPORT.to_json()]
STEPS = 4  # of which GLIGEN looks at boxes in the first


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    root = tmp_path_factory.mktemp("layout-models")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiny, "TEXT_LENGTH", 77)  # as that of the models that they stand for
        tiny.sd(root / "sd")
        tiny.sdxl(root / "sdxl")
        tiny.sd_for_adapter(root / "attends-first")
        tiny.gligen(root / "gligen")
    tiny.controlnet(root / "sd", root / "sd-control")
    tiny.controlnet(root / "sdxl", root / "sdxl-control")
    tiny.adapter(root / "adapter")
    return root


KINDS = {
    "controlnet": ("sd", {"control": "sd-control", "layout": "ade20k"}),
    "controlnet-xl": ("sdxl", {"control": "sdxl-control", "layout": "six"}),
    "adapter": ("attends-first", {"control": "adapter", "layout": {"other": (0, 0, 0), "airplane": (255, 255, 255)}}),
    "gligen": ("gligen", {}),
}


def opened(places, kind, **more):
    model, settings = KINDS[kind]
    given = {**settings, **({"control": str(places / settings["control"])} if "control" in settings else {}), **more}
    return load_generator(str(places / model), steps=STEPS, guidance=3.0, device="cpu", **given)


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_an_image_depends_on_its_layout_and_on_no_other(places, kind, exact):
    generator = opened(places, kind, exact=exact, micro_batch=2)
    images = generator.generate(["A beach."] * 3, [7, 7, 7], SHOWN)
    assert (images[0] != images[1]).any()
    assert (images[0] == images[2]).all()
    assert (generator.generate(["A beach."], [7], SHOWN[1:2])[0] == images[1]).all()


def test_a_controlnet_is_shown_what_diffusers_would_be(places):
    """The same image as a pipeline that is put together by hand, and is given the map as an image."""
    ours = opened(places, "controlnet", exact=True, dtype="float32").generate(["A beach."], [3], SHOWN[:1])[0]
    base = StableDiffusionPipeline.from_pretrained(places / "sd")
    control = ControlNetModel.from_pretrained(places / "sd-control")
    theirs = StableDiffusionControlNetPipeline(**base.components, controlnet=control, requires_safety_checker=False)
    theirs.scheduler = DPMSolverMultistepScheduler.from_config(base.scheduler.config)
    answer = theirs(["A beach."], image=[Image.fromarray(color_map(AIRPORT, "ade20k", 16))], num_inference_steps=STEPS,
                    guidance_scale=3.0, generator=[torch.Generator().manual_seed(3)], output_type="np")
    assert np.abs(np.rint(answer.images[0] * 255) - ours).max() <= 1  # ours computes on one thread
    blank = theirs(["A beach."], image=[Image.new("RGB", (16, 16))], num_inference_steps=STEPS, guidance_scale=3.0,
                   generator=[torch.Generator().manual_seed(3)], output_type="np")
    assert np.abs(np.rint(blank.images[0] * 255) - ours).max() > 1


def test_a_whole_pipeline_with_a_controlnet_says_itself_in_which_colors(places, tmp_path):
    generator = opened(places, "controlnet")
    generator.pipeline.save_pretrained(tmp_path / "whole")
    with pytest.raises(InputError, match=r"nothing says in which colors; set generator\.conditioning\.layout to six"):
        find_generator(GeneratorSettings.of(str(tmp_path / "whole")))
    (tmp_path / "whole" / "terrasynth.json").write_text(json.dumps({"layout": "ade20k"}))
    again = load_generator(str(tmp_path / "whole"), steps=STEPS, guidance=3.0, device="cpu")
    assert (again.generate(["A beach."], [3], SHOWN[:1]) == generator.generate(["A beach."], [3], SHOWN[:1])).all()


def test_colors_are_part_of_the_identity(places):
    seen = {json.dumps(find_generator(GeneratorSettings.of(
        str(places / "sd"), control=str(places / "sd-control"), layout=colors)).identity(), sort_keys=True)
        for colors in ("six", "ade20k", {"other": (0, 0, 0)}, dict(palettes()["ade20k"]))}
    assert len(seen) == 3  # a palette is its colors, not its name
    assert "layout" not in find_generator(GeneratorSettings.of(str(places / "sd"))).identity()


@pytest.mark.parametrize(("model", "settings", "said"), [
    ("sd", {"layout": "six"}, "would change nothing: model .* reads texts alone"),
    ("gligen", {"layout": "six"}, "would change nothing: model .* reads boxes with words"),
    ("gligen", {"steps": 3}, "looks at boxes in the first 0.3 of 3 steps, which is none"),
    ("sd", {"control": "sd-control"}, "nothing says in which colors"),
    ("sd", {"control": "sd-control", "layout": "cityscapes"}, "palette 'cityscapes' is unknown; there are"),
    ("sd", {"control": "sd-control", "layout": {"hous": (1, 2, 3)}}, r"class 'hous' is unknown \(did you mean 'house'"),
    ("sd", {"control": "sd-control", "layout": {"house": (1, 2, 3)}}, "the cover 'land' has no color"),
    ("sd", {"control": "sd-control", "layout": {"other": (1, 2, 300)}}, "three numbers from 0 to 255"),
    ("gligen", {"control": "sd-control", "layout": "six"}, "which has no place in the StableDiffusionGLIGENPipeline"),
    ("sd", {"control": "sd/vae", "layout": "six"}, "says 'AutoencoderKL'; give the folder or the Hub id"),
    ("sd", {"control": "sd", "layout": "six"}, "has no config.json; give the folder or the Hub id of a Control"),
    ("sd", {"control": "./missing", "layout": "six"}, "missing"),
])
def test_what_cannot_be_is_one_line(places, model, settings, said):
    given = {key: str(places / value) if key == "control" and not value.startswith(".") else value
             for key, value in settings.items()}
    with pytest.raises(InputError, match=said) as caught:
        find_generator(GeneratorSettings.of(str(places / model), **given))
    assert "\n" not in str(caught.value)


def test_a_controlnet_of_another_model_is_refused(places, tmp_path):
    shutil.copytree(places / "sd-control", tmp_path / "other")
    config = json.loads((tmp_path / "other" / "config.json").read_text())
    (tmp_path / "other" / "config.json").write_text(json.dumps(config | {"cross_attention_dim": 8}))
    with pytest.raises(InputError, match=r"cannot be loaded|was made for another model"):
        load_generator(str(places / "sd"), control=str(tmp_path / "other"), layout="six", device="cpu")
    with pytest.raises(InputError, match="was made for another model than 'sdxl': its cross_attention_dim is 16, and "
                                         "that of the model 32"):
        load_generator(str(places / "sdxl"), control=str(places / "sd-control"), layout="six", device="cpu")


def test_layouts_and_models_have_to_go_together(places):
    with pytest.raises(InputError, match="give one layout a prompt"):
        opened(places, "controlnet").generate(["A beach."], [0])
    with pytest.raises(InputError, match="give one layout a prompt"):
        opened(places, "controlnet").generate(["A beach."] * 2, [0, 1], SHOWN[:1])
    with pytest.raises(InputError, match="reads texts alone"):
        load_generator(str(places / "sd"), device="cpu").generate(["A beach."], [0], SHOWN[:1])
    with pytest.raises(InputError, match="a layout is a square"):
        opened(places, "controlnet", height=16, width=32).generate(["A beach."], [0], SHOWN[:1])


def test_boxes_are_those_of_the_labels():
    labels, things = labels_of(AIRPORT), load_catalog().things
    told = LayoutReading(None).arguments([SHOWN[0]], (16, 16))
    largest = sorted(labels.instances, key=lambda one: -one.pixels)[:MOST_BOXES]
    assert len(told["gligen_boxes"]) == min(len(labels.instances), MOST_BOXES)
    assert np.allclose(np.array(told["gligen_boxes"]) * AIRPORT.pixels, [one.box for one in largest])
    said = zip(told["gligen_phrases"], largest, strict=True)
    assert all(phrase.endswith(things[one.kind].noun) for phrase, one in said)
    assert LayoutReading(None).arguments([""], (16, 16))["gligen_scheduled_sampling_beta"] == 0


def test_a_map_has_the_colors_of_what_is_labeled():
    size = AIRPORT.pixels
    labels, catalog = labels_of(AIRPORT), load_catalog()
    ade, six = color_map(AIRPORT, "ade20k", size), color_map(AIRPORT, "six", size)
    for value, name in enumerate(catalog.classes):
        if name in palettes()["ade20k"] and (labels.semantic == value).any():
            assert (ade[labels.semantic == value] == palettes()["ade20k"][name]).all()
    assert (six == np.array([palettes()["six"][name] for name in SIX])[labels.six()]).all()


def test_a_map_at_another_size_shows_the_same_things():
    """A thing too small to be labeled at its own size is on no map, however large the map is."""
    car = {"length": 4.4, "width": 1.8, "heading": 0.0}
    things = (Thing("car", x=16, y=16, **car), Thing("building", x=48, y=48, heading=0.0, length=20, width=20))
    layout = Layout("buildings", side=64.0, gsd=1.0, ground="grass", things=things, min_pixels=12)
    assert len(labels_of(layout).instances) == 1
    shown = color_map(layout, "ade20k", 256)
    assert (shown == palettes()["ade20k"]["building"]).all(-1).sum() == 80 * 80
    assert not (shown == palettes()["ade20k"]["car"]).all(-1).any()


def test_every_cover_has_a_color_in_ade20k():
    assert check_colors(dict(palettes()["ade20k"]))
    assert set(palettes()["six"]) == set(SIX)


RECIPE = {"seed": 3, "prompts": {"expander": "layout", "classes": ["airport"], "size": 64},
          "filters": [], "target": {"per_class": 2, "max_attempts": 4}, "runtime": {"device": "cpu"}}


def test_a_run_draws_by_the_layouts_of_its_prompts(places, tmp_path):
    model = {"model": str(places / "sd"), "control": str(places / "sd-control"), "steps": 2,
             "conditioning": {"layout": "ade20k"}}
    recipe = Recipe.parse(RECIPE | {"generator": model})
    assert run(recipe, tmp_path / "run").accepted == 2
    rows = load_dataset("parquet", data_files=str(tmp_path / "run" / "data" / "*.parquet"), split="train")
    expander = load_expander("layout", size=64)
    assert rows["layout"] == [expander.expand("airport", 3, k, 1)[0].layout for k in range(2)]
    for row in rows:
        own = labels_at(Layout.from_json(row["layout"]), 16)
        assert (np.asarray(row["mask"]) == own.semantic).all()
        assert row["objects"]["bbox"] == [[one.box[0], one.box[1], one.box[2] - one.box[0], one.box[3] - one.box[1]]
                                          for one in own.instances]
        assert row["objects"]["area"] == [one.pixels for one in own.instances]
    assert verify(tmp_path / "run").faults == ()
    card = (tmp_path / "run" / "README.md").read_text()
    assert "| `layout` | what lies where" in card
    assert "nobody checked them against the image" in card
    assert f"Values of `mask`, from 0: {', '.join(load_catalog().classes)}." in card
    without = run(Recipe.parse(RECIPE | {"generator": {"model": str(places / "sd"), "steps": 2}}), tmp_path / "plain")
    assert without.accepted == 2
    columns = pq.read_schema(next((tmp_path / "plain" / "data").iterdir())).names
    assert not {"layout", "objects", "mask"} & set(columns)
    assert "control" in {source.role for source in sources_of(recipe)}


def six(places):
    """A model that is shown layouts in the colors `six`."""
    return {"model": str(places / "sd"), "control": str(places / "sd-control"), "steps": 1,
            "conditioning": {"layout": "six"}}


def test_a_layout_goes_through_growth_loss_and_repair(places, tmp_path, terrasynth):
    """A run that grew, and lost a block and a shard, has the rows of one that was made at once."""
    segmenter = tiny_segmenter(tmp_path / "segmenter")
    small = RECIPE | {"generator": six(places), "runtime": {"device": "cpu", "block_size": 2},
                      "filters": [{"kind": "layout", "segmenter": str(segmenter), "min_iou": 0.0}]}
    large = small | {"target": {"per_class": 4, "max_attempts": 8}}
    run(Recipe.parse(large), tmp_path / "once")
    run(Recipe.parse(small), tmp_path / "grown")
    run(Recipe.parse(large), tmp_path / "grown")
    (shard,) = (tmp_path / "grown" / "data").iterdir()
    wrong = pq.read_table(shard)
    column = wrong.schema.get_field_index("mask")
    pq.write_table(wrong.set_column(column, wrong.schema.field(column), wrong["image"]), shard)
    assert any("say: mask of" in str(fault) for fault in verify(tmp_path / "grown").faults)
    next((tmp_path / "grown" / "blocks").rglob("*.parquet")).unlink()
    shard.write_bytes(shard.read_bytes()[:-9])
    assert len(verify(tmp_path / "grown").faults) >= 2
    assert terrasynth("run", tmp_path / "grown" / "recipe.yaml", "--out", tmp_path / "grown", "--repair")[0] == 0
    assert shard.read_bytes() == next((tmp_path / "once" / "data").iterdir()).read_bytes()
    assert verify(tmp_path / "grown").faults == ()

    rows = pq.read_table(shard).to_pylist()
    scores = [row["scores"]["layout"] for row in rows]
    assert scores == [pytest.approx(seen_in(row, load_segmenter(segmenter)), abs=1e-6) for row in rows]
    between = (sorted(scores)[1] + sorted(scores)[2]) / 2
    stricter = large | {"filters": [large["filters"][0] | {"min_iou": between}],
                        "target": {"per_class": 2, "max_attempts": 4}}
    assert run(Recipe.parse(stricter), tmp_path / "grown", shrink=True).accepted == 2  # judged again, and not drawn
    kept = pq.read_table(shard).to_pylist()
    best = [row["id"] for row, score in zip(rows, scores, strict=True) if score > between]
    assert [row["id"] for row in kept] == best


def seen_in(row, segmenter):
    """The score of an image, counted class by class."""
    image = decode(row["image"]["bytes"])
    truth, seen = labels_at(Layout.from_json(row["layout"]), len(image)).six(), segmenter.segment(image[None])[0]
    classes = [value for value in range(len(SIX)) if (truth == value).mean() >= 0.01]
    return np.mean([((truth == one) & (seen == one)).sum() / ((truth == one) | (seen == one)).sum() for one in classes])


def test_a_run_without_layouts_has_no_layout_filter(places, tmp_path):
    segmenter = tiny_segmenter(tmp_path / "segmenter")
    recipe = RECIPE | {"generator": {"model": str(places / "sd"), "steps": 1},
                       "filters": [{"kind": "layout", "segmenter": str(segmenter), "min_iou": 0.1}]}
    with pytest.raises(InputError, match="compares images with their layouts, and the generator of this"):
        plan(Recipe.parse(recipe))
    shown = recipe | {"generator": six(places), "filters": [recipe["filters"][0] | {"min_iou": None, "pass_real": 0.9}]}
    with pytest.raises(InputError, match=r"pass_real 0.9: segmenter '.*' has no calibration.json beside its weights"):
        plan(Recipe.parse(shown))


def test_a_layout_is_exported(places, tmp_path):
    run(Recipe.parse(RECIPE | {"generator": six(places)}), tmp_path / "run")
    export(tmp_path / "run", "imagefolder", tmp_path / "out")
    (told,) = (tmp_path / "out").rglob("metadata.jsonl")
    shown = [json.loads(json.loads(line)["provenance"])["layout"] for line in told.read_text().splitlines()]
    assert [Layout.from_json(text).label for text in shown] == ["airport", "airport"]


def test_what_a_run_with_layouts_takes_is_planned(places):
    model = {"model": str(places / "sd"), "control": str(places / "sd-control"), "steps": 1,
             "conditioning": {"layout": {"other": [0, 0, 0], "airplane": [255, 255, 255]}}}
    planned = plan(Recipe.parse(RECIPE | {"generator": model}))
    assert planned.seconds_per_picture > 0
    assert len(planned.prompts["airport"]) > 0


def test_a_run_whose_prompts_have_no_layout_says_so(places, tmp_path):
    model = {"model": str(places / "gligen"), "steps": STEPS}
    recipe = Recipe.parse(RECIPE | {"generator": model, "prompts": {"expander": "grammar", "classes": ["beach"]}})
    with pytest.raises(InputError, match=r"prompt 0 of class 'beach' has no layout, and 'gligen' is shown one"):
        run(recipe, tmp_path / "run")


def test_generate_takes_a_layout_from_a_file(places, tmp_path, terrasynth):
    (tmp_path / "airport.json").write_text(SHOWN[0])
    code, _, lines = terrasynth(
        "generate", "A beach.", "--model", places / "sd", "--control", places / "sd-control", "--palette", "ade20k",
        "--layout", tmp_path / "airport.json", "--steps", "4", "--guidance", "3", "--seed", "3", "--device", "cpu",
        "--out", tmp_path / "out")
    assert (code, [line for line in lines if "error" in line]) == (0, [])
    ours = opened(places, "controlnet", exact=True).generate(["A beach."], [3], SHOWN[:1])[0]
    assert (np.asarray(Image.open(tmp_path / "out" / "00000.png")) == ours).all()
    code, _, lines = terrasynth("generate", "A beach.", "--model", places / "gligen", "--layout",
                                tmp_path / "none.json", "--out", tmp_path / "other")
    assert code == 2
    assert "cannot be read" in lines[-1]
