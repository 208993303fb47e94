"""Every `terrasynth` command of the README and of docs/ is one that there is, with options that it has."""

import re
import shlex
from pathlib import Path

import click
import pytest

from terrasynth.synthesis.cli import cli as root
from terrasynth.synthesis.cli.evaluate import EvalGroup

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md"),
                *(ROOT / "synthesis" / "recipes").glob("*.yaml")])
END = re.compile(r"[|&;<>]+|\d?>.*|<.*")


def shell_lines(path):
    text = path.read_text("utf-8")
    if path.suffix == ".yaml":
        return [line.lstrip("# ") for line in text.splitlines() if line.lstrip("# ").startswith("terrasynth ")]
    blocks = re.findall(r"^```bash(?: no-ci)?\n(.*?)^```", text, re.M | re.S)
    blocks = [re.sub(r"<<-?'?(\w+)'?.*?^\1$", "", block, flags=re.M | re.S) for block in blocks]
    return [line for block in blocks for line in whole_lines(block.replace("\\\n", " "))]


def whole_lines(block):
    """Lines, joined where a quotation goes on in the next."""
    held = ""
    for line in block.splitlines():
        held = f"{held}\n{line}" if held else line
        try:
            shlex.split(held, comments=True)
        except ValueError:
            continue
        yield held
        held = ""
    assert not held, f"a quotation is not closed: {held[:80]!r}"


def commands_of(line):
    """The arguments behind each `terrasynth` of a line."""
    words = shlex.split(line.replace("$(", " ").replace("=(", " "), comments=True)
    for place, word in enumerate(words):
        if Path(word).name != "terrasynth":
            continue
        arguments = []
        for each in words[place + 1:]:
            if END.fullmatch(each):
                break
            arguments.append(each.rstrip(";)") if not each.startswith("-") else each)
        yield arguments


def parsed(arguments):
    """The command's own parser takes all of it; values are not looked at, since many stand for the reader's own."""
    command, context = root, click.Context(root, info_name="terrasynth")
    while isinstance(command, click.Group) and arguments and not arguments[0].startswith("-"):
        if isinstance(command, EvalGroup) and arguments[0] not in command.commands:  # `terrasynth eval RUN`
            _, command, arguments = command.resolve_command(context, ["", *arguments])
        else:
            found = command.get_command(context, arguments[0])
            assert found is not None, f"{arguments[0]!r} is no command of {context.command_path}"
            command, arguments = found, arguments[1:]
        context = click.Context(command, parent=context, info_name=command.name)
    _, left, _ = command.make_parser(context).parse_args(list(arguments))
    return command, left


def test_lines_are_read_as_a_shell_reads_them():
    line = ".venv/bin/terrasynth run demo --out x | tee y; ID=$(terrasynth jobs list) & # terrasynth nothing"
    assert list(commands_of(line)) == [["run", "demo", "--out", "x"], ["jobs", "list"]]
    with pytest.raises(AssertionError, match="'walk' is no command"):
        parsed(["walk"])
    with pytest.raises(click.NoSuchOption):
        parsed(["run", "demo", "--oot", "x"])


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_are_there_with_their_options(path):
    for line in shell_lines(path):
        for arguments in commands_of(line):
            try:
                parsed(arguments)
            except click.UsageError as error:
                raise AssertionError(f"{path.name}: {line.strip()}: {error}") from error
