"""`terrasynth models` and `models inspect` as a user meets them."""

import json

import pytest

from tests.tiny_mhn import save_tiny_mhn


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_tiny_mhn(tmp_path_factory.mktemp("models") / "mhn", beta=200.0, text_length=64, prototypes=40)


def test_models_lists_what_is_embedded(terrasynth):
    code, out, _ = terrasynth("models")
    names = [line.split()[:2] for line in out.splitlines()]
    assert code == 0
    assert ["ldm-ucm", "generator"] in names
    assert ["clip-ucm", "evaluator"] in names
    assert ["cap-rs", "captioner"] in names


def test_inspect_writes_a_report_and_replaces_its_own(terrasynth, model, tmp_path):
    out = tmp_path / "report"
    arguments = ["models", "inspect", model, "--out", out, "--class", "river", "--class", "beach", "--per-class", 2]
    code, printed, _ = terrasynth(*arguments)
    assert code == 0
    assert printed.splitlines()[-1] == f"prototypes in {out / 'index.html'}"
    tree = json.loads((out / "prototypes.json").read_text())
    assert [row["class"] for row in tree["pictures"]] == ["river", "river", "beach", "beach"]
    assert [row["seed"] for row in tree["pictures"]] == [0, 1, 2, 3]
    assert tree["model"] == "mhn"
    assert [each["name"] for each in tree["lookups"]] == ["block 1", "block 2", "head"]
    code, printed, _ = terrasynth(*arguments, "--seed", 5)
    assert code == 0
    assert json.loads((out / "prototypes.json").read_text())["pictures"][0]["seed"] == 5


def test_inspect_takes_prompts_instead_of_classes(terrasynth, model, tmp_path):
    options = ["--prompt", "a beach", "--prompt", "a river", "--per-class", 2, "--out", tmp_path]
    assert terrasynth("models", "inspect", model, *options)[0] == 0
    tree = json.loads((tmp_path / "prototypes.json").read_text())
    assert [row["prompt"] for row in tree["pictures"]] == ["a beach", "a beach", "a river", "a river"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ldm-ucm"], "model 'ldm-ucm' has no prototypes"),
        (["mhn-ucn"], "mhn-ucn"),
        (["MODEL", "--class", "beech"], "beech"),
        (["MODEL", "--class", "beach", "--prompt", "a beach"], "exclude each other"),
        (["MODEL", "--prompt", "word " * 100], "tokens"),
        (["MODEL", "--per-class", "0"], "0 is not in the range"),
    ],
)
def test_wrong_input_is_one_line_and_exit_2(terrasynth, model, tmp_path, arguments, message):
    arguments = [str(model) if each == "MODEL" else each for each in arguments]
    code, out, lines = terrasynth("models", "inspect", *arguments, "--out", tmp_path / "report")
    assert (code, out, len(lines)) == (2, "", 1)
    assert message in lines[0]
    assert not (tmp_path / "report").exists()


def test_a_folder_of_something_else_is_left_alone(terrasynth, model, tmp_path):
    (tmp_path / "prototypes.json").write_text("[]")
    (tmp_path / "index.html").write_text("mine")
    file = tmp_path / "index.html"
    for out, message in ((tmp_path, "did not write"), (file, "is a file"), ("/proc/report", "cannot write")):
        code, _, lines = terrasynth("models", "inspect", model, "--prompt", "a river", "--out", out)
        assert (code, len(lines)) == (2, 1)
        assert message in lines[0]
    assert file.read_text() == "mine"
