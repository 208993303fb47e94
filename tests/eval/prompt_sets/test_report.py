"""The page on prompt sets: what a user reads there, and what a program reads in its JSON."""

import json
import re
import xml.etree.ElementTree as ET

import pytest

from terrasynth.eval.errors import InputError
from terrasynth.eval.pages.charts import Axis, thinned
from terrasynth.eval.pages.folder import check_report_folder
from terrasynth.eval.prompt_sets.comparison import ReportedSet, measure_sets
from terrasynth.eval.prompt_sets.report import KIND, RECORD, percent, short, stairs, write_prompt_report
from terrasynth.eval.prompt_sets.tables import equal_table, whole_table
from terrasynth.eval.prompt_sets.tally import Tally
from terrasynth.prompts import load_expander


def grammar_set(seed=0, count=60, **options):
    expander = load_expander("grammar", profile="ucm")
    found = Tally(f"seed {seed}", seed, {"tiny": frozenset(["a", "the", "beach"])})
    for label in ("beach", "river"):
        found.add((label, prompt.text) for prompt in expander.expand(label, seed, 0, count))
    return ReportedSet(found, f"expander grammar, seed {seed}", **options)


def own_set(*pairs, name="mine"):
    found = Tally(name, 0, {"tiny": frozenset(["a", "the", "beach"])})
    found.add(pairs)
    return ReportedSet(found, "by hand")


@pytest.fixture(scope="module")
def measured():
    ours = grammar_set(seen=150, drops={"duplicate": 26, "too long": 4}, notes={"laps": 1})
    return measure_sets([ours, own_set(("beach", "Waves & <foam>."), ("beach", "Sand."), ("river", "A river."))],
                        lambda text: len(text.split()), 12)


def rows_by_name(table):
    return {name: ([getattr(cell, "text", cell) for cell in cells], [getattr(cell, "small", "") for cell in cells])
            for name, *cells in table.rows}


def test_a_page_in_one_file_with_its_figures_as_json(measured, tmp_path):
    page = write_prompt_report(tmp_path / "new" / "report", measured)
    assert sorted(entry.name for entry in page.parent.iterdir()) == ["index.html", "report.json"]
    text = page.read_text("utf-8")
    assert not re.search(r'(?:src|href)="(?!#)', text)  # nothing is loaded from elsewhere
    assert "Waves &amp; &lt;foam&gt;." in text
    assert "30 dropped of 150 candidates (20.0 %)" in text
    assert "laps: 1" in text
    for svg in re.findall(r"<svg.*?</svg>", text, re.DOTALL):
        ET.fromstring(svg)
    assert text.count("<svg") == 4
    tree = json.loads((page.parent / "report.json").read_text("utf-8"))
    assert [one["name"] for one in tree["sets"]] == ["seed 0", "mine"]
    assert tree["sets"][0]["n"] == 120
    assert tree["sets"][0]["drops"] == {"duplicate": 26, "too long": 4}
    assert tree["equal"]["classes"] == {"beach": 2, "river": 1}
    assert [one["n"] for one in tree["equal"]["sets"]] == [3, 3]
    assert len(tree["novelty"]) == 2


def test_equal_sets_give_equal_bytes(tmp_path):
    for folder in (tmp_path / "a", tmp_path / "b"):
        write_prompt_report(folder, measure_sets([grammar_set(), grammar_set(1)]))
    for name in ("index.html", "report.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_the_tables_say_what_was_measured(measured):
    whole, equal = rows_by_name(whole_table(measured)), rows_by_name(equal_table(measured))
    assert whole["texts"][0] == ["120", "3"]
    assert whole["distinct texts"][0][1] == "100.0 %"
    assert whole["longer than 12 tokens"][0][1] == "0.0 %"
    assert whole["has a word outside of profile tiny"][0][1] == "100.0 %"
    assert "river" in whole["has a word outside of profile tiny"][1][1]
    assert equal["different words"][0][1] == "5"
    assert equal["equal to no text of mine"][0][1] == "-"
    assert equal["equal to no text of mine"][1][0].startswith("of 120; nearest ")
    one = measure_sets([grammar_set()])
    assert equal_table(one).rows == ()
    assert one.equal is None


@pytest.mark.parametrize(("n", "share", "once"), [(999, "99.90 %", "0.20 %"), (49_999, "> 99.99 %", "< 0.01 %")])
def test_a_text_more_or_less_is_not_rounded_away(n, share, once):
    pairs = [("beach", f"sand {number}") for number in range(n)]
    rows = rows_by_name(whole_table(measure_sets([own_set(*pairs, pairs[0])])))
    assert rows["distinct texts"][0] == [share]
    assert rows["the commonest text"][0] == [once]
    assert rows["the commonest text"][1] == ["2 times"]


def test_odd_sets_have_a_page_too(tmp_path):
    odd = [own_set(("", "...")), own_set(("", "Sand."), ("", "Sand."), name="mine"), own_set(("dam", "A wall."))]
    for number, one in enumerate(odd):
        text = write_prompt_report(tmp_path / str(number), measure_sets([one])).read_text("utf-8")
        assert "nan" not in text
    page = write_prompt_report(tmp_path / "all", measure_sets(odd))
    assert "without regard to classes" in page.read_text("utf-8")
    assert "(no class)" in page.read_text("utf-8")


def test_only_an_empty_folder_or_an_earlier_report_is_written_to(measured, tmp_path):
    check_report_folder(tmp_path / "new", RECORD, KIND)
    page = write_prompt_report(tmp_path / "new", measured)
    check_report_folder(page.parent, RECORD, KIND)
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "report.json").write_text("{}")
    with pytest.raises(InputError, match="holds files that this command did not write; choose an empty folder"):
        check_report_folder(foreign, RECORD, KIND)
    with pytest.raises(InputError, match="is a file; choose a folder"):
        check_report_folder(foreign / "report.json", RECORD, KIND)
    with pytest.raises(InputError, match="cannot write"):
        check_report_folder(foreign / "report.json" / "below", RECORD, KIND)


def test_axes_and_curves():
    log = Axis("n", 1, 1e4, True, short)
    assert [log.place(value) for value in (1, 100, 1e4)] == pytest.approx([0, 0.5, 1])
    assert list(log.ticks()) == [1, 10, 100, 1000, 10000]
    assert list(Axis("n", 2, 30, True, short).ticks()) == [2, 5, 10, 20]
    assert list(Axis("n", -0.5, 30.5, False, short).ticks()) == [0, 10, 20, 30]
    assert [short(value) for value in (1, 500, 10000, 2e6)] == ["1", "500", "10k", "2M"]
    assert [percent(value) for value in (1, 0.1, 1e-5)] == ["100 %", "10 %", "0.001 %"]
    assert stairs([1, 3]) == [(-0.5, 0.25), (0.5, 0.25), (0.5, 0.75), (1.5, 0.75), (1.5, 0.0)]
    points = [(float(rank), 1 / rank) for rank in range(1, 5001)]
    few = thinned(points)
    assert 100 < len(few) < 250
    assert (few[0], few[-1]) == (points[0], points[-1])
    assert few == sorted(few)
