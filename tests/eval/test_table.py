"""One table in three renderings: nothing of others is markup in any, and every cell is in all."""

from html.parser import HTMLParser

import pytest

from terrasynth.eval.table import Cell, Table, bar, prose, span, verbatim

NAMES = Table(("class", "share", "seen as"), (
    ("<img src=x>", "0.5", Cell("a|b", "often")),
    ("river", "12 %", Cell("", picture=bar([("accepted", 0, 0.25), ("tick", 0.5, 0.5)], 'of "all"'))),
), title="Mistakes & more", key={"accepted": "seen <right>"})


class Cells(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.cells = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_data(self, data):
        if self.cells:
            self.cells[-1] += data


def test_names_of_others_are_shown_and_do_nothing():
    page = Cells(NAMES.html())
    assert "img" not in {tag for tag, _ in page.tags}
    assert [cell.strip() for cell in page.cells] == [
        "class", "share", "seen as", "<img src=x>", "0.5", "a|boften", "river", "12 %", ""]
    assert "seen &lt;right&gt;" in NAMES.html()
    assert {"accepted", "tick"} <= {attributes.get("class") for tag, attributes in page.tags if tag == "i"}
    assert NAMES.markdown().splitlines()[2] == r"| &lt;img src=x&gt; | 0.5 | a\|b often |"


@pytest.mark.parametrize(("cell", "right"), [
    ("0.5", True), ("-0.0012", True), ("1,234", True), ("12 %", True), ("4 of 6", True), (span(0.1, 0.25, ".2f"), True),
    ("0.54 [0.40, 0.68]", True), ("", True), ("0.3 (a guess)", False), ("none", False), (Cell("1", "of all"), False),
])
def test_columns_of_numbers_are_flush_right(cell, right):
    page = Cells(Table(("name", "n"), (("beach", cell), ("river", "3"))).html())
    kinds = [attributes.get("class") for tag, attributes in page.tags if tag == "th"]
    assert kinds == [None, "number" if right else None]


def test_a_column_below_another_is_its_small_print():
    table = Table(("metric", "value", "interval"), (("KID", "0.1", "[0, 1]"), ("recall", "0.9", "")),
                  below={"interval": "value"})
    page = table.html()
    assert ("<small>[0, 1]</small>" in page, "<small>no interval</small>" in page) == (True, True)
    assert [cell.strip() for cell in Cells(page).cells[:2]] == ["metric", "value"]
    assert table.markdown().count("|") == 4 * 4


def test_lines_leave_empty_cells_out_and_columns_do_not():
    table = Table(("figure", "value", "null"), (("KID", "0.1", ""), ("accuracy", "0.9", "0.05")))
    assert table.lines(names=("null",)) == ["KID       0.1", "accuracy  0.9; null 0.05"]
    assert table.columns() == ["figure    value  null", "KID       0.1", "accuracy  0.9    0.05"]


def test_settings_have_no_head():
    table = Table.of_settings({"seed": 0, "a": "<b>"})
    assert "<th" not in table.html()
    assert "&lt;b&gt;" in table.html()
    assert table.markdown().splitlines()[0] == "| setting | value |"


def test_prose_marks_up_code_and_nothing_of_others():
    assert prose("**A** reads `x < y`, <b>") == "<b>A</b> reads <code>x &lt; y</code>, &lt;b&gt;"


def test_texts_of_others_mark_nothing_up_in_prose():
    assert prose(f"**{verbatim('a `b` **c** <d>')}**") == "<b>a `b` **c** &lt;d&gt;</b>"


def test_cells_beside_a_wide_one_say_their_column():
    """A phone stacks such a row, and has no place for the head."""
    plain = Table(("class", "n"), (("beach", "3"),)).html()
    wide = Table(("class", "share", "n"), (("beach", Cell("", kind="wide", picture=bar([])), "3"),)).html()
    assert "data-name" not in plain
    assert '<td class="number" data-name="n">3</td>' in wide
