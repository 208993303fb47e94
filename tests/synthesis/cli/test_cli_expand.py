"""`terrasynth expand` as a user meets it: balanced prompts, files that can be read again, figures side by side."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from terrasynth.errors import UserError
from terrasynth.prompts import Prompt, load_expander
from terrasynth.synthesis.cli import main
from terrasynth.synthesis.cli.prompt_lines import Lines, in_rounds, json_line, quotas
from terrasynth.synthesis.execution.job import Job
from terrasynth.synthesis.execution.targets import choose
from terrasynth.synthesis.recipe import Recipe

REAL = [
    {"filename": "beach_1.png", "split": "train", "sentences": [{"raw": "Waves and sand ."}, {"raw": "A beach ."}]},
    {"filename": "harbor_2.png", "split": "train", "sentences": [{"tokens": ["many", "boats"]}]},
    {"filename": "harbor_3.png", "split": "test", "sentences": [{"raw": "An empty harbor ."}]},
]


@pytest.fixture
def terrasynth(capfdbinary):
    """Run a command; gives exit code, stdout and the lines of stderr."""

    def call(*arguments):
        with pytest.raises(SystemExit) as ended:
            main(["expand", *(str(argument) for argument in arguments)])
        captured = capfdbinary.readouterr()
        return ended.value.code, captured.out.decode(), captured.err.decode().splitlines()

    return call


@pytest.fixture
def real(tmp_path):
    """Real captions as RSICD has them; without their pictures nothing of it is usable, so they are there."""
    from PIL import Image

    folder = tmp_path / "real"
    folder.mkdir()
    for row in REAL:
        Image.new("RGB", (4, 4)).save(folder / row["filename"])
    file = folder / "dataset_tiny.json"
    file.write_text(json.dumps({"images": REAL}))
    return file


def parsed(lines):
    return [json.loads(line) for line in lines.splitlines()]


def test_the_total_is_shared_out_in_turns(terrasynth):
    code, out, err = terrasynth("--classes", "harbor,beach,river", "--n", 50)
    labels = [row["label"] for row in parsed(out)]
    assert code == 0
    assert Counter(labels) == {"harbor": 17, "beach": 17, "river": 16}
    assert labels[:6] == ["harbor", "beach", "river"] * 2
    for length in range(1, 50):
        counts = Counter(labels[:length])
        assert max(counts.values()) - min(counts.get(label, 0) for label in ("harbor", "beach", "river")) <= 1
    assert err[0].startswith("50 prompts of 3 classes, ")


def test_they_are_the_prompts_of_a_run(terrasynth):
    _, out, _ = terrasynth("--class", "beach", "--class", "river", "--per-class", 3, "--seed", 4, "--start", 2)
    expected = load_expander("grammar").expand("beach", 4, 2, 3)
    rows = [row for row in parsed(out) if row["label"] == "beach"]
    assert [(row["text"], row["captions"], row["source"]) for row in rows] == [
        (prompt.text, list(prompt.captions), "grammar") for prompt in expected
    ]
    assert [row["scene"] for row in rows] == [json.loads(prompt.scene) for prompt in expected]


def test_a_file_reads_back_as_the_same_prompts(terrasynth, tmp_path):
    out = tmp_path / "sub" / "prompts.jsonl"
    code, printed, _ = terrasynth("--n", 40, "--out", out)
    assert (code, printed) == (0, "")
    assert [entry.name for entry in out.parent.iterdir()] == ["prompts.jsonl"]
    again = load_expander("file", path=out)
    for label in again.classes:
        count = sum(row["label"] == label for row in parsed(out.read_text()))
        assert again.expand(label, 0, 0, count) == load_expander("grammar").expand(label, 0, 0, count)
    first = out.read_bytes()
    assert terrasynth("--n", 40, "--out", out)[0] == 0
    assert out.read_bytes() == first


def test_lines_hold_any_text():
    text = 'A "quay"\\\n\tmit Büschen \u2028.'
    prompt = Prompt(text, "x, y", (text, "b"), "s", '{"a":[1]}')
    assert json.loads(json_line(prompt)) == {
        "text": text, "label": "x, y", "captions": [text, "b"], "scene": {"a": [1]}, "source": "s",
    }
    assert json_line(prompt).count("\n") == 1
    assert Lines(text_only=True).of([prompt, prompt]).decode() == 2 * 'A "quay"\\ mit Büschen .\n'


def test_texts_alone(terrasynth, tmp_path):
    out = tmp_path / "texts.txt"
    assert terrasynth("--n", 5, "--text-only", "--out", out)[0] == 0
    _, printed, _ = terrasynth("--n", 5)
    assert out.read_text().splitlines() == [row["text"] for row in parsed(printed)]


def test_portions_grow_and_no_prompt_is_asked_for_in_vain():
    asked = []

    class Counting:
        def expand(self, label, seed, start, count):
            asked.append((label, start, count))
            return [Prompt(f"{label} {k}", label, (f"{label} {k}",), "x") for k in range(start, start + count)]

    counts = quotas(("a", "b", "c"), 1001)
    assert counts == {"a": 334, "b": 334, "c": 333}
    texts = [prompt.text for portion in in_rounds(Counting(), counts, 0, 5) for prompt in portion]
    assert texts == [f"{label} {5 + k}" for k in range(334) for label in "abc"][:1001]
    assert sum(count for _, _, count in asked) == 1001
    assert asked[0] == ("a", 5, 8)
    assert max(count for _, _, count in asked) > 100
    assert quotas(("a", "b", "c"), 2) == {"a": 1, "b": 1, "c": 0}


def test_a_report_beside_real_captions(terrasynth, real, tmp_path):
    report = tmp_path / "report"
    arguments = ["--n", 60, "--out", tmp_path / "a.jsonl", "--report", report, "--option", "profile=ucm"]
    code, _, err = terrasynth(*arguments, "--against", real, "--tokenizer", "ldm-ucm")
    assert code == 0
    assert any(line.startswith("distinct texts ") for line in err)
    assert err[-1] == f"report in {report / 'index.html'}"
    tree = json.loads((report / "report.json").read_text())
    assert [one["name"] for one in tree["sets"]] == ["grammar", "dataset_tiny"]
    assert tree["sets"][0]["tokens"]["limit"] == 32
    assert tree["sets"][0]["outside"]["ucm"]["share"] == 0
    assert tree["sets"][1]["classes"] == {"beach": 2, "harbor": 1}
    assert tree["equal"]["classes"] == {"beach": 2, "harbor": 1}
    code, _, _ = terrasynth(*arguments, "--against", tmp_path / "a.jsonl", "--against", real, "--split", "all")
    tree = json.loads((report / "report.json").read_text())
    assert code == 0
    assert [(one["name"], one["n"]) for one in tree["sets"]] == [("grammar", 60), ("a", 60), ("dataset_tiny", 4)]
    assert tree["novelty"][0]["new"] == 0


def test_sets_of_the_same_name_are_told_apart(terrasynth, tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "grammar.txt").write_text("TennisCourt\tA court.\n")
    against = ["--against", tmp_path / "a" / "grammar.txt", "--against", tmp_path / "b" / "grammar.txt"]
    _, _, err = terrasynth("--option", "profile=ucm", "--class", "tenniscourt", *against, "--report", tmp_path / "c")
    tree = json.loads((tmp_path / "c" / "report.json").read_text())
    assert [one["name"] for one in tree["sets"]] == ["grammar", "grammar (2)", "grammar (3)"]
    assert tree["equal"]["classes"] == {"tenniscourt": 1}
    assert err[1].split() == ["at", "equal", "number", "grammar", "grammar", "(2)", "grammar", "(3)"]


def test_all_captions_can_be_measured(terrasynth, tmp_path):
    arguments = ["--n", 10, "--out", tmp_path / "a.jsonl", "--report", tmp_path / "report", "--measure", "captions"]
    assert terrasynth(*arguments)[0] == 0
    captions = [one for row in parsed((tmp_path / "a.jsonl").read_text()) for one in row["captions"]]
    (found,) = json.loads((tmp_path / "report" / "report.json").read_text())["sets"]
    assert found["n"] == len(captions) > 10


def test_checks_drop_prompts_and_say_why(terrasynth, tmp_path):
    prompts = tmp_path / "own.jsonl"
    texts = ["A beach with waves.", "A cinematic beach.", "a beach, with waves", "Sand.", "A wide beach."]
    prompts.write_text("\n".join(json.dumps({"text": text, "label": "beach"}) for text in texts))
    code, out, err = terrasynth(
        "--expander", "file", "--option", f"path={prompts}", "--n", 2, "--text-only", "--check", "distinct=true",
        "--report", tmp_path / "report",
    )
    assert code == 0
    assert out.splitlines() == ["A beach with waves.", "A wide beach."]
    assert err[1].startswith("dropped 3 of 5 candidates: ")
    (found,) = json.loads((tmp_path / "report" / "report.json").read_text())["sets"]
    assert (found["seen"], sum(found["drops"].values())) == (5, 3)


def test_a_limit_in_tokens_is_kept(terrasynth):
    arguments = ["--n", 100, "--text-only", "--option", "profile=ucm"]
    _, free, _ = terrasynth(*arguments)
    limit = ["--check", "max_tokens=15", "--check", "keep_class=false", "--tokenizer", "ldm-ucm"]
    code, limited, _ = terrasynth(*arguments, *limit)
    assert code == 0
    longest = [max(len(line.split()) for line in printed.splitlines()) for printed in (free, limited)]
    assert longest[1] <= 12 < longest[0]  # a word is a token or more, and begin, end and full stop are one each


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--per-class", "none"], "'none' is not a valid integer"),
        (["--class", "beech"], "class 'beech' does not exist"),
        (["--option", "x"], "is not of the form key=value"),
        (["--expander", "gramar"], "expander 'gramar' is unknown (did you mean 'grammar'?)"),
        (["--n", "5", "--per-class", "2"], "--n 5 and --per-class 2 exclude each other"),
        (["--out", "x.txt"], "has to end in .jsonl"),
        (["--out", "x.jsonl", "--text-only"], "name it .txt"),
        (["--check", "distict=true"], "unknown key 'checks.distict' (did you mean 'distinct'?)"),
        (["--check", "max_tokens=20"], "add --tokenizer MODEL"),
        (["--tokenizer", "ldm-ucn"], "ldm-ucn"),
        (["--against", "nowhere.jsonl"], "nowhere.jsonl"),
        (["--against", "nowhere.json"], "nowhere.json"),
        (["--report", __file__], "is a file"),
    ],
)
def test_wrong_input_is_one_line_and_exit_2(terrasynth, arguments, message, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    code, out, lines = terrasynth(*arguments)
    assert (code, out, len(lines)) == (2, "", 1)
    assert message in lines[0]
    assert list(tmp_path.iterdir()) == []


def test_a_reader_that_has_seen_enough_is_no_error():
    command = f"{sys.executable} -m terrasynth expand --per-class 2000 | head -n 1"
    done = subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, text=True, check=False,
                          cwd=Path(__file__).parents[3])
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 1
    assert "Traceback" not in done.stderr
    assert "Broken pipe" not in done.stderr


def test_layouts_are_drawn(terrasynth, tmp_path):
    """Those of any expander whose prompts carry one, here a file; others have nothing to draw."""
    import numpy as np
    from PIL import Image

    from terrasynth.prompts.expanders.layout import LayoutExpander
    from terrasynth.prompts.layouts.changes import pair_of
    from terrasynth.prompts.layouts.layout import Layout
    from terrasynth.prompts.layouts.sheet import drawn as shown

    file, again, sheet = tmp_path / "in.jsonl", tmp_path / "out.jsonl", tmp_path / "sheet.png"
    file.write_text("".join(map(json_line, LayoutExpander(size=64).expand("ship", 0, 0, 2))))
    options = ("--expander", "file", "--option", f"path={file}", "--per-class", 2, "--out", again)
    code, _, said = terrasynth(*options, "--sheet", sheet)
    assert (code, said[-1]) == (0, f"2 layouts in {sheet}")
    assert again.read_text() == file.read_text()
    assert Image.open(sheet).size == (2 * 70 + 6, 76)
    pairs = [shown(one) for pair in LayoutExpander(size=64, pairs="all").expand("river", 0, 0, 2)
             for one in (Layout.from_json(pair.layout), pair_of(pair.layout, pair.edit).after)]
    code, _, said = terrasynth("--expander", "layout", "--option", "size=64", "--option", "pairs=all", "--classes",
                               "river", "--per-class", 2, "--out", again, "--sheet", sheet)
    assert (code, said[-1]) == (0, f"4 layouts in {sheet}")
    tiles = [np.asarray(Image.open(sheet))[top : top + 64, left : left + 64] for top in (6, 76) for left in (6, 76)]
    assert all((tile == one).all() for tile, one in zip(tiles, pairs, strict=True))
    code, _, said = terrasynth(*options, "--sheet", tmp_path / "sheet.jpg")
    assert (code, said) == (2, [f"terrasynth: error: --sheet {str(tmp_path / 'sheet.jpg')!r} has to end in .png"])
    code, _, said = terrasynth("--classes", "beach", "--per-class", 1, "--sheet", sheet)
    assert code == 2
    assert said[-1].endswith("has nothing to draw: prompts of grammar have no layout; take --expander layout")


def test_prompts_of_a_recipe_are_those_of_its_run(terrasynth, tmp_path):
    """Its classes, options, checks and seed; a class counts once, however it is written, there as here."""
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("{seed: 7, generator: {model: ldm-ucm}, prompts: {classes: [tennis_court, forest, TennisCourt], "
                      "profile: ucm, checks: {distinct: true}}}")
    code, out, _ = terrasynth("--recipe", recipe, "--per-class", 4)
    job = Job(Recipe.load(recipe), tmp_path / "run")
    drawn = {label: [prompt.text for prompt in job.prompts(label, 0, 4)] for label in job.classes}
    assert code == 0
    assert {label: [row["text"] for row in parsed(out) if row["label"] == label] for label in drawn} == drawn
    assert sorted(drawn) == ["forest", "tenniscourt"]
    code, _, (line,) = terrasynth("--recipe", recipe, "--seed", 3)
    assert (code, "says itself what --seed says" in line) == (2, True)
    code, _, (line,) = terrasynth("--recipe", recipe, "--classes", "zebra")
    assert code == 2
    with pytest.raises(UserError) as refused:
        choose(["zebra"], load_expander("grammar").classes)
    assert line == f"terrasynth: error: {refused.value}"
