"""The report of a real run shows all of its images; resumed and grown it writes what is new, and the same bytes."""

import io
import json
import re
import shlex
import shutil
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from terrasynth.eval.pages.run_images import script
from terrasynth.eval.pages.tiles import ACROSS, MARGIN, PER_SHEET, TileSize, sheet_name
from terrasynth.synthesis import run
from terrasynth.synthesis.cards.run_images import attempts
from terrasynth.synthesis.core.images import decode
from terrasynth.synthesis.ledger.decisions import Decision
from terrasynth.synthesis.ledger.directory import RunDirectory
from terrasynth.synthesis.recipe import Recipe

SIZE = TileSize(32, 32)
VERDICTS = {None: "accepted", "beyond_target": "beyond the target", "beyond_max_attempts": "beyond the target",
            "unreviewed": "waiting", "undecided": "undecided"}


def shown(html):
    return json.loads(re.search(r'<script type="application/json" id="rows">(.*?)</script>', html, re.DOTALL)[1])


def report(root):
    return shown((root / "report" / "index.html").read_text("utf-8"))


def tile(root, label, k):
    sheet = np.asarray(Image.open(root / "report" / sheet_name(label, k // PER_SHEET)))
    row, column = divmod(k % PER_SHEET, ACROSS)
    across, down = SIZE.pitch
    return sheet[row * down + MARGIN :, column * across + MARGIN :][:32, :32].astype(int)


def files(root):
    return {path.name: (path.read_bytes(), path.stat().st_ino) for path in (root / "report").iterdir()}


def test_every_attempt_is_shown_with_its_verdict_and_its_image(run_once):
    found, table = report(run_once), pq.read_table(run_once / "decisions.parquet").to_pylist()
    assert len(table) == len(found["rows"]) > 0
    by_id = {row[0]: row for row in found["rows"]}
    blocks = RunDirectory(run_once).blocks
    for each in table:
        _, label, k, seed, text, verdict, reason, *scores = by_id[each["id"]]
        assert (found["labels"][label], k) == (each["label"], each["k"])
        assert found["verdicts"][verdict] == VERDICTS.get(each["reason"], "rejected")
        assert found["reasons"][reason] == ("" if each["reason"] in VERDICTS else each["reason"])
        for name, score in zip(found["filters"], scores, strict=True):
            known = each["scores"][name]
            assert score is None if known is None else score == pytest.approx(known, rel=1e-3)
        block = blocks.read(each["label"], k // 4, ["text", "seed", "image"]).slice(k % 4, 1).to_pylist()[0]
        assert (text, seed) == (block["text"], str(block["seed"]))
        image = np.asarray(Image.open(io.BytesIO(block["image"]["bytes"]))).astype(int)
        assert np.abs(tile(run_once, each["label"], k) - image).mean() < 8  # JPEG of random pixels
    others = [np.abs(tile(run_once, "beach", k) - tile(run_once, "beach", 0)).mean() for k in (1, 2, 3)]
    assert min(others) > 8


def test_the_command_of_an_image_draws_it_again(tree, tmp_path, terrasynth):
    tree |= {"filters": [], "runtime": {}, "target": {"per_class": 1, "max_attempts": 1}}
    model = tree["generator"]["model"]
    run(Recipe.parse(tree), tmp_path / "run")
    found = report(tmp_path / "run")
    _, label, k, seed, text, *_ = found["rows"][0]
    start = found["redraw"]["start"]
    assert "sd; give your own place of it" in found["redraw"]["note"]
    program, *words = shlex.split(f"{start} --class={found['labels'][label]} --seed={seed} -- {shlex.quote(text)}")
    assert (program, words[1]) == ("terrasynth", "--model=sd")  # the folder is of this machine
    words[1] = f"--model={model}"
    assert terrasynth(*[word.replace("--out=again", f"--out={tmp_path / 'again'}") for word in words])[0] == 0
    block = RunDirectory(tmp_path / "run").blocks.read(found["labels"][label], 0, ["image"]).to_pylist()[k]
    drawn = np.asarray(Image.open(next((tmp_path / "again").glob("*.png"))))
    np.testing.assert_array_equal(drawn, np.asarray(Image.open(io.BytesIO(block["image"]["bytes"]))))


def test_a_run_that_grew_has_the_report_of_one_made_at_once_and_kept_what_was_whole(tree, finished, tmp_path):
    tree["filters"], tree["target"] = [], {"per_class": 18, "max_attempts": 24}
    run(Recipe.parse(tree), tmp_path / "small")
    before = files(tmp_path / "small")
    tree["target"] = {"per_class": 23, "max_attempts": 24}
    run(Recipe.parse(tree), tmp_path / "small")
    run(Recipe.parse(tree), tmp_path / "large")
    grown, made = files(tmp_path / "small"), files(tmp_path / "large")
    assert {name: data for name, (data, _) in grown.items()} == {name: data for name, (data, _) in made.items()}
    kept = sorted(name for name in grown if name.endswith(".jpg") and grown[name] == before[name])
    assert kept == [sheet_name(label, 0) for label in ("beach", "forest", "river")]
    assert all(grown[sheet_name("beach", number)] for number in (0, 1))


def test_sheets_that_nobody_shows_go_and_another_image_is_another_sheet(tree, finished, tmp_path):
    other = sheet_name("beach", 0)
    for name in (sheet_name("harbor", 0), sheet_name("beach", 9)):
        shutil.copy(finished / "report" / other, finished / "report" / name)
    whole = (finished / "report" / other).read_bytes()
    shutil.copy(finished / "report" / sheet_name("river", 0), finished / "report" / other)
    (finished / "finished.json").unlink()
    run(Recipe.parse(tree), finished)
    names = sorted(path.name for path in (finished / "report").glob("*.jpg"))
    assert [name.split("-")[1] for name in names] == sorted(name.split("-")[1] for name in names)
    assert not {sheet_name("harbor", 0), sheet_name("beach", 9)} & set(names)
    assert (finished / "report" / other).read_bytes() == whole


def test_a_sheet_that_is_a_link_is_replaced_not_followed(tree, finished, tmp_path):
    sheet = finished / "report" / sheet_name("beach", 0)
    whole = sheet.read_bytes()
    shutil.move(sheet, tmp_path / "elsewhere.jpg")
    sheet.symlink_to(tmp_path / "elsewhere.jpg")
    (finished / "finished.json").unlink()
    run(Recipe.parse(tree), finished)
    assert not sheet.is_symlink()
    assert sheet.read_bytes() == (tmp_path / "elsewhere.jpg").read_bytes() == whole


def test_a_run_of_nothing_has_a_report_without_images(tree, tmp_path):
    run(Recipe.parse(tree), tmp_path / "run", should_stop=lambda: True)
    page = (tmp_path / "run" / "report" / "index.html").read_text()
    assert list((tmp_path / "run" / "report").glob("*.jpg")) == []
    assert "</html>" in page


def test_one_file_holds_the_report_and_its_images(finished, tmp_path, terrasynth):
    out = tmp_path / "sent" / "report.html"
    code, said, _ = terrasynth("report", finished, "--out", out)
    everything = report(finished)
    assert code == 0
    assert said.startswith(f"{out}   ({len(everything['rows'])} images, ")
    html = out.read_text("utf-8")
    assert re.findall(r'(?:src|srcset|href)="(?!data:|#)([^"]*)"', html) == []  # nothing lies beside it
    assert str(tmp_path) not in html
    found = shown(html)
    assert found["rows"] == everything["rows"]
    assert found["thresholds"] == everything["thresholds"]
    assert len(found["embedded"]) + html.count('src="data:image/jpeg') == len(found["rows"])
    assert f"<script>{script()}</script>" in html
    again = tmp_path / "again.html"
    assert terrasynth("report", finished, "--out", again)[0] == 0
    assert again.read_bytes() == out.read_bytes()


def test_a_file_of_fewer_images_says_how_many_are_not_in_it(finished, tmp_path, terrasynth):
    total = len(report(finished)["rows"])
    code, said, _ = terrasynth("report", finished, "--out", tmp_path / "few.html", "--images", 7)
    assert code == 0
    assert f"(6 images, 0.1 MB, {total - 6} are not in it: --images {total} takes all)" in said
    found = shown((tmp_path / "few.html").read_text())
    assert sorted((row[1], row[2]) for row in found["rows"]) == [(label, k) for label in range(3) for k in range(2)]


@pytest.mark.parametrize(("arguments", "what"), [
    (["--out", "report.txt"], "'report.txt' is not the name of a page; end it with .html"),
    (["--out", "FOLDER.html"], "is a folder; give the name of a file"),
])
def test_what_is_no_page_is_refused(finished, tmp_path, terrasynth, monkeypatch, arguments, what):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "FOLDER.html").mkdir()
    code, _, errors = terrasynth("report", finished, *arguments)
    assert (code, len(errors)) == (2, 1)
    assert what in errors[0]


def test_what_is_no_run_or_holds_no_figures_is_said(finished, tmp_path, terrasynth):
    out = tmp_path / "a.html"
    assert terrasynth("report", tmp_path, "--out", out)[0] == 2
    (finished / "report" / "report.json").write_text('{"name": 1}')
    code, _, errors = terrasynth("report", finished, "--out", out)
    assert (code, "holds no figures of a run" in errors[0], "writes it anew" in errors[0]) == (1, True, True)
    (finished / "report" / "report.json").unlink()
    code, _, errors = terrasynth("report", finished, "--out", out)
    assert (code, "run its recipe first" in errors[0]) == (2, True)
    assert not out.exists()


def test_what_may_show_a_training_image_is_a_gray_tile(run_once):
    blocks = RunDirectory(run_once).blocks
    reasons = ["near_copy", None, "near_copy-2", "duplicate"]
    decided = [Decision(k, reason is None, reason, {}) for k, reason in enumerate(reasons)]
    found = list(attempts(blocks, [SimpleNamespace(label="beach", blocks=1, block=lambda index: decided)]))
    assert [image.reason for image, _ in found] == ["near_copy", "", "near_copy-2", "duplicate"]
    stored = blocks.read("beach", 0, ["image"]).to_pylist()
    assert [each.image == row["image"]["bytes"] for (_, each), row in zip(found, stored, strict=True)] == [
        False, True, False, True]
    assert np.unique(decode(found[0][1].image)).tolist() == [128]
    assert decode(found[0][1].image).shape == decode(found[1][1].image).shape
