"""Runs of before-and-after pairs: one scene, one noise, one edit, from which all else follows."""

import base64
import io
import json
import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import load_dataset
from PIL import Image

from terrasynth import load_generator, plan, verify
from terrasynth.eval.models.knowledge import Knowledge
from terrasynth.eval.pages.tiles import ACROSS, MARGIN, PER_SHEET, TileSize, sheet_name
from terrasynth.prompts import load_expander
from terrasynth.prompts.errors import InputError as PromptError
from terrasynth.prompts.layouts.catalog import load_catalog
from terrasynth.prompts.layouts.changes import Edit, layout_after, pair_of
from terrasynth.prompts.layouts.labels import labels_at
from terrasynth.prompts.layouts.layout import Layout
from terrasynth.prompts.layouts.palettes import color_map, palettes
from terrasynth.prompts.layouts.saying import WORDS
from terrasynth.synthesis import Recipe, run
from terrasynth.synthesis.cards.label_tiles import WHOLE, legend
from terrasynth.synthesis.cards.one_file import one_file_report
from terrasynth.synthesis.cards.run_report import drawn_unread
from terrasynth.synthesis.cli.prompt_lines import json_line
from terrasynth.synthesis.core.errors import InputError
from terrasynth.synthesis.core.images import decode
from terrasynth.synthesis.execution import unread
from terrasynth.synthesis.execution.job import Job
from terrasynth.synthesis.execution.prompts import is_shown
from terrasynth.synthesis.execution.worker import _prompt
from terrasynth.synthesis.filters import Measurements
from terrasynth.synthesis.filters.alignment import AlignmentFilter
from terrasynth.synthesis.filters.duplicate import DuplicateFilter
from terrasynth.synthesis.filters.pairs import PairJudge
from terrasynth.synthesis.ledger.blocks import SCHEMA, schema_of
from tests.browser import is_accessible
from tests.synthesis.helpers import fingerprint, rows
from tests.synthesis.test_kill import cut_off
from tests.tiny import tiny_segmenter

LABEL = "mediumresidential"


@pytest.fixture
def places(pair_models):
    return pair_models


@pytest.fixture
def tree(pair_tree):
    return pair_tree


@pytest.fixture
def once(pair_run):
    return pair_run


def test_both_images_show_one_scene_from_one_noise(places, tree, once):
    generator = load_generator(str(places / "sd"), control=str(places / "control"), layout="six", steps=1, guidance=3.0,
                               device="cpu", dtype="float32")
    found = rows(once)
    assert len(found) == 4
    for row in found:
        later = layout_after(row["layout"], row["edit"])
        drawn = generator.generate([row["text"], row["text_after"]], [row["seed"]] * 2, [row["layout"], later])
        assert (drawn[0] == decode(row["image"]["bytes"])).all()
        assert (drawn[1] == decode(row["image_after"]["bytes"])).all()
        assert (drawn[0] != drawn[1]).any()


def test_all_that_is_said_of_a_change_follows_from_its_edit(once):
    loaded = load_dataset("parquet", data_files=str(once / "data" / "*.parquet"), split="train")
    for row in loaded:
        pair, side = pair_of(row["layout"], row["edit"]), row["image"].width
        change = np.asarray(row["change"])
        assert row["changed"] is pair.changed is bool(change.any())
        assert (change == pair.mask_at(side)).all()
        assert row["change_captions"] == list(pair.captions)
        before, after = np.asarray(row["mask"]), np.asarray(row["mask_after"])
        assert (before == labels_at(pair.before, side).semantic).all()
        assert (after == labels_at(pair.after, side).semantic).all()
        assert not (change[before != after] == 0).any()
        assert row["image_after"].size == row["image"].size
    assert len({row["changed"] for row in loaded}) == 2
    assert verify(once).faults == ()
    card = (once / "README.md").read_text()
    assert "4 pairs of synthetic remote-sensing images, before and after, of 1 class, " in card
    assert "| `changed`, `change_captions` | whether anything did" in card


def test_killed_grown_lost_and_repaired_it_is_the_same(tree, once, tmp_path, monkeypatch, terrasynth):
    out = tmp_path / "run"
    small = {**tree, "target": {"per_class": 2, "max_attempts": 4}}
    assert cut_off(monkeypatch, 4, lambda: run(Recipe.parse(small), out)) >= 2
    run(Recipe.parse(tree), out)
    assert fingerprint(out / "blocks") == fingerprint(once / "blocks")
    assert fingerprint(out / "data") == fingerprint(once / "data")

    (shard,), block = (out / "data").iterdir(), next((out / "blocks").rglob("*.parquet"))
    told = pq.read_table(shard)
    place = told.schema.get_field_index("changed")
    pq.write_table(told.set_column(place, told.schema.field(place), pa.array([True] * len(told))), shard)
    assert any("say: changed of" in str(fault) for fault in verify(out).faults)
    block.write_bytes(block.read_bytes()[:-9])
    assert terrasynth("run", out / "recipe.yaml", "--out", out, "--repair")[0] == 0
    assert fingerprint(out / "blocks") == fingerprint(once / "blocks")
    assert fingerprint(out / "data") == fingerprint(once / "data")
    assert verify(out).faults == ()


def test_it_is_judged_again_without_drawing(places, tree, once, tmp_path):
    scores = [row["scores"]["layout"] for row in rows(once)]
    between = (sorted(scores)[1] + sorted(scores)[2]) / 2
    other = tiny_segmenter(tmp_path / "segmenter", seed=1)
    by_both = [{**tree["filters"][0], "min_iou": between}, {"kind": "layout", "segmenter": str(other), "min_iou": 0.0}]
    stricter = {**tree, "filters": by_both, "target": {"per_class": 2, "max_attempts": 4}}
    out = tmp_path / "run"
    run(Recipe.parse(tree), out)
    assert run(Recipe.parse(stricter), out, shrink=True).drawn == 0
    best = [row["id"] for row, score in zip(rows(once), scores, strict=True) if score > between]
    assert [row["id"] for row in rows(out)] == best
    side = pq.read_table(next((out / "scores").rglob("*.parquet")))
    assert side["embedding"].to_pylist() != side["embedding_after"].to_pylist()
    assert verify(out).faults == ()


def over(root, k, layer):
    """What lies over the tile of an attempt, RGBA."""
    sheet = Image.open(root / "report" / sheet_name(LABEL, k // PER_SHEET, layer)).convert("RGBA")
    (row, column), (across, down) = divmod(k % PER_SHEET, ACROSS), TileSize(16, 16).pitch
    return np.asarray(sheet)[row * down + MARGIN :, column * across + MARGIN :][:16, :16].astype(int)


def test_the_report_lays_labels_and_changes_over_the_images(once):
    html = (once / "report" / "index.html").read_text()
    told = json.loads(re.search(r'id="rows">(.*?)</script>', html, re.DOTALL)[1])
    assert set(told["layers"]) == {"labels", "after", "after-labels"}
    colors = [palettes()["all"][name] for name in load_catalog().classes]
    assert len(set(legend(True).values())) == len(legend(True)) == len(colors) + 2
    by_id = {row["id"]: row for row in rows(once)}
    seen = set()
    for number, (row_id, _, k, *_) in enumerate(told["rows"]):
        row = by_id[row_id]
        pair = pair_of(row["layout"], row["edit"])
        words = told["changes"][told["change"][number]]
        if pair.edit.doing in ("destroyed", "cut", "built"):
            count, kind, *_ = words.split()
            assert f"{WORDS[int(count)]} {kind}" in pair.captions[0].lower()
        else:
            assert words == WHOLE[pair.edit.doing]
        assert (told["after"][number] or row["text"]) == row["text_after"]
        mask = np.pad(pair.mask_at(16), 1)
        inside = mask[:-2, 1:-1] & mask[2:, 1:-1] & mask[1:-1, :-2] & mask[1:-1, 2:]
        edge = mask[1:-1, 1:-1] & ~inside
        for layer, layout in (("labels", pair.before), ("after-labels", pair.after)):
            own, shown = labels_at(layout, 16), over(once, k, layer)
            boxes = np.zeros((16, 16), bool)
            for left, top, right, bottom in (one.box for one in own.instances):
                boxes[top:bottom, left:right] = True
                boxes[top + 1 : bottom - 1, left + 1 : right - 1] = False
            red, plain = (shown == [255, 0, 0, 255]).all(-1), ~edge & (own.mask == 0)
            assert (red == edge).all()
            assert (shown[plain & (shown[..., 3] < 255), :3] == np.array(colors)[own.semantic][
                plain & (shown[..., 3] < 255)]).all()
            seen |= {tuple(color) for color in shown[boxes & ~edge].tolist()}
    assert (0, 0, 0, 255) in seen


def test_sheets_of_labels_grow_and_are_verified(tree, once, tmp_path):
    out = tmp_path / "run"
    run(Recipe.parse({**tree, "target": {"per_class": 2, "max_attempts": 8}}), out)
    run(Recipe.parse(tree), out)
    sheets = {path.name: path.read_bytes() for path in (once / "report").glob("images-*")}
    assert {path.name: path.read_bytes() for path in (out / "report").glob("images-*")} == sheets
    assert len(sheets) == 4
    (out / "report" / sheet_name(LABEL, 0, "after-labels")).unlink()
    assert [fault.file for fault in verify(out).faults] == [f"report/images-{LABEL}-00000-after-labels.png"]


def test_a_report_that_is_one_file_has_them_inside(once):
    html, shown, _ = one_file_report(once, 2)
    told = json.loads(re.search(r'id="rows">(.*?)</script>', html, re.DOTALL)[1])
    first = told["rows"][0]
    sizes = {layer: len(each["tiles"]) for layer, each in told["layers"].items()}
    assert sizes == {"labels": shown, "after": 0, "after-labels": shown}  # those after are in the page already
    tile = Image.open(io.BytesIO(base64.b64decode(told["layers"]["labels"]["tiles"][first[0]]))).convert("RGBA")
    assert (np.asarray(tile) == over(once, first[2], "labels")).all()


def judged(settings, before, after, kind="embeddings"):
    """The judge of a filter after a block of pairs."""
    judge = PairJudge(settings.judge("beach", None, None))
    judge.begin(replace(before, after=after))
    return judge


def aligned(*scores):
    return Measurements("embeddings", np.zeros((len(scores), 1), np.float32), np.float32(scores))


@pytest.mark.parametrize(("before", "after", "score"), [(0.5, 0.4, 0.4), (0.4, 0.5, 0.4), (0.1, 0.5, 0.1),
                                                        (0.5, 0.1, 0.1), (0.1, 0.2, 0.1), (0.2, 0.1, 0.1)])
def test_the_worse_image_decides(before, after, score):
    judge = judged(AlignmentFilter(min_score=0.3), aligned(0.9, before), aligned(0.9, after))
    assert judge.score(1) == pytest.approx(score)
    assert judge.passes(judge.score(1)) is (min(before, after) >= 0.3)


def test_a_threshold_comes_from_both_images():
    judge = PairJudge(AlignmentFilter(quantile=0.5, calibrate_on=2).judge("beach", None, None))
    judge.learn(replace(aligned(0.1, 0.2), after=aligned(0.3, 0.4)))
    assert judge.threshold == pytest.approx(0.25)


def test_a_pair_repeats_an_earlier_one_by_either_image(tmp_path):
    one, other, third, fourth = np.eye(4, dtype=np.float32)
    settings = DuplicateFilter(encoder="thumbnail", max_similarity=0.9)
    judge = PairJudge(settings.judge("beach", None, tmp_path))
    before, after = np.stack([one, third, third]), np.stack([one, other, fourth])
    judge.begin(Measurements("embeddings", before, None, Measurements("embeddings", after)))
    assert judge.score(0) is None  # there is nothing to compare with, and the images of a pair are not compared
    judge.keep(0)
    assert judge.score(1) == pytest.approx(0)
    judge.keep(1)
    assert judge.score(2) == pytest.approx(1)  # its image before was there
    assert not judge.passes(judge.score(2))


def test_measurements_of_both_images_go_together():
    found = replace(aligned(0.1, 0.2, 0.3), after=aligned(0.4, 0.5, 0.6))
    assert found.rows(1, 3).after.cosines().tolist() == pytest.approx([0.5, 0.6])
    assert Measurements.joined([found, found]).after.cosines().tolist() == pytest.approx([0.4, 0.5, 0.6] * 2)
    assert found.both().cosines().tolist() == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    with pytest.raises(ValueError, match="3 pairs measured as 'embeddings' have 2 images after"):
        replace(aligned(0.1, 0.2, 0.3), after=aligned(0.4, 0.5))


def test_a_run_of_single_images_has_no_column_of_pairs(tree, tmp_path):
    single = {**tree, "prompts": {key: value for key, value in tree["prompts"].items() if key != "pairs"}}
    job, pairs = Job(Recipe.parse(single), tmp_path / "single"), Job(Recipe.parse(tree), tmp_path / "pairs")
    assert schema_of(job.identity).names == [*SCHEMA.names, "layout"]
    assert "pairs" not in job.identity.parts["prompts"]
    assert job.identity.hash != pairs.identity.hash
    assert pairs.attempt_bytes() == 2 * job.attempt_bytes()


def test_words_that_a_model_never_read_are_looked_for_in_both_texts(tree, once, tmp_path, monkeypatch):
    monkeypatch.setattr(unread, "known_by", lambda *_: Knowledge(frozenset({"houses"})))
    job = Job(Recipe.parse(tree), tmp_path / "run")
    assert {one.texts for one in job.unread} == {2 * 4}
    run_again = Job(Recipe.parse(tree), once)
    classes = [SimpleNamespace(label="mediumresidential", blocks=2)]
    assert {one.texts for one in drawn_unread(run_again, classes)} == {2 * 4}


def test_a_plan_speaks_of_pairs(tree):
    planned = plan(Recipe.parse(tree))
    assert planned.said()["to be drawn"] == ("4 pairs of 1 class if the filters keep them all, 8 at most "
                                             "(target.max_attempts)")
    assert planned.said()["time"].endswith("s a pair, as measured now")


def test_a_model_that_reads_texts_alone_draws_no_pairs(places, tree, tmp_path):
    alone = {**tree, "generator": {"model": str(places / "sd"), "steps": 1}, "filters": []}
    with pytest.raises(InputError, match=r"generator 'sd' reads texts alone, so that .* leave prompts\.pairs out"):
        run(Recipe.parse(alone), tmp_path / "run")


def test_pairs_travel_to_other_processes_and_through_files(tree, tmp_path):
    options = {key: value for key, value in tree["prompts"].items() if key in ("size", "pairs")}
    written = load_expander("layout", **options).expand(LABEL, 3, 0, 3)
    for one in written:
        sent = [one.text, list(one.captions), one.source, one.scene, one.layout, one.edit, one.text_after]
        assert _prompt(LABEL, *json.loads(json.dumps(sent))).edit == one.edit
    (tmp_path / "pairs.jsonl").write_text("".join(map(json_line, written)))
    found = load_expander("file", path=str(tmp_path / "pairs.jsonl"))
    read = found.expand(LABEL, 0, 0, 3)
    assert [(one.text, one.layout, one.edit, one.text_after) for one in read] == [
        (one.text, one.layout, one.edit, one.text_after) for one in written]
    assert found.identity()["pairs"] is True


@pytest.mark.parametrize(("change", "said"), [
    ({"edit": {"doing": "destroyed", "things": [999]}}, r"pairs.jsonl:2: edit names things \(999,\) of a layout that"),
    ({"edit": {"doing": "moved"}}, "no JSON object with a `doing` of built, destroyed"),
    ({"text_after": ""}, "edit and text_after belong together"),
    ({"layout": ""}, "an edit, and no layout that it edits"),
    ({"edit": "", "text_after": ""}, "has rows with an edit and rows without"),
])
def test_a_file_of_pairs_is_checked(tmp_path, change, said):
    first, second = (json.loads(json_line(one)) for one in load_expander("layout", size=64, pairs=["season"]).expand(
        LABEL, 0, 0, 2))
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, (first, second | change))))
    with pytest.raises(PromptError, match=said):
        load_expander("file", path=str(tmp_path / "pairs.jsonl"))


def test_an_edit_of_a_file_that_changes_nothing_is_named(tmp_path):
    told = json.loads(json_line(load_expander("layout", size=64, pairs=["season"]).expand(LABEL, 0, 0, 1)[0]))
    dry = {"doing": "flooded", "area": [[900.0, 900.0], [901.0, 900.0], [901.0, 901.0]]}
    (tmp_path / "pairs.jsonl").write_text(json.dumps(told | {"edit": dry}))
    with pytest.raises(PromptError, match=r"pairs\.jsonl: the pair '.*' of class .*: edit 'flooded' changes 0 labeled"):
        load_expander("file", path=str(tmp_path / "pairs.jsonl")).expand(LABEL, 0, 0, 1)


@pytest.mark.parametrize(("pairs", "said"), [
    ("some", "option pairs 'some' of the layout expander has to be all, or a list of built"),
    ([], "has to be all, or a list"), (["bult"], r"has 'bult', which nothing does \(did you mean 'built'\?\)"),
    (["built", "built"], "has 'built' twice; name it once"),
])
def test_what_may_be_done_is_one_of_five(pairs, said):
    with pytest.raises(PromptError, match=said):
        load_expander("layout", pairs=pairs)


def test_where_nothing_can_be_done_a_class_is_refused():
    with pytest.raises(PromptError, match="in 40 scenes of class 'ship' there is nothing to be cut that the generator"):
        load_expander("layout", pairs=["cut"]).expand("ship", 0, 0, 1)


def test_what_changed_is_shown_to_the_model(places, tree, tmp_path):
    """A map of six classes shows no tree, and bare soil as land: a tree cut down on land would change no image."""
    cut = {**tree["prompts"], "classes": ["river"], "pairs": ["cut"]}
    job = Job(Recipe.parse({**tree, "prompts": cut}), tmp_path / "run")
    told = [pair_of(one.layout, one.edit) for one in job.prompts("river", 0, 12)]
    assert all((color_map(one.before, "six", 64) != color_map(one.after, "six", 64)).any() for one in told)
    anyway = load_expander("layout", size=64, pairs=["cut"]).expand("river", 8, 0, 12)
    unseen = [one for one in anyway if not is_shown(job.source, *both(one))]
    assert unseen
    (tmp_path / "pairs.jsonl").write_text(json_line(unseen[0]))
    by_file = {**tree, "prompts": {"expander": "file", "path": str(tmp_path / "pairs.jsonl")},
               "target": {"per_class": 2, "max_attempts": 2}}
    with pytest.raises(InputError, match=r"is shown nothing of the edit '.*cut.* images would be the same; leave it"):
        run(Recipe.parse(by_file), tmp_path / "by-file")


def both(prompt):
    pair = pair_of(prompt.layout, prompt.edit)
    return pair.before, pair.after


def test_only_season_and_light_differ_where_nothing_changed():
    for one in load_expander("layout", size=64, pairs=["season"]).expand(LABEL, 0, 0, 6):
        edit, before = Edit.from_json(one.edit), Layout.from_json(one.layout)
        assert edit.season in one.text_after
        assert edit.light in one.text_after
        plain = [text.replace(f" {when.season or '-'}", "").replace(f" {when.light or '-'}", "")
                 for text, when in ((one.text, before), (one.text_after, edit))]
        assert plain[0] == plain[1]


@pytest.mark.slow
@pytest.mark.parametrize(("width", "scheme"), [(1300, "light"), (390, "dark")])
def test_labels_lie_exactly_over_the_images_in_a_browser(chromium, once, width, scheme):
    context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page, said = context.new_page(), []
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto((once / "report" / "index.html").as_uri())
    assert page.locator("img.labels").count() == 0  # nobody asked for them yet
    page.locator(".over input").first.check()
    page.locator("#images figure .tile").first.click()
    assert page.locator("img.labels").count() == 2 * 4 + 2
    for tile in page.locator(".tile:has(img.labels)").all():
        image, labels = tile.locator("img:not(.labels)"), tile.locator("img.labels")
        labels.scroll_into_view_if_needed()
        labels.evaluate("image => image.decode()")
        assert labels.bounding_box() == image.bounding_box()
    is_accessible(page)
    page.locator("dialog .over input").uncheck()
    assert page.locator("img.labels").count() == 0
    assert said == []
    context.close()
