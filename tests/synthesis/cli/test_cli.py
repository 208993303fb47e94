"""The command line as a user meets it: exit codes, one line an error, nothing left behind."""

import json
import os
import stat

import pytest
from PIL import Image


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["sead=1"], "did you mean 'seed'"),
        (["generator.guidance=-1"], "generator.guidance -1 is wrong"),
        (["prompts.classes=[beech]"], "class 'beech' does not exist (did you mean 'beach'?)"),
        (["prompts.expander=gramar"], "'gramar' is unknown"),
        (["prompts.colour=red"], "colour"),
        (["generator.model=ldm-ucn"], "ldm-ucn"),
        (["generator.model=/nowhere/at/all"], "/nowhere/at/all"),
        (["generator.scheduler=Nope"], "scheduler 'Nope' does not fit"),
        (["filters.0.encoder=clip-unknown"], "clip-unknown"),
        (["filters=[{kind: alignment, encoder: ENCODER, pass_real: 0.9}]"], "has no calibration.json"),
        (["runtime.device=toaster"], "device 'toaster' cannot be used"),
    ],
)
def test_wrong_input_is_one_line_and_exit_2(terrasynth, recipe_file, tmp_path, models, changes, message):
    changes = [each.replace("ENCODER", str(models.encoder)) for each in changes]
    options = [part for each in changes for part in ("--set", each)]
    code, out, lines = terrasynth("run", recipe_file, "--out", tmp_path / "run", *options)
    assert (code, out, len(lines)) == (2, "", 1)
    assert lines[0].startswith("terrasynth: error: ")
    assert message in lines[0]
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run"], "Missing argument 'RECIPE'"),
        (["run", "demo"], "Missing option '--out'"),
        (["runn"], "No such command 'runn'"),
        (["eval", "nowhere"], "no data/train-*.parquet"),
        (["run", "nowhere.yaml", "--out", "x"], "no shipped recipe; shipped: captions, demo, openai"),
    ],
)
def test_usage_errors_are_one_line_and_exit_2(terrasynth, arguments, message):
    code, _, lines = terrasynth(*arguments)
    assert (code, len(lines)) == (2, 1)
    assert message in lines[0]


def test_places_that_cannot_be_written_to_are_refused(terrasynth, recipe_file, tmp_path):
    taken = tmp_path / "file"
    taken.write_text("mine")
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "README.md").write_text("mine")
    for out, message in ((taken, "is a file"), (foreign, "so it is no run"), ("/proc/run", "cannot")):
        code, _, lines = terrasynth("run", recipe_file, "--out", out)
        assert (code, len(lines)) == (2, 1)
        assert message in lines[0]
    assert taken.read_text() == (foreign / "README.md").read_text() == "mine"
    assert list(foreign.iterdir()) == [foreign / "README.md"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_no_write_access_is_refused(terrasynth, recipe_file, tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir()
    closed.chmod(stat.S_IRUSR | stat.S_IXUSR)
    code, _, lines = terrasynth("run", recipe_file, "--out", closed / "run")
    assert (code, len(lines)) == (2, 1)
    assert "no write access" in lines[0]


def test_missed_target_is_named_and_exit_1(terrasynth, recipe_file, tmp_path):
    options = ["--set", "filters.1.max_similarity=0.9", "--set", "target.max_attempts=6"]
    code, out, lines = terrasynth("run", recipe_file, "--out", tmp_path / "run", *options)
    assert code == 1
    assert lines[-1].startswith("terrasynth: error: target missed by beach (")
    assert "of 5), forest (" in lines[-1]
    assert "data set" in out


def test_run_plan_and_eval(terrasynth, recipe_file, models, tmp_path):
    out = tmp_path / "run"
    code, planned, said = terrasynth("plan", recipe_file, "--out", out)
    assert said[0].endswith(" and drawing first images, to see how long one takes")
    assert code == 0
    assert "to be drawn     24 images of 3 classes if the filters keep them all, 72 at most" in planned
    first, *by_class = planned.split("\n\n")
    notes = [line for line in first.splitlines() if line.startswith("note: ")]
    assert first.startswith("\n".join(notes))  # what is known before anything is drawn
    assert [line.split(" ")[0] for line in first.splitlines()[len(notes):][:3]] == ["there", "to", "time"]
    assert [len(each.splitlines()) for each in by_class] == [4, 4, 4]  # a class and three prompts
    assert not out.exists()
    code, printed, lines = terrasynth("run", recipe_file, "--out", out)
    assert code == 0
    assert "15 images of 3 classes" in printed
    assert any("accepted of" in line and "left" in line for line in lines)
    code, planned, _ = terrasynth("plan", recipe_file, "--out", out)
    assert code == 0
    assert "to be drawn     0 images of" in planned
    figures = tmp_path / "figures.json"
    options = ["--encoder", models.other_encoder, "--classifier", models.classifier, "--out", figures]
    code, printed, said = terrasynth("eval", out, *options)
    assert code == 0
    assert not any("chose these images" in line for line in said)
    _, _, said = terrasynth("eval", out, "--encoder", models.encoder, *options[2:])  # which filters
    assert sum("chose these images and gives the CLIP score too" in line for line in said) == 1
    assert printed.startswith("scene accuracy")
    assert max(map(len, printed.splitlines())) < 150
    first, full = printed.splitlines(), terrasynth("eval", out, *options, "--full")[1].splitlines()
    assert [line.split(" ")[0] for line in first[-2:]] == ["judged", "all"]
    assert first[-1].startswith(f"all figures      {len(full)}, with how each was measured: --full")
    names = [line[:16] for line in full]
    assert all(line[:16] in names for line in first[:-2])
    assert json.loads(figures.read_text())["n"] == 15


def test_eval_against_real_pictures(terrasynth, recipe_file, models, tmp_path):
    from tests.tiny import tiny_pictures

    real = tmp_path / "real"
    real.mkdir()
    with (real / "pairs.jsonl").open("w") as file:
        for number, picture in enumerate(tiny_pictures(12, size=40)):
            Image.fromarray(picture).save(real / f"{number}.png")
            row = {"file": f"{number}.png", "class": "beach", "split": "test", "captions": ["a beach"]}
            file.write(json.dumps(row) + "\n")
    assert terrasynth("run", recipe_file, "--out", tmp_path / "run")[0] == 0
    options = ["--real", real, "--encoder", models.other_encoder, "--classifier", models.classifier]
    code, printed, _ = terrasynth("eval", tmp_path / "run", *options)
    assert code == 0
    assert "Frechet distance" in printed
    code, _, lines = terrasynth("eval", tmp_path / "run", *options, "--split", "val")
    assert (code, len(lines)) == (2, 1)
    assert "no pairs in split 'val'" in lines[0]


def test_generate_writes_an_imagefolder_and_overwrites_nothing(terrasynth, models, tmp_path):
    arguments = ["generate", "a beach", "a river", "--count", 2, "--seed", 5, "--steps", 1, "--model", models.generator]
    assert terrasynth(*arguments, "--out", tmp_path / "drawn")[0] == 0
    rows = [json.loads(line) for line in (tmp_path / "drawn" / "metadata.jsonl").read_text().splitlines()]
    assert [(row["text"], row["seed"]) for row in rows] == [
        ("a beach", 5),
        ("a beach", 6),
        ("a river", 7),
        ("a river", 8),
    ]
    assert all((tmp_path / "drawn" / row["file_name"]).is_file() for row in rows)
    code, _, lines = terrasynth(*arguments, "--out", tmp_path / "drawn")
    assert (code, len(lines)) == (2, 1)
    assert "nothing is overwritten" in lines[0]
    code, _, lines = terrasynth("generate", "word " * 100, "--model", models.generator, "--out", tmp_path / "long")
    assert (code, len(lines)) == (2, 1)
    assert "tokens" in lines[0]


def test_long_prompts_are_named_before_the_first_picture(terrasynth, recipe_file, tmp_path):
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text(json.dumps({"text": "word " * 100, "label": "beach"}) + "\n")
    options = ["--set", f"prompts={{expander: file, path: {prompts}}}"]
    code, _, lines = terrasynth("run", recipe_file, "--out", tmp_path / "run", *options)
    assert (code, len(lines)) == (2, 1)
    assert "prompt 0 of class 'beach' has" in lines[0]
    assert not (tmp_path / "run").exists()


def test_help_names_every_command(terrasynth):
    code, out, _ = terrasynth("--help")
    assert code == 0
    for command in ("models", "expand", "generate", "plan", "run", "eval", "train"):
        assert command in out
