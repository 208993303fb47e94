"""Every command is on a page that people wrote; the reference pages, made from the code, have every option."""

from pathlib import Path

import click

from terrasynth.synthesis.cli import cli

DOCS = Path(__file__).parents[3] / "docs"


def _commands(command, words=()):
    """The commands that do something, each by its words; hidden ones are for the program itself."""
    if command.hidden:
        return
    if isinstance(command, click.Group):
        for name, each in command.commands.items():
            yield from _commands(each, (*words, name))
    else:
        yield " ".join(("terrasynth", *words))


def test_no_command_is_undocumented():
    found = set(_commands(cli))
    assert len(found) > 25
    table = (DOCS / "command-line.md").read_text(encoding="utf-8")
    assert {name for name in found if f"| `{name}` |" not in table} == set()


def test_the_table_names_no_command_that_is_not_there():
    import re

    named = re.findall(r"^\| `(terrasynth [\w -]+)` \|", (DOCS / "command-line.md").read_text(), re.M)
    assert set(named) - set(_commands(cli)) == {"terrasynth models", "terrasynth eval RUN"}


def test_the_pages_that_it_names_are_there():
    import re

    links = re.findall(r"\]\(([\w-]+\.md)\)", (DOCS / "command-line.md").read_text())
    assert len(links) > 20
    assert [link for link in links if not (DOCS / link).is_file()] == []
