"""What a command takes by name: in its help, and where a shell completes its line."""

import json
import os
import subprocess
import sys

import pytest

from terrasynth.prompts.plugins import Plugins
from terrasynth.synthesis.cli.names import EXPANDERS, FORMATS, GENERATORS, PRESETS, RECIPES

HEAVY = ("torch", "diffusers", "transformers", "datasets", "pydantic", "numpy")


@pytest.mark.parametrize("arguments", [(), ("jobs",), ("eval", "protocol")])
def test_a_group_by_itself_shows_its_help(terrasynth, arguments):
    code, out, lines = terrasynth(*arguments)
    assert (code, lines) == (0, [])
    assert out.startswith(f"Usage: {' '.join(('terrasynth', *arguments))} ")
    assert "Commands:" in out


def test_every_command_is_described_on_a_whole_line(terrasynth):
    _, out, _ = terrasynth()
    assert "..." not in out.split("Commands:")[1]


@pytest.mark.parametrize(
    ("command", "names"),
    [
        ("run", ("demo", "ldm-ucm", "grammar", "openai", "near_copy", "alignment")),
        ("plan", ("demo", "mhn-ucm", "captions", "review")),
        ("train", ("lora", "release", "scene-ucm", "tunes", "few-step student")),
        ("export", ("webdataset", "geotiff", "messages")),
        ("expand", ("grammar", "lm", "file")),
        ("generate", ("ldm-ucm", "mhn-ucm")),
    ],
)
def test_help_says_what_there_is_to_choose_from(terrasynth, command, names):
    code, out, _ = terrasynth(command, "--help")
    assert code == 0
    assert [name for name in names if name not in out] == []


def test_names_are_those_that_are_taken():
    from terrasynth.eval.models.references import embedded_models
    from terrasynth.synthesis import Recipe
    from terrasynth.synthesis.core.embedded import WEIGHTS
    from terrasynth.synthesis.generators.finding import find_generator
    from terrasynth.synthesis.recipe import GeneratorSettings
    from terrasynth.training.presets import load_preset

    assert [Recipe.load(name).name for name in RECIPES.find()]
    assert [load_preset(name).family for name in PRESETS.find()]
    assert set(GENERATORS.find()) < set(embedded_models([WEIGHTS]))
    assert [find_generator(GeneratorSettings.of(name)) for name in GENERATORS.find()]
    assert tuple(EXPANDERS.find()) == Plugins("terrasynth.expanders", "", Exception).names()
    assert "webdataset" in FORMATS.find()


def _completed(shell, line, more=""):
    """What a shell is answered that asks how a line goes on, and which libraries that took."""
    code = ("import atexit, sys\n"
            f"atexit.register(lambda: print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr))\n"
            "from terrasynth.synthesis.cli import main; main()")
    words = line.split(" ")
    asked = {"COMP_WORDS": line, "COMP_CWORD": words[-1] if shell == "fish" else str(len(words) - 1),
             "_TERRASYNTH_COMPLETE": f"{shell}_complete"}
    done = subprocess.run([sys.executable, "-c", code], env=os.environ | asked, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.split(), json.loads(done.stderr.replace("'", '"'))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("terrasynth ru", {"run"}),
        ("terrasynth train lo", {"lora"}),
        ("terrasynth run de", {"demo"}),
        ("terrasynth export RUN --format web", {"webdataset"}),
        ("terrasynth expand --expander g", {"grammar"}),
        ("terrasynth generate text --model mh", {"mhn-ucm"}),
        ("terrasynth eval RUN --encoder clip-ucm", {"clip-ucm", "clip-ucm-b"}),
        ("terrasynth eval fil", {"filters"}),
    ],
)
def test_a_shell_completes_names_without_heavy_imports(line, expected):
    answered, heavy = _completed("bash", line)
    assert {each.removeprefix("plain,") for each in answered if each.startswith("plain,")} == expected
    assert heavy == []


@pytest.mark.parametrize(("shell", "start"), [("zsh", "plain"), ("fish", "plain,lora")])
def test_other_shells_are_answered_too(shell, start):
    answered, _ = _completed(shell, "terrasynth train lo")
    assert start in answered
    assert "lora" in " ".join(answered)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell(shell):
    done = subprocess.run([sys.executable, "-m", "terrasynth"], capture_output=True, text=True, check=True,
                          env=os.environ | {"_TERRASYNTH_COMPLETE": f"{shell}_source"})
    script = subprocess.run([sys.executable, "-c", "from terrasynth.synthesis.cli import main; main()"], text=True,
                            capture_output=True, env=os.environ | {"_TERRASYNTH_COMPLETE": f"{shell}_source"})
    assert done.stdout == script.stdout
    assert f"_TERRASYNTH_COMPLETE={shell}_complete" in script.stdout
