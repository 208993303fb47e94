"""All images of a run on its page: each is there once, texts of others mark nothing up, and one script may run."""

import base64
import hashlib
import json
import re
import shlex
import weakref
from dataclasses import replace

import numpy as np
import pytest

from terrasynth.eval.pages.page import Links, Page, Section
from terrasynth.eval.pages.run_images import (
    ACCEPTED,
    FIRST,
    PER_PAGE,
    REJECTED,
    Redraw,
    RunImage,
    RunImages,
    page_name,
    pages_of,
    script,
    script_source,
)
from terrasynth.eval.pages.run_report import ClassRow, RunReport, write_report
from terrasynth.eval.pages.tiles import TileSize, tile_jpeg
from tests.eval.pages.test_report import Page as Read

LABELS = ("beach", "dense <residential>")
EVIL = "</script><img src=x onerror=alert(1)> & 'quotes' \"too\" \u2028 <!--"


def image(label, k, text="a beach", verdict=ACCEPTED, reason="", **scores):
    return RunImage(f"{LABELS.index(label)}{k:015x}", label, k, 2**62 + k, text, verdict, reason, scores)


@pytest.fixture
def images():
    rows = [image(label, k, f"{EVIL} {k}", *((REJECTED, "alignment") if k % 3 == 0 else (ACCEPTED, "")),
                  **({"alignment": 0.123456} if k else {})) for label in LABELS for k in range(40)]
    return RunImages(rows, (64, 32), Redraw("terrasynth generate --model=tiny --out=again"), LABELS,
                     ("alignment", "duplicate"), {"alignment": {"": 0.25}}, len(rows))


def content(html):
    return json.loads(re.search(r'<script type="application/json" id="rows">(.*?)</script>', html, re.DOTALL)[1])


def test_every_image_is_in_the_page_with_all_that_is_known(images):
    found = content(images.html())
    assert len(found["rows"]) == 80
    name, label, k, seed, text, verdict, reason, alignment, duplicate = found["rows"][43]
    assert (name, found["labels"][label], k, seed) == (images.images[43].id, LABELS[1], 3, str(2**62 + 3))
    assert (text, found["verdicts"][verdict], found["reasons"][reason]) == (f"{EVIL} 3", REJECTED, "alignment")
    assert (alignment, duplicate) == (0.1235, None)
    assert found["rows"][0][-2:] == [None, None]
    assert found["thresholds"] == {"alignment": {"": 0.25}}
    assert (found["size"], found["tile"]) == ([64, 32], [64, 32])


def test_texts_of_others_are_texts(images):
    html = Page("t", "h", "a", (Section("Images", (images,)),), script=script()).html()
    read = Read(html)
    assert read.tags.count("script") == 2
    assert read.tags.count("img") == FIRST + 1  # and the one in the dialog
    assert "onerror" not in re.sub(r'"[^"]*"', "", " ".join(re.findall(r"<img[^>]*>", html)))
    assert len(re.findall(r"</script", html)) == 2


def test_the_first_of_each_class_need_no_script(images):
    shown = images.shown
    assert len(shown) == FIRST
    assert [(each.label, each.k) for each in shown[:4]] == [(label, k) for k in (0, 1) for label in LABELS]
    html = images.html()
    assert html.count("<figure") == FIRST
    for each in shown:
        assert html.count(f'data-id="{each.id}"') == 1
        assert f"seed {each.seed}" in html
    assert html.count('loading="lazy"') == FIRST
    assert "The first 48 of 80 images; JavaScript shows the others." in html
    assert re.findall(r'src="(images-[^"]*)"', html)[:2] == [
        "images-beach-00000.jpg", "images-dense%20%3Cresidential%3E-00000.jpg"]
    assert images.source(images.images[17]) == ("images-beach-00001.jpg", 1)


def test_only_the_script_of_the_page_has_the_hash_of_the_policy(images):
    html = Page("t", "h", "a", (Section("Images", (images,)),), script=script()).html()
    between = re.search(r"<script>(.*?)</script>", html, re.DOTALL)[1]
    assert script_source() == f"'sha256-{base64.b64encode(hashlib.sha256(between.encode()).digest()).decode()}'"
    assert [name for name in Read(html).names if name.startswith("on")] == []  # nor any handler


def test_embedded_tiles_are_in_the_file_once(images):
    tiles = {each.id: tile_jpeg(np.full((32, 64, 3), number, np.uint8), TileSize(64, 32))
             for number, each in enumerate(images.images)}
    one = replace(images, embedded=tiles, left_out=1234)
    html = one.html()
    assert "images-" not in re.sub(r"run-images", "", html)
    assert "1,234 further ones are in the folder of the run" in html
    listed = content(html)["embedded"]
    assert len(listed) == 80 - FIRST
    assert html.count("data:image/jpeg;base64,") == FIRST
    assert base64.b64decode(listed[images.images[39].id]) == tiles[images.images[39].id]


@pytest.mark.parametrize("text", ["a beach", "it's", "--out=/", "$(reboot) `x` \"q\" \\", "é ü 海", ""])
def test_a_command_is_quoted_for_the_shell_and_for_python(text):
    line = Redraw("terrasynth generate --out=again").line("dense residential", text, 7)
    assert shlex.split(line) == ["terrasynth", "generate", "--out=again", "--class=dense residential", "--seed=7", "--",
                                 text]

    class Generator:
        def generate(self, texts, seeds):
            return texts, seeds

    assert eval(Redraw("made", python=True).line("x", text, 7), {"made": Generator()}) == ([text], [7])


def test_a_run_of_many_images_has_further_pages(images, tmp_path):
    total = 2 * PER_PAGE + 5
    assert (pages_of(0), pages_of(PER_PAGE), pages_of(total)) == (1, 1, 3)
    parts = [replace(images, total=total, first=first) for first in range(0, total, PER_PAGE)]
    assert parts[1].others == [("index.html", "1 to 20,000"), ("", "20,001 to 40,000"),
                               ("images-3.html", "40,001 to 40,005")]
    report = RunReport("demo", "0", "tiny", {}, (ClassRow("beach", 1, 1, 1),))
    write_report(tmp_path, report, iter(parts))
    assert sorted(path.name for path in tmp_path.glob("*.html")) == ["images-2.html", "images-3.html", "index.html"]
    page = (tmp_path / page_name(1)).read_text()
    assert '<a href="index.html">1 to 20,000</a>' in page
    assert '<b aria-current="page">20,001 to 40,000</b>' in page
    write_report(tmp_path, report, [images])
    assert [path.name for path in tmp_path.glob("*.html")] == ["index.html"]


def test_the_same_images_give_the_same_page_and_classes_lead_to_theirs(images, tmp_path):
    report = RunReport("demo", "0", "tiny", {}, (ClassRow("beach", 27, 40, 27, {"alignment": 13}),
                                                 ClassRow(LABELS[1], 26, 40, 26, {"alignment": 14})),
                       files=(("../README.md", "Card"),), steps={"publish it": "terrasynth push RUN"})
    for name in ("one", "two"):
        write_report(tmp_path / name, report, [images])
    page = (tmp_path / "one" / "index.html").read_bytes()
    assert page == (tmp_path / "two" / "index.html").read_bytes()
    read = Read(page.decode())
    assert "#class=beach" in read.links
    assert "#class=dense+%3Cresidential%3E" in read.links
    assert "../README.md" in read.links
    assert "terrasynth push RUN" in page.decode()


def test_a_page_without_images_has_no_script(tmp_path):
    write_report(tmp_path, RunReport("demo", "0", "tiny", {}, (ClassRow("beach", 0, 0, 1),)))
    assert "<script" not in (tmp_path / "index.html").read_text()


def test_links_are_said_in_markdown_too():
    page = Page("t", "h", "a", (Section("Files", (Links((("../README.md", "Card"),)),)),))
    assert "- Card: `../README.md`" in page.markdown()


def test_one_page_of_images_is_in_memory_at_a_time(images, tmp_path):
    made = []

    def pages():
        for number in range(3):
            assert [each() for each in made] == [None] * number
            page = [replace(images, total=2 * PER_PAGE + 80, first=number * PER_PAGE)]
            made.append(weakref.ref(page[0]))
            yield page.pop()

    row = ClassRow("beach", 30, 40, 30)
    write_report(tmp_path, RunReport("whole", "0", "tiny", {}, (row,)), pages())
    assert sorted(path.name for path in tmp_path.glob("*.html")) == ["images-2.html", "images-3.html", "index.html"]
    assert len(made) == 3
