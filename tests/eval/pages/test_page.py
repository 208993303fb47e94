"""A page: every part in both renderings, links that lead somewhere, and nothing loaded from elsewhere."""

import re
from xml.etree import ElementTree

import pytest
from jinja2 import Environment

from terrasynth.eval.pages.charts import Axis, Chart, Plot
from terrasynth.eval.pages.page import Gallery, Notes, Page, Picture, Section, settings_section
from terrasynth.eval.table import Table


def chart():
    plot = Plot(Axis("guidance", 0, 4), Axis.around([0.2, 0.8]), "score <by> guidance")
    plot.curve([(1, 0.2), (3, 0.8)], "blue")
    plot.dot(1, 0.2, 0.1, 0.9, "blue", "1: <0.2>")
    plot.limits([1, 2, 3, 3.5], "thresholds {}".format)
    return Chart(plot.svg(), "Score", {"blue": "ours"}, "See `report.json`.")


@pytest.fixture
def page():
    return Page("demo <1>", "Is it & good?", "demo", (
        Section("Figures", (Table(("a", "b"), (("x", "1"),)), "Read **this**.",
                            (chart(), Notes(("one", "two"), "List")))),
        Section("Nothing", ()),
        Section("Pictures", (Gallery((Picture((("a.png", 'a "beach"'),), ("**beach**",)),), "Best"),
                             Notes(("asked <for>",), "More", fold=True, ordered=True)), "useless at 5 %"),
        Section("More", ("text",)), settings_section({"seed": 3}),
    ), identity="0123", lead=("*lead*",), tiles=(("1 %", "share", "of 9"),), warning="**Mind** it")


def test_every_part_is_on_the_page(page):
    text = page.html()
    for words in ("demo &lt;1&gt;", "Is it &amp; good?", "Read <b>this</b>.", "<li>two</li>",
                  'alt="a &quot;beach&quot;"', "<summary>More</summary>", "asked &lt;for&gt;", 'class="badge useless"',
                  "<code>0123</code>", "of 9", "<b>Mind</b> it", "See <code>report.json</code>.", "<h3>Score</h3>"):
        assert words in text, words
    assert "Nothing" not in text
    places = set(re.findall(r'id="([\w-]+)"', text))
    links = re.findall(r'(?:href|src)="([^"]+)"', text)
    assert {link.removeprefix("#") for link in links if link.startswith("#")} == places
    assert [link for link in links if not link.startswith("#")] == ["a.png"]
    assert page.html() == text


def test_markdown_says_what_is_in_no_image(page):
    text = page.markdown()
    assert text.startswith("# Is it & good?\n\n**Mind** it\n\n*lead*\n\n## Figures\n\n| a | b |")
    assert "### List\n\n- one\n- two" in text
    assert "| seed | 3 |" in text
    assert "Nothing" not in text
    assert "<" not in text.replace("asked <for>", "")


def test_marks_stay_in_the_frame_and_words_do_nothing():
    svg = ElementTree.fromstring(chart().svg)
    width, height = map(float, svg.get("viewBox").split()[2:])
    assert svg.get("aria-label") == "score <by> guidance"
    assert svg.find("circle").find("title").text == "1: <0.2>"
    whisker = next(line for line in svg.findall("line") if line.get("class") == "whisker blue")
    for name, most in (("x1", width), ("y1", height), ("y2", height)):
        assert 0 <= float(whisker.get(name)) <= most  # the interval reaches beyond the axis
    assert [rect.get("class") for rect in svg.findall("rect")] == ["band"]  # of four thresholds


def test_templates_are_compiled_once(page, monkeypatch):
    first = page.html()
    monkeypatch.delattr(Environment, "compile")
    assert page.html() == first
