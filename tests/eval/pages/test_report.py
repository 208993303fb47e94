from __future__ import annotations

import json
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from terrasynth.eval.pages.charts import ScoreHistogram, nice_ticks
from terrasynth.eval.pages.run_report import ClassRow, RunReport, to_json, write_report
from terrasynth.eval.pages.sheets import GAP, MARGIN, SheetItem, contact_sheet
from tests.tiny import tiny_pictures

PICTURES = tiny_pictures(6, 64)


def report():
    scores = np.random.default_rng(0).normal(0.3, 0.1, 90)
    return RunReport(
        name="harbours & <beaches>",
        identity="0123456789abcdef",
        generator="tiny, 4 steps",
        settings={"seed": 0, "filters": "[alignment]"},
        classes=(
            ClassRow("beach", 10, 17, 10, {"alignment": 5, "duplicate": 1}),
            ClassRow("harbor", 3, 32, 10, {"alignment": 29}),
        ),
        histograms=(ScoreHistogram.of("alignment", scores[scores > 0.3], scores[scores <= 0.3], {"": 0.3}),),
        accepted=tuple(SheetItem(p, "beach", "a <beach>", {"alignment": 0.31}) for p in PICTURES[:4]),
        rejected=tuple(SheetItem(p, "harbor", "boats", {"alignment": 0.1}, "alignment") for p in PICTURES[4:]),
        figures=("scene accuracy 0.5",),
    )


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.text, self.links, self.tags, self.names = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.names += [name for name, _ in attrs]
        self.links += [value for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data):
        if self.tags[-1:] != ["style"]:
            self.text.append(data)


def read(folder):
    page = Page((folder / "index.html").read_text("utf-8"))
    return page, " ".join(" ".join(page.text).split())


def test_the_page_says_the_numbers_and_names_missed_targets(tmp_path):
    assert write_report(tmp_path / "report", report()) == tmp_path / "report" / "index.html"
    page, text = read(tmp_path / "report")
    expected = (
        "13 of 49 images accepted", "26.5 %", "1 / 2", "Target missed: harbor (3 of 10)", "threshold 0.300",
        "alignment 34, duplicate 1", "scene accuracy 0.5", "harbours & <beaches>", "a <beach>", "tiny, 4 steps",
    )
    assert [words for words in expected if words not in text] == []
    loaded = [link for link in page.links if not link.startswith("#")]
    assert loaded == ["accepted.png", "rejected.png"]  # nothing comes from elsewhere


def test_the_json_holds_the_same_figures(tmp_path):
    write_report(tmp_path, report())
    content = json.loads((tmp_path / "report.json").read_text())
    assert content["totals"] == {"label": "all classes", "accepted": 13, "attempted": 49, "target": 20,
                                 "beyond": 1, "rate": 0.265306, "reasons": {"alignment": 34, "duplicate": 1}}
    assert [row["label"] for row in content["classes"]] == ["beach", "harbor"]
    histogram = content["histograms"][0]
    assert sum(histogram["accepted"]) + sum(histogram["rejected"]) == 90
    assert content["rejected_samples"][0] == {
        "label": "harbor", "text": "boats", "scores": {"alignment": 0.1}, "reason": "alignment"
    }


def test_the_same_report_gives_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        write_report(tmp_path / name, report())
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert names == [
        "accepted-dark.png", "accepted.png", "index.html", "rejected-dark.png", "rejected.png", "report.json"]
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_an_empty_report_is_a_page_and_clears_old_sheets(tmp_path):
    write_report(tmp_path, report())
    write_report(tmp_path, RunReport("nothing", "0", "tiny", {}, ()))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index.html", "report.json"]
    page, text = read(tmp_path)
    assert "0 of 0 images accepted" in text
    assert "img" not in page.tags
    assert "Target missed" not in text


def test_an_attempt_is_counted_once():
    row = ClassRow("beach", 10, 17, 10, {"alignment": 5, "duplicate": 1})
    assert (row.rejected, row.beyond) == (6, 1)
    with pytest.raises(ValueError, match="'beach': 10 accepted, 7 rejected and 0 waiting of 16 attempts: count every"):
        ClassRow("beach", 10, 16, 10, {"alignment": 7})


def test_what_waits_for_a_review_is_neither_rejected_nor_beyond(tmp_path):
    waiting = replace(report(), classes=(ClassRow("beach", 2, 12, 10, {"duplicate": 1}, 8),))
    beach = to_json(waiting)["classes"][0]
    assert (beach["reasons"], beach["beyond"], beach["waiting"]) == ({"duplicate": 1}, 1, 8)
    assert all("waiting" not in each for each in to_json(report())["classes"])
    page = write_report(tmp_path, waiting).read_text("utf-8")
    assert "2 accepted, 1 rejected, 8 waiting for a review, 1 beyond the target" in page
    with pytest.raises(ValueError, match="8 waiting of 10 attempts"):
        ClassRow("beach", 2, 10, 10, {"duplicate": 1}, 8)


def test_no_target_missed_no_warning(tmp_path):
    full = report()
    write_report(tmp_path, replace(full, classes=full.classes[:1]))
    assert "Target missed" not in read(tmp_path)[1]


def test_warnings_stand_at_the_top_each_by_itself_and_are_read_again(tmp_path):
    warned = replace(report(), warnings=("It met no <dam>.", "No filter looked."))
    page = write_report(tmp_path, warned).read_text("utf-8")
    places = [page.index(f'<p class="warning"><b>{words}') for words in (
        "Warning:</b> It met no &lt;dam&gt;.</p>", "Warning:</b> No filter looked.</p>", "Target missed:</b> harbor")]
    assert places == sorted(places)
    assert places[-1] < page.index("<h2 ")
    assert RunReport.from_json(json.loads((tmp_path / "report.json").read_text())).warnings == warned.warnings


def test_a_class_that_nothing_was_accepted_of_says_how_near_its_images_came(tmp_path):
    row = ClassRow("beach", 0, 12, 10, {"alignment": 9, "scene": 3}, nearest={"alignment": (0.4321, 0.75)})
    write_report(tmp_path, replace(report(), classes=(row,)))
    page = (tmp_path / "index.html").read_text()
    assert "alignment 9 (best score 0.432, threshold 0.75), scene 3<" in page
    assert RunReport.from_json(json.loads((tmp_path / "report.json").read_text())).classes == (row,)


def test_a_sheet_shows_the_very_pixels():
    dull = (100 + PICTURES[0] // 32).astype(np.uint8)  # low contrast has to stay low
    items = [SheetItem(picture, "beach", "", {"alignment": 0.3}) for picture in (dull, *PICTURES[1:3])]
    sheet = np.asarray(contact_sheet(items, columns=2, thumb=64))
    np.testing.assert_array_equal(sheet[MARGIN : MARGIN + 64, MARGIN : MARGIN + 64], dull)
    left = MARGIN + 64 + GAP
    np.testing.assert_array_equal(sheet[MARGIN : MARGIN + 64, left : left + 64], PICTURES[1])


def test_a_sheet_fits_other_shapes_and_long_names_inside_their_cell():
    wide = np.zeros((20, 80, 3), np.uint8)
    sheet = np.asarray(contact_sheet([SheetItem(wide, "x" * 80, "", {}, "y" * 80)], thumb=64))
    assert sheet.shape[1] == 64 + 2 * MARGIN
    assert (sheet[:, MARGIN + 64 :] == 255).all()
    assert (sheet[MARGIN + 24 : MARGIN + 40, MARGIN : MARGIN + 64] == 0).all()


def test_sheets_of_nothing_or_of_floats_are_refused():
    with pytest.raises(ValueError, match="no images"):
        contact_sheet([])
    with pytest.raises(ValueError, match="float64"):
        contact_sheet([SheetItem(np.zeros((4, 4, 3)), "a", "", {})])


@pytest.mark.parametrize("thresholds", [{}, {"": 0.2}, {label: number / 20 for number, label in enumerate("abcdef")}])
def test_a_chart_draws_every_attempt_and_stays_in_its_frame(thresholds):
    generator = np.random.default_rng(1)
    histogram = ScoreHistogram.of("s", generator.normal(0.4, 0.1, 50), generator.normal(0.1, 0.1, 30), thresholds)
    assert (sum(histogram.accepted), sum(histogram.rejected)) == (50, 30)
    svg = ElementTree.fromstring(histogram.chart().svg)
    width, height = (float(value) for value in svg.get("viewBox").split()[2:])
    bars = svg.findall("rect")
    drawn = {kind: sum(int(bar.find("title").text.split()[-2]) for bar in bars if bar.get("class") == kind)
             for kind in ("accepted", "rejected")}
    assert drawn == {"accepted": 50, "rejected": 30}
    for bar in bars:
        x, y, w, h = (float(bar.get(name)) for name in ("x", "y", "width", "height"))
        assert 0 <= x <= x + w <= width
        assert 0 <= y <= y + h <= height
    marks = [element for element in svg if element.get("class") in ("threshold", "band")]
    assert bool(marks) == bool(thresholds)


def test_equal_scores_make_a_chart_too():
    histogram = ScoreHistogram.of("s", np.full(3, 0.5), np.empty(0))
    assert sum(histogram.accepted) == 3
    assert "<svg" in histogram.chart().svg
    with pytest.raises(ValueError, match="of no scores"):
        ScoreHistogram.of("s", np.empty(0), np.empty(0))
    with pytest.raises(ValueError, match="3 edges need 2 counts"):
        ScoreHistogram("s", (0, 1, 2), (1,), (1, 2))


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 1, [0, 0.5, 1]), (-0.07, 0.31, [0, 0.2]), (0, 37, [0, 20]), (0.899, 0.901, [0.899, 0.9, 0.901])],
)
def test_ticks_are_round_numbers(low, high, expected):
    assert nice_ticks(low, high, 3) == pytest.approx(expected)


def test_a_dark_page_has_dark_sheets(tmp_path):
    write_report(tmp_path, report())
    light, dark = (np.asarray(Image.open(tmp_path / f"accepted{end}.png")) for end in ("", "-dark"))
    assert (light[0, 0] == 255).all()
    assert dark[0, 0].max() < 50
    inside = np.s_[MARGIN : MARGIN + 128, MARGIN : MARGIN + 128]
    np.testing.assert_array_equal(light[inside], dark[inside])  # the images are what they are
    assert dark.max(2)[MARGIN + 128 + 6 :].max() > 150  # and the words can be read
    page = (tmp_path / "index.html").read_text("utf-8")
    assert '<source srcset="accepted-dark.png" media="(prefers-color-scheme: dark)">' in page


def test_figures_come_back_from_the_json(tmp_path):
    full = report()
    write_report(tmp_path, full)
    tree = json.loads((tmp_path / "report.json").read_text())
    back = RunReport.from_json(tree)
    assert back == replace(full, accepted=(), rejected=())
    for missing in ("classes", "prompts", "histograms"):
        with pytest.raises((KeyError, TypeError, ValueError)):
            RunReport.from_json({name: value for name, value in tree.items() if name != missing})
