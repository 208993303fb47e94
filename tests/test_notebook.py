"""The notebook of the documentation runs, cell by cell, and every result shows itself."""

import ast
import json
from pathlib import Path

NOTEBOOK = Path(__file__).parents[1] / "docs" / "notebooks" / "first_data_set.ipynb"


def _cells():
    content = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert (content["nbformat"], content["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in content["cells"]}) == len(content["cells"])
    return content["cells"]


def test_the_cells_run_and_what_they_end_with_is_shown(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names, shown = {"__name__": "__main__"}, []
    for number, cell in enumerate(_cells()):
        if cell["cell_type"] != "code":
            continue
        assert cell["outputs"] == []  # none is committed
        tree = ast.parse("".join(cell["source"]))
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, f"cell {number}", "exec"), names)
        if last is not None:
            result = eval(compile(ast.Expression(last.value), f"cell {number}", "eval"), names)
            shown.append(result._repr_html_())
    assert len(shown) > 7
    assert all(shown)
    assert names["made"].accepted == 6
    assert len(list((tmp_path / "runs" / "notebook-images").rglob("*.png"))) == 6


def test_its_links_lead_somewhere():
    import re

    text = "".join("".join(cell["source"]) for cell in _cells() if cell["cell_type"] == "markdown")
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert len(links) > 3
    assert [link for link in links if not (NOTEBOOK.parent / link).is_file()] == []
