"""Names of others in Markdown are shown and do nothing."""

import pytest

from terrasynth.eval.markdown import Ready, code, markdown_environment, plain, row

NAMES = ["a|b|c", "<img src=x onerror=alert(1)>", "[x](http://h)", "![x](http://h/track.png)", "`rm`", "*a*", "a & b",
         "line\nbreak", "\x1b]0;t\x07", "\\|", "_x_", "dense_residential", "é ü 海", "0.862 [0.809, 0.902]"]


@pytest.mark.parametrize("name", NAMES)
def test_a_cell_is_one_cell_and_no_markup(name):
    line = row(["before", name, "after"])
    assert "\n" not in line
    assert len([bar for number, bar in enumerate(line) if bar == "|" and line[number - 1] != "\\"]) == 4
    assert "<" not in line
    assert "](" not in line.replace("\\](", "")
    assert "\x1b" not in line


@pytest.mark.parametrize("name", NAMES)
def test_what_a_reader_of_markdown_sees_is_the_name(name):
    markdown = pytest.importorskip("markdown_it")
    shown = markdown.MarkdownIt("commonmark").enable("table").render(f"| a | b |\n|---|---|\n{row([name, 'x'])}\n")
    for tag in ("<img", "<a ", "<em", "<code"):
        assert tag not in shown
    assert shown.count("<td") == 2


def test_code_ends_where_it_ends():
    assert code("a`b|c") == "`a'b\\|c`"
    assert plain(code("x")) == "`x`"


@pytest.mark.parametrize(("name", "same"), [("dense_residential", True), ("_x_", False), ("0.86 [0.80, 0.90]", True)])
def test_what_needs_no_escape_has_none(name, same):
    assert (plain(name) == name) is same


def test_templates_escape_unless_told_otherwise():
    environment = markdown_environment("terrasynth.synthesis.export")
    text = environment.from_string("{{ a }} {{ a | code }} {{ a | ready }} {{ 3 }} {{ [a, 'b'] | row }}").render(a="<|")
    assert text == "&lt;\\| `<\\|` <| 3 | &lt;\\| | b |"
    assert isinstance(plain("x"), Ready)
